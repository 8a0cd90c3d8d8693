//! `restante serve`: the binary as an operator runs it, on a real Maildir and on real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

mod binary;

/// Long enough for a loaded machine; nothing waits that long when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. It is killed when the test ends.
struct Served {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Served {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_restante"))
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads the log up to a line that holds `text`.
    #[track_caller]
    fn logs(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            if self.log.read_line(&mut line).unwrap() == 0 {
                panic!("the log ended without {text:?}:\n{seen}");
            }
            if line.contains(text) {
                return line;
            }
            seen.push_str(&line);
        }
    }

    /// Where it listens for `port`.
    fn address(&mut self, port: &str) -> SocketAddr {
        let line = self.logs(&format!("({port})"));
        let (_, rest) = line.split_once("listening on ").unwrap();
        rest.split_once(' ').unwrap().0.parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ends(mut self) -> ExitStatus {
        let by = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
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

/// A client that says a line and hears lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no line: {line:?}")).to_owned()
    }

    fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.line()
    }
}

/// A configuration, a users file, and a Maildir with the seed's message.
fn world(hostname: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("users"), "john.doe@anydomain.com:{PLAIN}abcxyz\n").unwrap();
    let maildir = at("anydomain.com/john.doe");
    for name in ["tmp", "new", "cur"] {
        fs::create_dir_all(maildir.join(name)).unwrap();
    }
    let mut message = b"Subject: the seed\n\n".to_vec();
    // 1317 octets once the three LFs are CRLFs.
    message.resize(1317 - 3 - 1, b'x');
    message.push(b'\n');
    fs::write(maildir.join("cur/390953946:2,"), message).unwrap();
    let file = at("restante.toml");
    write_config(&file, hostname, folder.path());
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

fn write_config(file: &Path, hostname: &str, folder: &Path) {
    let folder = folder.display();
    let text = format!(
        "hostname = \"{hostname}\"\n[listen]\npop3 = [\"127.0.0.1:0\"]\nadmin = []\n[auth]\nusers = \"{folder}/users\"\n\
         [store]\nmaildir = \"{folder}/{{domain}}/{{local}}\"\n"
    );
    fs::write(file, text).unwrap();
}

#[test]
fn help() {
    binary::snapshot("serve-help", &binary::restante(&["serve", "--help"]).ok());
}

#[test]
fn the_seed_word_for_word_over_tcp() {
    let (folder, file) = world("X1");
    let mut served = Served::start(&["--config", &file]);
    let mut client = Client::connect(served.address("pop3"));
    assert_eq!(client.line(), "+OK X1 POP3 Server");
    assert_eq!(client.say("USER john.doe@anydomain.com"), "+OK send your password");
    assert_eq!(client.say("PASS abcxyz"), "+OK maildrop locked and ready");
    assert_eq!(client.say("STAT"), "+OK 1 1317");
    assert_eq!(client.say("UIDL"), "+OK 1 messages (1317 octets)");
    assert_eq!([client.line(), client.line()], ["1 390953946", "."]);
    assert_eq!(client.say("LIST"), "+OK 1 messages (1317 octets)");
    assert_eq!([client.line(), client.line()], ["1 1317", "."]);
    assert_eq!(client.say("RETR 1"), "+OK 1317 octets");
    let mut message = vec![0; 1317 + 3];
    client.0.read_exact(&mut message).unwrap();
    assert!(message.starts_with(b"Subject: the seed\r\n\r\nx") && message.ends_with(b"x\r\n.\r\n"));
    assert_eq!(client.say("DELE 1"), "+OK msg deleted");
    assert_eq!(client.say("QUIT"), "+OK POP3 Server saying Good-Bye");
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "the server releases the connection");
    assert!(!folder.path().join("anydomain.com/john.doe/cur/390953946:2,").exists());

    let line = served.logs("session ended");
    for fact in [
        "user=\"john.doe@anydomain.com\"",
        "retr=1",
        "dele=1",
        "why=\"quit",
        "address=127.0.0.1 client_port=",
    ] {
        assert!(line.contains(fact), "{fact} is not in {line}");
    }
    assert!(!line.contains("abcxyz"), "{line}");
}

#[test]
fn sigterm_ends_in_good_order() {
    let (_folder, file) = world("X1");
    let mut served = Served::start(&["--config", &file]);
    let mut client = Client::connect(served.address("pop3"));
    client.line();
    client.say("USER john.doe@anydomain.com");
    client.say("PASS abcxyz");
    served.signal(Signal::TERM);
    served.logs("stopping");
    assert_eq!(client.say("STAT"), "+OK 1 1317", "the session may go on");
    assert_eq!(client.say("QUIT"), "+OK POP3 Server saying Good-Bye");
    drop(client);
    assert!(served.ends().success());
}

#[test]
fn sighup_reads_the_configuration_again() {
    let (folder, file) = world("X1");
    let mut served = Served::start(&["--config", &file]);
    let address = served.address("pop3");
    let mut old = Client::connect(address);
    assert_eq!(old.line(), "+OK X1 POP3 Server");
    write_config(Path::new(&file), "X2", folder.path());
    served.signal(Signal::HUP);
    served.logs("were read again");
    assert_eq!(Client::connect(address).line(), "+OK X2 POP3 Server");
    // A configuration that is wrong changes nothing, and says where it is wrong.
    fs::write(&file, "hostnam = \"X3\"\n").unwrap();
    served.signal(Signal::HUP);
    let line = served.logs("the configuration stays as it was");
    assert!(line.contains("restante.toml:1:1") && line.contains("hostname"), "{line}");
    assert_eq!(Client::connect(address).line(), "+OK X2 POP3 Server");
    assert_eq!(old.say("USER john.doe@anydomain.com"), "+OK send your password", "and nobody was dropped");
}

#[test]
fn salts_that_tell_who_is_a_user_are_told_at_the_start_and_at_sighup() {
    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let (folder, file) = world("X1");
    let users = folder.path().join("users");
    let keys = format!("ann:{{SCRAM-SHA-256}}4096,c2FsdA==,{KEY},{KEY}\n");
    fs::write(&users, &keys).unwrap();
    let mut served = Served::start(&["--config", &file]);
    let line = served.logs("SCRAM's salts tell who is a user");
    assert!(line.contains("WARN") && line.contains("restante user passwd"), "{line}");
    served.address("pop3");
    served.signal(Signal::HUP);
    served.logs("SCRAM's salts tell who is a user");
    served.logs("were read again");
    fs::write(&users, format!("#salt-key {KEY}\n{keys}")).unwrap();
    served.signal(Signal::HUP);
    let lines = std::iter::from_fn(|| Some(served.logs(""))).take(10);
    let lines: Vec<_> = lines.take_while(|line| !line.contains("were read again")).collect();
    assert!(lines.len() < 10 && !lines.concat().contains("SCRAM's salts"), "{lines:?}");
}

/// The transcripts in a folder.
fn transcripts(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn sessions_are_written_down_where_the_configuration_says() {
    let (folder, file) = world("X1");
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let write = |transcripts: &Path| {
        write_config(Path::new(&file), "X1", folder.path());
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}[log]\ntranscripts = \"{}\"\n", transcripts.display())).unwrap();
    };
    // A folder that is not there is told with the fix, by both who look.
    write(&one);
    for command in ["serve", "config check"] {
        let command: Vec<_> = command.split(' ').chain(["--config", &file]).collect();
        let told = binary::restante(&command).fails(1);
        assert!(
            told.contains("restante.toml:10:15: ") && told.contains("is not there; `install -d "),
            "{told}"
        );
    }
    fs::create_dir(&one).unwrap();
    fs::create_dir(&other).unwrap();
    let mut served = Served::start(&["--config", &file]);
    let address = served.address("pop3");
    let session = || {
        let mut client = Client::connect(address);
        client.line();
        client.say("USER john.doe@anydomain.com");
        assert_eq!(client.say("PASS abcxyz"), "+OK maildrop locked and ready");
        client
    };
    assert_eq!(session().say("QUIT"), "+OK POP3 Server saying Good-Bye");
    write(&folder.path().join("gone"));
    served.signal(Signal::HUP);
    let line = served.logs("the configuration stays as it was");
    assert!(line.contains("/gone, where transcripts go, is not there"), "{line}");
    write(&other);
    served.signal(Signal::HUP);
    served.logs("were read again");
    let mut client = session();
    served.signal(Signal::TERM);
    served.logs("sessions may reach QUIT");
    assert_eq!(client.say("QUIT"), "+OK POP3 Server saying Good-Bye");
    drop(client);
    assert!(served.ends().success());
    // What was said last was written before the end.
    for folder in [one, other] {
        let texts = transcripts(&folder);
        let [text] = texts.as_slice() else { panic!("{texts:?}") };
        assert!(
            text.contains(" C: USER john.doe@anydomain.com\n") && text.contains(" C: PASS [secret]\n"),
            "{text}"
        );
        assert!(text.ends_with("\n# The session ended: quit\n") && !text.contains("abcxyz"), "{text}");
    }
}

#[test]
fn transcripts_that_cannot_be_written_are_told_and_change_nothing_else() {
    let (folder, file) = world("X1");
    let gone = folder.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}[log]\ntranscripts = \"{}\"\n", gone.display())).unwrap();
    let mut served = Served::start(&["--config", &file]);
    let address = served.address("pop3");
    fs::remove_dir(&gone).unwrap();
    let mut client = Client::connect(address);
    assert_eq!(client.line(), "+OK X1 POP3 Server");
    let line = served.logs("transcripts cannot be written");
    assert!(line.contains(gone.to_str().unwrap()) && line.contains("times=1"), "{line}");
    assert_eq!(client.say("QUIT"), "+OK POP3 Server saying Good-Bye");
}

#[test]
fn users_who_are_added_may_log_in_without_a_reload() {
    let (folder, file) = world("X1");
    let mut served = Served::start(&["--config", &file]);
    let address = served.address("pop3");
    let users = folder.path().join("users");
    let added = fs::read_to_string(&users).unwrap() + "jane:{PLAIN}secret\n";
    fs::write(&users, added).unwrap();
    let by = Instant::now() + PATIENCE;
    loop {
        // `{domain}` has no value for a name without one: a clear answer, and no crash.
        let mut client = Client::connect(address);
        client.line();
        client.say("USER jane");
        let answer = client.say("PASS secret");
        if answer.starts_with("-ERR [SYS/PERM]") {
            break;
        }
        assert!(answer.starts_with("-ERR [AUTH]") && Instant::now() < by, "{answer}");
    }
}

#[test]
fn an_address_that_cannot_be_had_is_named_with_the_fix() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_folder, file) = world("X1");
    let text = fs::read_to_string(&file).unwrap().replace("127.0.0.1:0", &address);
    fs::write(&file, text).unwrap();
    let told = binary::restante(&["serve", "--config", &file]).fails(1);
    assert!(told.contains(&format!("cannot listen on {address}")) && told.contains("ss -ltnp"), "{told}");
}

#[test]
fn the_demo_greets_and_serves_sample_mail() {
    let folder = tempfile::tempdir().unwrap();
    let written_down = folder.path().join("written/down");
    let mut served = Served::start(&[
        "--demo",
        "--demo-pop3",
        "127.0.0.1:0",
        "--demo-pop3s",
        "127.0.0.1:0",
        "--demo-admin",
        "127.0.0.1:0",
        "--transcripts",
        written_down.to_str().unwrap(),
    ]);
    let (pop3, pop3s) = (served.address("pop3"), served.address("pop3s"));
    let mut out = BufReader::new(served.child.stdout.take().unwrap());
    let mut greeting = String::new();
    while !greeting.contains(" is written down in ") {
        assert!(out.read_line(&mut greeting).unwrap() > 0, "{greeting}");
    }
    let value = |name: &str| {
        let line = greeting.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.trim_start()[name.len()..].trim().to_owned()
    };
    let (user, password, certificate) = (value("user"), value("password"), value("certificate"));
    for line in [
        format!("curl --user {user}:{password} 'pop3://{pop3}/1'"),
        format!("curl --user {user}:{password} --cacert {certificate} 'pop3s://{pop3s}/1'"),
        format!("curl --user {user}:{password} --cacert {certificate} --ssl-reqd 'pop3://{pop3}/1'"),
    ] {
        assert!(greeting.contains(&line), "{line}\nis not in\n{greeting}");
    }
    assert!(fs::read_to_string(&certificate).unwrap().contains("BEGIN CERTIFICATE"));
    let mut client = Client::connect(pop3);
    client.line();
    client.say(&format!("USER {user}"));
    assert_eq!(client.say(&format!("PASS {password}")), "+OK maildrop locked and ready");
    assert!(client.say("STAT").starts_with("+OK 5 "));
    assert_eq!(client.say("LIST 1"), "+OK 1 1317");
    assert_eq!(client.say("UIDL 1"), "+OK 1 390953946");
    assert_eq!(client.say("QUIT"), "+OK POP3 Server saying Good-Bye");
    served.signal(Signal::INT);
    assert!(served.ends().success());
    assert!(!Path::new(&certificate).exists(), "nothing is left behind");
    let texts = transcripts(&written_down);
    assert!(texts.len() == 1 && texts[0].contains(" S: +OK 1 1317\n"), "{texts:?}");
    assert!(
        texts[0].ends_with("\n# The session ended: quit\n") && !texts[0].contains(&password),
        "{texts:?}"
    );
}

#[test]
fn the_demo_is_for_this_machine_only() {
    let told = binary::restante(&["serve", "--demo", "--demo-pop3", "0.0.0.0:1110"]).fails(2);
    assert!(told.contains("127.0.0.1:PORT"), "{told}");
}

/// Filters of fail2ban and programs like it read this line, on machines that nobody here knows: a change of it is a change of what
/// docs/operating.md promises, and of `contrib/fail2ban`.
#[test]
fn the_line_of_a_failed_login_is_frozen() {
    for (format, expected) in [
        (
            "text",
            "TIME  WARN login failed session=SESSION address=127.0.0.1 user=\"john.doe@anydomain.com\" by=\"PASS\" \
             mechanism=\"USER\" why=\"credentials\"\n",
        ),
        (
            "json",
            "{\"timestamp\":\"TIME\",\"level\":\"WARN\",\"message\":\"login failed\",\"session\":\"SESSION\",\
             \"address\":\"127.0.0.1\",\"user\":\"john.doe@anydomain.com\",\"by\":\"PASS\",\"mechanism\":\"USER\",\
             \"why\":\"credentials\",\"target\":\"restante_server::login\"}\n",
        ),
    ] {
        let (_folder, file) = world("X1");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}[log]\nformat = \"{format}\"\n")).unwrap();
        let mut served = Served::start(&["--config", &file]);
        let mut client = Client::connect(served.address("pop3"));
        client.line();
        client.say("USER john.doe@anydomain.com");
        assert!(client.say("PASS wrong").starts_with("-ERR [AUTH]"));
        let mut line = served.logs("login failed");
        // What differs each time: 27 octets of a time, and the session's name.
        let time = line.find("20").unwrap();
        assert_eq!(line.as_bytes()[time + 26], b'Z', "{line}");
        line.replace_range(time..time + 27, "TIME");
        let session = line.find("-1").map(|end| end - 8..end + 2).unwrap();
        line.replace_range(session, "SESSION");
        assert_eq!(line, expected);
    }
}

#[test]
fn what_should_be_known_is_told_at_the_start() {
    let (_folder, file) = world("X1");
    let text = fs::read_to_string(&file).unwrap();
    let oauth = "[oauth]\nissuer = \"http://127.0.0.1:1\"\naudience = \"mail\"\n";
    let text =
        text.replace("[auth]\n", "proxies = [\"0.0.0.0/0\"]\n[auth]\ndirectories = [\"users\", \"oauth\"]\n");
    fs::write(&file, text + oauth).unwrap();
    let mut served = Served::start(&["--config", &file]);
    let line = served.logs("cannot tell who its users are");
    assert!(line.contains(" WARN ") && line.contains("restante.toml:7:15: "), "{line}");
    served.logs("whoever is in 0.0.0.0/0 may say");
}
