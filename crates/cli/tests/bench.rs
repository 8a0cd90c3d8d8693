//! `restante bench`: against `restante serve`, and against servers of a few lines that lie, stall and refuse.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

mod binary;

const PASSWORD: &str = "hunter2 horse";

/// The messages of each drop as they are stored.
const MAIL: [&str; 4] =
    ["Subject: dots\n\n.\n..two\n.x\n", "Subject: none at the end\n\nend", "\r\n.\r\n\r\n", "x\n"];

/// The octets of the first messages in canonical form: every line end is CRLF, and the last one is there.
fn octets(messages: usize) -> usize {
    let lines = MAIL[..messages].iter().flat_map(|message| message.lines());
    lines.map(|line| line.len() + "\r\n".len()).sum()
}

/// `restante serve` with users `user1` to `user20`, each with [`MAIL`].
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
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(path("cert.pem"), key.cert.pem()).unwrap();
        fs::write(path("key.pem"), key.signing_key.serialize_pem()).unwrap();
        let mut users = String::new();
        for user in 1..=20 {
            users.push_str(&format!("user{user}:{{PLAIN}}{PASSWORD}\n"));
            for name in ["cur", "new", "tmp"] {
                fs::create_dir_all(path("mail").join(format!("user{user}/{name}"))).unwrap();
            }
            for (number, message) in MAIL.iter().enumerate() {
                fs::write(path("mail").join(format!("user{user}/cur/{number}.a:2,S")), message).unwrap();
            }
        }
        fs::write(path("users"), users).unwrap();
        let here = folder.path().display();
        let configuration = format!(
            "hostname = \"X1\"\n[listen]\npop3 = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\n\
             [tls]\ncertificate = \"{here}/cert.pem\"\nkey = \"{here}/key.pem\"\n\
             [auth]\nusers = \"{here}/users\"\n[store]\nmaildir = \"{here}/mail/{{user}}\"\n"
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

    /// Plain, STLS and TLS, with what each needs.
    fn ways(&self) -> [(String, Vec<String>); 3] {
        let authority = self.folder.path().join("cert.pem").to_str().unwrap().to_owned();
        let trust = vec!["--ca-file".to_owned(), authority];
        let (plain, tls) = (self.plain, self.tls);
        [
            (format!("pop3://{plain}?tls=none"), Vec::new()),
            (format!("pop3://{plain}"), trust.clone()),
            (format!("pop3s://{tls}"), trust),
        ]
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

fn bench(url: &str, args: &[&str]) -> binary::Ran {
    let mut command = binary::command(&[&["bench", url, "--password-env", "PASSWORD"], args].concat());
    command.env("PASSWORD", PASSWORD);
    binary::feed(command, b"")
}

fn json(url: &str, args: &[&str]) -> Value {
    serde_json::from_str(&bench(url, &[args, &["--json"]].concat()).ok()).unwrap()
}

/// A server that says the greeting and then to each command what the function says; nothing for "", for ever.
fn says(answer: impl Fn(&str) -> String + Send + Sync + Clone + 'static) -> SocketAddr {
    fn serve(stream: &TcpStream, answer: impl Fn(&str) -> String) -> std::io::Result<()> {
        let (mut lines, mut out) = (BufReader::new(stream), stream);
        out.write_all(b"+OK\r\n")?;
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            out.write_all(answer(line.trim_end()).as_bytes())?;
            if line.starts_with("QUIT") {
                break;
            }
            line.clear();
        }
        Ok(())
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the tests.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(&stream.unwrap(), answer));
        }
    });
    address
}

fn secured(url: &str) -> bool {
    !url.contains("none")
}

/// A right answer of a drop with two messages of three octets.
fn right(command: &str) -> String {
    match command.split(' ').next().unwrap() {
        "STAT" => "+OK 2 6\r\n".into(),
        "UIDL" => "+OK\r\n1 a\r\n2 b\r\n.\r\n".into(),
        "LIST" => "+OK\r\n1 3\r\n2 3\r\n.\r\n".into(),
        "RETR" => "+OK 3 octets\r\nx\r\n.\r\n".into(),
        _ => "+OK\r\n".into(),
    }
}

#[test]
fn help() {
    binary::help(&["bench"]);
}

#[test]
fn sessions_are_counted_and_timed_plain_stls_and_tls() {
    let served = Served::start();
    for (url, trust) in served.ways() {
        let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
        let args = [&["--users", "user{1..3}", "--sessions", "12", "--retr", "2"], trust.as_slice()].concat();
        let result = json(&url, &args);
        assert_eq!(result["ended_by"], "count", "{result:#}");
        assert_eq!((&result["clients"], &result["users"]), (&3.into(), &3.into()));
        assert_eq!(result["sessions"]["done"], 12);
        assert_eq!(result["messages"]["count"], 24);
        assert_eq!(result["messages"]["octets"], 12 * octets(2));
        assert_eq!(result["listed_lines"]["count"], 12 * 2 * 4);
        assert_eq!(result["errors"], serde_json::json!([]));
        let secured = secured(&url);
        for step in ["connect", "tls", "greeting", "login", "stat", "uidl", "list", "retr", "quit", "session"]
        {
            let times = &result["steps"][step];
            if step == "tls" && !secured {
                assert!(times.is_null());
                continue;
            }
            assert_eq!(times["count"], if step == "retr" { 24 } else { 12 }, "{step}: {result:#}");
            let at = |key: &str| times[key].as_f64().unwrap();
            assert!(0.0 < at("p50_ms") && at("p50_ms") <= at("p99_ms") && at("p99_ms") <= at("max_ms"));
        }
        let commands = 12 * (2 + 3 + 2 + 1) + if url.starts_with("pop3s") || !secured { 0 } else { 12 };
        assert_eq!(result["requests"]["count"], commands);
        match secured {
            true => {
                assert_eq!(result["tls"]["version"], "TLSv1.3");
                assert_eq!(result["tls"]["full_handshakes"], 12);
            }
            false => assert!(result["tls"].is_null()),
        }
    }
}

#[test]
fn tickets_are_used_where_they_are_asked_for() {
    let served = Served::start();
    let [.., (url, trust)] = served.ways();
    let args = ["--users", "user1", "--sessions", "5", "--tls-resume", &trust[0], &trust[1]];
    let tls = json(&url, &args)["tls"].clone();
    let of = |key: &str| tls[key].as_u64().unwrap();
    assert_eq!(of("full_handshakes") + of("resumed_handshakes"), 5);
    assert!(of("full_handshakes") >= 1, "a client begins with a full one");
}

#[test]
fn every_message_is_retrieved_one_at_a_time_and_pipelined() {
    let served = Served::start();
    let [(url, _), ..] = served.ways();
    for pipeline in ["1", "2", "3", "100"] {
        let args = ["--mode", "retr", "--users", "user{1..2}", "--sessions", "4", "--pipeline", pipeline];
        let result = json(&url, &args);
        assert_eq!(result["messages"]["count"], 16);
        assert_eq!(result["messages"]["octets"], 4 * octets(4));
        assert_eq!(result["messages"]["unannounced"], 0);
        assert!(result["steps"]["list"].is_null() && result["sessions"]["cut_short"] == 0);
    }
}

#[test]
fn a_duration_ends_a_run_and_the_table_has_every_step_and_the_server() {
    let served = Served::start();
    let [(url, _), ..] = served.ways();
    let pid = served.child.id().to_string();
    let args = ["--mode", "list", "--users", "user{1..4}", "--duration", "300ms", "--pid", &pid];
    let table = bench(&url, &args).ok();
    assert!(table.contains("4 clients, 4 users") && table.contains("ended by time"), "{table}");
    for word in
        ["connect", "login", "stat", "uidl", "list", "quit", "session", "p99 ms", "sessions", "requests"]
    {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    assert!(table.contains("server    1 process, ") && table.contains("ms a session"), "{table}");
    assert!(table.contains("generator ") && table.contains(" % busy"), "{table}");
    assert!(table.contains("memory    PSS ") && !table.contains("errors"), "{table}");
}

#[test]
fn idle_sessions_are_held_all_at_once() {
    let served = Served::start();
    let pid = served.child.id().to_string();
    for (url, trust) in served.ways() {
        let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
        let args = ["--mode", "idle", "--users", "user{1..20}", "--duration", "100ms", "--pid", &pid];
        let result = json(&url, &[args.as_slice(), trust.as_slice()].concat());
        assert_eq!((&result["clients"], &result["sessions"]["done"]), (&20.into(), &20.into()));
        let processes = &result["processes"];
        assert_eq!(processes["held_sessions"], 20, "{result:#}");
        assert!(processes["pss_held_kib"].as_u64().unwrap() > 0);
        assert!(processes["pss_kib_per_session"].as_f64().unwrap() > 0.0);
        assert_eq!(result["steps"]["quit"]["count"], 20);
    }
}

#[test]
fn slow_sessions_are_held_in_the_middle_of_a_message() {
    let served = Served::start();
    let pid = served.child.id().to_string();
    for (url, trust) in served.ways() {
        let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
        let args =
            ["--mode", "slow", "--sip", "7", "--users", "user{1..20}", "--duration", "1500ms", "--pid", &pid];
        let result = json(&url, &[args.as_slice(), trust.as_slice()].concat());
        assert_eq!(
            (&result["processes"]["held_sessions"], &result["sessions"]["done"]),
            (&20.into(), &20.into())
        );
        assert!(result["steps"]["quit"].is_null(), "a message is not broken off by a command");
        // The message has 37 octets on the wire: at 7 a second it does not end in this time.
        assert_eq!(
            result["requests"]["count"],
            20 * 3 + if url.contains("pop3://") && secured(&url) { 20 } else { 0 }
        );
    }
}

#[test]
fn sessions_that_are_due_are_counted_from_then() {
    let served = Served::start();
    let [(url, _), ..] = served.ways();
    let args = ["--users", "user{1..4}", "--rate", "200", "--sessions", "40", "--source", "127.0.0.{2..4}"];
    let result = json(&url, &args);
    assert_eq!((&result["rate"], &result["sessions"]["done"]), (&200.into(), &40.into()), "{result:#}");
    assert_eq!((&result["ended_by"], &result["steps"]["due"]["count"]), (&"count".into(), &40.into()));
    // The last one is due 39 × 5 ms after the first.
    assert!(result["seconds"].as_f64().unwrap() >= 0.195, "{result:#}");
    let of = |step: &str| result["steps"][step]["mean_ms"].as_f64().unwrap();
    assert!(of("due") >= of("session"), "who waits for a free client waits as well");
}

#[test]
fn a_stall_is_not_left_out_of_the_times_that_were_due() {
    let greeted = Arc::new(AtomicU32::new(0));
    let address = says(move |command| {
        // The second STAT stalls for as long as twenty sessions take.
        if command == "STAT" && greeted.fetch_add(1, Ordering::Relaxed) == 1 {
            let end = Instant::now() + Duration::from_millis(200);
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
        }
        right(command)
    });
    let url = format!("pop3://john@{address}?tls=none");
    let steps = json(&url, &["--rate", "100", "--sessions", "20"])["steps"].clone();
    let p50 = |step: &str| steps[step]["p50_ms"].as_f64().unwrap();
    assert!(p50("due") > 50.0 && p50("session") < 50.0, "{steps:#}");
}

#[test]
fn what_was_due_and_did_not_begin_is_told() {
    let address = says(|command| if command == "STAT" { String::new() } else { right(command) });
    let url = format!("pop3://john@{address}?tls=none");
    let ran = bench(&url, &["--rate", "1000", "--duration", "100ms", "--timeout", "300ms"]);
    assert!(
        ran.stdout().contains("due: cut off: sessions were due, and all clients busy"),
        "{}",
        ran.stdout()
    );
    ran.fails(1);
}

#[test]
fn what_a_server_counts_wrong_is_an_error_of_its_kind() {
    let lies: [(&str, &str, &str); 7] = [
        ("RETR", "+OK 4 octets\r\nx\r\n.\r\n", "octets differ"),
        ("RETR", "+OK message follows\r\nxx\r\n.\r\n", "octets differ"),
        ("RETR", "+OK 4 octets\r\n..x\r\n.\r\n", ""),
        ("UIDL", "+OK\r\n1 a\r\n.\r\n", "count differs"),
        ("LIST", "+OK\r\n1 3\r\n2 4\r\n.\r\n", "count differs"),
        ("LIST", "+OK\r\n1 3\r\n3 3\r\n.\r\n", "not POP3"),
        ("STAT", "+OK two\r\n", "not POP3"),
    ];
    for (verb, lie, kind) in lies {
        let address =
            says(move |command| if command.starts_with(verb) { lie.into() } else { right(command) });
        let url = format!("pop3://john@{address}?tls=none");
        let ran = bench(&url, &["--sessions", "1", "--retr", "2", "--json"]);
        let result: Value = serde_json::from_str(&ran.stdout()).unwrap();
        if kind.is_empty() {
            assert_eq!((ran.status(), &result["errors"]), (0, &serde_json::json!([])));
            continue;
        }
        assert_eq!(ran.status(), 1);
        assert_eq!(result["errors"][0]["step"], verb.to_lowercase(), "{lie}: {result:#}");
        assert_eq!(result["errors"][0]["kind"], kind, "{lie}: {result:#}");
    }
}

#[test]
fn a_server_that_refuses_every_login_ends_the_run_and_its_words_are_not_repeated() {
    let address = says(|command| match command.strip_prefix("PASS ") {
        Some(password) => format!("-ERR [AUTH] no, {password} is wrong\r\n"),
        None => right(command),
    });
    let ran = bench(&format!("pop3://john@{address}?tls=none"), &["--sessions", "1000000"]);
    assert!(ran.stdout().contains("ended by hopeless"), "{}", ran.stdout());
    assert!(ran.stdout().contains("login: -ERR [AUTH]\n"), "{}", ran.stdout());
    assert!(!ran.stdout().contains("hunter2") && !ran.stderr().contains("hunter2"));
    assert!(ran.fails(1).contains("there were 16 errors"));
}

#[test]
fn a_server_that_stalls_is_left_when_the_time_is_over() {
    let address = says(|command| if command == "STAT" { String::new() } else { right(command) });
    let url = format!("pop3://john@{address}?tls=none");
    let ran = bench(&url, &["--duration", "200ms", "--timeout", "50ms"]);
    assert!(ran.stdout().contains("stat: timeout: no answer in time"), "{}", ran.stdout());
    ran.fails(1);
}

#[test]
fn messages_that_are_missing_or_do_not_end_are_errors() {
    let too_few = says(right);
    let ran = bench(&format!("pop3://john@{too_few}?tls=none"), &["--sessions", "1", "--retr", "3"]);
    let problem = "retr: too few messages: 3 messages are to be retrieved, the drop has 2";
    assert!(ran.stdout().contains(problem), "{}", ran.stdout());
    ran.fails(1);
    let endless = says(|command| match command.starts_with("RETR") {
        true => format!("+OK 3 octets\r\n{}", "x\r\n".repeat(1000)),
        false => right(command),
    });
    let args = ["--sessions", "1", "--mode", "retr", "--timeout", "100ms"];
    let ran = bench(&format!("pop3://john@{endless}?tls=none"), &args);
    assert!(ran.stdout().contains("retr: timeout"), "{}", ran.stdout());
    ran.fails(1);
}

#[test]
fn only_a_server_on_this_machine_is_loaded_unasked() {
    for url in ["pop3://john@192.0.2.1?tls=none", "pop3s://john@[2001:db8::1]"] {
        let told = bench(url, &[]).fails(2);
        assert!(told.contains("is not on this machine") && told.contains("--i-own-this-server"), "{told}");
    }
}

#[test]
fn wrong_usage_is_told() {
    let url = "pop3://john@127.0.0.1:9?tls=none";
    for (url, args, problem) in [
        ("pop3://127.0.0.1:9", &[][..], "no user is named"),
        (url, &["--users", "u{1..2}"], "not in both"),
        (url, &["--clients", "2"], "--share-drops"),
        (url, &["--mode", "list", "--retr", "2"], "--mode sessions"),
        (url, &["--mode", "idle", "--sessions", "2"], "takes no --sessions"),
        (url, &["--mode", "slow", "--rate", "2"], "no --rate"),
        (url, &["--source", "localhost"], "takes addresses"),
        (url, &["--source", "::1"], "nobody connects to 127.0.0.1 from ::1"),
        ("pop3://127.0.0.1:9", &["--users", "u{2..1}"], "smaller number"),
        ("pop3://john:secret@127.0.0.1", &[], "a password never stands in a URL"),
        (url, &["--pid", "4294967295"], "there is no process"),
        (url, &["--duration", "61m"], "60m"),
        (url, &["--clients", "0"], "1..=50000"),
    ] {
        let told = bench(url, args).fails(2);
        assert!(told.contains(problem), "{told}");
    }
}

#[test]
fn who_cannot_be_reached_or_trusted_is_told_before_the_run() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = bench(&format!("pop3://john@{closed}?tls=none"), &[]).fails(1);
    assert!(told.contains("connect: no connection"), "{told}");
    let served = Served::start();
    for url in [format!("pop3://john@{}", served.plain), format!("pop3s://john@{}", served.tls)] {
        let told = bench(&url, &[]).fails(1);
        assert!(told.contains("tls: handshake failed") && told.contains("--ca-file"), "{told}");
    }
    let plain = says(right);
    let told = bench(&format!("pop3://john@{plain}"), &["--insecure", "--timeout", "1s"]).fails(1);
    assert!(told.contains("tls: "), "{told}");
}
