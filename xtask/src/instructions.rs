//! `cargo xtask instructions`: what the hot loops cost, counted by valgrind in instructions, beside the counts that are
//! kept in `bench/instructions.json`. Time on a busy machine says little; instructions are the same from run to run, so
//! that a change of one per cent shows.
//!
//! The loops themselves are programs under `crates/*/benches/loops.rs`; see `crates/testkit/src/loops.rs` for what they speak.
//! Each is run with few rounds and with more; the difference is the loop alone.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use self::{
    baseline::Baseline,
    options::{HELP, Options},
};
use crate::{
    packages,
    run::{self, Failure},
};

mod baseline;
mod options;

/// The crates that have hot loops, each in `benches/loops.rs`. A new one is a line here.
const CRATES: &[&str] = &["restante-proto", "restante-auth", "restante-store", "restante-admin"];

/// How many rounds the two runs of a loop have. The first round may make room in buffers; all others are alike.
const ROUNDS: (u64, u64) = (2, 6);

/// A loop as its program lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Loop {
    name: String,
    unit: String,
    /// Units in a round.
    units: u64,
}

/// What a loop costs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Count {
    unit: String,
    units: u64,
    /// Instructions of a round.
    instructions: u64,
}

impl Count {
    #[allow(clippy::cast_precision_loss)] // for people
    fn each(&self) -> f64 {
        self.instructions as f64 / self.units as f64
    }
}

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some(options) = Options::parse(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    packages::need("valgrind", "valgrind")?;
    let mut loops = Vec::new();
    for program in build()? {
        let listed = run::output(&mut Command::new(&program)).unwrap_or_default();
        for line in listed.lines() {
            let found = listed_loop(line)
                .ok_or_else(|| Failure::Failed(format!("{}: «{line}» is no loop", program.display())))?;
            loops.push((program.clone(), found));
        }
    }
    let names: Vec<&str> = loops.iter().map(|(_, found)| found.name.as_str()).collect();
    for name in &options.only {
        if !names.contains(&name.as_str()) {
            let known = names.join(", ");
            return Err(Failure::Usage(format!("there is no loop «{name}»; there are: {known}")));
        }
    }
    let mut counts = BTreeMap::new();
    for (program, Loop { name, unit, units }) in loops {
        if !options.only.is_empty() && !options.only.contains(&name) {
            continue;
        }
        let (few, many) = (collected(&program, &name, ROUNDS.0)?, collected(&program, &name, ROUNDS.1)?);
        let instructions = many.saturating_sub(few) / (ROUNDS.1 - ROUNDS.0);
        if counts.insert(name.clone(), Count { unit, units, instructions }).is_some() {
            return Err(Failure::Failed(format!("there are two loops «{name}»")));
        }
    }
    let file = run::root().join("bench/instructions.json");
    let before = Baseline::read(&file)?;
    let now = Baseline::of(counts);
    print!("\n{}", now.table(before.as_ref()));
    if let Some(before) = &before {
        before.differences(&now).iter().for_each(|line| println!("! {line}"));
    }
    if options.save {
        let kept = match before {
            Some(before) if !options.only.is_empty() => before.with(now),
            _ => now,
        };
        kept.write(&file)?;
        println!("\nSaved: {}", file.display());
        return Ok(());
    }
    match (options.check, before) {
        (Some(per_cent), Some(before)) => now.check(&before, per_cent),
        (Some(_), None) => {
            Err(Failure::Failed("there is nothing to compare with; --save keeps the counts".into()))
        }
        (None, _) => Ok(()),
    }
}

/// Builds the programs as they are released, and says where they are.
fn build() -> Result<Vec<PathBuf>, Failure> {
    let mut command = run::cargo(&["bench", "--no-run", "--bench", "loops"]);
    command.arg("--message-format=json-render-diagnostics");
    CRATES.iter().for_each(|package| {
        command.args(["--package", package]);
    });
    println!("$ cargo bench --no-run --bench loops --package {}", CRATES.join(" --package "));
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::Failed(format!("cannot run cargo: {error}")))?;
    let programs: Vec<PathBuf> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(executable).collect();
    if output.status.success() && programs.len() == CRATES.len() {
        return Ok(programs);
    }
    Err(Failure::Failed(format!("{} programs were built of {}", programs.len(), CRATES.len())))
}

/// The program that a message of cargo tells of.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}

fn listed_loop(line: &str) -> Option<Loop> {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, unit, units] = words[..] else { return None };
    let units = units.parse().ok().filter(|&units| units > 0)?;
    Some(Loop { name: name.to_owned(), unit: unit.to_owned(), units })
}

/// How many instructions the program takes for so many rounds of the loop, start and end included.
fn collected(program: &Path, name: &str, rounds: u64) -> Result<u64, Failure> {
    let mut command = Command::new("valgrind");
    // An environment of another length would move the stack.
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("LC_ALL", "C");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args([name, &rounds.to_string()]).stdin(Stdio::null());
    let output =
        command.output().map_err(|error| Failure::Failed(format!("cannot run valgrind: {error}")))?;
    let told = String::from_utf8_lossy(&output.stderr);
    match told.lines().find_map(total) {
        Some(total) if output.status.success() => Ok(total),
        _ => Err(Failure::Failed(format!("«{name}» could not be counted:\n{told}"))),
    }
}

/// The number in callgrind's closing line: `==1== Collected : 12345`.
fn total(line: &str) -> Option<u64> {
    let (_, number) = line.split_once("Collected :")?;
    number.trim().parse().ok()
}

/// The first line that a program says of itself.
fn version(program: &str) -> String {
    let said = run::output(Command::new(program).arg("--version")).unwrap_or_default();
    said.lines().next().unwrap_or_default().to_owned()
}

/// The name of the processor: the C library and memchr choose their loops by what it can do.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_loop_has_three_words() {
        let found = Loop { name: "list".into(), unit: "message".into(), units: 10_000 };
        assert_eq!(listed_loop("list message 10000"), Some(found));
        for bad in ["", "list", "list message", "list message 0", "list message x", "a b 1 2"] {
            assert_eq!(listed_loop(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_closing_line_of_callgrind_is_read() {
        assert_eq!(total("==4711== Collected : 2403744"), Some(2_403_744));
        assert_eq!(total("==4711== Events    : Ir"), None);
        assert_eq!(total("==4711== Collected : "), None);
    }

    #[test]
    fn cargo_tells_where_a_program_is() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/loops-1"}"#;
        assert_eq!(executable(message), Some(PathBuf::from("/t/loops-1")));
        for other in
            [r#"{"reason":"compiler-artifact","executable":null}"#, r#"{"reason":"build-finished"}"#, "x"]
        {
            assert_eq!(executable(other), None, "{other}");
        }
    }
}
