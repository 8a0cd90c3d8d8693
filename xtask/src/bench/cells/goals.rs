//! What is wanted of our own server, cell by cell, with what a bare server that does nothing else was measured to need
//! on the same kind of machine: two processors, ext4, loopback. They hold for the default sizes.

/// What is wanted of a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) struct Goal {
    cell: &'static str,
    /// In the unit of the cell.
    pub(in crate::bench) most: f64,
    /// What the bare minimum needs, in the same unit; with a word where it was estimated.
    pub(in crate::bench) floor: &'static str,
}

/// How many times longer than alone the p99 of small sessions may be while others work.
pub(in crate::bench) const CALM_RATIO_MAX: f64 = 3.0;

const fn goal(cell: &'static str, most: f64, floor: &'static str) -> Goal {
    Goal { cell, most, floor }
}

const GOALS: &[Goal] = &[
    goal("session-plain-0", 0.10, "0.06"),
    goal("session-plain-5", 0.17, "0.11"),
    goal("session-tls-0", 0.22, "0.14–0.19"),
    goal("session-tls-5", 0.32, "0.25"),
    goal("login-sha512", 1.8, "1.66"),
    goal("login-again", 0.15, "0.06"),
    goal("retr-50k-plain", 0.40, "0.29–0.39"),
    goal("retr-50k-plain-pipelined-16", 0.40, "0.29–0.39"),
    goal("retr-50k-tls", 0.70, "0.52–0.63"),
    goal("retr-50k-tls-pipelined-16", 0.70, "0.52–0.63"),
    goal("retr-5m-plain", 0.45, "0.42"),
    goal("retr-5m-tls", 0.65, "0.60"),
    goal("list-small-cold-bare", 100.0, "70–80"),
    goal("list-large-warm", 10.0, "4 (estimate)"),
    goal("list-large-new", 12.0, "5 (estimate)"),
    goal("list-large-flagged", 60.0, ""),
    goal("list-large-cold", 150.0, "80 (estimate)"),
    goal("list-huge-warm", 100.0, "40 (estimate)"),
    goal("delete", 3.0, "0.5"),
    goal("delete-quit", 60.0, "50"),
    goal("idle-plain", 12.0, "9.5"),
    goal("idle-tls", 28.0, "19"),
    goal("many-idle-plain", 12.0, "9.5"),
    goal("many-idle-tls", 28.0, "19"),
];

/// What is wanted of the cell of this name, if anything is.
pub(in crate::bench) fn of(cell: &str) -> Option<&'static Goal> {
    GOALS.iter().find(|goal| goal.cell == cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{cells, options::Options};

    #[test]
    fn each_goal_is_that_of_a_cell() {
        let options = Options::parse(&[]).ok().flatten().expect("no arguments are right");
        let cells = cells::cells(&options);
        let further = cells.iter().flat_map(|cell| cell.further()).map(|(cell, _)| cell.name);
        let names: Vec<String> = cells.iter().map(|cell| cell.name.clone()).chain(further).collect();
        for goal in GOALS {
            assert!(names.iter().any(|name| name == goal.cell), "{}", goal.cell);
        }
        let mut once = names.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), names.len(), "names of cells differ");
    }
}
