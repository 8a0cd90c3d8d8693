//! `restante admin`, asked of a real server with sessions that are held open.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

mod binary;

/// Long enough for a loaded machine; nothing waits that long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// The token of the page in these tests.
const TOKEN: &str = "a-token-for-these-tests";

/// A server with a page; it is killed when the test ends.
struct Served {
    child: Child,
    log: BufReader<ChildStderr>,
    folder: TempDir,
    pop3: SocketAddr,
    /// Of the page, if it was asked for.
    page: Option<SocketAddr>,
}

impl Served {
    /// One with a socket, and these lines under `[listen]` and behind it.
    fn start(admin: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_config(folder.path(), admin, more);
        let (mut child, mut log) = run(folder.path());
        let (mut pop3, mut page, mut seen) = (None, None, String::new());
        while pop3.is_none()
            || !seen.contains("admin.sock (admin)")
            || (admin.contains(':') && page.is_none())
        {
            let mut line = String::new();
            if log.read_line(&mut line).unwrap() == 0 {
                child.wait().unwrap();
                panic!("the server ended:\n{seen}");
            }
            if let Some((_, place)) = line.split_once("listening on ") {
                let (address, port) = place.split_once(' ').unwrap();
                match (address.parse().ok(), port.trim_end()) {
                    (address @ Some(_), "(pop3)") => pop3 = address,
                    (address @ Some(_), "(admin)") => page = address,
                    _ => {}
                }
            }
            seen.push_str(&line);
        }
        Self { child, log, folder, pop3: pop3.unwrap(), page }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn config(&self) -> String {
        self.folder.path().join("restante.toml").to_str().unwrap().to_owned()
    }

    /// `restante admin ARGUMENTS --socket …`
    fn admin(&self, arguments: &[&str]) -> binary::Ran {
        let socket = self.socket();
        binary::restante(&[&["admin"], arguments, &["--socket", socket.to_str().unwrap()]].concat())
    }

    /// Asks until the answer fits.
    #[track_caller]
    fn admin_says(&self, arguments: &[&str], fits: impl Fn(&str) -> bool) -> String {
        let by = Instant::now() + PATIENCE;
        loop {
            let said = self.admin(arguments).ok();
            if fits(&said) {
                return said;
            }
            assert!(Instant::now() < by, "{arguments:?} goes on saying {said}");
        }
    }

    /// A session of this user.
    fn log_in(&self, user: &str) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(self.pop3).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = BufReader::new(stream);
        hear(&mut client);
        say(&mut client, &format!("USER {user}"));
        assert_eq!(say(&mut client, "PASS abcxyz"), "+OK maildrop locked and ready");
        client
    }

    /// Reads the log up to a line that holds `text`.
    #[track_caller]
    fn logs(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended without {text:?}:\n{seen}");
            if line.contains(text) {
                return line;
            }
            seen.push_str(&line);
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    fn ends(&mut self) {
        let by = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < by, "the server does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn run(folder: &Path) -> (Child, BufReader<ChildStderr>) {
    let config = folder.join("restante.toml");
    let mut command = binary::command(&["serve", "--config", config.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    (child, log)
}

fn write_config(folder: &Path, admin: &str, more: &str) {
    for user in ["john", "jane"] {
        for name in ["tmp", "new", "cur"] {
            fs::create_dir_all(folder.join("mail").join(user).join(name)).unwrap();
        }
        fs::write(folder.join("mail").join(user).join("cur/1:2,"), "Subject: one\n\nHello.\n").unwrap();
    }
    fs::write(folder.join("users"), "john:{PLAIN}abcxyz\njane:{PLAIN}abcxyz\n").unwrap();
    let token = folder.join("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let here = folder.display();
    let admin = admin.replace("HERE", folder.to_str().unwrap());
    let more = more.replace("HERE", folder.to_str().unwrap());
    let text = format!(
        "hostname = \"X1\"\n[listen]\npop3 = [\"127.0.0.1:0\"]\nadmin = {admin}\n[auth]\nusers = \"{here}/users\"\n\
         [store]\nmaildir = \"{here}/mail/{{user}}\"\n{more}"
    );
    fs::write(folder.join("restante.toml"), text).unwrap();
}

const SOCKET: &str = "\"HERE/admin.sock\"";
const SOCKET_AND_ADDRESS: &str = "[\"HERE/admin.sock\", \"127.0.0.1:0\"]";
const TOKEN_FILE: &str = "[admin]\ntoken_file = \"HERE/token\"\n";

fn hear(client: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn say(client: &mut BufReader<TcpStream>, line: &str) -> String {
    client.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    hear(client)
}

/// The names of the sessions that `who --json` tells.
fn names(json: &str) -> Vec<String> {
    let name = |line: &str| {
        let session: serde_json::Value = serde_json::from_str(line).unwrap();
        session["session"].as_str().unwrap().to_owned()
    };
    json.lines().map(name).collect()
}

#[test]
fn help() {
    binary::help(&["admin"]);
    for action in ["who", "kick", "watch", "locks", "metrics", "health"] {
        binary::help(&["admin", action]);
    }
}

#[test]
fn who_is_on_what_is_locked_and_who_goes() {
    let served = Served::start(SOCKET, "");
    assert_eq!(served.admin(&["who"]).ok(), "nobody is on\n");
    assert_eq!(served.admin(&["locks"]).ok(), "no maildrop is held\n");
    let mut john = served.log_in("john");
    let mut jane = served.log_in("jane");
    assert_eq!(say(&mut jane, "DELE 1"), "+OK msg deleted");
    let said =
        served.admin_says(&["who"], |said| said.contains("john") && said.matches(" waits ").count() == 2);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with("SESSION ") && lines.len() == 3, "{said}");
    assert!(lines[1].contains(" john ") && lines[1].contains(" TRANSACTION "), "{said}");
    assert!(served.admin(&["who", "jane"]).ok().lines().count() == 2);
    let json = served.admin_says(&["who", "--json"], |said| said.lines().count() == 2);
    let names = names(&json);
    let locks = served.admin(&["locks"]).ok();
    assert!(locks.starts_with("USER ") && names.iter().all(|name| locks.contains(name)), "{locks}");
    assert_eq!(served.admin(&["locks", "--json"]).ok().lines().count(), 2);

    let mut arguments = vec!["kick", names[0].as_str(), "0-0", "../locks"];
    let ran = served.admin(&arguments);
    assert_eq!(ran.stdout(), format!("{} is ended\n", names[0]));
    assert_eq!(ran.fails(0).matches("is on\n").count(), 2);
    assert_eq!(john.read(&mut [0]).unwrap(), 0, "the connection is closed");
    arguments.remove(1);
    assert!(served.admin(&arguments).fails(1).contains("no session 0-0 is on\n"));
    assert_eq!(served.admin(&["kick", "--user", "jane"]).ok(), format!("{} is ended\n", names[1]));
    assert_eq!(jane.read(&mut [0]).unwrap(), 0);
    served.admin_says(&["who"], |said| said == "nobody is on\n");
    assert!(served.admin(&["kick", "--user", "jane"]).fails(1).contains("jane is not on"));
    assert!(served.folder.path().join("mail/jane/cur/1:2,").exists(), "what was marked stays");
}

#[test]
fn a_session_is_drawn_while_it_runs() {
    let served = Served::start(SOCKET, "");
    let socket = served.socket();
    let arguments = ["admin", "watch", "--width", "80", "--socket", socket.to_str().unwrap()];
    let mut watch = binary::command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut drawn = BufReader::new(watch.stdout.take().unwrap());
    // What begins before it is heard is drawn from its next command.
    let mut client = served.log_in("john");
    let (found, finds) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut seen = String::new();
        while drawn.read_line(&mut seen).unwrap() > 0 {
            if seen.contains("── NOOP ─") {
                // The main thread may have seen enough.
                let _enough = found.send(());
            }
        }
        seen
    });
    let by = Instant::now() + PATIENCE;
    loop {
        assert_eq!(say(&mut client, "NOOP"), "+OK");
        // Alike ones are folded, and drawn when nothing follows.
        if finds.recv_timeout(Duration::from_secs(1)).is_ok() {
            break;
        }
        assert!(Instant::now() < by, "nothing is drawn");
    }
    assert_eq!(say(&mut client, "QUIT"), "+OK POP3 Server saying Good-Bye");
    // It is drawn to its end before the interrupt.
    served.admin_says(&["who"], |said| said == "nobody is on\n");
    kill_process(Pid::from_child(&watch), Signal::INT).unwrap();
    assert!(watch.wait().unwrap().success());
    let seen = reader.join().unwrap();
    assert!(seen.contains("Session 1") && !seen.contains("abcxyz"), "{seen}");
    assert!(served.admin(&["watch", "--session", "0-0"]).fails(1).contains("no session 0-0 is on"));
}

#[test]
fn one_session_is_watched_to_its_end() {
    let served = Served::start(SOCKET, "");
    let client = served.log_in("john");
    let name = names(&served.admin_says(&["who", "--json"], |said| said.contains("\"john\""))).remove(0);
    let socket = served.socket();
    let arguments = ["admin", "watch", "--session", &name, "--socket", socket.to_str().unwrap()];
    let mut watch = binary::command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    // Commands until one of them is heard, and then the end.
    let mut client = client;
    let mut drawn = BufReader::new(watch.stdout.take().unwrap());
    let (found, finds) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut seen = String::new();
        while drawn.read_line(&mut seen).unwrap() > 0 {
            if seen.contains("NOOP") {
                // The main thread may have seen enough.
                let _enough = found.send(());
            }
        }
        seen
    });
    let by = Instant::now() + PATIENCE;
    loop {
        assert_eq!(say(&mut client, "NOOP"), "+OK");
        // Alike ones are folded, and drawn when nothing follows.
        if finds.recv_timeout(Duration::from_secs(1)).is_ok() {
            break;
        }
        assert!(Instant::now() < by, "nothing is drawn");
    }
    assert_eq!(say(&mut client, "QUIT"), "+OK POP3 Server saying Good-Bye");
    assert!(watch.wait().unwrap().success(), "it ends with the session");
    let seen = reader.join().unwrap();
    assert!(seen.contains("── QUIT ─") && seen.contains("Good-Bye"), "{seen}");
}

#[test]
fn health_is_told_with_its_reason() {
    let served = Served::start(SOCKET, "");
    assert_eq!(served.admin(&["health"]).ok(), "ok\n");
    fs::rename(served.folder.path().join("users"), served.folder.path().join("users-away")).unwrap();
    let told = served.admin(&["health"]).fails(1);
    assert!(told.contains("cannot read the users file"), "{told}");
    fs::rename(served.folder.path().join("users-away"), served.folder.path().join("users")).unwrap();
    fs::rename(served.folder.path().join("mail"), served.folder.path().join("mail-away")).unwrap();
    let told = served.admin(&["health"]).fails(1);
    assert!(told.contains("holds all maildrops"), "{told}");
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_do() {
    let mut served = Served::start(SOCKET, "");
    let socket = served.socket();
    let mode = fs::symlink_metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(binary::restante(&["admin", "who", "--config", &served.config()]).ok(), "nobody is on\n");
    // Another one of the same place is told who is there.
    let folder = tempfile::tempdir().unwrap();
    let place = format!("\"{}\"", socket.display());
    write_config(folder.path(), &place, "");
    let config = folder.path().join("restante.toml");
    let told = binary::restante(&["serve", "--config", config.to_str().unwrap()]).fails(1);
    let who = format!("restante (process {}) listens there", served.child.id());
    assert!(told.contains(&who) && told.contains("[listen] admin"), "{told}");
    assert_eq!(served.admin(&["who"]).ok(), "nobody is on\n", "and the first one goes on");
    served.signal(Signal::TERM);
    served.ends();
    assert!(!socket.exists());
    let told = served.admin(&["who"]).fails(1);
    assert!(told.contains("there is no admin socket") && told.contains("is the server running?"), "{told}");
    let told = binary::restante(&["admin", "who", "--config", &served.config()]).fails(1);
    assert!(told.contains("[listen] admin in ") && told.contains("restante.toml"), "{told}");
}

#[test]
fn sigterm_does_not_wait_for_who_watches() {
    let mut served = Served::start(SOCKET_AND_ADDRESS, TOKEN_FILE);
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.write_all(b"GET /sessions/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let _idle = TcpStream::connect(served.page.unwrap()).unwrap();
    let began = Instant::now();
    served.signal(Signal::TERM);
    served.ends();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// An answer over TCP.
fn asked(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{head}\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_address_needs_the_token_which_is_read_again() {
    let mut served = Served::start(SOCKET_AND_ADDRESS, TOKEN_FILE);
    let page = served.page.unwrap();
    let with = |token: &str| asked(page, &format!("GET /locks HTTP/1.1\r\nAuthorization: Bearer {token}"));
    assert!(asked(page, "GET /locks HTTP/1.1").starts_with("HTTP/1.1 401 "));
    for open in ["/livez", "/readyz", "/"] {
        assert!(asked(page, &format!("GET {open} HTTP/1.1")).starts_with("HTTP/1.1 200 "), "{open}");
    }
    assert!(with(TOKEN).starts_with("HTTP/1.1 200 "));
    fs::write(served.folder.path().join("token"), "another token, with blanks\n").unwrap();
    served.signal(Signal::HUP);
    let line = served.logs("the configuration stays as it was");
    assert!(line.contains("restante.toml:") && line.contains("no request can carry"), "{line}");
    fs::write(served.folder.path().join("token"), "another-token-of-theirs\n").unwrap();
    let config = fs::read_to_string(served.config())
        .unwrap()
        .replace("\"127.0.0.1:0\"]\n[auth]", "\"127.0.0.2:0\"]\n[auth]");
    fs::write(served.config(), config).unwrap();
    served.signal(Signal::HUP);
    let line = served.logs("takes a restart");
    assert!(line.contains("[listen] admin"), "{line}");
    served.logs("were read again");
    assert!(with("another-token-of-theirs").starts_with("HTTP/1.1 200 "));
    assert!(with(TOKEN).starts_with("HTTP/1.1 401 "));
}

#[test]
fn addresses_without_a_token_and_tokens_that_others_can_read_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |command: &[&str]| {
        let config = folder.path().join("restante.toml");
        binary::restante(&[command, &["--config", config.to_str().unwrap()]].concat()).fails(1)
    };
    for command in [&["serve"][..], &["config", "check"]] {
        write_config(folder.path(), "\"127.0.0.1:0\"", "");
        let told = fails(command);
        assert!(told.contains("restante.toml:4:9: a TCP address needs a token"), "{told}");
        write_config(folder.path(), "\"127.0.0.1:0\"", TOKEN_FILE);
        let token = folder.path().join("token");
        fs::write(&token, "short\n").unwrap();
        assert!(fails(command).contains("must have 16 to"));
        fs::set_permissions(&token, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(fails(command).contains("others than its owner can open"));
        fs::remove_file(&token).unwrap();
        assert!(fails(command).contains("umask 077"));
    }
    // A place that was asked for must be had.
    write_config(folder.path(), "\"HERE/gone/admin.sock\"", "");
    let told = fails(&["serve"]);
    assert!(told.contains("gone is not there") && told.contains("RuntimeDirectory=restante"), "{told}");
}

#[test]
fn the_demo_prints_the_address_that_opens_its_page() {
    let arguments = ["serve", "--demo", "--demo-pop3", "127.0.0.1:0", "--demo-pop3s", "127.0.0.1:0"];
    let mut command = binary::command(&[&arguments[..], &["--demo-admin", "127.0.0.1:0"]].concat());
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    while !greeting.contains(" watch\n") {
        assert!(out.read_line(&mut greeting).unwrap() > 0, "{greeting}");
    }
    let word =
        |start: &str| greeting.split_whitespace().find(|word| word.contains(start)).unwrap().to_owned();
    let (page, socket) = (word("http://"), word("admin.sock"));
    let (address, token) = page.strip_prefix("http://").unwrap().split_once("/#token=").unwrap();
    let head = format!("GET /locks HTTP/1.1\r\nAuthorization: Bearer {token}");
    let answer = asked(address.parse().unwrap(), &head);
    assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("et-cookie"), "{answer}");
    assert_eq!(binary::restante(&["admin", "--socket", &socket, "who"]).ok(), "nobody is on\n");
    // A second one is told that the port is taken.
    let told = binary::restante(&[&arguments[..], &["--demo-admin", address]].concat()).fails(1);
    assert!(told.contains(&format!("cannot listen on {address}")) && told.contains("--demo-admin"), "{told}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!Path::new(&socket).exists());
}
