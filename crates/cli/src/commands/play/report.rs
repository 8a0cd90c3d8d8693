//! What the user sees of a dialogue while it is played: its lines on standard output, and a recording.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use restante_proto::{
    UserName,
    dialogue::{Event, Head, Kind},
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
    timestamp(seconds)
}

fn timestamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of a year 0, so that a leap day is a year's last; eras have 400 years.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, january) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + january;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn dates_are_right() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(951_868_800), "2000-03-01T00:00:00Z");
        assert_eq!(timestamp(1_112_342_160), "2005-04-01T07:56:00Z");
        assert_eq!(timestamp(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(timestamp(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
