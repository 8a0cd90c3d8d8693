//! The driver: the loop that carries octets between a socket and a session, and keeps its time.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use restante_proto::{
    body::Part,
    server::{Next, Patience, Session},
};
use restante_store::Source;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::{
    ask::{Asker, Waits},
    outcome::{Outcome, Why},
    pool,
    send::{self, Broken},
    settings::Limits,
    tls,
    wire::Wire,
};

/// Where the server as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Running,
    /// Nobody logs in any more.
    Draining,
    /// Every session ends now.
    Ending,
}

/// What a driver needs besides the socket.
pub(crate) struct Driver<'a> {
    pub(crate) session: Session<Source>,
    pub(crate) asker: Asker,
    pub(crate) outcome: &'a mut Outcome,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) login_by: Instant,
}

/// How it ended: why, and the socket where a last word was said on it.
pub(crate) type Ended = (Why, Option<Wire>);

impl Driver<'_> {
    /// Drives a session to its end. Whatever it holds is released when this returns, before the socket is closed.
    pub(crate) async fn drive(mut self, mut wire: Wire) -> Ended {
        let (mut buffer, mut used, mut out) = (Vec::new(), 0, pool::lend());
        let why = loop {
            let mut input = buffer.get(used..).unwrap_or_default();
            let next = self.session.advance(&mut input, &mut out);
            used = buffer.len() - input.len();
            let step = match next {
                Next::Write => self.flush(&mut wire, &mut out).await,
                Next::Input => {
                    pool::give_back(std::mem::take(&mut buffer));
                    used = 0;
                    match self.flush(&mut wire, &mut out).await {
                        Ok(()) => {
                            pool::give_back(std::mem::take(&mut out));
                            self.asker.waits(Waits::ForCommand);
                            self.read(&mut wire).await.map(|read| {
                                self.asker.waits(Waits::ForNothing);
                                buffer = read;
                                out = pool::lend();
                            })
                        }
                        failed => failed,
                    }
                }
                Next::Ask(ask) => self.ask(ask, &mut wire, &mut out).await,
                Next::Send(transfer) => {
                    match transfer.part {
                        Part::Whole => self.outcome.retrieved += 1,
                        Part::Top(_) => self.outcome.tops += 1,
                    }
                    match send::body(transfer, &mut wire, &mut out, self.limits.write).await {
                        Ok(sent) => {
                            self.outcome.sent_octets += sent;
                            self.session.sent(true, &mut out);
                            Ok(())
                        }
                        Err(Broken::Store(error)) => {
                            warn!(session = %self.outcome.session, %error, "a message broke off");
                            self.session.sent(false, &mut out);
                            Ok(())
                        }
                        Err(Broken::Wire(error)) => Err(failed_write(&error)),
                    }
                }
                Next::StartTls => match self.flush(&mut wire, &mut out).await {
                    Ok(()) => match self.secure(wire).await {
                        Ok(secured) => {
                            wire = secured;
                            Ok(())
                        }
                        // RFC 2595 §4: the connection is of no use any more.
                        Err(why) => {
                            self.note();
                            return (why, None);
                        }
                    },
                    failed => failed,
                },
                Next::Close(close) => match self.flush(&mut wire, &mut out).await {
                    Ok(()) => {
                        self.note();
                        return (Why::Session(close), Some(wire));
                    }
                    failed => failed,
                },
            };
            if let Err(why) = step {
                break why;
            }
        };
        self.note();
        (why, None)
    }

    /// What the log line needs to know.
    fn note(&mut self) {
        self.outcome.user = self.asker.user.take();
        self.outcome.deleted = self.asker.deleted;
    }

    async fn flush(&mut self, wire: &mut Wire, out: &mut Vec<u8>) -> Result<(), Why> {
        if !out.is_empty() {
            wire.write(out, self.limits.write).await.map_err(|error| failed_write(&error))?;
            self.outcome.sent_octets += out.len() as u64;
            out.clear();
        }
        Ok(())
    }

    /// Waits for input, for as long as the session would. Empty where it only learnt something.
    async fn read(&mut self, wire: &mut Wire) -> Result<Vec<u8>, Why> {
        let (deadline, why) = match self.session.patience() {
            Patience::Login => (self.login_by, Why::LoginTimeout),
            Patience::Idle | Patience::Busy => (Instant::now() + self.limits.idle, Why::Autologout),
        };
        let draining = *self.stage.borrow_and_update() >= Stage::Draining;
        if draining {
            self.session.drain();
        }
        tokio::select! {
            biased;
            changed = self.stage.changed(), if !draining => {
                // The session hears of it before the next command does.
                changed.map(|()| Vec::new()).map_err(|_| Why::Stopped)
            }
            read = timeout_at(deadline, wire.read()) => match read {
                Err(_) => Err(why),
                Ok(Ok(buffer)) => {
                    self.outcome.received_octets += buffer.len() as u64;
                    if buffer.is_empty() {
                        self.session.eof();
                    }
                    Ok(buffer)
                }
                // A peer that goes away without closing TLS properly has gone away.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.session.eof();
                    Ok(Vec::new())
                }
                Ok(Err(error)) => Err(Why::Connection(error.to_string())),
            }
        }
    }

    /// Finds an answer. What was said before goes out only if that takes time; a reset ends the waiting.
    async fn ask(
        &mut self,
        ask: restante_proto::server::Ask,
        wire: &mut Wire,
        out: &mut Vec<u8>,
    ) -> Result<(), Why> {
        let answer = {
            let mut finding = pin!(self.asker.answer(ask));
            let once = poll_fn(|context| Poll::Ready(finding.as_mut().poll(context))).await;
            match once {
                Poll::Ready(answer) => answer,
                Poll::Pending => {
                    if !out.is_empty() {
                        wire.write(out, self.limits.write).await.map_err(|error| failed_write(&error))?;
                        self.outcome.sent_octets += out.len() as u64;
                        out.clear();
                    }
                    tokio::select! {
                        biased;
                        answer = finding => answer,
                        () = wire.reset() => return Err(Why::Connection("reset by the client".into())),
                    }
                }
            }
        };
        self.session.answer(answer, out);
        Ok(())
    }

    /// The TLS handshake of STLS.
    async fn secure(&mut self, wire: Wire) -> Result<Wire, Why> {
        let (Wire::Plain(stream), Some(config)) = (wire, &self.tls) else {
            return Err(Why::Handshake("TLS is not configured".into()));
        };
        let stream = handshake(config, stream, self.limits.tls_handshake).await?;
        let facts = tls::facts(stream.get_ref().1);
        self.outcome.tls = Some(format!("{} {}", facts.version, facts.cipher));
        self.session.secured(facts);
        Ok(Wire::Tls(Box::new(stream)))
    }
}

/// Shakes hands within `patience`.
pub(crate) async fn handshake(
    config: &Arc<rustls::ServerConfig>,
    stream: tokio::net::TcpStream,
    patience: Duration,
) -> Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>, Why> {
    let acceptor = TlsAcceptor::from(Arc::clone(config));
    match tokio::time::timeout(patience, acceptor.accept(stream)).await {
        Err(_) => Err(Why::Handshake("it took too long".into())),
        Ok(Err(error)) => Err(Why::Handshake(tls::explain(&error))),
        Ok(Ok(stream)) => Ok(stream),
    }
}

fn failed_write(error: &io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::TimedOut => Why::WriteTimeout,
        _ => Why::Connection(error.to_string()),
    }
}
