//! Who may say what when: the states of RFC 1939 §3 as a table, which the session runs on and the documentation is
//! drawn from. No transition stands anywhere else.

use crate::verb::Verb;

/// The state of a session (RFC 1939 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// AUTHORIZATION: nobody is logged in.
    Authorization,
    /// AUTHORIZATION too, behind an accepted USER: the one place where PASS may stand (RFC 1939 §7).
    Named,
    /// TRANSACTION: the maildrop is open and locked.
    Transaction,
    /// UPDATE: QUIT was said; what was marked is removed, and the connection ends.
    Update,
    /// The end without UPDATE: QUIT was said before any login (RFC 1939 §6).
    Closed,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Authorization, Self::Named, Self::Transaction, Self::Update, Self::Closed];

    /// The RFC's name of the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorization | Self::Named => "AUTHORIZATION",
            Self::Transaction => "TRANSACTION",
            Self::Update => "UPDATE",
            Self::Closed => "closed",
        }
    }

    /// The row for this verb in this state; `None` if the verb may not be said now.
    pub fn transition(self, verb: Verb) -> Option<&'static Transition> {
        TRANSITIONS.get(usize::from(PLACES[self as usize][verb as usize]))
    }
}

/// One row of the table: what a verb does in a state, by the kind of answer that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state in which the verb may be said.
    pub from: Phase,
    /// The verb.
    pub verb: Verb,
    /// The state after `+OK`.
    pub ok: Phase,
    /// The state after `-ERR`.
    pub err: Phase,
}

const fn row(from: Phase, verb: Verb, ok: Phase, err: Phase) -> Transition {
    Transition { from, verb, ok, err }
}

/// The table. A verb without a row for a state is refused there, and the state stays.
pub const TRANSITIONS: &[Transition] = {
    use Phase::{Authorization, Closed, Named, Transaction, Update};
    &[
        row(Authorization, Verb::Capa, Authorization, Authorization),
        row(Authorization, Verb::User, Named, Authorization),
        row(Authorization, Verb::Apop, Transaction, Authorization),
        row(Authorization, Verb::Auth, Transaction, Authorization),
        row(Authorization, Verb::Stls, Authorization, Authorization),
        row(Authorization, Verb::Quit, Closed, Closed),
        row(Named, Verb::Capa, Named, Named),
        row(Named, Verb::User, Named, Authorization),
        row(Named, Verb::Pass, Transaction, Authorization),
        row(Named, Verb::Apop, Transaction, Authorization),
        // RFC 5034 §4: a failed AUTH is as good as unsaid, so PASS may still follow USER.
        row(Named, Verb::Auth, Transaction, Named),
        row(Named, Verb::Stls, Authorization, Named),
        row(Named, Verb::Quit, Closed, Closed),
        row(Transaction, Verb::Capa, Transaction, Transaction),
        row(Transaction, Verb::Stat, Transaction, Transaction),
        row(Transaction, Verb::List, Transaction, Transaction),
        row(Transaction, Verb::Retr, Transaction, Transaction),
        row(Transaction, Verb::Dele, Transaction, Transaction),
        row(Transaction, Verb::Noop, Transaction, Transaction),
        row(Transaction, Verb::Rset, Transaction, Transaction),
        row(Transaction, Verb::Top, Transaction, Transaction),
        row(Transaction, Verb::Uidl, Transaction, Transaction),
        row(Transaction, Verb::Quit, Update, Update),
    ]
};

/// Where the row of a state and a verb stands in the table: past its end where there is none. Drawn from the table, so
/// that each command finds its row at once.
const PLACES: [[u8; Verb::ALL.len()]; Phase::ALL.len()] = {
    assert!(TRANSITIONS.len() < u8::MAX as usize);
    let mut places = [[u8::MAX; Verb::ALL.len()]; Phase::ALL.len()];
    let mut at = 0;
    while at < TRANSITIONS.len() {
        let row = &TRANSITIONS[at];
        places[row.from as usize][row.verb as usize] = at as u8;
        at += 1;
    }
    places
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_verb_has_two_rows_in_a_state() {
        for (place, row) in TRANSITIONS.iter().enumerate() {
            assert!(
                TRANSITIONS[..place].iter().all(|other| (other.from, other.verb) != (row.from, row.verb))
            );
        }
    }

    #[test]
    fn every_row_is_found_and_no_other() {
        for (phase, verb) in Phase::ALL.into_iter().flat_map(|phase| Verb::ALL.map(|verb| (phase, verb))) {
            let row = TRANSITIONS.iter().find(|row| row.from == phase && row.verb == verb);
            assert_eq!(phase.transition(verb), row, "{phase:?} {verb:?}");
        }
    }

    #[test]
    fn every_state_but_the_last_ones_can_be_left_by_quit() {
        for phase in Phase::ALL {
            let last = matches!(phase, Phase::Update | Phase::Closed);
            assert_eq!(phase.transition(Verb::Quit).is_some(), !last);
        }
    }
}
