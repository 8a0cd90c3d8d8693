//! `restante completions`: what a shell needs to complete the command line, from the table that `--help` prints.

use clap_complete::Shell;

use crate::{commands, failure::Failure, output};

/// Prints the completions of a shell
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante completions bash > /etc/bash_completion.d/restante
  restante completions zsh > ~/.zfunc/_restante
  restante completions fish > ~/.config/fish/completions/restante.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    // Into memory first: the generator panics where its output cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut commands::table(), "restante", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
