//! What the user sees of a dialogue while it is played: its lines on standard output, and a recording.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use restante_proto::{
    UserName,
    dialogue::{self, Event, Head, Kind},
};

use super::{connection::Connection, script::Player};
use crate::{failure::Failure, output};

/// Where events go.
pub(super) struct Report {
    print: Print,
    recording: Option<(PathBuf, BufWriter<File>)>,
}

/// Whether events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Print {
    Nothing,
    Plain,
    Coloured,
}

impl Report {
    /// Opens the recording, before anything is said.
    pub(super) fn new(print: Print, recording: Option<&Path>) -> Result<Self, Failure> {
        let recording = recording
            .map(|path| {
                File::create(path)
                    .map(|file| (path.to_owned(), BufWriter::new(file)))
                    .map_err(|error| cannot_write(path, &error))
            })
            .transpose()?;
        Ok(Self { print, recording })
    }

    /// Writes the recording's head.
    pub(super) fn connected(
        &mut self,
        connection: &Connection,
        head: &Head,
        player: &Player,
    ) -> Result<(), Failure> {
        let recorded = Head {
            title: head.title.clone(),
            user: player.user.as_deref().and_then(|user| UserName::new(user).ok()),
            started: Some(now().into()),
            client: Some(connection.client.to_string().into()),
            server: Some(connection.server.to_string().into()),
            ..Head::default()
        };
        self.record(&recorded.to_string())
    }

    /// Shows events as they happen.
    pub(super) fn events(&mut self, events: &[Event]) -> Result<(), Failure> {
        for event in events {
            self.record(&format!("{event}\n"))?;
            let shown = Event { at: None, kind: event.kind.clone() };
            match self.print {
                Print::Nothing => {}
                Print::Plain => output::print(&format!("{shown}\n"))?,
                Print::Coloured => output::print(&format!("{}{shown}\x1b[0m\n", colour(&shown)))?,
            }
        }
        Ok(())
    }

    /// Ends the recording.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        match self.recording.take() {
            None => Ok(()),
            Some((path, mut file)) => file.flush().map_err(|error| cannot_write(&path, &error)),
        }
    }

    fn record(&mut self, text: &str) -> Result<(), Failure> {
        match &mut self.recording {
            None => Ok(()),
            Some((path, file)) => file.write_all(text.as_bytes()).map_err(|error| cannot_write(path, &error)),
        }
    }
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}

fn colour(event: &Event) -> &'static str {
    match &event.kind {
        Kind::Client(_) => "\x1b[36m",
        Kind::Server(line) => match line.octets() {
            Some(octets) if octets.starts_with(b"-ERR") => "\x1b[31m",
            _ => "\x1b[32m",
        },
        Kind::Body { .. } | Kind::Lines => "\x1b[32m",
        Kind::Tls(_) | Kind::Tcp(_) => "\x1b[2m",
    }
}

/// The time as `2005-04-01T07:56:00Z` (RFC 3339).
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    dialogue::timestamp(seconds)
}
