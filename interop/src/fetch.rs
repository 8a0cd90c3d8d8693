//! `restante fetch` as its users call it: a URL, where to deliver, a folder for its journal. Whatever it does, the
//! password must be in nothing that it writes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Outcome, PASSWORD, Peer, Program, Security, Server, USER, canonical, maildir};

pub mod suite;

/// The variable that the password comes in.
const VARIABLE: &str = "INTEROP_PASSWORD";

/// The password, and how SASL's PLAIN and LOGIN write it (RFC 4616 §2, RFC 4648 §4).
const SECRETS: [&str; 4] = [PASSWORD, "AGpvaG4AYWJjIHh5eg==", "am9obgBqb2huAGFiYyB4eXo=", "YWJjIHh5eg=="];

/// A server to call at: ours, or one of other people's.
pub trait Origin {
    /// Whose mail it is.
    fn user(&self) -> &'static str;
    /// The password.
    fn password(&self) -> &str {
        PASSWORD
    }
    /// The port for this way.
    fn pop3_port(&self, security: Security) -> u16;
    /// The authority that signed its certificate.
    fn authority(&self) -> PathBuf;
    /// A new folder for a client.
    fn client_folder(&self, name: &str) -> PathBuf;
}

impl Origin for Server {
    fn user(&self) -> &'static str {
        USER
    }
    fn pop3_port(&self, security: Security) -> u16 {
        self.port(security)
    }
    fn authority(&self) -> PathBuf {
        self.authority()
    }
    fn client_folder(&self, name: &str) -> PathBuf {
        self.client_folder(name)
    }
}

impl Origin for Peer {
    fn user(&self) -> &'static str {
        self.user()
    }
    fn pop3_port(&self, security: Security) -> u16 {
        self.pop3_port(security)
    }
    fn authority(&self) -> PathBuf {
        self.authority()
    }
    fn client_folder(&self, name: &str) -> PathBuf {
        self.client_folder(name)
    }
}

/// The client with its folder: where it delivers to, its journal, its transcript.
pub struct Fetch<'a> {
    origin: &'a dyn Origin,
    security: Security,
    folder: PathBuf,
}

impl<'a> Fetch<'a> {
    /// A client that never called at the server before.
    pub fn new(origin: &'a dyn Origin, security: Security, name: &str) -> Self {
        Self { origin, security, folder: origin.client_folder(name) }
    }

    /// Where the mail is.
    pub fn url(&self) -> String {
        let (scheme, query) = match self.security {
            Security::Plain => ("pop3", "?tls=none"),
            Security::Stls => ("pop3", ""),
            Security::Tls => ("pop3s", ""),
        };
        let user = self.origin.user().replace('@', "%40");
        format!("{scheme}://{user}@localhost:{}{query}", self.origin.pop3_port(self.security))
    }

    /// A file in the client's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The Maildir to deliver to, as a destination.
    pub fn to_maildir(&self) -> String {
        format!("maildir:{}", self.file("mail").display())
    }

    /// The folder of .eml files to deliver to, as a destination.
    pub fn to_eml(&self) -> String {
        format!("eml:{}", self.file("eml").display())
    }

    /// The command up to where the password comes from; for what [`Fetch::run`] does not do.
    pub fn program(&self, authority: &Path, to: &str) -> Program {
        let mut program = Program::ours(&self.folder).args(["fetch", &self.url(), "--to", to, "--json"]);
        if self.security != Security::Plain {
            program = program.arg("--ca-file").arg(authority);
        }
        program = program.arg("--state").arg(self.file("state"));
        program.arg("--transcript").arg(self.file("transcript"))
    }

    /// Calls with what is right.
    pub fn run(&self, to: &str, more: &[&str]) -> Outcome {
        self.run_with(self.origin.password(), &self.origin.authority(), to, more)
    }

    /// Calls with this password and this trust.
    pub fn run_with(&self, password: &str, authority: &Path, to: &str, more: &[&str]) -> Outcome {
        let program = self.program(authority, to).args(["--password-env", VARIABLE]).args(more);
        let outcome = program.env(VARIABLE, password).run();
        self.told_nobody(&outcome);
        outcome
    }

    /// Fails the test if the password is in anything that the client wrote.
    #[track_caller]
    pub fn told_nobody(&self, outcome: &Outcome) {
        let secrets: Vec<&str> = SECRETS.into_iter().chain([self.origin.password()]).collect();
        assert_clean(&secrets, "what it said", outcome.words().as_bytes());
        for path in files_under(&self.folder) {
            if path.file_name().is_none_or(|name| name != "password") {
                let octets = fs::read(&path).expect("it can be read");
                assert_clean(&secrets, &path.display().to_string(), &octets);
            }
        }
    }

    /// What lies in the Maildir, in canonical form: what our own server would send of it. Nothing may lie in its tmp/.
    pub fn in_maildir(&self) -> Vec<Vec<u8>> {
        let mail = self.file("mail");
        let unfinished = files_under(&mail.join("tmp"));
        assert!(unfinished.is_empty(), "left in tmp/: {unfinished:?}");
        maildir::read(&mail).iter().map(|message| canonical(message)).collect()
    }

    /// What lies in the folder of .eml files, exactly as it lies there.
    pub fn in_eml(&self) -> Vec<Vec<u8>> {
        let files = files_under(&self.file("eml"));
        let (whole, others): (Vec<PathBuf>, Vec<PathBuf>) =
            files.into_iter().partition(|path| path.extension().is_some_and(|extension| extension == "eml"));
        assert!(others.is_empty(), "left beside the messages: {others:?}");
        whole.iter().map(|path| fs::read(path).expect("it can be read")).collect()
    }
}

#[track_caller]
fn assert_clean(secrets: &[&str], place: &str, octets: &[u8]) {
    for secret in secrets {
        let found = octets.windows(secret.len()).any(|piece| piece == secret.as_bytes());
        assert!(!found, "the password is in {place}");
    }
}

/// Every file in a folder and those within it; none if there is no such folder.
fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries {
        let path = entry.expect("it is ours").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
