//! The driver: octets between the stream and the session of `restante-proto`, with time limits, TLS and a transcript.

use std::{future::poll_fn, io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use restante_proto::{
    Secret,
    client::{Asked, Event, Session},
    command::Command,
    dialogue::{Side, TlsEvent},
    phase::Phase,
    reply::Status,
};
use restante_sasl::ChannelBindings;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroize as _;

use crate::{
    error::{Error, Refused, Waiting, printable},
    options::Options,
    tls::{self, TlsError, TlsInfo},
    transcript::Recording,
    transport::{Peer, Stream},
};

/// How much is read at a time, in octets.
const INPUT_OCTETS: usize = 128 * 1024;

/// The room for what is to be written, in octets: made at once, since a buffer that grows leaves copies of passwords behind.
const OUT_OCTETS: usize = 16 * 1024;

/// How fast a listing has to come once the time for an answer is over, in octets a second: slower than any modem.
const LISTING_OCTETS_PER_SECOND: u64 = 256;

/// What the server said, owned. A listing's line stands in [`Connection::line`], octets of a message in
/// [`Connection::body`].
#[derive(Debug)]
pub(crate) enum Step {
    Greeting { status: Status, stamp: Option<String> },
    Reply { asked: Asked, status: Status },
    Line,
    Octets,
    End,
    Challenge(Vec<u8>),
    StartTls,
}

/// Whether the connection can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Idle,
    /// A call is under way, or was cancelled.
    Busy,
    /// It failed, or ended.
    Over(&'static str),
}

/// A connection with its session.
pub(crate) struct Connection {
    stream: Stream,
    session: Session,
    /// What was read; `start..end` is not consumed yet.
    input: Box<[u8]>,
    start: usize,
    end: usize,
    /// What is to be written; `written` of it has been.
    out: Vec<u8>,
    written: usize,
    pub(crate) body: Vec<u8>,
    pub(crate) line: Vec<u8>,
    answer: Duration,
    handshake: Duration,
    /// How long this answer was waited for so far, and how much of it came, in octets.
    waited: Duration,
    came: u64,
    usable: Use,
    recording: Option<Recording>,
    pub(crate) tls: Option<TlsInfo>,
    /// What SASL can bind to.
    pub(crate) bindings: ChannelBindings,
    /// Writing failed. What the server said before it closed is still read, since it often says why.
    write_failed: Option<String>,
    /// The text of the last answer, where it was a refusal: a server that closes then has often said why.
    refusal: Option<String>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A password may not have been written yet.
        self.out.zeroize();
    }
}

impl Connection {
    pub(crate) fn new(stream: Stream, peer: Option<Peer>, options: &Options) -> Result<Self, Error> {
        let begin = |transcript| Recording::begin(transcript, peer).map_err(Error::Transcript);
        Ok(Self {
            stream,
            session: Session::new(),
            input: vec![0; INPUT_OCTETS].into_boxed_slice(),
            start: 0,
            end: 0,
            out: Vec::with_capacity(OUT_OCTETS),
            written: 0,
            body: Vec::new(),
            line: Vec::new(),
            answer: options.timeouts.answer,
            handshake: options.timeouts.handshake,
            waited: Duration::ZERO,
            came: 0,
            usable: Use::Busy,
            recording: options.transcript.as_ref().map(begin).transpose()?,
            tls: None,
            bindings: ChannelBindings::default(),
            write_failed: None,
            refusal: None,
        })
    }

    pub(crate) const fn phase(&self) -> Phase {
        self.session.phase()
    }

    /// A call begins. Unless it comes to [`Self::finish`], or all answers came, it was cancelled, and the connection is out
    /// of step.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        match self.usable {
            Use::Busy if self.session.owed() > 0 => Err(Error::Interrupted(
                "an earlier call was cancelled, or its messages were not read to the end",
            )),
            Use::Idle | Use::Busy => {
                self.usable = Use::Busy;
                Ok(())
            }
            Use::Over(why) => Err(Error::Interrupted(why)),
        }
    }

    /// A call came to its end.
    pub(crate) fn finish<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        let result = match (result, self.recording.as_mut().and_then(Recording::failure)) {
            (Ok(_), Some(error)) => Err(Error::Transcript(error)),
            (result, _) => result,
        };
        let ended = matches!(self.session.phase(), Phase::Update | Phase::Closed);
        self.usable = match &result {
            Err(error) if error.is_fatal() => Use::Over("an earlier call failed"),
            _ if self.session.owed() > 0 => Use::Busy,
            _ if ended => Use::Over("QUIT was said"),
            _ => Use::Idle,
        };
        result
    }

    /// Says a command; it is written at the next [`Self::next`]. Where no answer is owed, what has come all the same breaks
    /// the connection, so that it is not taken for the answer to this command; and a server that has gone is noticed.
    ///
    /// It looks and does not wait: no call can be cancelled here.
    pub(crate) async fn send(&mut self, command: &Command<'_>) -> Result<(), Error> {
        if self.session.owed() == 0 {
            if self.start == self.end {
                self.look().await?;
            }
            self.nothing_is_left()?;
        }
        Ok(self.session.send(command, &mut self.out)?)
    }

    /// What came behind the last answer that was owed was not asked for.
    pub(crate) fn nothing_is_left(&mut self) -> Result<(), Error> {
        Ok(self.session.unasked(&self.input[self.start..self.end])?)
    }

    /// Reads what has come, if anything has.
    async fn look(&mut self) -> Result<(), Error> {
        let Self { stream, input, .. } = self;
        let read = poll_fn(|cx| {
            let mut read = ReadBuf::new(input);
            Poll::Ready(match Pin::new(&mut *stream).poll_read(cx, &mut read) {
                Poll::Ready(read_to) => Some(read_to.map(|()| read.filled().len())),
                Poll::Pending => None,
            })
        });
        match read.await {
            Some(read) => self.took(read),
            None => Ok(()),
        }
    }

    /// How many lines LIST and UIDL may have from now on.
    pub(crate) const fn limit_listings(&mut self, lines: u64) {
        self.session.limit_listings(lines);
    }

    /// Answers a challenge.
    pub(crate) fn respond(&mut self, response: Option<&Secret<Vec<u8>>>) -> Result<(), Error> {
        self.nothing_is_left()?;
        self.session.respond(response, &mut self.out);
        Ok(())
    }

    /// What the server says next.
    pub(crate) async fn next(&mut self, waiting: Waiting) -> Result<Step, Error> {
        if let Use::Over(why) = self.usable {
            return Err(Error::Interrupted(why));
        }
        loop {
            let mut input = &self.input[self.start..self.end];
            let before = input.len();
            let event = self.session.advance(&mut input, &mut self.body);
            let step = match event {
                Ok(Event::Input) => None,
                Ok(Event::Greeting { status, stamp }) => Some(Step::Greeting { status, stamp }),
                Ok(Event::Reply { asked, status }) => {
                    self.refusal = match &status {
                        Status::Err { text, .. } => Some(printable(text)),
                        _ => None,
                    };
                    Some(Step::Reply { asked, status })
                }
                Ok(Event::Line(line)) => {
                    self.line.clear();
                    self.line.extend_from_slice(&line);
                    Some(Step::Line)
                }
                Ok(Event::Octets) => Some(Step::Octets),
                Ok(Event::End { .. }) => Some(Step::End),
                Ok(Event::Challenge(challenge)) => Some(Step::Challenge(challenge)),
                Ok(Event::StartTls) => Some(Step::StartTls),
                Err(broken) => return Err(broken.into()),
            };
            self.start += before - input.len();
            if !matches!(step, None | Some(Step::Line)) {
                (self.waited, self.came) = (Duration::ZERO, 0);
            }
            match step {
                Some(step) => return Ok(step),
                None => self.exchange(waiting).await?,
            }
        }
    }

    /// The next answer to a command of one line.
    pub(crate) async fn reply(&mut self, waiting: Waiting) -> Result<Result<String, Refused>, Error> {
        match self.next(waiting).await? {
            Step::Reply { asked, status } => Ok(answer(asked, status)),
            // The session gives nothing else for such a command.
            _ => Err(Error::Interrupted("answers are out of step")),
        }
    }

    /// Writes what is to be written, and reads: whichever is possible. Both at once, so that a server that does not read
    /// before its answers are taken cannot block us.
    async fn exchange(&mut self, waiting: Waiting) -> Result<(), Error> {
        // A message may be as slow as it likes, as long as it moves: each piece of it is a step of its own. A status line, or a
        // listing, has to come at some pace.
        let pace = Duration::from_millis(self.came.saturating_mul(1000) / LISTING_OCTETS_PER_SECOND);
        let limit = (self.answer + pace).saturating_sub(self.waited).min(self.answer);
        let begun = Instant::now();
        let read = timeout(limit, self.write_and_read()).await.map_err(|_| Error::TimedOut(waiting))?;
        self.waited += begun.elapsed();
        self.came += read.as_ref().map_or(0, |&octets| octets as u64);
        self.took(read)
    }

    /// Takes what was read: all that was there before is consumed.
    fn took(&mut self, read: io::Result<usize>) -> Result<(), Error> {
        (self.start, self.end) = (0, 0);
        match read {
            // A server that closes TLS without a word has closed it all the same: POP3 says itself what is whole.
            Ok(0) => Err(self.ended()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.ended()),
            Ok(octets) => {
                self.end = octets;
                if let Some(recording) = &mut self.recording {
                    recording.said(Side::Server, &self.input[..octets]);
                }
                Ok(())
            }
            Err(error) if tls::is_refused_identity(&error) => {
                Err(TlsError::Handshake(tls::Reason::of(&error)).into())
            }
            Err(error) => Err(Error::Lost(format!("the connection broke: {}", tls::told(&error)))),
        }
    }

    /// The server ended the connection: with what was owed, and what it said last.
    fn ended(&mut self) -> Error {
        let mut text = match self.session.eof() {
            Ok(()) => "the server ended the connection".to_owned(),
            Err(broken) => broken.to_string(),
        };
        if let Some(refusal) = self.refusal.take().filter(|refusal| !refusal.is_empty()) {
            text.push_str(&format!("; before, it said «{refusal}»"));
        }
        if let Some(why) = self.write_failed.take() {
            text.push_str(&format!(" ({why})"));
        }
        Error::Lost(text)
    }

    async fn write_and_read(&mut self) -> io::Result<usize> {
        let Self { stream, input, out, written, recording, write_failed, .. } = self;
        poll_fn(|cx| {
            let mut stream = Pin::new(&mut *stream);
            let mut wrote = false;
            while *written < out.len() && write_failed.is_none() {
                match stream.as_mut().poll_write(cx, &out[*written..]) {
                    Poll::Ready(Ok(octets)) if octets > 0 => {
                        if let Some(recording) = recording {
                            recording.said(Side::Client, &out[*written..*written + octets]);
                        }
                        *written += octets;
                        wrote = true;
                    }
                    Poll::Ready(Ok(_)) => *write_failed = Some("nothing more can be sent".into()),
                    Poll::Ready(Err(error)) => *write_failed = Some(error.to_string()),
                    Poll::Pending => break,
                }
            }
            if *written == out.len() && !out.is_empty() {
                // It may have held a password.
                out.zeroize();
                *written = 0;
            }
            // TLS keeps records until it is told; sockets have nothing to flush.
            if (wrote || out.is_empty())
                && write_failed.is_none()
                && let Poll::Ready(Err(error)) = stream.as_mut().poll_flush(cx)
            {
                *write_failed = Some(error.to_string());
            }
            let mut read = ReadBuf::new(input);
            match stream.poll_read(cx, &mut read) {
                Poll::Ready(read_to) => Poll::Ready(read_to.map(|()| read.filled().len())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Shakes hands: at once, or where the session waits for it behind STLS.
    pub(crate) async fn secure(&mut self, config: Arc<ClientConfig>, host: &str) -> Result<(), Error> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::HostName)?;
        let Some(plain) = self.stream.take_plain() else { return Err(TlsError::Already.into()) };
        let connector = TlsConnector::from(config);
        let shaken = timeout(self.handshake, connector.connect(name, plain)).await;
        let failed = match shaken {
            Err(_) => Error::TimedOut(Waiting::Tls),
            Ok(Err(error)) => TlsError::Handshake(tls::Reason::of(&error)).into(),
            Ok(Ok(stream)) => {
                let info = TlsInfo::of(stream.get_ref().1);
                if let Some(recording) = &mut self.recording {
                    recording.tls(TlsEvent::Handshake(info.facts(host)));
                }
                self.tls = Some(info);
                self.bindings = tls::bindings(stream.get_ref().1);
                self.stream = Stream::Tls(Box::new(stream));
                self.session.secured();
                return Ok(());
            }
        };
        if let Some(recording) = &mut self.recording {
            recording.tls(TlsEvent::Failed);
        }
        Err(failed)
    }

    /// Says that nothing more will be sent. What fails here is of no matter: all was said before.
    pub(crate) async fn close(&mut self) {
        use tokio::io::AsyncWriteExt as _;
        /// A server that does not read must not hold us.
        const CLOSE_MAX: Duration = Duration::from_secs(2);
        drop(timeout(CLOSE_MAX, self.stream.shutdown()).await);
    }
}

/// A status as a result.
pub(crate) fn answer(asked: Asked, status: Status) -> Result<String, Refused> {
    match status {
        Status::Ok { text } => Ok(text),
        Status::Err { code, text } => Err(Refused::new(Some(asked.verb), code, &text)),
        Status::Challenge { .. } => Err(Refused::new(Some(asked.verb), None, "a challenge")),
    }
}
