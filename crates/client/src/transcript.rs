//! A session written down as it happens, in the format of `docs/dialogue.md`, without its secrets.

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use restante_proto::dialogue::{self, Bodies, Event, Head, Recorder, Side, TcpEvent, TlsEvent};

use crate::transport::Peer;

/// Where sessions are written down, each as a dialogue of its own. Cheap to clone.
///
/// Passwords, responses of AUTH and digests are taken out before anything is written, and messages are left out but for
/// their length.
///
/// ```no_run
/// use std::{fs::File, io::{BufWriter, Write}};
/// use restante_client::{Options, Transcript};
///
/// let transcript = Transcript::new(|| {
///     File::create("session.pop3").map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write + Send>)
/// });
/// let options = Options { transcript: Some(transcript), ..Options::default() };
/// ```
#[derive(Clone)]
pub struct Transcript(Arc<Begin>);

type Begin = dyn Fn() -> io::Result<Box<dyn Write + Send>> + Send + Sync;

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcript")
    }
}

impl Transcript {
    /// `begin` gives the place for one more session, before anything is said; it is flushed at the session's end.
    pub fn new(begin: impl Fn() -> io::Result<Box<dyn Write + Send>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(begin))
    }
}

/// One session on its way into a transcript.
pub(crate) struct Recording {
    to: Box<dyn Write + Send>,
    recorder: Recorder,
    events: Vec<Event>,
    start: Instant,
    failed: Option<io::Error>,
}

impl Recording {
    pub(crate) fn begin(transcript: &Transcript, peer: Option<Peer>) -> io::Result<Self> {
        let head = Head {
            started: Some(now().into()),
            client: peer.map(|peer| peer.client.to_string().into()),
            server: peer.map(|peer| peer.server.to_string().into()),
            ..Head::default()
        };
        let mut to = (transcript.0)()?;
        to.write_all(head.to_string().as_bytes())?;
        let (recorder, start) = (Recorder::new(Bodies::Elided), Instant::now());
        let mut recording = Self { to, recorder, events: Vec::new(), start, failed: None };
        if peer.is_some() {
            recording.recorder.tcp(Some(start.elapsed()), TcpEvent::Connect, &mut recording.events);
            recording.write();
        }
        Ok(recording)
    }

    pub(crate) fn said(&mut self, side: Side, octets: &[u8]) {
        self.recorder.octets(side, Some(self.start.elapsed()), octets, &mut self.events);
        self.write();
    }

    pub(crate) fn tls(&mut self, event: TlsEvent) {
        self.recorder.tls(Some(self.start.elapsed()), event, &mut self.events);
        self.write();
    }

    fn write(&mut self) {
        for event in self.events.drain(..) {
            if let Err(error) = writeln!(self.to, "{event}") {
                self.failed.get_or_insert(error);
            }
        }
    }

    /// What went wrong in writing it down, told once.
    pub(crate) const fn failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.recorder.flush(&mut self.events);
        self.write();
        // Nobody is left to be told.
        self.to.flush().unwrap_or_default();
    }
}

/// The time as `2005-04-01T07:56:00Z` (RFC 3339).
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    dialogue::timestamp(seconds)
}
