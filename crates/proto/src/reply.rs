//! Replies: every word that the server says stands here, and what a client makes of a status line.
//!
//! A status line is never longer than 512 octets (RFC 2449 §4), whatever was sent, and never repeats what a client
//! sent.

use alloc::{borrow::Cow, borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::fmt::{self, Write as _};

use crate::{
    command::CommandError,
    decimal::{push_decimal, push_decimal_and, push_head},
    maildrop::UNIQUE_ID_MAX_OCTETS,
    phase::Phase,
    user::is_formatting,
};

/// The longest status line in octets, its CRLF included (RFC 2449 §4).
pub const STATUS_LINE_MAX_OCTETS: usize = 512;

/// A response code, which tells a program what a text tells a person (RFC 2449 §8, RFC 3206).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResponseCode {
    /// The maildrop is locked by another session.
    InUse,
    /// Too soon after the last login.
    LoginDelay,
    /// The system failed, for now.
    SysTemp,
    /// The system failed until somebody mends it.
    SysPerm,
    /// The credentials are wrong.
    Auth,
    /// Another one, as it came, in capitals.
    Other(Box<str>),
}

impl ResponseCode {
    /// The code without its brackets.
    pub const fn as_str(&self) -> &str {
        match self {
            Self::InUse => "IN-USE",
            Self::LoginDelay => "LOGIN-DELAY",
            Self::SysTemp => "SYS/TEMP",
            Self::SysPerm => "SYS/PERM",
            Self::Auth => "AUTH",
            Self::Other(code) => code,
        }
    }

    /// The code of this text between the brackets, as far as its levels are known: what stands behind a further slash is for
    /// who knows more (RFC 2449 §8).
    pub fn parse(text: &str) -> Self {
        let known = |head: &str| {
            let known = [Self::InUse, Self::LoginDelay, Self::SysTemp, Self::SysPerm, Self::Auth];
            known.into_iter().find(|code| code.as_str().eq_ignore_ascii_case(head))
        };
        let mut heads =
            core::iter::successors(Some(text), |head| head.rsplit_once('/').map(|(head, _)| head));
        heads.find_map(known).unwrap_or_else(|| Self::Other(text.to_ascii_uppercase().into_boxed_str()))
    }
}

/// A `-ERR` that a store or a directory asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it tells a program.
    pub code: Option<ResponseCode>,
    /// What it tells a person.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// A refusal without a code.
    pub fn plain(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: None, text: text.into() }
    }

    /// A refusal with a code.
    pub fn coded(code: ResponseCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: Some(code), text: text.into() }
    }

    /// Appends the status line, for a server that says nothing else on a connection.
    pub fn write(&self, out: &mut Vec<u8>) {
        Reply::Refused(self).write(out);
    }

    /// The one answer to a wrong user name or a wrong password.
    pub fn credentials() -> Self {
        Self::coded(ResponseCode::Auth, "wrong user name or password")
    }
}

/// A status line of the server.
#[derive(Clone, Debug)]
pub(crate) enum Reply<'a> {
    Greeting {
        hostname: &'a str,
        stamp: Option<&'a str>,
    },
    SendPassword,
    MaildropReady,
    Capabilities,
    Mechanisms,
    BeginTls,
    Stat {
        messages: u32,
        octets: u64,
    },
    Listing {
        messages: u32,
        octets: Option<u64>,
    },
    Size {
        number: u32,
        octets: u64,
    },
    Id {
        number: u32,
        id: &'a str,
    },
    Message {
        octets: u64,
    },
    Top,
    Deleted,
    Reset {
        messages: u32,
        octets: Option<u64>,
    },
    Noop,
    GoodBye,
    // From here on: -ERR.
    Refused(&'a Refusal),
    Command(CommandError),
    NotNow(Phase),
    TooLong,
    NoSuchMessage,
    AlreadyDeleted,
    GoneMessage,
    PassFirst,
    CleartextRefused,
    NoSuchMechanism,
    ApopOff,
    /// USER where nobody has a password here.
    PasswordsOff,
    TlsAlready,
    TlsUnavailable,
    ExchangeCancelled,
    NotBase64,
    Draining,
    NotRemoved {
        remain: u32,
    },
    TooManyErrors,
    NotHttp,
    Internal,
}

impl Reply<'_> {
    /// Whether it begins with `+OK`.
    pub(crate) const fn is_ok(&self) -> bool {
        use Reply::{
            BeginTls, Capabilities, Deleted, GoodBye, Greeting, Id, Listing, MaildropReady, Mechanisms,
            Message, Noop, Reset, SendPassword, Size, Stat, Top,
        };
        matches!(
            self,
            BeginTls
                | Capabilities
                | Deleted
                | GoodBye
                | Greeting { .. }
                | Id { .. }
                | Listing { .. }
                | MaildropReady
                | Mechanisms
                | Message { .. }
                | Noop
                | Reset { .. }
                | SendPassword
                | Size { .. }
                | Stat { .. }
                | Top
        )
    }

    /// Appends the status line.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(if self.is_ok() { b"+OK" } else { b"-ERR" });
        match self {
            // What a batch asks for thousands of times goes without formatting.
            Self::Noop => {}
            Self::Deleted => out.extend_from_slice(b" msg deleted"),
            Self::Message { octets } => {
                out.push(b' ');
                push_decimal(*octets, out);
                out.extend_from_slice(b" octets");
            }
            Self::Stat { messages, octets } => {
                out.push(b' ');
                push_decimal(u64::from(*messages), out);
                out.push(b' ');
                push_decimal(*octets, out);
            }
            Self::Size { number, octets } => {
                out.push(b' ');
                return write_size_line(*number, *octets, out);
            }
            Self::Id { number, id } => {
                out.push(b' ');
                return write_id_line(*number, id.as_bytes(), id.len(), out);
            }
            other => {
                let mut line = StatusLine { out, start };
                // Writing to a buffer cannot fail; what is too long is cut.
                let _cut = write!(line, " {other}");
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting { hostname, stamp: None } => write!(f, "{hostname} POP3 Server"),
            Self::Greeting { hostname, stamp: Some(stamp) } => write!(f, "{hostname} POP3 Server {stamp}"),
            Self::SendPassword => f.write_str("send your password"),
            Self::MaildropReady => f.write_str("maildrop locked and ready"),
            Self::Capabilities => f.write_str("capability list follows"),
            Self::Mechanisms => f.write_str("mechanism list follows"),
            Self::BeginTls => f.write_str("begin TLS negotiation"),
            Self::Stat { messages, octets } => write!(f, "{messages} {octets}"),
            Self::Listing { messages, octets: Some(octets) } => {
                write!(f, "{messages} messages ({octets} octets)")
            }
            Self::Listing { messages, octets: None } => write!(f, "{messages} messages"),
            Self::Size { number, octets } => write!(f, "{number} {octets}"),
            Self::Id { number, id } => write!(f, "{number} {id}"),
            Self::Message { octets } => write!(f, "{octets} octets"),
            Self::Top => f.write_str("top of message follows"),
            Self::Deleted => f.write_str("msg deleted"),
            Self::Reset { messages, octets: Some(octets) } => {
                write!(f, "maildrop has {messages} messages ({octets} octets)")
            }
            Self::Reset { messages, octets: None } => write!(f, "maildrop has {messages} messages"),
            Self::Noop => Ok(()),
            Self::GoodBye => f.write_str("POP3 Server saying Good-Bye"),
            Self::Refused(refusal) => match &refusal.code {
                Some(code) => write!(f, "[{}] {}", code.as_str(), refusal.text),
                None => f.write_str(&refusal.text),
            },
            Self::Command(error) => error.fmt(f),
            Self::NotNow(phase) => write!(f, "not allowed in the {} state", phase.name()),
            Self::TooLong => f.write_str("the line is too long"),
            Self::NoSuchMessage => f.write_str("no such message"),
            Self::AlreadyDeleted => f.write_str("the message is marked as deleted"),
            Self::GoneMessage => f.write_str("the message was removed by another program"),
            Self::PassFirst => f.write_str("send USER before PASS"),
            Self::CleartextRefused => f.write_str("no password without TLS: use STLS or the TLS port"),
            Self::NoSuchMechanism => f.write_str("no such mechanism"),
            Self::PasswordsOff => f.write_str("passwords are not taken here: use AUTH"),
            Self::ApopOff => f.write_str("APOP is not offered"),
            Self::TlsAlready => f.write_str("TLS is on already"),
            Self::TlsUnavailable => f.write_str("TLS is not available"),
            Self::ExchangeCancelled => f.write_str("authentication cancelled"),
            Self::NotBase64 => f.write_str("the response is not base64"),
            Self::Draining => f.write_str("[SYS/TEMP] the server is going down, try again later"),
            Self::NotRemoved { remain } => write!(f, "[SYS/TEMP] {remain} deleted messages not removed"),
            Self::TooManyErrors => f.write_str("too many errors"),
            Self::NotHttp => f.write_str("this is a POP3 server"),
            Self::Internal => f.write_str("[SYS/TEMP] internal error"),
        }
    }
}

/// Bounds a status line and keeps it printable ASCII, whatever a text from elsewhere holds.
struct StatusLine<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl fmt::Write for StatusLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = (STATUS_LINE_MAX_OCTETS - 2).saturating_sub(self.out.len() - self.start);
        let printable = |c: char| if matches!(c, ' '..='~') { c as u8 } else { b'?' };
        self.out.extend(text.chars().map(printable).take(room));
        Ok(())
    }
}

/// Appends a line of LIST's block.
pub(crate) fn write_size_line(number: u32, octets: u64, out: &mut Vec<u8>) {
    push_decimal_and(u64::from(number), *b" ", out);
    push_decimal_and(octets, *b"\r\n", out);
}

/// Appends a line of UIDL's block. The unique-id is the first `len` of these octets.
pub(crate) fn write_id_line(number: u32, octets: &[u8], len: usize, out: &mut Vec<u8>) {
    push_decimal_and(u64::from(number), *b" ", out);
    push_head::<UNIQUE_ID_MAX_OCTETS>(octets, len, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the final `.` line of a block.
pub(crate) fn write_end_of_block(out: &mut Vec<u8>) {
    out.extend_from_slice(b".\r\n");
}

/// Appends a challenge, which is base64 already (RFC 5034 §4).
pub(crate) fn write_challenge(base64: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(base64.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// How many octets the text of an answer to RETR announces, as servers write it: the number before the word, or the only
/// word that there is.
///
/// ```
/// use restante_proto::reply::announced_octets;
/// assert_eq!(announced_octets("1317 octets"), Some(1317));
/// assert_eq!(announced_octets("message 2 follows (120 octets)"), Some(120));
/// assert_eq!(announced_octets("message 3 follows"), None);
/// ```
pub fn announced_octets(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split([' ', '(', ')', ',']).filter(|word| !word.is_empty()).collect();
    let unit =
        |word: &str| ["octets", "octet", "bytes", "byte"].iter().any(|unit| unit.eq_ignore_ascii_case(word));
    match words.windows(2).find(|pair| unit(pair[1])) {
        Some(pair) => pair[0].parse().ok(),
        None => words.first().filter(|_| words.len() == 1)?.parse().ok(),
    }
}

/// A text from elsewhere that may be shown: so many characters at most, and none that could move a cursor, change colours
/// or turn the direction of writing.
pub fn printable(text: &str, max: usize) -> String {
    let harmless = |c: char| if c.is_control() || is_formatting(c) { '?' } else { c };
    text.chars().take(max).map(harmless).collect()
}

/// The longest response code that a client takes for one, in octets; what is longer, or not printable, is text.
const RESPONSE_CODE_MAX_OCTETS: usize = 64;

/// A status line as a client reads it.
///
/// ```
/// use restante_proto::reply::{ResponseCode, Status};
/// let status = Status::parse(b"-ERR [IN-USE] locked").unwrap();
/// assert_eq!(status, Status::Err { code: Some(ResponseCode::InUse), text: "locked".into() });
/// assert!(Status::parse(b"250 OK").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// `+OK text`.
    Ok {
        /// What follows.
        text: String,
    },
    /// `-ERR [code] text`.
    Err {
        /// The response code, where there is one (RFC 2449 §8).
        code: Option<ResponseCode>,
        /// What follows.
        text: String,
    },
    /// `+ challenge`, still in base64 (RFC 5034 §4).
    Challenge {
        /// The base64.
        base64: String,
    },
}

impl Status {
    /// Parses a status line without its line end; `None` if it is none. Octets that are not UTF-8 are replaced.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let after = |word: &str| {
            let (head, rest) = line.split_at_checked(word.len())?;
            let rest = match rest.strip_prefix([' ', '\t']) {
                Some(rest) => rest,
                None if rest.is_empty() => rest,
                None => return None,
            };
            head.eq_ignore_ascii_case(word).then(|| rest.to_owned())
        };
        if let Some(text) = after("+OK") {
            return Some(Self::Ok { text });
        }
        if let Some(text) = after("-ERR") {
            let coded = text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let is_code = |code: &str| {
                matches!(code.len(), 1..=RESPONSE_CODE_MAX_OCTETS)
                    && code.bytes().all(|octet| octet.is_ascii_graphic())
            };
            let coded = coded.filter(|(code, _)| is_code(code));
            return Some(match coded {
                Some((code, text)) => {
                    Self::Err { code: Some(ResponseCode::parse(code)), text: text.trim_start().to_owned() }
                }
                None => Self::Err { code: None, text },
            });
        }
        after("+").map(|base64| Self::Challenge { base64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_length_is_found_where_servers_write_it() {
        for (text, octets) in [
            ("1317 octets", Some(1317)),
            ("message follows (120 octets)", Some(120)),
            ("4 bytes", Some(4)),
            ("17", Some(17)),
            ("message 3 follows", None),
            ("", None),
        ] {
            assert_eq!(announced_octets(text), octets, "{text}");
        }
    }

    fn line(reply: &Reply<'_>) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_status_line_is_too_long_or_unprintable() {
        let refusal = Refusal::coded(ResponseCode::SysTemp, "\r\n+OK é".repeat(300));
        let line = line(&Reply::Refused(&refusal));
        assert_eq!(line.len(), STATUS_LINE_MAX_OCTETS);
        assert!(line.starts_with("-ERR [SYS/TEMP] ??+OK ?") && line.ends_with("\r\n"));
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn the_fast_lines_say_what_the_formatted_ones_say() {
        for reply in [
            Reply::Message { octets: 1317 },
            Reply::Stat { messages: 1, octets: u64::MAX },
            Reply::Deleted,
            Reply::Size { number: u32::MAX, octets: 0 },
            Reply::Id { number: 7, id: "QhdPYR:00WBw1Ph7x7" },
        ] {
            assert_eq!(line(&reply), alloc::format!("+OK {reply}\r\n"));
        }
        assert_eq!(line(&Reply::Noop), "+OK\r\n");
    }

    #[test]
    fn what_the_server_writes_a_client_reads() {
        assert_eq!(Status::parse(b"+OK"), Some(Status::Ok { text: String::new() }));
        assert_eq!(Status::parse(b"+ dGVzdA=="), Some(Status::Challenge { base64: "dGVzdA==".into() }));
        assert_eq!(Status::parse(b"+ "), Some(Status::Challenge { base64: String::new() }));
        let refusal = Refusal::coded(ResponseCode::Auth, "no");
        let line = line(&Reply::Refused(&refusal));
        let expected = Status::Err { code: Some(ResponseCode::Auth), text: "no".into() };
        assert_eq!(Status::parse(line.trim_end().as_bytes()), Some(expected));
        assert_eq!(Status::parse(b"+OKAY"), None);
        let busy = Status::Err { code: Some(ResponseCode::InUse), text: "locked".into() };
        assert_eq!(Status::parse(b"-ERR  [IN-USE] locked"), Some(busy));
        assert_eq!(Status::parse(b"+OK\tready"), Some(Status::Ok { text: "ready".into() }));
        for text in ["[\u{1b}[2J] no", "[a b] no", "[] no", &*alloc::format!("[{}] no", "x".repeat(65))] {
            let line = alloc::format!("-ERR {text}");
            assert_eq!(Status::parse(line.as_bytes()), Some(Status::Err { code: None, text: text.into() }));
        }
        assert_eq!(printable("a\u{1b}[31m\u{202e}b\n", 99), "a?[31m?b?");
        assert_eq!(printable("\u{e9}\u{e9}\u{e9}", 2), "\u{e9}\u{e9}");
    }
}
