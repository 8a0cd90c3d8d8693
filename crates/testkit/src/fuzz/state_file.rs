//! The state file of a Maildir. The checksums are put right first, so that what stands under them is reached; and one bit
//! is turned afterwards, which they must notice.
//!
//! The first line is the place of the bit; then come frames of a state file without their heads, with the length of the
//! first one in two octets before them.

use std::collections::BTreeSet;

use restante_store::maildir::state::{State, StateError};

use super::{number, split_how};

pub(super) fn run(data: &[u8]) {
    // As it is.
    if let Ok(state) = State::parse(data) {
        comes_back(&state);
    }
    let (how, body) = split_how(data);
    let Some((octets, frames)) = body.split_first_chunk::<2>() else { return };
    let (first, second) = frames.split_at(usize::from(u16::from_be_bytes(*octets)).min(frames.len()));
    let both = [first, second];
    let sealed = State::seal(if second.is_empty() { &both[..1] } else { &both });
    match State::parse(&sealed) {
        Ok(state) => {
            // A record takes 48 octets at least.
            assert!(state.len() <= body.len() / 48);
            is_sound(&state);
            comes_back(&state);
            turned_bit(sealed, how);
        }
        Err(error) => {
            let empty = first.is_empty() || second.is_empty();
            assert!(empty || error != StateError::Checksum, "the checksum is right");
            let head = matches!(error, StateError::Head | StateError::Version | StateError::Old);
            assert!(!head, "{error}");
        }
    }
}

fn comes_back(state: &State) {
    let octets = state.to_octets();
    let again = State::parse(&octets);
    assert_eq!(again.as_ref(), Ok(state));
    assert_eq!(again.unwrap().to_octets(), octets);
}

fn is_sound(state: &State) {
    let ids: BTreeSet<_> = state.iter().map(|known| known.id).collect();
    assert_eq!(ids.len(), state.len(), "no unique-id stands twice");
    let there = || state.iter().filter(|known| known.missing_since.is_none());
    let bases: BTreeSet<_> = there().map(|known| known.base).collect();
    assert_eq!(bases.len(), there().count(), "no two messages have one name");
    for known in state.iter() {
        let (base, id) = (known.base, known.id.as_bytes());
        assert!(matches!(base.len(), 1..=255) && base[0] != b'.');
        assert!(!base.iter().any(|octet| matches!(octet, 0 | b'/' | b':')), "a part of a file's name");
        assert!(restante_proto::UniqueId::new(id).is_some(), "a legal unique-id");
    }
}

fn turned_bit(mut sealed: Vec<u8>, how: &[u8]) {
    let place = usize::from(number(how, 0)) << 8 | usize::from(number(how, 1));
    let place = place % sealed.len();
    sealed[place] ^= 1 << (number(how, 2) % 8);
    assert!(State::parse(&sealed).is_err(), "a bit of octet {place} was turned");
}
