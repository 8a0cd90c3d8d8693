//! The servers under test: what each needs, how it is configured and started, how it is asked for. One file each; how
//! their processes are counted and stopped is `process.rs`.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::{
    pop3::Session,
    process::{Accounting, Processes},
};
use crate::run::{self, Failure};

mod courier;
mod dovecot;
mod restante;

pub(super) use restante::{BINARY_VARIABLE, binary as restante_binary};

/// Who owns the mail and reads it: nobody, who is there on every system.
pub(super) const MAIL_ID: u32 = 65_534;

/// How long a server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(20);

/// How a server shares work among its processes, where it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// For work: a process for each session, where a server works so.
    Work,
    /// For many idle sessions: as few processes as it can do with.
    Idle,
}

/// What the servers have in common in a run of the benchmark.
#[derive(Debug)]
pub(super) struct Common {
    /// A folder for all; each server has one of its name in it.
    pub(super) folder: PathBuf,
    /// The certificate with its chain, and its key; both together, for Courier.
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) pair: PathBuf,
    /// All users, and whether their password is stored hashed.
    pub(super) users: Vec<(String, Stored)>,
    pub(super) password: String,
    /// `$6$…`, 5,000 rounds.
    pub(super) sha512_crypt: String,
    /// `$argon2id$…`, and `$6$rounds=…` instead of it.
    pub(super) argon2: String,
    pub(super) sha512_crypt_slow: String,
    pub(super) accounting: Accounting,
    pub(super) processors: usize,
}

/// How a password is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// As cheaply as the server can do it.
    Cheap,
    /// SHA512-CRYPT with the usual 5,000 rounds.
    Sha512Crypt,
    /// Argon2id with our defaults; where a server has none, SHA512-CRYPT with so many rounds that it takes as long.
    Argon2,
}

/// The ports of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) plain: u16,
    pub(super) tls: u16,
}

/// What is different about each server.
pub(super) trait Kind: Sync {
    fn name(&self) -> &'static str;
    /// The Debian packages that it stands on; none for our own.
    fn packages(&self) -> &'static [&'static str];
    /// The Debian package of its POP3 programs. Debian lets only one POP3 server be installed, so this one is
    /// unpacked where it is not the one.
    fn leaf(&self) -> Option<Leaf>;
    /// Its version, if it is there.
    fn version(&self) -> Option<String> {
        self.leaf()?.version()
    }
    /// The most sessions that it is asked to hold at once.
    fn held_max(&self) -> u32 {
        u32::MAX
    }
    /// How it is configured, in a few words.
    fn configured(&self) -> &'static str;
    /// Whether it makes changes durable before it says that they are done.
    fn durable(&self) -> bool {
        false
    }
    /// Writes its configuration.
    fn configure(&self, place: &Place<'_>) -> Result<(), Failure>;
    /// The programs that are started, each with its arguments.
    fn commands(&self, place: &Place<'_>) -> Vec<Vec<String>>;
}

/// Where a server lives while it is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) common: &'a Common,
    pub(super) folder: &'a Path,
    pub(super) ports: Ports,
    pub(super) shape: Shape,
}

impl Place<'_> {
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn show(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// Writes a file that its group may read, and nobody else.
    pub(super) fn write(&self, name: &str, text: &str, group: u32) -> Result<(), Failure> {
        let path = self.file(name);
        let told = |error: io::Error| Failure::Failed(format!("{}: {error}", path.display()));
        fs::write(&path, text).map_err(told)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).map_err(told)?;
        chown(&path, Some(0), Some(group)).map_err(told)
    }

    /// Copies a program into the server's folder, which every user can reach.
    fn copy(&self, from: &Path, name: &str) -> Result<(), Failure> {
        let to = self.file(name);
        // A copy that runs is not written over.
        match fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::Failed(format!("{}: {error}", to.display())));
            }
            Err(_) | Ok(()) => {}
        }
        let copied = fs::copy(from, &to).map(|_octets| ());
        copied.map_err(|error| Failure::Failed(format!("{}: {error}", from.display())))
    }

    pub(super) fn folder(&self, name: &str) -> Result<(), Failure> {
        let path = self.file(name);
        fs::create_dir_all(&path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))
    }
}

/// All kinds, ours first.
pub(super) fn kinds() -> [&'static dyn Kind; 3] {
    [&restante::Restante, &dovecot::Dovecot, &courier::Courier]
}

/// A server that is being measured.
pub(super) struct Server<'a> {
    pub(super) kind: &'static dyn Kind,
    common: &'a Common,
    folder: PathBuf,
    ports: Ports,
    processes: Option<Processes>,
}

impl<'a> Server<'a> {
    /// A server that is not started yet.
    pub(super) fn new(kind: &'static dyn Kind, common: &'a Common) -> Result<Self, Failure> {
        let folder = common.folder.join(kind.name());
        let told = |error| Failure::Failed(format!("{}: {error}", folder.display()));
        fs::create_dir_all(folder.join("mail")).map_err(told)?;
        chown(folder.join("mail"), Some(MAIL_ID), Some(MAIL_ID)).map_err(told)?;
        let ports = Ports { plain: free_port()?, tls: free_port()? };
        Ok(Self { kind, common, folder, ports, processes: None })
    }

    pub(super) fn maildir(&self, user: &str) -> PathBuf {
        self.folder.join("mail").join(user).join("Maildir")
    }

    pub(super) const fn ports(&self) -> Ports {
        self.ports
    }

    /// Where the contents of linked drops lie.
    pub(super) fn contents(&self) -> PathBuf {
        self.folder.join("contents")
    }

    /// Starts it, and waits until it answers on both ports.
    pub(super) fn start(&mut self, shape: Shape) -> Result<(), Failure> {
        self.stop();
        let (kind, folder) = (self.kind, self.folder.clone());
        let place = Place { common: self.common, folder: &folder, ports: self.ports, shape };
        kind.configure(&place)?;
        let log = self.folder.join("output");
        let mut processes = Processes::new(&self.common.accounting, kind.name())?;
        for words in kind.commands(&place) {
            processes.start(&words, &log)?;
        }
        let processes = self.processes.insert(processes);
        let end = Instant::now() + READY_MAX;
        let outcome = loop {
            if let Err(failure) = processes.check() {
                break Err(failure.to_string());
            }
            match Session::open(self.ports.plain).and_then(Session::quit) {
                Ok(()) => break Ok(()),
                Err(error) if Instant::now() > end => break Err(error.to_string()),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        };
        outcome.map_err(|why| {
            let output = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = output.lines().rev().take(5).collect();
            Failure::Failed(format!("{} does not answer: {why}; its last words: {last:?}", kind.name()))
        })
    }

    /// Starts it where it does not run, or its processes have ended.
    pub(super) fn ensure(&mut self, shape: Shape) -> Result<(), Failure> {
        match self.processes.as_mut().map(Processes::check) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => self.start(shape),
        }
    }

    pub(super) fn stop(&mut self) {
        self.processes = None;
    }

    fn running(&self) -> Result<&Processes, Failure> {
        let gone = || Failure::Failed(format!("{} is not running", self.kind.name()));
        self.processes.as_ref().ok_or_else(gone)
    }

    pub(super) fn cpu_seconds(&self) -> Result<f64, Failure> {
        self.running()?.cpu_seconds()
    }

    /// Its processes at this moment.
    pub(super) fn processes(&self) -> Result<Vec<u32>, Failure> {
        Ok(self.running()?.all())
    }

    pub(super) fn roots(&self) -> Result<Vec<u32>, Failure> {
        Ok(self.running()?.roots())
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener
        .map(|address| address.port())
        .map_err(|error| Failure::Failed(format!("no port is free on 127.0.0.1: {error}")))
}

/// The number of a user or group, if there is one of this name.
pub(super) fn id_of(file: &str, name: &str) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split(':').nth(1)?.parse().ok()
}

/// A package that may be installed, or unpacked in a folder of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) package: &'static str,
    /// Where its programs are, and their names.
    folder: &'static str,
    programs: &'static [&'static str],
}

impl Leaf {
    /// The folder of its programs, in the system or in ours.
    fn found(&self) -> Option<PathBuf> {
        let unpacked = self.unpacked().join(self.folder.trim_start_matches('/'));
        let complete = |folder: &PathBuf| self.programs.iter().all(|program| folder.join(program).is_file());
        [PathBuf::from(self.folder), unpacked].into_iter().find(complete)
    }

    /// Where it is unpacked if it is not installed.
    pub(super) fn unpacked(&self) -> PathBuf {
        run::root().join("target/bench/packages").join(self.package)
    }

    pub(super) fn version(&self) -> Option<String> {
        let folder = self.found()?;
        if folder == Path::new(self.folder) {
            return package_version(self.package);
        }
        let version = fs::read_to_string(self.unpacked().join("version")).ok()?;
        Some(format!("{} ({}, unpacked)", version.trim(), self.package))
    }

    /// Copies its programs to where every user can reach them.
    fn copy(&self, place: &Place<'_>) -> Result<(), Failure> {
        let from = self.found().ok_or_else(|| Failure::Failed(format!("{} is gone", self.package)))?;
        self.programs.iter().try_for_each(|program| place.copy(&from.join(program), program))
    }
}

/// What an installed Debian package's version is.
pub(super) fn package_version(package: &str) -> Option<String> {
    let status = run::output(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${db:Status-Status} ${Version}",
        package,
    ]))?;
    status.strip_prefix("installed ").map(|version| format!("{version} ({package})"))
}
