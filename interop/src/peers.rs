//! Servers that nobody here wrote, for our own client to call at and to deliver to. One file each says what a server
//! needs and how it is configured; here is what they share: a folder with a Maildir and a certificate, free ports of
//! 127.0.0.1, the start, the end, and the log that a failing test shows. Nothing of the system's own configuration is
//! read or written.

use std::{
    collections::BTreeMap,
    fs,
    fs::File,
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::{Letter, PASSWORD, Security, USER, authority, maildir, poll, program};

mod courier;
mod dovecot;
mod exim;
mod mailutils;
mod twisted;

pub use self::{
    courier::COURIER,
    dovecot::{DOVECOT, DOVECOT_OAUTH, DOVECOT_RAWLOG, DOVECOT_SASL, RAWLOG, RAWLOG_LOGIN, introspect_at},
    exim::EXIM,
    mailutils::MAILUTILS,
    twisted::TWISTED,
};

/// How often a server is started on other ports, where somebody was quicker to take one of them.
const STARTS_MAX: usize = 3;

/// How much of a log is shown.
const LOG_SHOWN: usize = 6000;

/// What a server does on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// POP3 in clear, with STLS where the server has it.
    Pop3,
    /// POP3 in clear where STLS needs a port of its own.
    Pop3Stls,
    /// POP3 inside TLS.
    Pop3s,
    /// IMAP in clear, with STARTTLS.
    Imap,
    /// IMAP inside TLS.
    Imaps,
    /// LMTP in clear.
    Lmtp,
    /// SMTP, with STARTTLS.
    Smtp,
}

impl Service {
    /// Whether the server speaks first, and in clear.
    fn greets(self) -> bool {
        !matches!(self, Self::Pop3s | Self::Imaps)
    }
}

/// What is different about each server.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The Debian packages that it comes in.
    packages: &'static str,
    /// The programs without which it cannot run.
    programs: fn() -> Vec<PathBuf>,
    services: &'static [Service],
    /// Whether it has to be started by root, where the test is root; else it runs as the owner of the mail.
    privileged: bool,
    /// Whose mail it is, in this server's spelling.
    user: &'static str,
    /// The Maildir in the server's folder.
    maildir: &'static str,
    /// Writes its files.
    configure: fn(&Place),
    /// The program, its arguments, and nothing else.
    command: fn(&Place) -> Command,
    /// The ways to its POP3.
    pub ways: &'static [Security],
    /// The names of the ways to sign in that it has.
    pub mechanisms: &'static [&'static str],
    /// One that it has not.
    pub lacks: &'static str,
}

/// Who owns the mail and, where it can, runs the server: nobody if the test is root, else who runs the test.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    user: String,
    group: String,
    uid: u32,
    gid: u32,
}

impl Owner {
    fn new() -> Self {
        if program::is_root() {
            let (uid, gid) = (program::NOBODY, program::NOBODY);
            return Self { user: "nobody".into(), group: "nogroup".into(), uid, gid };
        }
        let id = |option| {
            let output = Command::new("id").arg(option).output().expect("id is everywhere");
            String::from_utf8(output.stdout).expect("a name").trim().to_owned()
        };
        Self {
            user: id("-un"),
            group: id("-gn"),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}

/// Where a server lives: its folder and its ports.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
    ports: BTreeMap<Service, u16>,
    owner: Owner,
}

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn show(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    fn port(&self, service: Service) -> u16 {
        *self.ports.get(&service).unwrap_or_else(|| panic!("it has no {service:?}"))
    }

    fn give(&self, path: &Path) {
        if program::is_root() {
            chown(path, Some(self.owner.uid), Some(self.owner.gid)).expect("root may");
        }
    }

    /// Writes a file of the owner's that everybody may read.
    fn write(&self, name: &str, text: &str) {
        self.write_with(name, text, 0o644);
    }

    /// Writes a file that only its owner may read.
    fn write_secret(&self, name: &str, text: &str) {
        self.write_with(name, text, 0o600);
    }

    fn write_with(&self, name: &str, text: &str, mode: u32) {
        let path = self.file(name);
        fs::write(&path, text).expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        self.give(&path);
    }

    /// Makes a folder of the owner's, and those above it.
    fn make_folder(&self, name: &str) {
        let mut path = self.folder.path().to_owned();
        for part in Path::new(name).components() {
            path.push(part);
            if !path.is_dir() {
                fs::create_dir(&path).expect("a new folder");
                self.give(&path);
            }
        }
    }

    fn make_maildir(&self, name: &str) {
        for part in ["tmp", "new", "cur"] {
            self.make_folder(&format!("{name}/{part}"));
        }
    }
}

/// A running server with its folder; both are gone when it is dropped.
#[derive(Debug)]
pub struct Peer {
    kind: &'static Kind,
    place: Place,
    child: Child,
}

impl Peer {
    /// Starts a server whose user has this mail.
    pub fn start(kind: &'static Kind, letters: &[Letter]) -> Self {
        for program in (kind.programs)() {
            assert!(
                program.is_file(),
                "{}: {} is not there\n  install it:  apt-get install {}\n  or as root:  cargo xtask test packages",
                kind.name,
                program.display(),
                kind.packages
            );
        }
        assert!(
            !kind.privileged || program::is_root(),
            "{} starts as root only: run this test as root",
            kind.name
        );
        for _ in 1..STARTS_MAX {
            if let Ok(peer) = Self::try_start(kind, letters) {
                return peer;
            }
        }
        Self::try_start(kind, letters).unwrap_or_else(|why| panic!("{} does not start: {why}", kind.name))
    }

    fn try_start(kind: &'static Kind, letters: &[Letter]) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("restante-peer-").tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        authority::write(folder.path());
        // All are held until each has one of its own.
        let held: Vec<TcpListener> = kind
            .services
            .iter()
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
            .collect();
        let number = |listener: &TcpListener| listener.local_addr().expect("it has one").port();
        let ports = kind.services.iter().copied().zip(held.iter().map(number)).collect();
        let place = Place { folder, ports, owner: Owner::new() };
        place.give(place.folder.path());
        for name in ["certificate.pem", "key.pem"] {
            place.give(&place.file(name));
        }
        fs::set_permissions(place.file("key.pem"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        place.make_maildir(kind.maildir);
        for letter in letters {
            place.give(&maildir::deliver(&place.file(kind.maildir), letter));
        }
        (kind.configure)(&place);
        let output = File::create(place.file("output")).expect("it is ours");
        let mut command = (kind.command)(&place);
        command
            .current_dir(place.folder.path())
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .process_group(0);
        if program::is_root() && !kind.privileged {
            command.uid(place.owner.uid).gid(place.owner.gid);
        }
        drop(held);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
        let mut peer = Self { kind, place, child };
        peer.becomes_ready()?;
        Ok(peer)
    }

    /// Waits until every port answers.
    fn becomes_ready(&mut self) -> Result<(), String> {
        let services = self.kind.services;
        let ended = poll::until(|| {
            let answers = |service: &Service| answers(self.place.port(*service), service.greets()).is_some();
            if services.iter().all(answers) {
                return Some(None);
            }
            self.child.try_wait().expect("it is our child").map(Some)
        });
        match ended {
            Some(None) => Ok(()),
            Some(Some(status)) => Err(format!("it ended at once ({status})\n{}", self.log())),
            None => Err(format!("it is not ready in time\n{}", self.log())),
        }
    }

    /// What kind of server it is.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The user's name.
    pub fn user(&self) -> &'static str {
        self.kind.user
    }

    /// The port of one of its services.
    pub fn port(&self, service: Service) -> u16 {
        self.place.port(service)
    }

    /// The port of its POP3 for this way.
    pub fn pop3_port(&self, security: Security) -> u16 {
        let service = match security {
            Security::Plain => Service::Pop3,
            Security::Stls if self.kind.services.contains(&Service::Pop3Stls) => Service::Pop3Stls,
            Security::Stls => Service::Pop3,
            Security::Tls => Service::Pop3s,
        };
        self.port(service)
    }

    /// The authority that signed the server's certificate, which is for `localhost`.
    pub fn authority(&self) -> PathBuf {
        self.place.file("ca.pem")
    }

    /// An authority that did not.
    pub fn stranger(&self) -> PathBuf {
        self.place.file("stranger.pem")
    }

    /// A file in the server's folder, as its socket.
    pub fn file(&self, name: &str) -> PathBuf {
        self.place.file(name)
    }

    /// A new folder for a client to work in, which is nobody's if the test is root.
    pub fn client_folder(&self, name: &str) -> PathBuf {
        self.place.make_folder(name);
        self.place.file(name)
    }

    /// A letter comes in while the server runs.
    pub fn deliver(&self, letter: &Letter) {
        let file = maildir::deliver(&self.maildir(), letter);
        self.place.give(&file);
    }

    /// The Maildir of its user.
    pub fn maildir(&self) -> PathBuf {
        self.place.file(self.kind.maildir)
    }

    /// How many messages are left in the Maildir.
    pub fn left(&self) -> usize {
        maildir::files(&self.maildir()).len()
    }

    /// The end of what the server has logged so far, its own log and what it wrote to standard output.
    pub fn log(&self) -> String {
        let mut text = String::new();
        for name in ["output", "log", "mainlog", "paniclog"] {
            let octets = fs::read(self.place.file(name)).unwrap_or_default();
            let from = octets.len().saturating_sub(LOG_SHOWN);
            text.push_str(&String::from_utf8_lossy(&octets[from..]));
        }
        text
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && matches!(self.child.try_wait(), Ok(None))
        {
            let _asked = kill_process(pid, Signal::TERM);
            if poll::until(|| self.child.try_wait().ok()?).is_none() {
                // Its children are in its group.
                let _killed = kill_process_group(pid, Signal::KILL);
                let _status = self.child.wait();
            }
        }
        if thread::panicking() {
            eprintln!("--- the log of {}\n{}---", self.kind.name, self.log());
        }
    }
}

/// Whether somebody answers, and says something if it is his turn.
fn answers(port: u16, greets: bool) -> Option<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(poll::DEADLINE)).ok()?;
    if greets {
        stream.read_exact(&mut [0]).ok()?;
    }
    Some(())
}

/// A file of a package that is installed, or unpacked by `cargo xtask test packages`.
fn packaged(package: &str, file: &str) -> PathBuf {
    let installed = PathBuf::from(file);
    if installed.is_file() {
        return installed;
    }
    let test = std::env::current_exe().expect("this test is a file");
    // target/debug/deps/NAME
    let target = test.ancestors().nth(3).expect("it is in a folder");
    target.join("interop/packages").join(package).join(file.trim_start_matches('/'))
}

/// The password as crypt(3) stores it.
fn crypted() -> String {
    let output = Command::new("openssl").args(["passwd", "-6", PASSWORD]).output().unwrap_or_else(|error| {
        panic!("openssl does not run ({error})\n  install it:  apt-get install openssl")
    });
    String::from_utf8(output.stdout).expect("letters and digits").trim().to_owned()
}
