//! The states of POP3 as Restante obeys them, drawn from the table that sessions run on ([`TRANSITIONS`]): as Mermaid for
//! `ARCHITECTURE.md`, and as SVG for `docs/`. Nothing of the protocol is written here a second time; a test compares both
//! files with what the table says.

mod svg;

use std::fmt::{self, Write};

use restante_proto::{
    phase::{Phase, TRANSITIONS},
    verb::Verb,
};

pub use svg::svg;

/// Which answer a verb gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Answer {
    /// `+OK` or `-ERR`, which lead to the same state.
    Any,
    Ok,
    Err,
}

/// Verbs that lead from one state to another, or leave it as it is, after one kind of answer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Arrow {
    from: Phase,
    to: Phase,
    answer: Answer,
    verbs: Vec<Verb>,
}

impl Arrow {
    fn stays(&self) -> bool {
        self.from == self.to
    }
}

impl fmt::Display for Arrow {
    /// `APOP, AUTH +OK`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, verb) in self.verbs.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{}", verb.word())?;
        }
        f.write_str(match self.answer {
            Answer::Any => "",
            Answer::Ok => " +OK",
            Answer::Err => " -ERR",
        })
    }
}

/// The table as arrows: verbs that do the same are one.
fn arrows() -> Vec<Arrow> {
    let mut arrows: Vec<Arrow> = Vec::new();
    let mut add = |from, to, answer, verb| {
        let same = |arrow: &&mut Arrow| (arrow.from, arrow.to, arrow.answer) == (from, to, answer);
        match arrows.iter_mut().find(same) {
            Some(arrow) => arrow.verbs.push(verb),
            None => arrows.push(Arrow { from, to, answer, verbs: vec![verb] }),
        }
    };
    for row in TRANSITIONS {
        if row.ok == row.err {
            add(row.from, row.ok, Answer::Any, row.verb);
        } else {
            add(row.from, row.ok, Answer::Ok, row.verb);
            add(row.from, row.err, Answer::Err, row.verb);
        }
    }
    arrows.sort_by_key(|arrow| (arrow.from, arrow.to, arrow.answer));
    arrows
}

/// What stands in the box of a state besides its name: the verbs that leave it as it is.
fn stays(phase: Phase) -> Vec<String> {
    let stay = arrows().into_iter().filter(|arrow| arrow.from == phase && arrow.stays());
    stay.map(|arrow| format!("stays on {arrow}")).collect()
}

/// What a box is called: the RFC's name of the state, or, where two states share one, what tells them apart.
const fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Authorization => "nobody named",
        Phase::Named => "user named",
        Phase::Transaction | Phase::Update | Phase::Closed => phase.name(),
    }
}

/// Whether a state is one of two that share the RFC's name.
fn is_inner(phase: Phase) -> bool {
    Phase::ALL.iter().any(|other| *other != phase && other.name() == phase.name())
}

/// Whether a session ends in a state: no verb may be said.
fn is_last(phase: Phase) -> bool {
    TRANSITIONS.iter().all(|row| row.from != phase)
}

/// The diagram as Mermaid, without a fence.
///
/// ```
/// let mermaid = restante_diagram::states::mermaid();
/// assert!(mermaid.starts_with("stateDiagram-v2\n"));
/// assert!(mermaid.contains("Transaction --> Update : QUIT\n"));
/// ```
pub fn mermaid() -> String {
    let mut text = String::from("stateDiagram-v2\n");
    let mut line = |indent: usize, line: fmt::Arguments<'_>| {
        // Into a String nothing fails.
        let _written = writeln!(text, "{:indent$}{line}", "", indent = 4 * indent);
    };
    // Which indent the arrows within a state have, and all others.
    let (outer, inner) = (1, 2);
    let mut group = None;
    for phase in Phase::ALL {
        let name = phase.name();
        let indent = if is_inner(phase) { inner } else { outer };
        if is_inner(phase) && group != Some(name) {
            line(outer, format_args!("state {name} {{"));
            group = Some(name);
        }
        line(indent, format_args!("state \"{}\" as {phase:?}", title(phase)));
        if phase == Phase::Authorization {
            line(indent, format_args!("[*] --> {phase:?}"));
        }
        for stay in stays(phase) {
            line(indent, format_args!("{phase:?} : {stay}"));
        }
        let next = Phase::ALL.iter().skip_while(|other| **other != phase).nth(1);
        if is_inner(phase) && next.is_none_or(|next| next.name() != name) {
            for arrow in arrows().iter().filter(|arrow| arrow.from.name() == name && arrow.to.name() == name)
            {
                if !arrow.stays() {
                    line(inner, format_args!("{:?} --> {:?} : {arrow}", arrow.from, arrow.to));
                }
            }
            line(outer, format_args!("}}"));
        }
    }
    for arrow in arrows().iter().filter(|arrow| arrow.from.name() != arrow.to.name()) {
        line(outer, format_args!("{:?} --> {:?} : {arrow}", arrow.from, arrow.to));
    }
    for phase in Phase::ALL.into_iter().filter(|phase| is_last(*phase)) {
        line(outer, format_args!("{phase:?} --> [*]"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_in_one_arrow_for_each_answer() {
        for row in TRANSITIONS {
            for (answer, to) in [(Answer::Ok, row.ok), (Answer::Err, row.err)] {
                let holds = |arrow: &&Arrow| {
                    arrow.from == row.from
                        && arrow.verbs.contains(&row.verb)
                        && [answer, Answer::Any].contains(&arrow.answer)
                };
                let holding: Vec<Arrow> = arrows().iter().filter(holds).cloned().collect();
                assert!(holding.len() == 1 && holding[0].to == to, "{row:?}: {holding:?}");
            }
        }
        let drawn: usize = arrows().iter().map(|arrow| arrow.verbs.len()).sum();
        let both: usize = TRANSITIONS.iter().map(|row| if row.ok == row.err { 1 } else { 2 }).sum();
        assert_eq!(drawn, both);
    }

    #[test]
    fn arrows_say_their_verbs_and_the_answer() {
        let told: Vec<String> = arrows()
            .iter()
            .filter(|arrow| arrow.from == Phase::Named)
            .map(|arrow| format!("{:?}: {arrow}", arrow.to))
            .collect();
        for one in ["Authorization: STLS +OK", "Transaction: PASS, APOP, AUTH +OK", "Closed: QUIT"] {
            assert!(told.iter().any(|line| line == one), "{one} is not in {told:?}");
        }
    }

    #[test]
    fn mermaid_has_every_arrow() {
        let text = mermaid();
        for arrow in arrows() {
            let line = if arrow.stays() {
                format!("{:?} : stays on {arrow}\n", arrow.from)
            } else {
                format!("{:?} --> {:?} : {arrow}\n", arrow.from, arrow.to)
            };
            assert_eq!(text.matches(&line).count(), 1, "{line}");
        }
    }
}
