//! Running other programs: the command line is shown first, a failure is told in words, and what a test runner says
//! at its end is counted. What is run, and in which order, is the chores' business.

use std::{
    fmt,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// Why a chore ended badly.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The chore was called wrongly.
    Usage(String),
    /// Something that was run failed, or could not be run.
    Failed(String),
}

impl Failure {
    /// 1 failed, 2 wrong usage, as for every program of the house.
    pub(crate) fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `cargo`, the one that runs this chore, at the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command =
        Command::new(std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from));
    command.args(arguments).current_dir(root());
    command
}

/// Shows the command line and runs it to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    println!("$ {}", shown(command));
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::Failed(format!("cannot run «{}»: {error}", shown(command))))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Failed(format!("«{}» failed ({status})", shown(command))))
    }
}

/// What a program prints, if it runs and succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a `cargo test`, passes on what it prints, and returns how many tests passed. None is a failure: a test run
/// that ran nothing proves nothing.
pub(crate) fn tests(command: &mut Command) -> Result<u64, Failure> {
    let line = shown(command);
    println!("$ {line}");
    let cannot = |error| Failure::Failed(format!("cannot run «{line}»: {error}"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
    let mut passed = 0;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut text = Vec::new();
        loop {
            text.clear();
            if stdout.read_until(b'\n', &mut text).map_err(cannot)? == 0 {
                break;
            }
            passed += count(&String::from_utf8_lossy(&text)).unwrap_or(0);
            std::io::stdout().write_all(&text).map_err(cannot)?;
        }
    }
    let status = child.wait().map_err(cannot)?;
    if !status.success() {
        return Err(Failure::Failed(format!("«{line}» failed ({status})")));
    }
    if passed == 0 {
        return Err(Failure::Failed(format!("«{line}» ran no test")));
    }
    Ok(passed)
}

/// How many tests passed, by the closing line of a test binary.
fn count(line: &str) -> Option<u64> {
    let (_, rest) = line.trim_end().split_once("test result: ")?;
    let (_, rest) = rest.split_once(". ")?;
    let (number, _) = rest.split_once(" passed;")?;
    number.parse().ok()
}

/// A command as a person would type it: the settings made for it, the program's name, its arguments.
fn shown(command: &Command) -> String {
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            line.push_str(&format!("{}={} ", name.display(), value.display()));
        }
    }
    line.push_str(&Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy());
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let line = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s\n";
        assert_eq!(count(line), Some(12));
        assert_eq!(count("test result: FAILED. 7 passed; 1 failed; 0 ignored;"), Some(7));
        assert_eq!(count("running 12 tests"), None);
        assert_eq!(count("test body::dots ... ok"), None);
    }

    #[test]
    fn a_command_is_shown_as_it_is_typed() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps");
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        let failure = tests(Command::new("true").arg("test")).err();
        assert_eq!(failure, Some(Failure::Failed("«true test» ran no test".into())));
    }
}
