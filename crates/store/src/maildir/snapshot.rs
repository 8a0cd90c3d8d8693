//! What is remembered of a Maildir and what was seen in it, made one: the session's snapshot.
//!
//! Pure: no files and no clock. Here ids are given, kept and let go.

use std::collections::{HashMap, HashSet};

use restante_proto::UniqueId;

use super::{
    name,
    scan::{Facts, Found, Located, Seen},
    state::{Count, Record, State},
};

/// How long the id of a name that is missing is kept, in seconds: seven days.
pub(super) const MISSING_KEPT_SECONDS: u64 = 7 * 24 * 60 * 60;

/// How many names that are missing are kept at most; the ones that are missing longest go first.
pub(super) const MISSING_NAMES_MAX: usize = 10_000;

/// A maildrop as one session sees it, and as the state file remembers it.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// What is remembered, in the order of first sight.
    pub(super) records: Vec<Record>,
    /// Where each record's file is; `None` for one that is missing. As long as `records`.
    pub(super) located: Vec<Option<Located>>,
    /// Whether the state file says something else.
    pub(super) dirty: bool,
    /// How many messages seem to have come back under a new name, and so with a new id.
    pub(super) changed_ids: usize,
}

impl Snapshot {
    /// Makes one of what the state says and what was seen at `now`, in seconds since 1970.
    pub(super) fn new(state: State, mut seen: Seen, now: u64) -> Self {
        let mut snapshot = Self::default();
        for record in state.records {
            snapshot.meet(record, &mut seen, now);
        }
        let mut arrivals: Vec<_> = seen.into_iter().collect();
        if !arrivals.is_empty() {
            arrivals.sort_unstable_by(|(a, _), (b, _)| name::by_arrival(a, b));
            snapshot.welcome(arrivals, now);
        }
        snapshot.forget();
        snapshot
    }

    /// The places in `records` of the messages that are there.
    pub(super) fn shown(&self) -> Vec<u32> {
        let there = self.located.iter().zip(0u32..).filter(|(located, _)| located.is_some());
        there.map(|(_, place)| place).collect()
    }

    /// A record that is remembered: there, missing, or missing for too long.
    fn meet(&mut self, mut record: Record, seen: &mut Seen, now: u64) {
        let found = seen.remove(&record.base);
        match (&found, record.missing_since) {
            (Some(_), None) => {}
            (Some(_), Some(_)) => {
                record.missing_since = None;
                self.dirty = true;
            }
            (None, None) => {
                record.missing_since = Some(now);
                self.dirty = true;
            }
            (None, Some(since)) if now.saturating_sub(since) > MISSING_KEPT_SECONDS => {
                self.dirty = true;
                return;
            }
            (None, Some(_)) => {}
        }
        if let Some(facts) = found.as_ref().and_then(|found| found.facts) {
            self.dirty |= refresh(&mut record, facts);
        }
        self.records.push(record);
        self.located.push(found.map(|found| found.located));
    }

    /// Messages that are seen for the first time, in the order of arrival.
    fn welcome(&mut self, arrivals: Vec<(Box<[u8]>, Found)>, now: u64) {
        let mut taken: HashSet<UniqueId> = self.records.iter().map(|record| record.id.clone()).collect();
        let missing =
            || self.records.iter().zip(0usize..).filter(|(record, _)| record.missing_since.is_some());
        let mut by_stem: HashMap<Vec<u8>, usize> =
            missing().map(|(record, place)| (name::stem(&record.base), place)).collect();
        let lost: HashSet<Facts> = missing()
            .filter(|(record, _)| record.missing_since == Some(now))
            .map(|(record, _)| Facts { stored: record.stored, modified_ns: record.modified_ns })
            .collect();
        for (base, found) in arrivals {
            // A file that moved faster than it could be looked at waits for the next session.
            let Found { located, facts: Some(facts) } = found else { continue };
            self.dirty = true;
            // Another program added or corrected `,S=` or `,W=`: the same message under a longer name.
            let before = by_stem.get(&name::stem(&base)).copied();
            if let Some(place) = before.filter(|&place| self.records[place].stored == facts.stored) {
                by_stem.remove(&name::stem(&base));
                let record = &mut self.records[place];
                record.base = base;
                record.missing_since = None;
                refresh(record, facts);
                self.located[place] = Some(located);
                continue;
            }
            self.changed_ids += usize::from(lost.contains(&facts));
            let id = name::unique_id(&base, |id| taken.contains(id));
            taken.insert(id.clone());
            let (stored, modified_ns, count) = (facts.stored, facts.modified_ns, claim(&base, facts.stored));
            self.records.push(Record { base, id, stored, modified_ns, count, missing_since: None });
            self.located.push(Some(located));
        }
    }

    /// Lets go of the names that are missing longest, where there are too many.
    fn forget(&mut self) {
        let mut since: Vec<u64> = self.records.iter().filter_map(|record| record.missing_since).collect();
        let Some(excess) = since.len().checked_sub(MISSING_NAMES_MAX).filter(|&excess| excess > 0) else {
            return;
        };
        since.sort_unstable();
        let (limit, mut at_limit) = (
            since[excess - 1],
            since[..excess].iter().rev().take_while(|&&s| s == since[excess - 1]).count(),
        );
        let keep: Vec<bool> = self
            .records
            .iter()
            .map(|record| match record.missing_since {
                Some(since) if since < limit => false,
                Some(since) if since == limit && at_limit > 0 => {
                    at_limit -= 1;
                    false
                }
                _ => true,
            })
            .collect();
        let mut kept = keep.iter();
        self.records.retain(|_| kept.next().copied().unwrap_or(true));
        let mut kept = keep.iter();
        self.located.retain(|_| kept.next().copied().unwrap_or(true));
        self.dirty = true;
    }
}

/// Brings a record up to date with its file; whether that changed it.
fn refresh(record: &mut Record, facts: Facts) -> bool {
    let same = (record.stored, record.modified_ns) == (facts.stored, facts.modified_ns);
    if !same {
        // Somebody wrote into the file: what was counted is void.
        (record.stored, record.modified_ns) = (facts.stored, facts.modified_ns);
        record.count = claim(&record.base, facts.stored);
    } else if record.count == Count::Unknown {
        record.count = claim(&record.base, facts.stored);
        return record.count != Count::Unknown;
    }
    !same
}

fn claim(base: &[u8], stored: u64) -> Count {
    name::claimed_octets(base, stored).map_or(Count::Unknown, Count::Claimed)
}

#[cfg(test)]
mod tests;
