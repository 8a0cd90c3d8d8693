//! Commands: parsed by a server, written by a client; both directions of a verb stand together.
//!
//! Strict where leniency harms: a number is decimal digits and nothing else, an argument too many is refused, control
//! octets are refused. Lenient where old clients need it: keywords in any case, trailing spaces (but not behind PASS,
//! whose argument may hold spaces: RFC 1939 §7).

use alloc::vec::Vec;
use core::fmt;

use crate::{MessageNumber, Secret, decimal::push_decimal, verb::Verb};

/// A command as a client may say it. `Debug` shows no password, digest or SASL response.
#[derive(Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// `APOP name digest`; the digest is 32 hexadecimal digits.
    Apop(&'a str, [u8; 16]),
    /// `AUTH`: which mechanisms are there?
    AuthList,
    /// `AUTH mechanism [initial response]`, the response still in base64, `=` for an empty one.
    Auth(&'a str, Option<&'a [u8]>),
    /// `CAPA`.
    Capa,
    /// `DELE n`.
    Dele(MessageNumber),
    /// `LIST [n]`.
    List(Option<MessageNumber>),
    /// `NOOP`.
    Noop,
    /// `PASS password`.
    Pass(Secret<Vec<u8>>),
    /// `QUIT`.
    Quit,
    /// `RETR n`.
    Retr(MessageNumber),
    /// `RSET`.
    Rset,
    /// `STAT`.
    Stat,
    /// `STLS`.
    Stls,
    /// `TOP n lines`.
    Top(MessageNumber, u64),
    /// `UIDL [n]`.
    Uidl(Option<MessageNumber>),
    /// `USER name`.
    User(&'a str),
}

impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb().word())?;
        match self {
            Self::Apop(name, _) => write!(f, " {name:?} …"),
            Self::Auth(mechanism, None) => write!(f, " {mechanism}"),
            Self::Auth(mechanism, Some(_)) => write!(f, " {mechanism} …"),
            Self::Pass(_) => f.write_str(" …"),
            Self::User(name) => write!(f, " {name:?}"),
            Self::Dele(number) | Self::Retr(number) | Self::List(Some(number)) | Self::Uidl(Some(number)) => {
                write!(f, " {number}")
            }
            Self::Top(number, lines) => write!(f, " {number} {lines}"),
            Self::AuthList
            | Self::Capa
            | Self::List(None)
            | Self::Noop
            | Self::Quit
            | Self::Rset
            | Self::Stat
            | Self::Stls
            | Self::Uidl(None) => Ok(()),
        }
    }
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// It holds NUL or another control octet where none may stand.
    Control,
    /// Its first word is no verb.
    Unknown,
    /// The verb is there, an argument is not.
    Missing(Verb),
    /// There is an argument too many.
    Unexpected(Verb),
    /// An argument is not what the verb takes, such as a number that is none.
    Malformed(Verb),
    /// A message number that no message can have: 0, or one past 2³²−1.
    NoSuchNumber(Verb),
}

impl CommandError {
    /// The verb, where there is one.
    pub const fn verb(self) -> Option<Verb> {
        match self {
            Self::Control | Self::Unknown => None,
            Self::Missing(verb)
            | Self::Unexpected(verb)
            | Self::Malformed(verb)
            | Self::NoSuchNumber(verb) => Some(verb),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("control octets are not allowed"),
            Self::Unknown => f.write_str("unknown command"),
            Self::Missing(verb) => write!(f, "{} lacks an argument", verb.word()),
            Self::Unexpected(verb) => write!(f, "{} has an argument too many", verb.word()),
            Self::Malformed(verb) => write!(f, "{} has a malformed argument", verb.word()),
            Self::NoSuchNumber(_) => f.write_str("no such message"),
        }
    }
}

impl core::error::Error for CommandError {}

impl<'a> Command<'a> {
    /// Parses a line without its line end.
    ///
    /// ```
    /// use restante_proto::{MessageNumber, command::{Command, CommandError}, verb::Verb};
    /// let first = MessageNumber::new(1).unwrap();
    /// assert_eq!(Command::parse(b"retr 1"), Ok(Command::Retr(first)));
    /// assert_eq!(Command::parse(b"RETR +1"), Err(CommandError::Malformed(Verb::Retr)));
    /// assert_eq!(Command::parse(b"QUIT now"), Err(CommandError::Unexpected(Verb::Quit)));
    /// ```
    pub fn parse(line: &'a [u8]) -> Result<Self, CommandError> {
        let (word, rest) = match line.iter().position(|&octet| octet == b' ') {
            Some(space) => (&line[..space], Some(&line[space + 1..])),
            None => (line, None),
        };
        let verb = Verb::from_word(word);
        if verb == Some(Verb::Pass) {
            return Self::pass(rest);
        }
        if line.iter().any(|&octet| octet < b' ' || octet == 0x7f) {
            return Err(CommandError::Control);
        }
        let verb = verb.ok_or(CommandError::Unknown)?;
        let mut arguments = Arguments { verb, rest: trim_end(rest.unwrap_or_default()) };
        let command = arguments.command()?;
        if arguments.rest.is_empty() { Ok(command) } else { Err(CommandError::Unexpected(verb)) }
    }

    /// Appends the command as it goes over the wire, with CRLF.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.verb().word().as_bytes());
        let mut put = |argument: Argument<'_>| {
            out.push(b' ');
            match argument {
                Argument::Octets(octets) => out.extend_from_slice(octets),
                Argument::Number(number) => push_decimal(number, out),
            }
        };
        match self {
            Self::Apop(name, digest) => {
                put(Argument::Octets(name.as_bytes()));
                put(Argument::Octets(&hexadecimal(digest)));
            }
            Self::Auth(mechanism, initial) => {
                put(Argument::Octets(mechanism.as_bytes()));
                initial.iter().for_each(|initial| put(Argument::Octets(initial)));
            }
            Self::Pass(password) => put(Argument::Octets(password.expose())),
            Self::User(name) => put(Argument::Octets(name.as_bytes())),
            Self::Dele(number) | Self::Retr(number) | Self::List(Some(number)) | Self::Uidl(Some(number)) => {
                put(Argument::Number(number.get().into()));
            }
            Self::Top(number, lines) => {
                put(Argument::Number(number.get().into()));
                put(Argument::Number(*lines));
            }
            Self::AuthList
            | Self::Capa
            | Self::List(None)
            | Self::Noop
            | Self::Quit
            | Self::Rset
            | Self::Stat
            | Self::Stls
            | Self::Uidl(None) => {}
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The command's word.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Apop(..) => Verb::Apop,
            Self::AuthList | Self::Auth(..) => Verb::Auth,
            Self::Capa => Verb::Capa,
            Self::Dele(_) => Verb::Dele,
            Self::List(_) => Verb::List,
            Self::Noop => Verb::Noop,
            Self::Pass(_) => Verb::Pass,
            Self::Quit => Verb::Quit,
            Self::Retr(_) => Verb::Retr,
            Self::Rset => Verb::Rset,
            Self::Stat => Verb::Stat,
            Self::Stls => Verb::Stls,
            Self::Top(..) => Verb::Top,
            Self::Uidl(_) => Verb::Uidl,
            Self::User(_) => Verb::User,
        }
    }

    /// PASS takes all that stands behind its one space, whatever octets these are (RFC 1939 §7).
    fn pass(password: Option<&[u8]>) -> Result<Self, CommandError> {
        let password = password.ok_or(CommandError::Missing(Verb::Pass))?;
        if password.iter().any(|octet| matches!(octet, b'\0' | b'\r' | b'\n')) {
            return Err(CommandError::Control);
        }
        Ok(Self::Pass(Secret::new(password.to_vec())))
    }
}

/// An argument on its way out.
enum Argument<'a> {
    Octets(&'a [u8]),
    Number(u64),
}

/// The arguments of a command that is not PASS, taken one by one.
struct Arguments<'a> {
    verb: Verb,
    rest: &'a [u8],
}

impl<'a> Arguments<'a> {
    fn command(&mut self) -> Result<Command<'a>, CommandError> {
        Ok(match self.verb {
            Verb::Apop => Command::Apop(self.name()?, self.digest()?),
            Verb::Auth => match self.word() {
                None => Command::AuthList,
                Some(mechanism) => Command::Auth(self.mechanism(mechanism)?, self.word()),
            },
            Verb::Capa => Command::Capa,
            Verb::Dele => Command::Dele(self.number()?),
            Verb::List => Command::List(self.optional_number()?),
            Verb::Noop => Command::Noop,
            // Taken before control octets are looked for; nothing comes here.
            Verb::Pass => return Command::pass(Some(self.rest)),
            Verb::Quit => Command::Quit,
            Verb::Retr => Command::Retr(self.number()?),
            Verb::Rset => Command::Rset,
            Verb::Stat => Command::Stat,
            Verb::Stls => Command::Stls,
            Verb::Top => Command::Top(self.number()?, self.digits()?),
            Verb::Uidl => Command::Uidl(self.optional_number()?),
            Verb::User => Command::User(self.name()?),
        })
    }

    /// The next word, which ends before one space.
    fn word(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&octet| octet == b' ').unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(word)
    }

    fn required(&mut self) -> Result<&'a [u8], CommandError> {
        self.word().ok_or(CommandError::Missing(self.verb))
    }

    fn name(&mut self) -> Result<&'a str, CommandError> {
        let name = self.required()?;
        core::str::from_utf8(name)
            .ok()
            .filter(|name| !name.is_empty())
            .ok_or(CommandError::Malformed(self.verb))
    }

    /// RFC 5034 §3: 1 to 20 letters, digits, hyphens and underscores.
    fn mechanism(&self, word: &'a [u8]) -> Result<&'a str, CommandError> {
        let legal = matches!(word.len(), 1..=20)
            && word.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
        core::str::from_utf8(word).ok().filter(|_| legal).ok_or(CommandError::Malformed(self.verb))
    }

    fn digest(&mut self) -> Result<[u8; 16], CommandError> {
        let (digits, mut digest) = (self.required()?, [0; 16]);
        let malformed = CommandError::Malformed(self.verb);
        if digits.len() != 32 {
            return Err(malformed);
        }
        for (octet, pair) in digest.iter_mut().zip(digits.chunks(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(malformed);
            *octet = u8::try_from(digit(0)? * 16 + digit(1)?).map_err(|_| malformed)?;
        }
        Ok(digest)
    }

    /// Decimal digits and nothing else; what is too large saturates.
    fn digits(&mut self) -> Result<u64, CommandError> {
        let digits = self.required()?;
        let malformed = CommandError::Malformed(self.verb);
        if digits.is_empty() {
            return Err(malformed);
        }
        digits.iter().try_fold(0_u64, |value, digit| match digit.wrapping_sub(b'0') {
            digit @ 0..=9 => Ok(value.saturating_mul(10).saturating_add(u64::from(digit))),
            _ => Err(malformed),
        })
    }

    fn number(&mut self) -> Result<MessageNumber, CommandError> {
        let digits = self.digits()?;
        u32::try_from(digits).ok().and_then(MessageNumber::new).ok_or(CommandError::NoSuchNumber(self.verb))
    }

    fn optional_number(&mut self) -> Result<Option<MessageNumber>, CommandError> {
        if self.rest.is_empty() { Ok(None) } else { self.number().map(Some) }
    }
}

fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = octets {
        octets = rest;
    }
    octets
}

fn hexadecimal(octets: &[u8]) -> Vec<u8> {
    octets
        .iter()
        .flat_map(|octet| [octet >> 4, octet & 15])
        .map(|digit| b"0123456789abcdef"[usize::from(digit)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> MessageNumber {
        MessageNumber::new(number).unwrap()
    }

    #[test]
    fn numbers_are_decimal_digits_and_nothing_else() {
        for line in
            ["DELE 1x", "DELE +1", "DELE -1", "DELE 0x1", "DELE  1", "DELE one", "TOP 1 -1", "LIST 1."]
        {
            let verb = Verb::from_word(line.split(' ').next().unwrap().as_bytes()).unwrap();
            assert_eq!(Command::parse(line.as_bytes()), Err(CommandError::Malformed(verb)), "{line}");
        }
        for line in ["DELE 0", "DELE 4294967296", "DELE 4294967297", "DELE 99999999999999999999999999"] {
            assert_eq!(
                Command::parse(line.as_bytes()),
                Err(CommandError::NoSuchNumber(Verb::Dele)),
                "{line}"
            );
        }
        assert_eq!(Command::parse(b"DELE 4294967295"), Ok(Command::Dele(number(u32::MAX))));
        assert_eq!(Command::parse(b"TOP 1 99999999999999999999"), Ok(Command::Top(number(1), u64::MAX)));
    }

    #[test]
    fn arguments_too_many_or_too_few_are_refused() {
        for line in
            ["QUIT now", "STAT 1", "NOOP x", "RETR 1 2", "TOP 1 2 3", "CAPA x", "USER a b", "AUTH PLAIN = ="]
        {
            assert!(matches!(Command::parse(line.as_bytes()), Err(CommandError::Unexpected(_))), "{line}");
        }
        for line in ["RETR", "DELE ", "TOP 1", "USER", "PASS", "APOP a"] {
            assert!(matches!(Command::parse(line.as_bytes()), Err(CommandError::Missing(_))), "{line}");
        }
    }

    #[test]
    fn pass_takes_every_octet_but_three() {
        let every: Vec<u8> = (0..=255).filter(|octet| !matches!(octet, 0 | 10 | 13)).collect();
        let mut line = b"pass ".to_vec();
        line.extend_from_slice(&every);
        line.extend_from_slice(b"  ");
        let Ok(Command::Pass(password)) = Command::parse(&line) else { panic!("no password") };
        assert_eq!(password.expose(), &line[5..], "trailing spaces belong to it");
        for line in [b"PASS a\0b".as_slice(), b"PASS a\rb"] {
            assert_eq!(Command::parse(line), Err(CommandError::Control));
        }
        assert_eq!(Command::parse(b"PASS "), Ok(Command::Pass(Secret::new(Vec::new()))));
    }

    #[test]
    fn debug_shows_no_secret() {
        let lines =
            ["PASS abcxyz", "AUTH PLAIN AGEAYg==", "APOP a 00112233445566778899aabbccddeeff", "TOP 1 2"];
        let shown: Vec<_> = lines
            .iter()
            .map(|line| alloc::format!("{:?}", Command::parse(line.as_bytes()).unwrap()))
            .collect();
        assert_eq!(shown, ["PASS …", "AUTH PLAIN …", "APOP \"a\" …", "TOP 1 2"]);
    }

    #[test]
    fn control_octets_are_refused() {
        for line in [b"STAT\0".as_slice(), b"NO\x01OP", b"USER a\tb", b"\x1b[A", b"USER a\x7f"] {
            assert_eq!(Command::parse(line), Err(CommandError::Control));
        }
        assert_eq!(Command::parse(b""), Err(CommandError::Unknown));
        assert_eq!(Command::parse(b" STAT"), Err(CommandError::Unknown));
    }

    #[test]
    fn old_clients_may_leave_trailing_spaces() {
        assert_eq!(Command::parse(b"AUTH "), Ok(Command::AuthList));
        assert_eq!(Command::parse(b"stat   "), Ok(Command::Stat));
        assert_eq!(Command::parse(b"LIST 2  "), Ok(Command::List(Some(number(2)))));
    }
}
