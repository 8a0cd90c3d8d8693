//! Dovecot's rawlogs. The pairs in `tests/rawlog/` were written by Dovecot 2.3.19 about sessions with invented mail; beside
//! each lies what is heard in it. `UPDATE_SNAPSHOTS=1 cargo test -p restante-diagram` writes that anew.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fmt::Write,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use restante_diagram::{
    heard::{Ending, Heard, Opening, What},
    source::rawlog::{File, Options, Pair, Rawlog, RawlogError, looks_like},
};
use restante_proto::{
    dialogue::{Kind, Role},
    verb::Verb,
};

/// Every pair there is.
const PAIRS: &[&str] = &[
    "after-login",
    "before-login",
    "greeting-only",
    "odd-octets",
    "pipelined",
    "pipelined-login",
    "proxy",
    "sasl",
    "stls",
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rawlog").join(name)
}

fn pair(name: &str) -> (Vec<u8>, Vec<u8>) {
    let pair = Pair::of(&file(&format!("{name}.in"))).unwrap();
    (fs::read(pair.in_file).unwrap(), fs::read(pair.out_file).unwrap())
}

fn read_from(client: impl BufRead, server: impl BufRead) -> Result<Vec<Heard>, RawlogError> {
    let mut heard = Vec::new();
    Rawlog::new(Options { body_start_max_octets: 64 }).read(client, server, &mut |one| heard.push(one))?;
    Ok(heard)
}

fn read(client: &[u8], server: &[u8]) -> Vec<Heard> {
    read_from(client, server).unwrap()
}

/// What was heard, one line each.
fn told(heard: &[Heard]) -> String {
    let mut text = String::new();
    for one in heard {
        assert_eq!(one.session, 1);
        match &one.what {
            What::Said { observed, span } => {
                assert_eq!(*span, None);
                let role = observed.role.map(|role| format!("   <{role:?}>")).unwrap_or_default();
                writeln!(text, "{}{role}", observed.event).unwrap();
                if let Some(facts) = &observed.body {
                    let start = facts.start.escape_ascii();
                    writeln!(
                        text,
                        "    {} lines, {} bare LF, {} unstuffed, whole: {}, begins {start}",
                        facts.lines, facts.bare_lf, facts.unstuffed_dots, facts.whole
                    )
                    .unwrap();
                }
            }
            What::Records(records) => {
                let at = records.at.unwrap_or_default().as_secs_f64();
                writeln!(
                    text,
                    "{at:.6} {:?}: {:?}, {} records, {} octets",
                    records.from, records.kind, records.count, records.octets
                )
                .unwrap();
            }
            other => writeln!(text, "{other:?}").unwrap(),
        }
    }
    text
}

/// The lines of both sides with their letters, without times.
fn lines(heard: &[Heard]) -> Vec<String> {
    let said = heard.iter().filter_map(|one| match &one.what {
        What::Said { observed, .. } => {
            Some(restante_proto::dialogue::Event { at: None, ..observed.event.clone() }.to_string())
        }
        _ => None,
    });
    said.collect()
}

/// Every octet that is shown, and everything else as `Debug` writes it.
fn shown(heard: &[Heard]) -> String {
    format!("{}{heard:?}", told(heard))
}

#[test]
fn what_dovecot_wrote_is_heard() {
    for name in PAIRS {
        let (client, server) = pair(name);
        let told = told(&read(&client, &server));
        let expected = file(&format!("{name}.heard"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&expected, &told).unwrap();
        }
        let there = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(
            told,
            there,
            "{} differs; UPDATE_SNAPSHOTS=1 cargo test -p restante-diagram accepts it",
            expected.display()
        );
    }
}

#[test]
fn every_pair_is_in_the_list() {
    let mut there: Vec<String> = fs::read_dir(file(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "in"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    there.sort();
    assert_eq!(there, PAIRS);
}

#[test]
fn octet_by_octet_the_same_is_heard() {
    for name in PAIRS {
        let (client, server) = pair(name);
        let whole = read(&client, &server);
        for at_once in [1, 2, 7, 19] {
            let slow = |octets| BufReader::with_capacity(at_once, octets);
            assert_eq!(
                read_from(slow(&client[..]), slow(&server[..])).unwrap(),
                whole,
                "{name} by {at_once}"
            );
        }
    }
}

#[test]
fn without_times_the_order_is_the_protocols() {
    for name in ["after-login", "before-login", "sasl"] {
        let (client, server) = pair(name);
        let bare = |file: &[u8]| -> Vec<u8> {
            file.split_inclusive(|&octet| octet == b'\n').flat_map(|line| &line[18..]).copied().collect()
        };
        let (with, without) = (read(&client, &server), read(&bare(&client), &bare(&server)));
        // These were not pipelined but in one place, where now each command stands with its answer.
        let in_pairs = |mut lines: Vec<String>| {
            if let Some(at) = lines.iter().position(|line| line == "C: RETR 2") {
                let command = lines.remove(at);
                lines.insert(lines.iter().position(|line| line == "S: +OK 183 octets").unwrap(), command);
            }
            lines
        };
        assert_eq!(lines(&without), in_pairs(lines(&with)), "{name}");
        assert!(without.iter().all(|one| match &one.what {
            What::Begin(opening) => opening.started.is_none(),
            What::Said { observed, .. } => observed.event.at.is_none(),
            _ => true,
        }));
    }
}

#[test]
fn what_begins_behind_the_login_is_joined_and_no_anomaly() {
    for (name, joined) in
        [("after-login", true), ("odd-octets", true), ("before-login", false), ("sasl", false)]
    {
        let (client, server) = pair(name);
        let heard = read(&client, &server);
        let What::Begin(opening) = &heard[0].what else { panic!("{:?}", heard[0]) };
        assert_eq!(opening.joined, joined, "{name}");
        assert!(opening.started.as_deref().is_some_and(|at| at.starts_with("2026-11-28T13:0")), "{name}");
        let roles: Vec<Role> = heard
            .iter()
            .filter_map(|one| match &one.what {
                What::Said { observed, .. } => observed.role,
                _ => None,
            })
            .collect();
        let first = if joined { Role::Reply { to: Some(Verb::Pass), ok: true } } else { Role::Greeting };
        assert_eq!(roles[0], first, "{name}");
        assert!(!roles.iter().any(|role| matches!(role, Role::Unasked | Role::Unknown)), "{name}");
    }
}

#[test]
fn where_dovecot_is_the_client_the_files_are_the_other_way_round() {
    let (client, server) = pair("proxy");
    let heard = read(&client, &server);
    assert_eq!(lines(&heard)[..3], ["S: +OK Dovecot (Debian) ready.", "C: USER john", "S: +OK"]);
    assert_eq!(heard, read(&server, &client));
    let (client, server) = pair("stls");
    assert_eq!(read(&client, &server), read(&server, &client));
    // Nothing was answered.
    assert_eq!(
        lines(&read(b"", b"1.000000 USER john\r\n2.000000 PASS hunter2horse\r\n")),
        ["C: USER john", "C: PASS [secret]"]
    );
}

#[test]
fn tls_on_a_port_in_clear_is_a_line_that_nobody_understands() {
    let heard = read(
        b"2.000000 \x16\x03\x01\x00\x02\x01a\n",
        b"1.000000 +OK ready\r\n3.000000 -ERR Unknown command.\r\n",
    );
    assert_eq!(lines(&heard), ["S: +OK ready", "C: [secret]\\n\\", "S: -ERR Unknown command."]);
}

#[test]
fn a_log_behind_the_login_may_lack_the_logins_answer() {
    let heard =
        read(b"10.000000 STAT\r\n10.000002 RETR 1\r\n", b"10.000001 +OK 1 2\r\n10.000003 -ERR no\r\n");
    assert_eq!(lines(&heard), ["C: STAT", "S: +OK 1 2", "C: RETR 1", "S: -ERR no"]);
    let heard = read(b"STAT\r\nQUIT\r\n", b"+OK 1 2\r\n+OK bye\r\n");
    assert_eq!(lines(&heard), ["C: STAT", "S: +OK 1 2", "C: QUIT", "S: +OK bye"]);
    // The client said nothing.
    let heard = read(b"", b"10.000000 +OK Logged in.\r\n11.000000 -ERR Disconnected for inactivity.\r\n");
    let What::Begin(Opening { joined: true, .. }) = heard[0].what else { panic!("{heard:?}") };
    assert_eq!(lines(&heard), ["S: +OK Logged in.", "S: -ERR Disconnected for inactivity."]);
}

#[test]
fn an_answer_never_comes_before_its_command() {
    // The clock was set back by a minute: between a command and its answer, between two answers, between two commands.
    let commands = ["STAT", "NOOP", "RSET", "QUIT"];
    let answers = ["+OK Logged in.", "+OK 1 2", "+OK", "+OK", "+OK"];
    let wanted = [
        "S: +OK Logged in.",
        "C: STAT",
        "S: +OK 1 2",
        "C: NOOP",
        "S: +OK",
        "C: RSET",
        "S: +OK",
        "C: QUIT",
        "S: +OK",
    ];
    for step in 0..=9_u32 {
        let stamp = |turn: usize| {
            let turn = u32::try_from(turn).unwrap();
            1000 + 10 * turn - if turn >= step { 60 } else { 0 }
        };
        let write = |said: &[&str], first: usize| -> Vec<u8> {
            said.iter()
                .enumerate()
                .map(|(at, line)| format!("{}.000000 {line}\r\n", stamp(2 * at + first)))
                .collect::<String>()
                .into_bytes()
        };
        let heard = read(&write(&commands, 1), &write(&answers, 0));
        assert_eq!(lines(&heard), wanted, "the step is before turn {step}");
        let times: Vec<Duration> = heard
            .iter()
            .filter_map(|one| match &one.what {
                What::Said { observed, .. } => observed.event.at,
                _ => None,
            })
            .collect();
        assert!(times.is_sorted(), "{times:?}");
        assert!(times.last().is_some_and(|end| *end <= Duration::from_secs(90)), "{times:?}");
    }
}

#[test]
fn at_one_time_the_command_comes_before_the_answer() {
    let heard = read(
        b"7.000000 STAT\r\n7.000000 QUIT\r\n",
        b"7.000000 +OK Logged in.\r\n7.000000 +OK 0 0\r\n7.000000 +OK\r\n",
    );
    assert_eq!(lines(&heard), ["S: +OK Logged in.", "C: STAT", "C: QUIT", "S: +OK 0 0", "S: +OK"]);
}

#[test]
fn what_nobody_asked_for_stays_where_it_was_said() {
    let heard = read(
        b"1.000000 STAT\r\n",
        b"0.000000 +OK Logged in.\r\n1.000001 +OK 0 0\r\n601.000000 -ERR Disconnected for inactivity.\r\n",
    );
    let What::Said { observed, .. } = &heard[4].what else { panic!("{heard:?}") };
    assert_eq!((observed.role, observed.event.at), (Some(Role::Unasked), Some(Duration::from_secs(601))));
}

#[test]
fn a_log_that_ends_in_the_login_goes_on_elsewhere() {
    for (name, ending) in [
        ("before-login", Ending::Source),
        ("pipelined-login", Ending::Source),
        ("stls", Ending::Source),
        ("sasl", Ending::Source),
        ("after-login", Ending::Closed),
        ("proxy", Ending::Closed),
        ("odd-octets", Ending::Closed),
        ("greeting-only", Ending::Closed),
    ] {
        let (client, server) = pair(name);
        assert_eq!(read(&client, &server).pop().unwrap().what, What::End(ending), "{name}");
    }
}

#[test]
fn long_lines_and_long_messages_are_read_in_bounded_pieces() {
    let mut server = b"1.000000 +OK Logged in.\r\n3.000000 +OK 1000000 octets\r\n3.000001 ".to_vec();
    server.extend(std::iter::repeat_n(b'a', 1_000_000));
    server.extend_from_slice(b"\r\n3.000002 .\r\n4.000001 -ERR ");
    server.extend(std::iter::repeat_n(b'b', 100_000));
    server.extend_from_slice(b"\r\n");
    let mut client = b"2.000000 RETR 1\r\n4.000000 ".to_vec();
    client.extend(std::iter::repeat_n(b'c', 100_000));
    client.extend_from_slice(b"\r\n");
    let heard = read(&client, &server);
    let What::Said { observed, .. } = &heard[4].what else { panic!("{:?}", heard[4]) };
    assert_eq!(observed.event.kind, Kind::Body { octets: 1_000_002 });
    assert_eq!(observed.body.as_ref().map(|facts| (facts.lines, facts.whole)), Some((1, true)));
    assert_eq!(lines(&heard)[5], "C: [secret]");
    assert!(lines(&heard)[6].starts_with("S: -ERR"));
    assert_eq!(heard.len(), 9);
}

#[test]
fn a_file_that_ends_in_a_time_stamp_ends_there() {
    for cut in ["1", "11", "11.", "11.00000", "11.000000", "11.000000 "] {
        let client = format!("10.000000 STAT\r\n{cut}");
        assert_eq!(lines(&read(client.as_bytes(), b"")), ["C: STAT"], "{cut}");
    }
    assert_eq!(lines(&read(b"10.000000 STAT\r\n11.000000 QU", b"")), ["C: STAT", "C: [secret]\\"]);
}

/// The secret that is planted, and what is left of it in base64.
const SECRETS: &[&str] = &["hunter", "2horse", "aHVudGVyMmhvcnNl", "h1bnRlcjJob3Jz", "odW50ZXIyaG9yc"];

#[test]
fn no_secret_is_in_what_is_heard() {
    let sessions: &[(&str, &[&str], &[&str])] = &[
        ("PASS", &["USER john", "PASS hunter2horse"], &["+OK ready", "+OK", "-ERR hunter2horse is wrong"]),
        ("a name that is a password", &["USER john", "hunter2horse"], &["+OK ready", "+OK", "-ERR what"]),
        ("AUTH PLAIN", &["AUTH PLAIN AGpvaG4AaHVudGVyMmhvcnNl"], &["+OK ready", "-ERR no"]),
        (
            "PLAIN on its own line",
            &["AUTH PLAIN", "AGpvaG4AaHVudGVyMmhvcnNl"],
            &["+OK ready", "+ ", "-ERR no"],
        ),
        (
            "LOGIN",
            &["AUTH LOGIN", "am9obg==", "aHVudGVyMmhvcnNl"],
            &["+OK ready", "+ VXNlcm5hbWU6", "+ aHVudGVyMmhvcnNl", "-ERR aHVudGVyMmhvcnNl"],
        ),
        (
            "behind the login",
            &["STAT", "PASS hunter2horse", "hunter2horse", "AUTH PLAIN AGpvaG4AaHVudGVyMmhvcnNl"],
            &["+OK Logged in.", "+OK 0 0", "-ERR hunter2horse", "-ERR hunter2horse", "-ERR no"],
        ),
        ("not ended", &["USER john", "PASS hunter2hor"], &["+OK ready", "+OK"]),
        (
            "in the middle of an exchange",
            &["AGpvaG4AaHVudGVyMmhvcnNl", "STAT"],
            &["+OK Logged in.", "+OK 0 0"],
        ),
        ("no server", &["USER john", "PASS hunter2horse", "aHVudGVyMmhvcnNl"], &[]),
    ];
    for (what, client, server) in sessions {
        let stamped = |lines: &[&str], first: u32| {
            let mut file = String::new();
            for (at, line) in lines.iter().enumerate() {
                let second = 2 * u32::try_from(at).unwrap() + first;
                write!(file, "{second}.000000 {line}\r\n").unwrap();
            }
            if *what == "not ended" { file.trim_ascii_end().to_owned() } else { file }
        };
        let bare = |lines: &[&str]| lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        // In its own time; all commands before any answer, and behind all of them; without times.
        for (client, server) in [
            (stamped(client, 2), stamped(server, 1)),
            (stamped(client, 1), stamped(server, 100)),
            (stamped(client, 100), stamped(server, 1)),
            (bare(client), bare(server)),
        ] {
            let shown = shown(&read(client.as_bytes(), server.as_bytes())).to_ascii_lowercase();
            for secret in SECRETS {
                assert!(!shown.contains(&secret.to_ascii_lowercase()), "{what}: {secret} is in {shown}");
            }
        }
    }
    for name in PAIRS {
        let (client, server) = pair(name);
        let shown = shown(&read(&client, &server));
        for secret in ["abc xyz", "AGpvaG4AYWJjIHh5eg", "am9obg==", "bad=", "wrong one"] {
            assert!(!shown.contains(secret), "{name}: {secret} is in {shown}");
        }
    }
}

#[test]
fn errors_name_the_file_the_line_and_what_to_do() {
    let error = |client: &[u8], server: &[u8]| read_from(client, server).unwrap_err().to_string();
    for (client, server, words) in [
        (
            &b"1.000000 STAT\r\nhunter2horse\r\n"[..],
            &b"0.000000 +OK\r\n1.000001 +OK\r\n"[..],
            &["the .in file, line 2", "take Dovecot's own"][..],
        ),
        (b"1.000000 STAT\r\n", b"0.000000 +OK\r\n1.000001 +OK\r\nhunter2horse", &["the .out file, line 3"]),
        (b"STAT\r\n", b"0.000000 +OK\r\n", &["the .out file, line 1", "give two files"]),
        (b"1.000000 STAT\r\n", b"+OK\r\n", &["the .in file, line 1"]),
        (b"", b"", &["both files are empty"]),
        (
            b"1.000000 +OK\r\n",
            b"1.000000 +OK\r\n",
            &["the .in file, line 1", "whose names differ in .in and .out only"],
        ),
        (b"1.000000 +OK hunter2horse\r\n", b"", &["the .in file, line 1", "no commands"]),
        (
            b"1.000000 a NOOP\r\n",
            b"1.000000 * OK hunter2horse\r\n",
            &["the .out file, line 1", "another protocol"],
        ),
    ] {
        let told = error(client, server);
        for word in words {
            assert!(told.contains(word), "{word:?} is not in {told}");
        }
        assert!(!told.contains("hunter"), "{told}");
    }
}

/// A reader that fails behind its octets.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::Error::other("the disk is gone")) } else { self.0.read(into) }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let server = b"1.000000 +OK Logged in.\r\n2.000000 +OK\r\n";
    let error = read_from(BufReader::new(Broken(b"1.500000 STAT\r\n")), &server[..]).unwrap_err().to_string();
    assert_eq!(error, "the .in file, line 2: it cannot be read: the disk is gone");
}

#[test]
fn the_other_file_of_a_pair_has_a_name() {
    for name in ["/var/log/raw/20261128-130854.6008.1.in", "/var/log/raw/20261128-130854.6008.1.out"] {
        let pair = Pair::of(Path::new(name)).unwrap();
        assert_eq!(pair.in_file, Path::new("/var/log/raw/20261128-130854.6008.1.in"));
        assert_eq!(pair.out_file, Path::new("/var/log/raw/20261128-130854.6008.1.out"));
        let missing = pair.lacks(File::Out).to_string();
        assert!(missing.contains("and /var/log/raw/20261128-130854.6008.1.out is not there"), "{missing}");
        let missing = pair.lacks(File::In).to_string();
        assert!(missing.contains("and /var/log/raw/20261128-130854.6008.1.in is not there"), "{missing}");
    }
    assert_eq!(Pair::of(Path::new("session.pop3")), None);
    assert_eq!(Pair::of(Path::new("in")), None);
}

#[test]
fn a_rawlog_is_known_by_its_first_octets() {
    for name in PAIRS {
        let (client, server) = pair(name);
        for file in [client, server].iter().filter(|file| !file.is_empty()) {
            assert!(looks_like(file), "{name}");
            assert!(looks_like(&file[..18]), "{name}");
        }
    }
    for yes in ["+OK ready\r\n", "-ERR no", "STAT\r\n", "user john\r\n", "QUIT"] {
        assert!(looks_like(yes.as_bytes()), "{yes}");
    }
    for no in [
        "",
        "S: +OK ready\n",
        "C: QUIT",
        "title: a session\n",
        "0.000123 C: STAT\n",
        "\u{a}\r\r\n",
        "status: x",
    ] {
        assert!(!looks_like(no.as_bytes()), "{no}");
    }
    assert!(!looks_like(b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00"));
}
