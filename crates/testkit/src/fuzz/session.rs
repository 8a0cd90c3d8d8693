//! The server's session with a maildrop of its own, fed with whatever a client may send: the same octets and questions
//! at every cut, replies that are replies, bounds that hold, and nothing that stood behind STLS.
//!
//! In the first line stand the world ([`World`]), what fails ([`Store`]), and the lengths of pieces. The rest is what
//! the client sends, in flights: a flight ends with a line `~~`, and what is left of it when TLS begins is dropped, as a
//! driver does with what it has read.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use restante_proto::{
    Secret, UniqueId,
    body::{Form, Part, Stuffer},
    phase::Phase,
    reply::{Refusal, ResponseCode, STATUS_LINE_MAX_OCTETS},
    server::{
        Answer, Ask, Close, Link, Next, OUT_SOFT_MAX_OCTETS, Offer, Policy, Session, TlsFacts, Transfer,
    },
};
use restante_sasl::{Evidence, MECHANISMS, Needs, ServerContext, ServerExchange, Step};

use super::{number, pieces, split_how};

/// The longest input in a drop of many messages, where a short command asks for a long reply.
const MANY_INPUT_MAX_OCTETS: usize = 64;
/// The longest reply that may stand behind the soft limit: a status line, or the list of CAPA.
const REPLY_MAX_OCTETS: usize = 2 * STATUS_LINE_MAX_OCTETS;
const PASSWORD: &[u8] = b"abcxyz";

const MAIL: &[(&str, Form, &[u8])] = &[
    ("390953946", Form::Local, b"Subject: 1\n\n.dot\n\nlast"),
    ("two", Form::Wire, b"Subject: 2\r\n\r\nbody\r\n"),
    ("+OK.", Form::Crlf, b".\r\n\r\n.\r\n.\r\n"),
    (".", Form::Local, b""),
    ("-ERR", Form::Local, b"\0\xff\r"),
];

static MANY_SIZES: LazyLock<Arc<[u64]>> =
    LazyLock::new(|| (0..3000).map(|n| 1_000_000_000_000_000 + n).collect());

/// What the client meets.
#[derive(Clone, Copy)]
struct World(u8);

impl World {
    const STLS: u8 = 1;
    const TLS: u8 = 2;
    const NO_CLEARTEXT: u8 = 4;
    const APOP: u8 = 8;
    const SIZES_UNKNOWN: u8 = 16;
    const MANY: u8 = 32;
    const DRAIN_SECOND_FLIGHT: u8 = 64;
    const PATIENT: u8 = 128;

    const fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn session(self) -> Session<usize> {
        // A patient server bears any number of mistakes, so that a short input reaches far.
        let bounds = if self.has(Self::PATIENT) { (u8::MAX, u8::MAX) } else { (3, 5) };
        let policy = Policy {
            hostname: "X1".into(),
            stls: self.has(Self::STLS),
            passwords: true,
            mechanisms: MECHANISMS
                .iter()
                .filter(|mechanism| mechanism.needs == Needs::Password)
                .map(|mechanism| Offer::new(mechanism.name, mechanism.cleartext))
                .collect(),
            login_failures_max: bounds.0,
            bad_commands_max: bounds.1,
        };
        let link = Link {
            tls: self.has(Self::TLS).then(|| Box::new(facts())),
            cleartext: !self.has(Self::NO_CLEARTEXT),
        };
        let stamp = self.has(Self::APOP).then(|| "<1896.697170952@X1>".into());
        Session::new(Arc::new(policy), link, stamp)
    }
}

fn facts() -> TlsFacts {
    TlsFacts { version: "TLSv1.3".into(), cipher: "TLS13_AES_256_GCM_SHA384".into(), ..TlsFacts::default() }
}

/// The maildrop, and what it cannot do.
#[derive(Clone, Copy)]
struct Store(u8);

impl Store {
    const OPEN: u8 = 1;
    const SIZES: u8 = 2;
    const UNIQUE_IDS: u8 = 4;
    const GONE: u8 = 8;
    const MESSAGE: u8 = 16;
    const BODY: u8 = 32;
    const COMMIT: u8 = 64;
    const LATER_PAGES: u8 = 128;

    const fn fails(self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// What a session said and asked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Played {
    /// All octets that the client was sent.
    said: Vec<u8>,
    /// Where bodies stand in it.
    bodies: Vec<std::ops::Range<usize>>,
    /// The questions, the handshakes and the end, in order.
    asked: String,
    closed: Option<Close>,
    committed: Option<u32>,
    secured: bool,
}

pub(super) fn run(data: &[u8]) {
    let (how, mut input) = split_how(data);
    let (world, store) = (World(number(how, 0)), Store(number(how, 1)));
    if world.has(World::MANY) {
        input = &input[..input.len().min(MANY_INPUT_MAX_OCTETS)];
    }
    let flights = flights(input);
    let whole = Player::new(world, store).play(&flights, |flight| vec![flight]);
    let cuts = how.get(2..).unwrap_or_default();
    let cut = Player::new(world, store).play(&flights, |flight| pieces(flight, cuts).collect());
    assert_eq!(cut, whole, "in pieces");
    let lines = Player::watching(world, store)
        .play(&flights, |flight| flight.split_inclusive(|&octet| octet == b'\n').collect());
    assert_eq!(lines, whole, "line by line");
    if !world.has(World::MANY) {
        let octets = Player::new(world, store).play(&flights, |flight| flight.chunks(1).collect());
        assert_eq!(octets, whole, "octet by octet");
    }
    replies_are_replies(&whole, &flights, world);
}

fn flights(input: &[u8]) -> Vec<&[u8]> {
    const END: &[u8] = b"~~\n";
    let (mut flights, mut rest) = (Vec::new(), input);
    while let Some(at) = rest.windows(END.len()).position(|line| line == END) {
        flights.push(&rest[..at]);
        rest = &rest[at + END.len()..];
    }
    flights.push(rest);
    flights
}

/// The driver of one session.
struct Player {
    session: Session<usize>,
    world: World,
    store: Store,
    exchange: Option<Box<dyn ServerExchange>>,
    out: Vec<u8>,
    played: Played,
    watched: Option<Watched>,
}

/// What commands and replies tell, where no piece reaches over the end of a line.
#[derive(Default)]
struct Watched {
    /// The numbers of the messages that are marked.
    marked: BTreeSet<u32>,
    /// The beginning of a line that stood in an earlier flight.
    partial: Vec<u8>,
}

/// How a piece of input ended.
#[derive(PartialEq, Eq)]
enum End {
    Consumed,
    Tls,
    Closed,
}

impl Player {
    fn new(world: World, store: Store) -> Self {
        let (exchange, out, played) = (None, Vec::new(), Played::default());
        Self { session: world.session(), world, store, exchange, out, played, watched: None }
    }

    fn watching(world: World, store: Store) -> Self {
        Self { watched: Some(Watched::default()), ..Self::new(world, store) }
    }

    fn play<'a>(mut self, flights: &[&'a [u8]], cut: impl Fn(&'a [u8]) -> Vec<&'a [u8]>) -> Played {
        let mut end = self.advance(b"");
        for (place, flight) in flights.iter().enumerate() {
            if place == 1 && self.world.has(World::DRAIN_SECOND_FLIGHT) {
                self.session.drain();
            }
            for piece in cut(flight) {
                if end != End::Consumed {
                    break;
                }
                let before = self.played.said.len();
                end = self.advance(piece);
                self.watch(piece, before);
            }
            if end == End::Tls {
                self.session.secured(facts());
                assert_eq!(self.session.phase(), Phase::Authorization, "nobody is named (RFC 2595 §4)");
                self.played.secured = true;
                self.watched.iter_mut().for_each(|watched| watched.partial.clear());
                end = End::Consumed;
            }
        }
        if end == End::Consumed {
            self.session.eof();
            assert!(self.advance(b"") != End::Consumed, "without input nothing goes on");
        }
        self.played
    }

    fn advance(&mut self, piece: &[u8]) -> End {
        let mut input = piece;
        let end = loop {
            let next = self.session.advance(&mut input, &mut self.out);
            self.check_bound();
            match next {
                Next::Input => {
                    assert!(input.is_empty(), "the input is consumed");
                    break End::Consumed;
                }
                Next::Write => {
                    assert!(self.out.len() >= OUT_SOFT_MAX_OCTETS);
                    self.write();
                }
                Next::Ask(ask) => {
                    self.note(&ask);
                    let answer = self.answer(ask);
                    self.session.answer(answer, &mut self.out);
                    self.check_bound();
                }
                Next::Send(transfer) => self.send(&transfer),
                Next::StartTls => {
                    assert!(input.is_empty(), "what stands behind STLS is dropped");
                    assert!(
                        self.world.has(World::STLS) && !self.world.has(World::TLS) && !self.played.secured
                    );
                    self.played.asked.push_str("StartTls\n");
                    break End::Tls;
                }
                Next::Close(why) => {
                    assert_ne!(why, Close::Misuse);
                    self.played.closed = Some(why);
                    break End::Closed;
                }
            }
        };
        self.write();
        end
    }

    /// Follows DELE, RSET and STAT by what the client said and was told.
    fn watch(&mut self, piece: &[u8], before: usize) {
        let messages = self.messages() as usize;
        let Some(Watched { marked, partial }) = &mut self.watched else { return };
        partial.extend_from_slice(piece);
        if !piece.ends_with(b"\n") {
            return;
        }
        let line = std::mem::take(partial);
        let reply = String::from_utf8_lossy(&self.played.said[before..]);
        let Some(reply) = reply.strip_prefix("+OK") else { return };
        let line = String::from_utf8_lossy(&line).to_ascii_uppercase();
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["DELE", number] => assert!(marked.insert(number.parse().unwrap()), "marked twice"),
            ["RSET"] => marked.clear(),
            ["STAT"] => {
                let left = reply.split_ascii_whitespace().next().unwrap();
                assert_eq!(left.parse(), Ok(messages - marked.len()));
            }
            _ => {}
        }
    }

    fn check_bound(&self) {
        assert!(self.out.len() < OUT_SOFT_MAX_OCTETS + REPLY_MAX_OCTETS, "{} octets", self.out.len());
    }

    fn write(&mut self) {
        self.played.said.append(&mut self.out);
    }

    fn send(&mut self, transfer: &Transfer<usize>) {
        self.write();
        let start = self.played.said.len();
        let (_, _, message) = MAIL[transfer.source % MAIL.len()];
        let mut stuffer = Stuffer::new(transfer.form, transfer.part);
        // Whether TOP wanted the whole does not matter here.
        let _progress = stuffer.push(message, &mut self.played.said);
        stuffer.finish(&mut self.played.said);
        self.played.bodies.push(start..self.played.said.len());
        self.session.sent(!self.store.fails(Store::BODY), &mut self.out);
    }

    /// Keeps what was asked, with its secrets, so that two plays can be compared.
    fn note(&mut self, ask: &Ask) {
        let shown = format!("{ask:?}");
        let secret: &[u8] = match ask {
            Ask::Password { password, .. } => password.expose(),
            Ask::SaslStart { initial: Some(secret), .. } | Ask::SaslStep(secret) => secret.expose(),
            _ => b"",
        };
        assert!(secret.is_empty() || shown.contains("Secret(…)"));
        writeln!(self.played.asked, "{shown} {}", secret.escape_ascii()).unwrap();
    }

    fn messages(&self) -> u32 {
        let messages = if self.world.has(World::MANY) { MANY_SIZES.len() } else { MAIL.len() };
        u32::try_from(messages).unwrap()
    }

    fn sizes(&self) -> Arc<[u64]> {
        if self.world.has(World::MANY) {
            MANY_SIZES.clone()
        } else {
            MAIL.iter().map(canonical_octets).collect()
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer<usize> {
        let failed = || Answer::Refused(Refusal::coded(ResponseCode::SysTemp, "the store failed\r\n+OK"));
        match ask {
            Ask::Password { password, .. } => verify(&password),
            Ask::Apop { stamp, .. } => {
                assert!(self.world.has(World::APOP) && stamp == "<1896.697170952@X1>");
                Answer::Accepted
            }
            Ask::SaslStart { mechanism, initial } => {
                let mechanism = restante_sasl::find(mechanism).expect("an offered mechanism");
                self.exchange = Some((mechanism.server)(&ServerContext::default()));
                self.step(initial.as_ref())
            }
            Ask::SaslStep(response) => self.step(Some(&response)),
            Ask::SaslCancel => {
                assert!(self.exchange.take().is_some(), "an exchange is under way");
                Answer::Cancelled
            }
            Ask::Open if self.store.fails(Store::OPEN) => failed(),
            Ask::Open => {
                let known = !self.world.has(World::SIZES_UNKNOWN);
                Answer::Opened { messages: self.messages(), sizes: known.then(|| self.sizes()) }
            }
            Ask::Sizes if self.store.fails(Store::SIZES) => failed(),
            Ask::Sizes => Answer::Sizes(self.sizes()),
            Ask::UniqueIds { range } => {
                assert!(range.start < range.end && range.end <= self.messages());
                if self.store.fails(if range.start == 0 { Store::UNIQUE_IDS } else { Store::LATER_PAGES }) {
                    return failed();
                }
                Answer::UniqueIds(range.map(unique_id).collect::<Vec<_>>().iter().collect())
            }
            Ask::Message { .. } if self.store.fails(Store::GONE) => Answer::Gone,
            Ask::Message { .. } if self.store.fails(Store::MESSAGE) => failed(),
            Ask::Message { number, part } => {
                assert!(number.index() < self.messages());
                let watched = self.watched.as_ref();
                assert!(
                    watched.is_none_or(|watched| !watched.marked.contains(&number.get())),
                    "it is marked"
                );
                let source = number.index() as usize;
                let mail = &MAIL[source % MAIL.len()];
                let transfer = Transfer { source, octets: 0..mail.2.len() as u64, form: mail.1, part };
                Answer::Message { transfer, octets: canonical_octets(mail) }
            }
            Ask::Commit { deleted } => {
                assert!(self.played.committed.is_none(), "a session commits once");
                self.played.committed = Some(deleted.count());
                assert_eq!(deleted.iter().count(), deleted.count() as usize);
                assert!(deleted.iter().all(|index| index < self.messages()));
                if let Some(watched) = &self.watched {
                    assert!(deleted.iter().map(|index| index + 1).eq(watched.marked.iter().copied()));
                }
                if self.store.fails(Store::COMMIT) {
                    Answer::Remain(deleted.count())
                } else {
                    Answer::Committed
                }
            }
        }
    }

    fn step(&mut self, response: Option<&Secret<Vec<u8>>>) -> Answer<usize> {
        let exchange = self.exchange.as_mut().expect("an exchange is under way");
        match exchange.step(response.map(|response| response.expose().as_slice())) {
            Step::Challenge(challenge) => return Answer::Challenge(challenge),
            Step::Verify(Evidence::Password(credentials)) => return verify(&credentials.password),
            Step::Verify(_) | Step::Keys { .. } | Step::Malformed => {}
        }
        Answer::Refused(Refusal::credentials())
    }
}

fn verify(password: &Secret<Vec<u8>>) -> Answer<usize> {
    if password.expose() == PASSWORD { Answer::Accepted } else { Answer::Refused(Refusal::credentials()) }
}

fn unique_id(index: u32) -> UniqueId {
    let (id, ..) = MAIL[index as usize % MAIL.len()];
    let id =
        if (index as usize) < MAIL.len() { id.to_owned() } else { format!("{id}{index}-{}", "x".repeat(40)) };
    UniqueId::new(id.as_bytes()).unwrap()
}

fn canonical_octets((_, form, message): &(&str, Form, &[u8])) -> u64 {
    let mut wire = Vec::new();
    let mut stuffer = Stuffer::new(*form, Part::Whole);
    let _progress = stuffer.push(message, &mut wire);
    stuffer.finish(&mut wire);
    let stuffed = wire.split_inclusive(|&octet| octet == b'\n').filter(|line| line.starts_with(b".")).count();
    (wire.len() - if *form == Form::Wire { 0 } else { stuffed }) as u64
}

/// What came out, taken apart without knowing what went in.
fn replies_are_replies(played: &Played, flights: &[&[u8]], world: World) {
    let mut said = Vec::new();
    let mut from = 0;
    for body in &played.bodies {
        // A body is a line here: it stands within a block.
        said.extend_from_slice(&played.said[from..body.start]);
        said.extend_from_slice(b"body\r\n");
        from = body.end;
    }
    said.extend_from_slice(&played.said[from..]);

    let (mut replies, mut deleted, mut block, mut may_block) = (0, 0, false, false);
    // How many lines a listing has said that it has, and how many came.
    let (mut announced, mut listed) = (None, 0);
    for line in said.split_inclusive(|&octet| octet == b'\n') {
        assert!(line.len() <= STATUS_LINE_MAX_OCTETS);
        let line = line.strip_suffix(b"\r\n").expect("a line ends in CRLF");
        assert!(line.iter().all(|octet| matches!(octet, b' '..=b'~')), "{}", line.escape_ascii());
        let is =
            |word: &[u8]| line == word || line.strip_prefix(word).is_some_and(|rest| rest.starts_with(b" "));
        if block {
            block = line != b".";
            listed += u64::from(block);
            assert!(block || announced.is_none_or(|announced| announced == listed), "so many lines");
            assert!(!is(b"+OK") && !is(b"-ERR") && !is(b"+"), "a reply inside a block");
        } else if is(b"+OK") || is(b"-ERR") || is(b"+") {
            (replies, may_block) = (replies + 1, is(b"+OK"));
            deleted += u32::from(line == b"+OK msg deleted");
            let words: Vec<&str> = std::str::from_utf8(line).unwrap().split(' ').collect();
            announced = match words.as_slice() {
                ["+OK", number, "messages", ..] => Some(number.parse::<u64>().unwrap()),
                _ => None,
            };
        } else {
            assert!(may_block, "a block without +OK: {}", line.escape_ascii());
            (block, may_block) = (line != b".", false);
            listed = u64::from(block);
            assert!(block || announced.is_none_or(|announced| announced == 0), "so many lines");
        }
    }
    assert!(!block || played.closed == Some(Close::BrokenOff), "a block ends");
    let lines: usize =
        flights.iter().map(|flight| flight.iter().filter(|&&octet| octet == b'\n').count()).sum();
    assert!(replies <= lines + 1, "one reply for each line, and the greeting");
    if played.closed == Some(Close::Disconnected) && !played.secured {
        assert_eq!(replies, lines + 1);
    }
    if let Some(committed) = played.committed {
        let quit = |line: &[u8]| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.trim_ascii_end().eq_ignore_ascii_case(b"QUIT")
        };
        let mut lines = flights.iter().flat_map(|flight| {
            let mut lines: Vec<&[u8]> = flight.split(|&octet| octet == b'\n').collect();
            lines.pop();
            lines
        });
        // A line may reach over the end of a flight.
        assert!(flights.len() > 1 || lines.any(quit), "only QUIT, with its line end, commits");
        assert!(committed <= deleted, "nothing is removed that was not marked");
        assert!(matches!(played.closed, Some(Close::Quit | Close::QuitRefused)));
    }
    if world.has(World::NO_CLEARTEXT) && !world.has(World::TLS) && !played.secured {
        assert!(!played.asked.contains("Password") && !played.asked.contains("Sasl"), "no password in clear");
    }
}
