//! The protocol's hot loops, for `cargo xtask instructions`: messages measured, stuffed and unstuffed; command lines found
//! and parsed; a session that is asked a thousand things at once; listings.
#![allow(clippy::unwrap_used, clippy::expect_used)] // what does not go as planned is to be seen

use std::{hint::black_box, process::ExitCode, sync::Arc};

use restante_proto::{
    UniqueId, UniqueIds,
    body::{Form, Measure, Part, Stuffer, Unstuffed, Unstuffer},
    command::Command,
    line::{Found, Lines, Of},
    server::{Answer, Ask, Link, Next, Policy, Session},
};
use restante_testkit::loops::{self, Loop, Round};

const MESSAGE_OCTETS: usize = 50 * 1024;
const COMMANDS: u32 = 1000;
const MESSAGES: u32 = 10_000;

const LOOPS: &[Loop] = &[
    Loop { name: "measure", unit: "octet", units: MESSAGE_OCTETS as u64, prepare: measure },
    Loop {
        name: "stuff-lf",
        unit: "octet",
        units: MESSAGE_OCTETS as u64,
        prepare: || stuff("\n", Form::Local),
    },
    Loop {
        name: "stuff-crlf",
        unit: "octet",
        units: MESSAGE_OCTETS as u64,
        prepare: || stuff("\r\n", Form::Crlf),
    },
    Loop { name: "unstuff", unit: "octet", units: MESSAGE_OCTETS as u64, prepare: unstuff },
    Loop { name: "parse", unit: "command", units: COMMANDS as u64, prepare: parse },
    Loop { name: "session", unit: "command", units: COMMANDS as u64, prepare: pipelined },
    Loop { name: "list", unit: "message", units: MESSAGES as u64, prepare: list },
    Loop { name: "uidl", unit: "message", units: MESSAGES as u64, prepare: uidl },
];

fn main() -> ExitCode {
    loops::main(LOOPS)
}

/// A message of so many octets: most lines have 64 to 76 characters, some fewer, and one in fifty begins with a dot.
fn message(line_end: &str) -> Vec<u8> {
    let (mut message, mut number) = (b"Subject: a".to_vec(), 1_u32);
    message.extend_from_slice(line_end.repeat(2).as_bytes());
    while message.len() < MESSAGE_OCTETS - line_end.len() {
        // The generator of Numerical Recipes: the same lines everywhere.
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let random = (number >> 8) as usize;
        let long = if random.is_multiple_of(8) { random / 8 % 79 } else { 64 + random % 13 };
        if number.is_multiple_of(50) {
            message.push(b'.');
        }
        message.extend(std::iter::repeat_n(b'x', long));
        message.extend_from_slice(line_end.as_bytes());
    }
    message.truncate(MESSAGE_OCTETS - line_end.len());
    message.extend_from_slice(line_end.as_bytes());
    message
}

fn measure() -> Round {
    let message = message("\n");
    Box::new(move || {
        let mut measure = Measure::default();
        measure.push(black_box(&message));
        black_box(measure.finish());
    })
}

fn stuff(line_end: &str, form: Form) -> Round {
    let (message, mut wire) = (message(line_end), Vec::with_capacity(2 * MESSAGE_OCTETS));
    Box::new(move || {
        wire.clear();
        let mut stuffer = Stuffer::new(form, Part::Whole);
        let _more = stuffer.push(black_box(&message), &mut wire);
        stuffer.finish(&mut wire);
        black_box(&wire);
    })
}

fn unstuff() -> Round {
    let (mut wire, mut stuffer) = (Vec::new(), Stuffer::new(Form::Crlf, Part::Whole));
    let _more = stuffer.push(&message("\r\n"), &mut wire);
    wire.extend_from_slice(b".\r\n");
    let mut message = Vec::with_capacity(2 * MESSAGE_OCTETS);
    Box::new(move || {
        message.clear();
        let done = Unstuffer::default().push(black_box(&wire), &mut message);
        assert_eq!(done, Unstuffed::Done(wire.len()));
        black_box(&message);
    })
}

/// A batch as clients pipeline it.
fn batch() -> Vec<u8> {
    let lines =
        (1..=COMMANDS / 4).map(|number| format!("NOOP\r\nSTAT\r\nLIST {number}\r\nRETR {number}\r\n"));
    lines.collect::<String>().into_bytes()
}

fn parse() -> Round {
    let batch = batch();
    Box::new(move || {
        let (mut lines, mut input) = (Lines::default(), black_box(batch.as_slice()));
        while let Found::Line(line) = lines.next(&mut input, Of::Command) {
            black_box(&Command::parse(&line)).as_ref().unwrap();
        }
    })
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
    let sizes = (0..MESSAGES).map(|index| u64::from(index) * 7919 % 100_000).collect();
    session.answer(Answer::Opened { messages: MESSAGES, sizes: Some(sizes) }, &mut out);
    assert!(matches!(session.advance(&mut input, &mut out), Next::Input));
    session
}

/// What the driver does with `input`, its pages of unique-ids being made before.
fn drive(session: &mut Session<()>, mut input: &[u8], out: &mut Vec<u8>, pages: &mut Vec<UniqueIds>) {
    loop {
        match session.advance(&mut input, out) {
            Next::Input => return,
            Next::Write => out.clear(),
            Next::Ask(Ask::UniqueIds { .. }) => {
                session.answer(Answer::UniqueIds(pages.pop().unwrap()), out);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn pipelined() -> Round {
    let lines = (1..=COMMANDS / 5)
        .map(|number| format!("NOOP\r\nSTAT\r\nLIST {number}\r\nDELE {number}\r\nLIST 9{number:03}\r\n"));
    // The marks are taken away, so that each round does the same.
    let batch = lines.chain(["RSET\r\n".to_owned()]).collect::<String>();
    let (mut session, mut out) = (session(), Vec::with_capacity(1 << 17));
    Box::new(move || {
        out.clear();
        drive(&mut session, black_box(batch.as_bytes()), &mut out, &mut Vec::new());
    })
}

fn list() -> Round {
    let (mut session, mut out) = (session(), Vec::with_capacity(1 << 17));
    Box::new(move || {
        out.clear();
        drive(&mut session, black_box(b"LIST\r\n"), &mut out, &mut Vec::new());
    })
}

fn uidl() -> Round {
    let (mut session, mut out) = (session(), Vec::with_capacity(1 << 17));
    // As the names of Maildirs are.
    let id = |index: u32| {
        UniqueId::new(
            format!("1732338061.M{:06}P{}.mail", index * 97 % 1_000_000, 4000 + index % 999).as_bytes(),
        )
    };
    let ids: Vec<UniqueId> = (0..MESSAGES).map(|index| id(index).unwrap()).collect();
    Box::new(move || {
        out.clear();
        // The store's part of the work, as the session is given it: a page at a time.
        let mut pages: Vec<UniqueIds> = ids
            .chunks(restante_proto::server::UNIQUE_ID_PAGE_MAX as usize)
            .rev()
            .map(|page| page.iter().collect())
            .collect();
        drive(&mut session, black_box(b"UIDL\r\n"), &mut out, &mut pages);
    })
}
