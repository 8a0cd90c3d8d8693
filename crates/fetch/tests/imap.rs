//! The destination `imap`, against servers that misbehave on purpose: what is delivered is there once.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use fake::{Peer, Server, deliver, hostile, intent, long, short, spec, synced};
use restante_fetch::destination::{Destination, Fate, Fault, imap::Imap};
use rustls::ServerConfig;

mod fake;

/// What the server does with the next APPEND.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Take,
    Say(&'static str),
    /// The connection is lost before the message.
    LoseEarly,
    /// It is lost when half of the message is there.
    LoseHalfway,
    /// It is lost when all of it is there, stored or not.
    LoseLate {
        stored: bool,
    },
    /// It goes when half of the message is there, with these words.
    GoSaying(&'static str),
    /// The message is stored, and nothing said.
    Hang,
}

/// What a server does besides.
#[derive(Default)]
struct Ways {
    capabilities: &'static str,
    greeting: &'static str,
    tls: Option<Arc<ServerConfig>>,
    /// Said right behind STARTTLS's OK, in clear.
    behind_starttls: &'static str,
    /// Said instead of an answer to a command that begins so.
    instead: Option<(&'static str, Vec<u8>)>,
    /// Lines are stored with LFs.
    lines: bool,
}

/// The server's one mailbox.
#[derive(Default)]
struct Mailbox {
    missing: bool,
    validity: u32,
    next: u32,
    messages: Vec<(u32, Vec<u8>, String)>,
    script: VecDeque<Next>,
    said: Vec<String>,
    connections: usize,
}

type Shared = Arc<Mutex<Mailbox>>;

fn mailbox(script: &[Next]) -> Shared {
    let script = script.iter().copied().collect();
    Arc::new(Mutex::new(Mailbox { validity: 7, next: 100, script, ..Mailbox::default() }))
}

fn octets(mailbox: &Shared) -> Vec<Vec<u8>> {
    mailbox.lock().unwrap().messages.iter().map(|(_, octets, _)| octets.clone()).collect()
}

fn server(mailbox: &Shared, ways: Ways) -> Server {
    let mailbox = Arc::clone(mailbox);
    Server::start(move |peer| serve(peer, &mailbox, &ways))
}

fn imap(server: &Server, end: &str) -> Imap {
    Imap::open(&spec(&format!("imap://john@127.0.0.1:{}/{end}", server.port)), long()).unwrap()
}

/// As [`imap`], in clear, with time limits that are reached soon.
fn hasty(server: &Server) -> Imap {
    Imap::open(&spec(&format!("imap://john@127.0.0.1:{}/INBOX?tls=none", server.port)), short()).unwrap()
}

fn serve(peer: &mut Peer, mailbox: &Shared, ways: &Ways) -> io::Result<()> {
    mailbox.lock().unwrap().connections += 1;
    peer.say(if ways.greeting.is_empty() { "* OK here" } else { ways.greeting })?;
    loop {
        let line = peer.line()?;
        mailbox.lock().unwrap().said.push(line.clone());
        let (tag, command) = line.split_once(' ').unwrap();
        if let Some((start, said)) = &ways.instead
            && command.starts_with(start)
        {
            peer.send(said)?;
            return peer.listen();
        }
        let words: Vec<&str> = command.split(' ').collect();
        match words[0] {
            "CAPABILITY" => {
                let start_tls = if ways.tls.is_some() && !peer.is_tls() { " STARTTLS" } else { "" };
                peer.say(&format!("* CAPABILITY IMAP4rev1 AUTH=PLAIN{start_tls} {}", ways.capabilities))?;
            }
            "STARTTLS" => {
                peer.send(format!("{tag} OK begin\r\n{}", ways.behind_starttls).as_bytes())?;
                peer.start_tls(ways.tls.as_ref().unwrap())?;
                continue;
            }
            "AUTHENTICATE" if words.len() == 2 => {
                peer.say("+ ")?;
                let line = peer.line()?;
                mailbox.lock().unwrap().said.push(line);
            }
            "CREATE" => mailbox.lock().unwrap().missing = false,
            "STATUS" | "EXAMINE" if mailbox.lock().unwrap().missing => {
                peer.say(&format!("{tag} NO [NONEXISTENT] what?"))?;
                continue;
            }
            "STATUS" => {
                let (validity, next) = state(mailbox);
                peer.say(&format!("* STATUS INBOX (UIDNEXT {next} UIDVALIDITY {validity})"))?;
            }
            "EXAMINE" => {
                let (validity, next) = state(mailbox);
                peer.say("* 3 EXISTS")?;
                peer.say(&format!("* OK [UIDVALIDITY {validity}] so"))?;
                peer.say(&format!("* OK [UIDNEXT {next}] so"))?;
            }
            "APPEND" => match append(peer, mailbox, ways, command, tag)? {
                Some(said) => {
                    peer.say(&format!("{tag} {said}"))?;
                    continue;
                }
                None => return Ok(()),
            },
            "UID" => fetch(peer, mailbox, &words)?,
            _ => {}
        }
        peer.say(&format!("{tag} OK done"))?;
    }
}

fn state(mailbox: &Shared) -> (u32, u32) {
    let mailbox = mailbox.lock().unwrap();
    (mailbox.validity, mailbox.next)
}

/// The answer; `None` if there is none, and the connection ends.
fn append(
    peer: &mut Peer,
    mailbox: &Shared,
    ways: &Ways,
    command: &str,
    tag: &str,
) -> io::Result<Option<&'static str>> {
    let next = mailbox.lock().unwrap().script.pop_front().unwrap_or(Next::Take);
    if next == Next::LoseEarly {
        return Ok(None);
    }
    let literal = &command[command.rfind('{').unwrap() + 1..command.len() - 1];
    let unasked = literal.ends_with('+');
    let length: usize = literal.trim_end_matches('+').parse().unwrap();
    if let (Next::Say(said), false) = (next, unasked) {
        return Ok(Some(said));
    }
    if !unasked {
        peer.say("* 4 EXISTS")?;
        peer.say("+ go on")?;
    }
    match next {
        Next::LoseHalfway => {
            peer.exactly(length / 2)?;
            return Ok(None);
        }
        Next::GoSaying(said) => {
            peer.exactly(length / 2)?;
            peer.say(&format!("{tag} {said}"))?;
            // The rest is read, so that the words are not lost by a reset.
            peer.listen()?;
        }
        _ => {}
    }
    let mut message = peer.exactly(length)?;
    assert_eq!(peer.raw_line()?, b"\r\n");
    if ways.lines {
        // One CR before an LF is left away when it is stored, and one that is missing added when it is read.
        let text: String = message.iter().map(|&octet| char::from(octet)).collect();
        let text = text.replace("\r\n", "\n").replace("\r\n", "\u{100}").replace(['\n', '\u{100}'], "\r\n");
        message = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    }
    if !matches!(next, Next::Say(_) | Next::LoseLate { stored: false }) {
        let mut mailbox = mailbox.lock().unwrap();
        let uid = mailbox.next;
        mailbox.next += 1;
        let date = command.rsplit('"').nth(1).unwrap().to_owned();
        mailbox.messages.push((uid, message, date));
    }
    match next {
        Next::Say(said) => Ok(Some(said)),
        Next::LoseLate { .. } => Ok(None),
        Next::Hang => peer.listen().map(|()| None),
        _ => Ok(Some("OK [APPENDUID 7 100] stored")),
    }
}

fn fetch(peer: &mut Peer, mailbox: &Shared, words: &[&str]) -> io::Result<()> {
    let messages = mailbox.lock().unwrap().messages.clone();
    let (from, to) = words[2].split_once(':').unwrap_or((words[2], words[2]));
    let (from, to): (u32, u32) = (from.parse().unwrap(), to.parse().unwrap());
    for (at, (uid, octets, _)) in
        messages.iter().enumerate().filter(|(_, (uid, ..))| (from..=to).contains(uid))
    {
        let number = at + 1;
        if let Some(range) = words[3].strip_prefix("(BODY.PEEK[]<") {
            let (at, length) = range.trim_end_matches(">)").split_once('.').unwrap();
            let (at, length): (usize, usize) = (at.parse().unwrap(), length.parse().unwrap());
            let piece = &octets[at..(at + length).min(octets.len())];
            peer.send(
                format!("* {number} FETCH (UID {uid} BODY[]<{at}> {{{}}}\r\n", piece.len()).as_bytes(),
            )?;
            peer.send(piece)?;
            peer.say(")")?;
        } else {
            // Things that nobody asked for come in between.
            peer.say(&format!("* {number} FETCH (FLAGS (\\Seen) INTERNALDATE NIL)"))?;
            peer.say(&format!("* {number} FETCH (UID {uid} RFC822.SIZE {})", octets.len()))?;
        }
    }
    Ok(())
}

fn is_message<T: std::fmt::Debug>(result: Result<T, Fault>, words: &str) {
    let Err(Fault::Message(why)) = result else { panic!("{result:?}") };
    assert!(why.contains(words), "{why}");
}

fn is_destination<T: std::fmt::Debug>(result: Result<T, Fault>, words: &str) {
    let Err(Fault::Destination(why)) = result else { panic!("{result:?}") };
    assert!(why.contains(words), "{why}");
    assert!(!why.contains("hunter2"), "{why}");
}

#[test]
fn every_octet_arrives_however_literals_are_sent() {
    for capabilities in ["", "SASL-IR LITERAL+", "LITERAL-"] {
        let shared = mailbox(&[]);
        let server = server(&shared, Ways { capabilities, ..Ways::default() });
        let imap = imap(&server, "?tls=none");
        let corpus = hostile();
        let messages: Vec<&[u8]> = corpus.iter().map(Vec::as_slice).collect();
        let (mut batch, tokens) = synced(&imap, &messages);
        assert!(octets(&shared).is_empty(), "nothing is visible before it is published");
        (0..messages.len()).for_each(|place| batch.publish(place).unwrap());
        batch.settle().unwrap();
        assert_eq!(octets(&shared), corpus);
        // As after a crash: each is found again.
        for (token, message) in tokens.into_iter().zip(&messages) {
            assert_eq!(imap.resolve(&intent(&token.unwrap(), message)), Ok(Fate::Delivered));
        }
        assert_eq!(shared.lock().unwrap().connections, 1);
    }
}

#[test]
fn the_internal_date_is_that_of_the_arrival() {
    let shared = mailbox(&[]);
    let server = server(&shared, Ways::default());
    let message = b"Received: by a; Thu, 6 Nov 2025 01:02:03 +0100\r\n\r\n";
    deliver(&imap(&server, "B%C3%BCro/%22a%22?tls=none"), message).unwrap();
    let mailbox = shared.lock().unwrap();
    assert_eq!(mailbox.messages[0].2, "06-Nov-2025 01:02:03 +0100", "{:?}", mailbox.messages[0]);
    assert!(
        mailbox.said.iter().any(|line| line.contains(r#"STATUS "B&APw-ro/\"a\"" (UID"#)),
        "{:?}",
        mailbox.said
    );
}

#[test]
fn one_message_that_is_refused_stops_no_other() {
    for capabilities in ["", "LITERAL+"] {
        let shared = mailbox(&[Next::Say("NO looks like a virus"), Next::Say("BAD what?")]);
        let server = server(&shared, Ways { capabilities, ..Ways::default() });
        let imap = imap(&server, "?tls=none");
        let (mut batch, _) = synced(&imap, &[b"a\r\n", b"b\r\n", b"c\r\n"]);
        is_message(batch.publish(0), "looks like a virus");
        is_message(batch.publish(1), "what?");
        batch.publish(2).unwrap();
        batch.settle().unwrap();
        assert_eq!(octets(&shared), [b"c\r\n"]);
    }
}

#[test]
fn a_full_mailbox_is_no_fault_of_the_message() {
    for said in ["NO [OVERQUOTA] full", "NO [TRYCREATE] gone", "NO [UNAVAILABLE] later"] {
        let shared = mailbox(&[Next::Say(said)]);
        let server = server(&shared, Ways::default());
        is_destination(deliver(&imap(&server, "?tls=none"), b"a\r\n"), &said[3..]);
    }
    // It hangs up in the middle, and says why.
    let shared = mailbox(&[Next::GoSaying("NO [OVERQUOTA] enough of it")]);
    let server = server(&shared, Ways::default());
    let large = vec![b'a'; 20_000_000];
    is_destination(deliver(&imap(&server, "?tls=none"), &large), "enough of it");
    assert!(octets(&shared).is_empty());
}

#[test]
fn a_connection_that_is_lost_before_the_message_is_opened_again() {
    let shared = mailbox(&[Next::Take, Next::LoseEarly]);
    let server = server(&shared, Ways::default());
    let imap = imap(&server, "?tls=none");
    let (mut batch, _) = synced(&imap, &[b"a\r\n", b"b\r\n"]);
    batch.publish(0).unwrap();
    batch.publish(1).unwrap();
    assert_eq!(octets(&shared), [b"a\r\n", b"b\r\n"]);
    assert_eq!(shared.lock().unwrap().connections, 2);
}

#[test]
fn a_connection_that_is_lost_inside_or_behind_the_message_is_looked_into() {
    let message = [&b"Subject: a\r\n\r\n"[..], &b"0123456789abcdef\r\n".repeat(50_000)].concat();
    for (next, stored) in [
        (Next::LoseHalfway, false),
        (Next::LoseLate { stored: false }, false),
        (Next::LoseLate { stored: true }, true),
        (Next::Hang, true),
    ] {
        for capabilities in ["", "LITERAL+"] {
            let shared = mailbox(&[next]);
            let server = server(&shared, Ways { capabilities, ..Ways::default() });
            let imap = hasty(&server);
            let (mut batch, tokens) = synced(&imap, &[&message]);
            let published = batch.publish(0);
            drop(batch);
            let intent = intent(tokens[0].as_ref().unwrap(), &message);
            if stored {
                assert_eq!(published, Ok(()), "{next:?}");
                assert_eq!(octets(&shared), [message.as_slice()]);
                assert_eq!(imap.resolve(&intent), Ok(Fate::Delivered));
            } else {
                is_destination(published, "");
                assert_eq!(imap.resolve(&intent), Ok(Fate::NotDelivered), "{next:?}");
                assert_eq!(octets(&shared), [b""; 0]);
                deliver(&imap, &message).unwrap();
                assert_eq!(octets(&shared), [message.as_slice()]);
            }
        }
    }
}

#[test]
fn a_mailbox_that_was_made_anew_tells_nothing() {
    let shared = mailbox(&[]);
    let server = server(&shared, Ways::default());
    let imap = imap(&server, "?tls=none");
    let token = deliver(&imap, b"a\r\n").unwrap();
    shared.lock().unwrap().validity = 8;
    let fate = imap.resolve(&intent(&token, b"a\r\n")).unwrap();
    assert!(matches!(&fate, Fate::Unknown(why) if why.contains("UIDVALIDITY")), "{fate:?}");
    shared.lock().unwrap().missing = true;
    let fate = imap.resolve(&intent(&token, b"a\r\n")).unwrap();
    assert!(matches!(&fate, Fate::Unknown(why) if why.contains("gone")), "{fate:?}");
    shared.lock().unwrap().missing = false;
    // Nor is anything delivered into it under the old number, where the connection had to be opened again.
    shared.lock().unwrap().script.push_back(Next::LoseEarly);
    let (mut batch, _) = synced(&imap, &[b"b\r\n"]);
    shared.lock().unwrap().validity = 9;
    is_destination(batch.publish(0), "UIDVALIDITY");
    assert_eq!(octets(&shared), [b"a\r\n"]);
}

#[test]
fn a_server_that_does_not_let_us_look_now_may_later() {
    let shared = mailbox(&[]);
    let token = deliver(&imap(&server(&shared, Ways::default()), "?tls=none"), b"a\r\n").unwrap();
    for (command, said) in [
        ("EXAMINE", &b"r4 NO [UNAVAILABLE] later\r\n"[..]),
        ("UID FETCH 100:100 (UID", b"r5 NO [SERVERBUG] later\r\n"),
        ("UID FETCH 100 (BODY", b"* 1 FETCH (UID 100 BODY[]<0> NIL)\r\nr6 OK\r\n"),
    ] {
        let server = server(&shared, Ways { instead: Some((command, said.to_vec())), ..Ways::default() });
        is_destination(hasty(&server).resolve(&intent(&token, b"a\r\n")), "");
    }
}

#[test]
fn what_came_since_is_compared_octet_by_octet() {
    let shared = mailbox(&[]);
    let server = server(&shared, Ways::default());
    let imap = imap(&server, "?tls=none");
    let (batch, tokens) = synced(&imap, &[b"a\r\n"]);
    drop(batch);
    let intent = intent(tokens[0].as_ref().unwrap(), b"a\r\n");
    {
        let mut mailbox = shared.lock().unwrap();
        mailbox.messages.push((99, b"a\r\n".to_vec(), String::new()));
        mailbox.messages.push((100, b"b\r\n".to_vec(), String::new()));
        mailbox.next = 101;
    }
    assert_eq!(imap.resolve(&intent), Ok(Fate::NotDelivered));
    // One that is gone again may have been it.
    shared.lock().unwrap().next = 102;
    let fate = imap.resolve(&intent).unwrap();
    assert!(matches!(&fate, Fate::Unknown(why) if why.contains("gone again")), "{fate:?}");
    shared.lock().unwrap().next = 1_000_000;
    let fate = imap.resolve(&intent).unwrap();
    assert!(matches!(&fate, Fate::Unknown(why) if why.contains("more than")), "{fate:?}");
}

#[test]
fn identical_messages_are_counted() {
    for copies in 0..=3_u32 {
        let shared = mailbox(&[]);
        let server = server(&shared, Ways::default());
        let (mut batch, tokens) =
            synced(&imap(&server, "?tls=none"), &[b"a\r\n", b"b\r\n", b"a\r\n", b"a\r\n"]);
        let intents: Vec<_> = [0, 2, 3].map(|at| intent(tokens[at].as_ref().unwrap(), b"a\r\n")).into();
        [0, 2, 3].iter().take(copies as usize).for_each(|&place| batch.publish(place).unwrap());
        drop(batch);
        // Asked in any order, and by a program that was started anew for each.
        let delivered = intents
            .iter()
            .rev()
            .map(|intent| imap(&server, "?tls=none").resolve(intent).unwrap())
            .filter(|fate| *fate == Fate::Delivered)
            .count();
        assert_eq!(delivered, copies as usize);
    }
    // Or else the copy of the second would stand for the first.
    let shared = mailbox(&[Next::Say("NO")]);
    let server = server(&shared, Ways::default());
    let imap = imap(&server, "?tls=none");
    let (mut batch, _) = synced(&imap, &[b"a\r\n", b"a\r\n"]);
    is_message(batch.publish(0), "");
    is_message(batch.publish(1), "identical");
    assert!(octets(&shared).is_empty());
}

#[test]
fn a_message_is_found_again_where_lines_are_stored() {
    let shared = mailbox(&[]);
    let server = server(&shared, Ways { lines: true, ..Ways::default() });
    let imap = imap(&server, "?tls=none");
    for message in [&b"a\nb\r\n\nc\r\n"[..], b"\n", b"a\nb", b"a\r\r\nb\r\r\r\n\rc\r\n\r"] {
        let token = deliver(&imap, message).unwrap();
        assert_eq!(imap.resolve(&intent(&token, message)), Ok(Fate::Delivered));
    }
}

#[test]
fn what_a_server_cannot_take_is_known_before() {
    let shared = mailbox(&[]);
    let server = server(&shared, Ways { capabilities: "APPENDLIMIT=10", ..Ways::default() });
    let imap = imap(&server, "?tls=none");
    let (mut batch, tokens) = synced(&imap, &[b"0123456789\r\n", b"a\0b\r\n", b"c\r\n"]);
    is_message(tokens[0].clone(), "10 octets");
    is_message(tokens[1].clone(), "NUL");
    batch.publish(2).unwrap();
    let binary = server_with_binary(&shared);
    deliver(&self::imap(&binary, "?tls=none"), b"a\0b\r\n").unwrap();
    assert_eq!(octets(&shared), [&b"c\r\n"[..], b"a\0b\r\n"]);
    assert!(shared.lock().unwrap().said.iter().any(|line| line.ends_with("~{5}")));
}

fn server_with_binary(shared: &Shared) -> Server {
    server(shared, Ways { capabilities: "BINARY", ..Ways::default() })
}

#[test]
fn a_mailbox_is_made_only_on_request() {
    let shared = mailbox(&[]);
    shared.lock().unwrap().missing = true;
    let server = server(&shared, Ways::default());
    is_destination(deliver(&imap(&server, "Lists?tls=none"), b"a\r\n"), "?create");
    assert!(shared.lock().unwrap().missing);
    deliver(&imap(&server, "Lists?tls=none&create"), b"a\r\n").unwrap();
    assert_eq!(octets(&shared), [b"a\r\n"]);
}

#[test]
fn no_answer_is_waited_for_or_read_without_end() {
    let endless = b"* OK ".repeat(100_000);
    let many = [&b"* OK "[..], &[b'x'; 50_000], b"\r\n"].concat().repeat(100);
    for (command, said, words) in [
        ("STATUS", &b""[..], "no answer within"),
        ("STATUS", b"* STA", "no answer within"),
        ("CAPABILITY", &endless, "longer than"),
        ("STATUS", b"* STATUS {999999999999}\r\n", "longer than"),
        ("STATUS", b"* STATUS {600000}\r\n", "longer than"),
        ("STATUS", &many, "longer than"),
        ("STATUS", b"r999 OK\r\n", "makes no sense"),
        ("STATUS", b"* BYE [UNAVAILABLE] enough\r\n", "enough"),
        ("STATUS", b"r4 OK\r\n", "UIDNEXT"),
        ("AUTH", b"r2 NO [AUTHENTICATIONFAILED] what?\r\n", "refuses the login"),
    ] {
        let shared = mailbox(&[]);
        let ways = Ways { instead: Some((command, said.to_vec())), ..Ways::default() };
        let server = server(&shared, ways);
        let (_, tokens) = synced(&hasty(&server), &[b"a\r\n"]);
        let Err(Fault::Destination(why)) = &tokens[0] else { panic!("{tokens:?}") };
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn a_password_needs_tls() {
    let (tls, _folder, ca_file) = fake::certificate();
    let shared = mailbox(&[]);
    let open = |server: &Server, trusted: bool| {
        let mut spec = spec(&format!("imap://john@127.0.0.1:{}", server.port));
        spec.ca_file = trusted.then(|| ca_file.clone());
        Imap::open(&spec, short()).unwrap()
    };
    let secret = |shared: &Shared| {
        // "\0john\0hunter2", and the name in clear.
        shared
            .lock()
            .unwrap()
            .said
            .iter()
            .any(|line| line.contains("AGpvaG4AaHVudGVyMg==") || line.contains("hunter2"))
    };
    // No TLS at all; PREAUTH, which leaves none; a certificate that nobody trusts; words smuggled in behind STARTTLS.
    for (ways, trusted) in [
        (Ways::default(), true),
        (Ways { greeting: "* PREAUTH welcome", tls: Some(Arc::clone(&tls)), ..Ways::default() }, true),
        (Ways { tls: Some(Arc::clone(&tls)), ..Ways::default() }, false),
        (Ways { tls: Some(Arc::clone(&tls)), behind_starttls: "* OK smuggled\r\n", ..Ways::default() }, true),
    ] {
        if ways.tls.is_none() {
            // It has no answer to STARTTLS.
            let ways = Ways { instead: Some(("STARTTLS", b"r2 BAD what?\r\n".to_vec())), ..ways };
            let server = server(&shared, ways);
            is_destination(deliver(&open(&server, trusted), b"a\r\n"), "?tls=none");
            continue;
        }
        let server = server(&shared, ways);
        is_destination(deliver(&open(&server, trusted), b"a\r\n"), "");
        assert!(!secret(&shared));
    }
    let server = server(&shared, Ways { tls: Some(tls), ..Ways::default() });
    deliver(&open(&server, true), b"a\r\n").unwrap();
    assert!(secret(&shared));
}

#[test]
fn implicit_tls_works_too() {
    let (tls, _folder, ca_file) = fake::certificate();
    let shared = mailbox(&[]);
    let served = Arc::clone(&shared);
    let server = Server::start(move |peer| {
        peer.start_tls(&tls)?;
        serve(peer, &served, &Ways { capabilities: "SASL-IR LITERAL+", ..Ways::default() })
    });
    let mut spec = spec(&format!("imaps://john@127.0.0.1:{}", server.port));
    spec.ca_file = Some(ca_file);
    let imap = Imap::open(&spec, long()).unwrap();
    for message in hostile() {
        let token = deliver(&imap, &message).unwrap();
        assert_eq!(imap.resolve(&intent(&token, &message)), Ok(Fate::Delivered));
    }
    assert_eq!(octets(&shared), hostile());
}

#[test]
fn places_that_make_no_sense_are_refused() {
    for text in [
        "imaps://h/INBOX",
        "imaps://j@h?tls=none",
        "imap://j@h?tls=off",
        "imap://j@h?create=yes",
        "imap://j@h?x=1",
        "imaps:j@h",
        "imaps://j:hunter2@h",
    ] {
        let error = Imap::open(&spec(text), long()).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let mut spec = spec("imaps://j@h");
    spec.password = None;
    Imap::open(&spec, long()).unwrap_err();
}
