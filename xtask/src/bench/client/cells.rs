//! The cells: which drop is fetched, how far away the server is, and whether anything is new; and what is wanted of our
//! client. How a cell is run is `bench/client.rs`.

use super::options::Options;
use crate::bench::{
    cells::{Drops, Users},
    corpus::{Drop, Names},
    server::Stored,
};

const SMALL_OCTETS: usize = 8 << 10;
const LARGE_OCTETS: usize = 5 << 20;

/// The delay of each way of a server that is far away, in milliseconds: a round trip takes twice as long.
pub(super) const DELAY_MS: u32 = 25;

/// What is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// All of the drop, by a client that never saw it.
    All,
    /// Nothing: the client has everything, and finds out.
    Nothing,
}

#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) name: &'static str,
    pub(super) users: Users,
    pub(super) what: What,
    pub(super) far: bool,
    /// A cell whose work is a part of this one's, or of what comes before it: who takes too long for it takes too long
    /// for this one.
    pub(super) includes: Option<&'static str>,
}

impl Cell {
    pub(super) fn about(&self) -> String {
        let drop = &self.users.drop;
        let octets = match drop.octets.0 {
            LARGE_OCTETS => "5 MiB",
            _ => "8 KiB",
        };
        let mail = match self.what {
            What::All => format!("{} × {octets}", drop.messages),
            What::Nothing => format!("nothing new, {} on the server", drop.messages),
        };
        let where_ = if self.far { "RTT 50 ms" } else { "loopback" };
        format!("{mail}, {where_}")
    }

    pub(super) const fn messages(&self) -> u32 {
        self.users.drop.messages
    }
}

fn users(name: &'static str, messages: u32, octets: usize) -> Users {
    let drop = Drop { messages, octets: (octets, octets), names: Names::Sized, linked: None };
    Users { name, count: 1, drop, stored: Stored::Cheap, compared: false, drops: Drops::Each }
}

/// The drops that there are.
pub(super) fn all_users(options: &Options) -> [Users; 3] {
    [
        users("few", options.few, SMALL_OCTETS),
        users("many", options.many, SMALL_OCTETS),
        users("large", options.large, LARGE_OCTETS),
    ]
}

/// The cells that are asked for.
pub(super) fn cells(options: &Options) -> Vec<Cell> {
    let [few, many, large] = all_users(options);
    let cell =
        |name, users: &Users, what, far, includes| Cell { name, users: users.clone(), what, far, includes };
    let mut cells = vec![
        cell("few-near", &few, What::All, false, None),
        cell("many-near", &many, What::All, false, Some("few-near")),
        cell("few-far", &few, What::All, true, None),
        cell("many-far", &many, What::All, true, Some("few-far")),
        cell("large-far", &large, What::All, true, None),
        cell("again-many-near", &many, What::Nothing, false, Some("many-near")),
        cell("again-many-far", &many, What::Nothing, true, Some("many-near")),
    ];
    cells.retain(|cell| options.takes(cell.name));
    cells
}

/// What a goal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// From the start of the client to its end, in seconds.
    Wall,
    /// CPU of the client for a message, in milliseconds.
    CpuMessage,
    /// The most memory of a process of the client at a time, in MiB.
    Memory,
}

impl Number {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Wall => "s",
            Self::CpuMessage => "CPU-ms / message",
            Self::Memory => "MiB",
        }
    }
}

/// What is wanted of our client in a cell, with the default sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Goal {
    pub(super) cell: &'static str,
    pub(super) number: Number,
    pub(super) most: f64,
}

const fn goal(cell: &'static str, number: Number, most: f64) -> Goal {
    Goal { cell, number, most }
}

pub(super) const GOALS: &[Goal] = &[
    goal("few-far", Number::Wall, 1.0),
    goal("many-far", Number::Wall, 5.0),
    goal("large-far", Number::Wall, 2.5),
    goal("few-near", Number::Wall, 0.7),
    goal("many-near", Number::Wall, 4.0),
    goal("again-many-near", Number::Wall, 0.3),
    goal("again-many-far", Number::Wall, 0.5),
    goal("many-near", Number::CpuMessage, 0.15),
    goal("large-far", Number::Memory, 12.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_and_parts_are_those_of_cells() {
        let options = Options::parse(&[]).ok().flatten().expect("no arguments are right");
        let cells = cells(&options);
        let found = |name: &str| cells.iter().filter(|cell| cell.name == name).count();
        for goal in GOALS {
            assert_eq!(found(goal.cell), 1, "{}", goal.cell);
        }
        for cell in &cells {
            // It comes before, or nothing would be known of it.
            let at = |name: &str| cells.iter().position(|cell| cell.name == name);
            assert!(cell.includes.is_none_or(|part| at(part).is_some() && at(part) < at(cell.name)));
            assert_eq!(found(cell.name), 1, "{}", cell.name);
        }
    }

    #[test]
    fn a_cell_says_what_it_is() {
        let options = Options::parse(&[]).ok().flatten().expect("no arguments are right");
        let about: Vec<String> = cells(&options).iter().map(Cell::about).collect();
        assert_eq!(about[0], "2000 × 8 KiB, loopback");
        assert_eq!(about[6], "nothing new, 10000 on the server, RTT 50 ms");
    }
}
