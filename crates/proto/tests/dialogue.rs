//! The dialogue format: what is written is read back as the same values, on arbitrary octets; errors have places.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::time::Duration;

use proptest::prelude::*;
use restante_proto::{
    Secret, UniqueId, UserName,
    dialogue::{
        Apop, Cleartext, Content, Dialogue, Event, Flag, Flags, Head, Heard, Joined, Kind, LINE_MAX_OCTETS,
        Line, Listener, Mail, Mark, ParseError, Pattern, Piece, Problem, Segment, Side, Slot, TcpEvent,
        TlsEvent, TlsFacts, TlsMode, Word, filler,
    },
};

/// What a writer or a reader could take for something else.
const SPICES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\\",
    b"\\|",
    b" ",
    b"{any}",
    b"{",
    b"}",
    b"[secret]",
    b"[12 octets]",
    b"[AUTH]",
    b"\"",
    b"#",
    b"{lines}",
    b"\xc3\xa9",
    &[b'A'; 100],
    &[b'{'; 70],
    &[b'\r'; 64],
    b"\t",
];

fn octets() -> impl Strategy<Value = Vec<u8>> {
    let spiced = prop::sample::select(SPICES);
    prop::collection::vec(
        prop_oneof![spiced.prop_map(<[u8]>::to_vec), prop::collection::vec(any::<u8>(), 0..8)],
        0..6,
    )
    .prop_map(|parts| parts.concat())
}

fn line<M: Mark>() -> impl Strategy<Value = Line<M>> {
    let marks: Vec<M> = M::NAMES.iter().map(|(_, mark)| *mark).collect();
    let piece = prop_oneof![
        4 => octets().prop_map(Piece::Octets),
        1 => Just(Piece::Cut),
        1 => Just(Piece::Secret),
        1 => prop::sample::select(marks).prop_map(Piece::Mark),
        3 => Just(Piece::Octets(b"\r\n".to_vec())),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| {
        let mut line = Line::default();
        pieces.into_iter().for_each(|piece| line.push(piece));
        line
    })
}

fn word() -> impl Strategy<Value = Option<Word>> {
    prop::option::of("[!-~]{1,20}".prop_map(|text| Word::new(&text).unwrap()))
}

fn kind() -> impl Strategy<Value = Kind> {
    let facts = (word(), word(), word(), word()).prop_map(|(version, cipher, name, alpn)| TlsFacts {
        version,
        cipher,
        name,
        alpn,
    });
    let side = prop_oneof![Just(Side::Client), Just(Side::Server)];
    let flags = prop::collection::vec(
        prop::sample::select(&[Flag::Syn, Flag::Fin, Flag::Rst, Flag::Psh, Flag::Ack][..]),
        0..5,
    )
    .prop_map(|flags| flags.into_iter().fold(Flags::default(), Flags::with));
    let segment = (side.clone(), flags, any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>())
        .prop_map(|(from, flags, seq, ack, octets)| Segment { from, flags, seq, ack, octets });
    prop_oneof![
        4 => line().prop_map(Kind::Client),
        4 => line().prop_map(Kind::Server),
        1 => any::<u64>().prop_map(|octets| Kind::Body { octets }),
        1 => Just(Kind::Lines),
        1 => prop_oneof![
            facts.prop_map(TlsEvent::Handshake),
            Just(TlsEvent::Failed),
            side.prop_map(TlsEvent::Close),
        ].prop_map(Kind::Tls),
        1 => prop_oneof![
            Just(TcpEvent::Connect),
            Just(TcpEvent::Timeout),
            segment.prop_map(TcpEvent::Segment),
        ].prop_map(Kind::Tcp),
    ]
}

fn text() -> impl Strategy<Value = Option<Box<str>>> {
    prop::option::of(".{0,20}".prop_map(String::into_boxed_str))
}

fn head() -> impl Strategy<Value = Head> {
    let content = prop_oneof![
        octets().prop_map(Content::Octets),
        (2u32..100_000).prop_map(Content::Filler),
        "[ -~é]{0,9}[a-z]".prop_map(|path| Content::File(path.into())),
    ];
    let mail = ("[!-~]{1,70}", content)
        .prop_map(|(id, content)| Mail { unique_id: UniqueId::new(id.as_bytes()).unwrap(), content });
    let apop = prop_oneof![
        Just(Apop::Off),
        Just(Apop::On),
        "[a-z0-9.]{1,9}".prop_map(|stamp| Apop::Stamp(stamp.into()))
    ];
    let user = "[a-zé{]{1,9}@[a-z]{1,9}".prop_map(|name| UserName::new(&name).unwrap());
    let tls = prop::sample::select(&[TlsMode::Off, TlsMode::Stls, TlsMode::Implicit][..]);
    let cleartext = prop::sample::select(&[Cleartext::Never, Cleartext::Loopback, Cleartext::Always][..]);
    let joined = prop::sample::select(&[Joined::Authorization, Joined::Transaction][..]);
    (
        (text(), text(), text(), text(), text(), prop::option::of(joined)),
        prop::option::of(user),
        prop::option::of(octets().prop_map(Secret::new)),
        prop::collection::vec(mail, 0..3),
        prop::option::of(apop),
        prop::option::of(tls),
        prop::option::of(cleartext),
    )
        .prop_map(
            |(
                (title, hostname, client, server, started, joined),
                user,
                password,
                mail,
                apop,
                tls,
                cleartext,
            )| Head {
                title,
                hostname,
                user,
                password,
                mail,
                apop,
                tls,
                cleartext,
                client,
                server,
                started,
                joined,
            },
        )
}

fn dialogue() -> impl Strategy<Value = Dialogue> {
    let event = (any::<Option<Duration>>(), kind()).prop_map(|(at, kind)| Event { at, kind });
    (head(), prop::collection::vec(event, 0..8)).prop_map(|(head, events)| Dialogue { head, events })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(dialogue in dialogue()) {
        let text = dialogue.to_string();
        prop_assert!(text.bytes().all(|octet| octet == b'\n' || (b' '..=b'~').contains(&octet)), "{text}");
        let read = Dialogue::parse(text.as_bytes()).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&read, &dialogue, "{}", text);
        prop_assert_eq!(&read.to_string(), &text);
        let windows = text.replace('\n', "\r\n");
        prop_assert_eq!(Dialogue::parse(windows.as_bytes()), Ok(dialogue));
    }

    #[test]
    fn any_text_is_read_or_refused_and_stable(
        text in octets(),
        letter in prop::sample::select(&["C: ", "S: ", "T: ", "N: ", "mail: ", ""][..]),
    ) {
        let text = [letter.as_bytes(), &text].concat();
        if let Ok(dialogue) = Dialogue::parse(&text) {
            let written = dialogue.to_string();
            prop_assert_eq!(Dialogue::parse(written.as_bytes()), Ok(dialogue), "{}", written);
        }
    }

    #[test]
    fn a_line_is_what_it_says(octets in octets()) {
        let line: Line<Pattern> = Line::of(&octets);
        prop_assert!(line.difference(&octets).is_none());
        let mut other = octets;
        other.push(b'x');
        let difference = line.difference(&other).unwrap();
        prop_assert!(difference.same <= difference.actual.chars().count());
    }

    #[test]
    fn filler_is_as_long_as_it_says(octets in prop_oneof![0u32..400, 0u32..200_000]) {
        let message = filler(octets);
        let mut measure = restante_proto::body::Measure::default();
        measure.push(&message);
        let expected = if octets == 1 { 0 } else { u64::from(octets) };
        prop_assert_eq!(measure.finish().octets, expected);
        prop_assert_eq!(measure.finish().form, restante_proto::body::Form::Wire);
    }
}

fn problem(text: &str) -> (usize, usize, Problem) {
    let ParseError { line, column, problem } = Dialogue::parse(text.as_bytes()).expect_err(text);
    (line, column, problem)
}

#[test]
fn errors_say_where_and_what_to_write() {
    assert_eq!(problem("hostname: X\nC: QUIT"), (2, 1, Problem::NoEmptyLine));
    assert_eq!(problem("# a\n\nhostnam: X"), (3, 1, Problem::UnknownKey));
    assert_eq!(problem("user: a\nuser: b"), (2, 1, Problem::RepeatedKey));
    assert_eq!(problem("user: a b"), (1, 7, Problem::User));
    assert_eq!(problem("mail: 1 [1 octets]"), (1, 9, Problem::Filler));
    assert_eq!(problem("mail: 1 \"a\\q\""), (1, 11, Problem::Escape));
    assert_eq!(problem("mail: 1 \"a"), (1, 11, Problem::Quote));
    assert_eq!(problem("mail: 1"), (1, 8, Problem::Mail));
    assert_eq!(problem("tls: yes"), (1, 6, Problem::TlsMode));
    assert_eq!(problem("joined: UPDATE"), (1, 9, Problem::Joined));
    assert_eq!(problem("joined: TRANSACTION\njoined: TRANSACTION"), (2, 1, Problem::RepeatedKey));
    assert_eq!(problem("C: QUIT\nhostname: X"), (2, 1, Problem::Tag));
    assert_eq!(problem("C: QUIT "), (1, 8, Problem::TrailingSpace));
    assert_eq!(problem("C: é\\q"), (1, 5, Problem::Escape));
    assert_eq!(problem("C: \\x1"), (1, 4, Problem::Hexadecimal));
    assert_eq!(problem("C: a\tb"), (1, 5, Problem::Control));
    assert_eq!(problem("C: {any}"), (1, 4, Problem::UnknownSlot));
    assert_eq!(problem("S: +OK {user}"), (1, 8, Problem::UnknownPattern));
    assert_eq!(problem("S: +OK {lines}"), (1, 8, Problem::LinesAlone));
    assert_eq!(problem("S: {4*ab}"), (1, 4, Problem::Run));
    assert_eq!(problem("C: {99999*a}"), (1, 4, Problem::RunTooLong));
    assert_eq!(problem("C:QUIT"), (1, 3, Problem::NoSpace));
    assert_eq!(problem("X: QUIT"), (1, 1, Problem::Tag));
    assert_eq!(problem("0.5.5 C: QUIT"), (1, 1, Problem::Time));
    assert_eq!(problem("0.1234567891 C: QUIT"), (1, 1, Problem::Time));
    assert_eq!(problem("T: shakehand"), (1, 4, Problem::TlsEvent));
    assert_eq!(problem("T: handshake colour=red"), (1, 14, Problem::TlsFact));
    assert_eq!(problem("N: C SYN BLA"), (1, 10, Problem::Segment));
    assert_eq!(problem("N: hello"), (1, 4, Problem::TcpEvent));
    let shown = Dialogue::parse(b"C: QUIT ").unwrap_err().to_string();
    assert_eq!(
        shown,
        "line 1, column 8: a space at the end of a line is easily lost; write it as `\\x20`, or take it away"
    );
}

#[test]
fn bounds_hold() {
    let longest = format!("C: {{{}*A}}", LINE_MAX_OCTETS - 2);
    assert!(Dialogue::parse(longest.as_bytes()).is_ok());
    assert_eq!(problem(&format!("{longest}A")), (1, longest.len() + 1, Problem::LineTooLong));
    assert_eq!(problem(&format!("C: {}", "\\x00".repeat(50_000))).2, Problem::TextLineTooLong);
    let much = "C: {30000*A}\n".repeat(2300);
    assert_eq!(problem(&much).2, Problem::TooMuchContent);
    assert_eq!(problem(&"mail: x [67108864 octets]\n".repeat(2)).2, Problem::TooMuchContent);
    assert_eq!(problem("mail: x [67108865 octets]").2, Problem::Filler);
    assert_eq!(problem(&format!("title: {}", "x".repeat(1025))).2, Problem::ValueTooLong);
    assert_eq!(problem("title: {1000*a}{25*a}"), (1, 16, Problem::ValueTooLong));
    // A short text asks for much memory.
    let much = format!("mail: x \"{}\"", "{32768*A}".repeat(2049));
    assert_eq!(problem(&much).2, Problem::TooMuchContent);
    assert_eq!(problem(&"C:\n".repeat((1 << 20) + 1)).2, Problem::TooManyEvents);
    assert_eq!(problem(&"mail: x [0 octets]\n".repeat(100_001)).2, Problem::TooMuchMail);
}

#[test]
fn what_is_written_is_never_too_long_to_be_read() {
    let comes_back = |text: &[u8]| {
        let dialogue = Dialogue::parse(text).unwrap();
        assert_eq!(Dialogue::parse(dialogue.to_string().as_bytes()), Ok(dialogue));
    };
    // Octets that are not ASCII are written as four characters.
    comes_back(&[b"title: ".as_slice(), &[0xc3, 0xa9].repeat(512)].concat());
    comes_back(&[b"mail: x \"".as_slice(), &[0xc3, 0xa9].repeat(20_000), b"\""].concat());
    // Runs that meet are one run, but no longer than one may be.
    comes_back(b"mail: x \"{32768*A}{32768*A}{7*A}\"");
    comes_back(b"apop: on {70*7}.1");
    // A cut behind every octet, as a recorder may see it.
    let mut line = Line::<Slot>::default();
    for _ in 0..LINE_MAX_OCTETS / 2 - 1 {
        line.push_octets(&[0, 1]);
        line.push(Piece::Cut);
    }
    line.push_octets(b"\r\n");
    comes_back(format!("C: {line}").as_bytes());
    let long = [b"mail: x \"".as_slice(), &[0xc3, 0xa9].repeat(60_000), b"\""].concat();
    assert_eq!(Dialogue::parse(&long).unwrap_err().problem, Problem::WrittenTooLong);
    let long = [b"C: ".as_slice(), &b"\xc3\xa9\\|".repeat(16_000), b"\\|".repeat(9_000).as_slice()].concat();
    assert!(Dialogue::parse(&long).is_ok());
    let long = [b"C: ".as_slice(), &b"\xc3\xa9".repeat(16_000), b"{user}".repeat(12_000).as_slice()].concat();
    assert_eq!(Dialogue::parse(&long).unwrap_err().problem, Problem::WrittenTooLong);
}

#[test]
fn marks_are_read_as_a_person_would() {
    let read = |text: &str| Dialogue::parse(text.as_bytes()).unwrap().events.remove(0).kind;
    let client = |pieces: &[Piece<Slot>]| {
        let mut line = Line::default();
        pieces.iter().for_each(|piece| line.push(piece.clone()));
        Kind::Client(line)
    };
    let octets = |octets: &[u8]| Piece::Octets(octets.to_vec());
    assert_eq!(read("C:"), client(&[octets(b"\r\n")]));
    assert_eq!(read("C: "), client(&[octets(b"\r\n")]));
    assert_eq!(read("C: STAT\\n\\"), client(&[octets(b"STAT\n")]));
    assert_eq!(read("C: \\"), client(&[]));
    assert_eq!(read("C: ST\\|AT\\|"), client(&[octets(b"ST"), Piece::Cut, octets(b"AT\r\n"), Piece::Cut]));
    assert_eq!(read("C: ST\\|\\"), client(&[octets(b"ST"), Piece::Cut]));
    assert_eq!(read("C: a\\\\"), client(&[octets(b"a\\\r\n")]));
    assert_eq!(read("C: {3*\\x00}"), client(&[octets(b"\0\0\0\r\n")]));
    assert_eq!(
        read("C: PASS {password}"),
        client(&[octets(b"PASS "), Piece::Mark(Slot::Password), octets(b"\r\n")])
    );
    assert_eq!(read("S: [1317 octets]"), Kind::Body { octets: 1317 });
    assert_eq!(read("S: \\[1317 octets]"), Kind::Server(Line::of(b"[1317 octets]\r\n")));
    assert_eq!(read("S: -ERR [AUTH] no"), Kind::Server(Line::of(b"-ERR [AUTH] no\r\n")));
}

#[test]
fn patterns_match_whole_lines_only() {
    let matches = |expected: &str, actual: &[u8]| {
        let dialogue = Dialogue::parse(format!("S: {expected}").as_bytes()).unwrap();
        let Kind::Server(line) = &dialogue.events[0].kind else { panic!("{expected}") };
        line.difference(actual).is_none()
    };
    assert!(matches("+OK {any}", b"+OK \r\n") && matches("+OK {any}", b"+OK a b\r\n"));
    assert!(!matches("+OK {any}", b"+OK a\n") && !matches("+OK {any}", b"+OK a\rb\r\n"));
    assert!(!matches("+OK {any}", b"+OK\r\n"));
    assert!(matches("+OK{any}", b"+OK\r\n"));
    assert!(matches("+OK {number} {number}", b"+OK 1 1317\r\n") && !matches("+OK {number}", b"+OK -1\r\n"));
    assert!(matches("{any}a{any}b{any}", b"xaxbx\r\n") && !matches("{any}a{any}b", b"xbxa\r\n"));
    assert!(matches("{number}1{number}", b"111\r\n") && !matches("{number}1{number}", b"11\r\n"));
    assert!(matches("+ {base64}", b"+ PDE4==\r\n") && !matches("+ {base64}", b"+ \r\n"));
    assert!(matches("+OK {word}@{word}", b"+OK <1@a>\r\n"));
    assert!(matches("+ [secret]", b"+ whatever\r\n"));
    assert!(matches("+OK \\|x", b"+OK x\r\n"));
}

#[test]
fn a_listener_hears_the_same_at_every_cut() {
    let expected = "S: +OK {any}\nS: [7 octets]\nS: .\nS: +OK\nS: {lines}\nS: .\nS: -ERR {word}\nS: [4 octets]\nS: x\nS: +OK\\\n";
    let said = b"+OK 6 octets\r\n..a\r\nb\r\n.\r\n+OK\r\n.\r\n-ERR two words\r\n.\r\n+OK";
    let dialogue = Dialogue::parse(expected.as_bytes()).unwrap();
    let hear = |at_once: usize| {
        let (mut listener, mut heard) = (Listener::default(), Vec::new());
        let mut pieces = said.chunks(at_once);
        let mut rest = pieces.next().unwrap_or_default();
        for event in &dialogue.events {
            loop {
                match listener.hear(&event.kind, rest) {
                    Heard::Same { taken } => {
                        heard.push("same".to_owned());
                        rest = &rest[taken..];
                    }
                    Heard::Different { taken, difference } => {
                        heard.push(difference.to_string());
                        rest = &rest[taken..];
                    }
                    Heard::More => match pieces.next() {
                        Some(piece) => {
                            rest = piece;
                            continue;
                        }
                        None => heard.push(format!("{:?}", listener.end(&event.kind))),
                    },
                }
                break;
            }
        }
        heard
    };
    let expected = [
        "same",
        "same",
        "same",
        "same",
        "same",
        "same",
        "expected  S: -ERR {word}\nreceived  S: -ERR two words\n                     ^",
        "expected  S: [4 octets]\nreceived  S: [0 octets]\n              ^",
        "expected  S: x\nreceived  S: .\n             ^",
        "None",
    ];
    for at_once in 1..=said.len() {
        assert_eq!(hear(at_once), expected, "{at_once}");
    }
}
