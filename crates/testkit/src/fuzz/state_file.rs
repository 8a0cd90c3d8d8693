//! The state file of a Maildir. The checksum is put right first, so that what stands under it is reached; and one bit is
//! turned afterwards, which it must notice.
//!
//! The first line is the place of the bit; then comes a state file without its checksum.

use std::collections::BTreeSet;

use restante_store::maildir::state::{State, StateError};

use super::{number, split_how};

pub(super) fn run(data: &[u8]) {
    // As it is.
    if let Ok(state) = State::parse(data) {
        comes_back(&state);
    }
    let (how, body) = split_how(data);
    let sealed = State::seal(body.to_vec());
    match State::parse(&sealed) {
        Ok(state) => {
            // A record takes 19 octets at least.
            assert!(state.records.len() <= body.len() / 19);
            is_sound(&state);
            comes_back(&state);
            turned_bit(sealed, how);
        }
        Err(error) => {
            assert_ne!(error, StateError::Checksum, "the checksum is right");
            let ours = body.starts_with(b"restante-index 1\n");
            assert_eq!(matches!(error, StateError::Head | StateError::Version), !ours, "{error}");
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
    let ids: BTreeSet<_> = state.records.iter().map(|record| &record.id).collect();
    assert_eq!(ids.len(), state.records.len(), "no unique-id stands twice");
    let there = || state.records.iter().filter(|record| record.missing_since.is_none());
    let bases: BTreeSet<_> = there().map(|record| &record.base).collect();
    assert_eq!(bases.len(), there().count(), "no two messages have one name");
    for record in &state.records {
        let base = &record.base;
        assert!(matches!(base.len(), 1..=255) && base[0] != b'.');
        assert!(!base.iter().any(|octet| matches!(octet, 0 | b'/' | b':')), "a part of a file's name");
    }
}

fn turned_bit(mut sealed: Vec<u8>, how: &[u8]) {
    let place = usize::from(number(how, 0)) << 8 | usize::from(number(how, 1));
    let place = place % sealed.len();
    sealed[place] ^= 1 << (number(how, 2) % 8);
    assert!(State::parse(&sealed).is_err(), "a bit of octet {place} was turned");
}
