//! Running one of other people's programs: what it is given, what it answered, and a deadline. As root they are run as
//! nobody, because some of them refuse to handle mail as root, and none of them needs it.

use std::{
    ffi::OsStr,
    fmt,
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use crate::{Security, poll, server};

/// nobody and nogroup, on every Debian.
pub(crate) const NOBODY: u32 = 65_534;

/// A program with its arguments.
#[derive(Debug)]
pub struct Program {
    name: String,
    package: &'static str,
    command: Command,
    input: Vec<u8>,
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    line: String,
}

impl Program {
    /// The program, and the Debian package that it comes in. It runs in `folder`, which is its home too, and speaks
    /// English.
    pub fn new(name: &str, package: &'static str, folder: &Path) -> Self {
        let mut command = Command::new(name);
        command
            .current_dir(folder)
            .env("HOME", folder)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("XDG_CONFIG_HOME");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Self { name: name.to_owned(), package, command, input: Vec::new() }
    }

    /// The program under test, run by who runs the test.
    pub fn ours(folder: &Path) -> Self {
        let mut command = Command::new(server::binary());
        command
            .current_dir(folder)
            .env("HOME", folder)
            .env("LC_ALL", "C.UTF-8")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME");
        Self { name: "restante".to_owned(), package: "", command, input: Vec::new() }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from standard input; without it, nothing.
    pub fn input(mut self, octets: impl Into<Vec<u8>>) -> Self {
        self.input = octets.into();
        self
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Outcome {
        let line = format!("{:?}", self.command);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| {
            panic!(
                "{} does not run ({error})\n  install it:  apt-get install {}\n  or as root:  cargo xtask test packages",
                self.name, self.package
            )
        });
        let mut stdin = child.stdin.take().expect("it is piped");
        let input = self.input;
        // A program that ends before it has read everything is judged by its status, not by this.
        let writer = thread::spawn(move || stdin.write_all(&input).is_ok());
        let stdout = collected(child.stdout.take());
        let stderr = collected(child.stderr.take());
        let status = ended(&mut child);
        let (stdout, stderr) = (stdout.join().expect("read"), stderr.join().expect("read"));
        let _all_was_read: bool = writer.join().expect("written");
        let Some(status) = status else {
            let outcome = Outcome { status: ExitStatus::default(), stdout, stderr, line };
            panic!("it did not end in time, and was stopped: {outcome}");
        };
        Outcome { status, stdout, stderr, line }
    }
}

/// Waits for its end; a child that takes too long is killed.
fn ended(child: &mut Child) -> Option<ExitStatus> {
    let status = poll::until(|| child.try_wait().expect("it is our child"));
    if status.is_none() {
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
    status
}

fn collected(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    let mut pipe = pipe.expect("it is piped");
    thread::spawn(move || {
        let mut octets = Vec::new();
        pipe.read_to_end(&mut octets).expect("a pipe can be read");
        octets
    })
}

impl Outcome {
    /// Fails the test unless the program says that all is well.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self}");
        self
    }

    /// Fails the test unless the program ended with this status.
    #[track_caller]
    pub fn failed_with(self, code: i32) -> Self {
        assert!(self.status.code() == Some(code), "expected exit status {code}: {self}");
        self
    }

    /// Fails the test if the program says that all is well.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert!(!self.status.success(), "it had to fail: {self}");
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Everything that it said, as text.
    pub fn words(&self) -> String {
        format!("{}{}", self.text(), String::from_utf8_lossy(&self.stderr))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4000;
        let shown = |octets: &[u8]| String::from_utf8_lossy(&octets[..octets.len().min(SHOWN)]).into_owned();
        write!(
            f,
            "{}\n  {}\n--- standard output\n{}\n--- standard error\n{}",
            self.status,
            self.line,
            shown(&self.stdout),
            shown(&self.stderr)
        )
    }
}

/// Runs a test body once for each way to the server, and says which one failed.
pub fn with_security(ways: &[Security], test: impl Fn(Security)) {
    for &security in ways {
        eprintln!("with {security:?}");
        test(security);
    }
}

/// Whether this test runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
