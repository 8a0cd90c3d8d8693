//! What of a session may be written down. The session is followed on both sides, so that a SASL response is told from
//! a command, and a login that succeeded from one that did not; when the server does something that cannot be
//! followed, hardly anything passes any more.

use alloc::{collections::VecDeque, vec::Vec};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{LINE_MAX_OCTETS, Line, Mark, Pattern, Piece, Slot};
use crate::{
    Secret,
    command::Command,
    user::USER_NAME_MAX_OCTETS,
    verb::{ReplyShape, Verb},
};

/// How many commands may wait for their replies until the session counts as lost from sight.
const PENDING_MAX: usize = 1 << 16;
/// How many octets of secrets are kept at most, to find them in replies.
const SAID_MAX_OCTETS: usize = 64 << 10;
/// A secret shorter than this is not looked for in replies: it would be found everywhere.
const ECHO_MIN_OCTETS: usize = 3;
/// How many secrets of a session are looked for in what the server says later, the latest of them.
const SECRETS_MAX: usize = 64;
/// A shorter one is looked for as a whole word only.
const SECRET_MIN_OCTETS: usize = 6;
/// In how many commands that wait for their answers a secret is looked for.
const PENDING_LOOKED_AT: usize = 16;

/// Base64 as servers and clients write it, well or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// So much of a longer secret is looked for too: servers cut what they repeat.
const PREFIX_OCTETS: usize = 6;

/// Response codes that pass whatever stands behind them (RFC 2449 §8, RFC 3206).
const CODES: &[&str] = &["[AUTH] ", "[IN-USE] ", "[LOGIN-DELAY] ", "[SYS/TEMP] ", "[SYS/PERM] "];

/// The SASL mechanisms whose names pass. Any other word behind AUTH could be a secret in the wrong place.
const MECHANISMS: &[&str] = &[
    "ANONYMOUS",
    "CRAM-MD5",
    "DIGEST-MD5",
    "EXTERNAL",
    "GS2-KRB5",
    "GSSAPI",
    "KERBEROS_V4",
    "LOGIN",
    "NTLM",
    "OAUTHBEARER",
    "OTP",
    "PLAIN",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-512-PLUS",
    "XOAUTH2",
];

/// Takes the secrets out of a session's lines, in the order in which they pass.
///
/// Of the client's lines there passes: a known command word; USER's name; AUTH's mechanism; the arguments of CAPA,
/// STLS, QUIT, UTF8 and LANG; and once a login has succeeded the arguments of every other command but PASS, APOP and
/// AUTH. Everything else, lines that are no command too, becomes `[secret]`. Of the server's lines SASL challenges
/// become it, and the text of a reply that repeats what was secret in its command.
///
/// ```
/// use restante_proto::dialogue::Redactor;
/// let mut redactor = Redactor::new();
/// redactor.server(b"+OK POP3\r\n");
/// assert_eq!(redactor.client(b"user john\r\n").to_string(), "user john");
/// assert_eq!(redactor.client(b"pass abcxyz\r\n").to_string(), "pass [secret]");
/// ```
#[derive(Debug, Default)]
pub struct Redactor {
    greeted: bool,
    logged_in: bool,
    /// Nobody saw the login for certain: only commands that are sound in every octet show their arguments.
    resumed: bool,
    /// The server did what cannot be followed.
    lost: bool,
    /// Something secret was said, which the server may repeat at any time once the session is lost from sight.
    secret_said: bool,
    /// The next line of the client is a SASL response.
    response_due: bool,
    pending: VecDeque<Pending>,
    /// How many of them begin an exchange.
    exchanges: usize,
    said_octets: usize,
    /// The passwords and responses of the session, for answers that repeat them late.
    secrets: VecDeque<Secret<Vec<u8>>>,
    block: Option<Block>,
    /// The server's last line ended in a bare LF, which does not begin a line in which a block could end.
    after_bare_lf: bool,
}

/// What a line is in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The server's first words (RFC 1939 §4).
    Greeting,
    /// A command.
    Command {
        /// Its verb; `None` where its word is no known one.
        verb: Option<Verb>,
    },
    /// A client's line in a SASL exchange (RFC 5034 §4).
    Response,
    /// A server's line in a SASL exchange.
    Challenge {
        /// The client's response was sent already: what looked like the command behind AUTH.
        responded: bool,
    },
    /// The status line that answers the oldest command.
    Reply {
        /// The verb of that command.
        to: Option<Verb>,
        /// Whether it is `+OK`.
        ok: bool,
    },
    /// A line of a listing.
    Listing,
    /// A message, or a line of one.
    Message,
    /// The final `.` line of a block.
    End,
    /// A line of the server that answers no command.
    Unasked,
    /// A line that cannot be told: the session cannot be followed any more.
    Unknown,
}

/// How much of a line passes, in octets, its line end not counted, and what the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) octets: usize,
    pub(super) role: Role,
}

const fn kept(octets: usize, role: Role) -> Kept {
    Kept { octets, role }
}

/// A command that waits for its reply.
#[derive(Debug)]
struct Pending {
    verb: Option<Verb>,
    what: What,
    /// What was secret in it; `None` if too much was to be kept.
    said: Option<Secret<Vec<u8>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Line,
    Block(Block),
    /// A reply that ends the phase before login.
    Login,
    Exchange,
    Stls,
}

/// What the lines of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A listing.
    Listing,
    /// A message.
    Message,
}

impl Block {
    pub(super) const fn role(self) -> Role {
        match self {
            Self::Listing => Role::Listing,
            Self::Message => Role::Message,
        }
    }
}

/// A client's line taken apart.
struct Said {
    verb: Option<Verb>,
    what: What,
    /// How much of it passes before login, and after.
    before: usize,
    after: usize,
}

impl Redactor {
    /// A redactor at the start of a session, before the greeting.
    pub fn new() -> Self {
        Self::default()
    }

    /// A redactor that comes in behind the greeting, or behind the login too: of a session whose beginning nobody saw.
    /// Behind the login it passes the arguments of commands that are sound (RFC 1939), and of no other line.
    pub fn resumed(logged_in: bool) -> Self {
        Self { greeted: true, logged_in, resumed: true, ..Self::default() }
    }

    /// What of the client's line may be written. The line may lack its line end, if the stream ended before it.
    pub fn client(&mut self, line: &[u8]) -> Line<Slot> {
        let kept = self.client_keeps(line);
        shown(line, kept.octets)
    }

    /// What of the server's line may be written.
    pub fn server(&mut self, line: &[u8]) -> Line<Pattern> {
        let kept = self.server_keeps(line);
        shown(line, kept.octets)
    }

    /// The block in whose middle the server is.
    pub(super) const fn block(&self) -> Option<Block> {
        self.block
    }

    /// The server ended the block; for who looks at its lines himself.
    pub(super) const fn end_block(&mut self) {
        self.block = None;
    }

    /// What of the client's line passes.
    pub(super) fn client_keeps(&mut self, line: &[u8]) -> Kept {
        let content = content(line);
        if self.lost {
            self.secret_said = true;
            return kept(0, Role::Unknown);
        }
        if self.response_due {
            self.secret_said = true;
            self.response_due = false;
            self.knows_words(content);
            self.responded(content);
            return kept(0, Role::Response);
        }
        let said = take_apart(content);
        // Behind an AUTH that is not answered yet, a line may be a command or a response: only the server knows.
        let unclear = self.exchanges > 0;
        let sound = !self.resumed || Command::parse(content).is_ok();
        let passes = match (unclear, self.logged_in && sound) {
            (true, _) => 0,
            (false, false) => said.before,
            (false, true) => said.after,
        };
        self.secret_said |= passes < content.len();
        if self.pending.len() == PENDING_MAX {
            self.secret_said = true;
            self.lose();
            return kept(0, Role::Unknown);
        }
        self.exchanges += usize::from(said.what == What::Exchange);
        match said.verb {
            Some(Verb::Pass) => self.knows(&content[passes..]),
            Some(Verb::Apop | Verb::Auth) => self.knows_words(&content[passes..]),
            None => self.knows_words(content),
            Some(_) => {}
        }
        let verb = said.verb.filter(|_| !unclear);
        let said = Pending { verb: said.verb, what: said.what, said: self.remember(&content[passes..]) };
        self.pending.push_back(said);
        kept(passes, Role::Command { verb })
    }

    /// What of the server's line passes.
    pub(super) fn server_keeps(&mut self, line: &[u8]) -> Kept {
        let content = content(line);
        let status = Status::of(content);
        // What passes of a line that answers nothing that is known.
        let repeats = self.block != Some(Block::Message) && self.repeats_late(content, status);
        let unasked = if self.secret_said || repeats { status.word_octets(content) } else { content.len() };
        if self.lost {
            return kept(unasked, Role::Unknown);
        }
        // Half a line may hold half of what it repeats, which nobody finds.
        let is_whole = line.ends_with(b"\n") || !self.secret_said;
        // No line of a listing begins like a status line: it ended without its final dot.
        let cut_short = self.block == Some(Block::Listing)
            && matches!(status, Status::Ok | Status::Err)
            && !self.pending.is_empty();
        if cut_short {
            self.break_block();
        }
        if let Some(block) = self.block {
            let after_bare_lf = core::mem::replace(&mut self.after_bare_lf, !line.ends_with(b"\r\n"));
            if line == b".\r\n" && !after_bare_lf {
                self.block = None;
                return kept(content.len(), Role::End);
            }
            // Mail may hold anything; a listing has no reason to.
            let hides = block == Block::Listing && repeats;
            return kept(if hides { 0 } else { content.len() }, block.role());
        }
        self.after_bare_lf = false;
        if !self.greeted {
            self.greeted = true;
            if matches!(status, Status::Ok | Status::Err) {
                return kept(unasked, Role::Greeting);
            }
        }
        let Some(front) = self.pending.front() else {
            // A server that gives up says why, unasked; nothing that follows can be told from a reply.
            self.lose();
            let shown = status == Status::Err && is_whole && !repeats;
            let passes = if shown { content.len() } else { unasked };
            return kept(passes, Role::Unasked);
        };
        match (status, front.what) {
            (Status::Challenge, What::Exchange) => {
                // The response was sent already, or comes next.
                let responded = self.pending.remove(1);
                match &responded {
                    Some(response) => {
                        let said = self.forget(response);
                        self.responded(&said);
                    }
                    None => self.response_due = true,
                }
                return kept(status.word_octets(content), Role::Challenge { responded: responded.is_some() });
            }
            (Status::Ok | Status::Err, _) => {}
            (Status::Challenge | Status::None, _) => {
                self.lose();
                return kept(if self.secret_said { 0 } else { content.len() }, Role::Unknown);
            }
        }
        let Some(answered) = self.pending.pop_front() else { return kept(0, Role::Unknown) };
        // Servers that do not pipeline answer one command with the words of another.
        let others = self.pending.iter().take(PENDING_LOOKED_AT).filter(|_| !self.logged_in);
        let hides = !is_whole
            || repeats
            || repeats_own(content, &answered)
            || others.into_iter().any(|other| repeats_own(content, other));
        let passes = if hides { status.word_octets(content) } else { content.len() };
        self.forget(&answered);
        if answered.what == What::Exchange {
            // A server may end it without hearing the response.
            self.response_due = false;
        }
        let ok = status == Status::Ok;
        if ok {
            match answered.what {
                What::Line => {}
                What::Block(block) => self.block = Some(block),
                What::Login | What::Exchange => self.logged_in = true,
                // What was sent behind STLS is never answered (RFC 2595 §4).
                What::Stls => self.drop_pending(),
            }
        }
        kept(passes, Role::Reply { to: answered.verb, ok })
    }

    /// This is secret, wherever the server repeats it.
    pub(super) fn knows(&mut self, secret: &[u8]) {
        let secret = secret.trim_ascii();
        let is_known = self.secrets.iter().any(|known| known.expose() == secret);
        if secret.len() < ECHO_MIN_OCTETS || secret.len() > SAID_MAX_OCTETS || is_known {
            return;
        }
        if self.secrets.len() == SECRETS_MAX {
            self.secrets.pop_front();
        }
        self.secrets.push_back(Secret::new(secret.to_vec()));
    }

    /// Words of a login are secret, and what they say in base64: of that the password or the token, not the names beside it.
    fn knows_words(&mut self, words: &[u8]) {
        for word in words.split(|octet| *octet <= b' ').filter(|word| word.len() >= SECRET_MIN_OCTETS) {
            self.knows(word);
            if let Some(plain) = decoded(word) {
                self.knows(credential(plain.expose()));
            }
        }
    }

    /// Whether a line repeats something that is secret in the session: in a refusal anything, else what is no word that an
    /// answer could hold by itself.
    fn repeats_late(&self, content: &[u8], status: Status) -> bool {
        if self.secrets.is_empty() {
            return false;
        }
        let line = content.to_ascii_lowercase();
        self.secrets.iter().any(|secret| repeats_word(&line, secret.expose(), status == Status::Err))
    }

    /// The block ended without its final dot, as it seems. What seems to be an answer behind it may be a line of it: only
    /// sound commands show their arguments from here on.
    pub(super) const fn break_block(&mut self) {
        self.block = None;
        self.resumed = true;
    }

    /// Whether the server owes an answer.
    pub(super) fn owes(&self) -> bool {
        !self.pending.is_empty()
    }

    /// From here on nothing can be told apart.
    fn lose(&mut self) {
        self.lost = true;
        self.drop_pending();
    }

    fn drop_pending(&mut self) {
        self.pending.clear();
        self.exchanges = 0;
        self.said_octets = 0;
        self.response_due = false;
    }

    /// Keeps a copy of what was secret, to find it in the reply.
    fn remember(&mut self, secret: &[u8]) -> Option<Secret<Vec<u8>>> {
        if self.said_octets + secret.len() > SAID_MAX_OCTETS {
            return None;
        }
        self.said_octets += secret.len();
        Some(Secret::new(secret.to_vec()))
    }

    /// Takes a command that waits no longer out of the counts.
    fn forget(&mut self, pending: &Pending) -> Vec<u8> {
        self.exchanges -= usize::from(pending.what == What::Exchange);
        let said = pending.said.as_ref().map_or_else(Vec::new, |said| said.expose().clone());
        self.said_octets -= said.len();
        said
    }

    /// The exchange that is under way has heard a response.
    fn responded(&mut self, response: &[u8]) {
        let Some(front) = self.pending.front_mut() else { return };
        if self.said_octets + response.len() + 1 > SAID_MAX_OCTETS {
            self.said_octets -= front.said.take().map_or(0, |said| said.expose().len());
        } else if let Some(said) = &mut front.said {
            let mut both = said.expose().clone();
            both.push(b' ');
            both.extend_from_slice(response);
            *said = Secret::new(both);
            self.said_octets += response.len() + 1;
        }
    }
}

/// What a line of the server begins with (RFC 1939 §3, RFC 5034 §4).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    Err,
    Challenge,
    None,
}

impl Status {
    fn of(content: &[u8]) -> Self {
        match content.split(|&octet| octet == b' ').next() {
            Some(b"+OK") => Self::Ok,
            Some(b"-ERR") => Self::Err,
            Some(b"+") => Self::Challenge,
            _ => Self::None,
        }
    }

    /// How much of a line passes if its text does not: nothing of what is no status line. A line that holds nothing
    /// else is cut short by the caller.
    fn word_octets(self, content: &[u8]) -> usize {
        match self {
            Self::Ok => b"+OK ".len(),
            Self::Err => {
                let text = content.get(b"-ERR ".len()..).unwrap_or_default();
                let code = CODES.iter().find(|code| text.starts_with(code.as_bytes()));
                b"-ERR ".len() + code.map_or(0, |code| code.len())
            }
            Self::Challenge => b"+ ".len(),
            Self::None => 0,
        }
    }
}

/// The line without its line end.
pub(super) fn content(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The line with only so many octets of its content.
fn shown<M: Mark>(line: &[u8], kept: usize) -> Line<M> {
    let content = content(line);
    // What no dialogue could hold is cut off, and marked like a secret.
    let kept = kept.min(content.len()).min(LINE_MAX_OCTETS - b"\r\n".len());
    let mut shown = Line::of(&line[..kept]);
    if kept < content.len() {
        shown.push(Piece::Secret);
    }
    shown.push_octets(&line[content.len()..]);
    shown
}

fn take_apart(content: &[u8]) -> Said {
    let word = content.split(|&octet| octet == b' ').next().unwrap_or(content);
    // What passes of a command whose arguments do not.
    let arguments = (word.len() + 1).min(content.len());
    let has_argument = !content[arguments..].trim_ascii().is_empty();
    let all = content.len();
    let printable = content.iter().all(|octet| matches!(octet, b' '..=b'~'));
    let Some(verb) = Verb::from_word(word) else {
        let extension = [&b"UTF8"[..], b"LANG"].into_iter().find(|known| known.eq_ignore_ascii_case(word));
        return match extension {
            Some(b"LANG") if !has_argument => {
                Said { verb: None, what: What::Block(Block::Listing), before: all, after: all }
            }
            Some(_) if printable => Said { verb: None, what: What::Line, before: all, after: all },
            Some(_) => Said { verb: None, what: What::Line, before: arguments, after: arguments },
            None => Said { verb: None, what: What::Line, before: 0, after: 0 },
        };
    };
    let what = match (verb, verb.reply_shape(has_argument)) {
        (Verb::Pass | Verb::Apop, _) => What::Login,
        (Verb::Stls, _) => What::Stls,
        (Verb::Retr | Verb::Top, ReplyShape::Block) => What::Block(Block::Message),
        (_, ReplyShape::Block) => What::Block(Block::Listing),
        (_, ReplyShape::Exchange) => What::Exchange,
        (_, ReplyShape::Line) => What::Line,
    };
    // What could not be typed is no argument.
    let sound = if printable { all } else { arguments };
    let (before, after) = match verb {
        Verb::Capa | Verb::Stls | Verb::Quit => (sound, sound),
        Verb::Pass | Verb::Apop => (arguments, arguments),
        Verb::User => {
            let name = first_argument(content, arguments, is_user_name);
            (name, name)
        }
        Verb::Auth => {
            let mechanism = first_argument(content, arguments, |word| {
                MECHANISMS.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
            });
            (mechanism, mechanism)
        }
        _ => (arguments, all),
    };
    Said { verb: Some(verb), what, before, after }
}

/// How much passes if the first argument does: it and the space behind it.
fn first_argument(content: &[u8], arguments: usize, passes: impl Fn(&[u8]) -> bool) -> usize {
    let start = content[arguments..]
        .iter()
        .position(|&octet| octet != b' ')
        .map_or(content.len(), |at| arguments + at);
    let argument = content[start..].split(|&octet| octet == b' ').next().unwrap_or_default();
    if passes(argument) { (start + argument.len() + 1).min(content.len()) } else { arguments }
}

fn is_user_name(word: &[u8]) -> bool {
    word.len() <= USER_NAME_MAX_OCTETS && word.iter().all(|&octet| octet > b' ' && octet != 0x7f)
}

/// Whether a reply repeats something of what was secret in its command. Servers like to say which command they did not
/// understand.
fn repeats_own(reply: &[u8], answered: &Pending) -> bool {
    answered.said.as_ref().is_none_or(|said| repeats(reply, said.expose(), ECHO_MIN_OCTETS))
}

/// Whether a line repeats a secret: the whole, a word, a part or the beginning of a word, what a word in base64 says, or the
/// secret in base64. What is shorter than `min_octets` is not looked for.
fn repeats(reply: &[u8], secret: &[u8], min_octets: usize) -> bool {
    let reply = reply.to_ascii_lowercase();
    let holds = |text: &[u8]| {
        let text = beginning(text.trim_ascii());
        text.len() >= min_octets && memchr::memmem::find(&reply, &text.to_ascii_lowercase()).is_some()
    };
    let holds_part = |text: &[u8]| {
        holds(text)
            || text.split(|&octet| octet <= b' ').any(|word| {
                holds(word) || holds(without_verb(word)) || word.split(|&octet| octet == b'=').any(holds)
            })
    };
    let mut plains = secret.split(|octet| octet.is_ascii_whitespace()).filter_map(decoded);
    let encoded = BASE64.encode(secret.trim_ascii());
    holds_part(secret) || plains.any(|plain| holds_part(plain.expose())) || holds(encoded.as_bytes())
}

/// Whether a line, in small letters, repeats a secret of the session: as a whole word, and in a refusal the beginning of a
/// longer one too, and in base64.
fn repeats_word(line: &[u8], secret: &[u8], in_refusal: bool) -> bool {
    let secret_folded = secret.to_ascii_lowercase();
    let is_long = secret.len() >= SECRET_MIN_OCTETS && !secret.iter().all(u8::is_ascii_digit);
    if in_refusal && is_long {
        let encoded = BASE64.encode(secret).to_ascii_lowercase();
        return memchr::memmem::find(line, beginning(&secret_folded)).is_some()
            || memchr::memmem::find(line, encoded.as_bytes()).is_some();
    }
    // Letters and something else: no word of an ordinary answer.
    let is_distinct =
        is_long && secret.iter().any(u8::is_ascii_alphabetic) && !secret.iter().all(u8::is_ascii_alphabetic);
    let is_inside = |octet: Option<&u8>| octet.is_some_and(|octet| octet.is_ascii_alphanumeric());
    (in_refusal || is_distinct)
        && memchr::memmem::find_iter(line, &secret_folded).any(|at| {
            let before = at.checked_sub(1).and_then(|before| line.get(before));
            !is_inside(before) && !is_inside(line.get(at + secret_folded.len()))
        })
}

/// So much of a secret as is looked for: servers cut what they repeat.
fn beginning(secret: &[u8]) -> &[u8] {
    &secret[..secret.len().min(PREFIX_OCTETS)]
}

/// What a word says in base64, whole or cut off.
fn decoded(word: &[u8]) -> Option<Secret<Vec<u8>>> {
    let end = word.iter().rposition(|&octet| octet != b'=').map_or(0, |last| last + 1);
    let word = &word[..end];
    let whole = if word.len() % 4 == 1 { &word[..word.len() - 1] } else { word };
    BASE64.decode(whole).ok().filter(|plain| !plain.is_empty()).map(Secret::new)
}

/// What is secret in a SASL message: the token of OAUTHBEARER and XOAUTH2, the last field of PLAIN, else all.
fn credential(message: &[u8]) -> &[u8] {
    const BEARER: &[u8] = b"auth=Bearer ";
    if let Some(at) = memchr::memmem::find(message, BEARER) {
        let token = &message[at + BEARER.len()..];
        return token.split(|&octet| octet == 1).next().unwrap_or(token);
    }
    message.rsplit(|&octet| octet == 0).next().unwrap_or(message)
}

/// A word without the verb that somebody wrote in front of it without a space.
fn without_verb(word: &[u8]) -> &[u8] {
    let verb = [Verb::Pass, Verb::Apop, Verb::Auth, Verb::User].into_iter().find(|verb| {
        word.get(..verb.word().len()).is_some_and(|start| start.eq_ignore_ascii_case(verb.word().as_bytes()))
    });
    verb.map_or(word, |verb| &word[verb.word().len()..])
}
