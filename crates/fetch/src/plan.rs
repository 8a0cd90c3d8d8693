//! What to do with each message, and why: from what the server lists, what the journal knows, and what the account wants.
//! Nothing is done here, and what is planned is what happens.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use restante_client::{Entry, MessageNumber};

use crate::{
    identity::may_come_back,
    journal::{Key, Known, Record, Stage, State},
    policy::{Keep, Policy, rest_left, rest_of_message},
};

/// What is to happen with one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number in the session.
    pub number: MessageNumber,
    /// What it is known by; `None` until it was read, where the server has no unique-id for it that can be believed.
    pub key: Option<Key>,
    /// Its length as LIST told it.
    pub octets: Option<u64>,
    /// What is done, and why.
    pub action: Action,
}

/// What is done with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is fetched and delivered.
    Fetch(Why),
    /// It was delivered, and is deleted on the server.
    Delete(Since),
    /// It stays where it is.
    Leave(Because),
}

/// Why a message is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is new.
    New,
    /// It failed so often, and it is time to try again.
    Again(u32),
    /// Its unique-id is none, or not its own: what it holds will tell whether it is new.
    Unclear,
    /// One with this unique-id was delivered, and the server said that it removed it: either it did not, or the unique-id
    /// was given to a new message, as RFC 1939 §7 allows. What it holds will tell.
    Removed,
    /// One with this unique-id was delivered, and was gone since, or LIST gives another length now: the unique-id may have
    /// been given to a new message. What it holds will tell.
    Doubted,
}

impl Why {
    /// Whether one with this unique-id was delivered, so that what it holds tells whether this is the same.
    pub(crate) const fn has_one_before(&self) -> bool {
        matches!(self, Self::Removed | Self::Doubted)
    }
}

/// Why a message is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It was delivered so many seconds ago, which is long enough.
    Delivered(u64),
    /// The server said that it had removed it, and still has it: its header is the same.
    Confirmed,
}

/// Why a message is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// It was delivered, and is kept on the server; for so many seconds still, where that has an end.
    Kept(Option<u64>),
    /// It is longer than so many octets.
    TooLong(u64),
    /// It failed, for this reason, and is tried again in so many seconds.
    Aside(String, u64),
}

impl Step {
    /// Whether its unique-id tells which message it is.
    pub(crate) fn is_by_id(&self) -> bool {
        self.key.as_ref().is_some_and(|key| key.id().is_some())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(Why::New) => f.write_str("new"),
            Self::Fetch(Why::Again(attempts)) => write!(f, "failed {attempts} times, tried again"),
            Self::Fetch(Why::Unclear) => {
                f.write_str("has no unique-id of its own; read to see whether it is new")
            }
            Self::Fetch(Why::Removed) => {
                f.write_str("the server said that it was removed; read to see whether it is a new one")
            }
            Self::Fetch(Why::Doubted) => {
                f.write_str("was gone, or has another length now; read to see whether it is a new one")
            }
            Self::Delete(Since::Delivered(0)) => f.write_str("delivered"),
            Self::Delete(Since::Delivered(seconds)) => write!(f, "delivered {} ago", Span(*seconds)),
            Self::Delete(Since::Confirmed) => {
                f.write_str("the server said that it was removed, and still has it")
            }
            Self::Leave(Because::Kept(None)) => f.write_str("delivered, kept on the server"),
            Self::Leave(Because::Kept(Some(seconds))) => {
                write!(f, "delivered, kept for {} more", Span(*seconds))
            }
            Self::Leave(Because::TooLong(max)) => write!(f, "longer than {max} octets"),
            Self::Leave(Because::Aside(why, seconds)) => write!(f, "set aside for {}: {why}", Span(*seconds)),
        }
    }
}

/// A span of time in its largest unit.
#[derive(Clone, Copy, Debug)]
pub struct Span(
    /// Seconds.
    pub u64,
);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            seconds @ 0..=119 => (seconds, "second"),
            seconds @ 120..=7199 => (seconds / 60, "minute"),
            seconds @ 7200..=172_799 => (seconds / 3600, "hour"),
            seconds => (seconds / 86_400, "day"),
        };
        write!(f, "{number} {unit}{}", if number == 1 { "" } else { "s" })
    }
}

/// What is to happen, message by message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By number.
    pub steps: Vec<Step>,
    /// What the journal learns from the listing: what is gone, what is back, what is forgotten.
    pub news: Vec<Record>,
    /// The new messages that may be known by another unique-id: their headers, or all of them, will tell.
    pub suspects: Vec<MessageNumber>,
    /// Nothing that was delivered was listed any more, in this session or one before that did not end well.
    moved: bool,
}

/// How long a message that the server does not list is remembered, in seconds: it may be listed again, as by servers that
/// show a part of a maildrop only.
const GONE_KEPT_SECONDS: u64 = 90 * 86_400;
/// The same for one whose removal the server confirmed.
const DELETED_KEPT_SECONDS: u64 = 7 * 86_400;
/// For how long all new messages may be old ones, once all old ones are gone.
const MOVED_SECONDS: u64 = 86_400;

impl Plan {
    /// The plan for what the server lists.
    pub fn new(entries: &[Entry], state: &State, policy: &Policy, now: u64) -> Self {
        let mut ids: HashMap<&str, u32> = HashMap::new();
        for id in entries.iter().filter_map(|entry| entry.id.as_ref()) {
            *ids.entry(id.as_str()).or_default() += 1;
        }
        let key_of = |entry: &Entry| {
            let id = entry.id.as_ref()?;
            (ids.get(id.as_str()) == Some(&1)).then(|| Key::of_id(id))
        };
        let mut listed: HashMap<Key, ()> = HashMap::new();
        let mut steps = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = key_of(entry);
            let known = key.as_ref().and_then(|key| state.get(key));
            let action = action(key.is_some(), known, entry.octets, policy, now);
            listed.extend(key.clone().map(|key| (key, ())));
            steps.push(Step { number: entry.number, key, octets: entry.octets, action });
        }
        let mut plan = Self { steps, news: Vec::new(), suspects: Vec::new(), moved: false };
        // Where messages have no ids, what is listed is not known yet, and nothing can be said of what is gone.
        let all_told = plan.steps.iter().all(|step| step.key.is_some());
        let missing = plan.missing(state, &listed, all_told, now);
        plan.suspect(state, &missing, now);
        plan
    }

    /// The messages to fetch, in the order of their numbers, those that broke a session last.
    pub fn to_fetch<'a>(&'a self, state: &'a State) -> Vec<&'a Step> {
        let broke = |step: &Step| {
            let known = step.key.as_ref().and_then(|key| state.get(key));
            matches!(known, Some(Known { stage: Stage::Aside(aside), .. }) if aside.broke)
        };
        let mut steps: Vec<&Step> =
            self.steps.iter().filter(|step| matches!(step.action, Action::Fetch(_))).collect();
        steps.sort_by_key(|step| broke(step));
        steps
    }

    /// What must be in the journal before anything of it is noted: without it, those that are found to be known hide that all
    /// were new.
    pub(crate) fn notes_first(&mut self) -> Vec<Record> {
        self.news.extract_if(.., |record| *record == Record::Moved).collect()
    }

    /// The messages whose header is asked for, since it may tell that they were delivered before. Where most unique-ids are
    /// as they were, the few others are read whole, which tells more.
    pub(crate) fn to_look_at(&self) -> Vec<MessageNumber> {
        let suspects: HashSet<MessageNumber> = self.suspects.iter().copied().collect();
        let wanted = |step: &&Step| {
            matches!(&step.action, Action::Fetch(why) if why.has_one_before())
                || (suspects.contains(&step.number) && (self.moved || step.key.is_none()))
        };
        self.steps.iter().filter(wanted).map(|step| step.number).collect()
    }

    /// This message is one that was delivered before: the journal knows it by this key.
    pub(crate) fn is_known(
        &mut self,
        number: MessageNumber,
        key: &Key,
        known: &Known,
        policy: &Policy,
        now: u64,
    ) {
        self.suspects.retain(|&suspect| suspect != number);
        let Ok(at) = self.steps.binary_search_by_key(&number, |step| step.number) else { return };
        let step = &mut self.steps[at];
        step.key = Some(key.clone());
        step.action = match (&known.stage, policy.keep) {
            (Stage::Deleted, Keep::Always) => Action::Leave(Because::Kept(None)),
            (Stage::Deleted, _) => Action::Delete(Since::Confirmed),
            _ => action(true, Some(known), step.octets, policy, now),
        };
    }

    /// Tries again now what was set aside and waits for its time.
    pub(crate) fn retry(&mut self, policy: &Policy, state: &State, may: impl Fn(&Step) -> bool) {
        for step in &mut self.steps {
            let Some(Known { stage: Stage::Aside(aside), .. }) =
                step.key.as_ref().and_then(|key| state.get(key))
            else {
                continue;
            };
            let fits = policy.max_octets.zip(step.octets).is_none_or(|(max, octets)| octets <= max);
            if matches!(step.action, Action::Leave(Because::Aside(..))) && fits && may(step) {
                step.action = Action::Fetch(Why::Again(aside.attempts));
            }
        }
    }

    /// The messages to delete.
    pub fn to_delete(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.action, Action::Delete(_)))
    }

    /// Notes what is gone and what is back, and gives what may come back under another unique-id.
    fn missing(&mut self, state: &State, listed: &HashMap<Key, ()>, all_told: bool, now: u64) -> Vec<Key> {
        let mut missing = Vec::new();
        for (key, known) in state.iter() {
            let there = listed.contains_key(key);
            match (there, known.gone) {
                // Until it was looked at it may be a new one with the same unique-id.
                (true, Some(_)) if known.stage != Stage::Delivered => {
                    self.news.push(Record::Back { key: key.clone(), listed: None });
                }
                (false, None) if all_told => self.news.push(Record::Gone { key: key.clone(), at: now }),
                // What has no unique-id comes back when it is read.
                (false, Some(since)) if all_told || key.id().is_none() => {
                    let kept = match known.stage {
                        Stage::Deleted | Stage::Aside(_) => DELETED_KEPT_SECONDS,
                        Stage::Delivered | Stage::Intent(_) => GONE_KEPT_SECONDS,
                    };
                    if now.saturating_sub(since) > kept {
                        self.news.push(Record::Forgotten { key: key.clone() });
                        continue;
                    }
                }
                _ => {}
            }
            if !there && may_come_back(known) {
                missing.push(key.clone());
            }
        }
        missing
    }

    /// Notes which of the messages without a unique-id are gone, and which are back, once all were read: these are the keys
    /// of what the server has.
    pub(crate) fn of_content(state: &State, there: &HashSet<&Key>, now: u64) -> Vec<Record> {
        let news = |(key, known): (&Key, &Known)| match (there.contains(key), known.gone) {
            (true, Some(_)) if key.id().is_none() => Some(Record::Back { key: key.clone(), listed: None }),
            (false, None) if key.id().is_none() => Some(Record::Gone { key: key.clone(), at: now }),
            _ => None,
        };
        state.iter().filter_map(news).collect()
    }

    /// New messages may be old ones under new unique-ids: those that are as long as one that is missing, and all of them
    /// where nothing that was delivered is listed any more, as after the server was moved.
    fn suspect(&mut self, state: &State, missing: &[Key], now: u64) {
        if missing.is_empty() {
            return;
        }
        let is_doubted = |step: &Step| step.action == Action::Fetch(Why::Doubted);
        let known_there = self.steps.iter().any(|step| {
            let known = step.key.as_ref().and_then(|key| state.get(key));
            known.is_some_and(|known| known.stage == Stage::Delivered) && !is_doubted(step)
        });
        let lately = |known: &Known| known.gone.is_none_or(|at| now.saturating_sub(at) < MOVED_SECONDS);
        let vanished =
            |key: &Key| state.get(key).is_some_and(|known| known.stage == Stage::Delivered && lately(known));
        let moved = !known_there && missing.iter().any(vanished);
        // What has no unique-id is never listed before it is read.
        let by_id = missing.iter().any(|key| key.id().is_some() && vanished(key));
        if moved && by_id && !state.moved {
            self.news.push(Record::Moved);
        }
        // Until a session has ended well: when the first few are known under their new ids, the others are old ones still.
        self.moved = moved || state.moved;
        let mut sizes: HashMap<u64, ()> = HashMap::new();
        for known in missing.iter().filter_map(|key| state.get(key)) {
            sizes.extend(known.listed.map(|octets| (octets, ())));
            sizes.insert(known.octets, ());
        }
        for step in &self.steps {
            let new = matches!(step.action, Action::Fetch(_));
            let alike = step.octets.is_none_or(|octets| sizes.contains_key(&octets));
            if new && (alike || self.moved || step.key.is_none()) {
                self.suspects.push(step.number);
            }
        }
    }
}

/// Whether what the server lists may be another message than the one that is known: it was gone, or had another length.
fn is_doubted(known: &Known, octets: Option<u64>) -> bool {
    let other_length = known.listed.zip(octets).is_some_and(|(before, now)| before != now);
    known.stage == Stage::Delivered && (known.gone.is_some() || other_length)
}

fn action(has_key: bool, known: Option<&Known>, octets: Option<u64>, policy: &Policy, now: u64) -> Action {
    if let Some(known) = known {
        match &known.stage {
            Stage::Delivered if is_doubted(known, octets) => {}
            Stage::Delivered if policy.keep.is_over(known.at, now) => {
                return Action::Delete(Since::Delivered(now.saturating_sub(known.at)));
            }
            Stage::Delivered => {
                let left = match policy.keep {
                    Keep::For(time) => Some(time.as_secs().saturating_sub(now.saturating_sub(known.at))),
                    Keep::Always | Keep::No => None,
                };
                return Action::Leave(Because::Kept(left));
            }
            Stage::Aside(aside) => {
                let rest = rest_left(known.at, rest_of_message(aside.attempts), now);
                if rest > 0 {
                    return Action::Leave(Because::Aside(aside.why.clone(), rest));
                }
            }
            Stage::Intent(_) | Stage::Deleted => {}
        }
    }
    match (policy.max_octets, octets) {
        (Some(max), Some(octets)) if octets > max => return Action::Leave(Because::TooLong(max)),
        _ => {}
    }
    match known.map(|known| &known.stage) {
        _ if !has_key => Action::Fetch(Why::Unclear),
        Some(Stage::Aside(aside)) => Action::Fetch(Why::Again(aside.attempts)),
        Some(Stage::Deleted) => Action::Fetch(Why::Removed),
        Some(Stage::Delivered) => Action::Fetch(Why::Doubted),
        _ => Action::Fetch(Why::New),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use restante_client::UniqueId;

    use super::*;
    use crate::destination::Token;

    const NOW: u64 = 1_000_000;

    fn key(id: &str) -> Key {
        Key::of_id(&UniqueId::new(id.as_bytes()).unwrap())
    }

    /// What LIST and UIDL tell, in order.
    fn entries(told: &[(Option<&str>, Option<u64>)]) -> Vec<Entry> {
        let entry = |(n, &(id, octets)): (usize, &(Option<&str>, Option<u64>))| Entry {
            number: MessageNumber::new(u32::try_from(n + 1).unwrap()).unwrap(),
            octets,
            id: id.map(|id| UniqueId::new(id.as_bytes()).unwrap()),
        };
        told.iter().enumerate().map(entry).collect()
    }

    fn intent(id: &str, octets: u64, header: bool) -> Record {
        Record::Intent {
            key: key(id),
            octets,
            listed: Some(octets),
            digest: [7; 32],
            header: header.then_some([8; 16]),
            token: Token::new("x").unwrap(),
            at: NOW,
        }
    }

    fn delivered(id: &str, octets: u64, at: u64) -> Vec<Record> {
        vec![intent(id, octets, true), Record::Delivered { key: key(id), at }]
    }

    fn deleted(id: &str, octets: u64, header: bool) -> Vec<Record> {
        let at = NOW - 10;
        vec![
            intent(id, octets, header),
            Record::Delivered { key: key(id), at },
            Record::Deleted { key: key(id), at },
        ]
    }

    fn failed(id: &str, times: usize, at: u64, broke: bool) -> Vec<Record> {
        vec![Record::Failed { key: key(id), at, broke, why: "no".into() }; times]
    }

    /// The plan for one message «a» of 100 octets.
    fn action_of(records: &[Record], keep: Keep, max_octets: Option<u64>) -> Action {
        let policy = Policy { keep, max_octets };
        let plan = Plan::new(&entries(&[(Some("a"), Some(100))]), &State::of(records), &policy, NOW);
        plan.steps[0].action.clone()
    }

    #[test]
    fn what_is_done_follows_from_what_is_known() {
        use Action::{Delete, Fetch, Leave};
        let hour = Keep::For(Duration::from_secs(3600));
        let aside = |seconds| Leave(Because::Aside("no".into(), seconds));
        let old = delivered("a", 100, NOW - 3600);
        let young = delivered("a", 100, NOW - 3599);
        let future = delivered("a", 100, NOW + 5000);
        for (records, keep, max, expected) in [
            (vec![], Keep::No, None, Fetch(Why::New)),
            (vec![], Keep::Always, Some(100), Fetch(Why::New)),
            (vec![], Keep::Always, Some(99), Leave(Because::TooLong(99))),
            (old.clone(), Keep::No, None, Delete(Since::Delivered(3600))),
            (old.clone(), hour, None, Delete(Since::Delivered(3600))),
            (young, hour, None, Leave(Because::Kept(Some(1)))),
            (old.clone(), Keep::Always, None, Leave(Because::Kept(None))),
            // A limit that came later holds nothing back that was delivered.
            (old.clone(), Keep::No, Some(1), Delete(Since::Delivered(3600))),
            // A clock that went back deletes nothing early.
            (future, hour, None, Leave(Because::Kept(Some(3600)))),
            (vec![intent("a", 100, true)], Keep::No, None, Fetch(Why::New)),
            // It was gone, or is of another length.
            (
                [old, vec![Record::Gone { key: key("a"), at: NOW }]].concat(),
                Keep::No,
                None,
                Fetch(Why::Doubted),
            ),
            (delivered("a", 101, NOW - 3600), Keep::Always, None, Fetch(Why::Doubted)),
            (deleted("a", 100, true), Keep::No, None, Fetch(Why::Removed)),
            (deleted("a", 100, true), Keep::Always, None, Fetch(Why::Removed)),
            (failed("a", 1, NOW, false), Keep::No, None, Fetch(Why::Again(1))),
            (failed("a", 2, NOW, false), Keep::No, None, aside(600)),
            (failed("a", 2, NOW - 599, true), Keep::No, None, aside(1)),
            (failed("a", 2, NOW - 600, true), Keep::No, None, Fetch(Why::Again(2))),
            (failed("a", 2, NOW - 600, true), Keep::No, Some(9), Leave(Because::TooLong(9))),
            // A clock that was wrong does not make it wait.
            (failed("a", 2, NOW * 50, false), Keep::No, None, Fetch(Why::Again(2))),
        ] {
            assert_eq!(action_of(&records, keep, max), expected, "{records:?}, keep {keep}, {max:?}");
        }
    }

    #[test]
    fn an_id_that_is_none_or_not_its_own_tells_nothing() {
        let told = entries(&[(None, Some(1)), (Some("x"), None), (Some("x"), None), (Some("y"), None)]);
        let records = delivered("x", 1, NOW);
        let plan = Plan::new(&told, &State::of(&records), &Policy::default(), NOW);
        let unclear = |step: &&Step| step.action == Action::Fetch(Why::Unclear) && step.key.is_none();
        assert_eq!(plan.steps.iter().filter(unclear).count(), 3);
        assert_eq!(plan.steps[3].action, Action::Fetch(Why::New));
        // Nothing can be said of what is gone, and all that is unclear may be what is known.
        assert_eq!(plan.news, [Record::Moved]);
        assert_eq!(plan.suspects.len(), 4, "y as well, since its length is not known");
    }

    #[test]
    fn those_that_broke_a_session_come_last() {
        let told = entries(&[(Some("a"), None), (Some("b"), None), (Some("c"), None)]);
        let state = State::of(&failed("a", 1, NOW, true));
        let plan = Plan::new(&told, &state, &Policy::default(), NOW);
        let order: Vec<u32> = plan.to_fetch(&state).iter().map(|step| step.number.get()).collect();
        assert_eq!(order, [2, 3, 1]);
    }

    #[test]
    fn what_is_gone_is_noted_and_what_is_long_gone_is_forgotten() {
        let told = entries(&[(Some("here"), Some(100)), (Some("back"), Some(100))]);
        let gone = |id: &str, at| Record::Gone { key: key(id), at };
        let day = 86_400;
        let mut records = Vec::new();
        for (id, since) in
            [("here", None), ("back", Some(5)), ("new", None), ("old", Some(89)), ("older", Some(91))]
        {
            records.extend(delivered(id, 100, 1));
            records.extend(since.map(|days| gone(id, NOW * 100 - days * day)));
        }
        records.extend(deleted("removed", 100, false));
        records.push(gone("removed", NOW * 100 - 8 * day));
        let plan = Plan::new(&told, &State::of(&records), &Policy::default(), NOW * 100);
        let mut news: Vec<String> = plan.news.iter().map(|record| format!("{record:?}")).collect();
        news.sort();
        let expected = [
            Record::Forgotten { key: key("older") },
            Record::Forgotten { key: key("removed") },
            Record::Gone { key: key("new"), at: NOW * 100 },
        ];
        assert_eq!(news, expected.map(|record| format!("{record:?}")));
        // That it is back is known when it was looked at.
        assert_eq!(plan.steps[1].action, Action::Fetch(Why::Doubted));
    }

    #[test]
    fn new_messages_are_suspected_by_length_or_all_where_all_old_ones_vanished() {
        let told = entries(&[(Some("x"), Some(100)), (Some("y"), Some(200)), (Some("z"), None)]);
        let suspects = |records: &[Record]| -> (Vec<u32>, usize) {
            let plan = Plan::new(&told, &State::of(records), &Policy::default(), NOW);
            (plan.suspects.iter().map(|number| number.get()).collect(), plan.to_look_at().len())
        };
        assert_eq!(suspects(&[]), (vec![], 0));
        // All are new at once: their headers are asked for.
        assert_eq!(suspects(&delivered("a", 100, 1)), (vec![1, 2, 3], 3));
        // One is as it was: those of the same length are read whole.
        let one_stays = [delivered("a", 100, 1), delivered("y", 200, 1)].concat();
        assert_eq!(suspects(&one_stays), (vec![1, 3], 0));
        // It vanished long ago.
        let long_ago = Record::Gone { key: key("a"), at: NOW - 2 * MOVED_SECONDS };
        assert_eq!(suspects(&[delivered("a", 100, 1), vec![long_ago]].concat()), (vec![1, 3], 0));
        // The server said that it removed it: what comes is new, unless its header is like no other.
        assert_eq!(suspects(&deleted("a", 100, false)), (vec![], 0));
        assert_eq!(suspects(&deleted("a", 100, true)), (vec![1, 3], 0));
    }

    #[test]
    fn what_was_set_aside_is_tried_again_when_asked_for() {
        let told = entries(&[(Some("a"), Some(5)), (Some("b"), Some(50)), (Some("c"), Some(5))]);
        let records = ["a", "b", "c"].map(|id| failed(id, 3, NOW, false)).concat();
        let (state, policy) = (State::of(&records), Policy { keep: Keep::No, max_octets: Some(10) });
        let mut plan = Plan::new(&told, &state, &policy, NOW);
        plan.retry(&policy, &state, |step| step.number.get() != 3);
        let fetched: Vec<u32> = plan.to_fetch(&state).iter().map(|step| step.number.get()).collect();
        assert_eq!(fetched, [1]);
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        for (seconds, text) in
            [(0, "0 seconds"), (1, "1 second"), (120, "2 minutes"), (7200, "2 hours"), (172_800, "2 days")]
        {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }
}
