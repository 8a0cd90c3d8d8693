//! What goes out for one command, and what comes after it.

/// Octets, and how it goes on.
pub(super) struct Reply {
    pub(super) octets: Vec<u8>,
    pub(super) then: Then,
}

/// How it goes on after a reply.
#[derive(Clone, Copy)]
pub(super) enum Then {
    /// With the next command.
    Listen,
    /// The server closes.
    HangUp,
    /// The server closes, without TLS's farewell if there is TLS.
    Break,
    /// The server says no more, and does not close.
    FallSilent,
    /// What this gives, for ever; it is told how often it was asked.
    Repeat(fn(u64) -> Vec<u8>),
    /// The TLS handshake.
    Secure,
    /// Clear text in answer to whatever comes, then the server closes.
    ClearText,
}

impl Reply {
    pub(super) fn line(line: &str) -> Self {
        Self { octets: format!("{line}\r\n").into_bytes(), then: Then::Listen }
    }

    pub(super) fn ok(text: &str) -> Self {
        Self::line(&format!("+OK {text}"))
    }

    pub(super) fn refused(text: &str) -> Self {
        Self::line(&format!("-ERR {text}"))
    }

    /// A reply of many lines, its end among it.
    pub(super) fn block<L: AsRef<str>>(status: &str, lines: impl IntoIterator<Item = L>) -> Self {
        Self::open_block(status, lines).and(b".\r\n")
    }

    /// The same without an end.
    pub(super) fn open_block<L: AsRef<str>>(status: &str, lines: impl IntoIterator<Item = L>) -> Self {
        let lines = lines.into_iter();
        lines.fold(Self::ok(status), |reply, line| reply.and(line.as_ref().as_bytes()).and(b"\r\n"))
    }

    /// Nothing at all.
    pub(super) fn silence() -> Self {
        Self { octets: Vec::new(), then: Then::FallSilent }
    }

    pub(super) fn closed() -> Self {
        Self { octets: Vec::new(), then: Then::HangUp }
    }

    pub(super) fn and(mut self, octets: &[u8]) -> Self {
        self.octets.extend_from_slice(octets);
        self
    }

    pub(super) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    /// Whether it is a status line and no more.
    pub(super) fn is_one_line(&self) -> bool {
        self.octets.iter().filter(|&&octet| octet == b'\n').count() == 1
    }
}

/// A part of a line that never ends.
pub(super) fn endless_line(_: u64) -> Vec<u8> {
    vec![b'x'; 4096]
}
