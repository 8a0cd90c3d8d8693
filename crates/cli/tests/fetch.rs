//! `restante fetch` as a person runs it: options, the file of accounts, what is told and how it ends. What happens to mail
//! under every misfortune is tested in `restante-fetch`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, path::Path, process::Command};

use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, PASSWORD, USER};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use self::odd::{Fault, Odd};

mod binary;
mod odd;

/// A home of its own, and a server with mail.
struct World {
    home: TempDir,
    server: EvilServer,
}

impl World {
    fn new(misbehaviour: Misbehaviour) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, server: EvilServer::start(misbehaviour, Mail::few()) }
    }

    fn url(&self) -> String {
        format!("pop3://{USER}@{}?tls=none", self.server.address())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = binary::command(args);
        command
            .env("HOME", self.home.path())
            .env("PW", PASSWORD)
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CONFIG_HOME");
        command.current_dir(self.home.path());
        command
    }

    fn fetch(&self, args: &[&str]) -> binary::Ran {
        binary::feed(self.command(&[&["fetch"], args].concat()), b"")
    }

    /// Fetches the URL into `Mail`.
    fn url_to_maildir(&self, more: &[&str]) -> binary::Ran {
        let url = self.url();
        self.fetch(&[&[url.as_str(), "--to", "maildir:Mail", "--password-env", "PW"], more].concat())
    }

    /// Writes the file of accounts, with the server's address for `URL`.
    fn configure(&self, text: &str) {
        let folder = self.home.path().join(".config/restante");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("fetch.toml"), text.replace("URL", &self.url())).unwrap();
    }

    fn delivered(&self) -> usize {
        let folder = self.home.path().join("Mail/new");
        if folder.is_dir() { fs::read_dir(folder).unwrap().count() } else { 0 }
    }

    /// No file under the home holds the password, but for those that are named.
    fn assert_no_password(&self, but: &[&str]) {
        fn search(folder: &Path, but: &[&str]) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    search(&path, but);
                } else if !but.iter().any(|name| path.ends_with(name)) {
                    let octets = fs::read(&path).unwrap();
                    assert!(
                        memchr::memmem::find(&octets, PASSWORD.as_bytes()).is_none(),
                        "{}",
                        path.display()
                    );
                }
            }
        }
        search(self.home.path(), but);
    }
}

#[test]
fn help() {
    binary::help(&["fetch"]);
}

#[test]
fn a_url_needs_no_file_and_a_second_run_finds_nothing_new() {
    let world = World::new(Misbehaviour::Nothing);
    let messages = world.server.mail().messages().len();
    let told = world.url_to_maildir(&[]).ok();
    assert!(told.contains(&format!("{messages} messages fetched (")), "{told}");
    assert_eq!(world.delivered(), messages);
    let told = world.url_to_maildir(&[]).ok();
    assert!(told.ends_with(&format!(": nothing new, {messages} kept on the server\n")), "{told}");
    assert_eq!(world.delivered(), messages);
    assert_eq!(world.server.left().len(), messages, "kept, since nobody said otherwise");
    let told = world.url_to_maildir(&["--keep", "false"]).ok();
    assert!(told.ends_with(&format!(": nothing new, {messages} deleted on the server\n")), "{told}");
    assert!(world.server.left().is_empty());
    assert_eq!(world.delivered(), messages);
    world.assert_no_password(&[]);
}

#[test]
fn a_plan_is_what_happens_then_and_changes_nothing() {
    let world = World::new(Misbehaviour::Nothing);
    let messages = world.server.mail().messages().len();
    let plan = world.url_to_maildir(&["--plan", "--keep", "false", "--max-size", "1"]).ok();
    assert!(plan.contains(&format!(": 0 to fetch, 0 to delete, {messages} to leave\n")), "{plan}");
    assert!(plan.contains("longer than 1 octets"), "{plan}");
    let plan = world.url_to_maildir(&["--plan", "--json"]).ok();
    let lines: Vec<serde_json::Value> = plan
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &serde_json::Value| line.get("action").is_some())
        .collect();
    assert_eq!(lines.len(), messages);
    assert!(
        lines.iter().all(|line| line["action"] == "fetch" && line["why"] == "new" && line["id"].is_string())
    );
    assert_eq!((world.delivered(), world.server.retrieved().len()), (0, 0));
    assert_eq!(world.server.left().len(), messages);
}

#[test]
fn json_is_one_object_a_line_and_tells_each_message() {
    let world = World::new(Misbehaviour::Nothing);
    let told = world.url_to_maildir(&["--json", "--keep", "false"]).ok();
    let lines: Vec<serde_json::Value> =
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!(count("delivered"), world.server.mail().messages().len());
    assert_eq!((count("connected"), count("planned"), count("deleted"), count("done")), (1, 1, 1, 1));
    assert!(lines.iter().all(|line| line["account"].is_string()));
    assert!(!told.contains(PASSWORD));
}

#[test]
fn quiet_says_nothing_but_what_goes_wrong() {
    let world = World::new(Misbehaviour::Nothing);
    let ran = world.url_to_maildir(&["--quiet"]);
    assert_eq!((ran.stdout(), ran.stderr(), ran.status()), (String::new(), String::new(), 0));
}

#[test]
fn a_transcript_has_the_session_and_no_password() {
    let world = World::new(Misbehaviour::Nothing);
    world.url_to_maildir(&["--transcript", "session.pop3"]).ok();
    let text = fs::read(world.home.path().join("session.pop3")).unwrap();
    let dialogue = restante_proto::dialogue::Dialogue::parse(&text).unwrap();
    assert!(dialogue.events.len() > 10);
    world.assert_no_password(&[]);
    world.url_to_maildir(&["--transcript", "session.pop3", "--mechanism", "PLAIN"]).ok();
    world.assert_no_password(&[]);
}

#[test]
fn wrong_usage_says_what_to_write() {
    let world = World::new(Misbehaviour::Nothing);
    let url = world.url();
    for (args, status, words) in [
        (&[url.as_str()][..], 2, "--to maildir:~/Mail"),
        (&[url.as_str(), "--to", "maildr:Mail"], 2, "did you mean «maildir»?"),
        (&[url.as_str(), "--to", "maildir:Mail", "--keep", "thirty"], 2, "such as 30d"),
        (&[url.as_str(), "--to", "maildir:Mail", "--max-size", "big"], 2, "50MiB"),
        (&[url.as_str(), "--to", "maildir:Mail", "--mechanism", "SCREAM"], 2, "PLAIN"),
        (&["pop3s://host", "--to", "maildir:Mail"], 2, "names no user"),
        (&["pop3s://john:hunter2@host", "--to", "maildir:Mail"], 2, "--password-command"),
        (&["imap://john@host", "--to", "maildir:Mail"], 2, "pop3s://"),
        (&[url.as_str(), url.as_str()], 2, "one URL at a time"),
        (&["--keep", "false"], 2, "--keep goes with a URL"),
        (&["--forget-login"], 2, "--forget-login ACCOUNT"),
        (&["gmx", "--ca-file", "x"], 2, "stands in the file"),
        (&[&url, "--to", "imaps://john:hunter2@host/INBOX"], 2, "to_password_command"),
        (&[], 1, "[accounts.gmx]"),
        (&["--config", "none.toml"], 1, "there is no none.toml"),
        (&[url.as_str(), "--to", "maildir:Mail"], 2, "--password-command"),
    ] {
        let told = world.fetch(args).fails(status);
        assert!(told.contains(words), "{args:?}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(world.server.connections(), 0);
}

#[test]
fn accounts_of_the_file_are_fetched_side_by_side_and_by_name() {
    let world = World::new(Misbehaviour::Nothing);
    let messages = world.server.mail().messages().len();
    world.configure(
        "[accounts.one]\nurl = \"URL\"\npassword_env = \"PW\"\nto = \"maildir:~/Mail\"\n\n\
         [accounts.two]\nurl = \"URL\"\npassword_command = \"printf %s \\\"$PW\\\"\"\nto = \"eml:~/two\"\nkeep = \"30d\"\nmax_size = \"10MiB\"\n",
    );
    fs::create_dir(world.home.path().join("two")).unwrap();
    let told = world.fetch(&[]).ok();
    for name in ["one", "two"] {
        assert!(told.contains(&format!("{name}: {messages} messages fetched")), "{told}");
    }
    assert_eq!(world.delivered(), messages);
    let told = world.fetch(&["two"]).ok();
    assert_eq!(told, format!("two: nothing new, {messages} kept on the server\n"));
    let told = world.fetch(&["tow"]).fails(2);
    assert!(told.contains("has no account «tow»") && told.contains("did you mean «two»?"), "{told}");
    world.assert_no_password(&[]);
}

#[test]
fn an_account_goes_on_where_its_url_left_off_and_one_that_fails_stops_no_other() {
    let world = World::new(Misbehaviour::Nothing);
    let messages = world.server.mail().messages().len();
    world.url_to_maildir(&[]).ok();
    world.configure(
        "[accounts.gone]\nurl = \"URL\"\npassword_env = \"PW\"\nto = \"maildir:/no/such/disk/Mail\"\n\n\
         [accounts.one]\nurl = \"URL\"\npassword_env = \"PW\"\nto = \"maildir:~/Mail/\"\n",
    );
    let ran = world.fetch(&[]);
    assert_eq!(ran.status(), 1);
    assert_eq!(ran.stdout(), format!("one: nothing new, {messages} kept on the server\n"));
    assert!(ran.stderr().contains("gone: ") && ran.stderr().contains("disk"), "{}", ran.stderr());
    assert_eq!(world.delivered(), messages);
}

#[test]
fn a_plan_says_what_is_deleted_once_it_is_delivered() {
    let world = World::new(Misbehaviour::Nothing);
    let messages = world.server.mail().messages().len();
    let plan = world.url_to_maildir(&["--plan", "--keep", "false"]).ok();
    assert!(
        plan.ends_with(&format!(": {messages} to fetch and then to delete, 0 to delete, 0 to leave\n")),
        "{plan}"
    );
    assert!(plan.contains("new; deleted on the server once it is delivered"), "{plan}");
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_place() {
    let world = World::new(Misbehaviour::Nothing);
    for (text, words) in [
        ("[accounts.a]\nurl = \"URL\"\nkep = true\nto = \"maildir:x\"\n", &["line 3", "kep"][..]),
        ("[accounts.a]\nurl = \"URL\"\nto = \"maildir:x\"\nkeep = 30\n", &["line 4", "keep is true, false"]),
        ("[accounts.a]\nto = \"maildir:x\"\n", &["accounts.a", "url is missing"]),
        ("[accounts.a]\nurl = \"URL\"\n", &["accounts.a", "to is missing"]),
        ("[accounts.a]\nurl = \"x\"\nto = \"maildir:x\"\n", &["accounts.a", "pop3s://"]),
        ("[accounts.\"../a\"]\nurl = \"URL\"\nto = \"maildir:x\"\n", &["letters, digits"]),
        (
            "[accounts.a]\nurl = \"URL\"\nto = \"maildir:x\"\npassword_env = \"A\"\npassword_file = \"b\"\n",
            &["do not go together"],
        ),
        ("", &["has no accounts", "[accounts.gmx]"]),
    ] {
        world.configure(text);
        let told = world.fetch(&[]).fails(1);
        assert!(words.iter().all(|word| told.contains(word)), "{text}: {told}");
    }
}

#[test]
fn a_wrong_password_is_told_and_not_tried_again_and_again() {
    let world = World::new(Misbehaviour::Nothing);
    let url = world.url();
    let wrong = |more: &[&str]| {
        let args = [&["fetch", url.as_str(), "--to", "maildir:Mail", "--password-env", "PW"], more].concat();
        let mut command = world.command(&args);
        command.env("PW", "hunter2");
        binary::feed(command, b"").fails(1)
    };
    let told = wrong(&[]);
    assert!(told.contains("--retry-login") && !told.contains("hunter2"), "{told}");
    wrong(&[]);
    let before = world.server.connections();
    let told = wrong(&[]);
    assert!(told.contains("2 times in a row") && told.contains("it is not tried again for"), "{told}");
    assert_eq!(world.server.connections(), before, "the server is left alone");
    wrong(&["--retry-login"]);
    assert_eq!(world.server.connections(), before + 1);
    assert_eq!(world.delivered(), 0);
    // The right one, at once.
    world.url_to_maildir(&["--retry-login"]).ok();
    world.url_to_maildir(&[]).ok();
}

#[test]
fn netrc_is_read_where_nothing_else_is_said() {
    let world = World::new(Misbehaviour::Nothing);
    let (word, rest) = PASSWORD.split_once(' ').unwrap_or((PASSWORD, ""));
    let url = world.url();
    fs::write(world.home.path().join(".netrc"), format!("machine 127.0.0.1 login {USER} password {word}\n"))
        .unwrap();
    let ran = world.fetch(&[&url, "--to", "maildir:Mail"]);
    // A word of netrc has no spaces, the server's password may.
    let status = if rest.is_empty() { 0 } else { 1 };
    assert_eq!(ran.status(), status, "{}", ran.stderr());
    assert_eq!(world.server.connections(), 1);
}

#[test]
fn a_message_that_is_refused_stops_no_other_and_is_told() {
    let world = World::new(Misbehaviour::RetrRefused);
    let messages = world.server.mail().messages().len();
    let ran = world.url_to_maildir(&["--keep", "false"]);
    let (status, out, err) = (ran.status(), ran.stdout(), ran.stderr());
    assert_eq!(status, 1, "{out}{err}");
    assert!(
        out.contains("1 set aside") && err.contains("is set aside: the server refused RETR"),
        "{out}{err}"
    );
    assert_eq!((world.delivered(), world.server.left().len()), (messages - 1, 1));
}

#[test]
fn every_goes_on_until_it_is_told_to_stop() {
    let world = World::new(Misbehaviour::Nothing);
    let url = world.url();
    let args = ["fetch", &url, "--to", "maildir:Mail", "--password-env", "PW", "--every", "1s", "--json"];
    let mut child = world.command(&args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut done = 0;
    for line in std::io::BufRead::lines(out) {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_ne!(line["event"], "failed", "{line}");
        done += usize::from(line["event"] == "done");
        if done == 2 {
            kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
            break;
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(world.delivered(), world.server.mail().messages().len());
}

#[test]
fn what_a_server_says_cannot_change_the_terminal() {
    let odd = Odd::start(Fault::Escapes);
    let (world, url) = (World::new(Misbehaviour::Nothing), format!("pop3://mara@{}?tls=none", odd.address));
    for (more, form) in [(&[][..], "text"), (&["--json"], "JSON")] {
        let given = [&url, "--to", "maildir:Mail", "--password-env", "PW"];
        let ran = world.fetch(&[&given[..], more].concat());
        assert_eq!(ran.status(), 1, "{form}");
        let told = ran.stdout() + &ran.stderr();
        let harmful = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(told.contains("refused RETR") && !told.contains(harmful), "{form}: {told:?}");
    }
}
