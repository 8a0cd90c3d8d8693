//! Where a session can be followed again, of which something was not heard: at a client's line of which it is proven that
//! it is a line, that it is a command, and that it is no secret.
//!
//! What may look like a command and be none: the rest of a password with spaces (`PASS a LIST 1`, cut behind the `a`), and
//! a SASL response (`QUIT` is base64). So a client's line counts only if
//!
//! 1. the end of a line of the client was heard before it, and every octet from there on: its start is a line's start;
//! 2. the server has spoken since, and its last line was `+OK`, `-ERR` or the `.` of a block, whole, with nothing behind:
//!    no exchange is under way (RFC 5034 §4: its challenges begin with `+ `), and nothing is unanswered;
//! 3. it is a whole, valid command.

use restante_proto::{
    command::Command,
    dialogue::Side,
    phase::{Phase, TRANSITIONS},
    verb::Verb,
};

use super::follow::last_line;

/// What was heard since the session was lost from sight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    /// The client's last octets ended a line.
    client_line_ended: bool,
    /// The next octet of the server begins a line.
    server_line_begins: bool,
    /// The server has answered the client's last line.
    answered: bool,
}

/// A line from which on the session can be followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// The line proves that somebody is logged in.
    pub(super) logged_in: bool,
}

impl Lost {
    /// The session was followed until now: whether the next octets of each side begin a line is known.
    pub(super) const fn new(client_line_begins: bool, server_line_begins: bool) -> Self {
        Self { client_line_ended: client_line_begins, server_line_begins, answered: false }
    }

    /// Octets of this side lack.
    pub(super) const fn lacking(&mut self, side: Option<Side>) {
        match side {
            Some(Side::Client) => self.client_line_ended = false,
            Some(Side::Server) => self.server_line_begins = false,
            None => {}
        }
        self.answered = false;
    }

    /// The client says this.
    pub(super) fn client(&mut self, octets: &[u8]) -> Option<Found> {
        if let (true, Some(found)) = (self.client_line_ended && self.answered, proof(octets)) {
            return Some(found);
        }
        self.client_line_ended = octets.ends_with(b"\n");
        // A server is silent until it is asked.
        (self.answered, self.server_line_begins) = (false, true);
        None
    }

    /// The server says this.
    pub(super) fn server(&mut self, octets: &[u8]) -> Option<Found> {
        let line = last_line(octets).filter(|line| line.len() < octets.len() || self.server_line_begins);
        self.answered = self.client_line_ended && line.is_some_and(ends_answer);
        self.server_line_begins = octets.ends_with(b"\n");
        None
    }
}

/// What the client's first line here proves, if it is a whole, valid command.
pub(super) fn proof(octets: &[u8]) -> Option<Found> {
    let line = octets.get(..memchr::memchr(b'\n', octets)?)?;
    let command = Command::parse(line.strip_suffix(b"\r").unwrap_or(line)).ok()?;
    Some(Found { logged_in: proves_login(command.verb()) })
}

fn ends_answer(line: &[u8]) -> bool {
    line == b".\r\n" || is_status(line)
}

/// Whether a line that begins so is a status line (RFC 1939 §3).
pub(super) fn is_status(octets: &[u8]) -> bool {
    let word = if octets.starts_with(b"+OK") {
        3
    } else if octets.starts_with(b"-ERR") {
        4
    } else {
        return false;
    };
    matches!(octets.get(word), None | Some(b' ' | b'\r' | b'\n'))
}

/// Whether a verb is said in TRANSACTION alone. NOOP is said before the login too, by clients that only mean to keep a
/// connection open.
fn proves_login(verb: Verb) -> bool {
    verb != Verb::Noop
        && TRANSITIONS.iter().filter(|row| row.verb == verb).all(|row| row.from == Phase::Transaction)
}
