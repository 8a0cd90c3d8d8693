//! A session with an IMAP server: connecting, TLS, logging in, and the few commands that delivering needs. What is to be
//! done with them is decided in `imap.rs` and `look.rs`.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use restante_proto::Secret;
use restante_sasl::{ClientContext, Credentials, MECHANISMS, Needs};
use rustls::ClientConfig;

use super::response::{self, Fetch, Kind, Response, Status};
use crate::destination::{
    Fault,
    spool::Spooled,
    wire::{Broken, Limits, Until, Wire, printable},
};

/// The longest line of a server, in octets: lists of capabilities are a few hundred.
const LINE_MAX_OCTETS: usize = 64 * 1024;

/// The longest response, in octets, with its literals; a piece of a message fits in.
const RESPONSE_MAX_OCTETS: usize = 512 * 1024;

/// How much a server may say until it ends a command, in octets.
const ANSWER_MAX_OCTETS: usize = 4 * 1024 * 1024;

/// How much of a message is asked for at once, in octets.
const FETCH_OCTETS: u64 = 256 * 1024;

/// How often a server may ask back while somebody logs in.
const CHALLENGES_MAX: usize = 8;

/// The longest literal that LITERAL- sends unasked, in octets (RFC 7888 §5).
const LITERAL_MINUS_MAX_OCTETS: u64 = 4096;

/// How a server is reached, and as whom.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Credentials,
    pub(super) limits: Limits,
}

/// What protects the connection.
pub(super) enum Security {
    /// TLS from the first octet (RFC 8314).
    Implicit(Arc<ClientConfig>),
    /// STARTTLS, required.
    StartTls(Arc<ClientConfig>),
    /// Nothing; it was asked for.
    None,
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Implicit(_) => "Implicit",
            Self::StartTls(_) => "StartTls",
            Self::None => "None",
        })
    }
}

/// A session in which somebody is logged in.
#[derive(Debug)]
pub(super) struct Session {
    wire: Wire,
    tags: u32,
    capabilities: Vec<String>,
    limits: Limits,
}

/// Why APPEND has no answer.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) broken: Broken,
    /// How much of the message may have reached the server.
    pub(super) sent: Sent,
}

/// How much of a message may have reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Nothing,
    Part,
    All,
}

impl Session {
    /// Connects and logs in.
    pub(super) fn open(access: &Access) -> Result<Self, Fault> {
        Self::try_open(access).map_err(|refusal| match refusal {
            Refusal::Broken(Broken::Local(fault)) => fault,
            Refusal::Broken(broken) => access.fault(&broken),
            Refusal::Said(what, status) => access.fault(&format!("{what}: {}", status.text)),
            Refusal::Words(words) => access.fault(&words),
        })
    }

    fn try_open(access: &Access) -> Result<Self, Refusal> {
        let limits = access.limits;
        let mut wire = Wire::tcp(&access.host, access.port, &limits)?;
        if let Security::Implicit(config) = &access.security {
            wire.secure(&access.host, Arc::clone(config), limits.connect)?;
        }
        let mut session = Self { wire, tags: 0, capabilities: Vec::new(), limits };
        let (until, mut budget) = (Until::now_and(limits.reply), RESPONSE_MAX_OCTETS);
        let Response::Status(greeting) = session.response(until, &mut budget)? else {
            return Err(Broken::Nonsense("no greeting of an IMAP server".into()).into());
        };
        match (greeting.kind, &access.security) {
            (Kind::Preauth, Security::StartTls(_)) => {
                // RFC 3501 §11.1: whoever sits in between would have us go on in clear.
                return Err(Refusal::Words("the server takes us for logged in before there is TLS".into()));
            }
            (Kind::Ok | Kind::Preauth, _) => {}
            _ => return Err(Refusal::Said("the server does not serve now", greeting)),
        }
        session.ask_capabilities()?;
        if let Security::StartTls(config) = &access.security {
            let status = session.command("STARTTLS", |_| {})?;
            if status.kind != Kind::Ok {
                return Err(Refusal::Said(
                    "the server does not begin TLS (?tls=none goes on without)",
                    status,
                ));
            }
            session.wire.secure(&access.host, Arc::clone(config), limits.connect)?;
            session.ask_capabilities()?;
        }
        if greeting.kind != Kind::Preauth {
            session.log_in(&access.credentials)?;
            session.ask_capabilities()?;
        }
        Ok(session)
    }

    /// Whether the server has this capability, which is written in capitals.
    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    /// The longest message that the server takes, in octets (RFC 7889).
    pub(super) fn append_max_octets(&self) -> Option<u64> {
        self.capabilities.iter().find_map(|known| known.strip_prefix("APPENDLIMIT=")?.parse().ok())
    }

    fn ask_capabilities(&mut self) -> Result<(), Refusal> {
        let mut found = Vec::new();
        let status = self.command("CAPABILITY", |response| {
            if let Response::Capability(names) = response {
                found = names;
            }
        })?;
        if status.kind != Kind::Ok {
            return Err(Refusal::Said("the server does not say what it can do", status));
        }
        self.capabilities = found;
        Ok(())
    }

    fn log_in(&mut self, credentials: &Credentials) -> Result<(), Refusal> {
        let offered = MECHANISMS
            .iter()
            .filter(|mechanism| mechanism.needs == Needs::Password)
            .find(|mechanism| self.can(&format!("AUTH={}", mechanism.name)));
        let status = if let Some(mechanism) = offered {
            self.authenticate(
                mechanism.name,
                (mechanism.client)(credentials.clone(), &ClientContext::default()),
            )?
        } else if self.can("LOGINDISABLED") {
            return Err(Refusal::Words("the server offers no way to log in that is known here".into()));
        } else {
            let (Some(user), Some(password)) =
                (quoted(credentials.user.as_bytes()), quoted(credentials.password.expose()))
            else {
                let words = "this server's LOGIN takes printable ASCII only, in the name and the password";
                return Err(Refusal::Words(words.into()));
            };
            let line = [b"LOGIN ", user.expose().as_slice(), b" ", password.expose().as_slice()].concat();
            let tag = self.start(Secret::new(line).expose())?;
            self.finish(&tag, self.limits.reply, |_| {})?
        };
        match status.kind {
            Kind::Ok => Ok(()),
            _ => Err(Refusal::Said("the server refuses the login", status)),
        }
    }

    fn authenticate(
        &mut self,
        name: &str,
        mut exchange: Box<dyn restante_sasl::ClientExchange>,
    ) -> Result<Status, Refusal> {
        let encode = |response: &Secret<Vec<u8>>| match response.expose().as_slice() {
            [] => Secret::new(b"=".to_vec()),
            octets => Secret::new(BASE64.encode(octets).into_bytes()),
        };
        let mut line = Secret::new(format!("AUTHENTICATE {name}").into_bytes());
        if self.can("SASL-IR")
            && let Some(initial) = exchange.initial()
        {
            line = Secret::new([line.expose().as_slice(), b" ", encode(&initial).expose()].concat());
        }
        let tag = self.start(line.expose())?;
        let mut budget = ANSWER_MAX_OCTETS;
        for _ in 0..CHALLENGES_MAX {
            let until = Until::now_and(self.limits.reply);
            let challenge = loop {
                match self.response(until, &mut budget)? {
                    Response::Continue(challenge) => break challenge,
                    Response::Done(ended, status) if ended == tag => return Ok(status),
                    Response::Status(status) if status.kind == Kind::Bye => {
                        return Err(Refusal::Said("the server says goodbye", status));
                    }
                    _ => {}
                }
            };
            let response =
                BASE64.decode(challenge).ok().and_then(|challenge| exchange.respond(&challenge).ok());
            let mut line = match response {
                Some(response) => BASE64.encode(response.expose()).into_bytes(),
                None => b"*".to_vec(),
            };
            line.extend_from_slice(b"\r\n");
            self.wire.send(Secret::new(line).expose(), self.limits.reply)?;
        }
        Err(Broken::Nonsense("it asks back again and again while we log in".into()).into())
    }

    /// Sends a command and hands out what the server says until it ends it.
    pub(super) fn command(&mut self, text: &str, each: impl FnMut(Response)) -> Result<Status, Broken> {
        let tag = self.start(text.as_bytes())?;
        self.finish(&tag, self.limits.reply, each)
    }

    /// Sends a message. `No` and `Bad` are answers too.
    pub(super) fn append(&mut self, mailbox: &str, date: &str, message: &mut Spooled) -> Result<Status, Cut> {
        let mut sent = Sent::Nothing;
        self.try_append(mailbox, date, message, &mut sent).map_err(|broken| Cut { broken, sent })
    }

    fn try_append(
        &mut self,
        mailbox: &str,
        date: &str,
        message: &mut Spooled,
        sent: &mut Sent,
    ) -> Result<Status, Broken> {
        let octets = message.octets();
        // RFC 7888: the server need not be asked before the literal is sent.
        let unasked = self.can("LITERAL+") || (self.can("LITERAL-") && octets <= LITERAL_MINUS_MAX_OCTETS);
        // RFC 3516 §4.4: a literal that may hold NULs.
        let binary = if message.has_nul() { "~" } else { "" };
        let plus = if unasked { "+" } else { "" };
        let tag = self.start(format!("APPEND {mailbox} \"{date}\" {binary}{{{octets}{plus}}}").as_bytes())?;
        let mut budget = ANSWER_MAX_OCTETS;
        if !unasked {
            let until = Until::now_and(self.limits.reply);
            loop {
                match self.response(until, &mut budget)? {
                    Response::Continue(_) => break,
                    Response::Done(ended, status) if ended == tag => return Ok(status),
                    other => goodbye(other)?,
                }
            }
        }
        *sent = Sent::Part;
        let (wire, piece_limit) = (&mut self.wire, self.limits.piece);
        let all = message.pieces(|piece| wire.send(piece, piece_limit));
        if all.is_ok() {
            *sent = Sent::All;
        }
        match all.and_then(|()| self.wire.send(b"\r\n", piece_limit)) {
            Ok(()) => self.finish(&tag, self.limits.stored, |_| {}),
            Err(broken @ Broken::Lost(_)) => {
                // The server may have said why before it went.
                let reply = self.limits.reply.min(LAST_WORDS);
                match self.finish(&tag, reply, |_| {}) {
                    Ok(status) if status.kind != Kind::Ok => Ok(status),
                    Err(said @ Broken::Goodbye(_)) => Err(said),
                    _ => Err(broken),
                }
            }
            Err(broken) => Err(broken),
        }
    }

    /// Hands out the whole of a message, piece by piece; `false` if the server does not give all of it.
    pub(super) fn fetch(
        &mut self,
        uid: u32,
        octets: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, Broken> {
        let mut at = 0;
        while at < octets {
            let wanted = FETCH_OCTETS.min(octets - at);
            let mut piece = None;
            let status =
                self.command(&format!("UID FETCH {uid} (BODY.PEEK[]<{at}.{wanted}>)"), |response| {
                    if let Response::Fetch(Fetch { uid: Some(found), body: Some(body), .. }) = response
                        && found == uid
                    {
                        piece = Some(body);
                    }
                })?;
            let Some(piece) = piece.filter(|piece| status.kind == Kind::Ok && piece.len() as u64 == wanted)
            else {
                return Ok(false);
            };
            take(&piece);
            at += wanted;
        }
        Ok(true)
    }

    /// Says goodbye, between two commands: inside a message it would become a part of it.
    pub(super) fn leave(mut self) {
        // The server finds out in any case.
        drop(self.start(b"LOGOUT"));
    }

    /// Sends the line of a command, and gives its tag.
    fn start(&mut self, text: &[u8]) -> Result<Vec<u8>, Broken> {
        self.tags = self.tags.wrapping_add(1);
        let tag = format!("r{}", self.tags).into_bytes();
        // In one piece: the line may hold a password, and vectors that grow leave copies behind.
        let line = Secret::new([tag.as_slice(), b" ", text, b"\r\n"].concat());
        self.wire.send(line.expose(), self.limits.reply)?;
        Ok(tag)
    }

    /// Reads on to the end of a command.
    fn finish(
        &mut self,
        tag: &[u8],
        limit: std::time::Duration,
        mut each: impl FnMut(Response),
    ) -> Result<Status, Broken> {
        let until = Until::now_and(limit);
        let mut budget = ANSWER_MAX_OCTETS;
        loop {
            match self.response(until, &mut budget)? {
                Response::Done(ended, status) if ended == tag => return Ok(status),
                Response::Done(..) => {
                    return Err(Broken::Nonsense("it ends a command that was not sent".into()));
                }
                Response::Status(status) if status.kind == Kind::Bye => goodbye(Response::Status(status))?,
                other => each(other),
            }
        }
    }

    /// One response, with its literals.
    fn response(&mut self, until: Until, budget: &mut usize) -> Result<Response, Broken> {
        let mut whole = self.wire.line(until, LINE_MAX_OCTETS)?;
        while let Some(octets) = response::literal_octets(&whole) {
            let left = RESPONSE_MAX_OCTETS.saturating_sub(whole.len());
            let octets = usize::try_from(octets).ok().filter(|&octets| octets <= left);
            let octets = octets.ok_or(Broken::TooLong(RESPONSE_MAX_OCTETS))?;
            whole.extend_from_slice(b"\r\n");
            whole.extend(self.wire.exactly(octets, until)?);
            let line = self.wire.line(until, LINE_MAX_OCTETS)?;
            // What the literal ends with announces nothing.
            let goes_on = response::literal_octets(&line).is_some();
            whole.extend(line);
            if whole.len() > RESPONSE_MAX_OCTETS {
                return Err(Broken::TooLong(RESPONSE_MAX_OCTETS));
            }
            if !goes_on {
                break;
            }
        }
        // An empty line costs something too.
        *budget = budget.checked_sub(whole.len() + 2).ok_or(Broken::TooLong(ANSWER_MAX_OCTETS))?;
        Ok(Response::parse(&whole))
    }
}

/// How long a server that hung up is listened to for its reason.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);

/// Takes BYE for what it is: the connection is of no use any more.
fn goodbye(response: Response) -> Result<(), Broken> {
    match response {
        Response::Status(status) if status.kind == Kind::Bye => Err(Broken::Goodbye(status.text)),
        Response::Done(..) => Err(Broken::Nonsense("it ends a command that was not sent".into())),
        _ => Ok(()),
    }
}

/// Text as a quoted string, if it can be one.
fn quoted(text: &[u8]) -> Option<Secret<Vec<u8>>> {
    if !text.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        return None;
    }
    let mut quoted = Vec::with_capacity(2 * text.len() + 2);
    quoted.push(b'"');
    for &octet in text {
        if matches!(octet, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(octet);
    }
    quoted.push(b'"');
    Some(Secret::new(quoted))
}

/// Why there is no session.
enum Refusal {
    Broken(Broken),
    Said(&'static str, Status),
    Words(String),
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Access {
    /// A fault of the whole destination, with the server's name.
    pub(super) fn fault(&self, why: &impl std::fmt::Display) -> Fault {
        Fault::Destination(format!("{}:{}: {}", self.host, self.port, printable(why.to_string().as_bytes())))
    }
}
