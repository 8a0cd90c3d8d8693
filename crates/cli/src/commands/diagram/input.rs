//! What is drawn, as it comes: a file with its progress, or a pipe that may fall silent and that Ctrl-C ends.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    failure::Failure,
    runtime::{self, Threads},
};

/// How much is read at a time, in octets.
const PIECE_OCTETS: usize = 256 << 10;
/// How many pieces of a pipe wait to be drawn.
const PIECES_MAX: usize = 4;
/// A pipe that brings nothing for so long is silent: what is held back is drawn.
const SILENCE: Duration = Duration::from_millis(250);
/// Files of this length, in octets, have a progress bar.
const LONG_OCTETS: u64 = 64 << 20;

/// An input.
pub(super) enum Input {
    File { file: File, name: String, bar: Option<ProgressBar>, piece: Vec<u8> },
    Pipe { pieces: Receiver<Piece>, piece: Vec<u8>, interrupted: Arc<AtomicBool> },
}

/// What comes next.
pub(super) enum Next<'i> {
    Octets(&'i [u8]),
    /// Nothing, for the moment.
    Nothing,
    End,
}

/// What the thread that reads a pipe hands over.
pub(super) enum Piece {
    Octets(Vec<u8>),
    Failed(io::Error),
    End,
}

/// Whether this name stands for standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if is_stdin(path) {
            let (sender, pieces) = mpsc::sync_channel(PIECES_MAX);
            let interrupt = sender.clone();
            let interrupted = Arc::new(AtomicBool::new(false));
            let tells = Arc::clone(&interrupted);
            thread::spawn(move || read_stdin(&sender));
            // tcpdump hears Ctrl-C too, and writes what it still has: that is to be drawn as well. A second one ends us.
            thread::spawn(move || end_on_interrupt(&interrupt, &tells));
            return Ok(Self::Pipe { pieces, piece: Vec::new(), interrupted });
        }
        let name = path.display().to_string();
        let cannot = |error: &io::Error| Failure::failed(format!("cannot open {name}: {error}"));
        let file = File::open(path).map_err(|error| cannot(&error))?;
        let metadata = file.metadata().map_err(|error| cannot(&error))?;
        if metadata.is_dir() {
            return Err(Failure::failed(format!("{name} is a folder"))
                .hint("name one of its files; the server's transcripts are one file a session"));
        }
        let bar = (metadata.len() >= LONG_OCTETS && io::stderr().is_terminal()).then(|| bar(metadata.len()));
        Ok(Self::File { file, name, bar, piece: vec![0; PIECE_OCTETS] })
    }

    /// Whether somebody has pressed Ctrl-C, which a terminal shows in the line at hand.
    pub(super) fn was_interrupted(&self) -> bool {
        matches!(self, Self::Pipe { interrupted, .. } if interrupted.load(Ordering::Relaxed))
    }

    pub(super) fn next(&mut self) -> Result<Next<'_>, Failure> {
        match self {
            Self::File { file, name, bar, piece } => loop {
                match file.read(piece) {
                    Ok(0) => {
                        if let Some(bar) = bar.take() {
                            bar.finish_and_clear();
                        }
                        return Ok(Next::End);
                    }
                    Ok(octets) => {
                        if let Some(bar) = bar {
                            bar.inc(octets as u64);
                        }
                        return Ok(Next::Octets(&piece[..octets]));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Failure::failed(format!("cannot read {name}: {error}"))),
                }
            },
            Self::Pipe { pieces, piece, .. } => match pieces.recv_timeout(SILENCE) {
                Ok(Piece::Octets(octets)) => {
                    *piece = octets;
                    Ok(Next::Octets(piece))
                }
                Ok(Piece::Failed(error)) => {
                    Err(Failure::failed(format!("cannot read standard input: {error}")))
                }
                Ok(Piece::End) | Err(RecvTimeoutError::Disconnected) => Ok(Next::End),
                Err(RecvTimeoutError::Timeout) => Ok(Next::Nothing),
            },
        }
    }
}

fn read_stdin(pieces: &SyncSender<Piece>) {
    let mut stdin = io::stdin().lock();
    let mut piece = vec![0; PIECE_OCTETS];
    loop {
        let next = match stdin.read(&mut piece) {
            Ok(0) => Piece::End,
            Ok(octets) => Piece::Octets(piece[..octets].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Piece::Failed(error),
        };
        let last = !matches!(next, Piece::Octets(_));
        // Nobody listens any more once the drawing is over.
        if pieces.send(next).is_err() || last {
            return;
        }
    }
}

/// The first interrupt is left to who writes into the pipe: its end is ours. Where that does not come, the drawing ends.
fn end_on_interrupt(pieces: &SyncSender<Piece>, interrupted: &AtomicBool) {
    const GRACE: Duration = Duration::from_secs(2);
    let waited = runtime::block_on(Threads::One, async {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.store(true, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(GRACE) => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
    });
    if waited.is_ok() {
        // A drawing that is over has nobody who listens.
        pieces.send(Piece::End).unwrap_or_default();
    }
}

fn bar(octets: u64) -> ProgressBar {
    let bar = ProgressBar::new(octets);
    let template = "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
