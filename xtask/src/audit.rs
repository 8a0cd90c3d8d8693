//! `cargo xtask audit`: what the crates we build on may be. The rules are in `deny.toml`; `cargo deny` applies them.
//! Nothing is installed here.

use crate::run::{self, Failure};

const HELP: &str = "\
Usage: cargo xtask audit

Runs `cargo deny check bans licenses sources` with the rules of deny.toml.
Needs cargo-deny:  cargo install --locked cargo-deny
";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments {
        [] => {}
        [flag] if flag == "-h" || flag == "--help" => {
            print!("{HELP}");
            return Ok(());
        }
        [other, ..] => return Err(Failure::Usage(format!("audit takes no «{other}»\n\n{HELP}"))),
    }
    if run::output(&mut run::cargo(&["deny", "--version"])).is_none() {
        return Err(Failure::Failed(
            "cargo-deny is missing\n  install it:  cargo install --locked cargo-deny".into(),
        ));
    }
    run::run(&mut run::cargo(&["deny", "check", "bans", "licenses", "sources"]))
}
