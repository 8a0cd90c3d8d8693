//! One session of the evil server: a good little POP3 server (RFC 1939 with CAPA, STLS and AUTH PLAIN) that lets each
//! topic's misbehaviours have the first word.

use std::{collections::BTreeSet, io};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Misbehaviour, PASSWORD, Script, Tls, USER, World, body, ending, greeting, listing, login,
    mail::Held,
    reply::{Reply, Then},
    wire::Wire,
};

/// A command line, taken apart.
pub(super) struct Command<'a> {
    /// In upper case; empty in a SASL response.
    pub(super) verb: String,
    pub(super) arguments: &'a str,
}

impl<'a> Command<'a> {
    fn parse(line: &'a str) -> Self {
        let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
        Self { verb: verb.to_ascii_uppercase(), arguments }
    }

    /// The number, from 1, of the message that it names.
    pub(super) fn number(&self) -> Option<usize> {
        self.arguments.split(' ').next()?.parse().ok()
    }
}

/// What a session knows.
pub(super) struct Session<'a> {
    pub(super) world: &'a World,
    /// Its number, from 1.
    pub(super) number: usize,
    pub(super) evil: Misbehaviour,
    pub(super) logged_in: bool,
    secured: bool,
    user: Option<String>,
    /// A SASL response is due.
    pub(super) exchange: bool,
    /// The maildrop as it was at login.
    pub(super) view: Vec<Held>,
    /// Indices into it.
    pub(super) marked: BTreeSet<usize>,
    /// Keys of what was retrieved.
    retrieved: Vec<u64>,
}

impl<'a> Session<'a> {
    pub(super) fn new(world: &'a World, number: usize) -> Self {
        Self {
            world,
            number,
            evil: world.script.of_session(number),
            logged_in: false,
            secured: false,
            user: None,
            exchange: false,
            view: Vec::new(),
            marked: BTreeSet::new(),
            retrieved: Vec::new(),
        }
    }

    pub(super) fn script(&self) -> &'a Script {
        &self.world.script
    }

    /// Whether this message is the one that the script is about.
    pub(super) fn is_k(&self, number: usize) -> bool {
        self.script().message == number
    }

    /// Serves the connection to its end.
    pub(super) fn run(mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        if self.script().tls == Tls::FromTheFirstOctet {
            match self.evil {
                Misbehaviour::TlsStalls => return wire.fall_silent(),
                Misbehaviour::TlsClearText => {}
                _ => self.secure(wire)?,
            }
        }
        let greeting = greeting::play(self.evil).unwrap_or_else(|| Reply::ok("POP3 at your service"));
        if !self.send(wire, greeting)? {
            return Ok(());
        }
        while let Some(line) = wire.line()? {
            self.world.note(self.number, |record| record.commands.push(line.clone()));
            if login::drops_input(&self) {
                wire.drop_input();
            }
            let reply = self.answer(&line);
            if !self.send(wire, reply)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn secure(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        wire.secure(self.evil)?;
        self.secured = true;
        self.world.note(self.number, |record| record.encrypted = true);
        Ok(())
    }

    /// Sends a reply; false when it was the last one.
    fn send(&mut self, wire: &mut Wire<'_>, reply: Reply) -> io::Result<bool> {
        wire.say(&reply.octets)?;
        match reply.then {
            Then::Listen => return Ok(true),
            Then::Secure => {
                // What lies behind the command came in clear text, and so did what was said before it.
                wire.drop_input();
                self.user = None;
                self.secure(wire)?;
                return Ok(true);
            }
            Then::HangUp => wire.hang_up()?,
            Then::Break => wire.break_off()?,
            Then::FallSilent => wire.fall_silent()?,
            Then::Repeat(part) => wire.repeat(part)?,
            Then::ClearText => {
                if !wire.has_input() {
                    wire.hear_something()?;
                }
                wire.say(b"+OK this is clear text\r\n")?;
                wire.hang_up()?;
            }
        }
        Ok(false)
    }

    fn answer(&mut self, line: &str) -> Reply {
        let command = if self.exchange {
            Command { verb: String::new(), arguments: line }
        } else {
            Command::parse(line)
        };
        let played = login::play(self, &command)
            .or_else(|| listing::play(self, &command))
            .or_else(|| body::play(self, &command))
            .or_else(|| ending::play(self, &command));
        let reply = played.unwrap_or_else(|| self.good(&command));
        ending::dress(self, &command, reply)
    }

    /// What a good server answers.
    pub(super) fn good(&mut self, command: &Command<'_>) -> Reply {
        match command.verb.as_str() {
            "" => {
                self.exchange = false;
                self.plain(command.arguments)
            }
            "CAPA" => Reply::block("capabilities", self.capabilities()),
            "QUIT" if !self.logged_in => Reply::ok("bye").then(Then::HangUp),
            _ if self.logged_in => self.transaction(command),
            "STLS" if !self.secured => Reply::ok("begin TLS").then(Then::Secure),
            "USER" => {
                self.user = Some(command.arguments.to_owned());
                Reply::ok("and the password?")
            }
            "PASS" => match self.user.take() {
                Some(user) => self.log_in(&user, command.arguments),
                None => Reply::refused("USER first"),
            },
            "AUTH" => match command.arguments.split_once(' ') {
                Some((mechanism, initial)) if mechanism.eq_ignore_ascii_case("PLAIN") => self.plain(initial),
                None if command.arguments.eq_ignore_ascii_case("PLAIN") => {
                    self.exchange = true;
                    Reply::line("+ ")
                }
                _ => Reply::refused("no such mechanism"),
            },
            _ => Reply::refused("not now"),
        }
    }

    /// The capabilities of a good server (RFC 2449).
    pub(super) fn capabilities(&self) -> Vec<String> {
        let mut list =
            vec!["TOP", "UIDL", "USER", "SASL PLAIN", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"];
        if !self.secured && !self.logged_in {
            list.push("STLS");
        }
        list.into_iter().map(str::to_owned).collect()
    }

    /// RFC 4616: who to be, a NUL, who it is, a NUL, the password.
    fn plain(&mut self, response: &str) -> Reply {
        let Ok(said) = BASE64_STANDARD.decode(response) else {
            return Reply::refused("that is no base64, or the exchange is cancelled");
        };
        let said = String::from_utf8_lossy(&said).into_owned();
        match said.split('\0').collect::<Vec<_>>()[..] {
            [_, user, password] => self.log_in(user, password),
            _ => Reply::refused("PLAIN has three parts"),
        }
    }

    fn log_in(&mut self, user: &str, password: &str) -> Reply {
        if (user, password) != (USER, PASSWORD) {
            return Reply::refused("[AUTH] wrong user or password");
        }
        self.logged_in = true;
        self.view = self.world.state().maildrop.held.clone();
        listing::alter(self);
        Reply::ok(&format!("{} messages", self.view.len()))
    }

    /// The index of the message that a command names, if it is there and not marked.
    pub(super) fn named(&self, command: &Command<'_>) -> Option<usize> {
        let index = command.number()?.checked_sub(1)?;
        let there = index < self.view.len() && (!self.marked.contains(&index) || listing::shows_marked(self));
        there.then_some(index)
    }

    fn transaction(&mut self, command: &Command<'_>) -> Reply {
        let named = self.named(command);
        match (command.verb.as_str(), named) {
            ("STAT", _) => {
                let (count, octets) = listing::total(self);
                Reply::ok(&format!("{count} {octets}"))
            }
            ("LIST" | "UIDL", _) if command.arguments.is_empty() => {
                Reply::block("they are", listing::lines(self, &command.verb))
            }
            ("LIST" | "UIDL", Some(index)) => {
                let line = listing::line(&command.verb, index + 1, &self.view[index]);
                Reply::ok(&line)
            }
            ("RETR", Some(index)) => body::whole(self, index),
            ("TOP", Some(index)) => body::top(self, index, command),
            ("DELE", Some(index)) => {
                self.marked.insert(index);
                let id = self.view[index].message.id.clone();
                self.world.note(self.number, |record| record.deleted.push(id));
                Reply::ok("marked")
            }
            ("RSET", _) => {
                self.marked.clear();
                Reply::ok("no marks")
            }
            ("NOOP", _) => Reply::ok("nothing done"),
            ("QUIT", _) => {
                let marked = self.marked_keys();
                self.commit(&marked);
                Reply::ok("bye").then(Then::HangUp)
            }
            ("LIST" | "UIDL" | "RETR" | "TOP" | "DELE", None) => Reply::refused("no such message"),
            _ => Reply::refused("what is that?"),
        }
    }

    pub(super) fn marked_keys(&self) -> Vec<u64> {
        self.marked.iter().map(|&index| self.view[index].key).collect()
    }

    pub(super) fn retrieved_keys(&self) -> &[u64] {
        &self.retrieved
    }

    /// A message's RETR is answered.
    pub(super) fn note_retrieved(&mut self, index: usize) {
        self.retrieved.push(self.view[index].key);
        let id = self.view[index].message.id.clone();
        self.world.note(self.number, |record| record.retrieved.push(id));
    }

    /// Deletes for ever.
    pub(super) fn commit(&self, keys: &[u64]) {
        let gone = self.world.state().maildrop.remove(keys);
        self.world.note(self.number, |record| record.committed.extend(gone));
    }
}
