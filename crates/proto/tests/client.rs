//! The client's session against what servers say, well and badly, at every cut (RFC 1939 §3–7, RFC 2449 §6.6, RFC 2595 §4,
//! RFC 5034 §4).
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use proptest::prelude::*;
use restante_proto::{
    MessageNumber, Secret,
    client::{Broken, Event, Session},
    command::Command,
    phase::Phase,
    reply::{ResponseCode, Status},
    verb::Verb,
};

fn number(number: u32) -> MessageNumber {
    MessageNumber::new(number).unwrap()
}

/// Sends the commands once the greeting came, gives the session `said` in pieces of this size, and tells what happened, a
/// line an event. `\u{1}` ends a part of what is said: what follows comes after the challenge or the handshake.
fn told(commands: &[Command<'_>], said: &[u8], at_once: usize) -> Vec<String> {
    let (mut session, mut out, mut body, mut told) = (Session::new(), Vec::new(), Vec::new(), Vec::new());
    let mut message = Vec::new();
    'all: for part in said.split(|&octet| octet == 1) {
        for mut piece in part.chunks(at_once) {
            loop {
                match session.advance(&mut piece, &mut body) {
                    Ok(Event::Input) => break,
                    Ok(Event::Octets) => message.append(&mut body),
                    Ok(Event::End { asked }) => {
                        let text = String::from_utf8_lossy(&message).into_owned();
                        told.push(format!("end of {asked}: {text:?}"));
                        message.clear();
                    }
                    Ok(Event::Greeting { status, stamp }) => {
                        told.push(format!("{status:?} {stamp:?}"));
                        commands.iter().for_each(|command| session.send(command, &mut out).unwrap());
                    }
                    Ok(Event::Challenge(challenge)) => {
                        told.push(format!("challenge {:?}", String::from_utf8_lossy(&challenge)));
                        session.respond(Some(&Secret::new(b"me".to_vec())), &mut out);
                    }
                    Ok(Event::StartTls) => {
                        told.push("tls".into());
                        session.secured();
                    }
                    Ok(event) => told.push(format!("{event:?}")),
                    Err(broken) => {
                        told.push(broken.to_string());
                        break 'all;
                    }
                }
            }
        }
    }
    match session.eof() {
        Ok(()) => told.push(format!("end in {}", session.phase().name())),
        Err(broken) => told.push(broken.to_string()),
    }
    told
}

/// The same at every size of the pieces.
fn same(commands: &[Command<'_>], said: &[u8]) -> Vec<String> {
    let whole = told(commands, said, usize::MAX);
    for at_once in 1..said.len() {
        assert_eq!(told(commands, said, at_once), whole, "in pieces of {at_once}");
    }
    whole
}

#[test]
fn a_pipelined_session_is_read_at_every_cut() {
    let commands = [
        Command::Capa,
        Command::User("john"),
        Command::Pass(Secret::new(b"abc".to_vec())),
        Command::Stat,
        Command::List(None),
        Command::Uidl(Some(number(2))),
        Command::Retr(number(1)),
        Command::Top(number(2), 0),
        Command::Dele(number(1)),
        Command::Quit,
    ];
    let said =
        b"+OK ready <1.2@x>\r\n+OK\r\nTOP\r\n..X\r\n.\r\n+OK\r\n+OK\r\n+OK 2 9\r\n+OK\r\n1 4\r\n2 5\r\n.\r\n\
        +OK 2 b\r\n+OK 4 octets\r\n..\r\n.\r\n-ERR [SYS/TEMP] later\r\n+OK gone\r\n+OK bye\r\n";
    let lines = same(&commands, said);
    let expected = [
        r#"Ok { text: "ready <1.2@x>" } Some("<1.2@x>")"#,
        r#"Reply { asked: Asked { verb: Capa, number: None, shape: Block }, status: Ok { text: "" } }"#,
        r#"Line("TOP")"#,
        r#"Line(".X")"#,
        r#"end of CAPA: """#,
        r#"Reply { asked: Asked { verb: User, number: None, shape: Line }, status: Ok { text: "" } }"#,
        r#"Reply { asked: Asked { verb: Pass, number: None, shape: Line }, status: Ok { text: "" } }"#,
        r#"Reply { asked: Asked { verb: Stat, number: None, shape: Line }, status: Ok { text: "2 9" } }"#,
        r#"Reply { asked: Asked { verb: List, number: None, shape: Block }, status: Ok { text: "" } }"#,
        r#"Line("1 4")"#,
        r#"Line("2 5")"#,
        r#"end of LIST: """#,
        r#"Reply { asked: Asked { verb: Uidl, number: Some(MessageNumber(2)), shape: Line }, status: Ok { text: "2 b" } }"#,
        r#"Reply { asked: Asked { verb: Retr, number: Some(MessageNumber(1)), shape: Block }, status: Ok { text: "4 octets" } }"#,
        r#"end of RETR 1: ".\r\n""#,
        r#"Reply { asked: Asked { verb: Top, number: Some(MessageNumber(2)), shape: Block }, status: Err { code: Some(SysTemp), text: "later" } }"#,
        r#"Reply { asked: Asked { verb: Dele, number: Some(MessageNumber(1)), shape: Line }, status: Ok { text: "gone" } }"#,
        r#"Reply { asked: Asked { verb: Quit, number: None, shape: Line }, status: Ok { text: "bye" } }"#,
        "end in UPDATE",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn an_exchange_answers_challenges_and_ends_in_a_reply() {
    let lines = same(&[Command::Auth("LOGIN", None)], b"+OK\r\n+ VXNlcg==\r\n\x01+ \r\n\x01+OK in\r\n");
    assert_eq!(lines[1..3], [r#"challenge "User""#, r#"challenge """#]);
    assert_eq!(lines[4], "end in TRANSACTION");
    let lines = same(&[Command::Auth("LOGIN", None)], b"+OK\r\n+ ***\r\n");
    assert_eq!(lines[1], "a challenge of the server is not base64");
    let endless = ["+OK\r\n".to_owned(), "+ \r\n\x01".repeat(40)].concat();
    let lines = told(&[Command::Auth("LOGIN", None)], endless.as_bytes(), usize::MAX);
    assert_eq!(lines[lines.len() - 2], "the server's challenges have no end");
    let lines = same(&[Command::Noop, Command::Stat][..0], b"+OK\r\n+ \r\n");
    assert_eq!(lines[1], "the server said without being asked: «+ »");
    let lines = same(&[Command::Capa], b"+OK\r\n+ \r\n");
    assert_eq!(lines[1], "the server challenges CAPA, which has no challenges");
}

/// The `NO STARTTLS` attacks: what a stranger puts behind the answer to STLS is never read as said under TLS.
#[test]
fn octets_behind_the_answer_to_stls_break_the_session() {
    let lines = told(&[Command::Stls], b"+OK\r\n+OK begin\r\n+OK 1 2\r\n", usize::MAX);
    assert!(lines[1].contains("behind the answer to STLS"), "{lines:?}");
    let lines = same(&[Command::Stls], b"+OK\r\n+OK begin\r\n\x01");
    assert_eq!(lines[1..], ["tls", "end in AUTHORIZATION"]);
    let lines = same(&[Command::Stls], b"+OK\r\n-ERR no\r\n");
    assert_eq!(lines[2], "end in AUTHORIZATION");
}

#[test]
fn strangers_break_the_session_in_words() {
    for (commands, said, words) in [
        (&[][..], &b"* OK IMAP4rev1\r\n"[..], "does not greet as a POP3 server does: «* OK IMAP4rev1»"),
        (&[], b"\x16\x03\x01\r\n", "does not greet"),
        (&[], b"", "without a greeting"),
        (&[], b"+OK\r\n-ERR autologout\r\n", "the server gave the session up: «autologout»"),
        (&[], b"+OK\r\n+OK twice\r\n", "without being asked: «+OK twice»"),
        (&[], b"+OK\r\n+O", "in the middle of a line"),
        (&[Command::Capa], b"+OK\r\nOK\r\n", "the answer to CAPA is neither +OK nor -ERR: «OK»"),
        (&[Command::Capa], b"+OK\r\n+OK\r\nUIDL\r\n", "in the middle of the answer to CAPA"),
        (&[Command::Capa], b"+OK\r\n", "before the answer to CAPA"),
        (&[Command::Quit], b"+OK\r\n+OK\r\n+OK\r\n", "went on after it said good-bye"),
        (&[Command::Quit], b"+OK\r\n", "before the answer to QUIT"),
    ] {
        let lines = same(commands, said);
        assert!(lines.iter().any(|line| line.contains(words)), "{words}: {lines:?}");
    }
    let retr = [Command::User("a"), Command::Pass(Secret::new(vec![])), Command::Retr(number(7))];
    let lines = same(&retr, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\nSubject: a\r\n\r\n.");
    assert_eq!(lines.last().unwrap(), "the connection ended in the middle of the answer to RETR 7");
}

#[test]
fn lines_and_listings_are_bounded() {
    let lines = told(&[], format!("+OK {}", "x".repeat(20_000)).as_bytes(), 4096);
    assert!(lines[0].contains("a line without end"));
    let endless = format!("+OK\r\n+OK\r\n{}", "X-A\r\n".repeat(5000));
    let lines = told(&[Command::Capa], endless.as_bytes(), 4096);
    assert!(lines[lines.len() - 2].contains("the answer to CAPA has no end"));
    let said = format!("+OK\r\nX{}\r\n", "\u{7}é".repeat(3000));
    let error = told(&[Command::Capa], said.as_bytes(), 4096)[1].clone();
    assert!(error.chars().count() < 300 && !error.contains('\u{7}'), "{error}");
}

#[test]
fn a_listing_is_as_long_as_the_driver_expects() {
    let (mut session, mut out, mut body) = (Session::new(), Vec::new(), Vec::new());
    let mut input = b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n1 1\r\n2 2\r\n3 3\r\n".as_slice();
    assert!(matches!(session.advance(&mut input, &mut body), Ok(Event::Greeting { .. })));
    for command in [Command::User("a"), Command::Pass(Secret::new(vec![])), Command::List(None)] {
        session.send(&command, &mut out).unwrap();
        assert!(matches!(session.advance(&mut input, &mut body), Ok(Event::Reply { .. })));
    }
    session.limit_listings(2);
    assert!(matches!(session.advance(&mut input, &mut body), Ok(Event::Line(_))));
    assert!(matches!(session.advance(&mut input, &mut body), Ok(Event::Line(_))));
    assert!(matches!(session.advance(&mut input, &mut body), Err(Broken::ListingTooLong(_))));
}

#[test]
fn what_nobody_asked_for_is_no_answer() {
    for (said, broken) in [
        (&b"+OK twice\r\n+OK\r\n"[..], Broken::Unasked("+OK twice".into())),
        (b"+O", Broken::Unasked("+O".into())),
        (b"-ERR [X] idle for too long\r\n", Broken::GivenUp("idle for too long".into())),
        (b"\x1b[2J\n", Broken::Unasked("?[2J".into())),
    ] {
        let (mut session, mut out, mut body) = (Session::new(), Vec::new(), Vec::new());
        assert_eq!(session.unasked(b"+OK"), Ok(()), "the greeting is waited for");
        assert!(session.advance(&mut b"+OK\r\n".as_slice(), &mut body).is_ok());
        assert_eq!((session.unasked(b""), session.unasked(said)), (Ok(()), Err(broken)));
        assert!(session.send(&Command::Capa, &mut out).is_err(), "nothing more can be said");
    }
    let (mut session, mut out, mut body) = (Session::new(), Vec::new(), Vec::new());
    assert!(session.advance(&mut b"+OK\r\n".as_slice(), &mut body).is_ok());
    session.send(&Command::Capa, &mut out).unwrap();
    assert_eq!(session.unasked(b"+OK"), Ok(()), "it was asked for");
}

#[test]
fn response_codes_are_read_in_any_case_as_far_as_they_are_known() {
    for (line, code) in [
        ("-ERR [auth] no", Some(ResponseCode::Auth)),
        ("-ERR [Sys/Temp] later", Some(ResponseCode::SysTemp)),
        ("-ERR [SYS/PERM/DISK] never", Some(ResponseCode::SysPerm)),
        ("-ERR [IN-USE/a/b] busy", Some(ResponseCode::InUse)),
        ("-ERR [SYS] x", Some(ResponseCode::Other("SYS".into()))),
        ("-ERR [sys/tempo] x", Some(ResponseCode::Other("SYS/TEMPO".into()))),
        ("-ERR AUTH", None),
    ] {
        let Some(Status::Err { code: read, .. }) = Status::parse(line.as_bytes()) else { panic!("{line}") };
        assert_eq!(read, code, "{line}");
    }
}

#[test]
fn a_time_stamp_for_apop_is_a_message_id() {
    for (greeting, stamp) in [
        ("POP3 ready <1896.697170952@dbc.mtview.ca.us>", Some("<1896.697170952@dbc.mtview.ca.us>")),
        ("<a@b> text", Some("<a@b>")),
        ("<a> <b@c>", Some("<b@c>")),
        ("<a@b@c>", None),
        ("<@b>", None),
        ("<a@>", None),
        ("<a b@c>", None),
        ("<a@b\u{80}>", None),
        ("a@b>", None),
        ("><", None),
    ] {
        let lines = told(&[], format!("+OK {greeting}\r\n").as_bytes(), usize::MAX);
        assert!(lines[0].ends_with(&format!("{:?}", stamp.map(str::to_owned))), "{lines:?}");
    }
    let long = format!("+OK <{}@b>\r\n", "a".repeat(300));
    assert!(told(&[], long.as_bytes(), usize::MAX)[0].ends_with("None"));
}

#[test]
fn what_may_not_be_said_is_not_sent() {
    let (mut session, mut out, mut body) = (Session::new(), Vec::new(), Vec::new());
    assert!(session.send(&Command::Capa, &mut out).is_err(), "before the greeting");
    let mut greeting = b"+OK\r\n".as_slice();
    assert!(matches!(session.advance(&mut greeting, &mut body), Ok(Event::Greeting { .. })));
    assert!(session.send(&Command::Stat, &mut out).is_err(), "before login");
    session.send(&Command::Capa, &mut out).unwrap();
    assert!(session.send(&Command::Stls, &mut out).is_err(), "STLS goes alone");
    let sent = out.len();
    session.send(&Command::Auth("PLAIN", Some(b"AA==")), &mut out).unwrap();
    assert!(session.send(&Command::Noop, &mut out).is_err(), "nothing goes behind AUTH");
    // An answer to CAPA does not change that.
    let mut capa = b"-ERR\r\n".as_slice();
    assert!(matches!(session.advance(&mut capa, &mut body), Ok(Event::Reply { .. })));
    assert!(session.send(&Command::Noop, &mut out).is_err());
    // Where AUTH fails, what comes next is a login again.
    let mut refused = b"-ERR [AUTH] no\r\n".as_slice();
    assert!(matches!(session.advance(&mut refused, &mut body), Ok(Event::Reply { .. })));
    let refused = session.send(&Command::Noop, &mut out).unwrap_err();
    assert_eq!((refused.verb, refused.phase), (Verb::Noop, Phase::Authorization));
    assert_eq!(&out[sent..], b"AUTH PLAIN AA==\r\n");
    session.send(&Command::User("john"), &mut out).unwrap();
}

proptest! {
    /// Whatever a server says, in whatever pieces: no panic, the same events, and no more octets than were said.
    #[test]
    fn any_octets_are_taken_the_same_in_any_pieces(
        said in proptest::collection::vec(
            prop_oneof![
                Just(b"+OK\r\n".to_vec()), Just(b"-ERR [X] y\r\n".to_vec()), Just(b".\r\n".to_vec()), Just(b"+ \r\n".to_vec()),
                Just(b"..\r\n".to_vec()), Just(b"\r".to_vec()), Just(b"\n".to_vec()), Just(b".".to_vec()),
                proptest::collection::vec(2_u8.., 0..6),
            ],
            0..24,
        ),
        at_once in 1_usize..9,
        which in 0_usize..6,
    ) {
        let all = [
            Command::Capa, Command::User("j"), Command::Pass(Secret::new(b"p".to_vec())), Command::Retr(number(1)),
            Command::Uidl(None), Command::Quit,
        ];
        let said = [b"+OK\r\n".to_vec(), said.concat()].concat();
        let whole = told(&all[..which], &said, usize::MAX);
        prop_assert_eq!(&told(&all[..which], &said, at_once), &whole);
        let octets: usize = whole.iter().map(String::len).sum();
        // Each event has words of its own around what was said; `{:?}` takes up to ten characters for an octet.
        prop_assert!(octets <= said.len() * 10 + whole.len() * 200);
    }
}
