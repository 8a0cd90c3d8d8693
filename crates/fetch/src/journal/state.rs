//! What a journal says in the end: each message with the stage that it has reached.

use std::collections::HashMap;

use restante_client::Strength;

use super::{Key, Mark, Record};
use crate::destination::Token;

/// Everything that is known of an account.
#[derive(Clone, Debug, Default)]
pub struct State {
    messages: HashMap<Key, Known>,
    /// Whose journal this is, and where its mail goes; none in old journals.
    pub account: Option<Bound>,
    /// New messages may be those that were delivered, under other unique-ids: no session has ended well since that was seen.
    pub moved: bool,
    /// The latest time that is noted, in seconds since 1970; 0 where none is.
    pub newest: u64,
    /// The last login that succeeded, in seconds since 1970.
    pub login: Option<u64>,
    /// How strong the strongest login by password was, and when that was seen first, in seconds since 1970.
    pub strength: Option<(Strength, u64)>,
    /// When the server refused the credentials last, and how often in a row.
    pub refused: Option<(u64, u32)>,
    /// What it was.
    pub refused_mark: Option<Mark>,
    /// How many seconds the server wants between logins.
    pub delay: Option<u32>,
    /// When it turned out that the server does not answer what is sent ahead.
    pub one_by_one: Option<u64>,
}

/// What a journal is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The user.
    pub user: String,
    /// The server's name.
    pub host: String,
    /// The destination.
    pub to: String,
}

/// What is known of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// How far it came.
    pub stage: Stage,
    /// Its length in octets, as it came.
    pub octets: u64,
    /// Its length as LIST told it.
    pub listed: Option<u64>,
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// The start of the SHA-256 of its header, if that is like no other.
    pub header: Option<[u8; 16]>,
    /// When it reached its stage, in seconds since 1970.
    pub at: u64,
    /// Since when the server does not list it.
    pub gone: Option<u64>,
    /// How often it failed before it was, or is, about to be delivered.
    pub failures: u32,
}

/// How far a message came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was about to become visible at its destination, which knows it by this token.
    Intent(Token),
    /// It is at its destination.
    Delivered,
    /// It is at its destination, and the server has removed it.
    Deleted,
    /// It was set aside.
    Aside(Aside),
}

/// Why and since when a message is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// How often it was tried.
    pub attempts: u32,
    /// Whether it comes behind the others: the session broke the last time, or the delivery of others may be hindered.
    pub broke: bool,
    /// Why it failed the last time.
    pub why: String,
}

impl State {
    /// What is known of a message.
    pub fn get(&self, key: &Key) -> Option<&Known> {
        self.messages.get(key)
    }

    /// All messages, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Known)> {
        self.messages.iter()
    }

    /// How many messages are known.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// What these records say.
    #[cfg(test)]
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut state = Self::default();
        records.iter().for_each(|record| state.apply(record));
        state
    }

    pub(super) fn apply(&mut self, record: &Record) {
        self.newest = record.at().map_or(self.newest, |at| at.max(self.newest));
        match record {
            Record::Intent { key, octets, listed, digest, header, token, at } => {
                let known = Known {
                    stage: Stage::Intent(token.clone()),
                    octets: *octets,
                    listed: *listed,
                    digest: *digest,
                    header: *header,
                    at: *at,
                    gone: None,
                    // Only a delivery ends the count: it may fail at its last step every time.
                    failures: self.messages.get(key).map_or(0, |known| known.failures),
                };
                self.messages.insert(key.clone(), known);
            }
            Record::Delivered { key, at } => self.reach(key, Stage::Delivered, *at),
            Record::Deleted { key, at } => self.reach(key, Stage::Deleted, *at),
            Record::Undone { key } => self.undo(key),
            Record::Forgotten { key } => {
                self.messages.remove(key);
            }
            Record::Failed { key, at, broke, why } => self.fail(key, *at, *broke, why),
            Record::Renamed { from, to } => {
                if let Some(mut known) = self.messages.remove(from) {
                    known.gone = None;
                    self.messages.insert(to.clone(), known);
                }
            }
            Record::Gone { key, at } => {
                if let Some(known) = self.messages.get_mut(key) {
                    known.gone = Some(*at);
                }
            }
            Record::Back { key, listed } => {
                if let Some(known) = self.messages.get_mut(key) {
                    known.gone = None;
                    known.listed = listed.or(known.listed);
                }
            }
            Record::Account { user, host, to } => {
                // Another server need not offer what this one did.
                if self.account.as_ref().is_some_and(|before| before.host != *host) {
                    self.strength = None;
                }
                self.account = Some(Bound { user: user.clone(), host: host.clone(), to: to.clone() });
            }
            Record::Synced => {}
            Record::Moved => self.moved = true,
            Record::Settled => self.moved = false,
            Record::Login { at } => {
                (self.login, self.refused, self.refused_mark) = (Some(*at), None, None);
            }
            Record::Strength { strength, at } => self.strength = strength.map(|strength| (strength, *at)),
            Record::Refused { at, mark } => {
                // In a row means the same each time.
                let is_other =
                    mark.is_some() && self.refused_mark.is_some_and(|before| Some(before) != *mark);
                let before = self.refused.filter(|_| !is_other).map_or(0, |(_, times)| times);
                self.refused = Some((*at, before.saturating_add(1)));
                self.refused_mark = *mark;
            }
            Record::Delay { seconds } => self.delay = Some(*seconds).filter(|&seconds| seconds > 0),
            Record::OneByOne { at } => self.one_by_one = Some(*at),
        }
    }

    fn reach(&mut self, key: &Key, stage: Stage, at: u64) {
        if let Some(known) = self.messages.get_mut(key) {
            // The time of the delivery counts for what is deleted after some days; that of the deletion for forgetting.
            (known.stage, known.at, known.failures) = (stage, at, 0);
        }
    }

    fn undo(&mut self, key: &Key) {
        let Some(Known { failures, at, .. }) = self.messages.remove(key) else { return };
        if failures > 0 {
            self.messages.insert(key.clone(), aside(failures, at, true, INTERRUPTED));
        }
    }

    fn fail(&mut self, key: &Key, at: u64, broke: bool, why: &str) {
        let failures = match self.messages.get(key) {
            // What was delivered stays so.
            Some(Known { stage: Stage::Delivered | Stage::Deleted, .. }) => return,
            Some(known) => known.failures.saturating_add(1),
            None => 1,
        };
        self.messages.insert(key.clone(), aside(failures, at, broke, why));
    }

    /// How many records [`Self::records`] gives.
    pub(super) fn records_len(&self) -> usize {
        let of_account = usize::from(self.login.is_some())
            + usize::from(self.account.is_some())
            + usize::from(self.strength.is_some())
            + usize::from(self.moved)
            + usize::from(self.delay.is_some())
            + usize::from(self.one_by_one.is_some())
            + self.refused.map_or(0, |(_, times)| times.min(ATTEMPTS_KEPT_MAX) as usize);
        let of_message = |known: &Known| {
            let settled = matches!(known.stage, Stage::Delivered | Stage::Deleted | Stage::Intent(_));
            let ended = matches!(known.stage, Stage::Delivered | Stage::Deleted);
            known.failures.min(ATTEMPTS_KEPT_MAX) as usize
                + usize::from(settled)
                + usize::from(ended)
                + usize::from(known.gone.is_some())
        };
        self.messages.values().map(of_message).sum::<usize>() + of_account
    }

    /// The fewest records that say all this.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for (key, known) in &self.messages {
            let intent = |token: &Token, at| Record::Intent {
                key: key.clone(),
                octets: known.octets,
                listed: known.listed,
                digest: known.digest,
                header: known.header,
                token: token.clone(),
                at,
            };
            // A token that is not needed any more.
            let settled = super::token("-");
            let failed = |broke, why: &str| {
                let failed = Record::Failed { key: key.clone(), at: known.at, broke, why: why.to_owned() };
                // Bounded: what is tried that often is tried once a day.
                (0..known.failures.min(ATTEMPTS_KEPT_MAX)).map(move |_| failed.clone())
            };
            match (&known.stage, settled) {
                (Stage::Intent(token), _) => {
                    records.extend(failed(false, "as often before"));
                    records.push(intent(token, known.at));
                }
                (Stage::Delivered, Some(token)) => {
                    records.push(intent(&token, known.at));
                    records.push(Record::Delivered { key: key.clone(), at: known.at });
                }
                (Stage::Deleted, Some(token)) => {
                    records.push(intent(&token, known.at));
                    records.push(Record::Deleted { key: key.clone(), at: known.at });
                }
                (Stage::Aside(aside), _) => records.extend(failed(aside.broke, &aside.why)),
                (_, None) => {}
            }
            if let Some(at) = known.gone {
                records.push(Record::Gone { key: key.clone(), at });
            }
        }
        records.extend(self.account.clone().map(|Bound { user, host, to }| Record::Account {
            user,
            host,
            to,
        }));
        records.extend(self.moved.then_some(Record::Moved));
        records.extend(self.login.map(|at| Record::Login { at }));
        records.extend(self.strength.map(|(strength, at)| Record::Strength { strength: Some(strength), at }));
        if let Some((at, times)) = self.refused {
            records.extend(
                (0..times.min(ATTEMPTS_KEPT_MAX)).map(|_| Record::Refused { at, mark: self.refused_mark }),
            );
        }
        records.extend(self.delay.map(|seconds| Record::Delay { seconds }));
        records.extend(self.one_by_one.map(|at| Record::OneByOne { at }));
        records
    }
}

fn aside(attempts: u32, at: u64, broke: bool, why: &str) -> Known {
    Known {
        stage: Stage::Aside(Aside { attempts, broke, why: why.to_owned() }),
        octets: 0,
        listed: None,
        digest: [0; 32],
        header: None,
        at,
        gone: None,
        failures: attempts,
    }
}

/// What is said of a message whose delivery came to nothing.
pub(crate) const INTERRUPTED: &str = "its delivery was interrupted";

/// How many attempts are counted when a journal is written anew.
const ATTEMPTS_KEPT_MAX: u32 = 20;
