//! Recordings hold no secret: known ones are planted in every form there is, at every cut, and looked for in what is
//! written.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_proto::dialogue::{
    Bodies, Dialogue, Event, Head, Kind, Line, Mark, Piece, Recorder, Redactor, Side,
};

const SECRET: &str = "hunter2horse";
/// The digest of APOP, which is as good as the password to who has a dictionary.
const DIGEST: &str = "c4c9334bac560ecc979e58001b3e22fb";

/// What must not be found: the secrets, in any case, and every part of them in base64.
fn leaks(written: &str) -> Vec<String> {
    let lower = written.to_ascii_lowercase();
    let plain = format!("\0john\0{SECRET}");
    let mut forms =
        vec![SECRET.to_owned(), DIGEST.to_owned(), SECRET[..6].to_owned(), SECRET[6..].to_owned()];
    // Base64 depends on where in a group of three an octet stands.
    for shift in 0..3 {
        let shifted = format!("{}{SECRET}", "x".repeat(shift));
        forms.push(BASE64.encode(&shifted)[(shift * 4).div_ceil(3) + 1..12].to_owned());
    }
    forms.push(BASE64.encode(&plain));
    forms.push(BASE64.encode("user=john\x01auth=Bearer hunter2horse\x01\x01"));
    forms.into_iter().filter(|form| lower.contains(&form.to_ascii_lowercase())).collect()
}

/// The same without segment cuts.
fn uncut(text: &str) -> String {
    fn line<M: Mark>(cut: &Line<M>) -> Line<M> {
        let mut line = Line::default();
        cut.pieces().iter().filter(|piece| **piece != Piece::Cut).for_each(|piece| line.push(piece.clone()));
        line
    }
    let mut dialogue = Dialogue::parse(text.as_bytes()).unwrap();
    for event in &mut dialogue.events {
        match &mut event.kind {
            Kind::Client(cut) => *cut = line(cut),
            Kind::Server(cut) => *cut = line(cut),
            _ => {}
        }
    }
    dialogue.to_string()
}

/// Who says what, in order.
type Session<'a> = &'a [(Side, &'a str)];

fn record(session: Session<'_>, at_once: usize, bodies: Bodies) -> String {
    let (mut recorder, mut events) = (Recorder::new(bodies), Vec::new());
    for (side, said) in session {
        for piece in said.as_bytes().chunks(at_once) {
            recorder.segment(*side);
            recorder.octets(*side, None, piece, &mut events);
        }
    }
    recorder.flush(&mut events);
    written(events)
}

fn written(events: Vec<Event>) -> String {
    let dialogue = Dialogue { head: Head::default(), events };
    let text = dialogue.to_string();
    assert_eq!(Dialogue::parse(text.as_bytes()).as_ref(), Ok(&dialogue), "{text}");
    text
}

fn recorded(session: Session<'_>) -> String {
    let whole = record(session, usize::MAX, Bodies::Elided);
    for at_once in [1, 2, 3, 7, usize::MAX] {
        for bodies in [Bodies::Elided, Bodies::Kept] {
            let text = record(session, at_once, bodies);
            assert_eq!(leaks(&text), Vec::<String>::new(), "{at_once} {bodies:?}\n{text}");
            if bodies == Bodies::Elided {
                assert_eq!(uncut(&text), uncut(&whole), "{at_once}");
            }
        }
    }
    whole
}

const C: Side = Side::Client;
const S: Side = Side::Server;

#[test]
fn passwords_are_taken_out_and_what_a_reader_needs_stays() {
    let session = [
        (S, "+OK X1 POP3 Server\r\n"),
        (C, "capa\r\n"),
        (S, "+OK\r\nUSER\r\n.\r\n"),
        (C, "uSeR john.doe@anydomain.com\r\n"),
        (S, "+OK send your password\r\n"),
        (C, "pAsS hunter2horse\r\n"),
        (S, "+OK maildrop locked and ready\r\n"),
        (C, "LIST 1\r\n"),
        (S, "+OK 1 5\r\n"),
        (C, "RETR 1\r\n"),
        (S, "+OK 5 octets\r\na\r\n..\r\n.\r\n"),
        (C, "QUIT\r\n"),
        (S, "+OK POP3 Server saying Good-Bye\r\n"),
    ];
    assert_eq!(
        recorded(&session),
        "S: +OK X1 POP3 Server\nC: capa\nS: +OK\nS: USER\nS: .\nC: uSeR john.doe@anydomain.com\n\
         S: +OK send your password\nC: pAsS [secret]\nS: +OK maildrop locked and ready\nC: LIST 1\nS: +OK 1 5\n\
         C: RETR 1\nS: +OK 5 octets\nS: [6 octets]\nS: .\nC: QUIT\nS: +OK POP3 Server saying Good-Bye\n"
    );
}

#[test]
fn secrets_in_the_wrong_place_are_taken_out() {
    for line in [
        "hunter2horse",
        " PASS hunter2horse",
        "PASS\thunter2horse",
        "PASS  hunter2horse",
        "PASShunter2horse",
        "PASSWORD hunter2horse",
        "P\x08PASS hunter2horse",
        "NOOP\rPASS hunter2horse",
        "NOOP hunter2horse",
        "STAT hunter2horse",
        "USER john hunter2horse",
        "USER  john  hunter2horse",
        "USER\thunter2horse",
        "USER john\thunter2horse",
        "USER john\0hunter2horse",
        "APOP john c4c9334bac560ecc979e58001b3e22fb",
        "apop c4c9334bac560ecc979e58001b3e22fb",
        "AUTH hunter2horse",
        "AUTH PLAIN AGpvaG4AaHVudGVyMmhvcnNl",
        "auth plain  AGpvaG4AaHVudGVyMmhvcnNl",
        "AUTH XOAUTH2 dXNlcj1qb2huAWF1dGg9QmVhcmVyIGh1bnRlcjJob3JzZQEB",
        "AGpvaG4AaHVudGVyMmhvcnNl",
        "aHVudGVyMmhvcnNl",
        "XCLIENT PASS=hunter2horse",
    ] {
        for end in ["\r\n", "\n", ""] {
            let line = format!("{line}{end}");
            // The server repeats it, as some do, and the client tries again in another case.
            let session: [(Side, &str); 5] = [
                (S, "+OK X1 POP3 Server\r\n"),
                (C, &line),
                (S, "-ERR unknown command HUNTER2HORSE\r\n"),
                (C, "QUIT\r\n"),
                (S, "+OK\r\n"),
            ];
            let text = record(&session[..2], usize::MAX, Bodies::Elided);
            assert_eq!(leaks(&text), Vec::<String>::new(), "{text}");
            if end.is_empty() || line.starts_with("apop") || line.starts_with("APOP") {
                continue;
            }
            recorded(&session);
        }
    }
}

#[test]
fn exchanges_are_taken_out_on_both_sides() {
    let login = [
        (S, "+OK X1 POP3 Server\r\n"),
        (C, "AUTH LOGIN\r\n"),
        (S, "+ VXNlcm5hbWU6\r\n"),
        (C, "am9obg==\r\n"),
        (S, "+ UGFzc3dvcmQ6\r\n"),
        (C, "aHVudGVyMmhvcnNl\r\n"),
        (S, "-ERR [AUTH] no, not hunter2horse\r\n"),
        (C, "AUTH PLAIN\r\n"),
        (S, "+ \r\n"),
        (C, "QUIT\r\n"), // as a response, this is one
        (S, "-ERR [AUTH] no\r\n"),
        (C, "AUTH PLAIN\r\n"),
        (S, "+\r\n"),
        (C, "AGpvaG4AaHVudGVyMmhvcnNl\r\n"),
        (S, "+OK welcome\r\n"),
        (C, "RETR 1\r\n"),
        (S, "-ERR no such message\r\n"),
        (C, "PASS hunter2horse\r\n"),
        (S, "-ERR not now\r\n"),
        (C, "hunter2horse\r\n"),
        (S, "-ERR what?\r\n"),
    ];
    assert_eq!(
        recorded(&login),
        "S: +OK X1 POP3 Server\nC: AUTH LOGIN\nS: + [secret]\nC: [secret]\nS: + [secret]\nC: [secret]\n\
         S: -ERR [AUTH] [secret]\nC: AUTH PLAIN\nS: +\\x20\nC: [secret]\nS: -ERR [AUTH] no\nC: AUTH PLAIN\nS: +\n\
         C: [secret]\nS: +OK welcome\nC: RETR 1\nS: -ERR no such message\nC: PASS [secret]\nS: -ERR not now\n\
         C: [secret]\nS: -ERR what?\n"
    );
}

#[test]
fn what_is_pipelined_behind_a_login_is_told_apart_by_the_answers_alone() {
    // The second line is a response, although it is a command word too; the third is a command.
    let session = [
        (S, "+OK X1 POP3 Server\r\n"),
        (C, "AUTH LOGIN\r\nUSER\r\nhunter2horse\r\nSTAT hunter2horse\r\n"),
        (S, "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n-ERR [AUTH] no\r\n-ERR not now\r\n"),
        (C, "USER john\r\nPASS hunter2horse\r\nhunter2horse\r\nLIST hunter2horse\r\n"),
        (S, "+OK\r\n+OK\r\n-ERR what\r\n-ERR what\r\n"),
        (C, "LIST 1\r\n"),
        (S, "+OK 1 5\r\n"),
    ];
    let text = recorded(&session);
    assert!(text.ends_with("C: LIST 1\nS: +OK 1 5\n"), "the login was seen:\n{text}");
    assert!(text.contains("C: AUTH LOGIN\nC: [secret]\nC: [secret]\nC: [secret]\n"), "{text}");
    assert!(text.contains("C: USER john\nC: PASS [secret]\nC: [secret]\nC: LIST [secret]\n"), "{text}");
}

#[test]
fn a_login_that_did_not_happen_opens_nothing() {
    for session in [
        // A listing that holds what looks like answers.
        &[(C, "CAPA\r\nUSER john\r\nPASS x\r\n"), (S, "+OK\r\n+OK\r\n+OK\r\n")][..],
        // A block that ends in a bare LF does not end.
        &[(C, "CAPA\r\nPASS x\r\n"), (S, "+OK\r\nTOP\n.\r\n+OK\r\n")],
        // The login failed.
        &[(C, "USER john\r\nPASS x\r\n"), (S, "+OK\r\n-ERR no\r\n")],
        // What cannot be followed.
        &[(C, "USER john\r\nPASS x\r\n"), (S, "* OK\r\n+OK\r\n+OK\r\n")],
        &[(S, "+OK unasked\r\n"), (C, "PASS x\r\n"), (S, "+OK\r\n")],
        &[(C, "STLS\r\nPASS x\r\n"), (S, "+OK\r\n+OK\r\n")],
    ] {
        let mut all = vec![(S, "+OK X1 POP3 Server\r\n")];
        all.extend_from_slice(session);
        all.push((C, "STAT hunter2horse\r\n"));
        recorded(&all);
    }
}

#[test]
fn tls_forgets_what_was_said_before_it() {
    let mut redactor = Redactor::new();
    redactor.server(b"+OK\r\n");
    redactor.client(b"STLS\r\n");
    redactor.client(b"AUTH LOGIN\r\n");
    assert_eq!(redactor.server(b"+OK begin\r\n").to_string(), "+OK begin");
    assert_eq!(redactor.client(b"USER john\r\n").to_string(), "USER john");
    assert_eq!(redactor.server(b"+OK\r\n").to_string(), "+OK");
    assert_eq!(redactor.client(b"PASS a\r\n").to_string(), "PASS [secret]");
}

#[test]
fn floods_are_bounded_and_close_the_eyes() {
    let mut redactor = Redactor::new();
    redactor.server(b"+OK\r\n");
    for _ in 0..70_000 {
        redactor.client(b"PASS hunter2horse\r\n");
    }
    assert_eq!(redactor.client(b"NOOP\r\n").to_string(), "[secret]");
    assert_eq!(redactor.server(b"-ERR hunter2horse\r\n").to_string(), "-ERR [secret]");

    let (mut recorder, mut events) = (Recorder::new(Bodies::Elided), Vec::new());
    recorder.octets(S, None, b"+OK\r\n", &mut events);
    for _ in 0..10_000 {
        recorder.octets(C, None, b"PASS hunter2horse ", &mut events);
        recorder.octets(C, None, b"\r", &mut events);
    }
    recorder.octets(C, None, b"\nQUIT\r\n", &mut events);
    assert_eq!(written(events), "S: +OK\nC: PASS [secret]\nC: QUIT\n");
}

#[test]
fn cuts_stay_where_they_tell_nothing() {
    let (mut recorder, mut events) = (Recorder::new(Bodies::Elided), Vec::new());
    recorder.octets(S, None, b"+OK\r\n", &mut events);
    for piece in ["US", "ER jo", "hn\r", "\n", "PASS ", "hun", "ter2horse\r\nQU", "IT\r\n"] {
        recorder.segment(C);
        recorder.octets(C, None, piece.as_bytes(), &mut events);
    }
    assert_eq!(
        written(events),
        "S: +OK\nC: US\\|ER jo\\|hn\\r\\|\\n\\\nC: \\|PASS \\|[secret]\nC: QU\\|IT\n"
    );
}

#[test]
fn a_connection_that_ends_in_a_line_says_so() {
    let (mut recorder, mut events) = (Recorder::new(Bodies::Elided), Vec::new());
    for (side, said) in [
        (S, "+OK\r\n"),
        (C, "USER a\r\nPASS b\r\nRETR 1\r\n"),
        (S, "+OK\r\n+OK\r\n+OK 100 octets\r\nab"),
        (C, "QU"),
    ] {
        recorder.octets(side, None, said.as_bytes(), &mut events);
    }
    recorder.flush(&mut events);
    let text = written(events);
    assert!(text.ends_with("S: +OK 100 octets\nS: [2 octets]\nC: [secret]\\\n"), "{text}");
}

#[test]
fn half_a_line_hides_half_an_echo() {
    let (mut recorder, mut events) = (Recorder::new(Bodies::Elided), Vec::new());
    recorder.octets(S, None, b"+OK\r\n", &mut events);
    recorder.octets(C, None, b"PASS hunter2horse\r\n", &mut events);
    recorder.octets(S, None, b"-ERR no such password: hunter2ho", &mut events);
    recorder.flush(&mut events);
    assert_eq!(written(events), "S: +OK\nC: PASS [secret]\nS: -ERR [secret]\\\n");
}

#[test]
fn a_greeting_that_comes_late_repeats_nothing() {
    let mut redactor = Redactor::new();
    redactor.client(b"PASS hunter2horse\r\n");
    assert_eq!(redactor.server(b"+OK welcome, hunter2horse\r\n").to_string(), "+OK [secret]");
}

#[test]
fn an_exchange_that_the_server_ends_asks_for_no_response() {
    let mut redactor = Redactor::new();
    redactor.server(b"+OK\r\n");
    redactor.client(b"AUTH PLAIN\r\n");
    redactor.server(b"+ \r\n");
    redactor.server(b"-ERR too late\r\n");
    assert_eq!(redactor.client(b"USER john\r\n").to_string(), "USER john");
    assert_eq!(redactor.server(b"+OK\r\n").to_string(), "+OK");
    assert_eq!(redactor.client(b"PASS hunter2horse\r\n").to_string(), "PASS [secret]");
    assert_eq!(redactor.server(b"-ERR not hunter2horse\r\n").to_string(), "-ERR [secret]");
}
