//! Dovecot's rawlogs: two files of one connection, `….in` with what came in and `….out` with what went out. They are read
//! side by side and made into one session in the order of their times, or of the protocol where there are none.
//!
//! Dovecot (`iostream-rawlog`, since 2.0; seen with 2.3.19) writes what passes octet by octet, and in front of each line
//! the time at which its first octet passed: `1795871330.693688 +OK 2 315`. A line that was never ended has no end in the
//! file either; octets that are no text stand as they are. What a file holds depends on which program wrote it:
//!
//! - `rawlog_dir`: the program behind the login. Its first line is the login's `+OK Logged in.`; TLS has been taken away.
//! - `pop3-login -R DIR`: the program before the login. It begins with the greeting and ends with the login, whose answer
//!   is in the other program's file. TLS has not been taken away: behind STLS there are records.
//! - `login_proxy_rawlog_dir`, `pop3c_rawlog_dir`: Dovecot was the client, so that the answers are what came in.
//! - the script `rawlog` of older versions writes the same, without times in the oldest.
//!
//! Secrets are taken out by [`Recorder`], through which every octet goes that gets any further. Files are opened by the
//! caller; [`Pair`] knows their names.

mod half;
mod talk;
mod tls;

use std::{
    fmt,
    io::{self, BufRead},
    path::{Path, PathBuf},
    time::Duration,
};

use restante_proto::{
    dialogue::{Bodies, Observed, Recorder, Side, timestamp},
    phase::Phase,
    verb::Verb,
};

use self::{
    half::{Half, Piece, stamp_of},
    talk::Talk,
    tls::Tls,
};
use crate::heard::{Ending, Heard, Opening, What};

/// A rawlog is one connection.
const SESSION: u32 = 1;

/// What the login behind which a file begins is taken for.
const UNHEARD_LOGIN: &[u8] = b"PASS\r\n";

/// What is kept of a rawlog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How much of the beginning of each message is kept, in octets.
    pub body_start_max_octets: usize,
}

/// Reads rawlogs.
///
/// ```
/// use restante_diagram::source::rawlog::{Options, Rawlog};
/// let client = b"1795871330.693600 STAT\r\n";
/// let server = b"1795871330.542927 +OK Logged in.\r\n1795871330.693688 +OK 2 315\r\n";
/// let mut heard = Vec::new();
/// Rawlog::new(Options::default()).read(&client[..], &server[..], &mut |one| heard.push(one))?;
/// // It begins; three lines; it ends.
/// assert_eq!(heard.len(), 5);
/// # Ok::<(), restante_diagram::source::rawlog::RawlogError>(())
/// ```
#[derive(Debug)]
pub struct Rawlog {
    options: Options,
}

impl Rawlog {
    /// A reader that keeps what the options say.
    pub const fn new(options: Options) -> Self {
        Self { options }
    }

    /// Reads a pair of files to their ends, `….in` and `….out`, and hands on what is heard as soon as its place is known.
    /// Of each file one piece of bounded length is held.
    pub fn read(
        &self,
        in_file: impl BufRead,
        out_file: impl BufRead,
        sink: &mut dyn FnMut(Heard),
    ) -> Result<(), RawlogError> {
        let in_file = Half::open(File::In, in_file)?;
        let out_file = Half::open(File::Out, out_file)?;
        let stamped = stamped(&in_file, &out_file)?;
        match (speaker(in_file.head()), speaker(out_file.head())) {
            // Who is taken for the server is shown nearly whole, so that there must be no doubt.
            (Some(Side::Server), Some(Side::Server) | None) => Err(RawlogError::NoCommands),
            (Some(Side::Client), Some(Side::Client)) => Err(RawlogError::NoPop3),
            (_, Some(Side::Client)) => self.merge(out_file, in_file, stamped, sink),
            (_, Some(Side::Server) | None) => self.merge(in_file, out_file, stamped, sink),
        }
    }

    fn merge(
        &self,
        mut client: Half<impl BufRead>,
        mut server: Half<impl BufRead>,
        stamped: bool,
        sink: &mut dyn FnMut(Heard),
    ) -> Result<(), RawlogError> {
        let mut session = Session::begin(client.head(), server.head(), &self.options);
        let mut hand_on = |what| sink(Heard { session: SESSION, what });
        let first = match session.talk.next(client.head(), server.head(), stamped) {
            Some(Side::Client) => client.head(),
            _ => server.head(),
        };
        hand_on(What::Begin(session.opening(first.and_then(|piece| piece.at))));
        while let Some(from) = session.talk.next(client.head(), server.head(), stamped) {
            let piece = match from {
                Side::Client => client.take()?,
                Side::Server => server.take()?,
            };
            if let Some(piece) = piece {
                session.said(from, &piece, &mut hand_on);
            }
        }
        session.end(&mut hand_on);
        Ok(())
    }
}

/// Whether the files have times; both or none, unless one of them is empty.
fn stamped(in_file: &Half<impl BufRead>, out_file: &Half<impl BufRead>) -> Result<bool, RawlogError> {
    match (in_file.stamped(), out_file.stamped()) {
        (None, None) => Err(RawlogError::Empty),
        (Some(one), None) | (None, Some(one)) => Ok(one),
        (Some(one), Some(other)) if one == other => Ok(one),
        (Some(true), Some(_)) => Err(RawlogError::NoPair { stamped: File::In }),
        (Some(_), Some(_)) => Err(RawlogError::NoPair { stamped: File::Out }),
    }
}

/// Whose words a file begins with; `None` if it is empty.
fn speaker(head: Option<&Piece>) -> Option<Side> {
    let octets = &head?.octets;
    let of_server = is_status(octets) || tls::is_server_hello(octets);
    Some(if of_server { Side::Server } else { Side::Client })
}

/// The session as it is put together.
struct Session {
    recorder: Recorder,
    tls: Tls,
    talk: Talk,
    clock: Clock,
    joined: bool,
    seen: Vec<Observed>,
}

impl Session {
    fn begin(client: Option<&Piece>, server: Option<&Piece>, options: &Options) -> Self {
        let client_says = client.map_or(&b""[..], |piece| &piece.octets);
        let server_says = server.map_or(&b""[..], |piece| &piece.octets);
        let is_tls = |octets: &[u8]| octets.first() == Some(&tls::HANDSHAKE);
        // A client that begins TLS where the server speaks in clear only says what nobody understands.
        let in_tls = (is_tls(client_says) || is_tls(server_says)) && !is_status(server_says);
        let joined = !in_tls && is_behind_login(client_says, server_says);
        // Whether the server's first words are the login's answer: they came before anything else. Without times only
        // their text tells.
        let answers_login = match (client.and_then(|piece| piece.at), server.and_then(|piece| piece.at)) {
            _ if !joined || server.is_none() => false,
            (Some(client), Some(server)) => server <= client || says_logged_in(server_says),
            _ => client.is_none() || says_logged_in(server_says),
        };
        let bodies = Bodies::Elided;
        let (recorder, talk) = match (joined, answers_login) {
            (false, _) if in_tls => (Recorder::new(bodies), Talk::inside_tls()),
            (false, _) => (Recorder::new(bodies), Talk::new()),
            (true, answered) => (Recorder::resumed(bodies, !answered), Talk::behind_login(answered)),
        };
        let mut session = Self {
            recorder: recorder.with_starts(options.body_start_max_octets),
            tls: Tls::new(in_tls),
            talk,
            clock: Clock::default(),
            joined,
            seen: Vec::new(),
        };
        if !matches!(talk::verb_of(client_says), Some(verb) if !matches!(verb, Verb::Pass | Verb::Apop | Verb::Auth))
        {
            // The server's first words may be the answer to it.
            session.recorder.knows(client_says);
        }
        if answers_login {
            // A login that nobody heard, so that its answer is taken for one; of it nothing is handed on.
            session.talk.asked(UNHEARD_LOGIN);
            session.recorder.observe(Side::Client, None, UNHEARD_LOGIN, &mut session.seen);
            session.seen.drain(..).for_each(|observed| session.talk.observed(&observed));
        }
        session
    }

    fn opening(&self, started: Option<Duration>) -> Opening {
        Opening {
            started: started.map(|at| timestamp(at.as_secs()).into()),
            joined: self.joined,
            // The program behind the login sees what is inside; whether TLS was around it, nobody wrote down.
            inside_tls: self.joined,
            ..Opening::default()
        }
    }

    /// Takes the next piece of a line, or of TLS.
    fn said(&mut self, from: Side, piece: &Piece, hand_on: &mut dyn FnMut(What)) {
        let at = self.clock.at(piece.at);
        if self.tls.begun {
            self.tls.push(from, at, &piece.octets, hand_on);
            return;
        }
        if from == Side::Client && piece.begins {
            self.talk.asked(&piece.octets);
        }
        self.recorder.observe(from, at, &piece.octets, &mut self.seen);
        for observed in self.seen.drain(..) {
            self.talk.observed(&observed);
            hand_on(What::Said { observed, span: None });
        }
        self.tls.begun = self.talk.in_tls();
    }

    fn end(mut self, hand_on: &mut dyn FnMut(What)) {
        self.recorder.observe_end(&mut self.seen);
        for observed in self.seen.drain(..) {
            hand_on(What::Said { observed, span: None });
        }
        self.tls.end(hand_on);
        // The program behind the login goes on in files of its own.
        let elsewhere = self.tls.begun || self.talk.login_is_open();
        hand_on(What::End(if elsewhere { Ending::Source } else { Ending::Closed }));
    }
}

/// The session's own time. It never goes back: where the machine's clock was set back, no time passes.
#[derive(Debug, Default)]
struct Clock {
    start: Option<Duration>,
    last: Option<Duration>,
    set_back: Duration,
}

impl Clock {
    fn at(&mut self, stamp: Option<Duration>) -> Option<Duration> {
        let stamp = stamp?;
        let start = *self.start.get_or_insert(stamp);
        if let Some(last) = self.last.replace(stamp) {
            self.set_back += last.saturating_sub(stamp);
        }
        Some((stamp + self.set_back).saturating_sub(start))
    }
}

/// Whether a line is a server's: a status line (RFC 1939 §3) or a challenge (RFC 5034 §4).
fn is_status(line: &[u8]) -> bool {
    line.starts_with(b"+OK") || line.starts_with(b"-ERR") || line.starts_with(b"+ ")
}

fn says_logged_in(line: &[u8]) -> bool {
    const WORDS: &[u8] = b"logged in";
    line.windows(WORDS.len()).any(|part| part.eq_ignore_ascii_case(WORDS))
}

/// Whether the files begin behind the login: by the client's first command, if it may stand on one side of the login only,
/// else by what the server says first.
fn is_behind_login(client: &[u8], server: &[u8]) -> bool {
    let before =
        |verb| [Phase::Authorization, Phase::Named].iter().any(|phase| phase.transition(verb).is_some());
    let behind = |verb| Phase::Transaction.transition(verb).is_some();
    match talk::verb_of(client).map(|verb| (before(verb), behind(verb))) {
        Some((false, true)) => true,
        Some((true, false)) => false,
        _ => says_logged_in(server),
    }
}

/// Whether a file that begins with these octets may be one of a rawlog: a line with a time stamp in front, a status line, or a
/// command.
pub fn looks_like(first: &[u8]) -> bool {
    /// Seconds since 1970 have so many digits since 1973; the seconds of a dialogue hardly do.
    const SECONDS_MIN_DIGITS: usize = 9;
    if let Some((_, length)) = stamp_of(first) {
        return length >= SECONDS_MIN_DIGITS + half::STAMP_OCTETS_BEHIND_SECONDS;
    }
    is_status(first)
        || talk::verb_of(first.split(|&octet| octet == b'\r' || octet == b'\n').next().unwrap_or(first))
            .is_some()
}

/// The names of the two files of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What came in: `….in`.
    pub in_file: PathBuf,
    /// What went out: `….out`.
    pub out_file: PathBuf,
}

impl Pair {
    /// The pair that a file of this name belongs to; `None` if it ends neither in `.in` nor in `.out`.
    ///
    /// ```
    /// use restante_diagram::source::rawlog::Pair;
    /// let pair = Pair::of("20261128-130854.6008.1.out".as_ref()).ok_or("no rawlog")?;
    /// assert_eq!(pair.in_file.to_str(), Some("20261128-130854.6008.1.in"));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn of(path: &Path) -> Option<Self> {
        path.extension().filter(|end| *end == "in" || *end == "out")?;
        Some(Self { in_file: path.with_extension("in"), out_file: path.with_extension("out") })
    }

    /// The error for a pair of which this file does not exist.
    pub fn lacks(&self, file: File) -> RawlogError {
        let (missing, there) = match file {
            File::In => (&self.in_file, &self.out_file),
            File::Out => (&self.out_file, &self.in_file),
        };
        RawlogError::Missing { missing: missing.clone(), there: there.clone() }
    }
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// `….in`
    In,
    /// `….out`
    Out,
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "the .in file",
            Self::Out => "the .out file",
        })
    }
}

/// Why a pair of files is no rawlog that can be read. Nothing of what they hold is in it.
#[derive(Debug)]
pub enum RawlogError {
    /// A file could not be read.
    Read {
        /// Which one.
        file: File,
        /// In which line, from 1.
        line: u64,
        /// Why not.
        error: io::Error,
    },
    /// Only one of the two files is there.
    Missing {
        /// The one that is not.
        missing: PathBuf,
        /// The one that is.
        there: PathBuf,
    },
    /// A line has no time stamp, and the first one has.
    NoTimeStamp {
        /// In which file.
        file: File,
        /// Which line, from 1.
        line: u64,
    },
    /// One file has time stamps, and the other has none.
    NoPair {
        /// Which one has them.
        stamped: File,
    },
    /// Both files are empty.
    Empty,
    /// The .in file begins with an answer, and the other one with none of the commands.
    NoCommands,
    /// Neither file begins as a POP3 server does.
    NoPop3,
}

impl fmt::Display for RawlogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, line, error } => write!(f, "{file}, line {line}: it cannot be read: {error}"),
            Self::Missing { missing, there } => write!(
                f,
                "a rawlog is two files, and {} is not there; put it beside {}",
                missing.display(),
                there.display()
            ),
            Self::NoTimeStamp { file, line } => write!(
                f,
                "{file}, line {line}: no time stamp (such as `1795871330.693688 `) in front, as the first line has one; the file was changed, or two were joined: take Dovecot's own"
            ),
            Self::NoPair { stamped } => write!(
                f,
                "{stamped}, line 1, has a time stamp in front and the other file has none: they are not of one connection; give two files whose names differ in .in and .out only"
            ),
            Self::Empty => f.write_str(
                "both files are empty: Dovecot writes into them while a connection lasts, so nothing was said yet",
            ),
            Self::NoCommands => f.write_str(
                "the .in file, line 1, holds an answer, and the .out file has no commands: they are not of one connection; give two files whose names differ in .in and .out only",
            ),
            Self::NoPop3 => f.write_str(
                "the .out file, line 1, begins with neither +OK nor -ERR, nor does the .in file: they are of another protocol; take a rawlog of service pop3 or pop3-login",
            ),
        }
    }
}

impl std::error::Error for RawlogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            _ => None,
        }
    }
}
