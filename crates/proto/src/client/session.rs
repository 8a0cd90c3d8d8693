//! The client's session: the commands whose answers are owed, and what comes for them.

use alloc::{collections::VecDeque, string::String, vec::Vec};
use core::{fmt, mem};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    MessageNumber, Secret,
    body::{Unstuffed, Unstuffer},
    command::Command,
    line::{Found, Line, Lines, Of},
    phase::Phase,
    reply::{Status, printable},
    verb::{ReplyShape, Verb},
};

/// How many commands may be owed an answer at a time; a [`super::Window`] stays within it.
pub(super) const ASKED_MAX: u32 = 4096;

/// How many challenges one AUTH may have.
const CHALLENGES_MAX: u32 = 16;

/// How many lines a list of capabilities or mechanisms may have.
const CAPABILITIES_MAX: u64 = 1024;

/// How many lines LIST or UIDL may have, where the driver knows no better: [`Session::limit_listings`].
const LISTING_MAX: u64 = 4_000_000;

/// How many octets of one message are handed out at a time at most: `body` does not grow beyond that.
const STEP_OCTETS: usize = 64 * 1024;

/// How much of what a server said is repeated in an error, in characters.
const SAID_MAX: usize = 200;

/// One session of a client. See the [module](super) for the contract.
///
/// ```
/// use restante_proto::{client::{Event, Session}, command::Command, reply::Status, verb::Verb};
///
/// let (mut session, mut out, mut body) = (Session::new(), Vec::new(), Vec::new());
/// let mut input = b"+OK X1 POP3 Server\r\n".as_slice();
/// let Ok(Event::Greeting { .. }) = session.advance(&mut input, &mut body) else { panic!() };
///
/// session.send(&Command::User("john"), &mut out)?;
/// assert_eq!(out, b"USER john\r\n");
/// let mut input = b"+OK send your password\r\n".as_slice();
/// let Ok(Event::Reply { asked, status: Status::Ok { text } }) = session.advance(&mut input, &mut body) else { panic!() };
/// assert_eq!((asked.verb, text.as_str()), (Verb::User, "send your password"));
/// let Ok(Event::Input) = session.advance(&mut input, &mut body) else { panic!() };
/// # Ok::<(), restante_proto::client::NotNow>(())
/// ```
#[derive(Debug)]
pub struct Session {
    asked: VecDeque<Asked>,
    reading: Reading,
    lines: Lines,
    /// The state that the answers so far have led to.
    phase: Phase,
    /// The state if all that is under way succeeds.
    ahead: Phase,
    /// A command is under way behind which nothing may be sent: AUTH, STLS, QUIT.
    last: Option<Verb>,
    /// How many lines LIST or UIDL may have.
    listing_max: u64,
}

/// A command whose answer is owed, as far as it matters for reading the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The verb.
    pub verb: Verb,
    /// The message that it was about.
    pub number: Option<MessageNumber>,
    shape: ReplyShape,
}

/// What the input is read as.
#[derive(Debug)]
enum Reading {
    Greeting,
    /// The status line of the oldest command.
    Status,
    /// The lines of a listing; so many have come.
    Listing(u64),
    Message(Unstuffer),
    /// The final dot of a message came, and was not told yet.
    Ended,
    /// `+OK` came for STLS; the handshake has not begun, or is going on.
    Tls,
    /// A challenge came, the response is owed; so many have come.
    Response(u32),
    /// The next line is a challenge or the end of AUTH.
    Exchange(u32),
    /// QUIT was answered, or the session is broken.
    Over,
}

/// What the server said. Octets of messages are in the caller's buffer.
#[derive(Debug)]
pub enum Event<'a> {
    /// Nothing more; the input was consumed.
    Input,
    /// The greeting (RFC 1939 §4). After `-ERR` the server ends the connection.
    Greeting {
        /// What it said.
        status: Status,
        /// The time stamp for APOP, if there is one that is a message-id (RFC 1939 §7).
        stamp: Option<String>,
    },
    /// The answer to a command: `+OK` or `-ERR`, no challenge. After `+OK` to a command whose answer has several lines
    /// those follow, up to [`Event::End`].
    Reply {
        /// The command.
        asked: Asked,
        /// What it said.
        status: Status,
    },
    /// A line of the answer to CAPA, LIST, UIDL or AUTH, its stuffed dot removed.
    Line(ListingLine<'a>),
    /// Octets of a message were appended to `body`: lines end in CRLF, stuffed dots are removed.
    Octets,
    /// The listing or the message is whole.
    End {
        /// The command that it answered.
        asked: Asked,
    },
    /// A challenge of AUTH, decoded; [`Session::respond`] is owed.
    Challenge(Vec<u8>),
    /// The server waits for the TLS handshake; [`Session::secured`] is owed.
    StartTls,
}

/// A line of a listing.
pub struct ListingLine<'a> {
    line: Line<'a>,
    from: usize,
}

impl core::ops::Deref for ListingLine<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.line[self.from..]
    }
}

impl fmt::Debug for ListingLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self).fmt(f)
    }
}

/// A command that may not be said now; nothing was sent. It is the caller's fault, not the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNow {
    /// The verb.
    pub verb: Verb,
    /// The state that the session will be in once everything under way is answered.
    pub phase: Phase,
}

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} may not be said now ({} state)", self.verb.word(), self.phase.name())
    }
}

impl core::error::Error for NotNow {}

/// Why a server cannot be talked to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The greeting is none: this is no POP3 server, or it speaks TLS from the first octet.
    NoGreeting(String),
    /// A status line is none.
    NoStatus(Asked, String),
    /// It said this without being asked.
    Unasked(String),
    /// It said `-ERR` and this without being asked: it gives the session up, as some do with whom says nothing for long.
    GivenUp(String),
    /// A line is longer than any that we take.
    LineTooLong,
    /// A listing has no end.
    ListingTooLong(Asked),
    /// A challenge came where none can.
    ChallengeUnasked(Asked),
    /// A challenge is no base64.
    NotBase64,
    /// The challenges have no end.
    TooManyChallenges,
    /// A challenge makes no sense in the mechanism; the exchange was cancelled.
    SenselessChallenge,
    /// What comes for this command is the answer to none, or to another: a status line stands within a listing, or the answer
    /// does not fit what LIST said, and a message before it had another length, so that mail may be read as answers.
    OutOfStep(Asked),
    /// Octets came behind the answer to STLS, before TLS: somebody on the way tries to speak for the server (RFC 2595 §4,
    /// the `NO STARTTLS` attacks).
    BehindStls,
    /// Octets came behind the answer to QUIT.
    BehindQuit,
    /// The connection ended in the middle of a line, a listing or a message.
    Cut(Option<Asked>),
    /// The connection ended while answers were owed.
    Unanswered(Asked),
    /// The connection ended before the greeting.
    Silent,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGreeting(said) => write!(f, "the server does not greet as a POP3 server does: «{said}»"),
            Self::NoStatus(asked, said) => {
                write!(f, "the answer to {} is neither +OK nor -ERR: «{said}»", asked.verb.word())
            }
            Self::Unasked(said) => write!(f, "the server said without being asked: «{said}»"),
            Self::GivenUp(said) => write!(f, "the server gave the session up: «{said}»"),
            Self::LineTooLong => f.write_str("the server sends a line without end"),
            Self::ListingTooLong(asked) => write!(f, "the answer to {} has no end", asked.verb.word()),
            Self::ChallengeUnasked(asked) => {
                write!(f, "the server challenges {}, which has no challenges", asked.verb.word())
            }
            Self::NotBase64 => f.write_str("a challenge of the server is not base64"),
            Self::TooManyChallenges => f.write_str("the server's challenges have no end"),
            Self::SenselessChallenge => f.write_str("a challenge of the server makes no sense in its mechanism"),
            Self::OutOfStep(asked) => {
                write!(f, "what the server says is no answer to {asked}: its answers are out of step")
            }
            Self::BehindStls => f.write_str(
                "octets came behind the answer to STLS, before TLS: somebody on the way may be speaking for the server",
            ),
            Self::BehindQuit => f.write_str("the server went on after it said good-bye"),
            Self::Cut(Some(asked)) => write!(f, "the connection ended in the middle of the answer to {asked}"),
            Self::Cut(None) => f.write_str("the connection ended in the middle of a line"),
            Self::Unanswered(asked) => write!(f, "the connection ended before the answer to {asked}"),
            Self::Silent => f.write_str("the server ended the connection without a greeting"),
        }
    }
}

impl core::error::Error for Broken {}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb.word())?;
        match self.number {
            Some(number) => write!(f, " {number}"),
            None => Ok(()),
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A session on a new connection, before the greeting.
    pub fn new() -> Self {
        Self {
            asked: VecDeque::new(),
            reading: Reading::Greeting,
            lines: Lines::default(),
            phase: Phase::Authorization,
            ahead: Phase::Authorization,
            last: None,
            listing_max: LISTING_MAX,
        }
    }

    /// The state that the answers so far have led to.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How many commands are owed an answer.
    pub fn owed(&self) -> usize {
        self.asked.len()
    }

    /// Says a command: appends it to `out`. More than one may be under way where the server offers PIPELINING, but none
    /// behind AUTH, STLS and QUIT.
    pub fn send(&mut self, command: &Command<'_>, out: &mut Vec<u8>) -> Result<(), NotNow> {
        let verb = command.verb();
        let refused = NotNow { verb, phase: self.ahead };
        let begun = !matches!(self.reading, Reading::Greeting | Reading::Tls | Reading::Over);
        // What is encrypted must not begin with what an eavesdropper could have put there, nor the other way round.
        let alone = verb != Verb::Stls || self.asked.is_empty();
        if !begun || !alone || self.last.is_some() || self.asked.len() >= ASKED_MAX as usize {
            return Err(refused);
        }
        self.ahead = self.ahead.transition(verb).ok_or(refused)?.ok;
        if matches!(command, Command::Auth(..)) || matches!(verb, Verb::Stls | Verb::Quit) {
            self.last = Some(verb);
        }
        let (number, has_argument) = subject(command);
        self.asked.push_back(Asked { verb, number, shape: verb.reply_shape(has_argument) });
        command.write(out);
        Ok(())
    }

    /// How many lines LIST and UIDL may have from now on, for a driver that knows from STAT what to expect.
    pub const fn limit_listings(&mut self, lines: u64) {
        self.listing_max = lines;
    }

    /// What came while no answer was owed. Before it sends a command, or a response to a challenge, the driver shows it here, so
    /// that it is never taken for the answer to that.
    pub fn unasked(&mut self, input: &[u8]) -> Result<(), Broken> {
        let idle = match self.reading {
            Reading::Status => self.asked.is_empty(),
            Reading::Response(_) => true,
            _ => false,
        };
        if input.is_empty() || !idle {
            return Ok(());
        }
        self.reading = Reading::Over;
        let line = input.split(|&octet| octet == b'\n').next().unwrap_or_default();
        Err(unasked(line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// Answers a challenge; `None` cancels the exchange (RFC 5034 §4).
    pub fn respond(&mut self, response: Option<&Secret<Vec<u8>>>, out: &mut Vec<u8>) {
        let Reading::Response(challenges) = self.reading else { return };
        self.reading = Reading::Exchange(challenges);
        match response {
            None => out.push(b'*'),
            Some(response) => {
                let base64 = Secret::new(BASE64.encode(response.expose()));
                out.extend_from_slice(base64.expose().as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// TLS is on.
    pub fn secured(&mut self) {
        if matches!(self.reading, Reading::Tls) {
            self.lines.clear();
            self.reading = Reading::Status;
            self.last = None;
        }
    }

    /// Goes on with what the server said. Octets of a message are appended to `body`, a bounded number of them, which the
    /// caller takes away before the next call.
    pub fn advance<'a>(&mut self, input: &mut &'a [u8], body: &mut Vec<u8>) -> Result<Event<'a>, Broken> {
        let event = self.read(input, body);
        if event.is_err() {
            self.reading = Reading::Over;
        }
        event
    }

    /// The server ended the connection. That is no error where nothing is owed.
    pub fn eof(&mut self) -> Result<(), Broken> {
        let oldest = self.asked.front().copied();
        match mem::replace(&mut self.reading, Reading::Over) {
            Reading::Over => Ok(()),
            Reading::Greeting => Err(Broken::Silent),
            Reading::Listing(_) | Reading::Message(_) => Err(Broken::Cut(oldest)),
            _ => match oldest {
                Some(asked) => Err(Broken::Unanswered(asked)),
                None if self.lines.is_empty() => Ok(()),
                None => Err(Broken::Cut(None)),
            },
        }
    }

    fn read<'a>(&mut self, input: &mut &'a [u8], body: &mut Vec<u8>) -> Result<Event<'a>, Broken> {
        if input.is_empty() && !matches!(self.reading, Reading::Ended) {
            return Ok(Event::Input);
        }
        match &mut self.reading {
            Reading::Message(unstuffer) => {
                let step = &input[..input.len().min(STEP_OCTETS)];
                match unstuffer.push(step, body) {
                    Unstuffed::More => *input = &input[step.len()..],
                    Unstuffed::Done(taken) => {
                        *input = &input[taken..];
                        self.reading = Reading::Ended;
                    }
                }
                match (body.is_empty(), &self.reading) {
                    (false, _) => Ok(Event::Octets),
                    (true, Reading::Ended) => self.end(),
                    (true, _) => Ok(Event::Input),
                }
            }
            Reading::Ended => self.end(),
            Reading::Listing(_) => self.listing_line(input),
            Reading::Tls => Err(Broken::BehindStls),
            Reading::Over => Err(Broken::BehindQuit),
            Reading::Response(_) => Err(Broken::Unasked(said(input))),
            Reading::Greeting => match self.line(input)? {
                Some(line) => self.greeting(&line),
                None => Ok(Event::Input),
            },
            Reading::Status | Reading::Exchange(_) => match self.line(input)? {
                Some(line) => self.status(&line, input),
                None => Ok(Event::Input),
            },
        }
    }

    fn line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Line<'a>>, Broken> {
        match self.lines.next(input, Of::Reply) {
            Found::Line(line) => Ok(Some(line)),
            // Its end is not waited for: it may never come.
            Found::Incomplete if self.lines.is_too_long() => Err(Broken::LineTooLong),
            Found::Incomplete => Ok(None),
            Found::TooLong | Found::Endless => Err(Broken::LineTooLong),
        }
    }

    fn greeting(&mut self, line: &[u8]) -> Result<Event<'static>, Broken> {
        match Status::parse(line) {
            None | Some(Status::Challenge { .. }) => Err(Broken::NoGreeting(said(line))),
            Some(status) => {
                self.reading = Reading::Status;
                let stamp = match &status {
                    Status::Ok { text } => stamp(text).map(Into::into),
                    _ => None,
                };
                Ok(Event::Greeting { status, stamp })
            }
        }
    }

    fn status(&mut self, line: &[u8], input: &[u8]) -> Result<Event<'static>, Broken> {
        let Some(&asked) = self.asked.front() else { return Err(unasked(line)) };
        let status = Status::parse(line).ok_or_else(|| Broken::NoStatus(asked, said(line)))?;
        if let Status::Challenge { base64 } = &status {
            return self.challenge(asked, base64);
        }
        let ok = matches!(status, Status::Ok { .. });
        let row = self.phase.transition(asked.verb);
        self.phase = row.map_or(self.phase, |row| if ok { row.ok } else { row.err });
        self.reading = Reading::Status;
        if ok && asked.shape == ReplyShape::Block {
            self.reading = match asked.verb {
                Verb::Retr | Verb::Top => Reading::Message(Unstuffer::default()),
                _ => Reading::Listing(0),
            };
        } else {
            self.answered(ok);
        }
        match (asked.verb, ok) {
            (Verb::Stls, true) => {
                if !input.is_empty() {
                    return Err(Broken::BehindStls);
                }
                self.reading = Reading::Tls;
                self.last = Some(Verb::Stls);
                return Ok(Event::StartTls);
            }
            (Verb::Quit, _) => self.reading = Reading::Over,
            _ => {}
        }
        Ok(Event::Reply { asked, status })
    }

    fn challenge(&mut self, asked: Asked, base64: &str) -> Result<Event<'static>, Broken> {
        if asked.shape != ReplyShape::Exchange {
            return Err(Broken::ChallengeUnasked(asked));
        }
        let challenges = if let Reading::Exchange(challenges) = self.reading { challenges + 1 } else { 1 };
        if challenges > CHALLENGES_MAX {
            return Err(Broken::TooManyChallenges);
        }
        let challenge = BASE64.decode(base64.trim_ascii()).map_err(|_| Broken::NotBase64)?;
        self.reading = Reading::Response(challenges);
        Ok(Event::Challenge(challenge))
    }

    fn listing_line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Event<'a>, Broken> {
        let Some(line) = self.line(input)? else { return Ok(Event::Input) };
        if *line == *b"." {
            return self.end();
        }
        let asked = self.asked.front().copied();
        if let (Reading::Listing(lines), Some(asked)) = (&mut self.reading, asked) {
            let max = if matches!(asked.verb, Verb::List | Verb::Uidl) {
                self.listing_max
            } else {
                CAPABILITIES_MAX
            };
            *lines += 1;
            if *lines > max {
                return Err(Broken::ListingTooLong(asked));
            }
            let may_be = matches!(line.first(), Some(b'+' | b'-'));
            if may_be && matches!(Status::parse(&line), Some(Status::Ok { .. } | Status::Err { .. })) {
                return Err(Broken::OutOfStep(asked));
            }
        }
        let from = usize::from(line.first() == Some(&b'.'));
        Ok(Event::Line(ListingLine { line, from }))
    }

    /// The answer to the oldest command is whole.
    fn end(&mut self) -> Result<Event<'static>, Broken> {
        self.reading = Reading::Status;
        match self.answered(true) {
            Some(asked) => Ok(Event::End { asked }),
            // Lines are only read for a command.
            None => Err(Broken::Unasked(String::new())),
        }
    }

    fn answered(&mut self, ok: bool) -> Option<Asked> {
        let asked = self.asked.pop_front();
        if self.asked.is_empty() {
            self.last = None;
        }
        if !ok {
            // What follows was sent in the hope of another state.
            let hoped =
                |phase: Phase, asked: &Asked| phase.transition(asked.verb).map_or(phase, |row| row.ok);
            self.ahead = self.asked.iter().fold(self.phase, hoped);
        }
        asked
    }
}

/// The message that a command is about, and whether it has an argument that changes the shape of the answer.
const fn subject(command: &Command<'_>) -> (Option<MessageNumber>, bool) {
    match command {
        Command::Dele(number) | Command::Retr(number) | Command::Top(number, _) => (Some(*number), true),
        Command::List(number) | Command::Uidl(number) => (*number, number.is_some()),
        Command::AuthList
        | Command::Capa
        | Command::Noop
        | Command::Quit
        | Command::Rset
        | Command::Stat
        | Command::Stls => (None, false),
        Command::Apop(..) | Command::Auth(..) | Command::Pass(_) | Command::User(_) => (None, true),
    }
}

/// The longest time stamp for APOP, in octets; a message-id is shorter.
const STAMP_MAX_OCTETS: usize = 255;

/// The time stamp in a greeting: the last text in angle brackets, if it is a message-id (RFC 1939 §7, RFC 822). What is
/// none is not signed: an attacker would choose it to learn something from the digest (CVE-2007-1558).
fn stamp(greeting: &str) -> Option<&str> {
    let start = greeting.rfind('<')?;
    let end = start + greeting[start..].find('>')? + 1;
    let stamp = &greeting[start..end];
    let (local, domain) = stamp[1..stamp.len() - 1].split_once('@')?;
    let word =
        |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'@');
    (stamp.len() <= STAMP_MAX_OCTETS && word(local) && word(domain)).then_some(stamp)
}

/// A line that nobody asked for.
fn unasked(line: &[u8]) -> Broken {
    match Status::parse(line) {
        Some(Status::Err { text, .. }) => Broken::GivenUp(said(text.as_bytes())),
        _ => Broken::Unasked(said(line)),
    }
}

/// What the server said, printable and bounded, for an error.
fn said(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(4 * SAID_MAX)]);
    let mut shown = printable(&text, SAID_MAX);
    if text.chars().nth(SAID_MAX).is_some() || line.len() > 4 * SAID_MAX {
        shown.push('…');
    }
    shown
}
