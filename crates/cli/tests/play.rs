//! `restante play`: against servers of a few lines that do right and wrong on purpose, and against `restante serve`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use restante_proto::dialogue::{Dialogue, Kind, TcpEvent, filler};
use tempfile::TempDir;

mod binary;

const SEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tests/dialogues/seed.pop3");

/// A server of one connection; what the closure gives is what the test looks at.
struct Server<T> {
    address: SocketAddr,
    thread: JoinHandle<T>,
}

impl<T: Send + 'static> Server<T> {
    fn start(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0));
        Self { address, thread }
    }

    fn plain(&self) -> String {
        format!("pop3://{}?tls=none", self.address)
    }

    fn end(self) -> T {
        self.thread.join().unwrap()
    }
}

/// Says the first text, and one more after each line of the client; gives all that the client said.
fn answers(texts: &'static [&'static str]) -> Server<String> {
    Server::start(move |mut stream| {
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut said = String::new();
        for (text, place) in texts.iter().zip(0..) {
            if place > 0 && lines.read_line(&mut said).unwrap() == 0 {
                break;
            }
            stream.write_all(text.as_bytes()).unwrap();
        }
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        lines.read_to_string(&mut said).unwrap_or_default();
        said
    })
}

fn file(folder: &TempDir, text: &str) -> String {
    let path = folder.path().join("a.pop3");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn help() {
    binary::help(&["play"]);
}

#[test]
fn the_dialogue_is_shown_as_it_happens_and_without_secrets() {
    let folder = TempDir::new().unwrap();
    let text = "S: +OK{any}\nC: USER {user}\nS: +OK\nC: PASS {password}\nS: +OK\nC: RETR 1\nS: +OK {number} octets\n\
                S: [7 octets]\nS: .\nC: QUIT\nS: +OK\nN: S FIN\n";
    let server =
        answers(&["+OK hi\r\n", "+OK\r\n", "+OK\r\n", "+OK 7 octets\r\na\r\n..b\r\n.\r\n", "+OK\r\n"]);
    let mut command = binary::command(&[
        "play",
        &file(&folder, text),
        &server.plain().replace("//", "//jo@hn@"),
        "--password-env",
        "PASSWORD",
    ]);
    command.env("PASSWORD", "hunter2 horse");
    let shown = binary::feed(command, b"").ok();
    assert_eq!(
        shown,
        "N: connect\nS: +OK hi\nC: USER jo@hn\nS: +OK\nC: PASS [secret]\nS: +OK\nC: RETR 1\nS: +OK 7 octets\n\
         S: [7 octets]\nS: .\nC: QUIT\nS: +OK\nN: S FIN\n"
    );
    assert_eq!(server.end(), "USER jo@hn\r\nPASS hunter2 horse\r\nRETR 1\r\nQUIT\r\n");
}

#[test]
fn the_first_difference_is_shown_with_its_line() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "# a comment\n\nS: +OK{any}\nC: STAT\nS: +OK {number} {number}\nC: QUIT\n");
    let server = answers(&["+OK\r\n", "+OK 1 many\r\n"]);
    let ran = binary::restante(&["play", &path, &server.plain()]);
    assert!(ran.stdout().ends_with("C: STAT\nS: +OK 1 many\nN: C FIN\n"), "{}", ran.stdout());
    assert_eq!(
        ran.fails(1),
        format!(
            "error: {path}:5: the server's answer differs\nexpected  S: +OK {{number}} {{number}}\n\
             received  S: +OK 1 many\n                   ^\n"
        )
    );
    assert_eq!(server.end(), "STAT\r\n", "nothing is said after a difference");
}

#[test]
fn every_kind_of_difference_is_told() {
    let folder = TempDir::new().unwrap();
    for (text, said, problem) in [
        (
            "S: +OK\nC: NOOP\n",
            &["+OK\r\n+OK more\r\n", ""][..],
            "a.pop3:2: before this the server says more: S: +OK more",
        ),
        (
            "S: +OK\nS: +OK\n",
            &["+OK\r\n"],
            "a.pop3:2: the server ended the connection\nexpected  S: +OK\nreceived  nothing\n",
        ),
        (
            "S: +OK\nC: QUIT\nS: +OK\n",
            &["+OK\r\n", "+OK\r\nmore"],
            "a.pop3:3: before this the server says more: S: more\\",
        ),
        (
            "S: +OK\nS: [3 octets]\nS: .\n",
            &["+OK\r\nab\r\n.\r\n"],
            "expected  S: [3 octets]\nreceived  S: [4 octets]\n",
        ),
        ("S: +OK\nS: [3 octets]\nS: .\n", &["+OK\r\na\r\n"], "received  S: [3 octets] and no final `.` line"),
        (
            "S: +OK\nC: AUTH LOGIN\nS: +OK\n",
            &["+OK\r\n", "+ c2VjcmV0\r\n"],
            "expected  S: +OK\nreceived  S: + [secret]\n",
        ),
        ("S: +OK\nN: S RST\n", &["+OK\r\n"], "a.pop3:2: the server ended the connection in order"),
        (
            "S: +OK\nC: AUTH PLAIN [secret]\n",
            &["+OK\r\n", ""],
            "a.pop3:2: a secret was taken out of this line",
        ),
    ] {
        let path = file(&folder, text);
        let server = answers(said);
        let told = binary::restante(&["play", &path, &server.plain()]).fails(1);
        assert!(told.contains(problem), "{text}\n{told}");
        server.end();
    }
}

#[test]
fn silence_has_an_end() {
    let folder = TempDir::new().unwrap();
    for (text, problem) in [
        (
            "S: +OK\n",
            "a.pop3:1: the server says nothing for 0.05 s; is this a port for TLS from the first byte? then the URL \
             begins with pop3s://\nexpected  S: +OK\nreceived  nothing\n",
        ),
        ("N: S FIN\n", "a.pop3:1: the server does not end the connection"),
    ] {
        let server = Server::start(|mut stream| stream.read_to_end(&mut Vec::new()).unwrap());
        let path = file(&folder, text);
        let told = binary::restante(&["play", &path, &server.plain(), "--timeout", "50ms"]).fails(1);
        assert!(told.contains(problem), "{told}");
        server.end();
    }
}

#[test]
fn segments_leave_one_by_one_and_the_side_can_be_closed() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "S: +OK\nC: ST\\|AT\\|\nC: NOOP\nC: QU\\\nN: C FIN\nS: -ERR\\\nN: S FIN\n");
    let server = Server::start(|mut stream| {
        stream.write_all(b"+OK\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        stream.write_all(b"-ERR").unwrap();
        said
    });
    let shown = binary::restante(&["play", &path, &server.plain()]).ok();
    assert_eq!(server.end(), "STAT\r\nNOOP\r\nQU");
    assert_eq!(
        shown,
        "N: connect\nS: +OK\nC: ST\\|AT\nC: \\|NOOP\nC: [secret]\\\nN: C FIN\nN: S FIN\nS: -ERR\\\n"
            .replace("N: S FIN\nS: -ERR\\\n", "S: -ERR\\\nN: S FIN\n")
    );
}

#[test]
fn a_recording_has_times_and_can_be_played_again() {
    let folder = TempDir::new().unwrap();
    let path = file(
        &folder,
        "title: a test\nuser: john\npassword: hunter2horse\n\nS: +OK\nC: USER john\nS: +OK\nC: PASS hunter2horse\nS: +OK\nC: QUIT\nS: +OK\n",
    );
    let record = folder.path().join("record.pop3");
    let server = answers(&["+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n"]);
    let address = server.address;
    let args = ["play", &path, &server.plain(), "--record", record.to_str().unwrap()];
    binary::restante(&args).ok();
    server.end();
    let text = fs::read_to_string(&record).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let dialogue = Dialogue::parse(text.as_bytes()).unwrap();
    assert_eq!(dialogue.head.title.as_deref(), Some("a test"));
    assert_eq!(dialogue.head.server.as_deref(), Some(address.to_string().as_str()));
    assert!(
        dialogue.head.started.is_some() && dialogue.head.client.is_some() && dialogue.head.password.is_none()
    );
    assert!(dialogue.events.windows(2).all(|two| two[0].at.is_some() && two[0].at <= two[1].at), "{text}");
    assert_eq!(dialogue.events[0].kind, Kind::Tcp(TcpEvent::Connect));
    assert_eq!(dialogue.to_string(), text);

    let server = answers(&["+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n"]);
    let mut command =
        binary::command(&["play", record.to_str().unwrap(), &server.plain(), "--password-env", "P"]);
    command.env("P", "hunter2horse");
    binary::feed(command, b"").ok();
    assert_eq!(server.end(), "USER john\r\nPASS hunter2horse\r\nQUIT\r\n");
}

#[test]
fn json_says_what_a_script_wants_to_know() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "S: +OK\nC: NOOP\nS: +OK fine\n");
    let server = answers(&["+OK\r\n", "+OK bad\r\n"]);
    let url = server.plain();
    let ran = binary::restante(&["play", &path, &url, "--json"]);
    assert_eq!((ran.status(), ran.stderr()), (1, String::new()));
    let mut result: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert!(result["seconds"].take().as_f64().unwrap() < 10.0);
    let expected = serde_json::json!({
        "file": path, "server": url, "same": false, "seconds": null, "line": 3,
        "error": "the server's answer differs", "expected": "+OK fine", "received": "+OK bad",
    });
    assert_eq!(result, expected);
    server.end();

    let ran = binary::restante(&["play", &path, "pop3://127.0.0.1:1?tls=none", "--json"]);
    let result: serde_json::Value = serde_json::from_str(&ran.stdout()).unwrap();
    assert_eq!(result["same"], false);
    assert!(result["error"].as_str().unwrap().contains("cannot connect"), "{result}");
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "S: +OK\nC: USER {user}\nC: PASS {password}\n");
    let told = binary::restante(&["play", &path, "pop3s://john:hunter2@127.0.0.1"]).fails(2);
    assert!(told.contains("--password-command") && !told.contains("hunter2"), "{told}");
    assert!(binary::restante(&["play", &path, "127.0.0.1"]).fails(2).contains("pop3s://"));
    assert!(binary::restante(&["play", &path, "pop3s://127.0.0.1"]).fails(2).contains("needs a user"));
    assert!(
        binary::restante(&["play", &path, "pop3s://john@127.0.0.1"]).fails(2).contains("--password-file")
    );
    assert!(
        binary::restante(&["play", &path, "pop3s://127.0.0.1", "--timeout", "10"]).fails(2).contains("500ms")
    );
    let tls = file(&folder, "T: handshake\nS: +OK\n");
    assert!(
        binary::restante(&["play", &tls, "pop3://127.0.0.1"])
            .fails(2)
            .contains("begins with a TLS handshake")
    );
    let joined = file(&folder, "joined: TRANSACTION\n\nC: QUIT\nS: +OK\n");
    let told = binary::restante(&["play", &joined, "pop3s://127.0.0.1"]).fails(2);
    assert!(told.contains("begins in the middle of a session"), "{told}");
    let broken = file(&folder, "S: +OK\nC: QUIT \n");
    let told = binary::restante(&["play", &broken, "pop3://127.0.0.1"]).fails(1);
    assert!(told.contains("a.pop3: line 2, column 8: a space"), "{told}");
    assert!(
        binary::restante(&["play", "/nowhere.pop3", "pop3://127.0.0.1"]).fails(1).contains("/nowhere.pop3")
    );
}

#[test]
fn stls_is_required_where_the_url_does_not_do_without() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "S: +OK\nC: USER john\nS: +OK\n");
    for (said, problem) in [
        (&["+OK\r\n", "-ERR no\r\n"][..], "refuses STLS"),
        (&["+OK\r\n", "+OK\r\n+OK injected\r\n"], "says more before TLS begins"),
        (&["+OK\r\n", "+OK\r\n"], "TLS handshake failed"),
        (&["+OK\r\n"], "ended before the server's answer to STLS"),
    ] {
        let server = answers(said);
        let url = format!("pop3://{}", server.address);
        let told = binary::restante(&["play", &path, &url, "--insecure"]).fails(1);
        assert!(told.contains(problem), "{told}");
        let said = server.end();
        assert!(said.is_empty() || said.starts_with("STLS\r\n") && !said.contains("USER"), "{said:?}");
    }
}

#[test]
fn clear_text_where_tls_is_expected_is_told() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "S: +OK{any}\n");
    let server = answers(&["+OK POP3 server ready\r\n"]);
    let told = binary::restante(&["play", &path, &format!("pop3s://{}", server.address)]).fails(1);
    assert!(told.contains("is not TLS\nhint: ") && told.contains("pop3:// is STLS"), "{told}");
    assert!(!told.contains("--insecure"), "{told}");
    server.end();
}

#[test]
fn a_certificate_of_an_old_version_is_told_in_words() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // Version 3 stands as 2 in its field (RFC 5280 §4.1.2.1); nobody checks the signature before it.
    let mut octets = made.cert.der().to_vec();
    let version = octets.windows(5).position(|five| five == [0xa0, 3, 2, 1, 2]).unwrap();
    octets[version + 4] = 0;
    fs::write(path("ca.pem"), made.cert.pem()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let signer = provider.key_provider.load_private_key(key).unwrap();
    let chain = vec![rustls::pki_types::CertificateDer::from(octets)];
    let certified = std::sync::Arc::new(rustls::sign::CertifiedKey::new(chain, signer));
    let resolver = std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    let server = Server::start(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(std::sync::Arc::new(config)).unwrap();
        while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
    });
    let text = file(&folder, "S: +OK{any}\n");
    let url = format!("pop3s://{}", server.address);
    let told = binary::restante(&["play", &text, &url, "--ca-file", &path("ca.pem")]).fails(1);
    assert!(told.contains("the server's certificate is of an old form") && !told.contains("Other"), "{told}");
    server.end();
}

/// `restante serve` with the seed's maildrop.
struct Served {
    child: Child,
    folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Served {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        let key =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(path("cert.pem"), key.cert.pem()).unwrap();
        fs::write(path("key.pem"), key.signing_key.serialize_pem()).unwrap();
        fs::write(path("users"), "john.doe@anydomain.com:{PLAIN}abcxyz\n").unwrap();
        Self::fill(folder.path());
        let here = folder.path().display();
        let configuration = format!(
            "hostname = \"X1\"\n[listen]\npop3 = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\n\
             [tls]\ncertificate = \"{here}/cert.pem\"\nkey = \"{here}/key.pem\"\n\
             [auth]\nusers = \"{here}/users\"\n[store]\nmaildir = \"{here}/mail/{{local}}\"\n"
        );
        fs::write(path("restante.toml"), configuration).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["serve", "--config", path("restante.toml").to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut plain, mut tls) = (None, None);
        while plain.is_none() || tls.is_none() {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended");
            let Some((_, place)) = line.split_once("listening on ") else { continue };
            let (address, port) = place.split_once(' ').unwrap();
            let found = if port.starts_with("(pop3s)") { &mut tls } else { &mut plain };
            *found = Some(address.parse().unwrap());
        }
        // Whoever does not read the log makes the server wait.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, folder, plain: plain.unwrap(), tls: tls.unwrap() }
    }

    /// The seed's message, which each session deletes.
    fn fill(folder: &Path) {
        let maildir = folder.join("mail/john.doe");
        // A new one each time: the unique-id of a message that was deleted goes to no other one (RFC 1939 §7).
        fs::remove_dir_all(&maildir).unwrap_or_default();
        for name in ["cur", "new", "tmp"] {
            fs::create_dir_all(maildir.join(name)).unwrap();
        }
        fs::write(maildir.join("cur/390953946:2,"), filler(1317)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

#[test]
fn the_seed_is_played_against_the_server_plain_stls_and_tls() {
    let served = Served::start();
    let (plain, tls) = (format!("pop3://{}", served.plain), format!("pop3s://{}", served.tls));
    let authority = served.path("cert.pem");
    let authority = authority.to_str().unwrap();
    let seed = fs::read_to_string(SEED).unwrap();
    let lines: Vec<_> = seed.lines().filter(|line| line.starts_with("S: ")).collect();
    for (url, trust) in [
        (format!("{plain}?tls=none"), &[][..]),
        (plain.clone(), &["--ca-file", authority]),
        (tls.clone(), &["--ca-file", authority]),
        (tls.clone(), &["--insecure"]),
    ] {
        Served::fill(served.folder.path());
        let shown = binary::restante(&[&["play", SEED, &url], trust].concat()).ok();
        let said: Vec<_> =
            shown.lines().filter(|line| line.starts_with("S: ") && !line.contains("TLS")).collect();
        assert_eq!(said, lines, "{url}");
        let secured =
            shown.contains("T: handshake version=TLSv1.3 cipher=TLS_") && shown.contains("alpn=pop3");
        assert_eq!(secured, !url.contains("none"), "{shown}");
        assert!(!shown.contains("abcxyz"), "{shown}");
        assert!(!served.path("mail/john.doe/cur/390953946:2,").exists(), "the message was deleted");
    }
    for url in [plain, tls] {
        let told = binary::restante(&["play", SEED, &url]).fails(1);
        assert!(told.contains("handshake failed") && told.contains("--ca-file"), "{told}");
    }
}

#[test]
fn a_dialogue_may_say_stls_itself() {
    let served = Served::start();
    let text = "S: +OK{any}\nC: STLS\nC: USER eve\nS: +OK{any}\nT: handshake\nC: PASS x\nS: -ERR send USER before PASS\n\
                C: USER {user}\nS: +OK{any}\nC: PASS {password}\nS: +OK{any}\nC: CAPA\nS: +OK{any}\nS: {lines}\nS: .\n\
                C: QUIT\nS: +OK{any}\nT: S close\nN: S FIN\n";
    // `USER eve` stands behind STLS in its segment, and is never run.
    let folder = TempDir::new().unwrap();
    let url = format!("pop3://john.doe@anydomain.com@{}", served.plain);
    let mut command =
        binary::command(&["play", &file(&folder, text), &url, "--insecure", "--password-env", "P"]);
    command.env("P", "abcxyz");
    let shown = binary::feed(command, b"").ok();
    assert!(shown.contains("S: IMPLEMENTATION") && shown.contains("\nS: .\n"), "{shown}");
    assert!(shown.ends_with("T: S close\nN: S FIN\n"), "{shown}");
}
