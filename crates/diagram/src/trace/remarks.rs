//! What a step is for, in words: the protocol's texts (`restante_proto::explain`) with their fields filled in from the step
//! at hand, and what is said of TLS and of the ends of a session.

use restante_proto::explain::{self, Explanation, Text};

pub(super) use crate::words::side as name;
use crate::{heard::RecordKind, row::Remark, words};

/// What a step says of itself, as far as it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) number: Option<u64>,
    pub(super) octets: Option<u64>,
    pub(super) messages: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) lines: Option<u64>,
}

impl Fields {
    fn value(&self, name: &str) -> Option<String> {
        match name {
            "number" => self.number.map(words::thousands),
            "octets" => self.octets.map(|octets| words::count(octets, "octet")),
            "messages" => self.messages.map(|messages| words::count(messages, "message")),
            "lines" if self.lines == Some(0) => Some("no line".to_owned()),
            "lines" => self.lines.map(|lines| words::count(lines, "line")),
            "id" => self.id.clone(),
            "name" => self.name.clone(),
            _ => None,
        }
    }

    /// The text with its fields, or the plain one where the step does not say what belongs into them.
    pub(super) fn fill(&self, text: Text) -> String {
        if text.filled.is_empty() {
            return text.plain.to_owned();
        }
        let (mut filled, mut rest) = (String::new(), text.filled);
        while let Some((before, behind)) = rest.split_once('{') {
            let Some((name, behind)) = behind.split_once('}') else { break };
            let Some(value) = self.value(name) else { return text.plain.to_owned() };
            filled.push_str(before);
            filled.push_str(&value);
            rest = behind;
        }
        filled + rest
    }
}

pub(super) fn remark(text: impl Into<String>, rfc: Option<&'static str>) -> Remark {
    Remark { text: text.into(), rfc }
}

pub(super) fn greeting() -> Remark {
    remark(explain::GREETING.plain, Some("RFC 1939 §4"))
}

pub(super) fn command(of: &Explanation, fields: &Fields) -> Remark {
    remark(fields.fill(of.command), Some(of.rfc))
}

pub(super) fn ok(of: &Explanation, fields: &Fields) -> Remark {
    remark(fields.fill(of.ok), Some(of.rfc))
}

/// What `-ERR` means, or what the state makes of it, and what its response code adds (RFC 2449 §8, RFC 3206).
pub(super) fn err(of: &Explanation, misplaced: Option<&str>, code: Option<&str>) -> Remark {
    let (added, rfc) = match code {
        Some("IN-USE") => (" [IN-USE]: another session has the maildrop locked.", "RFC 2449 §8.1.2"),
        Some("LOGIN-DELAY") => {
            (" [LOGIN-DELAY]: the last login was too short a time ago.", "RFC 2449 §8.1.1")
        }
        Some("AUTH") => {
            (" [AUTH]: it is about the user's credentials; trying again will not help.", "RFC 3206 §5")
        }
        Some("SYS/TEMP") => {
            (" [SYS/TEMP]: it is the server's trouble, and may be over later.", "RFC 3206 §4")
        }
        Some("SYS/PERM") => {
            (" [SYS/PERM]: it is the server's trouble, and needs its administrator.", "RFC 3206 §4")
        }
        _ => ("", of.rfc),
    };
    remark(format!("{}{added}", misplaced.unwrap_or(of.err)), Some(rfc))
}

/// What a command of an extension is for.
pub(super) fn extension(word: &str) -> Option<Remark> {
    explain::extension(word).map(|(text, rfc)| remark(text, Some(rfc)))
}

pub(super) fn unknown_command(ok: Option<bool>) -> Remark {
    let text = match ok {
        None => {
            "No command that is known, so that nothing of it is shown: it could be a password in the wrong place."
        }
        Some(true) => "The server takes the command.",
        Some(false) => "The server does not know the command, or does not take it now.",
    };
    remark(text, Some("RFC 1939 §3"))
}

pub(super) fn records(kind: &RecordKind) -> Remark {
    match kind {
        RecordKind::ClientHello(_) => remark(
            "The client begins TLS: which versions and ciphers it has, and whose server it wants.",
            Some("RFC 8446 §4.1.2"),
        ),
        RecordKind::ServerHello(_) => {
            remark("The server chooses version and cipher.", Some("RFC 8446 §4.1.3"))
        }
        RecordKind::Handshake(_) => remark("A message of the TLS handshake.", Some("RFC 8446 §4")),
        RecordKind::ChangeCipherSpec => {
            remark("From here on the records are encrypted; in TLS 1.3 it says nothing.", Some("RFC 8446 §5"))
        }
        RecordKind::Alert(_) => remark("TLS tells of its end, or of an error.", Some("RFC 8446 §6")),
        RecordKind::ApplicationData => remark(
            "Encrypted: only when it passed and how long it was can be seen. A transcript of the client or the server shows what was said.",
            Some("RFC 8446 §5.2"),
        ),
        RecordKind::Other(_) => remark("No TLS record that is known.", Some("RFC 8446 §5.1")),
    }
}
