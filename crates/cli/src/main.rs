//! The binary: reads the command line, runs one subcommand, and turns its failure into words and an exit status.
//!
//! No protocol lives here. A subcommand is one file under `commands/`; what can go wrong is `failure.rs`.

use std::process::ExitCode;

mod accounts;
mod commands;
mod directories;
mod duration;
mod failure;
mod logging;
mod netrc;
mod output;
mod password;
mod runtime;
mod settings;
mod terminal;
mod trust;

fn main() -> ExitCode {
    match commands::run(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
