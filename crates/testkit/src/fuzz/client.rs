//! The client's session against any server: the same events at every cut, none that nobody asked for, messages as a naive
//! loop reads them, and errors that are short and printable.
//!
//! The first line holds how many commands are under way at a time, and the lengths of pieces. The second holds commands, a
//! character each (`COMMANDS`); those that may not be said yet are left out. The rest is what the server says.

use std::collections::VecDeque;

use restante_proto::{
    MessageNumber, Secret,
    client::{Broken, Event, Session},
    command::Command,
    phase::Phase,
    reply::Status,
    verb::Verb,
};

use super::{number, pieces, split_how, stuffing::naive_unstuff};

/// The longest error, in characters.
const WORDS_MAX: usize = 400;

pub(super) fn run(data: &[u8]) {
    let (how, rest) = split_how(data);
    let (commands, said) = split_how(rest);
    let (at_once, cuts) = (usize::from(number(how, 0)).clamp(1, 64), how.get(1..).unwrap_or_default());
    let whole = Driver::new(commands, at_once, said).hear(said.chunks(said.len().max(1)));
    assert_eq!(Driver::new(commands, at_once, said).hear(pieces(said, cuts)), whole);
    assert_eq!(Driver::new(commands, at_once, said).hear(said.chunks(1)), whole);
}

/// The command of a character.
fn command(character: u8) -> Option<Command<'static>> {
    let (one, two) = (MessageNumber::FIRST, MessageNumber::new(2)?);
    Some(match character {
        b'c' => Command::Capa,
        b'u' => Command::User("john"),
        b'p' => Command::Pass(Secret::new(b"open Sesame".to_vec())),
        b'o' => Command::Apop("john", [7; 16]),
        b'a' => Command::Auth("LOGIN", None),
        b'A' => Command::AuthList,
        b's' => Command::Stat,
        b'l' => Command::List(None),
        b'L' => Command::List(Some(two)),
        b'i' => Command::Uidl(None),
        b'I' => Command::Uidl(Some(two)),
        b'r' => Command::Retr(one),
        b't' => Command::Top(two, 3),
        b'd' => Command::Dele(one),
        b'n' => Command::Noop,
        b'z' => Command::Rset,
        b'S' => Command::Stls,
        b'q' => Command::Quit,
        _ => return None,
    })
}

/// A driver that sends as early as it may, and checks each event against what was asked.
struct Driver<'a> {
    session: Session,
    commands: VecDeque<u8>,
    at_once: usize,
    said: &'a [u8],
    /// How much of it was consumed.
    taken: usize,
    /// The verbs whose answers are owed.
    owed: VecDeque<Verb>,
    greeted: bool,
    /// A block is read: where it began.
    block: Option<usize>,
    message: Vec<u8>,
    heard: Vec<String>,
}

impl<'a> Driver<'a> {
    fn new(commands: &[u8], at_once: usize, said: &'a [u8]) -> Self {
        Self {
            session: Session::new(),
            commands: commands.iter().copied().collect(),
            at_once,
            said,
            taken: 0,
            owed: VecDeque::new(),
            greeted: false,
            block: None,
            message: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// What happens, a line each, and how it ends.
    fn hear<'p>(mut self, pieces: impl Iterator<Item = &'p [u8]>) -> Vec<String> {
        for piece in pieces {
            if !self.piece(piece) {
                return self.heard;
            }
        }
        let end = match self.session.eof() {
            Ok(()) => format!("ended in {}", self.session.phase().name()),
            Err(broken) => {
                assert!(
                    !self.owed.is_empty() || !self.greeted || matches!(broken, Broken::Cut(None)),
                    "{broken}"
                );
                broken.to_string()
            }
        };
        self.heard.push(end);
        self.heard
    }

    /// Whether it goes on.
    fn piece(&mut self, mut piece: &[u8]) -> bool {
        let (mut body, mut out) = (Vec::new(), Vec::new());
        loop {
            let before = piece.len();
            let event = self.session.advance(&mut piece, &mut body);
            self.taken += before - piece.len();
            match event {
                Ok(Event::Input) => {
                    assert!(piece.is_empty() && body.is_empty(), "all is consumed");
                    return true;
                }
                Ok(Event::Greeting { status, stamp }) => {
                    assert!(!std::mem::replace(&mut self.greeted, true), "one greeting");
                    assert!(stamp.as_ref().is_none_or(|stamp| stamp.is_ascii() && stamp.contains('@')));
                    self.heard.push(format!("greeting {status:?} {stamp:?}"));
                }
                Ok(Event::Reply { asked, status }) => self.reply(asked.verb, &status),
                Ok(Event::Line(line)) => {
                    assert!(self.block.is_some() && !line.contains(&b'\n'), "a line of a block");
                    self.heard.push(format!("line {line:?}"));
                }
                Ok(Event::Octets) => {
                    assert!(self.block.is_some() && !body.is_empty(), "octets of a block");
                    assert!(body.len() <= before + 2, "no more than was said");
                    self.message.append(&mut body);
                }
                Ok(Event::End { asked }) => self.end(asked.verb),
                Ok(Event::Challenge(challenge)) => {
                    assert_eq!(self.owed.front(), Some(&Verb::Auth));
                    self.heard.push(format!("challenge {challenge:?}"));
                    let response = Secret::new(challenge);
                    out.clear();
                    self.session.respond((response.expose().len() < 9).then_some(&response), &mut out);
                    assert!(
                        out.ends_with(b"\r\n") && out.iter().filter(|&&octet| octet == b'\n').count() == 1
                    );
                    out.clear();
                }
                // Whether more had come already is a matter of the cut: either way it is never read as an answer.
                Ok(Event::StartTls) | Err(Broken::BehindStls) => {
                    self.heard.push("TLS".into());
                    return false;
                }
                Err(broken) => {
                    self.broken(&broken, piece);
                    return false;
                }
            }
            self.send(&mut out);
        }
    }

    /// Sends what may be sent.
    fn send(&mut self, out: &mut Vec<u8>) {
        while self.greeted && self.owed.len() < self.at_once {
            let Some(character) = self.commands.pop_front() else { return };
            let Some(command) = command(character) else { continue };
            out.clear();
            if self.session.send(&command, out).is_ok() {
                assert!(out.ends_with(b"\r\n"), "a line");
                self.owed.push_back(command.verb());
            } else {
                assert!(out.is_empty(), "nothing is sent");
            }
            assert_eq!(self.session.owed(), self.owed.len());
        }
    }

    fn reply(&mut self, verb: Verb, status: &Status) {
        assert_eq!(self.owed.front(), Some(&verb), "the oldest command is answered");
        assert!(self.block.is_none() && !matches!(status, Status::Challenge { .. }));
        match self.session.owed() == self.owed.len() {
            true => self.block = Some(self.taken),
            false => drop(self.owed.pop_front()),
        }
        let in_mail = self.session.phase() == Phase::Transaction;
        assert!(
            !in_mail || self.heard.iter().any(|line| line.contains("logged in")) || is_login(verb, status)
        );
        let mark = if is_login(verb, status) { ", logged in" } else { "" };
        self.heard.push(format!("{verb:?} {status:?}{mark}"));
    }

    fn end(&mut self, verb: Verb) {
        assert_eq!(self.owed.pop_front(), Some(verb));
        let begun = self.block.take().expect("a block");
        let message = std::mem::take(&mut self.message);
        if matches!(verb, Verb::Retr | Verb::Top) {
            let (expected, end) = naive_unstuff(&self.said[begun..]);
            assert_eq!(
                (&message, end),
                (&expected, Some(self.taken - begun)),
                "the message, octet for octet"
            );
        }
        self.heard.push(format!("end of {verb:?} {message:?}"));
    }

    fn broken(&mut self, broken: &Broken, mut rest: &[u8]) {
        let words = broken.to_string();
        assert!(!words.chars().any(char::is_control), "for a terminal: {words:?}");
        assert!(words.chars().count() <= WORDS_MAX, "{words}");
        self.heard.push(words);
        // Nothing more is said or taken.
        let (mut body, mut out) = (Vec::new(), Vec::new());
        assert!(self.session.send(&Command::Noop, &mut out).is_err() && out.is_empty());
        if !rest.is_empty() {
            assert!(self.session.advance(&mut rest, &mut body).is_err() && body.is_empty());
        }
        assert_eq!(self.session.eof(), Ok(()));
    }
}

fn is_login(verb: Verb, status: &Status) -> bool {
    matches!(verb, Verb::Pass | Verb::Apop | Verb::Auth) && matches!(status, Status::Ok { .. })
}
