//! A session with an SMTP or LMTP server: greeting, extensions, TLS, logging in, and messages one after the other.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use restante_proto::{
    Secret,
    body::{Form, Part, Progress, Stuffer},
};
use restante_sasl::{ClientContext, Credentials, MECHANISMS};
use rustls::ClientConfig;
use smtp_proto::{
    AUTH_LOGIN, AUTH_PLAIN, EXT_8BIT_MIME, EXT_SIZE, EXT_START_TLS, EhloResponse,
    response::parser::ResponseReceiver,
};

use crate::destination::{
    Fault,
    spool::Spooled,
    wire::{Broken, Limits, Until, Wire, printable},
};

/// The longest line of a reply, in octets: RFC 5321 §4.5.3.1.5 has 512, and some are longer.
const LINE_MAX_OCTETS: usize = 4096;

/// The longest reply, in octets.
const REPLY_MAX_OCTETS: usize = 32 * 1024;

/// How often a server may ask back while somebody logs in.
const CHALLENGES_MAX: usize = 8;

/// How long a server that hung up is listened to for its reason, and how long a farewell may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The mechanisms of the house among those that a server may offer.
const OFFERS: &[(&str, u64)] = &[("PLAIN", AUTH_PLAIN), ("LOGIN", AUTH_LOGIN)];

/// How a server is reached, in which tongue, and as whom.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) at: Address,
    pub(crate) tongue: Tongue,
    pub(crate) security: Security,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) limits: Limits,
}

#[derive(Debug)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    Smtp,
    Lmtp,
}

/// What protects the connection.
pub(crate) enum Security {
    /// TLS from the first octet (RFC 8314).
    Implicit(Arc<ClientConfig>),
    /// STARTTLS, required.
    StartTls(Arc<ClientConfig>),
    /// STARTTLS where it is offered and works; in clear otherwise, as servers do among themselves.
    IfOffered(Arc<ClientConfig>),
    /// Nothing.
    None,
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Implicit(_) => "Implicit",
            Self::StartTls(_) => "StartTls",
            Self::IfOffered(_) => "IfOffered",
            Self::None => "None",
        })
    }
}

/// A session that takes messages.
#[derive(Debug)]
pub(crate) struct Session {
    wire: Wire,
    limits: Limits,
    /// For people.
    name: String,
    extensions: EhloResponse<String>,
    /// A transaction was begun and not ended.
    begun: bool,
}

/// Why a message was not delivered.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server said so; the session goes on.
    Refused(Fault),
    /// The session is of no use any more. `early`: nothing of the message was sent.
    Lost { fault: Fault, early: bool },
}

type Reply = smtp_proto::Response<String>;

impl Session {
    /// Connects, and logs in where there is a name.
    pub(crate) fn open(access: &Access) -> Result<Self, Fault> {
        let session = match &access.security {
            Security::IfOffered(config) => match Self::try_open(access, Some(config)) {
                // In clear it would have been sent where TLS was not even offered.
                Err(Refusal::Handshake(_)) => Self::try_open(access, None),
                other => other,
            },
            Security::StartTls(config) => Self::try_open(access, Some(config)),
            Security::Implicit(_) | Security::None => Self::try_open(access, None),
        };
        session.map_err(|refusal| {
            let why = match refusal {
                Refusal::Broken(Broken::Local(fault)) => return fault,
                Refusal::Broken(broken) | Refusal::Handshake(broken) => broken.to_string(),
                Refusal::Said(what, reply) => format!("{what}: {}", shown(&reply)),
                Refusal::Words(words) => words.to_owned(),
            };
            Fault::Destination(format!("{}: {}", access.at, printable(why.as_bytes())))
        })
    }

    fn try_open(access: &Access, start_tls: Option<&Arc<ClientConfig>>) -> Result<Self, Refusal> {
        let limits = access.limits;
        let (mut wire, host) = match &access.at {
            Address::Tcp { host, port } => (Wire::tcp(host, *port, &limits)?, host.as_str()),
            Address::Unix(path) => (Wire::unix(path)?, ""),
        };
        if let Security::Implicit(config) = &access.security {
            wire.secure(host, Arc::clone(config), limits.connect)?;
        }
        let (name, extensions) = (access.at.to_string(), EhloResponse::default());
        let mut session = Self { wire, limits, name, extensions, begun: false };
        let greeting = session.reply(limits.reply)?;
        if greeting.code != 220 {
            return Err(Refusal::Said("the server does not serve now", greeting));
        }
        let hello = match access.tongue {
            Tongue::Smtp => format!("EHLO {}", session.wire.own_name()),
            Tongue::Lmtp => format!("LHLO {}", session.wire.own_name()),
        };
        session.hello(&hello)?;
        if let Some(config) = start_tls {
            if session.extends(EXT_START_TLS) {
                let reply = session.command("STARTTLS")?;
                if reply.code == 220 {
                    session
                        .wire
                        .secure(host, Arc::clone(config), limits.connect)
                        .map_err(Refusal::Handshake)?;
                    session.hello(&hello)?;
                } else if matches!(access.security, Security::StartTls(_)) {
                    return Err(Refusal::Said("the server does not begin TLS", reply));
                }
            } else if matches!(access.security, Security::StartTls(_)) {
                return Err(Refusal::Words("the server does not offer TLS, which is required"));
            }
        }
        if let Some(credentials) = &access.credentials {
            session.log_in(credentials)?;
        }
        Ok(session)
    }

    fn extends(&self, extension: u32) -> bool {
        self.extensions.capabilities & extension != 0
    }

    fn hello(&mut self, hello: &str) -> Result<(), Refusal> {
        self.wire.send(format!("{hello}\r\n").as_bytes(), self.limits.reply)?;
        let said = self.raw_reply(self.limits.reply)?;
        if !said.starts_with(b"250") {
            return Err(Refusal::Said("the server does not greet", read(&said)?));
        }
        let extensions = EhloResponse::parse(&mut said.iter());
        self.extensions = extensions.map_err(|_| Broken::Nonsense(printable(&said)))?;
        Ok(())
    }

    fn log_in(&mut self, credentials: &Credentials) -> Result<(), Refusal> {
        let offered = |name: &str| {
            OFFERS.iter().any(|(known, bit)| *known == name && self.extensions.auth_mechanisms & bit != 0)
        };
        let Some(mechanism) = MECHANISMS.iter().find(|mechanism| offered(mechanism.name)) else {
            return Err(Refusal::Words("the server offers no way to log in that is known here"));
        };
        let mut exchange = (mechanism.client)(credentials.clone(), &ClientContext::default());
        let mut line = format!("AUTH {}", mechanism.name).into_bytes();
        if let Some(initial) = exchange.initial() {
            line.push(b' ');
            line.extend(BASE64.encode(initial.expose()).into_bytes());
        }
        for _ in 0..CHALLENGES_MAX {
            line.extend_from_slice(b"\r\n");
            self.wire.send(Secret::new(line).expose(), self.limits.reply)?;
            let reply = self.reply(self.limits.reply)?;
            match reply.code {
                235 => return Ok(()),
                334 => {}
                _ => return Err(Refusal::Said("the server refuses the login", reply)),
            }
            let challenge = BASE64.decode(reply.message.trim()).ok();
            line = match challenge.and_then(|challenge| exchange.respond(&challenge).ok()) {
                Some(response) => BASE64.encode(response.expose()).into_bytes(),
                None => b"*".to_vec(),
            };
        }
        Err(Broken::Nonsense("it asks back again and again while we log in".into()).into())
    }

    /// Delivers a message, from the first of these senders that is taken.
    pub(crate) fn deliver(
        &mut self,
        message: &mut Spooled,
        senders: &[String],
        to: &str,
    ) -> Result<(), Trouble> {
        let limit = u64::try_from(self.extensions.size).unwrap_or(u64::MAX);
        let octets = message.octets() + message.bare_lfs();
        if self.extends(EXT_SIZE) && limit > 0 && octets > limit {
            let why = format!("{} takes messages of {limit} octets at most", self.name);
            return Err(Trouble::Refused(Fault::Message(why)));
        }
        let mut refused = None;
        for from in senders {
            match self.envelope(from, to, octets, message.has_eight_bit())? {
                Ok(()) => return self.content(message),
                Err(fault @ Fault::Message(_)) => return Err(Trouble::Refused(fault)),
                Err(fault) => refused = Some(fault),
            }
        }
        let fault = refused.unwrap_or_else(|| Fault::Destination("a message without a sender".into()));
        Err(Trouble::Refused(fault))
    }

    /// MAIL and RCPT; the inner result says whether the server takes both.
    fn envelope(
        &mut self,
        from: &str,
        to: &str,
        octets: u64,
        eight_bit: bool,
    ) -> Result<Result<(), Fault>, Trouble> {
        if self.begun {
            self.ask("RSET")?;
        }
        self.begun = true;
        let mut mail = format!("MAIL FROM:<{from}>");
        if self.extends(EXT_SIZE) {
            mail.push_str(&format!(" SIZE={octets}"));
        }
        // A server that does not offer it gets the octets all the same: all of them bear them.
        if eight_bit && self.extends(EXT_8BIT_MIME) {
            mail.push_str(" BODY=8BITMIME");
        }
        let reply = self.ask(&mail)?;
        match reply.code {
            200..=299 => {}
            552 => return Ok(Err(Fault::Message(self.told("the message is too large", &reply)))),
            _ => {
                return Ok(Err(Fault::Destination(
                    self.told(&format!("from <{from}> nothing is taken"), &reply),
                )));
            }
        }
        let reply = self.ask(&format!("RCPT TO:<{to}>"))?;
        match reply.code {
            200..=299 => Ok(Ok(())),
            _ => Ok(Err(Fault::Destination(self.told(&format!("for <{to}> nothing is taken"), &reply)))),
        }
    }

    /// DATA, and what follows.
    fn content(&mut self, message: &mut Spooled) -> Result<(), Trouble> {
        let reply = self.ask("DATA")?;
        if reply.code != 354 {
            return Err(Trouble::Refused(self.not_taken(&reply)));
        }
        let mut stuffer = Stuffer::new(Form::Local, Part::Whole);
        let (mut out, limit) = (Vec::new(), self.limits.piece);
        let wire = &mut self.wire;
        let sent = message.pieces(|piece| {
            out.clear();
            match stuffer.push(piece, &mut out) {
                Progress::More | Progress::Done => wire.send(&out, limit),
            }
        });
        if let Err(broken) = sent {
            return Err(self.broke_off(broken));
        }
        out.clear();
        stuffer.finish(&mut out);
        out.extend_from_slice(b".\r\n");
        let reply = self.wire.send(&out, limit).and_then(|()| self.reply(self.limits.stored));
        let reply = reply.map_err(|broken| {
            let why = format!("{}: {broken}, behind its final dot: it may have been delivered", self.name);
            Trouble::Lost { fault: Fault::Destination(why), early: false }
        })?;
        self.begun = false;
        match reply.code {
            200..=299 => Ok(()),
            421 => Err(Trouble::Lost { fault: self.not_taken(&reply), early: false }),
            _ => Err(Trouble::Refused(self.not_taken(&reply))),
        }
    }

    /// The connection broke in the middle of a message. The server may have said why before it hung up.
    fn broke_off(&mut self, broken: Broken) -> Trouble {
        let fault = match broken {
            Broken::Local(fault) => fault,
            Broken::Lost(_) => match self.reply(LAST_WORDS.min(self.limits.reply)) {
                Ok(reply) if reply.code >= 400 => self.not_taken(&reply),
                _ => self.fault(&broken),
            },
            broken => self.fault(&broken),
        };
        Trouble::Lost { fault, early: false }
    }

    /// Whose fault it is that a message was not taken.
    fn not_taken(&self, reply: &Reply) -> Fault {
        // A full mailbox (RFC 3463, X.2.2) is full for all.
        let full = reply.esc[1..] == [2, 2];
        let told = self.told("the message is not taken", reply);
        match reply.code {
            _ if full => Fault::Destination(told),
            // It goes away.
            421 => Fault::Destination(told),
            400..=499 => Fault::Deferred(told),
            500..=599 => Fault::Message(told),
            _ => Fault::Destination(told),
        }
    }

    fn told(&self, what: &str, reply: &Reply) -> String {
        format!("{}: {what}: {}", self.name, shown(reply))
    }

    fn fault(&self, broken: &Broken) -> Fault {
        Fault::Destination(format!("{}: {broken}", self.name))
    }

    /// A command before the message, and its reply.
    fn ask(&mut self, command: &str) -> Result<Reply, Trouble> {
        let lost = |fault| Trouble::Lost { fault, early: true };
        let reply = self.command(command).map_err(|broken| lost(self.fault(&broken)))?;
        // The server closes the connection.
        if reply.code == 421 {
            return Err(lost(Fault::Destination(self.told("the server closes the connection", &reply))));
        }
        Ok(reply)
    }

    fn command(&mut self, command: &str) -> Result<Reply, Broken> {
        self.wire.send(format!("{command}\r\n").as_bytes(), self.limits.reply)?;
        self.reply(self.limits.reply)
    }

    fn reply(&mut self, limit: Duration) -> Result<Reply, Broken> {
        read(&self.raw_reply(limit)?)
    }

    /// The lines of a reply.
    fn raw_reply(&mut self, limit: Duration) -> Result<Vec<u8>, Broken> {
        let until = Until::now_and(limit);
        let mut said = Vec::new();
        loop {
            let line = self.wire.line(until, LINE_MAX_OCTETS)?;
            said.extend_from_slice(&line);
            said.extend_from_slice(b"\r\n");
            if said.len() > REPLY_MAX_OCTETS {
                return Err(Broken::TooLong(REPLY_MAX_OCTETS));
            }
            match line.as_slice() {
                [a, b, c, rest @ ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
                    match rest.first() {
                        Some(b'-') => {}
                        None | Some(b' ') => return Ok(said),
                        Some(_) => return Err(Broken::Nonsense(printable(&line))),
                    }
                }
                _ => return Err(Broken::Nonsense(printable(&line))),
            }
        }
    }

    /// Says goodbye, between two messages.
    pub(crate) fn leave(mut self) {
        // The server finds out in any case.
        drop(self.wire.send(b"QUIT\r\n", LAST_WORDS));
    }
}

fn read(said: &[u8]) -> Result<Reply, Broken> {
    ResponseReceiver::default().parse(&mut said.iter()).map_err(|error| match error {
        smtp_proto::Error::ResponseTooLong => Broken::TooLong(LINE_MAX_OCTETS),
        _ => Broken::Nonsense(printable(said)),
    })
}

fn shown(reply: &Reply) -> String {
    let text = printable(reply.message.as_bytes());
    match reply.esc {
        [0, ..] => format!("{} {text}", reply.code),
        [class, subject, detail] => format!("{} {class}.{subject}.{detail} {text}", reply.code),
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Why there is no session.
enum Refusal {
    Broken(Broken),
    /// STARTTLS was begun, and failed.
    Handshake(Broken),
    Said(&'static str, Reply),
    Words(&'static str),
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}
