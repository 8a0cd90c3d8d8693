//! A dialogue read from a file, made ready to be said: marks filled in, lines joined into segments.

use std::{fs::File, io::Read, path::Path};

use restante_proto::{
    Secret,
    dialogue::{Event, Head, Kind, Line, Piece, Reader, Slot, TEXT_MAX_OCTETS, TlsEvent},
};

use crate::failure::Failure;

/// The events of a dialogue with the lines of the file where they stand.
pub(super) struct Script {
    pub(super) head: Head,
    pub(super) events: Vec<Event>,
    lines: Vec<usize>,
}

/// Who plays.
#[derive(Clone, Debug, Default)]
pub(super) struct Player {
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret<Vec<u8>>>,
}

/// What the client says at once, in segments, and the event behind it.
pub(super) struct Turn {
    pub(super) segments: Vec<Secret<Vec<u8>>>,
    pub(super) end: usize,
}

/// A line that cannot be said: the place of its event, and why.
pub(super) struct Unsayable {
    pub(super) place: usize,
    pub(super) why: &'static str,
}

impl Script {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let fail = |why: String| Failure::failed(format!("{}: {why}", path.display()));
        let mut text = Vec::new();
        let mut file =
            File::open(path).map_err(|error| fail(error.to_string()))?.take(TEXT_MAX_OCTETS as u64 + 1);
        file.read_to_end(&mut text).map_err(|error| fail(error.to_string()))?;
        if text.len() > TEXT_MAX_OCTETS {
            return Err(fail("the dialogue is longer than 64 MiB; split it".into()));
        }
        let (mut reader, mut events, mut lines) = (Reader::new(), Vec::new(), Vec::new());
        for line in text.split(|&octet| octet == b'\n') {
            let event = reader.line(line).map_err(|error| fail(error.to_string()))?;
            if let Some(event) = event {
                events.push(event);
                lines.push(reader.line_number());
            }
        }
        if events.is_empty() {
            return Err(fail("there is nothing to play".into()));
        }
        Ok(Self { head: reader.head().clone(), events, lines })
    }

    /// The line of the file where an event stands; the last one for the end.
    pub(super) fn line_of(&self, place: usize) -> usize {
        self.lines.get(place).or_else(|| self.lines.last()).copied().unwrap_or(1)
    }

    /// Whether the dialogue shakes hands itself, and whether it begins with that.
    pub(super) fn handshakes(&self) -> Handshakes {
        let is_handshake =
            |event: &Event| matches!(event.kind, Kind::Tls(TlsEvent::Handshake(_) | TlsEvent::Failed));
        let first = self.events.iter().find(|event| !matches!(event.kind, Kind::Tcp(_)));
        match first {
            Some(first) if is_handshake(first) => Handshakes::AtOnce,
            _ if self.events.iter().any(is_handshake) => Handshakes::Later,
            _ => Handshakes::Never,
        }
    }

    /// What must be known before this can be played.
    pub(super) fn needs(&self, slot: Slot) -> bool {
        self.events.iter().any(|event| match &event.kind {
            Kind::Client(line) => {
                line.pieces().contains(&Piece::Mark(slot))
                    || (slot == Slot::Password && is_hidden_password(line))
            }
            _ => false,
        })
    }

    /// The client's lines from here on, up to the next event that is none.
    pub(super) fn turn(&self, start: usize, player: &Player) -> Result<Turn, Unsayable> {
        let (mut segments, mut segment, mut end) = (Vec::new(), Vec::new(), start);
        for event in &self.events[start..] {
            let Kind::Client(line) = &event.kind else { break };
            for piece in line.pieces() {
                match piece {
                    Piece::Octets(octets) => segment.extend_from_slice(octets),
                    Piece::Cut => segments.push(std::mem::take(&mut segment)),
                    Piece::Mark(Slot::User) => {
                        let user =
                            player.user.as_ref().ok_or(Unsayable { place: end, why: "no user is known" })?;
                        segment.extend_from_slice(user.as_bytes());
                    }
                    Piece::Mark(Slot::Password) => segment.extend_from_slice(player.password(end)?),
                    Piece::Secret if is_hidden_password(line) => {
                        segment.extend_from_slice(player.password(end)?);
                    }
                    Piece::Secret => {
                        let why = "a secret was taken out of this line, so it cannot be said again";
                        return Err(Unsayable { place: end, why });
                    }
                }
            }
            end += 1;
        }
        segments.push(segment);
        let segments = segments.into_iter().filter(|segment| !segment.is_empty()).map(Secret::new).collect();
        Ok(Turn { segments, end })
    }

    /// Whether the client's last word is QUIT.
    pub(super) fn ends_with_quit(&self) -> bool {
        let last = self.events.iter().rev().find_map(|event| match &event.kind {
            Kind::Client(line) => line.octets(),
            _ => None,
        });
        last.is_some_and(|line| line.trim_ascii_end().eq_ignore_ascii_case(b"QUIT"))
    }
}

/// When a dialogue shakes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshakes {
    Never,
    AtOnce,
    Later,
}

impl Player {
    fn password(&self, place: usize) -> Result<&[u8], Unsayable> {
        let unknown = Unsayable { place, why: "no password is known" };
        self.password.as_ref().map(|password| password.expose().as_slice()).ok_or(unknown)
    }
}

/// `PASS [secret]`, as a recording has it.
fn is_hidden_password(line: &Line<Slot>) -> bool {
    match line.pieces() {
        [Piece::Octets(verb), Piece::Secret, Piece::Octets(end)] => {
            verb.eq_ignore_ascii_case(b"PASS ") && end == b"\r\n"
        }
        _ => false,
    }
}
