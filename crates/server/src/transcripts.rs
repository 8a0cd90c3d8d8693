//! Sessions written down, each as a dialogue (`docs/dialogue.md`) in a file of its own.
//!
//! Sessions hand text over and go on; one thread writes. What it is behind with, and what one transcript holds, has bounds:
//! past them events are left out, and the transcript says so. What is said, and that no secret is in it, is the business
//! of `observe.rs` and of the dialogue's recorder.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use restante_proto::dialogue::{EVENTS_MAX, Event, Kind, left_out};
use tracing::warn;

use crate::{
    gate::Refusals,
    observe::{Begun, Observer, Watch},
};

/// Only the server's user reads a transcript.
const MODE: u32 = 0o600;
/// What a message in the queue takes beside its text, in octets, at most.
const MESSAGE_OCTETS: usize = 128;
/// Why a session ended is told in so many characters.
const WHY_MAX: usize = 300;
/// So many lines of a session are written, that what happens to the connection still has a place in a dialogue.
const LINES_MAX: usize = EVENTS_MAX - 1024;

/// How much transcripts may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Text that waits to be written, of all sessions together, in octets.
    pub queue_octets: usize,
    /// The lines of one session, in octets of text; what happens to the connection has a place behind that.
    pub transcript_octets: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { queue_octets: 16 << 20, transcript_octets: 16 << 20 }
    }
}

/// Writes down every session that begins, without its secrets; messages are left out but for their length.
///
/// A session never waits for it. Cheap to clone.
#[derive(Clone)]
pub struct Transcripts {
    writer: Writer,
    begin: Arc<Begin>,
}

/// Gives the place for a transcript of this name.
type Begin = dyn Fn(&str) -> io::Result<Box<dyn Write + Send>> + Send + Sync;

/// The way to the thread that writes; it ends when nobody has this any more.
#[derive(Clone)]
struct Writer {
    queue: Arc<Queue>,
    to: Sender<Message>,
}

struct Queue {
    bounds: Bounds,
    octets: AtomicUsize,
    transcripts: AtomicU64,
    failures: Refusals,
    skipped: Refusals,
}

enum Message {
    Begin {
        transcript: u64,
        name: String,
        head: String,
        begin: Arc<Begin>,
    },
    Text {
        transcript: u64,
        text: String,
    },
    End {
        transcript: u64,
        text: String,
    },
    /// All before this is written.
    Written(SyncSender<()>),
}

impl fmt::Debug for Transcripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transcripts")
    }
}

impl Transcripts {
    /// Transcripts in files of this folder, `20050401T075600Z-<session>.pop3`, which nobody but this process's user can
    /// read. The folder has to be there. Fails where no thread can be had.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        Self::new(Bounds::default(), files_of(folder))
    }

    /// Transcripts at places that `begin` gives by their names. It, and what it gives, may take any time.
    pub fn new(
        bounds: Bounds,
        begin: impl Fn(&str) -> io::Result<Box<dyn Write + Send>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            bounds,
            octets: AtomicUsize::new(0),
            transcripts: AtomicU64::new(0),
            failures: Refusals::default(),
            skipped: Refusals::default(),
        });
        let (to, from) = mpsc::channel();
        let writing = Arc::clone(&queue);
        thread::Builder::new().name("transcripts".into()).spawn(move || write(&from, &writing))?;
        Ok(Self { writer: Writer { queue, to }, begin: Arc::new(begin) })
    }

    /// The same for sessions that begin from now on, in another folder.
    #[must_use]
    pub fn moved(&self, folder: &Path) -> Self {
        Self { writer: self.writer.clone(), begin: Arc::new(files_of(folder)) }
    }

    /// Waits until all is written that was said so far; `false` if that takes longer than `patience`.
    pub fn written(&self, patience: Duration) -> bool {
        let (done, written) = mpsc::sync_channel(1);
        self.writer.to.send(Message::Written(done)).is_ok() && written.recv_timeout(patience).is_ok()
    }
}

impl Observer for Transcripts {
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>> {
        let head = session.head();
        let started: String =
            head.started.iter().flat_map(|at| at.chars()).filter(|c| !"-:".contains(*c)).collect();
        let (name, head) = (format!("{started}-{}.pop3", session.session()), head.to_string());
        let queue = &self.writer.queue;
        if !queue.reserve(name.len() + head.len() + MESSAGE_OCTETS) {
            return None;
        }
        let transcript = queue.transcripts.fetch_add(1, Ordering::Relaxed);
        let (writer, begin) = (self.writer.clone(), Arc::clone(&self.begin));
        writer.to.send(Message::Begin { transcript, name, head, begin }).ok()?;
        Some(Box::new(Transcript {
            writer,
            transcript,
            octets: 0,
            events: 0,
            behind: 0,
            beyond: 0,
            last: String::new(),
        }))
    }
}

impl Queue {
    /// Takes room for so many octets, if there is.
    fn reserve(&self, octets: usize) -> bool {
        let more = |taken: usize| taken.checked_add(octets).filter(|&sum| sum <= self.bounds.queue_octets);
        let reserved = self.octets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if !reserved && let Some(times) = self.skipped.count(Instant::now()) {
            warn!(times, "transcripts are not complete: writing them takes too long");
        }
        reserved
    }

    fn release(&self, octets: usize) {
        self.octets.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// One session on its way into the queue.
struct Transcript {
    writer: Writer,
    transcript: u64,
    /// How much of it was handed over.
    octets: usize,
    events: usize,
    /// Events that were left out and not told of yet: because the writer was behind, or the transcript full.
    behind: usize,
    beyond: usize,
    /// Its last line.
    last: String,
}

impl Watch for Transcript {
    fn events(&mut self, events: &[Event]) -> ControlFlow<()> {
        let (behind, beyond) = (self.behind, self.beyond);
        let (mut text, mut written) = (String::new(), 0);
        for event in events {
            let is_line = !matches!(event.kind, Kind::Tls(_) | Kind::Tcp(_));
            if is_line && self.is_full(text.len(), written) {
                self.beyond += 1;
                continue;
            }
            self.tell_what_is_missing(&mut text);
            // A text takes all, here and below.
            let _written = writeln!(text, "{event}");
            written += 1;
        }
        if written == 0 {
            return ControlFlow::Continue(());
        }
        if self.writer.queue.reserve(text.len() + MESSAGE_OCTETS) {
            self.octets += text.len();
            self.events += written;
            self.send(Message::Text { transcript: self.transcript, text });
        } else {
            (self.behind, self.beyond) = (behind + written, beyond + events.len() - written);
        }
        ControlFlow::Continue(())
    }

    fn ended(&mut self, why: &str) {
        self.last = "# The session ended: ".into();
        self.last.extend(why.chars().filter(|c| !c.is_control()).take(WHY_MAX));
        self.last.push('\n');
    }
}

impl Transcript {
    /// Whether there is no room behind so much more of it.
    fn is_full(&self, octets: usize, events: usize) -> bool {
        self.octets + octets >= self.writer.queue.bounds.transcript_octets
            || self.events + events >= LINES_MAX
    }

    fn tell_what_is_missing(&mut self, text: &mut String) {
        let (behind, beyond) = (std::mem::take(&mut self.behind), std::mem::take(&mut self.beyond));
        if behind > 0 {
            let _written = writeln!(text, "{}", left_out(behind as u64, "writing takes too long"));
        }
        if beyond > 0 {
            let _written = writeln!(text, "{}", left_out(beyond as u64, "the transcript is full"));
        }
    }

    fn send(&self, message: Message) {
        // It fails where the writer has failed, which was told.
        let _lost = self.writer.to.send(message);
    }
}

impl Drop for Transcript {
    fn drop(&mut self) {
        let mut text = String::new();
        self.tell_what_is_missing(&mut text);
        text.push_str(&self.last);
        let end = Message::End { transcript: self.transcript, text };
        // There is one for each session that was let in: no bound is asked.
        self.writer.queue.octets.fetch_add(end.octets(), Ordering::Relaxed);
        self.send(end);
    }
}

impl Message {
    /// What it takes in the queue.
    fn octets(&self) -> usize {
        MESSAGE_OCTETS
            + match self {
                Self::Begin { name, head, .. } => name.len() + head.len(),
                Self::Text { text, .. } | Self::End { text, .. } => text.len(),
                Self::Written(_) => 0,
            }
    }
}

/// The thread that writes.
fn write(from: &Receiver<Message>, queue: &Queue) {
    let mut open: HashMap<u64, Box<dyn Write + Send>> = HashMap::new();
    for message in from {
        let octets = message.octets();
        let done = match message {
            Message::Begin { transcript, name, head, begin } => begin(&name).and_then(|mut to| {
                to.write_all(head.as_bytes())?;
                open.insert(transcript, to);
                Ok(())
            }),
            Message::Text { transcript, text } => match open.get_mut(&transcript) {
                Some(to) => to.write_all(text.as_bytes()).inspect_err(|_| drop(open.remove(&transcript))),
                None => Ok(()),
            },
            Message::End { transcript, text } => match open.remove(&transcript) {
                Some(mut to) => to.write_all(text.as_bytes()).and_then(|()| to.flush()),
                None => Ok(()),
            },
            Message::Written(done) => {
                // Who asked may have gone.
                let _gone = done.try_send(());
                continue;
            }
        };
        if let Err(error) = done
            && let Some(times) = queue.failures.count(Instant::now())
        {
            warn!(error = error.to_string().as_str(), times, "transcripts cannot be written");
        }
        queue.release(octets);
    }
}

/// Makes files in a folder.
fn files_of(folder: &Path) -> impl Fn(&str) -> io::Result<Box<dyn Write + Send>> + Send + Sync + 'static {
    let folder = folder.to_owned();
    move |name| {
        let path = folder.join(name);
        // A new file, and so never through a link.
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path);
        let file =
            file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Box::new(WholeLines { file, path, octets: 0 }))
    }
}

/// A file in which no piece is written in part: what is there of a transcript when the disk is full can be read, and
/// nothing is there of one that never began.
struct WholeLines {
    file: File,
    path: PathBuf,
    octets: u64,
}

impl Drop for WholeLines {
    fn drop(&mut self) {
        if self.octets == 0 {
            // What went wrong was told.
            let _left_behind = fs::remove_file(&self.path);
        }
    }
}

impl Write for WholeLines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.file.write_all(octets) {
            // The first error is the one to tell.
            let _too = self.file.set_len(self.octets);
            return Err(error);
        }
        self.octets += octets.len() as u64;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_new_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("other"), "kept").unwrap();
        symlink(at("other"), at("link.pop3")).unwrap();
        symlink(at("nowhere"), at("dangling.pop3")).unwrap();
        let begin = files_of(folder.path());
        for name in ["link.pop3", "dangling.pop3", "other"] {
            let error = begin(name).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{name}");
            assert!(error.to_string().starts_with(at(name).to_str().unwrap()), "{error}");
        }
        assert!(fs::read_to_string(at("other")).unwrap() == "kept" && !at("nowhere").exists());
        begin("new.pop3").unwrap().write_all(b"a\n").unwrap();
        assert_eq!(fs::read_to_string(at("new.pop3")).unwrap(), "a\n");
        drop(begin("empty.pop3").unwrap());
        assert!(!at("empty.pop3").exists());
    }

    #[test]
    fn the_queue_has_a_bound() {
        let queue = Queue {
            bounds: Bounds { queue_octets: 10, ..Bounds::default() },
            octets: AtomicUsize::new(0),
            transcripts: AtomicU64::new(0),
            failures: Refusals::default(),
            skipped: Refusals::default(),
        };
        assert!(queue.reserve(6) && !queue.reserve(5) && queue.reserve(4) && !queue.reserve(usize::MAX));
        queue.release(4);
        assert!(queue.reserve(4) && !queue.reserve(1));
    }
}
