//! Runs the real binary, for the tests of all subcommands: [`restante`], [`Ran`], [`snapshot`].
#![allow(dead_code)] // each file of tests uses its part

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A command that runs the binary under test, without the environment that changes what it prints.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.args(args).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("COLUMNS");
    command
}

/// Runs `restante` with these arguments and nothing on standard input.
pub(crate) fn restante(args: &[&str]) -> Ran {
    feed(command(args), b"")
}

/// Runs a command with `input` on standard input.
pub(crate) fn feed(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // A child that does not read what it is given is no failure of the test.
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap_or_default());
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer does not panic");
    Ran(output)
}

/// What came of it.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn status(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("ended by a signal: {:?}", self.0))
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("standard output is UTF-8")
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("standard error is UTF-8")
    }

    /// Asserts status 0 and gives standard output.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status(), 0, "{}", self.stderr());
        self.stdout()
    }

    /// Asserts this status and gives standard error.
    #[track_caller]
    pub(crate) fn fails(self, status: i32) -> String {
        assert_eq!(self.status(), status, "{}{}", self.stdout(), self.stderr());
        self.stderr()
    }
}

/// Compares `text` with `tests/snapshots/NAME.txt`. With `UPDATE_SNAPSHOTS=1` in the environment the file is written
/// instead: look at the difference before you commit it.
#[track_caller]
pub(crate) fn snapshot(name: &str, text: &str) {
    let file: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, text).expect("the snapshot can be written");
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!(text, expected, "{} differs; UPDATE_SNAPSHOTS=1 cargo test accepts it", file.display());
}

/// The help of a subcommand against its snapshot: `help(&["user", "add"])` is `user-add-help.txt`.
#[track_caller]
pub(crate) fn help(command: &[&str]) {
    let text = restante(&[command, &["--help"]].concat()).ok();
    snapshot(&[command, &["help"]].concat().join("-"), &text);
}
