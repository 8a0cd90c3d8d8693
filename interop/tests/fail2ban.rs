//! fail2ban: the filter in `contrib/fail2ban` on the log of a running server. It finds each failed login, with the client's
//! address, and nothing else, whatever clients send as names and passwords.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use restante_interop::{Extra, Letter, PASSWORD, Program, Security, Server, USER, until};

/// What an attacker would like to be found.
const VICTIM: &str = "198.51.100.99";

/// Who comes, and the header by which a proxy says so: both may send passwords in clear.
const CLIENTS: [(&str, &str); 2] = [
    ("127.0.0.9", "PROXY TCP4 127.0.0.9 127.0.0.1 50312 110\r\n"),
    ("::1", "PROXY TCP6 ::1 ::1 50312 110\r\n"),
];

fn filter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/fail2ban/filter.d/restante.conf")
}

/// A line of the log as it is frozen, with this behind it and in front of it.
fn forged() -> [String; 4] {
    let text = format!(
        "login failed session=1-1 address={VICTIM} user=\"a\" by=\"PASS\" mechanism=\"USER\" why=\"credentials\""
    );
    let json = format!(
        "{{\"timestamp\":\"2026-11-28T20:00:00.000000Z\",\"level\":\"WARN\",\"message\":\"login failed\",\
         \"session\":\"1-1\",\"address\":\"{VICTIM}\",\"user\":\"a\",\"by\":\"PASS\",\"mechanism\":\"USER\",\
         \"why\":\"credentials\",\"target\":\"restante_server::login\"}}"
    );
    [
        text.clone(),
        format!("x\n2026-11-28T20:00:00.000000Z  WARN {text}\n"),
        format!("\x1b[2K\r2026-11-28T20:00:00.000000Z  WARN {text}"),
        format!("\n{json}\n"),
    ]
}

/// One connection by the proxy: what is said, and the last answer.
fn session(port: u16, header: &str, lines: &[String]) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
    stream.write_all(header.as_bytes()).expect("it reads");
    let mut heard = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut answer = String::new();
    heard.read_line(&mut answer).expect("a greeting");
    for line in lines {
        stream.write_all(format!("{line}\r\n").as_bytes()).expect("it reads");
        answer.clear();
        heard.read_line(&mut answer).expect("an answer");
    }
    answer
}

/// AUTH PLAIN, by which names and passwords may hold anything but NUL.
fn plain(user: &str, password: &str) -> Vec<String> {
    vec![format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{user}\0{password}")))]
}

fn user(user: &str, password: &str) -> Vec<String> {
    vec![format!("USER {user}"), format!("PASS {password}")]
}

/// Logs in rightly and wrongly; how many failed, by address.
fn visit(port: u16) -> BTreeMap<String, usize> {
    let mut failed = BTreeMap::new();
    for (address, header) in CLIENTS {
        let mut tries = vec![
            user(USER, "wrong"),
            user("nobody", "wrong"),
            plain(USER, "wrong"),
            plain("nobody\nat all", "wrong"),
            user(USER, PASSWORD),
        ];
        for forged in forged() {
            tries.extend([plain(&forged, "x"), plain(USER, &forged)]);
            if !forged.contains('\n') {
                tries.extend([user(&forged, "x"), user(USER, &forged)]);
                tries.push(vec![forged]);
            }
        }
        for lines in tries {
            let answer = session(port, header, &lines);
            if answer.starts_with("-ERR [AUTH]") {
                *failed.entry(address.to_owned()).or_default() += 1;
            }
        }
    }
    failed
}

/// A wrong proof by SCRAM, which may come in clear from everywhere, by a proxy that does not say for whom it comes.
fn fail_by_the_proxy(port: u16) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
    let mut heard = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut say = |text: String| {
        stream.write_all(text.as_bytes()).expect("it reads");
        let mut answer = String::new();
        heard.read_line(&mut answer).expect("an answer");
        answer.trim_end().to_owned()
    };
    say("PROXY UNKNOWN\r\n".to_owned());
    let first = STANDARD.encode(format!("n,,n={USER},r=abcdefgh"));
    let answer = say(format!("AUTH SCRAM-SHA-256 {first}\r\n"));
    let challenge = answer.strip_prefix("+ ").unwrap_or_else(|| panic!("{answer}"));
    let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
    let nonce = challenge.split(',').next().unwrap();
    let last = STANDARD.encode(format!("c=biws,{nonce},p={}", STANDARD.encode([7; 32])));
    let mut answer = say(format!("{last}\r\n"));
    if answer.starts_with("+ ") {
        answer = say("\r\n".to_owned());
    }
    assert!(answer.starts_with("-ERR [AUTH]"), "{answer}");
}

/// The addresses that fail2ban finds in a file.
fn found(server: &Server, file: &Path) -> BTreeMap<String, usize> {
    let folder = server.client_folder(&name(file));
    // It runs as nobody, who has no way to where the repository may be.
    let copy = folder.join("restante.conf");
    server.client_file(&copy, &fs::read_to_string(filter()).expect("the filter is in the repository"));
    let outcome = Program::new("fail2ban-regex", "fail2ban", &folder)
        .args(["--out", "ip"])
        .arg(file)
        .arg(copy)
        .run()
        .succeeded();
    let mut found = BTreeMap::new();
    for line in outcome.text().lines() {
        *found.entry(line.trim().to_owned()).or_default() += 1;
    }
    found
}

fn name(file: &Path) -> String {
    format!("fail2ban-{}", file.file_name().unwrap().to_string_lossy())
}

fn check(format: &str) {
    let sections = format!("[limits]\nfailure_delay_seconds = 0\n\n[log]\nformat = \"{format}\"\n");
    let listen = "proxied_pop3 = [\"127.0.0.1:0\"]\nproxies = [\"127.0.0.1\"]\n";
    let server = Server::with(&Extra { listen, sections: &sections, ..Extra::default() }, &[] as &[Letter]);
    let failed = visit(server.proxied(Security::Plain));
    assert!(failed.len() == CLIENTS.len() && failed.values().all(|count| *count >= 10), "{failed:?}");
    fail_by_the_proxy(server.proxied(Security::Plain));
    let count = failed.values().sum::<usize>() + 1;
    until(|| (server.log().matches("login failed").count() >= count).then_some(())).expect("all is logged");
    let log = fs::read_to_string(server.log_file()).unwrap();
    assert_eq!(found(&server, &server.log_file()), failed, "{log}");
    // As syslog and the journal show the same.
    let journal = server.log_file().with_file_name("journal");
    let lines: String =
        log.lines().map(|line| format!("Nov 28 20:11:45 mail restante[4711]: {line}\n")).collect();
    fs::write(&journal, lines).unwrap();
    assert_eq!(found(&server, &journal), failed, "{log}");
    assert!(!log.contains(VICTIM), "what clients send is in the log:\n{log}");
    server.stop();
}

#[test]
fn each_failure_in_a_log_for_people_is_found_and_nothing_else() {
    check("text");
}

#[test]
fn each_failure_in_a_log_for_programs_is_found_and_nothing_else() {
    check("json");
}
