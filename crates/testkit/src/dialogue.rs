//! Plays a dialogue against the server's session in memory: no sockets, no clock, no store. The account and the mail
//! are those of the dialogue's head; TLS is what its `T:` lines say.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use md5::{Digest, Md5};
use restante_proto::{
    Secret, UniqueIds,
    body::{Form, Measure, Stuffer},
    dialogue::{
        Apop, Cleartext, Content, Dialogue, Flag, Head, Heard, Kind, Listener, Piece, Reader, Side, Slot,
        TcpEvent, TlsEvent, TlsMode, filler,
    },
    reply::Refusal,
    server::{Answer, Ask, Link, Next, Offer, Policy, Session, TlsFacts, Transfer},
    verb::Verb,
};
use restante_sasl::{Evidence, MECHANISMS, Needs, ServerContext, ServerExchange, Step};

/// How the client's octets are cut into what the session is given at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// Where the dialogue cuts.
    AsWritten,
    /// As written, and before this octet of all that the client says.
    At(usize),
    /// After every octet.
    EveryOctet,
}

/// How many commands were answered, by verb (`None` where it is none) and by whether the answer was `+OK`.
pub type Answered = BTreeMap<(Option<Verb>, bool), u32>;

/// A dialogue read from a file, with the lines of the file where its events stand.
#[derive(Clone, Debug)]
pub struct Script {
    /// What was read.
    pub dialogue: Dialogue,
    lines: Vec<usize>,
    name: String,
    mail: Vec<Message>,
}

#[derive(Clone, Debug)]
struct Message {
    id: restante_proto::UniqueId,
    stored: Vec<u8>,
    octets: u64,
    form: Form,
}

impl Script {
    /// Reads a file; an error is what to show to the author.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = fs::read(path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(&name, &text, path.parent().unwrap_or_else(|| Path::new(".")))
    }

    /// Reads a text; the files of its mail lie in `folder`.
    pub fn parse(name: &str, text: &[u8], folder: &Path) -> Result<Self, String> {
        let (mut reader, mut events, mut lines) = (Reader::new(), Vec::new(), Vec::new());
        for line in text.split(|&octet| octet == b'\n') {
            if let Some(event) = reader.line(line).map_err(|error| format!("{name}: {error}"))? {
                events.push(event);
                lines.push(reader.line_number());
            }
        }
        let head = reader.head().clone();
        let mail = head.mail.iter().map(|mail| {
            let stored = match &mail.content {
                Content::Octets(octets) => octets.clone(),
                Content::Filler(octets) => filler(*octets),
                Content::File(path) => fs::read(folder.join(&**path))
                    .map_err(|error| format!("{name}: mail file {path}: {error}"))?,
            };
            let mut measure = Measure::default();
            measure.push(&stored);
            let measured = measure.finish();
            Ok(Message { id: mail.unique_id.clone(), stored, octets: measured.octets, form: measured.form })
        });
        let mail = mail.collect::<Result<_, String>>()?;
        Ok(Self { dialogue: Dialogue { head, events }, lines, name: name.to_owned(), mail })
    }

    /// How many octets the client says.
    pub fn client_octets(&self) -> usize {
        self.turns().map(|turn| turn.said.len()).sum()
    }

    /// Plays it, and compares every answer; gives all that the server said, or what was different where.
    pub fn play(&self, cutting: Cutting) -> Result<Vec<u8>, String> {
        self.play_counted(cutting).map(|(said, _)| said)
    }

    /// The same, and with it the commands that the session says it answered.
    pub fn play_counted(&self, cutting: Cutting) -> Result<(Vec<u8>, Answered), String> {
        let mut server = Server::new(&self.dialogue.head, &self.mail);
        let (mut said, mut said_before, mut place) = (Vec::new(), 0, 0);
        server.advance(b"");
        while place < self.dialogue.events.len() {
            let turn = self.turn(place)?;
            for piece in turn.pieces(cutting, said_before) {
                server.advance(piece);
            }
            said_before += turn.said.len();
            place = turn.end;
            self.compare(&mut server, &mut place, &mut said)?;
        }
        Ok((said, server.answered))
    }

    /// The client's lines from here on, up to the next event that is none.
    fn turn(&self, start: usize) -> Result<Turn, String> {
        let mut turn = Turn { said: Vec::new(), cuts: Vec::new(), end: start };
        for event in &self.dialogue.events[start..] {
            let Kind::Client(line) = &event.kind else { break };
            for piece in line.pieces() {
                match piece {
                    Piece::Octets(octets) => turn.said.extend_from_slice(octets),
                    Piece::Cut => turn.cuts.push(turn.said.len()),
                    Piece::Mark(Slot::User) => {
                        let user = self.dialogue.head.user.as_ref();
                        turn.said.extend_from_slice(user.map_or("", |user| user.as_str()).as_bytes());
                    }
                    Piece::Mark(Slot::Password) => turn.said.extend_from_slice(password(&self.dialogue.head)),
                    Piece::Secret => {
                        return Err(self.wrong(turn.end, "a secret that was taken out cannot be said again"));
                    }
                }
            }
            turn.end += 1;
        }
        Ok(turn)
    }

    fn turns(&self) -> impl Iterator<Item = Turn> {
        let mut place = 0;
        std::iter::from_fn(move || {
            let turn = self.turn(place).ok().filter(|_| place < self.dialogue.events.len())?;
            place = turn.end.max(place + 1);
            Some(turn)
        })
    }

    /// Takes the events from `place` to the client's next line.
    fn compare(&self, server: &mut Server<'_>, place: &mut usize, said: &mut Vec<u8>) -> Result<(), String> {
        let (mut listener, mut out) = (Listener::default(), std::mem::take(&mut server.written));
        let mut rest = out.as_slice();
        while let Some(event) = self.dialogue.events.get(*place) {
            match &event.kind {
                Kind::Client(_) => break,
                // TLS from the first byte is there before the dialogue begins.
                Kind::Tls(TlsEvent::Handshake(_)) if *place == 0 && server.is_implicit() => {}
                Kind::Tls(_) | Kind::Tcp(_) => {
                    self.nothing_left(*place, rest)?;
                    said.extend_from_slice(&out);
                    self.below(&event.kind, server).map_err(|problem| self.wrong(*place, &problem))?;
                    out = std::mem::take(&mut server.written);
                    rest = out.as_slice();
                }
                expected => match listener.hear(expected, rest) {
                    Heard::Same { taken } => rest = &rest[taken..],
                    Heard::Different { difference, .. } => {
                        return Err(self.wrong(*place, &format!("another answer\n{difference}")));
                    }
                    Heard::More => return Err(self.wrong(*place, "the server says nothing")),
                },
            }
            *place += 1;
        }
        self.nothing_left(*place, rest)?;
        said.extend_from_slice(&out);
        Ok(())
    }

    /// An event below the lines.
    fn below(&self, kind: &Kind, server: &mut Server<'_>) -> Result<(), String> {
        match kind {
            Kind::Tls(TlsEvent::Handshake(_)) => server.handshake(),
            Kind::Tls(TlsEvent::Failed) => Err("a failed handshake needs a real connection".into()),
            Kind::Tcp(TcpEvent::Segment(segment)) if segment.flags.has(Flag::Fin) => match segment.from {
                Side::Client => {
                    server.session.eof();
                    server.advance(b"");
                    Ok(())
                }
                Side::Server if server.closed => Ok(()),
                Side::Server => Err("the server does not end the connection".into()),
            },
            _ => Ok(()),
        }
    }

    fn nothing_left(&self, place: usize, rest: &[u8]) -> Result<(), String> {
        if rest.is_empty() {
            return Ok(());
        }
        Err(self.wrong(place, &format!("before this the server says more: {}", rest.escape_ascii())))
    }

    fn wrong(&self, place: usize, problem: &str) -> String {
        let line = self.lines.get(place).or_else(|| self.lines.last()).copied().unwrap_or(1);
        format!("{}:{line}: {problem}", self.name)
    }
}

/// What the client says without waiting for an answer.
struct Turn {
    said: Vec<u8>,
    cuts: Vec<usize>,
    /// The event behind it.
    end: usize,
}

impl Turn {
    fn pieces(&self, cutting: Cutting, before: usize) -> Vec<&[u8]> {
        let mut cuts = match cutting {
            Cutting::EveryOctet => (0..self.said.len()).collect(),
            _ => self.cuts.clone(),
        };
        if let Cutting::At(at) = cutting {
            cuts.extend(at.checked_sub(before).filter(|&at| at < self.said.len()));
            cuts.sort_unstable();
        }
        cuts.push(self.said.len());
        let mut start = 0;
        let pieces = cuts.into_iter().map(|cut| {
            let piece = &self.said[start..cut];
            start = cut;
            piece
        });
        pieces.filter(|piece| !piece.is_empty()).collect()
    }
}

fn password(head: &Head) -> &[u8] {
    head.password.as_ref().map_or(b"", |password| password.expose())
}

/// The driver of one session.
struct Server<'a> {
    session: Session<usize>,
    head: &'a Head,
    mail: &'a [Message],
    exchange: Option<Box<dyn ServerExchange>>,
    out: Vec<u8>,
    /// What the client has been sent since somebody looked.
    written: Vec<u8>,
    answered: Answered,
    /// STLS was answered: what comes now is no POP3 until the handshake is done.
    shaking_hands: bool,
    closed: bool,
}

impl<'a> Server<'a> {
    fn new(head: &'a Head, mail: &'a [Message]) -> Self {
        let hostname = head.hostname.as_deref().unwrap_or("X1");
        let policy = Policy {
            hostname: hostname.into(),
            stls: head.tls == Some(TlsMode::Stls),
            passwords: true,
            mechanisms: MECHANISMS
                .iter()
                .filter(|mechanism| mechanism.needs == Needs::Password)
                .map(|mechanism| Offer::new(mechanism.name, mechanism.cleartext))
                .collect(),
            login_failures_max: 3,
            bad_commands_max: 20,
        };
        let facts = TlsFacts {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            ..TlsFacts::default()
        };
        let link = Link {
            tls: (head.tls == Some(TlsMode::Implicit)).then(|| Box::new(facts)),
            cleartext: head.cleartext != Some(Cleartext::Never),
        };
        let stamp = match &head.apop {
            None | Some(Apop::Off) => None,
            Some(Apop::On) => Some(format!("<1896.697170952@{hostname}>").into()),
            Some(Apop::Stamp(stamp)) => Some(format!("<{stamp}@{hostname}>").into()),
        };
        let session = Session::new(Arc::new(policy), link, stamp);
        Self {
            session,
            head,
            mail,
            exchange: None,
            out: Vec::new(),
            written: Vec::new(),
            answered: Answered::new(),
            shaking_hands: false,
            closed: false,
        }
    }

    fn advance(&mut self, mut input: &[u8]) {
        if !self.shaking_hands && !self.closed {
            self.go_on(&mut input);
            self.written.append(&mut self.out);
        }
    }

    fn go_on(&mut self, input: &mut &[u8]) {
        loop {
            let next = self.session.advance(input, &mut self.out);
            let answered = &mut self.answered;
            self.session
                .tally()
                .take(|verb, ok, commands| *answered.entry((verb, ok)).or_default() += commands);
            match next {
                Next::Input => return,
                Next::Write => self.written.append(&mut self.out),
                Next::Ask(ask) => {
                    let answer = self.answer(ask);
                    self.session.answer(answer, &mut self.out);
                }
                Next::Send(transfer) => {
                    let mut stuffer = Stuffer::new(transfer.form, transfer.part);
                    let message = &self.mail[transfer.source];
                    // TOP may want less than the whole; what is pushed is the whole either way.
                    let _progress = stuffer.push(&message.stored, &mut self.out);
                    stuffer.finish(&mut self.out);
                    self.session.sent(true, &mut self.out);
                }
                Next::StartTls => {
                    self.shaking_hands = true;
                    return;
                }
                Next::Close(_) => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn is_implicit(&self) -> bool {
        self.head.tls == Some(TlsMode::Implicit)
    }

    fn handshake(&mut self) -> Result<(), String> {
        if !self.shaking_hands {
            return Err("the server does not begin TLS".into());
        }
        self.shaking_hands = false;
        self.session.secured(TlsFacts {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            ..TlsFacts::default()
        });
        Ok(())
    }

    fn answer(&mut self, ask: Ask) -> Answer<usize> {
        match ask {
            Ask::Password { user, password } => self.verify(&user, &password),
            Ask::Apop { user, stamp, digest } => {
                let mut md5 = Md5::new();
                md5.update(stamp.as_bytes());
                md5.update(password(self.head));
                if self.is_user(&user) && md5.finalize().as_slice() == digest {
                    Answer::Accepted
                } else {
                    refused()
                }
            }
            Ask::SaslStart { mechanism, initial } => {
                self.exchange = restante_sasl::find(mechanism)
                    .map(|mechanism| (mechanism.server)(&ServerContext::default()));
                self.step(initial.as_ref())
            }
            Ask::SaslStep(response) => self.step(Some(&response)),
            Ask::SaslCancel => {
                self.exchange = None;
                Answer::Cancelled
            }
            Ask::Open => {
                let messages = u32::try_from(self.mail.len()).unwrap_or(u32::MAX);
                Answer::Opened {
                    messages,
                    sizes: Some(self.mail.iter().map(|message| message.octets).collect()),
                }
            }
            Ask::Sizes => Answer::Sizes(self.mail.iter().map(|message| message.octets).collect()),
            Ask::UniqueIds { range } => {
                let page = &self.mail[range.start as usize..range.end as usize];
                Answer::UniqueIds(page.iter().map(|message| &message.id).collect::<UniqueIds>())
            }
            Ask::Message { number, part } => {
                let source = number.index() as usize;
                let message = &self.mail[source];
                let transfer =
                    Transfer { source, octets: 0..message.stored.len() as u64, form: message.form, part };
                Answer::Message { transfer, octets: message.octets }
            }
            Ask::Commit { .. } => Answer::Committed,
        }
    }

    fn step(&mut self, response: Option<&Secret<Vec<u8>>>) -> Answer<usize> {
        let Some(exchange) = &mut self.exchange else { return refused() };
        match exchange.step(response.map(|response| response.expose().as_slice())) {
            Step::Challenge(challenge) => Answer::Challenge(challenge),
            Step::Verify(Evidence::Password(credentials)) => {
                self.verify(&credentials.user, &credentials.password)
            }
            Step::Verify(_) | Step::Keys { .. } | Step::Malformed => refused(),
        }
    }

    fn verify(&self, user: &str, given: &Secret<Vec<u8>>) -> Answer<usize> {
        let right = !given.expose().is_empty() && given.expose() == password(self.head);
        if right && self.is_user(user) { Answer::Accepted } else { refused() }
    }

    fn is_user(&self, user: &str) -> bool {
        self.head.user.as_ref().is_some_and(|known| known.as_str().eq_ignore_ascii_case(user))
    }
}

fn refused() -> Answer<usize> {
    Answer::Refused(Refusal::credentials())
}
