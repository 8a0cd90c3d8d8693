//! `restante serve` as its users start it: a configuration file, a users file, a certificate, a Maildir. It listens on
//! free ports of 127.0.0.1, is stopped by SIGTERM, and shows its log when a test fails.

use std::{
    env, fs,
    fs::File,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Letter, authority, maildir, poll, program};

/// Whose mail it is.
pub const USER: &str = "john";

/// The password.
pub const PASSWORD: &str = "abc xyz";

/// What opens the live page.
pub const TOKEN: &str = "a-token-for-tests-only";

/// How a client comes to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Everything in clear.
    Plain,
    /// TLS after STLS (RFC 2595 §4).
    Stls,
    /// TLS from the first octet (RFC 8314 §3).
    Tls,
}

impl Security {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Stls, Self::Tls];
}

/// A running server with its folder; both are gone when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: TempDir,
    pop3: u16,
    pop3s: u16,
    admin: Option<u16>,
}

/// What a server is called, who has mail there, and where it listens for clear text.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Its name in the greeting.
    pub hostname: &'a str,
    /// Whose mail it is.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The port; 0 is a free one.
    pub port: u16,
}

/// What stands in a configuration beside what every server here has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// More keys of `[auth]`.
    pub auth: &'a str,
    /// Lines in `[listen]`.
    pub listen: &'a str,
    /// Further sections.
    pub sections: &'a str,
    /// Who else has an empty maildrop.
    pub users: &'a [&'a str],
    /// What stands in the place of `/etc/pam.d`.
    pub pam: Option<&'a Path>,
}

impl Default for Account<'_> {
    fn default() -> Self {
        Self { hostname: "mail.example.org", user: USER, password: PASSWORD, port: 0 }
    }
}

impl Server {
    /// Starts a server whose user has this mail.
    pub fn start(letters: &[Letter]) -> Self {
        Self::of(&Account::default(), letters)
    }

    /// Starts a server that can be looked at, and lets many connections in.
    pub fn watched(letters: &[Letter]) -> Self {
        Self::launch(&Account::default(), letters, Watched::ByTcp, &Extra::default())
    }

    /// Starts a server that offers these ways to log in, and no other SASL mechanism; `APOP` is one, too.
    pub fn offering(ways: &[&str], letters: &[Letter]) -> Self {
        let apop = ways.contains(&"APOP");
        let mechanisms: Vec<&&str> = ways.iter().filter(|way| **way != "APOP").collect();
        let auth = format!("apop = {apop}\nmechanisms = {mechanisms:?}\n");
        Self::with(&Extra { auth: &auth, ..Extra::default() }, letters)
    }

    /// Starts a server for this account.
    pub fn of(account: &Account<'_>, letters: &[Letter]) -> Self {
        Self::launch(account, letters, Watched::No, &Extra::default())
    }

    /// Starts a server whose user comes with a token by this mechanism; `oauth` is what the section of that name says.
    pub fn with_tokens(account: &Account<'_>, letters: &[Letter], mechanism: &str, oauth: &str) -> Self {
        let auth = format!("directories = [\"users\", \"oauth\"]\nmechanisms = [\"{mechanism}\"]\n");
        let sections = format!("\n[oauth]\n{oauth}");
        let extra = Extra { auth: &auth, sections: &sections, ..Extra::default() };
        Self::launch(account, letters, Watched::No, &extra)
    }

    /// Starts a server with more in its configuration.
    pub fn with(extra: &Extra<'_>, letters: &[Letter]) -> Self {
        Self::launch(&Account::default(), letters, Watched::No, extra)
    }

    /// Starts a server that asks these directories, in this order, and has an empty maildrop for each of `users`. `sections` is
    /// more of its configuration. [`USER`] is in the users file.
    pub fn asking(directories: &[&str], sections: &str, users: &[&str]) -> Self {
        Self::asking_with(None, directories, sections, users)
    }

    /// The same, with this folder in the place of `/etc/pam.d`, which nobody else sees: as root alone.
    pub fn asking_pam(pam: &Path, directories: &[&str], sections: &str, users: &[&str]) -> Self {
        assert!(program::is_root(), "a service of PAM needs root: run this test as root");
        Self::asking_with(Some(pam), directories, sections, users)
    }

    fn asking_with(pam: Option<&Path>, directories: &[&str], sections: &str, users: &[&str]) -> Self {
        let auth = format!("directories = {directories:?}\n");
        let sections = format!("[limits]\nfailure_delay_seconds = 0\n\n{sections}");
        let extra = Extra { auth: &auth, sections: &sections, users, pam, ..Extra::default() };
        Self::with(&extra, &[])
    }

    fn launch(account: &Account<'_>, letters: &[Letter], watched: Watched, extra: &Extra<'_>) -> Self {
        let folder =
            tempfile::Builder::new().prefix("restante-interop-").tempdir().expect("a temporary folder");
        // Clients run as nobody: they walk through, and read the certificates.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let path = |name: &str| folder.path().join(name);
        authority::write(folder.path());
        let Account { user, password, .. } = account;
        fs::write(path("users"), format!("{user}:{{PLAIN}}{password}\n")).expect("it is ours");
        fs::set_permissions(path("users"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(path("mail").join(user).join(part)).expect("it is ours");
        }
        for letter in letters {
            maildir::deliver(&path("mail").join(user), letter);
        }
        for user in extra.users {
            for part in ["tmp", "new", "cur"] {
                fs::create_dir_all(path("mail").join(user).join(part)).expect("it is ours");
            }
        }
        let text = configuration(folder.path(), account, watched, extra);
        fs::write(path("restante.toml"), text).expect("it is ours");
        fs::write(path("token"), TOKEN).expect("it is ours");
        fs::set_permissions(path("token"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        let log = File::create(path("log")).expect("it is ours");
        let mut command = match extra.pam {
            None => Command::new(binary()),
            Some(pam) => {
                let mut command = Command::new("unshare");
                let script = "mount --bind \"$1\" /etc/pam.d && shift && exec \"$@\"";
                command.args(["--mount", "sh", "-c", script, "sh"]).arg(pam).arg(binary());
                command
            }
        };
        let child = command
            .args(["serve", "--config"])
            .arg(path("restante.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let mut server = Self { child, folder, pop3: 0, pop3s: 0, admin: None };
        (server.pop3, server.pop3s, server.admin) = server.ports(watched);
        server
    }

    /// The ports that the server says it listens on; it says so once it is ready.
    fn ports(&mut self, watched: Watched) -> (u16, u16, Option<u16>) {
        let log = self.folder.path().join("log");
        let mut ports = (None, None, None);
        let ended = poll::until(|| {
            let text = fs::read_to_string(&log).unwrap_or_default();
            ports = (port(&text, "(pop3)"), port(&text, "(pop3s)"), port(&text, "(admin)"));
            match ports {
                (Some(_), Some(_), admin) if admin.is_some() == (watched == Watched::ByTcp) => Some(None),
                _ => self.child.try_wait().expect("it is our child").map(Some),
            }
        });
        match (ports, ended) {
            ((Some(pop3), Some(pop3s), admin), Some(None)) => (pop3, pop3s, admin),
            (_, Some(status)) => panic!("the server ended at once ({status:?})"),
            (_, None) => panic!("the server is not ready in time"),
        }
    }

    /// The port for this way.
    pub fn port(&self, security: Security) -> u16 {
        if security == Security::Tls { self.pop3s } else { self.pop3 }
    }

    /// The port for clients that a proxy names.
    pub fn proxied(&self, security: Security) -> u16 {
        let mark = if security == Security::Tls { "(proxied pop3s)" } else { "(proxied pop3)" };
        // Its line may come behind those that the start waits for.
        poll::until(|| port(&self.log(), mark)).expect("it listens for proxies")
    }

    /// The file that the log goes to.
    pub fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The port of the live page.
    pub fn admin(&self) -> u16 {
        self.admin.expect("it is a server that can be looked at")
    }

    /// The authority that signed the server's certificate, which is for `localhost`.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// An authority that did not.
    pub fn stranger(&self) -> PathBuf {
        self.folder.path().join("stranger.pem")
    }

    /// A new folder for a client to work in.
    pub fn client_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        self.own(&path);
        path
    }

    /// A new Maildir for a client to deliver to.
    pub fn client_maildir(&self, name: &str) -> PathBuf {
        let path = self.client_folder(name);
        for part in ["tmp", "new", "cur"] {
            self.own(&path.join(part));
        }
        path
    }

    /// The program `restante` where a client may run it.
    pub fn restante(&self) -> PathBuf {
        let copy = self.folder.path().join("restante");
        if !copy.exists() {
            fs::copy(binary(), &copy).expect("it was built");
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        copy
    }

    fn own(&self, path: &Path) {
        fs::create_dir(path).expect("a new folder");
        if program::is_root() {
            chown(path, Some(program::NOBODY), Some(program::NOBODY)).expect("root may");
        }
    }

    /// Writes a file that only the client may read, as some insist on for files with passwords.
    pub fn client_file(&self, path: &Path, text: &str) {
        fs::write(path, text).expect("it is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        if program::is_root() {
            chown(path, Some(program::NOBODY), Some(program::NOBODY)).expect("root may");
        }
    }

    fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail").join(USER)
    }

    /// A letter comes in while the server runs.
    pub fn deliver(&self, letter: &Letter) {
        maildir::deliver(&self.maildir(), letter);
    }

    /// The unique-ids of what is left in the Maildir, sorted.
    pub fn left(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for part in ["new", "cur"] {
            for entry in fs::read_dir(self.maildir().join(part)).expect("it is ours") {
                let name = entry.expect("it is ours").file_name().into_string().expect("we named it");
                ids.push(name.split(':').next().expect("there is a first piece").to_owned());
            }
        }
        ids.sort();
        ids
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Stops the server as an init system does, and fails the test unless it goes in good order, without having
    /// logged the password.
    pub fn stop(mut self) {
        let status = self.terminate();
        assert!(status.is_some_and(|status| status.success()), "the server ended with {status:?}");
        let log = self.log();
        assert!(!log.contains(PASSWORD), "the password is in the log");
        assert!(!log.contains("panicked"), "the server panicked");
    }

    fn terminate(&mut self) -> Option<std::process::ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        let pid = Pid::from_raw(i32::try_from(self.child.id()).ok()?)?;
        kill_process(pid, Signal::TERM).ok()?;
        poll::until(|| self.child.try_wait().ok()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.terminate().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            eprintln!("--- the server's log\n{}---", self.log());
        }
    }
}

/// The port in the line that ends in `mark`.
fn port(log: &str, mark: &str) -> Option<u16> {
    let lines = log.lines().filter(|line| line.contains(mark));
    // A unix socket has a place in the log too, and no port.
    lines
        .filter_map(|line| line.split_once("listening on ")?.1.split_once(' '))
        .find_map(|(address, _)| address.rsplit_once(':')?.1.parse().ok())
}

/// Whether a server can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    No,
    ByTcp,
}

fn configuration(folder: &Path, account: &Account<'_>, watched: Watched, extra: &Extra<'_>) -> String {
    let Extra { listen, auth, sections, .. } = extra;
    let Account { hostname, port, .. } = account;
    let folder = folder.display();
    let (admin, more) = match watched {
        Watched::No => (String::new(), String::new()),
        Watched::ByTcp => (
            format!("admin = [\"127.0.0.1:0\", \"{folder}/admin.sock\"]\n"),
            format!(
                "\n[admin]\ntoken_file = \"{folder}/token\"\n\n[limits]\nconnections_per_address = 2000\n"
            ),
        ),
    };
    format!(
        r#"hostname = "{hostname}"

[listen]
pop3 = ["127.0.0.1:{port}"]
pop3s = ["127.0.0.1:0"]
{admin}{listen}
[tls]
certificate = "{folder}/certificate.pem"
key = "{folder}/key.pem"

[auth]
users = "{folder}/users"
cleartext = "loopback"
{auth}
[store]
maildir = "{folder}/mail/{{user}}"
{more}
{sections}"#
    )
}

/// The server under test: `$RESTANTE_BINARY`, or the one of this workspace, built first so that it is never an old one.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = env::var_os("RESTANTE_BINARY") {
            return PathBuf::from(path);
        }
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "restante", "--features", "pam"])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "the server does not build");
        // The tests stand in deps/, beside it.
        let test = env::current_exe().expect("this test is a file");
        test.ancestors().nth(2).expect("it is in a folder").join("restante")
    })
}
