//! State files that are whole, damaged, cut, and made up.

use restante_proto::{
    UniqueId,
    body::{Form, Measured},
};

use super::{
    super::{
        dir::Place,
        state::{Count, Facts, Located},
    },
    *,
};

fn sample() -> State {
    let measured = |octets, form| Count::Measured(Measured { octets, form });
    let counts = [
        Count::Unknown,
        Count::Claimed(12),
        measured(13, Form::Wire),
        measured(14, Form::Crlf),
        measured(u64::MAX, Form::Local),
        Count::Encoded(Encoding::MailCrypt),
    ];
    let mut state = State::default();
    for (count, n) in counts.into_iter().zip(0..) {
        let odd = n % 2 == 1;
        let base = if odd { format!("odd name {n}\n,S=5") } else { format!("{n},S=5") };
        let id = name::unique_id(base.as_bytes(), |_| false);
        let (place, suffix) = if odd { (Place::Cur, &b":2,S"[..]) } else { (Place::New, &b""[..]) };
        let located = Located { place, suffix, inode: n };
        state.push(base.as_bytes(), &id, located, Facts { stored: n, modified_ns: -5 }, count);
        if n == 3 {
            state.missing(3, 1_700_000_000);
        }
    }
    state.set_stamps([Some(Stamp { inode: 1, modified_ns: -2, changed_ns: 3 }), None]);
    state
}

/// The body of the first frame.
fn body(octets: &[u8]) -> &[u8] {
    &octets[HEAD.len() + FRAME_HEAD_OCTETS..]
}

#[test]
fn what_is_written_is_read() {
    let state = sample();
    let octets = state.to_octets();
    let read = State::parse(&octets).unwrap();
    assert_eq!(read, state);
    assert_eq!(read.located(1).unwrap().suffix, b":2,S");
    assert!(!read.is_dirty() && state.is_dirty());
    assert_eq!(State::seal(&[body(&octets)]), octets);
}

#[test]
fn what_is_appended_is_read_with_what_was_there() {
    let mut state = sample();
    let mut octets = state.to_octets();
    state.news = News::default();
    // A name that grows, one that is back, one that is new.
    state.relocate(0, b"0,S=5,W=6", Located { place: Place::Cur, suffix: b":2,FS", inode: 77 });
    state.relocate(3, b"odd name 3\n,S=5", Located { place: Place::Cur, suffix: b"", inode: 78 });
    let id = UniqueId::new(b"new").unwrap();
    let located = Located { place: Place::New, suffix: b"", inode: 79 };
    state.push(b"new", &id, located, Facts { stored: 1, modified_ns: 1 }, Count::Unknown);
    state.set_stamps([None, Some(Stamp { inode: 9, modified_ns: 8, changed_ns: 7 })]);
    octets.extend(state.news_to_octets());
    let read = State::parse(&octets).unwrap();
    assert_eq!(read, state);
    assert_eq!(
        (read.base(0), read.id(0), read.file_name(0)),
        (&b"0,S=5,W=6"[..], "0", &b"0,S=5,W=6:2,FS"[..])
    );
    assert!(read.waste > 0);
    let mut compact = read.clone();
    compact.compact();
    assert_eq!((&compact, compact.waste), (&read, 0));
    assert!(compact.text.len() < read.text.len());
}

#[test]
fn any_damage_is_noticed() {
    let octets = sample().to_octets();
    for at in 0..octets.len() {
        for bit in [1, 0x80] {
            let mut damaged = octets.clone();
            damaged[at] ^= bit;
            assert!(State::parse(&damaged).is_err(), "octet {at}");
        }
        assert!(State::parse(&octets[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(State::parse(&[&octets[..], b"x"].concat()), Err(StateError::Trailing));
    for (head, error) in [
        (&b"restante-index 3\n"[..], StateError::Version),
        (b"restante-index 20\nwhatever", StateError::Version),
        (b"restante-index 1\nwhatever", StateError::Old),
        (b"restante-index 2", StateError::Head),
        (b"restante-index 2\n", StateError::Checksum),
        (b"restante-index \n", StateError::Head),
        (b"restante-index x\n", StateError::Head),
    ] {
        assert_eq!(State::parse(head), Err(error));
    }
    assert_eq!(State::parse(b""), Err(StateError::Head));
}

#[test]
fn damage_under_a_right_checksum_is_an_error_and_no_panic() {
    let octets = sample().to_octets();
    let body = body(&octets);
    for at in 0..body.len() {
        for value in [0, 1, 0x3a, 0x7f, 0xff] {
            let mut changed = body.to_vec();
            changed[at] = value;
            // Whatever comes out, what it says can be written and read again.
            if let Ok(state) = State::parse(&State::seal(&[&changed])) {
                assert_eq!(State::parse(&state.to_octets()), Ok(state));
            }
        }
        assert!(State::parse(&State::seal(&[&body[..at]])).is_err(), "cut at {at}");
    }
    // The same frame again replaces each record by itself.
    assert_eq!(State::parse(&State::seal(&[body, body])), Ok(sample()));
    assert_eq!(State::parse(&State::seal(&[])), Err(StateError::Checksum));
    assert_eq!(State::parse(&State::seal(&[b""])), Err(StateError::Checksum));
    assert_eq!(State::parse(&State::seal(&[body, b"x"])), Err(StateError::Frame(1)));
}

#[test]
fn a_count_that_lies_reserves_nothing() {
    let mut empty = body(&State::default().to_octets()).to_vec();
    let count = empty.len() - 4;
    empty[count..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(State::parse(&State::seal(&[&empty])), Err(StateError::Frame(0)));
}

#[test]
fn names_and_ids_that_repeat_are_damage() {
    let (state, facts) = (sample(), Facts { stored: 1, modified_ns: 1 });
    let located = Located { place: Place::New, suffix: b"", inode: 9 };
    let mut twin = state.clone();
    twin.push(b"another", &UniqueId::new(b"0").unwrap(), located, facts, Count::Unknown);
    assert_eq!(State::parse(&twin.to_octets()), Err(StateError::Repeated(6)));
    // An id that no name tells must stand by itself.
    let octets = body(&state.to_octets()).to_vec();
    let at = octets.windows(9).position(|window| window[..5] == *b"0,S=5").unwrap();
    let mut shorter = octets;
    shorter[at] = b'x';
    assert!(State::parse(&State::seal(&[&shorter])).is_ok(), "x,S=5 has the id x");
    shorter[at + 2] = b'x';
    assert_eq!(State::parse(&State::seal(&[&shorter])), Err(StateError::Record(0)), "x,x=5 has not");
    let mut twin = state.clone();
    twin.push(b"0,S=5", &UniqueId::new(b"another").unwrap(), located, facts, Count::Unknown);
    assert_eq!(State::parse(&twin.to_octets()), Err(StateError::Repeated(6)));
    // The name of a message that is missing may be another one's by now.
    let mut heir = state;
    heir.push(b"odd name 3\n,S=5", &UniqueId::new(b"another").unwrap(), located, facts, Count::Unknown);
    assert_eq!(State::parse(&heir.to_octets()), Ok(heir));
}
