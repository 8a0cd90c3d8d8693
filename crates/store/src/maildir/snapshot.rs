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

/// A message that is seen for the first time: its base, where its file is, and the file's facts.
type Arrival = (Box<[u8]>, Located, Facts);

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
        let comes_back = |found: &Found| found.facts == Some(Facts::of(&record));
        let found = if record.missing_since.is_none() || seen.get(&record.base).is_some_and(comes_back) {
            seen.remove(&record.base)
        } else {
            // Nothing, or another message under the name of the one that is missing: its id is not for that one.
            None
        };
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
        // A file that moved faster than it could be looked at waits for the next session.
        let arrivals =
            arrivals.into_iter().filter_map(|(base, found)| Some((base, found.located, found.facts?)));
        let arrivals = self.same_again(arrivals.collect());
        self.dirty |= !arrivals.is_empty();
        let mut of_stem: HashMap<Vec<u8>, u32> = HashMap::new();
        arrivals.iter().for_each(|(base, ..)| *of_stem.entry(name::stem(base).into()).or_default() += 1);
        let mut taken: HashSet<UniqueId> = self.records.iter().map(|record| record.id.clone()).collect();
        let lost = self.records.iter().filter(|record| record.missing_since == Some(now));
        let lost: HashSet<Facts> = lost.map(Facts::of).collect();
        for (base, located, facts) in arrivals {
            self.changed_ids += usize::from(lost.contains(&facts));
            let id = if of_stem.get(&*name::stem(&base)).is_some_and(|&messages| messages > 1) {
                name::twins_unique_id(&base, |id| taken.contains(id))
            } else {
                name::unique_id(&base, |id| taken.contains(id))
            };
            taken.insert(id.clone());
            let (stored, modified_ns, count) = (facts.stored, facts.modified_ns, claim(&base, facts.stored));
            self.records.push(Record { base, id, stored, modified_ns, count, missing_since: None });
            self.located.push(Some(located));
        }
    }

    /// Finds the messages that are known under another base, because another program added or corrected `,S=` or `,W=`.
    /// Returns the ones that are new.
    fn same_again(&mut self, arrivals: Vec<Arrival>) -> Vec<Arrival> {
        let stems: HashSet<_> = arrivals.iter().map(|(base, ..)| name::stem(base)).collect();
        let mut known: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (record, place) in self.records.iter().zip(0..) {
            let stem = name::stem(&record.base);
            if stems.contains(&stem) {
                known.entry(stem.into()).or_default().push(place);
            }
        }
        drop(stems);
        let (mut new, mut met) = (Vec::new(), HashSet::new());
        for (base, located, facts) in arrivals {
            let stem = name::stem(&base);
            let places = known.get(&*stem).map(Vec::as_slice).unwrap_or_default();
            let same = |&&place: &&usize| {
                let there = self.located[place].as_ref();
                Facts::of(&self.records[place]) == facts
                    && there.is_none_or(|there| there.inode == located.inode)
            };
            match places.iter().find(same).map(|&place| (place, &self.located[place])) {
                // Renamed while the folders were read, and seen under both names.
                Some((_, Some(_))) => {}
                Some((place, None)) => {
                    let record = &mut self.records[place];
                    record.base = base;
                    record.missing_since = None;
                    refresh(record, facts);
                    self.located[place] = Some(located);
                    self.dirty = true;
                }
                _ => {
                    if met.insert((stem.to_vec(), facts, located.inode)) {
                        new.push((base, located, facts));
                    }
                }
            }
        }
        new
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
