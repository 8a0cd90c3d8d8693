//! Hot loops as programs: what the files under `benches/` share, so that `cargo xtask instructions` can count what a
//! loop costs.
//!
//! A program without arguments lists its loops; with a name and a number it prepares the loop and runs that many rounds
//! of it. The difference of two runs with different numbers is the loop alone: start and preparation fall out.
#![allow(clippy::print_stdout, clippy::print_stderr)] // a program that speaks to another one

use std::process::ExitCode;

/// A loop that is worth counting.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// Its name, of one word.
    pub name: &'static str,
    /// What is counted in it, in the singular.
    pub unit: &'static str,
    /// How many of these a round has.
    pub units: u64,
    /// Makes what the rounds work on.
    pub prepare: fn() -> Round,
}

/// One round. All of them do the same work.
pub type Round = Box<dyn FnMut()>;

/// What `main` of a file under `benches/` does.
pub fn main(loops: &[Loop]) -> ExitCode {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [] => {
            for Loop { name, unit, units, .. } in loops {
                println!("{name} {unit} {units}");
            }
            ExitCode::SUCCESS
        }
        [name, rounds] => {
            let found = loops.iter().find(|known| known.name == name);
            let (Some(found), Ok(rounds)) = (found, rounds.parse::<u32>()) else {
                eprintln!("there is no loop «{name}», or «{rounds}» is no number");
                return ExitCode::from(2);
            };
            let mut round = (found.prepare)();
            (0..rounds).for_each(|_| round());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: [NAME ROUNDS]; see `cargo xtask instructions`");
            ExitCode::from(2)
        }
    }
}
