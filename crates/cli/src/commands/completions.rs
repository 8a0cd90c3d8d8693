//! `restante completions`: what a shell needs to complete the command line, from the table that `--help` prints.

use clap::builder::PossibleValuesParser;
use clap_complete::Shell;

use super::man;
use crate::{commands, failure::Failure, output, settings::keys};

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
    clap_complete::generate(args.shell, &mut known(), "restante", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// The table with the values that a shell can offer. The commands take more than these, such as the words of a page's
/// name one by one, and have better words for what is wrong.
fn known() -> clap::Command {
    let pages = PossibleValuesParser::new(man::names());
    let keys = PossibleValuesParser::new(keys::names());
    commands::table()
        .mut_subcommand("man", |man| man.mut_arg("page", |page| page.value_parser(pages)))
        .mut_subcommand("config", |config| {
            config.mut_subcommand("explain", |explain| explain.mut_arg("key", |key| key.value_parser(keys)))
        })
}
