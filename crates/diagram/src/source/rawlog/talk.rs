//! Whose turn it is: the two files are merged by time, and where the times do not tell, by the protocol.

use std::collections::VecDeque;

use restante_proto::{
    dialogue::{Observed, Role, Side},
    verb::{ReplyShape, Verb},
};

use super::half::Piece;

/// How many commands that wait for their answers are followed.
const OPEN_MAX: usize = 1 << 16;

/// What is known of the talk so far.
#[derive(Debug)]
pub(super) struct Talk {
    /// The commands without an answer, the oldest first.
    open: VecDeque<Command>,
    /// The command in the client's line that is not finished.
    asking: Command,
    /// The server is in the middle of a block.
    in_block: bool,
    /// The server waits for the client's part of a SASL exchange.
    response_due: bool,
    /// The server's first words came, or will not come.
    begun: bool,
    /// They answer a login that nobody heard.
    answers_login: bool,
    /// TLS has begun.
    tls: bool,
    /// The session cannot be followed any more.
    lost: bool,
    /// Who was in the middle of a line.
    inside: Option<Side>,
}

/// A command, as far as it matters here.
#[derive(Clone, Copy, Debug, Default)]
struct Command {
    verb: Option<Verb>,
    /// A positive answer goes on up to a `.` line.
    block: bool,
}

impl Talk {
    /// At the start of a session.
    pub(super) fn new() -> Self {
        Self {
            open: VecDeque::new(),
            asking: Command::default(),
            in_block: false,
            response_due: false,
            begun: false,
            answers_login: false,
            tls: false,
            lost: false,
            inside: None,
        }
    }

    /// Inside TLS.
    pub(super) fn inside_tls() -> Self {
        Self { begun: true, tls: true, ..Self::new() }
    }

    /// Behind a login whose answer is, or is not, the server's first line.
    pub(super) fn behind_login(answered: bool) -> Self {
        Self { begun: !answered, answers_login: answered, ..Self::new() }
    }

    /// The client begins a line.
    pub(super) fn asked(&mut self, line: &[u8]) {
        let verb = verb_of(line);
        let (word, argument) = split(line);
        let block = match verb {
            Some(verb) => verb.reply_shape(!argument.is_empty()) == ReplyShape::Block,
            // RFC 6856 §3.2: a list of languages.
            None => word.eq_ignore_ascii_case(b"LANG") && argument.is_empty(),
        };
        self.asking = Command { verb, block };
    }

    /// What became of what was said.
    pub(super) fn observed(&mut self, observed: &Observed) {
        match observed.role {
            Some(Role::Greeting) => self.begun = true,
            Some(Role::Command { .. }) if self.open.len() == OPEN_MAX => self.lost = true,
            Some(Role::Command { .. }) => self.open.push_back(self.asking),
            Some(Role::Response) => self.response_due = false,
            Some(Role::Challenge { responded: true }) => drop(self.open.remove(1)),
            Some(Role::Challenge { responded: false }) => self.response_due = true,
            Some(Role::Reply { ok, .. }) => {
                self.begun = true;
                self.response_due = false;
                let answered = self.open.pop_front().unwrap_or_default();
                self.in_block = ok && answered.block;
                if ok && answered.verb == Some(Verb::Stls) {
                    self.tls = true;
                    self.open.clear();
                }
            }
            Some(Role::End) => self.in_block = false,
            Some(Role::Unasked | Role::Unknown) => self.lost = true,
            Some(Role::Listing | Role::Message) | None => {}
        }
    }

    /// Whether what comes is TLS.
    pub(super) const fn in_tls(&self) -> bool {
        self.tls
    }

    /// Whether a login waits for its answer.
    pub(super) fn login_is_open(&self) -> bool {
        let is_login = |verb| matches!(verb, Verb::Pass | Verb::Apop | Verb::Auth);
        self.open.iter().any(|command| command.verb.is_some_and(is_login))
    }

    /// Who is next; `None` if nothing is left.
    pub(super) fn next(
        &mut self,
        client: Option<&Piece>,
        server: Option<&Piece>,
        stamped: bool,
    ) -> Option<Side> {
        let from = match (client, server) {
            (None, None) => return None,
            (Some(_), None) => Side::Client,
            (None, Some(_)) => Side::Server,
            (Some(client), Some(server)) => self.first_of(client, server, stamped),
        };
        self.inside = Some(from);
        Some(from)
    }

    fn first_of(&self, client: &Piece, server: &Piece, stamped: bool) -> Side {
        // A line that has begun is read to its end.
        match self.inside {
            Some(Side::Client) if !client.begins => return Side::Client,
            Some(Side::Server) if !server.begins => return Side::Server,
            _ => {}
        }
        if !self.begun && self.answers_login {
            return Side::Server;
        }
        // Who is next by the protocol. An answer never comes before its command, whatever its time is.
        let due = !self.response_due && (!self.begun || self.in_block || !self.open.is_empty());
        let server_may = due || self.tls || self.lost;
        // Where one clock was set back and the other one not yet, times cannot be compared.
        let comparable = stamped && client.set_back == server.set_back;
        let server_is_first = match (client.at, server.at) {
            (Some(client), Some(server)) if comparable && self.begun => server < client,
            // The greeting comes before what it is not an answer to.
            (Some(client), Some(server)) if comparable => server <= client,
            _ => true,
        };
        if server_may && server_is_first { Side::Server } else { Side::Client }
    }
}

/// The verb that a line begins with.
pub(super) fn verb_of(line: &[u8]) -> Option<Verb> {
    Verb::from_word(split(line).0)
}

/// A line's first word, and what stands behind it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_end();
    let end = line.iter().position(|&octet| octet == b' ').unwrap_or(line.len());
    let (word, behind) = line.split_at(end);
    (word, behind.trim_ascii())
}
