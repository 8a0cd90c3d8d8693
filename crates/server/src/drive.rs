//! The driver: the loop that carries octets between a socket and a session, and keeps its time.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use restante_proto::{
    body::Part,
    dialogue::TlsEvent,
    server::{Answer, Ask, Next, Session, Unasked, UnaskedLogin},
};
use restante_store::Source;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::warn;

use crate::{
    ask::Asker,
    happening::{Happening, LoginResult},
    listen::DEAD_AFTER,
    observe::Recording,
    outcome::{Outcome, Why},
    pool::{Input, Output},
    send::{self, Broken},
    server::Live,
    sessions::{Doing, Presence},
    tls,
    wire::{self, Wire, WriteError},
};

/// Behind this much, in octets, it is looked after whether the client receives what was sent; less is received, or
/// the peer is dead, long before that matters.
const WATCHED_FROM_OCTETS: u64 = 16 * 1024;
/// How often that is looked after at most.
const WATCHED_EVERY: Duration = Duration::from_secs(5);

/// Where the server as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Running,
    /// Nobody logs in any more.
    Draining,
    /// Every session ends now.
    Ending,
}

/// What a driver needs besides the socket. Whatever it holds is released when it is dropped, before the socket is
/// closed.
pub(crate) struct Driver<'a> {
    session: Session<Source>,
    asker: Asker,
    outcome: &'a mut Outcome,
    presence: Arc<Presence>,
    live: Arc<Live>,
    stage: watch::Receiver<Stage>,
    recording: Recording,
    /// When the command that is answered now came, or the answer before it was done.
    turn: std::time::Instant,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Session<Source>>() <= 512, "an idle session is to stay small");

impl<'a> Driver<'a> {
    pub(crate) fn new(
        session: Session<Source>,
        asker: Asker,
        outcome: &'a mut Outcome,
        stage: watch::Receiver<Stage>,
        recording: Recording,
    ) -> Self {
        let presence = Arc::clone(&asker.presence);
        let (live, turn) = (Arc::clone(&presence.live), presence.begun);
        Self { session, asker, outcome, presence, live, stage, recording, turn }
    }
}

impl Driver<'_> {
    /// Drives a session to its end, and says why it ended. The socket stays in `slot`, but not where TLS failed.
    pub(crate) async fn drive(&mut self, slot: &mut Option<Wire>) -> Why {
        let (mut buffer, mut used, mut out) = (Input::none(), 0, Output::lend());
        loop {
            let Some(wire) = slot else { return Why::Stopped };
            let mut input = buffer.get(used..).unwrap_or_default();
            let next = self.session.advance(&mut input, &mut out);
            used = buffer.len() - input.len();
            if used == buffer.len() {
                // It goes back to its pool, wiped, while an answer is found: a password may be in it.
                (buffer, used) = (Input::none(), 0);
            }
            let written = match next {
                Next::Ask(_) | Next::Send(_) => Ok(()),
                _ => flush(&self.presence, wire, &mut out).await,
            };
            self.tell(&next);
            if let Err(why) = written {
                return why;
            }
            let step = match next {
                Next::Write => Ok(()),
                Next::Input => {
                    drop(std::mem::replace(&mut out, Output::none()));
                    let read = self.read(wire).await;
                    out = Output::lend();
                    read.map(|read| buffer = read)
                }
                Next::Ask(ask) => Box::pin(self.ask(ask, wire, &mut out)).await,
                Next::Send(transfer) => {
                    let part = transfer.part;
                    let patience = self.live.settings.limits.write;
                    let sent = &self.presence.sent_octets;
                    // Boxed, here and elsewhere, so that an idle connection has no room for it.
                    match Box::pin(send::body(transfer, wire, &mut out, sent, patience)).await {
                        Ok(()) => {
                            match part {
                                Part::Whole => &self.presence.retrieved,
                                Part::Top(_) => &self.presence.tops,
                            }
                            .fetch_add(1, Ordering::Relaxed);
                            self.session.sent(true, &mut out);
                            Ok(())
                        }
                        Err(Broken::Store(error)) => {
                            warn!(session = %self.presence.id, %error, "a message broke off");
                            self.session.sent(false, &mut out);
                            Ok(())
                        }
                        Err(Broken::Wire(error)) => Err(error.into()),
                    }
                }
                Next::StartTls => Box::pin(self.secure(slot)).await,
                Next::Close(close) => Err(Why::Session(close)),
            };
            if let Err(why) = step {
                return why;
            }
        }
    }

    /// Tells what the session does now, and the commands that it has answered.
    fn tell(&mut self, next: &Next<Source>) {
        let Self { presence, turn, .. } = self;
        let tally = self.session.tally();
        if !tally.is_empty() {
            let commands = tally.commands();
            presence.commands.fetch_add(commands.into(), Ordering::Relaxed);
            let now = std::time::Instant::now();
            let each = now.saturating_duration_since(*turn) / commands.max(1);
            *turn = now;
            for UnaskedLogin { mechanism, why, count } in tally.take_logins() {
                let result = match why {
                    Unasked::Draining => LoginResult::Stopping,
                    Unasked::Malformed => LoginResult::Malformed,
                };
                (0..count).for_each(|_| presence.login(mechanism, result));
            }
            tally.take(|verb, ok, commands| {
                presence.live.tell(|| Happening::Answered { verb, ok, commands, each });
            });
            presence.set_phase(self.session.phase());
            presence.marked.store(self.session.marked(), Ordering::Relaxed);
        }
        let doing = match next {
            Next::Input | Next::Write => Doing::Waiting,
            Next::StartTls => Doing::Handshake,
            Next::Close(_) => Doing::Ending,
            Next::Ask(_) | Next::Send(_) => self.session.verb().map_or(Doing::Ending, Doing::Answering),
        };
        presence.does(doing, *turn);
    }

    /// Waits for input. Empty where the session only learnt something. Before the login the connection has its own
    /// bound; behind it, what the client still receives counts as progress (RFC 1939 §3).
    async fn read(&mut self, wire: &mut Wire) -> Result<Input, Why> {
        let limits = &self.live.settings.limits;
        let draining = *self.stage.borrow_and_update() >= Stage::Draining;
        if draining {
            self.session.drain();
        }
        self.join();
        self.asker.idle();
        let every = WATCHED_EVERY.min(limits.idle / 4).min(match limits.takeover_idle {
            Duration::ZERO => WATCHED_EVERY,
            takeover => takeover / 4,
        });
        let mut deadline = Instant::now() + limits.idle;
        let sent_octets = self.presence.sent_octets.load(Ordering::Relaxed);
        let mut watched = sent_octets - self.outcome.watched_octets >= WATCHED_FROM_OCTETS;
        // How much had not arrived when it was last looked: nearly always the next command comes before that.
        let mut outstanding_octets = None;
        let mut lifted = false;
        self.outcome.watched_octets = sent_octets;
        let read = loop {
            let wake = if watched { deadline.min(Instant::now() + every) } else { deadline };
            let read = tokio::select! {
                biased;
                // The session hears of it before the next command does.
                _ = self.stage.changed(), if !draining => return Ok(Input::none()),
                // The client's time goes on as if nobody looked.
                () = self.presence.wanted.notified() => {
                    self.join();
                    continue;
                }
                read = timeout_at(wake, wire.read()) => read,
            };
            if let Ok(read) = read {
                break read;
            }
            if !watched {
                return Err(Why::Autologout);
            }
            let Some(flow) = wire.flow().filter(|flow| !wire::is_dead(flow)) else {
                return Err(Why::Dead);
            };
            let before = outstanding_octets.replace(flow.outstanding_octets);
            if before.is_some_and(|before| flow.outstanding_octets < before) {
                // The client was not idle, it received.
                if self.asker.busy() {
                    self.asker.idle();
                }
                deadline = Instant::now() + limits.idle;
            } else if Instant::now() >= deadline {
                return Err(Why::Autologout);
            } else if before.is_some() && flow.outstanding_octets > 0 && !lifted {
                // A client that is there and does not read has as long as one that says nothing.
                lifted = true;
                wire.be_patient(limits.idle + DEAD_AFTER);
            }
            watched = flow.outstanding_octets > 0;
        };
        if lifted {
            wire.be_patient(DEAD_AFTER);
        }
        if !self.asker.busy() {
            return Err(Why::TakenOver);
        }
        match read {
            Ok(buffer) => {
                self.turn = std::time::Instant::now();
                self.presence.received_octets.fetch_add(buffer.len() as u64, Ordering::Relaxed);
                if buffer.is_empty() {
                    self.session.eof();
                }
                Ok(buffer)
            }
            // A peer that goes away without closing TLS properly has gone away.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.session.eof();
                Ok(Input::none())
            }
            Err(error) => Err(Why::Connection(error.to_string())),
        }
    }

    /// Lets those hear the session who wait for that, if it stands between two commands: half a password, or a response
    /// within an exchange, would not be known for what it is.
    fn join(&self) {
        if self.recording.is_wanted() && self.session.is_between_commands() && self.asker.exchange.is_none() {
            self.recording.join(self.session.phase());
        }
    }

    /// Finds an answer. What was said before goes out meanwhile, if that takes time; a reset ends the waiting.
    async fn ask(&mut self, ask: Ask, wire: &mut Wire, out: &mut Output) -> Result<(), Why> {
        let answer = {
            let mut finding = pin!(self.asker.answer(ask));
            match poll_fn(|context| Poll::Ready(finding.as_mut().poll(context))).await {
                Poll::Ready(answer) => answer,
                Poll::Pending => {
                    let mut found = None;
                    if !out.is_empty() {
                        {
                            let mut write = pin!(wire.write(out, self.live.settings.limits.write));
                            tokio::select! {
                                biased;
                                written = &mut write => written?,
                                answer = &mut finding => {
                                    found = Some(answer);
                                    write.await?;
                                }
                            }
                        }
                        self.presence.sent_octets.fetch_add(out.len() as u64, Ordering::Relaxed);
                        out.clear();
                    }
                    match found {
                        Some(answer) => answer,
                        None => {
                            // Many may wait for an answer; none of them keeps a buffer.
                            *out = Output::none();
                            let answer = tokio::select! {
                                biased;
                                answer = finding => answer,
                                () = wire.reset() => return Err(Why::Connection("reset by the client".into())),
                            };
                            *out = Output::lend();
                            answer
                        }
                    }
                }
            }
        };
        if matches!(answer, Answer::Opened { .. }) {
            self.session.set_login_delay(self.asker.announced_delay());
        }
        self.session.answer(answer, out);
        Ok(())
    }

    /// The TLS handshake of STLS. When it fails the connection is of no use any more (RFC 2595 §4).
    async fn secure(&mut self, slot: &mut Option<Wire>) -> Result<(), Why> {
        let plain = slot.take().and_then(Wire::into_plain);
        let (Some((stream, recording)), Some(config)) = (plain, &self.live.tls) else {
            return Err(Why::Handshake("TLS is not configured".into()));
        };
        let by = Instant::now() + self.live.settings.limits.tls_handshake;
        let stream = handshake(&config.rustls, stream, by, &recording).await?;
        let (facts, channel) = tls::settled(stream.get_ref().1, config);
        self.asker.channel = channel;
        self.presence.secured(facts.clone());
        self.session.secured(facts);
        *slot = Some(Wire::tls(stream, recording));
        Ok(())
    }
}

/// Writes out what there is.
async fn flush(presence: &Presence, wire: &mut Wire, out: &mut Vec<u8>) -> Result<(), Why> {
    if !out.is_empty() {
        wire.write(out, presence.live.settings.limits.write).await?;
        presence.sent_octets.fetch_add(out.len() as u64, Ordering::Relaxed);
        out.clear();
    }
    Ok(())
}

/// Shakes hands before `by`.
pub(crate) async fn handshake(
    config: &Arc<rustls::ServerConfig>,
    stream: TcpStream,
    by: Instant,
    recording: &Recording,
) -> Result<TlsStream<TcpStream>, Why> {
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    match timeout_at(by, acceptor.accept(stream)).await {
        Err(_) => {
            recording.timed_out();
            recording.tls(|| TlsEvent::Failed);
            Err(Why::Handshake("it took too long".into()))
        }
        Ok(Err(error)) => {
            recording.tls(|| TlsEvent::Failed);
            recording.failed(&error);
            Err(Why::Handshake(tls::explain(&error)))
        }
        Ok(Ok(stream)) => {
            recording.tls(|| tls::event(stream.get_ref().1));
            Ok(stream)
        }
    }
}

impl From<WriteError> for Why {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Patience => Self::WriteTimeout,
            WriteError::Dead => Self::Dead,
            WriteError::Io(error) => Self::Connection(error.to_string()),
        }
    }
}
