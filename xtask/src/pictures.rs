//! The pictures of the documentation: the seed's session is captured anew, and all of them are drawn anew. What they are
//! drawn from, and what must be in them, stands in the tests, which write instead of comparing.

use crate::{
    packages,
    run::{self, Failure},
};

const USAGE: &str = "Usage: cargo xtask pictures

Captures the session of docs/seed.* anew (as root: with tcpdump, on port 110 of loopback), and draws
docs/seed.txt, docs/seed.svg, docs/seed.html, docs/states.svg and the states in ARCHITECTURE.md.
";

/// What writes: a package and its tests.
const WRITERS: &[(&str, &[&str])] =
    &[("restante-interop", &["diagram_seed"]), ("restante-diagram", &["seed", "states"])];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments {
        [] => {}
        [help] if help == "-h" || help == "--help" => {
            print!("{USAGE}");
            return Ok(());
        }
        _ => return Err(Failure::Usage(format!("pictures takes no arguments\n\n{USAGE}"))),
    }
    packages::need("tcpdump", "tcpdump")?;
    for (package, tests) in WRITERS {
        let mut arguments = vec!["test", "--quiet", "--package", package];
        arguments.extend(tests.iter().flat_map(|test| ["--test", test]));
        run::run(run::cargo(&arguments).env("UPDATE_SNAPSHOTS", "1"))?;
    }
    println!("\nLook at them before you commit them: git diff --stat docs");
    Ok(())
}
