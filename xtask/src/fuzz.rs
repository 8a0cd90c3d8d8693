//! `cargo xtask fuzz`: looks for new inputs that break something, for a while. What is fuzzed and what is asserted
//! stands in `crates/testkit/src/fuzz/`; the corpora are replayed by `cargo test`, without a fuzzer.
//!
//! New inputs go to `fuzz/target/`, which git ignores: what is worth keeping is copied to `fuzz/corpus/` by a person.

use std::{fs, process::Command};

use crate::run::{self, Failure};

/// How long a target is fuzzed unless somebody says otherwise.
const SECONDS: u32 = 60;
/// The longest input, in octets: that of a file of a corpus.
const INPUT_MAX_OCTETS: u32 = 4096;
/// More memory than this is a finding, in MiB.
const MEMORY_MAX_MIB: u32 = 2048;
/// A longer run of one input is a finding, in seconds.
const INPUT_MAX_SECONDS: u32 = 10;

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let targets = targets()?;
    let help = help(&targets);
    let (mut chosen, mut seconds) = (Vec::new(), SECONDS);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-h" | "--help" => {
                print!("{help}");
                return Ok(());
            }
            "--seconds" => {
                let value = rest.next().and_then(|value| value.parse().ok()).filter(|&seconds| seconds > 0);
                seconds =
                    value.ok_or_else(|| Failure::Usage("--seconds takes a number, such as 600".into()))?;
            }
            name if targets.iter().any(|target| target == name) => chosen.push(name.to_owned()),
            name => return Err(Failure::Usage(format!("there is no target «{name}»\n\n{help}"))),
        }
    }
    let compiler = Compiler::find();
    if run::output(compiler.cargo_fuzz().arg("--version")).is_none() {
        return Err(Failure::Failed(
            "cargo-fuzz is missing\n  install it:  cargo install --locked cargo-fuzz".into(),
        ));
    }
    for target in if chosen.is_empty() { targets } else { chosen } {
        fuzz(&compiler, &target, seconds)?;
    }
    Ok(())
}

fn help(targets: &[String]) -> String {
    format!(
        "Usage: cargo xtask fuzz [TARGET …] [--seconds N]\n\n\
         Fuzzes each target in turn, all of them unless some are named, for {SECONDS} seconds each unless\n\
         told otherwise. Needs cargo-fuzz:  cargo install --locked cargo-fuzz\n\
         A nightly toolchain is used where there is one. See docs/fuzzing.md.\n\n\
         Targets: {}\n\n\
         Example: cargo xtask fuzz session --seconds 600\n",
        targets.join(", ")
    )
}

/// The names of the targets: each is a file.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = run::root().join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))?;
    let name = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned);
    let mut names: Vec<String> = entries.filter_map(|entry| name(entry.ok()?)).collect();
    names.sort_unstable();
    Ok(names)
}

/// What compiles the targets: sanitizers are for nightly compilers, and for others that are told to be like one.
enum Compiler {
    Nightly,
    Pinned,
}

impl Compiler {
    fn find() -> Self {
        let nightly = run::output(Command::new("cargo").args(["+nightly", "--version"]));
        if nightly.is_some() { Self::Nightly } else { Self::Pinned }
    }

    fn cargo_fuzz(&self) -> Command {
        let mut command = match self {
            Self::Nightly => {
                // Through rustup, and not the very cargo that runs this chore.
                let mut command = Command::new("cargo");
                command.arg("+nightly").current_dir(run::root());
                command
            }
            Self::Pinned => {
                let mut command = run::cargo(&[]);
                command.env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.arg("fuzz");
        command
    }
}

fn fuzz(compiler: &Compiler, target: &str, seconds: u32) -> Result<(), Failure> {
    // The first folder is where new inputs go.
    let found = format!("fuzz/target/corpus/{target}");
    let seeds = format!("fuzz/corpus/{target}");
    fs::create_dir_all(run::root().join(&found))
        .map_err(|error| Failure::Failed(format!("cannot make {found}: {error}")))?;
    let mut command = compiler.cargo_fuzz();
    command.args(["run", target, &found, &seeds, "--"]).args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_MAX_OCTETS}"),
        format!("-rss_limit_mb={MEMORY_MAX_MIB}"),
        format!("-timeout={INPUT_MAX_SECONDS}"),
        "-print_final_stats=1".to_owned(),
    ]);
    run::run(&mut command).map_err(|failure| {
        Failure::Failed(format!(
            "{failure}\n  an input that breaks something is kept in fuzz/artifacts/{target}/: make it small, give it a name,\n  and put it into {seeds}/ with the mend"
        ))
    })
}
