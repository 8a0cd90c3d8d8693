//! The law: every phase × every verb × every kind of answer, against the table of `phase.rs` (RFC 1939 §3).
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::sync::Arc;

use restante_proto::{
    UniqueId, UniqueIds,
    body::Form,
    phase::{Phase, TRANSITIONS},
    reply::{Refusal, ResponseCode},
    server::{Answer, Ask, Close, Link, Next, Offer, Policy, Session, TlsFacts, Transfer},
    verb::Verb,
};

/// How the caller answers whatever is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Yes,
    No,
    Gone,
}

fn session() -> Session<()> {
    let policy = Policy {
        hostname: "X1".into(),
        stls: true,
        passwords: true,
        mechanisms: vec![Offer::new("PLAIN", true)],
        login_failures_max: 100,
        bad_commands_max: 100,
    };
    Session::new(Arc::new(policy), Link { tls: None, cleartext: true }, Some("<1.2@X1>".into()))
}

/// Runs these lines to their end; says what came out and whether the session closed.
fn run(session: &mut Session<()>, lines: &str, mood: Mood) -> (String, Option<Close>) {
    let (mut input, mut out) = (lines.as_bytes(), Vec::new());
    let close = loop {
        match session.advance(&mut input, &mut out) {
            Next::Input => break None,
            Next::Write => panic!("nothing here is that long"),
            Next::Ask(ask) => session.answer(answer(&ask, mood), &mut out),
            Next::Send(_) => session.sent(mood == Mood::Yes, &mut out),
            Next::StartTls => session.secured(TlsFacts {
                version: "TLSv1.3".into(),
                cipher: "X".into(),
                ..TlsFacts::default()
            }),
            Next::Close(why) => break Some(why),
        }
    };
    (String::from_utf8(out).unwrap(), close)
}

fn answer(ask: &Ask, mood: Mood) -> Answer<()> {
    match (ask, mood) {
        (Ask::Message { .. }, Mood::Gone) => Answer::Gone,
        (Ask::Commit { .. }, Mood::No | Mood::Gone) => Answer::Remain(1),
        (_, Mood::No | Mood::Gone) => Answer::Refused(Refusal::coded(ResponseCode::SysTemp, "no")),
        (Ask::Password { .. } | Ask::Apop { .. } | Ask::SaslStart { .. } | Ask::SaslStep(_), _) => {
            Answer::Accepted
        }
        (Ask::SaslCancel, _) => Answer::Cancelled,
        (Ask::Open, _) => Answer::Opened { messages: 2, sizes: None },
        (Ask::Sizes, _) => Answer::Sizes([10, 20].into()),
        (Ask::UniqueIds { range }, _) => {
            let ids: Vec<_> =
                range.clone().filter_map(|index| UniqueId::new(format!("u{index}").as_bytes())).collect();
            Answer::UniqueIds(ids.iter().collect::<UniqueIds>())
        }
        (Ask::Message { part, .. }, _) => Answer::Message {
            transfer: Transfer { source: (), octets: 0..10, form: Form::Wire, part: *part },
            octets: 10,
        },
        (Ask::Commit { .. }, _) => Answer::Committed,
    }
}

fn in_phase(phase: Phase) -> Session<()> {
    let mut session = session();
    let lines = match phase {
        Phase::Authorization => "",
        Phase::Named => "USER a\r\n",
        Phase::Transaction => "USER a\r\nPASS b\r\n",
        Phase::Update => "USER a\r\nPASS b\r\nQUIT\r\n",
        Phase::Closed => "QUIT\r\n",
    };
    run(&mut session, lines, Mood::Yes);
    assert_eq!(session.phase(), phase);
    session
}

fn line(verb: Verb) -> &'static str {
    match verb {
        Verb::Apop => "APOP a 00112233445566778899aabbccddeeff\r\n",
        Verb::Auth => "AUTH PLAIN AGEAYg==\r\n",
        Verb::Capa => "CAPA\r\n",
        Verb::Dele => "DELE 1\r\n",
        Verb::List => "LIST\r\n",
        Verb::Noop => "NOOP\r\n",
        Verb::Pass => "PASS b\r\n",
        Verb::Quit => "QUIT\r\n",
        Verb::Retr => "RETR 1\r\n",
        Verb::Rset => "RSET\r\n",
        Verb::Stat => "STAT\r\n",
        Verb::Stls => "STLS\r\n",
        Verb::Top => "TOP 1 0\r\n",
        Verb::Uidl => "UIDL\r\n",
        Verb::User => "USER a\r\n",
    }
}

#[test]
fn every_phase_verb_and_answer_obeys_the_table() {
    let mut checked = 0;
    for phase in [Phase::Authorization, Phase::Named, Phase::Transaction] {
        for verb in Verb::ALL {
            for mood in [Mood::Yes, Mood::No, Mood::Gone] {
                let mut session = in_phase(phase);
                let (out, closed) = run(&mut session, line(verb), mood);
                let case = format!("{phase:?} {verb:?} {mood:?}: {out}");
                assert!(out.starts_with("+OK") || out.starts_with("-ERR "), "{case}");
                let ok = out.starts_with("+OK");
                match phase.transition(verb) {
                    None => {
                        assert!(!ok && session.phase() == phase && closed.is_none(), "{case}");
                    }
                    Some(row) => {
                        assert_eq!(session.phase(), if ok { row.ok } else { row.err }, "{case}");
                        // Without a fault of store or directory, what the table allows succeeds.
                        assert!(ok || mood != Mood::Yes, "{case}");
                        let breaks = verb == Verb::Retr || verb == Verb::Top;
                        let ends = verb == Verb::Quit || (breaks && ok && mood != Mood::Yes);
                        assert_eq!(closed.is_some(), ends, "{case}");
                    }
                }
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 3 * 15 * 3);
    assert_eq!(TRANSITIONS.len(), 23, "a row was added: is there a line for it above?");
}

#[test]
fn nothing_is_said_after_the_end() {
    for phase in [Phase::Update, Phase::Closed] {
        let mut session = in_phase(phase);
        for verb in Verb::ALL {
            let (out, closed) = run(&mut session, line(verb), Mood::Yes);
            assert_eq!((out.as_str(), closed), ("", Some(Close::Quit)), "{verb:?}");
        }
    }
}

#[test]
fn quit_tells_the_truth() {
    // RFC 1939 §6; field defect: QUIT that answers before, or whatever the outcome of, the deletion.
    let (out, closed) = run(&mut in_phase(Phase::Transaction), "DELE 1\r\nQUIT\r\n", Mood::No);
    assert_eq!(out, "+OK msg deleted\r\n-ERR [SYS/TEMP] 1 deleted messages not removed\r\n");
    assert_eq!(closed, Some(Close::QuitRefused));
}

#[test]
fn a_body_that_breaks_off_has_no_final_dot() {
    let mut session = in_phase(Phase::Transaction);
    let (mut input, mut out) = (b"RETR 1\r\nNOOP\r\n".as_slice(), Vec::new());
    let Next::Ask(ask) = session.advance(&mut input, &mut out) else { panic!("no question") };
    session.answer(answer(&ask, Mood::Yes), &mut out);
    let Next::Send(_) = session.advance(&mut input, &mut out) else { panic!("no body") };
    session.sent(false, &mut out);
    assert!(matches!(session.advance(&mut input, &mut out), Next::Close(Close::BrokenOff)));
    assert_eq!(out, b"+OK 10 octets\r\n");
}

#[test]
fn a_half_closed_connection_finishes_what_was_read() {
    let mut session = in_phase(Phase::Transaction);
    session.eof();
    let (out, closed) = run(&mut session, "NOOP\r\nDELE 1\r\nQUIT", Mood::Yes);
    assert_eq!(
        (out.as_str(), closed),
        ("+OK\r\n+OK msg deleted\r\n", Some(Close::Disconnected)),
        "QUIT has no end"
    );
}

#[test]
fn a_draining_server_lets_nobody_in_and_everybody_out() {
    let mut session = in_phase(Phase::Named);
    session.drain();
    let (out, closed) = run(&mut session, "PASS b\r\nAUTH PLAIN AGEAYg==\r\n", Mood::Yes);
    assert_eq!(out.matches("-ERR [SYS/TEMP]").count(), 2, "{out}");
    assert_eq!(closed, None);
    let mut session = in_phase(Phase::Transaction);
    session.drain();
    let (out, closed) = run(&mut session, "RETR 1\r\nQUIT\r\n", Mood::Yes);
    assert!(out.ends_with("+OK POP3 Server saying Good-Bye\r\n") && closed == Some(Close::Quit), "{out}");
}

#[test]
fn a_driver_that_breaks_the_contract_ends_the_session() {
    let mut session = session();
    session.answer(Answer::Accepted, &mut Vec::new());
    assert!(matches!(
        session.advance(&mut b"NOOP\r\n".as_slice(), &mut Vec::new()),
        Next::Close(Close::Misuse)
    ));
}

#[test]
fn other_protocols_are_recognised() {
    let mut tls = session();
    let (out, closed) = run(&mut tls, "\x16\x03\x01\x02\0\x01", Mood::Yes);
    assert_eq!((out.as_str(), closed), ("+OK X1 POP3 Server <1.2@X1>\r\n", Some(Close::TlsOnClearPort)));
    let mut http = session();
    let (out, closed) = run(&mut http, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", Mood::Yes);
    assert!(out.ends_with("-ERR this is a POP3 server\r\n"), "{out}");
    assert_eq!(closed, Some(Close::HttpRequest));
}

#[test]
fn too_many_bad_commands_end_the_session() {
    let mut session = session();
    let (out, closed) = run(&mut session, &"XYZZY\r\n".repeat(200), Mood::Yes);
    assert_eq!((out.matches("-ERR").count(), closed), (100, Some(Close::BadCommands)));
    assert!(!out.contains("XYZZY"), "what was sent is not repeated");
}

#[test]
fn ten_thousand_commands_in_one_read_are_written_in_pieces() {
    let mut session = in_phase(Phase::Transaction);
    let lines = "CAPA\r\n".repeat(10_000);
    let (mut input, mut out, mut written, mut largest) = (lines.as_bytes(), Vec::new(), 0, 0);
    loop {
        let next = session.advance(&mut input, &mut out);
        largest = largest.max(out.len());
        match next {
            Next::Write => {
                written += out.len();
                out.clear();
            }
            Next::Input => break,
            other => panic!("{other:?}"),
        }
    }
    written += out.len();
    assert!(largest < 65 * 1024 && written > 1_000_000, "{largest} {written}");
}

#[test]
fn a_listing_of_a_million_messages_is_resumed() {
    let mut session = session();
    let (mut input, mut out) = (b"USER a\r\nPASS b\r\nLIST\r\nUIDL\r\nQUIT\r\n".as_slice(), Vec::new());
    let (mut lines, mut largest, mut pages) = (0, 0, 0);
    loop {
        let next = session.advance(&mut input, &mut out);
        largest = largest.max(out.len());
        match next {
            Next::Write => {
                lines += out.iter().filter(|&&octet| octet == b'\n').count();
                out.clear();
            }
            Next::Ask(Ask::Open) => {
                let sizes: Arc<[u64]> = (0..1_000_000).collect();
                session.answer(Answer::Opened { messages: 1_000_000, sizes: Some(sizes) }, &mut out);
            }
            Next::Ask(ask) => {
                pages += usize::from(matches!(ask, Ask::UniqueIds { .. }));
                session.answer(answer(&ask, Mood::Yes), &mut out);
            }
            Next::Close(_) => break,
            other => panic!("{other:?}"),
        }
    }
    lines += out.iter().filter(|&&octet| octet == b'\n').count();
    assert_eq!(lines, 3 + 2 * (1_000_000 + 2) + 1);
    assert!(largest < 96 * 1024, "{largest}");
    assert!(pages > 100, "unique-ids are asked for by page");
}

/// Every answer to every question, also those that make no sense: the session says something and goes on or ends; it
/// never waits for what will not come.
#[test]
fn every_answer_to_every_question_leads_somewhere() {
    let answers = || -> Vec<Answer<()>> {
        let id = UniqueId::new(b"u").unwrap();
        let part = restante_proto::body::Part::Whole;
        vec![
            Answer::Challenge(vec![]),
            Answer::Accepted,
            Answer::Refused(Refusal::coded(ResponseCode::SysTemp, "no")),
            Answer::Cancelled,
            Answer::Opened { messages: 2, sizes: None },
            Answer::Sizes([10, 20].into()),
            Answer::Sizes([].into()),
            Answer::UniqueIds([&id].into_iter().collect::<UniqueIds>()),
            Answer::UniqueIds(UniqueIds::default()),
            Answer::Message {
                transfer: Transfer { source: (), octets: 0..1, form: Form::Wire, part },
                octets: 3,
            },
            Answer::Gone,
            Answer::Committed,
            Answer::Remain(1),
        ]
    };
    let questions = [
        (Phase::Named, "PASS b\r\n"),
        (Phase::Authorization, "APOP a 00112233445566778899aabbccddeeff\r\n"),
        (Phase::Authorization, "AUTH PLAIN AGEAYg==\r\n"),
        (Phase::Transaction, "STAT\r\n"),
        (Phase::Transaction, "LIST\r\n"),
        (Phase::Transaction, "UIDL\r\n"),
        (Phase::Transaction, "UIDL 1\r\n"),
        (Phase::Transaction, "RETR 1\r\n"),
        (Phase::Transaction, "TOP 1 0\r\n"),
        (Phase::Transaction, "QUIT\r\n"),
    ];
    for (phase, line) in questions {
        for place in 0..answers().len() {
            let mut session = in_phase(phase);
            let (mut input, mut out) = (line.as_bytes(), Vec::new());
            let Next::Ask(_) = session.advance(&mut input, &mut out) else { panic!("{line} asks nothing") };
            let answer = answers().swap_remove(place);
            let case = format!("{line:?} {answer:?}");
            session.answer(answer, &mut out);
            let next = session.advance(&mut input, &mut out);
            assert!(!out.is_empty() || matches!(next, Next::Ask(_)), "{case}: nothing was said");
            if line.starts_with("QUIT") {
                assert!(matches!(next, Next::Close(_)), "{case}: {next:?}");
            }
        }
    }
}

#[test]
fn a_login_that_goes_wrong_begins_anew() {
    let mut session = session();
    let (out, _) = run(&mut session, "USER alice\r\nUSER bob smith\r\nPASS p\r\n", Mood::Yes);
    assert!(out.ends_with("-ERR send USER before PASS\r\n"), "{out}");
}

#[test]
fn an_exchange_that_is_under_way_does_not_outlive_the_drain() {
    let mut session = session();
    let (mut input, mut out) = (b"AUTH PLAIN\r\n".as_slice(), Vec::new());
    let Next::Ask(Ask::SaslStart { .. }) = session.advance(&mut input, &mut out) else {
        panic!("no exchange")
    };
    session.answer(Answer::Challenge(vec![]), &mut out);
    session.drain();
    let (out, _) = run(&mut session, "AGEAYg==\r\n", Mood::Yes);
    assert_eq!(out, "-ERR [SYS/TEMP] the server is going down, try again later\r\n");
    assert_eq!(session.phase(), Phase::Authorization);
}
