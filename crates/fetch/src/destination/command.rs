//! Into a command, which gets the message on its standard input: at least once.
//!
//! Lines end in LF, as filters and delivery agents expect it. The message is a file without a name until it is whole, and
//! that file is the standard input: a command that reads none of it disturbs nobody.

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use restante_store::maildir::staging::ToLocal;
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Batch, BatchMax, Destination, Fate, Fault, Intent, Kind, Promise, Spec, SpecError, Token};

pub(super) const KIND: Kind = Kind {
    name: "command",
    help: "a command that gets the message on its standard input (LF line ends)",
    example: "command:procmail -d john",
    promise: PROMISE,
    open,
};

const PROMISE: Promise = Promise::AtLeastOnce(
    "a crash while the command runs, or after it ended and before that is in the journal",
);

/// How long a command may take, in seconds.
const RUNS_MAX_SECONDS: u64 = 5 * 60;

/// How much of what a command says on standard error is kept, from its end, in octets.
const SAID_MAX_OCTETS: usize = 4096;

/// How many characters of its last line are told.
const TOLD_MAX_CHARACTERS: usize = 200;

/// How much is gathered before it is written, in octets.
const BUFFER_OCTETS: usize = 64 * 1024;

/// How long is waited between two looks whether the command has ended: at first, and at last.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(50)];

/// «Try again later» (sysexits.h).
const EX_TEMPFAIL: i32 = 75;

/// What a shell answers for a command that may not be run, and for one that is not there.
const NOT_RUN: [i32; 2] = [126, 127];

fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    if spec.place.trim().is_empty() || spec.place.contains('\0') {
        return Err(SpecError::Place("«command:» needs a command for the shell".to_owned()));
    }
    let patience = Duration::from_secs(RUNS_MAX_SECONDS);
    Ok(Box::new(Shell { command: spec.place.clone(), patience }))
}

#[derive(Debug)]
struct Shell {
    command: Box<str>,
    patience: Duration,
}

impl Destination for Shell {
    fn promise(&self) -> Promise {
        PROMISE
    }

    fn batch_max(&self) -> BatchMax {
        BatchMax { messages: 1, octets: u64::MAX }
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        let (command, patience) = (self.command.clone(), self.patience);
        Ok(Box::new(ShellBatch { command, patience, current: None, staged: Vec::new() }))
    }

    fn resolve(&self, _intent: &Intent) -> Result<Fate, Fault> {
        Ok(Fate::Unknown("nobody knows whether the command had ended when everything stopped".into()))
    }
}

struct ShellBatch {
    command: Box<str>,
    patience: Duration,
    current: Option<Spooled>,
    staged: Vec<File>,
}

/// A message that is not whole yet.
struct Spooled {
    file: File,
    local: ToLocal,
    buffer: Vec<u8>,
}

impl Spooled {
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.local.push(octets, &mut self.buffer);
        if self.buffer.len() < BUFFER_OCTETS { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written
    }

    fn finish(mut self) -> io::Result<File> {
        self.local.finish(&mut self.buffer);
        self.flush()?;
        self.file.rewind()?;
        Ok(self.file)
    }
}

fn spool_fault(error: &io::Error) -> Fault {
    let folder = std::env::temp_dir();
    Fault::Destination(format!("keeping a message for the command in {}: {error}", folder.display()))
}

impl Batch for ShellBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        let file = tempfile::tempfile().map_err(|error| spool_fault(&error))?;
        self.current = Some(Spooled { file, local: ToLocal::default(), buffer: Vec::new() });
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.write(octets).map_err(|error| spool_fault(&error))
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let Some(current) = self.current.take() else { return Ok(()) };
        self.staged.push(current.finish().map_err(|error| spool_fault(&error))?);
        Ok(())
    }

    fn abandon(&mut self) {
        self.current = None;
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        let token = || Token::new("command").ok_or_else(|| Fault::Destination("no token".to_owned()));
        self.staged.iter().map(|_| token()).collect()
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        let input = self.staged.get(place).and_then(|file| file.try_clone().ok());
        let Some(input) = input else {
            return Err(Fault::Destination(format!("there is no message {place} in this batch")));
        };
        let (status, said) = run(&self.command, input, self.patience)?;
        judge(status, &last_line(&said), self.patience)
    }

    fn settle(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Runs the command, and gives how it ended (`None` if it had to be killed) and what it said last on standard error.
fn run(command: &str, input: File, patience: Duration) -> Result<(Option<ExitStatus>, Vec<u8>), Fault> {
    let mut shell = Command::new("/bin/sh");
    // In a group of its own, so that what it started can be killed with it.
    shell.args(["-c", command]).process_group(0);
    shell.stdin(input).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = |error: io::Error| Fault::Destination(format!("starting the command: {error}"));
    let mut child = shell.spawn().map_err(started)?;
    let (say, said) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        let listener = std::thread::Builder::new().spawn(move || {
            // The end of what was said is a sign that the command has ended; nobody may wait for it any more.
            let _unheard = say.send(last_octets(stderr));
        });
        if let Err(error) = listener {
            kill(&mut child);
            return Err(started(error));
        }
    }
    let deadline = Instant::now() + patience;
    let (mut pause, mut text) = (LOOK_AGAIN[0], None);
    let status = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => {}
            Ok(Some(status)) => break Some(status),
            Ok(None) => {
                kill(&mut child);
                break None;
            }
            Err(error) => return Err(Fault::Destination(format!("waiting for the command: {error}"))),
        }
        match &text {
            None => match said.recv_timeout(pause) {
                Ok(octets) => text = Some(octets),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            },
            Some(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(LOOK_AGAIN[1]);
    };
    // Something that it left running may still hold standard error open.
    let text = text.or_else(|| said.recv_timeout(LOOK_AGAIN[1]).ok());
    Ok((status, text.unwrap_or_default()))
}

fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let killed = group.is_some_and(|group| kill_process_group(group, Signal::KILL).is_ok());
    let done = if killed { Ok(()) } else { child.kill() };
    if let Err(error) = done.and_then(|()| child.wait().map(drop)) {
        tracing::warn!(%error, "a command that took too long could not be killed");
    }
}

/// Reads to the end and keeps the last of it.
fn last_octets(mut source: impl io::Read) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; SAID_MAX_OCTETS]);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break kept,
            Ok(octets) => {
                kept.extend_from_slice(&buffer[..octets]);
                kept.drain(..kept.len().saturating_sub(SAID_MAX_OCTETS));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break kept,
        }
    }
}

/// The last line that says something, fit to be shown.
fn last_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let shown = line.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    shown.take(TOLD_MAX_CHARACTERS).collect()
}

fn judge(status: Option<ExitStatus>, said: &str, patience: Duration) -> Result<(), Fault> {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let Some(status) = status else {
        let seconds = patience.as_secs();
        return Err(Fault::Message(format!(
            "the command did not end within {seconds} seconds and was killed{said}"
        )));
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(EX_TEMPFAIL) => Err(Fault::Deferred(format!("the command asks to try again later{said}"))),
        Some(code) if NOT_RUN.contains(&code) => {
            Err(Fault::Destination(format!("the command cannot be run{said}")))
        }
        Some(code) => Err(Fault::Message(format!("the command ended with status {code}{said}"))),
        None => {
            let signal = status.signal().unwrap_or_default();
            Err(Fault::Message(format!("the command was killed by signal {signal}{said}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliver(command: &str, message: &[u8], patience: Duration) -> Result<(), Fault> {
        let mut batch = Shell { command: command.into(), patience }.batch()?;
        batch.begin()?;
        batch.write(message)?;
        batch.finish()?;
        assert_eq!(batch.sync().len(), 1);
        batch.publish(0)?;
        batch.settle()
    }

    fn quick(command: &str) -> Result<(), Fault> {
        deliver(command, &b"Subject: a\r\n".repeat(100_000), Duration::from_secs(60))
    }

    #[test]
    fn the_status_decides() {
        let message = |text: &str| Err(Fault::Message(text.to_owned()));
        assert_eq!(quick("cat >/dev/null; echo out; echo err >&2"), Ok(()));
        assert_eq!(quick("exit 0"), Ok(()), "it reads nothing");
        assert_eq!(quick("exec 2>&-; cat >/dev/null"), Ok(()));
        let said = message("the command ended with status 67:  [1mb");
        assert_eq!(quick("printf 'a\\n\\033[1mb\\n \\n' >&2; exit 67"), said);
        let deferred = Err(Fault::Deferred("the command asks to try again later".to_owned()));
        assert_eq!(quick("exit 75"), deferred);
        assert!(matches!(quick("/no/such/program"), Err(Fault::Destination(_))));
        assert_eq!(quick("kill -9 $$"), message("the command was killed by signal 9"));
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_it_started() {
        let patience = Duration::from_millis(50);
        let ended = deliver("sleep 1000 & sleep 1000", b"", patience).unwrap_err().to_string();
        assert!(ended.contains("did not end within"), "{ended}");
    }

    #[test]
    fn what_is_left_running_is_not_waited_for() {
        let before = Instant::now();
        assert_eq!(quick("sleep 20 & exit 0"), Ok(()));
        assert!(before.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn what_is_said_is_bounded() {
        let said = last_octets(io::Cursor::new(vec![b'x'; 100_000]));
        assert_eq!((said.len(), last_line(&said).len()), (SAID_MAX_OCTETS, TOLD_MAX_CHARACTERS));
        assert_eq!(last_line(b"\xff\n\n"), "\u{fffd}");
        assert_eq!(last_line(b""), "");
    }
}
