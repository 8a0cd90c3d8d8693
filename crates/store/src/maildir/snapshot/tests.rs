//! The snapshot's law, without files.

use super::{super::dir::Place, *};

const NOW: u64 = 1_700_000_000;

fn found(stored: u64, modified_ns: i64) -> Found {
    Found {
        // Each test's files differ in their times, so that these make inodes.
        located: Located { place: Place::Cur, suffix: (*b":2,").into(), inode: modified_ns.unsigned_abs() },
        facts: Some(Facts { stored, modified_ns }),
    }
}

fn files(files: &[(&str, u64, i64)]) -> Seen {
    files.iter().map(|&(name, stored, time)| (name.as_bytes().into(), found(stored, time))).collect()
}

fn seen(names: &[&str]) -> Seen {
    names.iter().zip(0..).map(|(name, n)| (name.as_bytes().into(), found(10, n))).collect()
}

fn state(snapshot: Snapshot) -> State {
    State { records: snapshot.records }
}

fn shown(snapshot: &Snapshot) -> Vec<(String, String)> {
    let records = snapshot.shown().into_iter().map(|place| &snapshot.records[place as usize]);
    records.map(|record| (record.base.escape_ascii().to_string(), record.id.to_string())).collect()
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
    other.insert((*b"1,S=11").into(), found(11, 77));
    let other = Snapshot::new(state(gone), other, NOW + MISSING_KEPT_SECONDS);
    let given = ids(&other)[1].clone();
    assert!(given.len() == 32 && given != "1", "{given}");
    // The first one comes back, with its id and in its place.
    let mut back = seen(&["1,S=10", "2"]);
    back.insert((*b"1,S=11").into(), found(11, 77));
    let back = Snapshot::new(state(other), back, NOW + MISSING_KEPT_SECONDS);
    assert_eq!(ids(&back), ["1", "2", &given]);
}

#[test]
fn after_seven_days_a_name_is_forgotten() {
    let first = Snapshot::new(State::default(), seen(&["1"]), NOW);
    let gone = Snapshot::new(state(first), Seen::new(), NOW);
    let gone = Snapshot::new(state(gone), Seen::new(), NOW + MISSING_KEPT_SECONDS);
    assert_eq!(gone.records.len(), 1);
    let gone = Snapshot::new(state(gone), Seen::new(), NOW + MISSING_KEPT_SECONDS + 1);
    assert_eq!((gone.records.len(), gone.dirty), (0, true));
}

#[test]
fn a_clock_that_was_wrong_keeps_no_name_for_ever_beyond_the_bound() {
    let record = |n: usize| Record {
        base: format!("{n}").into_bytes().into(),
        id: UniqueId::new(format!("{n}").as_bytes()).unwrap(),
        stored: 1,
        modified_ns: 1,
        count: Count::Unknown,
        missing_since: Some(if n < 3 { NOW + 5 } else { NOW + 9 + n as u64 }),
    };
    let records = (0..MISSING_NAMES_MAX + 2).map(record).collect();
    let snapshot = Snapshot::new(State { records }, seen(&["x"]), NOW);
    assert_eq!(snapshot.records.len(), MISSING_NAMES_MAX + 1);
    assert_eq!(snapshot.located.len(), snapshot.records.len());
    assert_eq!(&*snapshot.records[0].base, b"2", "the ones that are missing longest went");
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
    let (fields, bases) = (second.records.len(), second.records[0].missing_since);
    assert_eq!((fields, bases), (2, None));
}

#[test]
fn two_messages_whose_names_differ_only_in_sizes_have_two_ids() {
    let mut both = seen(&["1,S=10"]);
    both.insert((*b"1,S=11").into(), found(11, 77));
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
    let gone = Snapshot::new(state(first), Seen::new(), NOW);
    for (stored, time) in [(11, 6), (10, 6), (11, 5)] {
        let gone = State { records: gone.records.clone() };
        let other = Snapshot::new(gone, files(&[("1", stored, time)]), NOW);
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
    assert_eq!(first.records[0].count, Count::Claimed(12));
    let measured = restante_proto::body::Measured { octets: 14, form: restante_proto::body::Form::Local };
    first.records[0].count = Count::Measured(measured);
    let same = Snapshot::new(state(first), seen(&["1,S=10,W=12"]), NOW);
    assert_eq!(
        same.records[0].count,
        Count::Measured(measured),
        "what was read stands above what is claimed"
    );
    let changed = |modified_ns, stored| Seen::from([((*b"1,S=10,W=12").into(), found(stored, modified_ns))]);
    let touched = Snapshot::new(state(same), changed(1, 10), NOW);
    assert_eq!((touched.records[0].count, touched.dirty), (Count::Claimed(12), true));
    let longer = Snapshot::new(state(touched), changed(1, 11), NOW);
    assert_eq!(longer.records[0].count, Count::Unknown, "S does not tell the truth any more");
}

#[test]
fn messages_that_come_back_under_other_names_are_noticed() {
    let first = Snapshot::new(State::default(), seen(&["1", "2"]), NOW);
    let mut moved = Seen::new();
    moved.insert((*b"uid1").into(), found(10, 0));
    moved.insert((*b"uid2").into(), found(10, 1));
    let second = Snapshot::new(state(first), moved, NOW);
    assert_eq!(second.changed_ids, 2);
    let third = Snapshot::new(state(second), seen(&["uid1", "uid2"]), NOW);
    assert_eq!(third.changed_ids, 0, "said once");
}

#[test]
fn a_file_that_moves_too_fast_to_be_looked_at_keeps_its_message() {
    let first = Snapshot::new(State::default(), seen(&["1", "2"]), NOW);
    let mut fast = seen(&["1", "2", "3"]);
    fast.values_mut().for_each(|found| found.facts = None);
    let second = Snapshot::new(state(first), fast, NOW);
    assert_eq!(ids(&second), ["1", "2"], "what is known stays, what is not waits for its facts");
}
