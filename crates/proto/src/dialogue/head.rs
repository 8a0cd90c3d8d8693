//! The head of a dialogue: `key: value` lines that say what was there before the first octet. Reading and writing
//! them stand together here, key by key.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt::{self, Write};

use super::{
    CONTENT_MAX_OCTETS, FILLER_MAX_OCTETS, MAIL_MAX, Problem,
    text::{read_elided, read_run, write_octets},
};
use crate::{Secret, UniqueId, UserName, phase::Phase};

/// The longest value other than a message's text, in octets, once its abbreviations are written out.
const VALUE_MAX_OCTETS: usize = 1024;

/// What was there before the first octet. A key that is absent leaves the choice to who plays the dialogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `title` What this dialogue shows, in a few words.
    pub title: Option<Box<str>>,
    /// `hostname` The server's name, as its greeting says it.
    pub hostname: Option<Box<str>>,
    /// `user` The user whose maildrop it is.
    pub user: Option<UserName>,
    /// `password` That user's password. Only tests have one: a recorder never writes it.
    pub password: Option<Secret<Vec<u8>>>,
    /// `mail` The messages of the maildrop, in the order of their numbers.
    pub mail: Vec<Mail>,
    /// `apop` Whether the server offers APOP.
    pub apop: Option<Apop>,
    /// `tls` What the server does about TLS.
    pub tls: Option<TlsMode>,
    /// `cleartext` Where the server takes passwords without TLS.
    pub cleartext: Option<Cleartext>,
    /// `client` The client's address, in a recording.
    pub client: Option<Box<str>>,
    /// `server` The server's address, in a recording.
    pub server: Option<Box<str>>,
    /// `started` The time of the first octet, in a recording, such as `2005-04-01T07:56:00Z`.
    pub started: Option<Box<str>>,
    /// `joined` In which state the session was when somebody began to hear it, in a recording that begins in the middle.
    pub joined: Option<Joined>,
}

/// One message of the maildrop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Its unique-id.
    pub unique_id: UniqueId,
    /// What it holds.
    pub content: Content,
}

/// What a message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// `"Subject: a\r\n\r\nb\r\n"` These octets, as they are stored.
    Octets(Vec<u8>),
    /// `[1317 octets]` Whatever [`filler`] makes up, of this length.
    Filler(u32),
    /// `file PATH` What the file holds; the path is relative to the dialogue's own folder.
    File(Box<str>),
}

/// Whether APOP is on (RFC 1939 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apop {
    /// `off`
    Off,
    /// `on` With a time stamp of the server's choice.
    On,
    /// `on 1896.697170952` With this time stamp: what stands before the `@` of the greeting's msg-id.
    Stamp(Box<str>),
}

/// What the server does about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// `off` There is none.
    Off,
    /// `stls` It offers STLS (RFC 2595).
    Stls,
    /// `implicit` TLS from the first byte (RFC 8314).
    Implicit,
}

/// Where the server takes passwords without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cleartext {
    /// `never`
    Never,
    /// `loopback`
    Loopback,
    /// `always`
    Always,
}

/// The state of a session that was under way when somebody began to hear it, between two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Joined {
    /// `AUTHORIZATION` Behind the greeting.
    Authorization,
    /// `TRANSACTION` Behind the login.
    Transaction,
}

impl Joined {
    /// What a dialogue says of a session that is joined in this state: whether somebody is logged in.
    pub const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Authorization | Phase::Named | Phase::Closed => Self::Authorization,
            Phase::Transaction | Phase::Update => Self::Transaction,
        }
    }

    /// The state.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Authorization => Phase::Authorization,
            Self::Transaction => Phase::Transaction,
        }
    }
}

const TLS_MODES: &[(&str, TlsMode)] =
    &[("off", TlsMode::Off), ("stls", TlsMode::Stls), ("implicit", TlsMode::Implicit)];
const CLEARTEXTS: &[(&str, Cleartext)] =
    &[("never", Cleartext::Never), ("loopback", Cleartext::Loopback), ("always", Cleartext::Always)];
const JOINED: &[(&str, Joined)] =
    &[(Phase::Authorization.name(), Joined::Authorization), (Phase::Transaction.name(), Joined::Transaction)];

/// A made-up message of exactly so many octets in canonical form: a header, then lines of letters. No message is one
/// octet long, since its line end would count; then it is empty.
pub fn filler(octets: u32) -> Vec<u8> {
    const HEADER: &[u8] = b"Subject: filler\r\n\r\n";
    const LINE: &[u8] = b"abcdefghijklmnopqrstuvwxyz 0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ letters\r\n";
    let wanted = octets as usize;
    if wanted < 2 {
        return Vec::new();
    }
    let mut message = if wanted >= HEADER.len() { HEADER.to_vec() } else { Vec::new() };
    // The last line is cut to measure; a rest of one octet, which no line can be, goes to
    // the header.
    while wanted - message.len() > LINE.len() + 1 {
        message.extend_from_slice(LINE);
    }
    let rest = wanted - message.len();
    if rest >= 2 {
        message.extend(LINE.iter().cycle().filter(|octet| !octet.is_ascii_control()).take(rest - 2));
        message.extend_from_slice(b"\r\n");
    } else if rest == 1 {
        message.insert(HEADER.len() - b"\r\n\r\n".len(), b'r');
    }
    message
}

impl Head {
    /// Takes one `key: value` line in. An error comes with its place in the value.
    pub(super) fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), (usize, Problem)> {
        match key {
            b"title" => once(&mut self.title, read_text(value)),
            b"hostname" => once(&mut self.hostname, read_text(value)),
            b"user" => {
                let user =
                    read_text(value).and_then(|name| UserName::new(&name).map_err(|_| (0, Problem::User)));
                once(&mut self.user, user)
            }
            b"password" => once(&mut self.password, read_value(value).map(Secret::new)),
            b"mail" if self.mail.len() == MAIL_MAX => Err((0, Problem::TooMuchMail)),
            b"mail" => read_mail(value).map(|mail| self.mail.push(mail)),
            b"apop" => once(&mut self.apop, read_apop(value)),
            b"tls" => once(&mut self.tls, choose(TLS_MODES, value).ok_or((0, Problem::TlsMode))),
            b"cleartext" => {
                once(&mut self.cleartext, choose(CLEARTEXTS, value).ok_or((0, Problem::Cleartext)))
            }
            b"client" => once(&mut self.client, read_text(value)),
            b"server" => once(&mut self.server, read_text(value)),
            b"started" => once(&mut self.started, read_text(value)),
            b"joined" => once(&mut self.joined, choose(JOINED, value).ok_or((0, Problem::Joined))),
            _ => Err((0, Problem::UnknownKey)),
        }
    }

    /// Writes every key that is there; nothing else, no empty line behind it.
    pub(super) fn write(&self, out: &mut dyn Write) -> fmt::Result {
        write_text(out, "title", self.title.as_deref())?;
        write_text(out, "started", self.started.as_deref())?;
        write_text(out, "client", self.client.as_deref())?;
        write_text(out, "server", self.server.as_deref())?;
        write_text(out, "joined", self.joined.map(|joined| name(JOINED, joined)))?;
        write_text(out, "hostname", self.hostname.as_deref())?;
        write_text(out, "user", self.user.as_ref().map(UserName::as_str))?;
        if let Some(password) = &self.password {
            write_value(out, "password", password.expose())?;
        }
        match &self.apop {
            None => {}
            Some(Apop::Off) => out.write_str("apop: off\n")?,
            Some(Apop::On) => out.write_str("apop: on\n")?,
            Some(Apop::Stamp(stamp)) => {
                out.write_str("apop: on ")?;
                write_spaced(out, stamp.as_bytes())?;
                out.write_char('\n')?;
            }
        }
        write_text(out, "tls", self.tls.map(|mode| name(TLS_MODES, mode)))?;
        write_text(out, "cleartext", self.cleartext.map(|where_| name(CLEARTEXTS, where_)))?;
        self.mail.iter().try_for_each(|mail| mail.write(out))
    }

    /// Writes the last message's line.
    pub(super) fn write_last_mail(&self, out: &mut dyn Write) -> fmt::Result {
        self.mail.last().map_or(Ok(()), |mail| mail.write(out))
    }

    /// How many octets the last message holds or makes up.
    pub(super) fn last_mail_octets(&self) -> usize {
        self.mail.last().map_or(0, |mail| match &mail.content {
            Content::Octets(octets) => octets.len(),
            Content::Filler(octets) => *octets as usize,
            Content::File(_) => 0,
        })
    }
}

impl Mail {
    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        out.write_str("mail: ")?;
        write_octets(out, self.unique_id.as_str().as_bytes())?;
        match &self.content {
            Content::Octets(octets) => {
                out.write_str(" \"")?;
                write_octets(out, octets)?;
                out.write_char('"')?;
            }
            Content::Filler(octets) => write!(out, " [{octets} octets]")?,
            Content::File(path) => {
                out.write_str(" file ")?;
                write_spaced(out, path.as_bytes())?;
            }
        }
        out.write_char('\n')
    }
}

type Found<T> = Result<T, (usize, Problem)>;

fn once<T>(place: &mut Option<T>, value: Found<T>) -> Found<()> {
    match place {
        Some(_) => Err((0, Problem::RepeatedKey)),
        None => {
            *place = Some(value?);
            Ok(())
        }
    }
}

fn choose<T: Copy>(choices: &[(&str, T)], value: &[u8]) -> Option<T> {
    choices.iter().find(|(name, _)| name.as_bytes() == value).map(|(_, choice)| *choice)
}

fn name<T: PartialEq>(choices: &[(&'static str, T)], value: T) -> &'static str {
    choices.iter().find(|(_, choice)| *choice == value).map_or("", |(name, _)| name)
}

fn read_mail(value: &[u8]) -> Found<Mail> {
    let space = value.iter().position(|&octet| octet == b' ').ok_or((value.len(), Problem::Mail))?;
    let (id, content) = (&value[..space], value[space..].trim_ascii_start());
    let unique_id = UniqueId::new(&read_value(id)?).ok_or((0, Problem::UniqueId))?;
    let at = value.len() - content.len();
    let content = if let Some(octets) = read_elided(content) {
        let octets = u32::try_from(octets).ok().filter(|&octets| octets != 1 && octets <= FILLER_MAX_OCTETS);
        Content::Filler(octets.ok_or((at, Problem::Filler))?)
    } else if let Some(path) = content.strip_prefix(b"file ") {
        let path = path.trim_ascii_start();
        Content::File(
            read_text(path).map_err(|(place, problem)| (value.len() - path.len() + place, problem))?,
        )
    } else {
        let quoted = content.strip_prefix(b"\"").ok_or((at, Problem::Mail))?;
        Content::Octets(read_quoted(quoted).map_err(|(place, problem)| (at + 1 + place, problem))?)
    };
    Ok(Mail { unique_id, content })
}

/// Everything up to the quote that ends the value; quotes before it stand for themselves.
fn read_quoted(text: &[u8]) -> Found<Vec<u8>> {
    match text.split_last() {
        Some((b'"', inside)) => read_octets(inside, CONTENT_MAX_OCTETS, Problem::TooMuchContent),
        _ => Err((text.len(), Problem::Quote)),
    }
}

fn read_apop(value: &[u8]) -> Found<Apop> {
    match value {
        b"off" => Ok(Apop::Off),
        b"on" => Ok(Apop::On),
        _ => {
            let stamp = value.strip_prefix(b"on ").ok_or((0, Problem::Apop))?.trim_ascii_start();
            let stamp = read_text(stamp).map_err(|_| (0, Problem::Apop))?;
            let legal = !stamp.is_empty()
                && stamp.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'.');
            if legal { Ok(Apop::Stamp(stamp)) } else { Err((0, Problem::Apop)) }
        }
    }
}

fn read_value(text: &[u8]) -> Found<Vec<u8>> {
    read_octets(text, VALUE_MAX_OCTETS, Problem::ValueTooLong)
}

/// A few characters may stand for many octets, which are counted before there is room made for them.
fn read_octets(text: &[u8], max_octets: usize, too_long: Problem) -> Found<Vec<u8>> {
    let (mut octets, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let (run, taken) = read_run(&text[at..]).map_err(|problem| (at, problem))?;
        if octets.len() + run.len() > max_octets {
            return Err((at, too_long));
        }
        octets.extend(run);
        at += taken;
    }
    Ok(octets)
}

fn read_text(text: &[u8]) -> Found<Box<str>> {
    String::from_utf8(read_value(text)?).map(String::into_boxed_str).map_err(|_| (0, Problem::Utf8))
}

fn write_text(out: &mut dyn Write, key: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| write_value(out, key, value.as_bytes()))
}

fn write_value(out: &mut dyn Write, key: &str, value: &[u8]) -> fmt::Result {
    write!(out, "{key}: ")?;
    write_spaced(out, value)?;
    out.write_char('\n')
}

/// Spaces around a value are not part of it, so those that are get escaped.
fn write_spaced(out: &mut dyn Write, value: &[u8]) -> fmt::Result {
    let inside = value.trim_ascii();
    let (before, behind) = if inside.is_empty() {
        (value, &value[..0])
    } else {
        let start = value.len() - value.trim_ascii_start().len();
        (&value[..start], &value[start + inside.len()..])
    };
    before.iter().try_for_each(|octet| write!(out, "\\x{octet:02x}"))?;
    write_octets(out, inside)?;
    behind.iter().try_for_each(|octet| write!(out, "\\x{octet:02x}"))
}

/// A number of seconds since 1970 as a recording says it: `2005-04-01T07:56:00Z` (RFC 3339).
pub fn timestamp(seconds: u64) -> String {
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
    alloc::format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
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
