//! The snapshot's law, without files.

use super::{
    super::{
        dir::{Place, Stamp},
        seen::Known,
        state::{Count, Located},
    },
    *,
};

const NOW: u64 = 1_700_000_000;

/// Names, sizes and times of files. Files that are not the same differ in size or time, so that these make inodes.
type Files = Vec<(String, u64, i64)>;

fn files(files: &[(&str, u64, i64)]) -> Files {
    files.iter().map(|&(name, stored, time)| (name.to_owned(), stored, time)).collect()
}

fn seen(names: &[&str]) -> Files {
    names.iter().zip(0..).map(|(name, n)| ((*name).to_owned(), 10, n)).collect()
}

fn located(inode: i64) -> Located<'static> {
    Located { place: Place::Cur, suffix: b":2,", inode: inode.unsigned_abs() }
}

fn scan(state: &State, files: &Files, read: [bool; 2], facts: bool) -> Scan {
    let known = Known::new(state);
    let mut scan = Scan { seen: Seen::new(&known), read, ..Scan::default() };
    for (name, stored, modified_ns) in files {
        let before = scan.seen.files().end;
        scan.seen.insert(&known, name.as_bytes(), located(*stored as i64 * 1000 + *modified_ns));
        if facts && scan.seen.files().end > before {
            scan.seen.set_facts(before, Facts { stored: *stored, modified_ns: *modified_ns });
        }
    }
    scan
}

struct Snapshot {
    state: State,
    changed_ids: usize,
    dirty: bool,
}

impl Snapshot {
    fn new(mut state: State, files: Files, now: u64) -> Self {
        state.news = Default::default();
        let scan = scan(&state, &files, [true; 2], true);
        let changed_ids = meet(&mut state, &scan, now);
        Self { dirty: state.is_dirty(), state, changed_ids }
    }
}

fn state(snapshot: Snapshot) -> State {
    snapshot.state
}

fn shown(snapshot: &Snapshot) -> Vec<(String, String)> {
    let state = &snapshot.state;
    let shown = state.there().into_iter().map(|place| place as usize);
    shown.map(|place| (state.base(place).escape_ascii().to_string(), state.id(place).to_owned())).collect()
}

fn ids(snapshot: &Snapshot) -> Vec<String> {
    shown(snapshot).into_iter().map(|(_, id)| id).collect()
}

#[test]
fn the_order_is_that_of_first_sight() {
    let first = Snapshot::new(State::default(), seen(&["20", "3", "100"]), NOW);
    assert_eq!(ids(&first), ["3", "20", "100"]);
    let second = Snapshot::new(state(first), seen(&["1", "20", "3", "100"]), NOW);
    assert_eq!(ids(&second), ["3", "20", "100", "1"], "what came later stands behind, whatever its name");
    let third = Snapshot::new(state(second), seen(&["1", "20", "3", "100"]), NOW);
    assert!(!third.dirty, "nothing new, nothing to write");
}

#[test]
fn an_id_is_kept_for_seven_days_and_returns_with_its_message() {
    let first = Snapshot::new(State::default(), seen(&["1,S=10", "2"]), NOW);
    let gone = Snapshot::new(state(first), seen(&["2"]), NOW);
    assert!(gone.dirty);
    assert_eq!(ids(&gone), ["2"]);
    // Another message whose name would make the same id gets another one.
    let mut other = seen(&["2"]);
    other.push(("1,S=11".into(), 11, 77));
    let other = Snapshot::new(state(gone), other, NOW + MISSING_KEPT_SECONDS);
    let given = ids(&other)[1].clone();
    assert!(given.len() == 32 && given != "1", "{given}");
    // The first one comes back, with its id and in its place.
    let mut back = seen(&["1,S=10", "2"]);
    back.push(("1,S=11".into(), 11, 77));
    let back = Snapshot::new(state(other), back, NOW + MISSING_KEPT_SECONDS);
    assert_eq!(ids(&back), ["1", "2", &given]);
}

#[test]
fn after_seven_days_a_name_is_forgotten() {
    let first = Snapshot::new(State::default(), seen(&["1"]), NOW);
    let gone = Snapshot::new(state(first), Files::new(), NOW);
    let gone = Snapshot::new(state(gone), Files::new(), NOW + MISSING_KEPT_SECONDS);
    assert_eq!(gone.state.len(), 1);
    let gone = Snapshot::new(state(gone), Files::new(), NOW + MISSING_KEPT_SECONDS + 1);
    assert_eq!((gone.state.len(), gone.dirty), (0, true));
}

#[test]
fn a_clock_that_was_wrong_keeps_no_name_for_ever_beyond_the_bound() {
    let mut state = State::default();
    for n in 0..MISSING_NAMES_MAX + 2 {
        let (name, facts) = (n.to_string(), Facts { stored: 1, modified_ns: 1 });
        let id = UniqueId::new(name.as_bytes()).unwrap();
        state.push(name.as_bytes(), &id, located(1), facts, Count::Unknown);
        state.missing(n, if n < 3 { NOW + 5 } else { NOW + 9 + n as u64 });
    }
    let snapshot = Snapshot::new(state, seen(&["x"]), NOW);
    assert_eq!(snapshot.state.len(), MISSING_NAMES_MAX + 1);
    assert_eq!(snapshot.state.base(0), b"2", "the ones that are missing longest went");
    assert!(snapshot.state.news.renumbered);
    assert_eq!(State::parse(&snapshot.state.to_octets()), Ok(snapshot.state.clone()));
    assert_eq!(ids(&snapshot), ["x"]);
}

#[test]
fn ids_do_not_depend_on_the_state_file() {
    let names = ["390953946", "two words", "1,S=10,W=12", "1700000000.M1P2.host,S=10"];
    let with = Snapshot::new(State::default(), seen(&names), NOW);
    let again = Snapshot::new(State::default(), seen(&names), NOW + 5);
    assert_eq!(shown(&with), shown(&again));
}

#[test]
fn a_name_that_only_got_a_size_is_the_same_message() {
    let first = Snapshot::new(State::default(), seen(&["1", "2"]), NOW);
    let second = Snapshot::new(state(first), seen(&["1,S=10", "2"]), NOW);
    assert_eq!(shown(&second), [("1,S=10".into(), "1".into()), ("2".into(), "2".into())]);
    assert_eq!(second.changed_ids, 0);
    assert_eq!(second.state.len(), 2);
}

#[test]
fn two_messages_whose_names_differ_only_in_sizes_have_two_ids() {
    let mut both = seen(&["1,S=10"]);
    both.push(("1,S=11".into(), 11, 77));
    let snapshot = Snapshot::new(State::default(), both, NOW);
    let given = ids(&snapshot);
    assert!(given.iter().all(|id| id.len() == 32) && given[0] != given[1], "{given:?}");
    // Names alone decide: the same without the state file, and whichever was there first the rest keeps its id.
    let again = Snapshot::new(State::default(), files(&[("1,S=11", 11, 77), ("1,S=10", 10, 0)]), NOW);
    assert_eq!(ids(&again), given);
    let first = Snapshot::new(State::default(), files(&[("1,S=11", 11, 77)]), NOW);
    let second = Snapshot::new(state(first), files(&[("1,S=11", 11, 77), ("1,S=10", 10, 0)]), NOW);
    assert_eq!(ids(&second), ["1", &given[0]]);
}

#[test]
fn a_deleted_messages_id_goes_to_no_other_under_its_name() {
    let first = Snapshot::new(State::default(), files(&[("1", 10, 5)]), NOW);
    let gone = Snapshot::new(state(first), Files::new(), NOW);
    for (stored, time) in [(11, 6), (10, 6), (11, 5)] {
        let other = Snapshot::new(gone.state.clone(), files(&[("1", stored, time)]), NOW);
        let given = ids(&other);
        assert!(given.len() == 1 && given[0] != "1", "{given:?}");
        // It is remembered, and the first one still has its own when it comes back.
        let octets = state(other).to_octets();
        let other = Snapshot::new(State::parse(&octets).unwrap(), files(&[("1", stored, time)]), NOW);
        assert_eq!((ids(&other), other.dirty), (given, false));
        let back = Snapshot::new(state(other), files(&[("1", 10, 5)]), NOW);
        assert_eq!(ids(&back), ["1"]);
    }
}

#[test]
fn a_message_that_was_seen_under_two_names_of_one_stem_is_one() {
    let known = Snapshot::new(State::default(), files(&[("1", 10, 5)]), NOW);
    let both = files(&[("1", 10, 5), ("1,S=10", 10, 5), ("2", 10, 6), ("2,S=10", 10, 6)]);
    let snapshot = Snapshot::new(state(known), both, NOW);
    assert_eq!(ids(&snapshot), ["1", "2"]);
    let later = Snapshot::new(state(snapshot), files(&[("1,S=10", 10, 5), ("2,S=10", 10, 6)]), NOW);
    assert_eq!(ids(&later), ["1", "2"]);
}

#[test]
fn a_file_that_was_written_again_is_counted_again() {
    let mut first = Snapshot::new(State::default(), seen(&["1,S=10,W=12"]), NOW);
    assert_eq!(first.state.count(0), Count::Claimed(12));
    let measured = restante_proto::body::Measured { octets: 14, form: restante_proto::body::Form::Local };
    first.state.measured(0, first.state.facts(0), Count::Measured(measured));
    let same = Snapshot::new(state(first), seen(&["1,S=10,W=12"]), NOW);
    assert_eq!(same.state.count(0), Count::Measured(measured), "what was read stands above what is claimed");
    let changed = |modified_ns, stored| files(&[("1,S=10,W=12", stored, modified_ns)]);
    let touched = Snapshot::new(state(same), changed(1, 10), NOW);
    assert_eq!((touched.state.count(0), touched.dirty), (Count::Claimed(12), true));
    let longer = Snapshot::new(state(touched), changed(1, 11), NOW);
    assert_eq!(longer.state.count(0), Count::Unknown, "S does not tell the truth any more");
}

#[test]
fn messages_that_come_back_under_other_names_are_noticed() {
    let first = Snapshot::new(State::default(), seen(&["1", "2"]), NOW);
    let second = Snapshot::new(state(first), files(&[("uid1", 10, 0), ("uid2", 10, 1)]), NOW);
    assert_eq!(second.changed_ids, 2);
    let third = Snapshot::new(state(second), seen(&["uid1", "uid2"]), NOW);
    assert_eq!(third.changed_ids, 0, "said once");
}

#[test]
fn a_file_that_moves_too_fast_to_be_looked_at_keeps_its_message() {
    let first = Snapshot::new(State::default(), seen(&["1", "2"]), NOW);
    let mut state = state(first);
    let fast = scan(&state, &seen(&["1", "2", "3"]), [true; 2], false);
    assert_eq!(meet(&mut state, &fast, NOW), 0);
    let bases: Vec<_> = state.iter().map(|known| known.base).collect();
    assert_eq!(bases, [b"1", b"2"], "what is known stays, what is not waits for its facts");
}

#[test]
fn a_folder_that_was_not_read_keeps_its_messages() {
    let known = Snapshot::new(State::default(), seen(&["1", "2"]), NOW);
    let mut state = state(known);
    // Only new/ is read, and all that is known is in cur/. One of them is in both.
    let mut news = scan(&state, &files(&[("3", 10, 7), ("1", 10, 0)]), [true, false], true);
    let stamp = Some(Stamp { inode: 5, modified_ns: 6, changed_ns: 7 });
    news.stamps = [stamp, None];
    assert!(!news.seen.misses(&Known::new(&state), [true, false]));
    assert_eq!(meet(&mut state, &news, NOW), 0);
    let known: Vec<_> = state.iter().map(|known| (known.base, known.missing_since)).collect();
    assert_eq!(known, [(&b"1"[..], None), (b"2", None), (b"3", None)]);
    assert_eq!(state.stamps, [stamp, None]);
    let gone = scan(&state, &Files::new(), [false, true], true);
    assert!(
        gone.seen.misses(&Known::new(&state), [false, true]),
        "they should be in the folder that was read"
    );
}

#[test]
fn state_and_snapshot_agree_after_any_changes() {
    use proptest::prelude::*;
    // What a session learns and writes, frame by frame, the next one reads.
    let names = proptest::sample::subsequence(
        vec!["1", "1,S=10", "2", "2,S=10,W=12", "3", "two words", "two words,S=10", "4,x,S=10", "5"],
        0..9,
    );
    proptest!(|(rounds in proptest::collection::vec(names, 1..6))| {
        let mut octets = State::default().to_octets();
        for (names, round) in rounds.into_iter().zip(0..) {
            let files = names.iter().map(|name| ((*name).to_owned(), 10, (name.len() + round % 2) as i64)).collect();
            let mut state = State::parse(&octets).unwrap();
            let scan = scan(&state, &files, [true; 2], true);
            meet(&mut state, &scan, NOW + round as u64);
            if state.news.renumbered {
                octets = state.to_octets();
            } else {
                octets.extend(state.news_to_octets());
            }
            let read = State::parse(&octets);
            prop_assert_eq!(read.as_ref(), Ok(&state));
            prop_assert!(state.there().len() <= names.len());
            for place in state.there() {
                prop_assert!(names.iter().any(|name| name.as_bytes() == state.base(place as usize)));
            }
        }
    });
}
