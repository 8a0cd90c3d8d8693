//! What a session and the loops of a body allocate once they are warm: nothing. A batch of thousands of commands is one
//! `advance` into one buffer.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::sync::Arc;

use restante_proto::{
    UniqueId, UniqueIds,
    body::{Form, Measure, Part, Stuffer, Unstuffed, Unstuffer},
    server::{Answer, Ask, Link, Next, Policy, Session, UNIQUE_ID_PAGE_MAX},
};

const MESSAGES: u32 = 20_000;

/// How often this allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

/// A session in TRANSACTION.
fn session() -> Session<()> {
    let policy = Policy {
        hostname: "mail.example.org".into(),
        stls: false,
        passwords: true,
        mechanisms: vec![],
        login_failures_max: 3,
        bad_commands_max: 20,
    };
    let mut session = Session::new(Arc::new(policy), Link { tls: None, cleartext: true }, None);
    let (mut input, mut out) = (b"USER ann\r\nPASS abcxyz\r\n".as_slice(), Vec::new());
    assert!(matches!(session.advance(&mut input, &mut out), Next::Ask(Ask::Password { .. })));
    session.answer(Answer::Accepted, &mut out);
    assert!(matches!(session.advance(&mut input, &mut out), Next::Ask(Ask::Open)));
    let sizes = (0..MESSAGES).map(u64::from).collect();
    session.answer(Answer::Opened { messages: MESSAGES, sizes: Some(sizes) }, &mut out);
    assert!(matches!(session.advance(&mut input, &mut out), Next::Input));
    session
}

/// Runs a batch as the driver does, and says how many octets came out.
fn run(session: &mut Session<()>, mut input: &[u8], out: &mut Vec<u8>) -> usize {
    let mut octets = 0;
    loop {
        let next = session.advance(&mut input, out);
        octets += out.len();
        out.clear();
        match next {
            Next::Input => return octets,
            Next::Write => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Vec::<u8>::with_capacity(1))), 1);
}

#[test]
fn ten_thousand_pipelined_commands_allocate_nothing() {
    let mut session = session();
    // As large as the session lets it become: its soft limit, and a line.
    let mut out = Vec::with_capacity(128 * 1024);
    // The marks are there from the first DELE on.
    run(&mut session, b"DELE 20000\r\n", &mut out);
    let lines =
        (1..=2500).map(|number| format!("NOOP\r\nSTAT\r\nlist {}\r\nDELE {number}\r\n", 5000 + number));
    let batch = lines.collect::<String>();
    let mut octets = 0;
    assert_eq!(allocations(|| octets = run(&mut session, batch.as_bytes(), &mut out)), 0);
    let lines = |text: &str| text.len() * 2500;
    assert!(octets > lines("+OK\r\n+OK 20000 1\r\n+OK 1 1\r\n+OK msg deleted\r\n"), "{octets}");
    // What is wrong allocates nothing either.
    for wrong in ["XTND\r\n", "LIST 99999\r\n", "DELE 1\r\n", "RETR 1\r\n", "TOP 1\r\n", "USER ann\r\n"] {
        assert_eq!(allocations(|| octets = run(&mut session, wrong.as_bytes(), &mut out)), 0, "{wrong}");
        assert!(octets > 0);
    }
}

#[test]
fn a_listing_allocates_nothing() {
    let (mut session, mut out) = (session(), Vec::with_capacity(128 * 1024));
    let mut octets = 0;
    assert_eq!(allocations(|| octets = run(&mut session, b"LIST\r\n", &mut out)), 0);
    assert!(octets > 200_000, "{octets}");
}

/// UIDL comes in pages: a page of the store, and one box for the place in it each time that `out` is full.
#[test]
fn a_page_of_unique_ids_is_written_without_allocating_for_each() {
    let (mut session, mut out) = (session(), Vec::with_capacity(128 * 1024));
    let page: UniqueIds = [UniqueId::new(b"1732338061.M000097P4001.mail").unwrap()]
        .iter()
        .cycle()
        .take(UNIQUE_ID_PAGE_MAX as usize)
        .collect();
    let mut pages: Vec<_> =
        std::iter::repeat_n(page, MESSAGES.div_ceil(UNIQUE_ID_PAGE_MAX) as usize).collect();
    let there = pages.len() as u64;
    let mut input = b"UIDL\r\n".as_slice();
    let count = allocations(|| {
        loop {
            match session.advance(&mut input, &mut out) {
                Next::Input => break,
                Next::Write => out.clear(),
                Next::Ask(_) => session.answer(Answer::UniqueIds(pages.pop().unwrap()), &mut out),
                other => panic!("{other:?}"),
            }
        }
    });
    let writes = u64::from(MESSAGES) * 36 / (64 * 1024) + 1;
    assert!(pages.is_empty() && count <= there + writes, "{count} allocations for {there} pages");
}

#[test]
fn bodies_go_through_their_buffers_without_allocating() {
    let mut message =
        "A line of mail, of sixty octets as lines of mail tend to be\n.\n".repeat(1000).into_bytes();
    for (line_end, form) in [("\n", Form::Local), ("\r\n", Form::Crlf)] {
        if line_end == "\r\n" {
            message = String::from_utf8(message).unwrap().replace('\n', line_end).into_bytes();
        }
        let (mut wire, mut back) = (Vec::with_capacity(1 << 20), Vec::with_capacity(1 << 20));
        let count = allocations(|| {
            let mut measure = Measure::default();
            let mut stuffer = Stuffer::new(form, Part::Whole);
            for piece in message.chunks(4096) {
                measure.push(piece);
                let _more = stuffer.push(piece, &mut wire);
            }
            stuffer.finish(&mut wire);
            wire.extend_from_slice(b".\r\n");
            let mut unstuffer = Unstuffer::default();
            let mut done = Unstuffed::More;
            wire.chunks(4096).for_each(|piece| done = unstuffer.push(piece, &mut back));
            assert_ne!(done, Unstuffed::More);
            assert_eq!(measure.finish().octets, back.len() as u64);
        });
        assert_eq!(count, 0, "{form:?}");
    }
}
