//! Handing a message to a server that takes it further, by SMTP (RFC 5321) or LMTP (RFC 2033): what `smtp.rs` and
//! `lmtp.rs` share. What is said on the connection stands in `relay/session.rs`.
//!
//! It delivers at least once: a server that has the message's final dot may deliver it, and if its answer is lost nobody
//! can tell. The message goes out as it is, but for line ends: RFC 5321 §2.3.8 forbids bare LFs, and servers differ in
//! what they take them for, so each becomes CRLF.
//!
//! The envelope's sender is `?from=` if given, else the message's own Return-Path, else the empty one (`<>`). A server
//! that refuses the message's own one gets the empty one: a domain that is gone is no reason to stop all mail.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
};

use self::session::{Access, Session, Trouble};
use super::{
    Batch, BatchMax, Destination, Fate, Fault, Intent, Promise, SpecError, Token,
    header::{HEADER_MAX_OCTETS, is_address, return_path},
    place::{Query, wrong},
    spool::{Spool, Spooled},
};

pub(crate) mod session;

/// What both can promise.
pub(crate) const PROMISE: Promise = Promise::AtLeastOnce(
    "a crash or a lost connection between the message's final dot and the server's answer",
);

/// How many connections are kept for later, where several accounts deliver at once.
const KEPT_MAX: usize = 4;

/// What a token says; there is nothing to be known again.
const TOKEN: &str = "sent";

/// Whose mail it is.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) to: String,
    pub(crate) from: Option<String>,
}

impl Envelope {
    /// Takes `to` and `from` out of a query.
    pub(crate) fn take(query: &mut Query, example: &str) -> Result<Self, SpecError> {
        let Some(to) = query.take("to") else {
            return wrong(&format!("whose mail is it? The place says it at its end: {example}"));
        };
        let from = query.take("from");
        if !is_address(&to) || !from.as_deref().is_none_or(|from| from.is_empty() || is_address(from)) {
            return wrong("an address is printable ASCII without spaces and angle brackets");
        }
        Ok(Self { to, from })
    }
}

/// A server that takes messages further.
#[derive(Clone, Debug)]
pub(crate) struct Relay(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    access: Access,
    envelope: Envelope,
    /// Connections that nobody uses now.
    kept: Mutex<Vec<Session>>,
}

impl Relay {
    pub(crate) fn new(access: Access, envelope: Envelope) -> Self {
        Self(Arc::new(Shared { access, envelope, kept: Mutex::default() }))
    }
}

impl Destination for Relay {
    fn promise(&self) -> Promise {
        PROMISE
    }

    fn batch_max(&self) -> BatchMax {
        // Each delivery is a promise of its own.
        BatchMax { messages: 1, octets: u64::MAX }
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        Ok(Box::new(RelayBatch {
            shared: Arc::clone(&self.0),
            open: None,
            staged: Vec::new(),
            session: None,
            refused: None,
        }))
    }

    fn resolve(&self, _: &Intent) -> Result<Fate, Fault> {
        Ok(Fate::Unknown("the server may have taken it before its answer could be written down".into()))
    }
}

impl Shared {
    /// A connection, and whether it is an old one.
    fn session(&self) -> Result<(Session, bool), Fault> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match kept {
            Some(session) => Ok((session, true)),
            None => Ok((Session::open(&self.access)?, false)),
        }
    }

    fn keep(&self, session: Session) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(session);
        } else {
            drop(kept);
            session.leave();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let kept = mem::take(self.kept.get_mut().unwrap_or_else(PoisonError::into_inner));
        kept.into_iter().for_each(Session::leave);
    }
}

struct RelayBatch {
    shared: Arc<Shared>,
    open: Option<Spool>,
    /// Each until it was delivered.
    staged: Vec<Option<Staged>>,
    /// The connection, and whether it is an old one.
    session: Option<(Session, bool)>,
    /// The message at this place was refused: the server has nothing of it.
    refused: Option<usize>,
}

struct Staged {
    message: Spooled,
    /// The senders to try, one after the other.
    senders: Vec<String>,
}

impl fmt::Debug for RelayBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayBatch({} messages)", self.staged.len())
    }
}

impl Batch for RelayBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        self.open = Some(Spool::default());
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.open.as_mut().map_or_else(|| Err(out_of_order()), |spool| spool.write(octets))
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let mut message = self.open.take().ok_or_else(out_of_order)?.finish();
        let senders = match &self.shared.envelope.from {
            Some(from) => vec![from.clone()],
            None => match return_path(&message.head(HEADER_MAX_OCTETS)?) {
                Some(sender) if !sender.is_empty() => vec![sender, String::new()],
                _ => vec![String::new()],
            },
        };
        self.staged.push(Some(Staged { message, senders }));
        Ok(())
    }

    fn abandon(&mut self) {
        self.open = None;
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        // No intent is written down for a server that cannot be reached.
        if self.session.is_none() {
            match self.shared.session() {
                Ok(session) => self.session = Some(session),
                Err(fault) => return self.staged.iter().map(|_| Err(fault.clone())).collect(),
            }
        }
        self.staged.iter().map(|_| Token::new(TOKEN).ok_or_else(out_of_order)).collect()
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        let slot = self.staged.get_mut(place).ok_or_else(out_of_order)?;
        let staged = slot.as_mut().ok_or_else(out_of_order)?;
        let (mut session, mut old) = match self.session.take() {
            Some(session) => session,
            None => self.shared.session()?,
        };
        loop {
            match session.deliver(&mut staged.message, &staged.senders, &self.shared.envelope.to) {
                Ok(()) => {
                    *slot = None;
                    self.session = Some((session, true));
                    return Ok(());
                }
                Err(Trouble::Refused(fault)) => {
                    self.refused = Some(place);
                    self.session = Some((session, true));
                    return Err(fault);
                }
                // A server ends a connection that was idle for long; nothing of the message was sent.
                Err(Trouble::Lost { early: true, .. }) if old => {
                    (session, old) = (Session::open(&self.shared.access)?, false);
                }
                Err(Trouble::Lost { fault, .. }) => return Err(fault),
            }
        }
    }

    fn has_nothing_of(&self, place: usize) -> bool {
        self.refused == Some(place)
    }

    fn settle(&mut self) -> Result<(), Fault> {
        // The server's reply says that it answers for the message.
        Ok(())
    }
}

impl Drop for RelayBatch {
    fn drop(&mut self) {
        if let Some((session, _)) = self.session.take() {
            self.shared.keep(session);
        }
    }
}

fn out_of_order() -> Fault {
    Fault::Destination("a message was delivered out of order: this is a fault of the program".into())
}
