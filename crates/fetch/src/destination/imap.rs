//! A mailbox of an IMAP server, by APPEND: what replaces a provider's own fetching of other mailboxes.
//!
//! It delivers exactly once. Before a message is sent, the mailbox's UIDVALIDITY and UIDNEXT go into the journal; after a
//! crash, or when a connection broke before APPEND was answered, the messages from that UIDNEXT on are compared with it,
//! by size and by SHA-256. Octet-identical messages of one batch are counted: the second of them is there if two copies
//! are. A mailbox that was made anew tells nothing any more, nor does one from which a message was removed meanwhile: then
//! the message is delivered again, which is said. So it is, unsaid, where a server rewrites what it stores (Exchange does).
//!
//! Protocol: RFC 3501; STARTTLS, LITERAL+ and LITERAL- (RFC 7888), BINARY (RFC 3516) for messages with NULs, APPENDLIMIT
//! (RFC 7889). The crates for IMAP that there are want a whole message in memory or stumble over odd answers; the little
//! that is read of them stands in `imap/response.rs`.

use std::{
    borrow::Cow,
    fmt, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use restante_sasl::Credentials;
use sha2::{Digest, Sha256};

use self::{
    look::{Digests, Found, Likeness, Looked, Wanted},
    response::{Kind as Answer, Response, Status},
    session::{Access, Security, Sent, Session},
};
use super::{
    Batch, BatchMax, Destination, Fate, Fault, Intent, Kind, Promise, Spec, SpecError, Token,
    header::{HEADER_MAX_OCTETS, arrival},
    place::{Place, wrong},
    spool::{Spool, Spooled},
    tls,
    wire::{Broken, Limits},
};

mod look;
mod mailbox;
mod response;
mod session;

/// `imaps`, for the registry.
pub const IMAPS: Kind = Kind {
    name: "imaps",
    help: "a mailbox of an IMAP server, over TLS (Gmail and others)",
    example: "imaps://john@imap.example.org/INBOX",
    promise: Promise::ExactlyOnce,
    open,
};

/// `imap`, for the registry.
pub const IMAP: Kind = Kind {
    name: "imap",
    help: "the same with STARTTLS; ?tls=none does without",
    example: "imap://john@imap.example.org/INBOX",
    ..IMAPS
};

const BATCH_MAX: BatchMax = BatchMax { messages: 50, octets: 32 * 1024 * 1024 };

fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    Imap::open(spec, Limits::default()).map(|imap| Box::new(imap) as Box<dyn Destination>)
}

/// A mailbox of an IMAP server.
#[derive(Clone, Debug)]
pub struct Imap(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    access: Access,
    /// As people write it.
    name: String,
    /// Ready for a command.
    quoted: String,
    /// Whether a mailbox that is not there is made.
    create: bool,
    desk: Mutex<Desk>,
    free: Condvar,
}

/// What one batch or one question has at a time: what lies between UIDNEXT and the last APPEND of a batch is to be its own.
#[derive(Debug, Default)]
struct Desk {
    taken: bool,
    session: Option<Session>,
    digests: Digests,
}

impl Imap {
    /// The mailbox of this place, with limits of one's own.
    pub fn open(spec: &Spec, limits: Limits) -> Result<Self, SpecError> {
        let mut place = Place::parse(&spec.place)?;
        let ca_file = spec.ca_file.as_deref();
        let (security, port) = match (&*spec.kind, place.query.take("tls").as_deref()) {
            ("imaps", None) => (Security::Implicit(tls::client_config(ca_file)?), 993),
            ("imap", None) => (Security::StartTls(tls::client_config(ca_file)?), 143),
            ("imap", Some("none")) => (Security::None, 143),
            _ => return wrong("tls=none is all that can be said of TLS, and with imap:// only"),
        };
        let create = match place.query.take("create").as_deref() {
            None => false,
            Some("") => true,
            Some(_) => return wrong("create has no value: imaps://john@imap.example.org/Lists?create"),
        };
        place.query.finish("?create and ?tls=none are")?;
        let Some(user) = place.user else {
            return wrong(
                "who logs in? The name stands in front of the host: imaps://john@imap.example.org/INBOX",
            );
        };
        let Some(password) = spec.password.clone() else {
            return wrong("an IMAP server wants a password, and none is given");
        };
        let name = if place.path.is_empty() { "INBOX".to_owned() } else { place.path };
        let access = Access {
            host: place.host,
            port: place.port.unwrap_or(port),
            security,
            credentials: Credentials::new(user, password),
            limits,
        };
        let (desk, free) = (Mutex::new(Desk::default()), Condvar::new());
        Ok(Self(Arc::new(Shared { access, quoted: mailbox::quoted(&name), name, create, desk, free })))
    }
}

impl Destination for Imap {
    fn promise(&self) -> Promise {
        Promise::ExactlyOnce
    }

    fn batch_max(&self) -> BatchMax {
        BATCH_MAX
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        Ok(Box::new(ImapBatch {
            shared: Arc::clone(&self.0),
            open: None,
            staged: Vec::new(),
            turn: None,
            validity: 0,
        }))
    }

    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault> {
        let Some(mark) = Mark::parse(intent.token.as_str()) else {
            return Ok(Fate::Unknown("the journal's note of it is not one of this kind".into()));
        };
        let mut likenesses = vec![Likeness { octets: intent.octets, digest: intent.digest }];
        likenesses.extend(mark.stored);
        let mut turn = Turn::take(&self.0)?;
        let mut found = turn.look(&mark, &likenesses)?;
        // A server that was cut off may still be storing what it has whole.
        let late = self.0.access.limits.late.saturating_sub(intent.age);
        if found != Found::Yes && !late.is_zero() {
            std::thread::sleep(late);
            found = turn.look(&mark, &likenesses)?;
        }
        Ok(match found {
            Found::Yes => Fate::Delivered,
            Found::No => Fate::NotDelivered,
            Found::Unknown(why) => Fate::Unknown(Cow::Owned(why)),
        })
    }
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    validity: u32,
    next: u32,
    /// How many octet-identical messages of its batch stand before it.
    twins: usize,
    /// How a server keeps it that stores lines: with its bare LFs as CRLF.
    stored: Option<Likeness>,
}

impl Mark {
    fn token(&self) -> Option<Token> {
        let mut text = format!("{}.{}.{}", self.validity, self.next, self.twins);
        if let Some(Likeness { octets, digest }) = &self.stored {
            text.push_str(&format!(".{octets}."));
            digest.iter().for_each(|octet| text.push_str(&format!("{octet:02x}")));
        }
        Token::new(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (validity, next, twins) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let stored = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(octets), Some(hex), None) if hex.len() == 64 => {
                let mut digest = [0; 32];
                for (octet, at) in digest.iter_mut().zip((0..64).step_by(2)) {
                    *octet = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
                }
                Some(Likeness { octets: octets.parse().ok()?, digest })
            }
            _ => return None,
        };
        Some(Self { validity, next, twins, stored })
    }
}

/// The right to talk to the server, and the session to do it with.
struct Turn {
    shared: Arc<Shared>,
    session: Option<Session>,
    digests: Digests,
}

impl Turn {
    /// Waits until nobody else has it.
    fn take(shared: &Arc<Shared>) -> Result<Self, Fault> {
        let limit = shared.access.limits.stored;
        let waited = shared.free.wait_timeout_while(shared.desk(), limit, |desk| desk.taken);
        let (mut desk, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if desk.taken {
            return Err(shared.access.fault(&"another batch for this mailbox does not come to its end"));
        }
        desk.taken = true;
        let (session, digests) = (desk.session.take(), mem::take(&mut desk.digests));
        drop(desk);
        Ok(Self { shared: Arc::clone(shared), session, digests })
    }

    fn session(&mut self) -> Result<&mut Session, Fault> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.shared.access)?,
        };
        Ok(self.session.insert(session))
    }

    /// Does something with the session; once more with a new one if the old one was lost meanwhile, which the server may
    /// do any time.
    fn ask<T>(
        &mut self,
        mut ask: impl FnMut(&mut Self) -> Result<Result<T, Broken>, Fault>,
    ) -> Result<T, Fault> {
        let reused = self.session.is_some();
        let broken = match ask(self)? {
            Ok(answer) => return Ok(answer),
            Err(broken) => broken,
        };
        self.session = None;
        if !reused || matches!(broken, Broken::Local(_)) {
            return Err(self.shared.fault(broken));
        }
        let answer = ask(self)?;
        answer.map_err(|broken| {
            self.session = None;
            self.shared.fault(broken)
        })
    }

    /// The mailbox's UIDVALIDITY and UIDNEXT.
    fn status(&mut self) -> Result<(u32, u32), Fault> {
        let mut status = self.ask(Self::try_status)?;
        if status.0.kind != Answer::Ok && self.shared.create {
            let create = format!("CREATE {}", self.shared.quoted);
            let made = self.ask(|turn| Ok(turn.session()?.command(&create, |_| {})))?;
            // Somebody else may have made it meanwhile: what counts is whether it is there.
            if made.kind != Answer::Ok && !made.has_code("ALREADYEXISTS") {
                return Err(self.shared.refused("cannot be made", &made));
            }
            status = self.ask(Self::try_status)?;
        }
        let (status, validity, next) = status;
        if status.kind != Answer::Ok {
            let hint = if self.shared.create { "" } else { " (?create at the end of the place makes it)" };
            return Err(self.shared.refused(&format!("is not there, or cannot be used{hint}"), &status));
        }
        match (validity, next) {
            (Some(validity), Some(next)) => Ok((validity, next)),
            _ => Err(self.shared.access.fault(&"the server does not tell UIDVALIDITY and UIDNEXT")),
        }
    }

    #[allow(clippy::type_complexity)] // one private helper
    fn try_status(&mut self) -> Result<Result<(Status, Option<u32>, Option<u32>), Broken>, Fault> {
        let command = format!("STATUS {} (UIDVALIDITY UIDNEXT)", self.shared.quoted);
        let (mut validity, mut next) = (None, None);
        let status = self.session()?.command(&command, |response| {
            if let Response::Mailbox(values) = response {
                let value = |name: &str| {
                    let value = values.iter().find(|(found, _)| found == name)?.1;
                    u32::try_from(value).ok().filter(|&value| value > 0)
                };
                (validity, next) = (value("UIDVALIDITY"), value("UIDNEXT"));
            }
        });
        Ok(status.map(|status| (status, validity, next)))
    }

    fn look(&mut self, mark: &Mark, likenesses: &[Likeness]) -> Result<Found, Fault> {
        let shared = Arc::clone(&self.shared);
        let wanted = Wanted {
            mailbox: &shared.quoted,
            validity: mark.validity,
            next: mark.next,
            likenesses,
            copies: mark.twins + 1,
        };
        let found = self.ask(|turn| {
            let mut digests = mem::take(&mut turn.digests);
            let found = look::look(turn.session()?, &wanted, &mut digests);
            turn.digests = digests;
            Ok(found)
        })?;
        match found {
            Looked::Found(found) => Ok(found),
            Looked::Refused(why) => Err(shared.access.fault(&why)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut desk = self.shared.desk();
        *desk = Desk { taken: false, session: self.session.take(), digests: mem::take(&mut self.digests) };
        drop(desk);
        self.shared.free.notify_one();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(session) = self.desk.get_mut().unwrap_or_else(PoisonError::into_inner).session.take() {
            session.leave();
        }
    }
}

impl Shared {
    /// What a thread that panicked left is a session more or less.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, broken: Broken) -> Fault {
        match broken {
            Broken::Local(fault) => fault,
            broken => self.access.fault(&broken),
        }
    }

    fn refused(&self, what: &str, status: &Status) -> Fault {
        self.access.fault(&format!("the mailbox «{}» {what}: {}", self.name, status.text))
    }

    /// Whose fault it is that a message was not taken.
    fn not_taken(&self, status: &Status) -> Fault {
        /// What RFC 5530 has for a mailbox or a server that takes nothing now, and Gmail's own word for it.
        const ALL: [&str; 8] = [
            "OVERQUOTA",
            "TRYCREATE",
            "NONEXISTENT",
            "NOPERM",
            "UNAVAILABLE",
            "INUSE",
            "SERVERBUG",
            "THROTTLED",
        ];
        if ALL.iter().any(|code| status.has_code(code)) {
            return self.refused("takes nothing now", status);
        }
        Fault::Message(format!("{} does not take it: {}", self.access.host, status.text))
    }
}

/// A message of a batch.
#[derive(Debug)]
struct Staged {
    /// Until it was delivered.
    message: Option<Spooled>,
    date: String,
    octets: u64,
    digest: [u8; 32],
    mark: Mark,
}

struct ImapBatch {
    shared: Arc<Shared>,
    open: Option<Spool>,
    staged: Vec<Staged>,
    turn: Option<Turn>,
    validity: u32,
}

impl fmt::Debug for ImapBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImapBatch({} messages)", self.staged.len())
    }
}

impl Batch for ImapBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        self.open = Some(Spool::default());
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.open.as_mut().map_or_else(|| Err(out_of_order()), |spool| spool.write(octets))
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let mut message = self.open.take().ok_or_else(out_of_order)?.finish();
        let date = arrival(&message.head(HEADER_MAX_OCTETS)?, jiff::Timestamp::now());
        let stored = stored(&mut message)?;
        let (octets, digest) = (message.octets(), *message.digest());
        let mark = Mark { validity: 0, next: 0, twins: 0, stored };
        self.staged.push(Staged { message: Some(message), date, octets, digest, mark });
        Ok(())
    }

    fn abandon(&mut self) {
        self.open = None;
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        let mut turn = match Turn::take(&self.shared) {
            Ok(turn) => turn,
            Err(fault) => return self.staged.iter().map(|_| Err(fault.clone())).collect(),
        };
        let (validity, next) = match turn.status() {
            Ok(status) => status,
            Err(fault) => return self.staged.iter().map(|_| Err(fault.clone())).collect(),
        };
        self.validity = validity;
        let (binary, max_octets) = turn
            .session
            .as_ref()
            .map_or((false, None), |session| (session.can("BINARY"), session.append_max_octets()));
        let mut tokens: Vec<Result<Token, Fault>> = Vec::with_capacity(self.staged.len());
        for at in 0..self.staged.len() {
            let (before, rest) = self.staged.split_at_mut(at);
            let Some(staged) = rest.first_mut() else { break };
            let host = &self.shared.access.host;
            if max_octets.is_some_and(|max_octets| staged.octets > max_octets) {
                let max_octets = max_octets.unwrap_or_default();
                tokens.push(Err(Fault::Message(format!(
                    "{host} takes messages of {max_octets} octets at most"
                ))));
                continue;
            }
            if !binary && staged.message.as_ref().is_some_and(Spooled::has_nul) {
                let why = format!("the message holds NUL octets, which {host} has no way to take (BINARY)");
                tokens.push(Err(Fault::Message(why)));
                continue;
            }
            // Identical ones share the fault, if there is one, so that all of them count.
            let twins = before.iter().filter(|other| other.digest == staged.digest).count();
            staged.mark = Mark { validity, next, twins, ..staged.mark };
            tokens.push(staged.mark.token().ok_or_else(out_of_order));
        }
        self.turn = Some(turn);
        tokens
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        let Some(turn) = &mut self.turn else { return Err(out_of_order()) };
        let place = place.min(self.staged.len());
        let (before, rest) = self.staged.split_at_mut(place);
        let Some(staged) = rest.first_mut() else { return Err(out_of_order()) };
        // Or else one copy would stand for the wrong one of both after a crash.
        if before.iter().any(|other| other.digest == staged.digest && other.message.is_some()) {
            return Err(Fault::Message("an identical message before it was not taken".into()));
        }
        let Some(message) = &mut staged.message else { return Err(out_of_order()) };
        append(turn, self.validity, &staged.date, message, &staged.mark)?;
        staged.message = None;
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Fault> {
        // The server's OK says that a message is stored.
        self.turn = None;
        Ok(())
    }
}

/// Sends a message. Where the connection breaks in the middle, it looks before it says that the message is not there.
fn append(
    turn: &mut Turn,
    validity: u32,
    date: &str,
    message: &mut Spooled,
    mark: &Mark,
) -> Result<(), Fault> {
    let shared = Arc::clone(&turn.shared);
    for retried in [false, true] {
        if turn.session.is_none() && turn.status()?.0 != validity {
            return Err(shared.access.fault(&"the mailbox was made anew meanwhile (UIDVALIDITY changed)"));
        }
        let cut = match turn.session()?.append(&shared.quoted, date, message) {
            Ok(status) if status.kind == Answer::Ok => return Ok(()),
            Ok(status) => {
                if status.kind == Answer::Bad {
                    // It may have taken the message for commands, and be out of step.
                    turn.session = None;
                }
                return Err(shared.not_taken(&status));
            }
            Err(cut) => cut,
        };
        turn.session = None;
        if matches!(cut.broken, Broken::Local(_)) || (cut.sent == Sent::Nothing && retried) {
            return Err(shared.fault(cut.broken));
        }
        if cut.sent != Sent::Nothing {
            return after_a_cut(turn, message, mark, cut.sent).map_err(|why| match why {
                Some(fault) => fault,
                None => shared.fault(cut.broken),
            });
        }
    }
    Err(out_of_order())
}

/// Looks whether the message is there after all; `None` if it is not.
fn after_a_cut(turn: &mut Turn, message: &Spooled, mark: &Mark, sent: Sent) -> Result<(), Option<Fault>> {
    let mut likenesses = vec![Likeness { octets: message.octets(), digest: *message.digest() }];
    likenesses.extend(mark.stored);
    let late = if sent == Sent::All { turn.shared.access.limits.late } else { Duration::ZERO };
    for wait in [Duration::ZERO, late] {
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        match turn.look(mark, &likenesses)? {
            Found::Yes => return Ok(()),
            Found::Unknown(why) => return Err(Some(turn.shared.access.fault(&why))),
            Found::No => {}
        }
    }
    Err(None)
}

/// How a message looks that a server keeps as lines with LFs, as Dovecot does: `None` if no different. A bare LF comes
/// back as CRLF, and of more than one CR before an LF one is lost.
fn stored(message: &mut Spooled) -> Result<Option<Likeness>, Fault> {
    if !message.has_odd_lines() {
        return Ok(None);
    }
    let (mut hash, mut octets, mut crs, mut out) = (Sha256::new(), 0, 0_usize, Vec::new());
    message.pieces(|piece| {
        out.clear();
        for &octet in piece {
            match octet {
                b'\r' => crs += 1,
                b'\n' => out.extend(std::iter::repeat_n(b'\r', crs.saturating_sub(1).max(1)).chain([b'\n'])),
                _ => out.extend(std::iter::repeat_n(b'\r', crs).chain([octet])),
            }
            if octet != b'\r' {
                crs = 0;
            }
        }
        hash.update(&out);
        octets += out.len() as u64;
        Ok::<_, Fault>(())
    })?;
    hash.update(b"\r".repeat(crs));
    octets += crs as u64;
    Ok(Some(Likeness { octets, digest: hash.finalize().into() }))
}

fn out_of_order() -> Fault {
    Fault::Destination("a message was delivered out of order: this is a fault of the program".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_the_same_when_it_is_read_again() {
        for stored in [None, Some(Likeness { octets: 7, digest: [0xab; 32] })] {
            let mark = Mark { validity: 1, next: 2, twins: 3, stored };
            assert_eq!(Mark::parse(mark.token().unwrap().as_str()), Some(mark));
        }
        for odd in ["", "1.2", "1.2.3.4", "1.2.x", "1.2.3.4.ab", "1.2.3.4.5.6"] {
            assert_eq!(Mark::parse(odd), None, "{odd}");
        }
    }
}
