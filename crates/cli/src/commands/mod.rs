//! The subcommands. One subcommand is one file here, one `mod` line, one line in the list, and one file of tests of
//! the same name under `tests/`. Help, completions and man pages are renderings of the list.
//!
//! A file has `Args` (clap, with examples in `after_help`) and `run(Args) -> Result<(), Failure>`.

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::failure::{Failure, Kind};

mod account;
mod admin;
mod bench;
mod completions;
mod config;
mod deliver;
mod diagram;
mod doctor;
mod fetch;
mod mail;
mod man;
mod play;
mod serve;
mod user;

/// The list. Variant = module; the order is that of the help.
macro_rules! subcommands {
    ($($variant:ident = $module:ident;)*) => {
        /// What to do.
        #[derive(Subcommand)]
        enum Command {
            $($variant($module::Args),)*
        }

        impl Command {
            fn run(self) -> Result<(), Failure> {
                match self {
                    $(Self::$variant(args) => $module::run(args),)*
                }
            }
        }
    };
}

subcommands! {
    Serve = serve;
    Admin = admin;
    User = user;
    Deliver = deliver;
    Fetch = fetch;
    Account = account;
    Mail = mail;
    Play = play;
    Diagram = diagram;
    Doctor = doctor;
    Bench = bench;
    Config = config;
    Completions = completions;
    Man = man;
}

/// POP3 server, mail client that delivers each message exactly once, and tools that draw, play and load sessions
#[derive(Parser)]
#[command(name = "restante", version, max_term_width = 100)]
#[command(
    after_help = "Examples:\n  restante serve --demo\n  restante help user add\n  restante man serve | man -l -"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// Reads the command line and runs the subcommand that it names.
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let work = || match CommandLine::try_parse_from(arguments) {
        Ok(line) => line.command.run(),
        Err(error) => told_by_clap(&error),
    };
    match deliver::is_called(arguments) {
        true => deliver::for_an_mta(work),
        false => work(),
    }
}

/// The whole command line as clap's data, for completions and man pages.
pub(crate) fn table() -> clap::Command {
    CommandLine::command()
}

/// Help and version are asked for, all else is wrong usage; clap has the words for both, and the colours.
fn told_by_clap(error: &clap::Error) -> Result<(), Failure> {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    match error.print() {
        Ok(()) if asked_for => Ok(()),
        Err(io) if asked_for => Err(Failure::from_output(io)),
        // Where even standard error is closed the status must do.
        Ok(()) | Err(_) => Err(Failure::silent(Kind::Usage)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound_and_every_subcommand_has_an_example() {
        table().debug_assert();
        for command in table().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("restante {}", command.get_name())), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
