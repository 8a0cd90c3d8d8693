//! What the RFCs ask of a server, where no dialogue can show it: what the session asks of its driver and when, and
//! rules for all replies at once. `docs/rfc/` says which statement each test proves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::sync::Arc;

use restante_proto::{
    UniqueId, UniqueIds,
    body::Form,
    capability::Capability,
    phase::Phase,
    reply::{Refusal, ResponseCode},
    server::{Answer, Ask, Close, Link, Next, Offer, Policy, Session, TlsFacts, Transfer},
    verb::Verb,
};

/// How a driver answers; `None` is what [`yes`] says.
type Mood = fn(&Ask) -> Option<Answer<()>>;

/// A session, and how its driver answers; every question is remembered.
struct Server {
    session: Session<()>,
    answer: Mood,
    asked: Vec<String>,
}

fn policy(stls: bool) -> Policy {
    Policy {
        hostname: "X1".into(),
        stls,
        passwords: true,
        mechanisms: vec![Offer::new("X-DIGEST", false), Offer::new("PLAIN", true)],
        login_failures_max: 3,
        bad_commands_max: 100,
    }
}

fn facts() -> TlsFacts {
    TlsFacts { version: "TLSv1.3".into(), cipher: "X".into(), ..TlsFacts::default() }
}

impl Server {
    fn new() -> Self {
        Self::with(policy(true), Link { tls: None, cleartext: true }, |_| None)
    }

    fn with(policy: Policy, link: Link, answer: Mood) -> Self {
        let session = Session::new(Arc::new(policy), link, Some("<1.2@X1>".into()));
        let mut server = Self { session, answer, asked: Vec::new() };
        assert!(server.says("").0.starts_with("+OK "), "the greeting");
        server
    }

    fn answering(answer: Mood) -> Self {
        Self::with(policy(true), Link { tls: None, cleartext: true }, answer)
    }

    fn logged_in() -> Self {
        let mut server = Self::new();
        server.says("USER a\r\nPASS b\r\n");
        assert_eq!(server.session.phase(), Phase::Transaction);
        server.asked.clear();
        server
    }

    /// What the server says to these octets, and whether it ends the connection.
    fn says(&mut self, octets: &str) -> (String, Option<Close>) {
        let (mut input, mut out) = (octets.as_bytes(), Vec::new());
        let close = loop {
            match self.session.advance(&mut input, &mut out) {
                Next::Input => break None,
                Next::Write => panic!("nothing here is that long"),
                Next::Ask(ask) => {
                    self.asked.push(name(&ask));
                    let answer = (self.answer)(&ask).unwrap_or_else(|| yes(&ask));
                    self.session.answer(answer, &mut out);
                }
                Next::Send(_) => {
                    out.extend_from_slice(b"Subject: a\r\n\r\n");
                    self.session.sent(true, &mut out);
                }
                Next::StartTls => self.session.secured(facts()),
                Next::Close(why) => break Some(why),
            }
        };
        (String::from_utf8(out).unwrap(), close)
    }

    /// What the server answers.
    fn hears(&mut self, line: &str) -> String {
        self.says(&format!("{line}\r\n")).0
    }
}

/// A question in a word, and a commit with its marks.
fn name(ask: &Ask) -> String {
    match ask {
        Ask::Password { .. } => "Password".into(),
        Ask::Apop { .. } => "Apop".into(),
        Ask::SaslStart { mechanism, initial } => {
            format!("SaslStart {mechanism} {:?}", initial.as_ref().map(|initial| initial.expose().clone()))
        }
        Ask::SaslStep(response) => format!("SaslStep {:?}", response.expose()),
        Ask::SaslCancel => "SaslCancel".into(),
        Ask::Open => "Open".into(),
        Ask::Sizes => "Sizes".into(),
        Ask::UniqueIds { .. } => "UniqueIds".into(),
        Ask::Message { .. } => "Message".into(),
        Ask::Commit { deleted } => format!("Commit {:?}", deleted.iter().collect::<Vec<_>>()),
    }
}

/// The answer of a store with three messages, and of a directory that knows everybody.
fn yes(ask: &Ask) -> Answer<()> {
    match ask {
        Ask::Password { .. } | Ask::Apop { .. } | Ask::SaslStart { .. } | Ask::SaslStep(_) => {
            Answer::Accepted
        }
        Ask::SaslCancel => Answer::Cancelled,
        Ask::Open => Answer::Opened { messages: 3, sizes: Some([14, 20, 30].into()) },
        Ask::Sizes => Answer::Sizes([14, 20, 30].into()),
        Ask::UniqueIds { range } => {
            let ids: Vec<_> =
                range.clone().filter_map(|index| UniqueId::new(format!("u{index}").as_bytes())).collect();
            Answer::UniqueIds(ids.iter().collect::<UniqueIds>())
        }
        Ask::Message { part, .. } => Answer::Message {
            transfer: Transfer { source: (), octets: 0..14, form: Form::Wire, part: *part },
            octets: 14,
        },
        Ask::Commit { .. } => Answer::Committed,
    }
}

/// A line with this verb that is right, and the state in which it may be said.
fn example(verb: Verb) -> (&'static str, Phase) {
    match verb {
        Verb::Apop => ("APOP a 00112233445566778899aabbccddeeff", Phase::Authorization),
        Verb::Auth => ("AUTH PLAIN AGEAYg==", Phase::Authorization),
        Verb::Capa => ("CAPA", Phase::Transaction),
        Verb::Dele => ("DELE 1", Phase::Transaction),
        Verb::List => ("LIST", Phase::Transaction),
        Verb::Noop => ("NOOP", Phase::Transaction),
        Verb::Pass => ("PASS b", Phase::Named),
        Verb::Quit => ("QUIT", Phase::Transaction),
        Verb::Retr => ("RETR 1", Phase::Transaction),
        Verb::Rset => ("RSET", Phase::Transaction),
        Verb::Stat => ("STAT", Phase::Transaction),
        Verb::Stls => ("STLS", Phase::Authorization),
        Verb::Top => ("TOP 1 0", Phase::Transaction),
        Verb::Uidl => ("UIDL", Phase::Transaction),
        Verb::User => ("USER a", Phase::Authorization),
    }
}

fn in_phase(phase: Phase) -> Server {
    let mut server = Server::new();
    match phase {
        Phase::Authorization => {}
        Phase::Named => drop(server.hears("USER a")),
        Phase::Transaction => drop(server.says("USER a\r\nPASS b\r\n")),
        Phase::Update | Phase::Closed => panic!("there is nothing to say"),
    }
    server
}

#[test]
fn a_keyword_has_three_or_four_letters_in_any_case() {
    // RFC 1939 §3, RFC 5034 §5 for AUTH.
    for verb in Verb::ALL {
        assert!(matches!(verb.word().len(), 3 | 4), "{verb:?}");
        let (line, phase) = example(verb);
        let expected = in_phase(phase).hears(line);
        assert!(expected.starts_with("+OK"), "{line}: {expected}");
        let rest = &line[verb.word().len()..];
        let mixed: String = verb
            .word()
            .chars()
            .enumerate()
            .map(|(at, c)| if at % 2 == 0 { c.to_ascii_lowercase() } else { c })
            .collect();
        for word in [verb.word().to_ascii_lowercase(), mixed] {
            assert_eq!(in_phase(phase).hears(&format!("{word}{rest}")), expected, "{word}");
        }
    }
}

#[test]
fn every_line_ends_in_crlf_and_every_status_is_in_capitals() {
    // RFC 1939 §3, RFC 2449 §3 and §8: and what begins with a bracket is a response code.
    let moods: [Mood; 3] = [
        |_| None,
        |_| Some(Answer::Refused(Refusal::coded(ResponseCode::SysTemp, "two\r\nlines \x07"))),
        |_| Some(Answer::Refused(Refusal::plain("no".repeat(1000)))),
    ];
    for verb in Verb::ALL {
        for phase in [Phase::Authorization, Phase::Named, Phase::Transaction] {
            for mood in moods {
                for line in [example(verb).0.to_owned(), format!("{} 1 2 3", verb.word()), verb.word().into()]
                {
                    let mut server = in_phase(phase);
                    server.answer = mood;
                    let (said, _) = server.says(&format!("{line}\r\n"));
                    let lines: Vec<&str> = said.split_terminator("\r\n").collect();
                    assert!(
                        said.ends_with("\r\n") && !lines.concat().contains(['\r', '\n']),
                        "{line}: {said:?}"
                    );
                    let status = lines[0];
                    assert!(lines.len() == 1 || status.starts_with("+OK"), "{line}: {said:?}");
                    assert!(status.len() <= 510, "{line}: {status}");
                    let rest = status.strip_prefix("+OK").or_else(|| status.strip_prefix("-ERR")).unwrap();
                    assert!(rest.is_empty() || rest.starts_with(' '), "{line}: {status}");
                    assert!(status.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{line}: {status}");
                    if let Some(code) = rest.strip_prefix(" [") {
                        assert!(
                            ["SYS/TEMP]", "AUTH]"].iter().any(|known| code.starts_with(known)),
                            "{status}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn every_command_gets_one_answer() {
    // RFC 1939 §5, whatever the line is.
    let lines =
        ["", " ", "NOOP", "XTND XMIT", "LAST", "RPOP a", "DELE 9", "TOP 1", "+OK", "\u{e9}", "USER a"];
    let mut server = Server::logged_in();
    for line in lines {
        let said = server.hears(line);
        assert_eq!(said.matches("\r\n").count(), 1, "{line:?}: {said:?}");
        assert_eq!(said.starts_with("+OK"), line == "NOOP", "{line:?}: {said:?}");
    }
}

#[test]
fn quit_before_login_asks_for_no_commit() {
    // RFC 1939 §6: QUIT in AUTHORIZATION ends the session, and does not enter UPDATE.
    for phase in [Phase::Authorization, Phase::Named] {
        let mut server = in_phase(phase);
        let (said, closed) = server.says("QUIT\r\n");
        assert_eq!((said.as_str(), closed), ("+OK POP3 Server saying Good-Bye\r\n", Some(Close::Quit)));
        assert!(server.asked.is_empty(), "{:?}", server.asked);
    }
}

#[test]
fn a_maildrop_that_cannot_be_opened_is_refused_and_another_login_may_follow() {
    // RFC 1939 §4: a negative answer, no TRANSACTION; the client may log in again or QUIT.
    let closed: Mood = |ask| {
        matches!(ask, Ask::Open)
            .then(|| Answer::Refused(Refusal::coded(ResponseCode::InUse, "maildrop in use")))
    };
    for login in ["USER a\r\nPASS b", "APOP a 00112233445566778899aabbccddeeff", "AUTH PLAIN AGEAYg=="] {
        let mut server = Server::answering(closed);
        for _ in 0..5 {
            // More often than passwords may be wrong: these are not.
            let (said, ended) = server.says(&format!("{login}\r\n"));
            assert!(said.ends_with("-ERR [IN-USE] maildrop in use\r\n"), "{said}");
            assert_eq!((server.session.phase(), ended), (Phase::Authorization, None));
            assert_eq!(server.hears("STAT"), "-ERR not allowed in the AUTHORIZATION state\r\n");
        }
        server.answer = |_| None;
        server.says(&format!("{login}\r\n"));
        assert_eq!(server.hears("STAT"), "+OK 3 64\r\n");
        // Not for ever, or one connection could ask without end.
        let mut server = Server::answering(closed);
        let ended = (1..=100).find(|_| server.says(&format!("{login}\r\n")).1.is_some());
        assert_eq!(ended, Some(20));
    }
}

#[test]
fn deletion_waits_for_quit_and_takes_what_is_marked() {
    // RFC 1939 §5 DELE, RSET and §6.
    let mut server = Server::logged_in();
    server.says("DELE 1\r\nDELE 3\r\nRSET\r\nDELE 2\r\nDELE 2\r\nRETR 1\r\nTOP 3 0\r\nUIDL\r\nNOOP\r\n");
    assert_eq!(server.asked, ["Message", "Message", "UniqueIds"], "nothing is removed yet");
    server.asked.clear();
    let (said, closed) = server.says("QUIT\r\n");
    assert_eq!((said.as_str(), closed), ("+OK POP3 Server saying Good-Bye\r\n", Some(Close::Quit)));
    assert_eq!(server.asked, ["Commit [1]"]);
}

#[test]
fn without_quit_nothing_is_committed() {
    // RFC 1939 §6: whatever ends the session.
    let ends: [fn(&mut Server) -> Option<Close>; 4] = [
        |server| {
            server.session.eof();
            server.says("").1
        },
        |server| {
            server.session.eof();
            server.says("QUIT").1
        },
        |server| server.says(&"X\r\n".repeat(200)).1,
        |server| {
            let mut endless = None;
            for _ in 0..100 {
                endless = server.says(&"x".repeat(64 * 1024)).1;
            }
            endless
        },
    ];
    let expected = [Close::Disconnected, Close::Disconnected, Close::BadCommands, Close::EndlessLine];
    for (end, expected) in ends.iter().zip(expected) {
        let mut server = Server::logged_in();
        server.says("DELE 1\r\nDELE 2\r\n");
        assert_eq!(end(&mut server), Some(expected));
        assert!(server.asked.is_empty(), "{expected:?}: {:?}", server.asked);
    }
}

#[test]
fn no_message_is_marked_at_login_and_sizes_are_noted() {
    // RFC 1939 §4: numbers from 1 on, in decimal, with the sizes that were found at login.
    let mut server = Server::logged_in();
    assert_eq!(server.hears("STAT"), "+OK 3 64\r\n");
    assert_eq!(server.hears("LIST"), "+OK 3 messages (64 octets)\r\n1 14\r\n2 20\r\n3 30\r\n.\r\n");
    assert_eq!(server.hears("UIDL"), "+OK 3 messages (64 octets)\r\n1 u0\r\n2 u1\r\n3 u2\r\n.\r\n");
    assert_eq!(server.hears("LIST 3"), "+OK 3 30\r\n");
    assert_eq!(server.hears("LIST 4"), "-ERR no such message\r\n");
}

#[test]
fn what_is_offered_before_login_is_announced_after_it() {
    // RFC 2449 §5, RFC 2595 §4 and §8, RFC 5034 §3: in both states, but for STLS; and no line breaks the grammar.
    for (stls, tls, cleartext) in [
        (false, false, true),
        (true, false, true),
        (true, false, false),
        (true, true, false),
        (false, true, false),
    ] {
        let link = Link { tls: tls.then(|| Box::new(facts())), cleartext };
        let mut server = Server::with(policy(stls), link, |_| None);
        let before = capabilities(&mut server);
        assert_eq!(before.contains(&Capability::Stls), stls && !tls);
        let may = tls || cleartext;
        assert_eq!(before.contains(&Capability::User), may);
        let names = if may { vec!["X-DIGEST".into(), "PLAIN".into()] } else { vec!["X-DIGEST".into()] };
        assert!(before.contains(&Capability::Sasl(names)), "{before:?}");
        assert_eq!(server.hears("AUTH X-DIGEST"), "+OK maildrop locked and ready\r\n");
        let after = capabilities(&mut server);
        for capability in before {
            assert_eq!(after.contains(&capability), capability != Capability::Stls, "{capability:?}");
        }
        // RFC 5034 §4: announced all the same, AUTH is over for this session.
        assert_eq!(server.hears("AUTH X-DIGEST"), "-ERR not allowed in the TRANSACTION state\r\n");
        assert!(after.contains(&Capability::RespCodes) && after.contains(&Capability::AuthRespCode));
    }
}

fn capabilities(server: &mut Server) -> Vec<Capability> {
    let said = server.hears("CAPA");
    let list = said.strip_prefix("+OK capability list follows\r\n").unwrap();
    let list = list.strip_suffix(".\r\n").unwrap();
    let lines = list.split_terminator("\r\n").inspect(|line| {
        // RFC 2449 §3: at most 512 octets, words of printable octets between single spaces, no dot in the tag.
        assert!(line.len() <= 510 && line.split(' ').all(|word| !word.is_empty()), "{line}");
        assert!(line.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{line}");
        assert!(!line.split(' ').next().unwrap().contains('.'), "{line}");
    });
    lines.map(Capability::parse).collect()
}

#[test]
fn where_nobody_has_a_password_none_is_asked_for() {
    // RFC 2449 §6.2: USER says that the command is there.
    let tokens = Policy { passwords: false, ..policy(true) };
    let mut server = Server::with(tokens, Link { tls: None, cleartext: true }, |_| None);
    assert!(!capabilities(&mut server).contains(&Capability::User));
    assert_eq!(server.hears("USER a"), "-ERR passwords are not taken here: use AUTH\r\n");
    assert_eq!(server.hears("PASS b"), "-ERR send USER before PASS\r\n");
    assert!(server.asked.is_empty(), "{:?}", server.asked);
    assert!(capabilities(&mut Server::new()).contains(&Capability::User));
}

#[test]
fn a_command_of_255_octets_is_taken() {
    // RFC 2449 §4; RFC 1939 §3 asked for arguments of 40 characters.
    let mut server = Server::new();
    let line = format!("USER {}", "a".repeat(255 - "USER \r\n".len()));
    assert_eq!(server.hears(&line), "+OK send your password\r\n");
    let line = format!("PASS {}", "b".repeat(255 - "PASS \r\n".len()));
    assert_eq!(server.hears(&line), "+OK maildrop locked and ready\r\n");
}

#[test]
fn system_failures_are_told_apart_from_wrong_credentials() {
    // RFC 3206 §4–6: and do not count as attempts.
    for code in [ResponseCode::SysTemp, ResponseCode::SysPerm, ResponseCode::Auth] {
        let answer: Mood = match code {
            ResponseCode::SysTemp => {
                |_| Some(Answer::Refused(Refusal::coded(ResponseCode::SysTemp, "later")))
            }
            ResponseCode::SysPerm => {
                |_| Some(Answer::Refused(Refusal::coded(ResponseCode::SysPerm, "never")))
            }
            _ => |_| Some(Answer::Refused(Refusal::credentials())),
        };
        let mut server = Server::answering(answer);
        for (attempt, login) in
            ["PASS b", "APOP a 00112233445566778899aabbccddeeff", "AUTH PLAIN AGEAYg=="].iter().enumerate()
        {
            // RFC 3206 §5: USER never gives away who exists.
            assert_eq!(server.hears("USER a"), "+OK send your password\r\n");
            let (said, closed) = server.says(&format!("{login}\r\n"));
            assert!(said.starts_with(&format!("-ERR [{}] ", code.as_str())), "{said}");
            let last = code == ResponseCode::Auth && attempt == 2;
            assert_eq!(closed, last.then_some(Close::LoginFailures), "{login}");
        }
    }
}

#[test]
fn a_challenge_is_base64_and_nothing_else() {
    // RFC 5034 §4 and its third example: the server speaks first, and its last word waits for an empty line.
    let mut server = Server::answering(|ask| match ask {
        Ask::SaslStart { .. } => Some(Answer::Challenge(b"two\r\nlines\0\xff".to_vec())),
        Ask::SaslStep(response) if response.expose() == b"mine" => Some(Answer::Challenge(b"proof".to_vec())),
        _ => None,
    });
    assert_eq!(server.hears("AUTH X-DIGEST"), "+ dHdvDQpsaW5lcwD/\r\n");
    assert_eq!(server.hears("bWluZQ=="), "+ cHJvb2Y=\r\n");
    assert_eq!(server.hears(""), "+OK maildrop locked and ready\r\n");
    let steps = ["SaslStart X-DIGEST None", "SaslStep [109, 105, 110, 101]", "SaslStep []", "Open"];
    assert_eq!(server.asked, steps);
}

#[test]
fn an_initial_response_is_there_empty_or_absent() {
    // RFC 5034 §4: three cases, and the mechanism is told which.
    for (line, asked) in [
        ("AUTH X-DIGEST", "SaslStart X-DIGEST None"),
        ("AUTH X-DIGEST =", "SaslStart X-DIGEST Some([])"),
        ("auth x-digest AGEAYg==", "SaslStart X-DIGEST Some([0, 97, 0, 98])"),
    ] {
        let mut server = Server::new();
        assert_eq!(server.hears(line), "+OK maildrop locked and ready\r\n");
        assert_eq!(server.asked, [asked, "Open"]);
    }
}

#[test]
fn a_response_may_be_far_longer_than_a_command() {
    // RFC 5034 §4: no limit of the protocol's own lines holds for the exchange.
    let mut server = Server::answering(|ask| match ask {
        Ask::SaslStart { .. } => Some(Answer::Challenge(vec![b'c'; 9_000])),
        Ask::SaslStep(response) if response.expose().len() == 12_000 => None,
        _ => (!matches!(ask, Ask::Open)).then(|| Answer::Refused(Refusal::credentials())),
    });
    let challenge = server.hears("AUTH X-DIGEST");
    assert_eq!(challenge.len(), "+ \r\n".len() + 12_000);
    assert_eq!(server.hears(&"QUJD".repeat(4_000)), "+OK maildrop locked and ready\r\n");
}

#[test]
fn a_failed_auth_leaves_the_session_as_it_was() {
    // RFC 5034 §4: as if AUTH had not been said; so the user name that USER gave is still there for PASS.
    let refuse: Mood =
        |ask| matches!(ask, Ask::SaslStart { .. }).then(|| Answer::Refused(Refusal::credentials()));
    for failed in ["AUTH PLAIN AGEAYg==", "AUTH X-NONE", "AUTH PLAIN not-base64"] {
        let mut server = Server::answering(refuse);
        server.hears("USER a");
        assert!(server.hears(failed).starts_with("-ERR "), "{failed}");
        assert_eq!(server.hears("PASS b"), "+OK maildrop locked and ready\r\n", "{failed}");
    }
    let mut server =
        Server::answering(|ask| matches!(ask, Ask::SaslStart { .. }).then(|| Answer::Challenge(Vec::new())));
    server.says("USER a\r\nAUTH PLAIN\r\n*\r\n");
    assert_eq!(server.hears("PASS b"), "+OK maildrop locked and ready\r\n");
}

#[test]
fn stls_leaves_the_session_in_authorization() {
    // RFC 2595 §4, RFC 8314 §3.1: nobody is logged in by TLS alone, and what was said before is forgotten.
    let mut server = Server::new();
    assert_eq!(
        server.says("USER a\r\nSTLS\r\n").0,
        "+OK send your password\r\n+OK begin TLS negotiation\r\n"
    );
    assert_eq!(server.session.phase(), Phase::Authorization);
    assert_eq!(server.hears("STAT"), "-ERR not allowed in the AUTHORIZATION state\r\n");
    assert_eq!(server.hears("PASS b"), "-ERR send USER before PASS\r\n");
    assert!(server.asked.is_empty());
    let link = Link { tls: Some(Box::new(facts())), cleartext: false };
    let server = Server::with(policy(true), link, |_| None);
    assert_eq!(server.session.phase(), Phase::Authorization);
}
