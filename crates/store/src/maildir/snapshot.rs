//! What is remembered of a Maildir and what was seen in it, made one: the session's snapshot.
//!
//! Pure: no files and no clock. Here ids are given, kept and let go.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use restante_proto::UniqueId;

use super::{
    name,
    scan::Scan,
    seen::{AS_IT_WAS, NONE, Seen},
    state::{Facts, NO_INODE, State, claim},
};

/// How long the id of a name that is missing is kept, in seconds: seven days.
pub(super) const MISSING_KEPT_SECONDS: u64 = 7 * 24 * 60 * 60;

/// How many names that are missing are kept at most; the ones that are missing longest go first.
pub(super) const MISSING_NAMES_MAX: usize = 10_000;

/// Makes the state one with what was seen at `now`, in seconds since 1970. Says how many messages seem to have come
/// back under a new name, and so with a new id.
pub(super) fn meet(state: &mut State, scan: &Scan, now: u64) -> usize {
    let Meeting { arrivals, akin, lost } = Meeting::new(state, scan, now);
    let Welcomed { changed_ids, copies } = welcome(state, &scan.seen, arrivals, &akin, &lost);
    // Copies are looked for at each deletion, and so at each login.
    state.set_stamps(if copies { [None; 2] } else { scan.stamps });
    forget(state, now);
    changed_ids
}

/// What is left to do once each record has met its file.
struct Meeting {
    /// The files that are nobody's.
    arrivals: Vec<u32>,
    /// Records whose names are like those of files that are not theirs, by file.
    akin: HashMap<u32, Vec<u32>>,
    /// The facts of the messages that are missing from now on.
    lost: HashSet<Facts>,
}

impl Meeting {
    fn new(state: &mut State, scan: &Scan, now: u64) -> Self {
        let Scan { seen, read, .. } = scan;
        let (mut taken, mut lost) = (vec![false; seen.files().len()], HashSet::new());
        let mut akin: HashMap<u32, Vec<u32>> = HashMap::new();
        for (place, &file) in seen.of_records().iter().enumerate().filter(|(_, file)| **file != AS_IT_WAS) {
            let known = state.located(place).map(|located| located.place);
            let file = (file != NONE && seen.is_message(file) && !taken[file as usize]).then_some(file);
            match (known, file) {
                (Some(_), Some(file)) => {
                    taken[file as usize] = true;
                    // In a folder that was not read it is as it was, and this is a copy, or another message.
                    if known.is_some_and(|place| read[place as usize]) {
                        let mut located = seen.located(file);
                        if seen.is_stranger(file) && seen.facts(file).is_none() {
                            // It moved before it could be looked at.
                            located.inode = NO_INODE;
                        }
                        state.relocate(place, seen.base(file), located);
                        if let Some(facts) = seen.facts(file) {
                            state.refresh(place, facts);
                        }
                    }
                }
                (Some(folder), None) if read[folder as usize] => {
                    lost.insert(state.facts(place));
                    state.missing(place, now);
                }
                (None, Some(file)) if seen.facts(file) == Some(state.facts(place)) => {
                    taken[file as usize] = true;
                    state.relocate(place, seen.base(file), seen.located(file));
                    state.refresh(place, state.facts(place));
                }
                // Another message under the name of the one that is missing: its id is not for that one.
                (None, Some(file)) => akin.entry(file).or_default().push(place as u32),
                (Some(_) | None, None) => {}
            }
        }
        seen.akin().iter().for_each(|&(file, place)| akin.entry(file).or_default().push(place));
        let arrivals = (0u32..).zip(taken).filter(|(_, taken)| !taken).map(|(file, _)| file);
        // A file that moved faster than it could be looked at waits for the next session.
        let arrivals = arrivals.filter(|&file| seen.is_message(file) && seen.facts(file).is_some());
        Self { arrivals: arrivals.collect(), akin, lost }
    }
}

/// The ids that are given, as far as an arrival could meet them.
struct Taken {
    /// Those that are not just the stem of a name that no other name is like.
    own: HashSet<Box<str>>,
    /// All, once one arrival asks for that.
    all: Option<HashSet<Box<str>>>,
}

impl Taken {
    fn new(state: &State) -> Self {
        let own = state.records.iter().filter(|record| record.has_own_id());
        Self { own: own.map(|record| record.id(&state.text).into()).collect(), all: None }
    }

    /// All of them.
    fn all(&mut self, state: &State) -> &HashSet<Box<str>> {
        self.all.get_or_insert_with(|| (0..state.len()).map(|place| state.id(place).into()).collect())
    }

    fn give(&mut self, id: &UniqueId, own: bool) {
        if own {
            self.own.insert(id.as_str().into());
        }
        if let Some(all) = &mut self.all {
            all.insert(id.as_str().into());
        }
    }
}

/// What was noticed about messages that are seen for the first time.
#[derive(Default)]
struct Welcomed {
    /// How many seem to have come back under a new name.
    changed_ids: usize,
    /// Some file is another name of a message.
    copies: bool,
}

/// Messages that are seen for the first time, in the order of arrival.
fn welcome(
    state: &mut State,
    seen: &Seen,
    arrivals: Vec<u32>,
    akin: &HashMap<u32, Vec<u32>>,
    lost: &HashSet<Facts>,
) -> Welcomed {
    let mut welcomed = Welcomed::default();
    if arrivals.is_empty() {
        return welcomed;
    }
    let arrivals = same_again(state, seen, in_order(seen, arrivals), akin, &mut welcomed.copies);
    let mut of_stem: HashMap<Cow<'_, [u8]>, u32> = HashMap::new();
    let alone = |file: u32| !akin.contains_key(&file) && !seen.has_kin(file);
    for &(file, _) in arrivals.iter().filter(|(file, _)| !alone(*file)) {
        *of_stem.entry(name::stem(seen.base(file))).or_default() += 1;
    }
    let mut taken = Taken::new(state);
    for (file, facts) in arrivals {
        let base = seen.base(file);
        welcomed.changed_ids += usize::from(lost.contains(&facts));
        let stem = name::stem(base);
        // Nobody else has a name like this one, so that its id can only meet those that are no names.
        let plain = alone(file).then(|| UniqueId::new(&stem)).flatten();
        let plain = plain.filter(|id| !taken.own.contains(id.as_str()));
        let is_plain = plain.is_some();
        let id = plain.unwrap_or_else(|| {
            let all = taken.all(state);
            let is_taken = |id: &UniqueId| all.contains(id.as_str());
            let twins = of_stem.get(&stem).is_some_and(|&messages| messages > 1);
            let id =
                if twins { name::twins_unique_id(base, is_taken) } else { name::unique_id(base, is_taken) };
            state.news.own_ids |= id != name::unique_id(base, |_| false);
            id
        });
        taken.give(&id, !is_plain);
        state.push(base, &id, seen.located(file), facts, claim(base, facts.stored));
    }
    welcomed
}

/// Sorts by arrival; each with its facts.
fn in_order(seen: &Seen, arrivals: Vec<u32>) -> Vec<(u32, Facts)> {
    let with_facts = arrivals.into_iter().filter_map(|file| Some((file, seen.facts(file)?)));
    let mut sorted: Vec<_> =
        with_facts.map(|(file, facts)| (name::arrival_number(seen.base(file)), file, facts)).collect();
    sorted.sort_unstable_by(|(a_number, a, _), (b_number, b, _)| {
        let by_name = || name::by_arrival(seen.base(*a), seen.base(*b));
        a_number.cmp(b_number).then_with(by_name)
    });
    sorted.into_iter().map(|(_, file, facts)| (file, facts)).collect()
}

/// Finds the messages that are known under another base, because another program added or corrected `,S=` or `,W=`.
/// Returns the ones that are new.
fn same_again(
    state: &mut State,
    seen: &Seen,
    arrivals: Vec<(u32, Facts)>,
    akin: &HashMap<u32, Vec<u32>>,
    copies: &mut bool,
) -> Vec<(u32, Facts)> {
    let mut met = HashSet::new();
    let mut is_new = |&(file, facts): &(u32, Facts)| {
        let (base, located) = (seen.base(file), seen.located(file));
        let stem = name::stem(base);
        let same = |&place: &usize| {
            let there = state.located(place);
            state.facts(place) == facts
                && there.is_none_or(|there| there.inode == located.inode)
                && name::stem(state.base(place)) == stem
        };
        let known = akin.get(&file).map(Vec::as_slice).unwrap_or_default();
        match known.iter().map(|&place| place as usize).find(same) {
            // Renamed while the folders were read, and seen under both names; or it has both.
            Some(place) if state.located(place).is_some() => {
                *copies = true;
                false
            }
            Some(place) => {
                state.relocate(place, base, located);
                state.refresh(place, facts);
                false
            }
            None if seen.has_kin(file) => {
                let first = met.insert((stem, facts, located.inode));
                *copies |= !first;
                first
            }
            None => true,
        }
    };
    arrivals.into_iter().filter(|arrival| is_new(arrival)).collect()
}

/// Lets go of the names that are missing for too long, and where there are too many, of those that are missing longest.
fn forget(state: &mut State, now: u64) {
    let mut since: Vec<u64> = state.records.iter().filter_map(|record| record.missing()).collect();
    let is_old = |since: u64| now.saturating_sub(since) > MISSING_KEPT_SECONDS;
    since.retain(|&since| !is_old(since));
    since.sort_unstable();
    let excess = since.len().saturating_sub(MISSING_NAMES_MAX);
    let limit = since[..excess].last().copied();
    let mut at_limit = since[..excess].iter().rev().take_while(|&&since| Some(since) == limit).count();
    state.retain(|record| match record.missing() {
        None => true,
        Some(since) if is_old(since) || Some(since) < limit => false,
        Some(since) if Some(since) == limit && at_limit > 0 => {
            at_limit -= 1;
            false
        }
        Some(_) => true,
    });
}

#[cfg(test)]
mod tests;
