//! Text → values, line by line. Everything is bounded, and every error names its place and what to write instead.

use core::{fmt, time::Duration};

use super::{
    CONTENT_MAX_OCTETS, Dialogue, EVENTS_MAX, Event, Head, Kind, LINE_MAX_OCTETS, Line, Mark, Piece,
    TEXT_LINE_MAX_OCTETS, TEXT_MAX_OCTETS, TcpEvent, TlsEvent,
    text::{SECRET, fits, read_elided, read_number, read_run},
};

impl Dialogue {
    /// Reads a whole text.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        if text.len() > TEXT_MAX_OCTETS {
            return Err(ParseError { line: 1, column: 1, problem: Problem::TextTooLong });
        }
        let mut reader = Reader::new();
        let mut events = alloc::vec::Vec::new();
        for line in text.split(|&octet| octet == b'\n') {
            events.extend(reader.line(line)?);
        }
        Ok(Self { head: reader.head, events })
    }
}

/// Reads a text one line at a time, for who does not want to hold the whole.
///
/// ```
/// use restante_proto::dialogue::Reader;
/// let mut reader = Reader::new();
/// assert_eq!(reader.line(b"hostname: X1"), Ok(None));
/// assert_eq!(reader.line(b""), Ok(None));
/// assert!(reader.line(b"C: QUIT")?.is_some());
/// assert_eq!(reader.head().hostname.as_deref(), Some("X1"));
/// # Ok::<(), restante_proto::dialogue::ParseError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reader {
    head: Head,
    at: At,
    line: usize,
    events: usize,
    content_octets: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before the first key or event.
    #[default]
    Start,
    /// Inside the head.
    Head,
    /// Behind the head.
    Events,
}

type Found<T> = Result<T, (usize, Problem)>;

impl Reader {
    /// A reader at the start of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// The head, as far as it was read.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The number of the line that was read last, from 1.
    pub const fn line_number(&self) -> usize {
        self.line
    }

    /// Takes the next line of the text, without its line end, and gives the event that stands in it, if one does.
    pub fn line(&mut self, text: &[u8]) -> Result<Option<Event>, ParseError> {
        self.line += 1;
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // Some editors begin a file with a mark of its encoding.
        let text = if self.line == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        self.read(text).map_err(|(place, problem)| {
            // Columns count characters, as an editor does.
            let before = &text[..place.min(text.len())];
            let column = 1 + before.iter().filter(|&&octet| octet & 0xc0 != 0x80).count();
            ParseError { line: self.line, column, problem }
        })
    }

    fn read(&mut self, text: &[u8]) -> Found<Option<Event>> {
        if text.len() > TEXT_LINE_MAX_OCTETS {
            return Err((TEXT_LINE_MAX_OCTETS, Problem::TextLineTooLong));
        }
        let start = text.iter().position(|&octet| octet != b' ').unwrap_or(text.len());
        match &text[start..] {
            [] => {
                if self.at == At::Head {
                    self.at = At::Events;
                }
                return Ok(None);
            }
            [b'#', ..] => return Ok(None),
            _ => {}
        }
        let looks_like_event = begins_event(&text[start..]);
        match self.at {
            At::Head if looks_like_event => return Err((start, Problem::NoEmptyLine)),
            At::Start | At::Head if !looks_like_event => {
                self.at = At::Head;
                self.read_key(text, start)?;
                self.count(self.head.last_mail_octets())?;
                if !fits(text, |out| self.head.write_last_mail(out)) {
                    return Err((start, Problem::WrittenTooLong));
                }
                return Ok(None);
            }
            _ => self.at = At::Events,
        }
        self.events += 1;
        if self.events > EVENTS_MAX {
            return Err((start, Problem::TooManyEvents));
        }
        let (event, octets) = read_event(text, start)?;
        self.count(octets)?;
        if !fits(text, |out| write!(out, "{event}")) {
            return Err((start, Problem::WrittenTooLong));
        }
        Ok(Some(event))
    }

    fn read_key(&mut self, text: &[u8], start: usize) -> Found<()> {
        let colon = text.iter().position(|&octet| octet == b':').ok_or((start, Problem::KeyValue))?;
        let value = text[colon + 1..].trim_ascii_start();
        let at = text.len() - value.len();
        self.head.read(&text[start..colon], value.trim_ascii_end()).map_err(
            |(place, problem)| match problem {
                Problem::UnknownKey | Problem::RepeatedKey => (start, problem),
                _ => (at + place, problem),
            },
        )
    }

    fn count(&mut self, octets: usize) -> Found<()> {
        self.content_octets = self.content_octets.saturating_add(octets);
        if self.content_octets > CONTENT_MAX_OCTETS { Err((0, Problem::TooMuchContent)) } else { Ok(()) }
    }
}

/// Whether a line begins like an event: a time, or one capital letter and a colon.
const fn begins_event(text: &[u8]) -> bool {
    matches!(text, [b'0'..=b'9', ..] | [b'A'..=b'Z', b':', ..])
}

/// The event of a line of text, and how many octets it holds.
fn read_event(text: &[u8], start: usize) -> Found<(Event, usize)> {
    let (at, tag) = if text[start].is_ascii_digit() {
        let (at, rest) = read_time(&text[start..]).ok_or((start, Problem::Time))?;
        (Some(at), text.len() - rest.len())
    } else {
        (None, start)
    };
    let [letter @ (b'C' | b'S' | b'T' | b'N'), b':', rest @ ..] = &text[tag..] else {
        return Err((tag, Problem::Tag));
    };
    let rest = match rest {
        [b' ', rest @ ..] => rest,
        [] => rest,
        _ => return Err((tag + 2, Problem::NoSpace)),
    };
    let place = text.len() - rest.len();
    let shift = |(at, problem)| (place + at, problem);
    let (kind, octets) = match letter {
        b'C' => read_line(rest)
            .map(|line| (line.octets_held(), line))
            .map(|(held, line)| (Kind::Client(line), held)),
        b'S' if rest == b"{lines}" => Ok((Kind::Lines, 0)),
        b'S' => match read_elided(rest) {
            Some(octets) => Ok((Kind::Body { octets }, 0)),
            None => read_line(rest)
                .map(|line| (line.octets_held(), line))
                .map(|(held, line)| (Kind::Server(line), held)),
        },
        b'T' => TlsEvent::read(rest).map(|event| (Kind::Tls(event), 0)),
        _ => TcpEvent::read(rest).map(|event| (Kind::Tcp(event), 0)),
    }
    .map_err(shift)?;
    Ok((Event { at, kind }, octets))
}

/// Seconds, with up to nine digits behind the point, and the space behind them.
fn read_time(text: &[u8]) -> Option<(Duration, &[u8])> {
    let (seconds, rest) = read_number(text)?;
    let (nanos, rest) = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|octet| octet.is_ascii_digit()).count();
            let places = u32::try_from(digits).ok().filter(|places| (1..=9).contains(places))?;
            let (value, rest) = read_number(fraction)?;
            (u32::try_from(value).ok()? * 10u32.pow(9 - places), rest)
        }
        _ => (0, rest),
    };
    let (b' ', rest) = rest.split_first()? else { return None };
    Some((Duration::new(seconds, nanos), rest.trim_ascii_start()))
}

/// What stands behind `C: ` or `S: `.
fn read_line<M: Mark>(text: &[u8]) -> Found<Line<M>> {
    if text.last() == Some(&b' ') {
        return Err((text.len() - 1, Problem::TrailingSpace));
    }
    let (mut line, mut held, mut at) = (Line::default(), 0, 0);
    let (mut ended, mut no_room_for_end) = (true, None);
    while at < text.len() {
        let rest = &text[at..];
        if rest == b"\\" {
            ended = false;
            break;
        } else if rest.starts_with(b"\\|") {
            line.push(Piece::Cut);
            at += 2;
        } else if rest.starts_with(SECRET.as_bytes()) {
            line.push(Piece::Secret);
            at += SECRET.len();
        } else if let Some((mark, taken)) = read_mark(rest).map_err(|problem| (at, problem))? {
            line.push(Piece::Mark(mark));
            at += taken;
        } else {
            let (run, taken) = read_run(rest).map_err(|problem| (at, problem))?;
            held += run.len();
            if held > LINE_MAX_OCTETS {
                return Err((at, Problem::LineTooLong));
            }
            if held > LINE_MAX_OCTETS - b"\r\n".len() {
                no_room_for_end = no_room_for_end.or(Some(at));
            }
            line.push_run(run);
            at += taken;
        }
    }
    if ended {
        if let Some(at) = no_room_for_end {
            return Err((at, Problem::LineTooLong));
        }
        let cut = line.pop_cut();
        line.push_octets(b"\r\n");
        if cut {
            line.push(Piece::Cut);
        }
    }
    Ok(line)
}

/// A mark in braces, if the text begins with one; a run such as `{600*A}` is none.
fn read_mark<M: Mark>(text: &[u8]) -> Result<Option<(M, usize)>, Problem> {
    let [b'{', inside @ ..] = text else { return Ok(None) };
    if inside.first().is_some_and(u8::is_ascii_digit) {
        return Ok(None);
    }
    let end = inside.iter().position(|&octet| octet == b'}').ok_or(M::UNKNOWN)?;
    let (_, mark) = M::NAMES
        .iter()
        .find(|(name, _)| name.as_bytes() == &inside[..end])
        .ok_or_else(|| if &inside[..end] == b"lines" { Problem::LinesAlone } else { M::UNKNOWN })?;
    Ok(Some((*mark, end + 2)))
}

/// Why a text is no dialogue, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.problem)
    }
}

impl core::error::Error for ParseError {}

macro_rules! problems {
    ($($name:ident: $text:literal,)*) => {
        /// What is wrong with a text. Nothing of the text itself is repeated: it may hold a password.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Problem {
            $(#[doc = concat!("«", $text, "»")] $name,)*
        }

        impl fmt::Display for Problem {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

problems! {
    TextTooLong: "the text is longer than 64 MiB; split it",
    TextLineTooLong: "the line is longer than any line of a session; shorten it",
    WrittenTooLong: "written out with its escapes, the line is longer than any that is read; shorten it",
    LineTooLong: "the line of the session has more than 32,768 octets; shorten it, or split it with a backslash at its end",
    TooManyEvents: "there are more than 1,048,576 events; split the dialogue",
    TooMuchContent: "lines and mail hold more than 64 MiB in all; make runs and mail shorter",
    TooMuchMail: "there are more than 100,000 messages; take some out",
    KeyValue: "not `key: value`, and not a line of a session, which begins with `C:`, `S:`, `T:` or `N:`",
    UnknownKey: "unknown key; there are title, started, client, server, hostname, user, password, apop, tls, cleartext and mail",
    RepeatedKey: "this key stands above already; only `mail` may be repeated",
    NoEmptyLine: "the head ends with an empty line; put one before this line",
    ValueTooLong: "the value has more than 1,024 octets; shorten it",
    User: "this is no user name: no spaces, slashes, colons or leading dots, at most 255 octets",
    TlsMode: "write `off`, `stls` or `implicit`",
    Cleartext: "write `never`, `loopback` or `always`",
    Joined: "write `AUTHORIZATION` or `TRANSACTION`",
    Apop: "write `off`, `on`, or `on` and a time stamp of letters, digits and dots",
    Mail: "write a unique-id, a space, and one of `[1317 octets]`, `\"text\"` or `file PATH`",
    UniqueId: "a unique-id is 1 to 70 printable ASCII characters without a space",
    Filler: "a message that is made up has 0 or 2 to 67,108,864 octets",
    Quote: "the message's text ends with a quotation mark; put one at the end of the line",
    Utf8: "the value is not UTF-8; write it in that encoding",
    Time: "a time is seconds with up to nine digits behind a point, and a space: `0.000123 C: QUIT`",
    Tag: "a line begins with `C:`, `S:`, `T:`, `N:` or `#`, the first four with a time in front if you like",
    NoSpace: "put one space behind the colon",
    TrailingSpace: "a space at the end of a line is easily lost; write it as `\\x20`, or take it away",
    Control: "a control character; write it as `\\t`, `\\r`, `\\n` or `\\xNN`",
    Escape: "unknown escape; there are `\\\\`, `\\t`, `\\r`, `\\n`, `\\{`, `\\}`, `\\[`, `\\]`, `\\\"`, `\\xNN` and, in lines, `\\|` and a backslash at the end",
    Hexadecimal: "two hexadecimal digits follow `\\x`",
    Brace: "write a brace as `\\{`; a run of one octet is written `{600*A}`",
    Run: "a run is a number, `*`, one octet, and a closing brace: `{600*A}`",
    RunTooLong: "a run has 1 to 32,768 octets",
    UnknownSlot: "a client's line knows `{user}`, `{password}` and runs such as `{600*A}`; write a brace as `\\{`",
    UnknownPattern: "a server's line knows `{any}`, `{number}`, `{word}`, `{base64}`, `{lines}` and runs such as `{600*A}`; write a brace as `\\{`",
    LinesAlone: "`{lines}` stands alone behind `S: `",
    TlsEvent: "write `handshake`, `failed`, `C close` or `S close`",
    TlsFact: "behind `handshake` stand `version=`, `cipher=`, `name=` and `alpn=`, each once and with a word",
    TcpEvent: "write `connect`, `timeout`, or `C` or `S` and the flags of a segment",
    Segment: "a segment has the flags SYN, FIN, RST, PSH and ACK, then `seq=`, `ack=` and `octets=`, each once and with a number",
}
