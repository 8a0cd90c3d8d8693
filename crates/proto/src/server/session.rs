//! The session: its state, and `advance`, which alone says what is next.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::mem;

use super::{
    Answer, Ask, Close, Link, LoginDelay, Next, Patience, Policy, Tally, TlsFacts, Transfer,
    transaction::{IdListing, Snapshot},
};
use crate::{
    MessageNumber,
    body::Part,
    command::{Command, CommandError},
    line::{Found, Lines, Of},
    phase::{Phase, Transition},
    reply::{self, Reply},
    verb::Verb,
};

/// When `out` holds this much, it is to be written before more is said, in octets.
pub const OUT_SOFT_MAX_OCTETS: usize = 64 * 1024;

/// How many unique-ids are asked for at a time.
pub const UNIQUE_ID_PAGE_MAX: u32 = 1024;

/// One session of a server. See the [module](super) for the contract.
///
/// ```
/// use std::sync::Arc;
/// use restante_proto::server::{Answer, Ask, Link, Next, Policy, Session};
///
/// let policy = Policy {
///     hostname: "X1".into(),
///     stls: false,
///     passwords: true,
///     mechanisms: vec![],
///     login_failures_max: 3,
///     bad_commands_max: 20,
/// };
/// let link = Link { tls: None, cleartext: true };
/// let mut session: Session<()> = Session::new(Arc::new(policy), link, None);
/// let (mut input, mut out) = (b"USER john.doe@anydomain.com\r\nPASS abcxyz\r\n".as_slice(), Vec::new());
/// let Next::Ask(Ask::Password { user, .. }) = session.advance(&mut input, &mut out) else { panic!() };
/// assert_eq!(user, "john.doe@anydomain.com");
/// session.answer(Answer::Accepted, &mut out);
/// let Next::Ask(Ask::Open) = session.advance(&mut input, &mut out) else { panic!() };
/// session.answer(Answer::Opened { messages: 0, sizes: Some([].into()) }, &mut out);
/// let Next::Input = session.advance(&mut input, &mut out) else { panic!() };
/// assert_eq!(out, b"+OK X1 POP3 Server\r\n+OK send your password\r\n+OK maildrop locked and ready\r\n");
/// ```
#[derive(Debug)]
pub struct Session<S> {
    pub(super) policy: Arc<Policy>,
    pub(super) link: Link,
    pub(super) stamp: Option<Box<str>>,
    pub(super) user: Option<Box<str>>,
    pub(super) login_delay: Option<LoginDelay>,
    pub(super) snapshot: Snapshot,
    pub(super) step: Step<S>,
    lines: Lines,
    phase: Phase,
    /// The row of the command that is being answered.
    row: Option<&'static Transition>,
    current: Option<Current>,
    tally: Tally,
    pub(super) login_failures: u8,
    /// Logins that were refused for other reasons than wrong credentials.
    pub(super) logins_put_off: u8,
    bad_commands: u8,
    heard: bool,
    eof: bool,
    pub(super) draining: bool,
}

/// The command that is being answered.
#[derive(Clone, Copy, Debug)]
struct Current {
    /// `None` where it begins with no verb that is known.
    verb: Option<Verb>,
    /// Whether its answer is `+OK`, as far as there is one.
    ok: bool,
}

/// What the next `advance` begins with.
#[derive(Debug)]
pub(super) enum Step<S> {
    /// The greeting.
    Greet,
    /// A command is read.
    Command,
    /// A response within a SASL exchange is read.
    Exchange,
    /// A question is handed out.
    Ask(Ask, Owed),
    /// The answer is owed.
    Owed(Owed),
    /// A body is handed out.
    Body(Transfer<S>),
    /// `sent` is owed.
    Sending,
    /// The lines of LIST go on with the message at this index.
    Sizes(u32),
    /// The lines of UIDL go on.
    Ids(Box<IdListing>),
    /// TLS is begun.
    StartTls,
    /// `secured` is owed.
    Handshake,
    /// The session is over.
    Close(Close),
}

/// Which answer is owed, and what is done with it.
#[derive(Debug)]
pub(super) enum Owed {
    Login,
    Cancelled(Cancelled),
    Opened,
    Stat,
    List(Option<MessageNumber>),
    Ids { from: u32, begun: bool },
    Id(MessageNumber),
    Message(MessageNumber, Part),
    Committed,
}

/// Why a SASL exchange is cancelled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cancelled {
    ByClient,
    NotBase64,
    TooLong,
    Draining,
}

impl<S> Session<S> {
    /// A session on a new connection. `stamp` is the APOP time stamp with its angle brackets, where APOP is on.
    pub fn new(policy: Arc<Policy>, link: Link, stamp: Option<Box<str>>) -> Self {
        Self {
            policy,
            link,
            stamp,
            user: None,
            login_delay: None,
            snapshot: Snapshot::default(),
            step: Step::Greet,
            lines: Lines::default(),
            phase: Phase::Authorization,
            row: None,
            current: None,
            tally: Tally::default(),
            login_failures: 0,
            logins_put_off: 0,
            bad_commands: 0,
            heard: false,
            eof: false,
            draining: false,
        }
    }

    /// What CAPA announces of the time between two logins from now on; nothing if it never hears of it. It is for the driver
    /// to hear of that anew once somebody is logged in.
    pub fn set_login_delay(&mut self, delay: Option<LoginDelay>) {
        self.login_delay = delay;
    }

    /// Goes on as far as it can with this input; what it says is appended to `out`.
    pub fn advance(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Next<S> {
        loop {
            if out.len() >= OUT_SOFT_MAX_OCTETS {
                return Next::Write;
            }
            match mem::replace(&mut self.step, Step::Command) {
                Step::Greet => {
                    let (hostname, stamp) = (self.policy.hostname.as_str(), self.stamp.as_deref());
                    Reply::Greeting { hostname, stamp }.write(out);
                }
                Step::Command => {
                    self.count();
                    self.recognise(input);
                    if matches!(self.step, Step::Close(_)) {
                        continue;
                    }
                    match self.lines.next(input, Of::Command) {
                        Found::Line(line) => self.command(&line, out),
                        Found::TooLong => {
                            self.current = Some(Current { verb: None, ok: false });
                            self.bad_command(&Reply::TooLong, out);
                        }
                        Found::Endless => {
                            self.current = Some(Current { verb: None, ok: false });
                            self.endless_line(out);
                        }
                        Found::Incomplete if self.eof => self.step = Step::Close(Close::Disconnected),
                        Found::Incomplete => return Next::Input,
                    }
                }
                Step::Exchange => match self.lines.next(input, Of::Exchange) {
                    Found::Line(line) => self.response(&line),
                    Found::TooLong => self.cancel(Cancelled::TooLong),
                    Found::Endless => self.endless_line(out),
                    Found::Incomplete if self.eof => self.step = Step::Close(Close::Disconnected),
                    Found::Incomplete => {
                        self.step = Step::Exchange;
                        return Next::Input;
                    }
                },
                Step::Ask(ask, owed) => {
                    self.step = Step::Owed(owed);
                    return Next::Ask(ask);
                }
                Step::Body(transfer) => {
                    self.step = Step::Sending;
                    return Next::Send(transfer);
                }
                Step::Sizes(next) => self.list_from(next, out),
                Step::Ids(listing) => self.list_ids(*listing, out),
                Step::StartTls => {
                    // RFC 2595 §4: what stands behind STLS is never run.
                    *input = &[];
                    self.lines.clear();
                    // STLS is answered; how long the client takes to shake hands is not its time.
                    self.count();
                    self.step = Step::Handshake;
                    return Next::StartTls;
                }
                Step::Close(why) => {
                    self.count();
                    self.step = Step::Close(why);
                    return Next::Close(why);
                }
                Step::Owed(_) | Step::Sending | Step::Handshake => self.misuse(out),
            }
        }
    }

    /// Takes the answer to the question that `advance` handed out.
    pub fn answer(&mut self, answer: Answer<S>, out: &mut Vec<u8>) {
        match mem::replace(&mut self.step, Step::Command) {
            Step::Owed(owed) => self.answered(owed, answer, out),
            _ => self.misuse(out),
        }
    }

    /// The body that `advance` handed out was sent, or broke off: then no final `.` line is written.
    pub fn sent(&mut self, complete: bool, out: &mut Vec<u8>) {
        match (&self.step, complete) {
            (Step::Sending, true) => {
                reply::write_end_of_block(out);
                self.step = Step::Command;
            }
            (Step::Sending, false) => {
                self.note(false);
                self.step = Step::Close(Close::BrokenOff);
            }
            _ => self.misuse(out),
        }
    }

    /// TLS is on: the only legal call after [`Next::StartTls`]. All progress towards a login is forgotten.
    pub fn secured(&mut self, facts: TlsFacts) {
        self.step = match self.step {
            Step::Handshake => Step::Command,
            _ => Step::Close(Close::Misuse),
        };
        self.link.tls = Some(Box::new(facts));
    }

    /// How long to wait for what comes next.
    pub const fn patience(&self) -> Patience {
        match (&self.step, self.phase) {
            (Step::Owed(_) | Step::Sending | Step::Body(_) | Step::Ask(..), _) => Patience::Busy,
            (_, Phase::Transaction | Phase::Update | Phase::Closed) => Patience::Idle,
            _ => Patience::Login,
        }
    }

    /// From now on nobody logs in; who is logged in may go on to QUIT.
    pub const fn drain(&mut self) {
        self.draining = true;
    }

    /// No more input will come: what was read is still run, then the session ends.
    pub const fn eof(&mut self) {
        self.eof = true;
    }

    /// Where the session stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The verb of the command that is being answered, if it is one.
    pub fn verb(&self) -> Option<Verb> {
        self.current.and_then(|current| current.verb)
    }

    /// Whether the next octet of the client begins a command, as far as what came was taken.
    pub fn is_between_commands(&self) -> bool {
        matches!(self.step, Step::Command) && self.lines.is_empty()
    }

    /// How many messages are marked as deleted.
    pub const fn marked(&self) -> u32 {
        self.snapshot.marked()
    }

    /// The commands that were answered since their tally was last taken. One counts as answered once `advance` goes on
    /// behind it.
    pub const fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// The command at hand is answered.
    fn count(&mut self) {
        if let Some(Current { verb, ok }) = self.current.take() {
            self.tally.add(verb, ok);
        }
    }

    /// How the command at hand is answered.
    const fn note(&mut self, ok: bool) {
        if let Some(current) = &mut self.current {
            current.ok = ok;
        }
    }

    /// Whether passwords may be shown on this connection.
    pub(super) const fn may_show_password(&self) -> bool {
        self.link.tls.is_some() || self.link.cleartext
    }

    /// Answers the command at hand; the table says where that leads.
    pub(super) fn reply(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        reply.write(out);
        self.note(reply.is_ok());
        if let Some(row) = self.row.take() {
            self.phase = if reply.is_ok() { row.ok } else { row.err };
        }
        if reply.is_ok() {
            self.bad_commands = 0;
        }
        if self.phase != Phase::Named {
            self.user = None;
        }
    }

    /// Answers the command at hand where that leads nowhere, whatever the table says.
    pub(super) fn reply_in_place(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        self.row = None;
        self.reply(reply, out);
    }

    /// Hands out a question with the next `advance`.
    pub(super) fn ask(&mut self, ask: Ask, owed: Owed) {
        self.step = Step::Ask(ask, owed);
    }

    /// What is spoken on this connection, if it is not POP3 at all?
    fn recognise(&mut self, input: &mut &[u8]) {
        let Some(&first) = input.first() else { return };
        // A TLS handshake record begins with 0x16 (RFC 8446 §5.1), which begins no command.
        if !mem::replace(&mut self.heard, true) && first == 0x16 && self.link.tls.is_none() {
            *input = &[];
            self.step = Step::Close(Close::TlsOnClearPort);
        }
    }

    fn command(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let parsed = Command::parse(line);
        let verb = parsed.as_ref().map_or_else(|error| error.verb(), |command| Some(command.verb()));
        let row = verb.and_then(|verb| self.phase.transition(verb));
        self.current = Some(Current { verb, ok: false });
        match parsed {
            Ok(command) if row.is_some() => {
                self.row = row;
                self.run(command, out);
            }
            Err(CommandError::NoSuchNumber(_)) if row.is_some() => self.reply(&Reply::NoSuchMessage, out),
            Err(error) if row.is_some() || verb.is_none() => {
                if self.phase != Phase::Transaction && is_http(line) {
                    self.reply(&Reply::NotHttp, out);
                    self.step = Step::Close(Close::HttpRequest);
                } else {
                    if matches!(verb, Some(Verb::User | Verb::Pass | Verb::Apop | Verb::Auth)) {
                        // A login that goes wrong anywhere begins anew; an earlier name must not stand.
                        self.phase = row.map_or(self.phase, |row| row.err);
                    }
                    self.bad_command(&Reply::Command(error), out);
                }
            }
            _ if verb == Some(Verb::Pass)
                && self.phase == Phase::Authorization
                && !self.may_show_password() =>
            {
                self.bad_command(&Reply::CleartextRefused, out);
            }
            _ if verb == Some(Verb::Pass) && self.phase == Phase::Authorization => {
                self.bad_command(&Reply::PassFirst, out);
            }
            _ => self.bad_command(&Reply::NotNow(self.phase), out),
        }
    }

    fn run(&mut self, command: Command<'_>, out: &mut Vec<u8>) {
        match command {
            Command::Apop(user, digest) => self.apop(user, digest, out),
            Command::AuthList => self.list_mechanisms(out),
            Command::Auth(mechanism, initial) => self.auth(mechanism, initial, out),
            Command::Capa => self.capa(out),
            Command::Pass(password) => self.pass(password, out),
            Command::Stls => self.stls(out),
            Command::User(user) => self.user(user, out),
            Command::Dele(number) => self.dele(number, out),
            Command::List(number) => self.list(number, out),
            Command::Noop => self.reply(&Reply::Noop, out),
            Command::Retr(number) => self.message(number, Part::Whole, out),
            Command::Rset => self.rset(out),
            Command::Stat => self.stat(out),
            Command::Top(number, lines) => self.message(number, Part::Top(lines), out),
            Command::Uidl(number) => self.uidl(number, out),
            Command::Quit if self.phase == Phase::Transaction => self.commit(),
            Command::Quit => self.good_bye(out),
        }
    }

    fn good_bye(&mut self, out: &mut Vec<u8>) {
        self.reply(&Reply::GoodBye, out);
        self.step = Step::Close(Close::Quit);
    }

    /// Refuses what is no command, or none here; too many in a row end the session.
    fn bad_command(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        self.row = None;
        self.note(false);
        if self.phase != Phase::Named {
            self.user = None;
        }
        self.bad_commands = self.bad_commands.saturating_add(1);
        if self.bad_commands < self.policy.bad_commands_max {
            reply.write(out);
        } else {
            Reply::TooManyErrors.write(out);
            self.step = Step::Close(Close::BadCommands);
        }
    }

    fn answered(&mut self, owed: Owed, answer: Answer<S>, out: &mut Vec<u8>) {
        match (owed, answer) {
            (Owed::Login, answer) => self.login_answered(answer, out),
            (Owed::Cancelled(why), _) => self.cancelled(why, out),
            (Owed::Opened, Answer::Opened { messages, sizes }) => {
                self.snapshot = Snapshot::new(messages, sizes);
                self.reply(&Reply::MaildropReady, out);
            }
            (Owed::Opened, Answer::Refused(refusal)) => self.login_answered(Answer::Refused(refusal), out),
            (Owed::Stat, Answer::Sizes(sizes)) => {
                self.snapshot.learn(sizes);
                self.stat(out);
            }
            (Owed::List(number), Answer::Sizes(sizes)) => {
                self.snapshot.learn(sizes);
                self.list(number, out);
            }
            (Owed::Ids { from, begun }, Answer::UniqueIds(page)) if !page.is_empty() => {
                self.ids_answered(from, begun, page, out);
            }
            (Owed::Ids { begun: true, .. }, _) => {
                self.note(false);
                self.step = Step::Close(Close::BrokenOff);
            }
            (Owed::Id(number), Answer::UniqueIds(page)) => match page.get(0) {
                Some(id) => self.reply(&Reply::Id { number: number.get(), id }, out),
                None => self.misuse(out),
            },
            (Owed::Message(number, part), Answer::Message { transfer, octets }) => {
                self.snapshot.correct(number, octets);
                let reply = if part == Part::Whole { Reply::Message { octets } } else { Reply::Top };
                self.reply(&reply, out);
                self.step = Step::Body(transfer);
            }
            (Owed::Message(..), Answer::Gone) => self.reply(&Reply::GoneMessage, out),
            (Owed::Committed, Answer::Committed) => self.good_bye(out),
            (Owed::Committed, Answer::Remain(remain)) => {
                self.reply(&Reply::NotRemoved { remain }, out);
                self.step = Step::Close(Close::QuitRefused);
            }
            (Owed::Committed, Answer::Refused(refusal)) => {
                self.reply(&Reply::Refused(&refusal), out);
                self.step = Step::Close(Close::QuitRefused);
            }
            (_, Answer::Refused(refusal)) => self.reply(&Reply::Refused(&refusal), out),
            _ => self.misuse(out),
        }
    }

    fn endless_line(&mut self, out: &mut Vec<u8>) {
        Reply::TooLong.write(out);
        self.step = Step::Close(Close::EndlessLine);
    }

    /// The driver broke the contract: it is told in the log by [`Close::Misuse`], the client by a reply.
    pub(super) fn misuse(&mut self, out: &mut Vec<u8>) {
        Reply::Internal.write(out);
        self.note(false);
        self.step = Step::Close(Close::Misuse);
    }
}

/// A request line of HTTP: a method in capitals, a target, and `HTTP/` at the last word (RFC 9112 §3).
fn is_http(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.split(|&octet| octet == b' ').collect();
    matches!(words.as_slice(), [method, _, version]
        if version.starts_with(b"HTTP/") && method.iter().all(u8::is_ascii_uppercase))
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Session<[u64; 2]>>() <= 512, "an idle session is to stay small");
