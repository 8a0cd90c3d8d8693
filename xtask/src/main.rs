//! The chores of the house, as `cargo xtask CHORE`: one file per chore, and next to no dependencies.
//!
//! A chore runs only programs that a person could run by hand, and prints each command line before it runs it. What
//! the chores check is decided elsewhere: in the tests, in the workspace's lints and in `deny.toml`.
#![allow(clippy::print_stdout)] // a chore speaks to a terminal

mod audit;
mod bench;
mod debian;
mod fuzz;
mod instructions;
mod packages;
mod pictures;
mod run;
mod test;

use std::process::ExitCode;

/// One chore: its name, what it does in a line, and the function that does it.
struct Chore {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), run::Failure>,
}

/// Every chore there is: a new one is a file and a line here.
const CHORES: &[Chore] = &[
    Chore { name: "test", about: "sets this machine up and runs all tests", run: test::run },
    Chore { name: "audit", about: "checks licences, sources and banned crates", run: audit::run },
    Chore { name: "bench", about: "measures our server, or our client, beside others", run: bench::run },
    Chore { name: "instructions", about: "counts what the hot loops cost", run: instructions::run },
    Chore { name: "pictures", about: "draws the pictures of the documentation anew", run: pictures::run },
    Chore { name: "fuzz", about: "looks for inputs that break something, for a while", run: fuzz::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "-h" | "--help" | "help") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else {
        eprintln!("xtask: there is no chore «{name}»\n");
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    match (chore.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask {name}: {failure}");
            failure.status()
        }
    }
}

fn usage() -> String {
    let mut text =
        String::from("Usage: cargo xtask CHORE [ARGUMENT …]\n\nChores (each explains itself with --help):\n");
    for chore in CHORES {
        text.push_str(&format!("  {:<12} {}\n", chore.name, chore.about));
    }
    text
}
