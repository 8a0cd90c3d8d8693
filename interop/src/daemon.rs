//! Other people's servers of users: a database, an LDAP server. Each has a folder of its own, listens on a port of
//! 127.0.0.1 that it keeps, is started and stopped by the test, and runs as nobody where the test is root. Nothing of the
//! system's own configuration or data is read or written.

use std::{
    fmt,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{authority, poll, program};

/// A server of users.
pub struct Daemon {
    name: &'static str,
    package: &'static str,
    folder: TempDir,
    port: u16,
    /// Ends it in good order, without waiting for clients.
    ends_by: Signal,
    child: Option<Child>,
}

impl Daemon {
    /// A folder and a port for one. In the folder are `ca.pem`, `certificate.pem` and `key.pem`.
    pub fn new(name: &'static str, package: &'static str) -> Self {
        let folder =
            tempfile::Builder::new().prefix("restante-daemon-").tempdir().expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        authority::write(folder.path());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it has one").port();
        let daemon = Self { name, package, folder, port, ends_by: Signal::TERM, child: None };
        daemon.give(daemon.folder.path());
        for file in ["certificate.pem", "key.pem"] {
            daemon.give(&daemon.file(file));
        }
        fs::set_permissions(daemon.file("key.pem"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        daemon
    }

    /// The signal that ends it, if not SIGTERM.
    pub fn ends_by(&mut self, signal: Signal) {
        self.ends_by = signal;
    }

    /// Its port, whether it listens or not.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file in its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same, as text.
    pub fn show(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// Makes a folder of its own.
    pub fn make_folder(&self, name: &str) {
        fs::create_dir(self.file(name)).expect("a new folder");
        self.give(&self.file(name));
    }

    /// Writes a file that only its owner may read, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).expect("it is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        self.give(&path);
        path
    }

    fn give(&self, path: &Path) {
        if program::is_root() {
            chown(path, Some(program::NOBODY), Some(program::NOBODY)).expect("root may");
        }
    }

    /// A program that runs as the server does, in its folder.
    fn command(&self, words: &[&str]) -> Command {
        let (program, arguments) = words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        command.env("LC_ALL", "C.UTF-8").env("HOME", self.folder.path());
        if program::is_root() {
            command.uid(program::NOBODY).gid(program::NOBODY);
        }
        command
    }

    fn missing(&self, error: &std::io::Error) -> ! {
        panic!(
            "{} does not run ({error})\n  install it:  apt-get install {}\n  or as root:  cargo xtask test packages",
            self.name, self.package
        )
    }

    /// Runs a program to its end, with this on its standard input.
    pub fn run(&self, words: &[&str], environment: &[(&str, &str)], input: &str) -> String {
        self.write("input", input);
        let mut command = self.command(words);
        command.envs(environment.iter().copied()).stdin(File::open(self.file("input")).expect("it is ours"));
        let output = command.output().unwrap_or_else(|error| self.missing(&error));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{words:?}: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Starts it, and waits until it takes connections and `is_ready`.
    pub fn start(&mut self, words: &[&str], is_ready: impl Fn(&Self) -> bool) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.file("log")).expect("it is ours");
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| self.missing(&error));
        let ready = poll::until(|| {
            if let Some(status) = child.try_wait().expect("it is our child") {
                panic!("{} ended at once ({status})\n{}", self.name, self.log());
            }
            let answers = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
            (answers && is_ready(self)).then_some(())
        });
        self.child = Some(child);
        assert!(ready.is_some(), "{} is not ready in time\n{}", self.name, self.log());
    }

    /// Stops it in good order.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("it has one");
        kill_process(pid, self.ends_by).expect("it is our child");
        if poll::until(|| child.try_wait().expect("it is our child")).is_none() {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            panic!("{} does not end\n{}", self.name, self.log());
        }
    }

    /// Takes its place while it is stopped: connections are accepted, and nothing is said. It ends with what is returned.
    pub fn silence(&self) -> Silence {
        let port = self.port;
        let listener = poll::until(|| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        Silence { _listener: listener.expect("its port") }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

/// Somebody who listens, and says nothing: the kernel accepts for him.
#[derive(Debug)]
pub struct Silence {
    _listener: TcpListener,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the log of {}\n{}---", self.name, self.log());
        }
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}
