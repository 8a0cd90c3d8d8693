//! Where a new or a known password comes from: a command, the environment, a file, a prompt, or standard input. Never
//! from the command line, which every user of the machine can read.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::PathBuf,
    process::{Command, Stdio},
};

use restante_proto::Secret;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// How much is read in search of the end of the password's line, in octets.
const LINE_MAX_OCTETS: u64 = 4096;

/// How much a password command may print behind its first line, in octets; it is thrown away.
const REST_MAX_OCTETS: u64 = 1 << 20;

/// The options of every subcommand that needs a password. The password is the first line of what they name.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(crate) struct PasswordArgs {
    /// Takes the password from the first line that this shell command prints
    #[arg(long, value_name = "CMD")]
    password_command: Option<String>,

    /// Takes the password from this environment variable
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,

    /// Takes the password from the first line of this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The first line that this shell command prints.
    Command(String),
    /// This environment variable.
    Environment(String),
    /// The first line of this file.
    File(PathBuf),
}

impl Source {
    /// Reads it.
    pub(crate) fn read(&self) -> Result<Secret<Vec<u8>>, Failure> {
        match self {
            Self::Command(command) => from_command(command),
            Self::Environment(name) => from_environment(name),
            Self::File(file) => {
                let fail = |error| Failure::failed(format!("cannot read {}: {error}", file.display()));
                File::open(file).and_then(first_line).map_err(fail)
            }
        }
    }
}

impl PasswordArgs {
    /// Where the options say that the password comes from.
    pub(crate) fn source(&self) -> Option<Source> {
        let command = self.password_command.clone().map(Source::Command);
        let environment = || self.password_env.clone().map(Source::Environment);
        command.or_else(environment).or_else(|| self.password_file.clone().map(Source::File))
    }

    /// A new password: from where the options say, else from a prompt where standard input is a terminal, else from
    /// the first line of standard input.
    pub(crate) fn read_new(&self, what: &str) -> Result<Secret<Vec<u8>>, Failure> {
        let password = if let Some(password) = self.read_named()? {
            password
        } else if io::stdin().is_terminal() {
            ask_twice(what)?
        } else {
            let fail =
                |error| Failure::failed(format!("cannot read the password from standard input: {error}"));
            first_line(io::stdin().lock()).map_err(fail)?
        };
        if password.expose().is_empty() {
            return Err(Failure::failed("the password is empty"));
        }
        Ok(password)
    }

    /// A known password from where the options say; `None` where they say nothing.
    pub(crate) fn read_named(&self) -> Result<Option<Secret<Vec<u8>>>, Failure> {
        self.source().map(|source| source.read()).transpose()
    }

    /// A known password: from where the options say, else from a prompt, which needs a terminal.
    pub(crate) fn read_known(&self, what: &str) -> Result<Secret<Vec<u8>>, Failure> {
        match self.read_named()? {
            Some(password) => Ok(password),
            None => ask_known(what),
        }
    }
}

/// A known password from a prompt, which needs a terminal.
pub(crate) fn ask_known(what: &str) -> Result<Secret<Vec<u8>>, Failure> {
    match io::stdin().is_terminal() {
        true => ask(format!("{what}: ")),
        false => Err(Failure::usage("a password is needed, and there is nobody to ask for it")
            .hint("use --password-command, --password-env or --password-file")),
    }
}

fn from_command(command: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let fail = |error| Failure::failed(format!("cannot run the password command: {error}"));
    let mut child = Command::new("sh").args(["-c", command]).stdout(Stdio::piped()).spawn().map_err(fail)?;
    let password = child.stdout.take().map(|mut printed| {
        let line = first_line(&mut printed);
        // A pipe that is closed too soon would end the command by a signal, and look like a failure of its own.
        throw_away(printed).and(line)
    });
    let password = password.transpose().map_err(fail);
    let status = child.wait().map_err(fail)?;
    if !status.success() {
        return Err(Failure::failed(format!("the password command failed ({status})")));
    }
    password?.ok_or_else(|| Failure::failed("the password command has no output"))
}

fn from_environment(name: &str) -> Result<Secret<Vec<u8>>, Failure> {
    use std::os::unix::ffi::OsStringExt;
    match std::env::var_os(name) {
        Some(value) => Ok(Secret::new(value.into_vec())),
        None => Err(Failure::failed(format!("the environment has no variable {name}"))),
    }
}

/// So that a slip of the finger does not become a password.
fn ask_twice(what: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let password = ask(format!("{what}: "))?;
    if ask(format!("{what}, once more: "))? != password {
        return Err(Failure::failed("the two passwords differ; nothing was changed"));
    }
    Ok(password)
}

fn ask(question: String) -> Result<Secret<Vec<u8>>, Failure> {
    rpassword::prompt_password(question)
        .map(|password| Secret::new(password.into_bytes()))
        .map_err(|error| Failure::failed(format!("cannot ask for the password: {error}")))
}

/// The first line, without its end.
fn first_line(from: impl Read) -> io::Result<Secret<Vec<u8>>> {
    // All room at once: a vector that grows leaves copies of a password behind.
    let mut line = Vec::with_capacity(LINE_MAX_OCTETS as usize + 1);
    let mut from = BufReader::with_capacity(1, from).take(LINE_MAX_OCTETS + 1);
    from.read_until(b'\n', &mut line)?;
    let long = line.len() as u64 > LINE_MAX_OCTETS;
    let end = line.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line)).map(<[u8]>::len);
    if let Some(end) = end {
        line.truncate(end);
    }
    match (Secret::new(line), long) {
        (line, false) => Ok(line),
        (_, true) => Err(io::Error::other(format!("its first line has more than {LINE_MAX_OCTETS} octets"))),
    }
}

/// Reads what follows the password, which may be as secret.
fn throw_away(mut from: impl Read) -> io::Result<()> {
    let (mut piece, mut all) = (Zeroizing::new([0; 4096]), 0);
    while all < REST_MAX_OCTETS {
        match from.read(&mut *piece) {
            Ok(0) => break,
            Ok(some) => all += some as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_may_print_more_than_the_password() {
        let read = |command| from_command(command).map(|password| password.expose().clone());
        let many = "echo abcxyz; i=0; while [ $i -lt 20000 ]; do echo 'user: john'; i=$((i+1)); done";
        assert_eq!(read(many), Ok(b"abcxyz".to_vec()));
        assert_eq!(read("printf abcxyz"), Ok(b"abcxyz".to_vec()));
        assert!(
            read("echo abcxyz; exit 3").is_err_and(|failure| failure.to_string().contains("exit status: 3"))
        );
    }

    #[test]
    fn the_first_line_counts_without_its_end() {
        let read = |text: &[u8]| first_line(text).unwrap().expose().clone();
        assert_eq!(read(b"abc xyz\nmore\n"), b"abc xyz");
        assert_eq!(read(b" abc\r\n"), b" abc");
        assert_eq!(read(b"abc"), b"abc");
        assert_eq!(read(b"\xff\r"), b"\xff\r");
        assert_eq!(read(b""), b"");
        assert_eq!(read(&[b'x'; 4096]).len(), 4096);
        assert!(first_line(&[b'x'; 4097][..]).is_err());
    }
}
