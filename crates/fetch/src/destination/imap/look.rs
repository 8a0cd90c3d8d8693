//! Looking whether a message is in a mailbox: by its size, then by its SHA-256, among those that came since.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{
    response::{Fetch, Kind, Response},
    session::Session,
};
use crate::destination::wire::Broken;

/// How many messages are asked for at once.
const WINDOW_MESSAGES: u32 = 1000;

/// How many unique ids may have been given out since.
const UIDS_MAX: u32 = 100_000;

/// How many messages of the right size are compared octet by octet.
const CANDIDATES_MAX: usize = 1000;

/// How many digests are remembered, for the next message that is looked for.
const DIGESTS_MAX: usize = 10_000;

/// A message, as it would lie in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Likeness {
    pub(super) octets: u64,
    pub(super) digest: [u8; 32],
}

/// What is looked for, and where.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The mailbox, ready for a command.
    pub(super) mailbox: &'a str,
    /// Its UIDVALIDITY when the message was sent.
    pub(super) validity: u32,
    /// Its UIDNEXT at that time.
    pub(super) next: u32,
    /// How a copy may look: as it was sent, and as a server keeps it that stores lines.
    pub(super) likenesses: &'a [Likeness],
    /// How many copies have to be there.
    pub(super) copies: usize,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// As many copies as wanted.
    Yes,
    No,
    /// Nobody can tell, for this reason.
    Unknown(String),
}

/// What came of looking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked {
    Found(Found),
    /// The server does not let us look now, and may later.
    Refused(String),
}

impl From<Found> for Looked {
    fn from(found: Found) -> Self {
        Self::Found(found)
    }
}

/// Digests of messages that were looked at before.
#[derive(Debug, Default)]
pub(super) struct Digests {
    validity: u32,
    known: HashMap<u32, [u8; 32]>,
}

/// Looks into the mailbox without changing anything in it.
pub(super) fn look(
    session: &mut Session,
    wanted: &Wanted<'_>,
    digests: &mut Digests,
) -> Result<Looked, Broken> {
    let (mut validity, mut next) = (None, None);
    let status = session.command(&format!("EXAMINE {}", wanted.mailbox), |response| {
        if let Response::Status(status) = response {
            validity = status.number("UIDVALIDITY").or(validity);
            next = status.number("UIDNEXT").or(next);
        }
    })?;
    if status.kind != Kind::Ok {
        let gone = status.has_code("NONEXISTENT") || status.has_code("TRYCREATE");
        return Ok(match gone {
            true => Found::Unknown(format!("the mailbox is gone: {}", status.text)).into(),
            false => Looked::Refused(format!("the mailbox cannot be looked into: {}", status.text)),
        });
    }
    let found = if validity == Some(wanted.validity) {
        if digests.validity != wanted.validity || digests.known.len() > DIGESTS_MAX {
            *digests = Digests { validity: wanted.validity, known: HashMap::new() };
        }
        search(session, wanted, next, digests)
    } else {
        let why = "the mailbox was made anew, or its messages renumbered (UIDVALIDITY changed)";
        Ok(Found::Unknown(why.into()).into())
    }?;
    // Nothing was selected for writing, so that closing it expunges nothing.
    session.command(if session.can("UNSELECT") { "UNSELECT" } else { "CLOSE" }, |_| {})?;
    Ok(found)
}

fn search(
    session: &mut Session,
    wanted: &Wanted<'_>,
    next: Option<u32>,
    digests: &mut Digests,
) -> Result<Looked, Broken> {
    // Where EXAMINE did not say where the mailbox ends, one open window has to do.
    let end = next.unwrap_or_else(|| wanted.next.saturating_add(1));
    if end.saturating_sub(wanted.next) > UIDS_MAX {
        return Ok(Found::Unknown(format!("more than {UIDS_MAX} messages came since")).into());
    }
    let (mut came, mut candidates) = (0_u32, Vec::new());
    let mut from = wanted.next;
    while from < end {
        let to = from.saturating_add(WINDOW_MESSAGES).min(end);
        let range = if next.is_some() { format!("{from}:{}", to - 1) } else { format!("{from}:*") };
        let status = session.command(&format!("UID FETCH {range} (UID RFC822.SIZE)"), |response| {
            // `*` is the last message even if it is an older one, and flags of others may be told any time.
            if let Response::Fetch(Fetch { uid: Some(uid), octets: Some(octets), .. }) = response
                && uid >= from
                && (next.is_none() || uid < to)
            {
                came += 1;
                if candidates.len() <= CANDIDATES_MAX
                    && wanted.likenesses.iter().any(|likeness| likeness.octets == octets)
                {
                    candidates.push((uid, octets));
                }
            }
        })?;
        if status.kind != Kind::Ok {
            return Ok(Looked::Refused(format!("the server does not list what came since: {}", status.text)));
        }
        from = to;
    }
    candidates.sort_unstable();
    candidates.dedup();
    if candidates.len() > CANDIDATES_MAX {
        return Ok(
            Found::Unknown(format!("more than {CANDIDATES_MAX} messages of this size came since")).into()
        );
    }
    let mut copies = 0;
    for (uid, octets) in candidates {
        let digest = match digests.known.get(&uid) {
            Some(digest) => *digest,
            None => {
                let mut hash = Sha256::new();
                if !session.fetch(uid, octets, |piece| hash.update(piece))? {
                    return Ok(Looked::Refused(
                        "the server does not give out a message that came since".into(),
                    ));
                }
                *digests.known.entry(uid).or_insert_with(|| hash.finalize().into())
            }
        };
        copies += usize::from(wanted.likenesses.contains(&Likeness { octets, digest }));
        if copies >= wanted.copies {
            return Ok(Found::Yes.into());
        }
    }
    // Each unique id that was given out and is not there was a message once, or an attempt that failed.
    let gone = next.map_or(0, |next| (next.saturating_sub(wanted.next)).saturating_sub(came));
    match gone {
        0 => Ok(Found::No.into()),
        gone => Ok(Found::Unknown(format!("{gone} of the messages that came since are gone again")).into()),
    }
}
