//! The evil server: what it does well, and that each row of the catalogue does what its name says.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "evil/client.rs"]
mod client;
#[path = "evil/rows.rs"]
mod rows;

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use client::Client;
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour as M, PASSWORD, Script, Sessions, Tls, USER};
use rows::{End, From as Speaks};

/// What never ends does here.
const ENDLESS_OCTETS: u64 = 300_000;

#[test]
fn each_row_does_what_its_name_says() {
    for &evil in M::ALL {
        let Some(talk) = rows::of(evil) else { continue };
        // Some would like TLS first; this client speaks clear text.
        let script = Script::from(evil).endless_octets(ENDLESS_OCTETS);
        let server = EvilServer::start(script, Mail::few());
        let mut client = match talk.from {
            Speaks::Connecting => Client::connect(&server),
            Speaks::Greeted => {
                let mut client = Client::connect(&server);
                assert_eq!(client.line().to_ascii_uppercase(), "+OK POP3 AT YOUR SERVICE\r\n");
                client
            }
            Speaks::LoggedIn => Client::logged_in(&server),
        };
        client.say(talk.says.as_bytes());
        let heard = client.octets(talk.hears.len());
        let shown = |octets: &[u8]| String::from_utf8_lossy(octets).chars().take(2_000).collect::<String>();
        assert_eq!(shown(&heard), shown(&talk.hears), "{evil:?}");
        assert!(heard == talk.hears, "{evil:?}");
        match talk.end {
            End::Listens => {
                let answer = client.ask("NOOP").to_ascii_lowercase();
                let good = ["+ok nothing done", "-err not now"];
                assert!(good.contains(&answer.trim_end()), "{evil:?}: {answer:?}");
            }
            End::Closed => assert_eq!(client.rest(), b"", "{evil:?}"),
            End::Silent => assert!(client.hears_nothing(), "{evil:?}"),
            End::Endless => {
                let rest = client.rest().len() as u64;
                assert!((ENDLESS_OCTETS - 1_000..2 * ENDLESS_OCTETS).contains(&rest), "{evil:?}: {rest}");
            }
        }
    }
}

#[test]
fn the_catalogue_has_words_for_each_row() {
    let names: BTreeSet<&str> = M::ALL.iter().map(|evil| evil.name()).collect();
    assert_eq!(names.len(), M::ALL.len());
    assert!(names.len() > 110, "{}", names.len());
    for evil in M::ALL {
        assert!(evil.about().ends_with('.') && evil.outcome().ends_with('.'), "{evil:?}");
        assert!(!evil.about().contains('\n') && !evil.outcome().contains('\n'), "{evil:?}");
    }
}

#[test]
fn a_good_session_is_told_as_it_was() {
    let server = EvilServer::start(M::Nothing, Mail::few());
    let mut client = Client::logged_in(&server);
    assert!(client.list("CAPA").contains(&"PIPELINING".to_owned()));
    assert_eq!(client.list("UIDL")[4], "5 few-5");
    assert_eq!(client.ask("UIDL 2"), "+OK 2 few-2\r\n");
    assert_eq!(client.list("RETR 2")[3..], ["..", "...", "..hidden", "last", ".."]);
    assert_eq!(client.list("TOP 2 1")[1..], ["Subject: dots", "", ".."]);
    assert_eq!(client.ask("DELE 1"), "+OK marked\r\n");
    assert_eq!(client.ask("RETR 1"), "-ERR no such message\r\n");
    assert_eq!(client.ask("LIST 1"), "-ERR no such message\r\n");
    assert!(client.ask("STAT").starts_with("+OK 4 "));
    assert_eq!(client.list("UIDL")[0], "2 few-2");
    client.ask("RSET");
    client.ask("DELE 2");
    server.deliver("late", b"Subject: late\r\n\r\n");
    assert_eq!(client.list("UIDL").len(), 4, "a session sees what was there at its login");
    assert_eq!(server.committed(), [""; 0]);
    assert_eq!(client.ask("QUIT"), "+OK bye\r\n");
    assert_eq!(client.rest(), b"");
    assert_eq!(server.committed(), ["few-2"]);
    assert_eq!(server.left(), ["few-1", "few-3", "few-4", "few-5", "late"]);
    assert_eq!(server.retrieved(), ["few-2"]);
    assert_eq!(server.deleted(), ["few-1", "few-2"]);
    assert_eq!(server.commands()[..2], [format!("USER {USER}"), format!("PASS {PASSWORD}")]);
    // Without QUIT nothing happens, and the next session sees what is left.
    let mut client = Client::logged_in(&server);
    client.ask("DELE 1");
    drop(client);
    let mut client = Client::logged_in(&server);
    assert_eq!(client.list("UIDL").len(), 5);
    assert_eq!(server.connections(), 3);
    assert_eq!(server.sessions()[1].deleted, ["few-1"]);
}

#[test]
fn every_way_to_log_in_is_there() {
    let server = EvilServer::start(M::Nothing, Mail::none());
    for (says, hears) in [
        ("AUTH PLAIN AG1hcmEAb3BlbiBTZXNhbWUgNDI=\r\n", "+OK 0 messages\r\n"),
        ("AUTH PLAIN\r\nAG1hcmEAb3BlbiBTZXNhbWUgNDI=\r\n", "+ \r\n+OK 0 messages\r\n"),
        ("AUTH PLAIN\r\n*\r\n", "+ \r\n-ERR that is no base64, or the exchange is cancelled\r\n"),
        ("AUTH LOGIN\r\n", "-ERR no such mechanism\r\n"),
        ("USER mara\r\nPASS wrong\r\n", "+OK and the password?\r\n-ERR [AUTH] wrong user or password\r\n"),
        ("PASS early\r\n", "-ERR USER first\r\n"),
        ("STAT\r\n", "-ERR not now\r\n"),
        ("QUIT\r\n", "+OK bye\r\n"),
    ] {
        let mut client = Client::connect(&server);
        client.line();
        client.say(says.as_bytes());
        assert_eq!(String::from_utf8(client.octets(hears.len())).unwrap(), hears);
    }
}

#[test]
fn tls_is_had_by_stls_or_from_the_first_octet() {
    let server = EvilServer::start(M::Nothing, Mail::few());
    let mut client = Client::connect(&server);
    client.line();
    // What lies behind STLS in clear text, and the user before it, are forgotten.
    client.ask("USER mara");
    assert_eq!(client.ask("STLS"), "+OK begin TLS\r\n");
    let mut client = client.secure(&server, "localhost").unwrap();
    assert_eq!(client.ask("PASS x"), "-ERR USER first\r\n");
    assert!(!client.list("CAPA").contains(&"STLS".to_owned()));
    client.log_in();
    assert_eq!(client.ask("QUIT"), "+OK bye\r\n");
    assert_eq!(client.rest(), b"");
    assert!(server.sessions()[0].encrypted);

    let server = EvilServer::start(Script::from(M::Nothing).with_tls(Tls::FromTheFirstOctet), Mail::few());
    let mut client = Client::connect(&server).secure(&server, "localhost").unwrap();
    assert_eq!(client.line(), "+OK POP3 at your service\r\n");
    client.log_in();
}

#[test]
fn tls_is_broken_as_the_names_say() {
    let server = EvilServer::start(M::StlsInjection, Mail::few());
    let mut client = Client::connect(&server);
    client.line();
    assert_eq!(client.ask("STLS"), "+OK begin TLS\r\n");
    assert_eq!(client.line(), "+OK this was injected\r\n");
    assert!(client.secure(&server, "localhost").is_ok());

    let server = EvilServer::start(M::StlsWrongName, Mail::few());
    let mut client = Client::connect(&server);
    client.line();
    client.ask("STLS");
    assert!(client.secure(&server, "localhost").is_err());
    let server = EvilServer::start(M::TlsWrongName, Mail::few());
    assert!(Client::connect(&server).secure(&server, "localhost").is_err());
    assert!(Client::connect(&server).secure(&server, "elsewhere.invalid").is_ok());

    let server = EvilServer::start(M::TlsEndsWithoutNotify, Mail::few());
    let mut client = Client::connect(&server).secure(&server, "localhost").unwrap();
    client.line();
    client.log_in();
    assert!(client.ask("RETR 2").starts_with("+OK"));
    let mut buffer = [0; 4096];
    let fault = loop {
        match client.read(&mut buffer) {
            Ok(read) => assert!(read > 0, "it was a farewell"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn capabilities_lie_and_change() {
    for (evil, logged_in) in [(M::CapaLiesPipelining, false), (M::CapaShrinksAfterLogin, true)] {
        let server = EvilServer::start(evil, Mail::few());
        let mut client = if logged_in { Client::logged_in(&server) } else { Client::connect(&server) };
        if !logged_in {
            client.line();
        }
        client.say(b"CAPA\r\nCAPA\r\nCAPA\r\n");
        client.line();
        assert_eq!(client.block().contains(&"PIPELINING".to_owned()), !logged_in);
        assert!(client.hears_nothing(), "what lay behind the command is dropped");
        assert_eq!(client.list("CAPA").contains(&"TOP".to_owned()), !logged_in);
    }
    let server = EvilServer::start(M::CapaGrowsAfterLogin, Mail::few());
    let mut client = Client::connect(&server);
    client.line();
    let has = |list: &[String]| ["TOP", "UIDL", "PIPELINING"].map(|word| list.contains(&word.to_owned()));
    assert_eq!(has(&client.list("CAPA")), [false; 3]);
    client.log_in();
    assert_eq!(has(&client.list("CAPA")), [true; 3]);
    let server = EvilServer::start(M::LoginRefusedLoginDelay, Mail::few());
    let mut client = Client::connect(&server);
    client.line();
    assert!(client.list("CAPA").contains(&"LOGIN-DELAY 2".to_owned()));
}

#[test]
fn maildrops_change_between_and_within_sessions() {
    let uidl = |server: &EvilServer| Client::logged_in(server).list("UIDL");
    let server = EvilServer::start(M::UidlAllChange, Mail::many(2));
    assert_eq!(uidl(&server), ["1 many-1", "2 many-2"]);
    assert_eq!(uidl(&server), ["1 changed-many-1", "2 changed-many-2"]);
    assert_eq!(uidl(&server), ["1 changed-many-1", "2 changed-many-2"]);
    let server = EvilServer::start(M::MailboxShrinks, Mail::many(2));
    assert_eq!(uidl(&server).len(), 2);
    assert_eq!(uidl(&server), ["1 many-2"]);

    let server = EvilServer::start(M::RenumbersAfterDele, Mail::many(3));
    let mut client = Client::logged_in(&server);
    client.ask("DELE 1");
    assert_eq!(client.list("UIDL"), ["1 many-2", "2 many-3"]);
    assert!(client.list("RETR 2").contains(&"This is message 2.".to_owned()));

    let server = EvilServer::start(M::DeletedStillListed, Mail::many(3));
    let mut client = Client::logged_in(&server);
    client.ask("DELE 1");
    assert_eq!(client.list("UIDL").len(), 3);
    assert!(client.ask("STAT").starts_with("+OK 3 "));
    client.list("RETR 1");
    client.ask("QUIT");
    assert_eq!(server.left(), ["many-2", "many-3"]);
}

#[test]
fn deletion_goes_wrong_as_the_names_say() {
    for (evil, first, second) in [
        (M::Nothing, &["many-3"][..], &["many-3"][..]),
        (M::DeletesAtOnce, &["many-3"], &["many-3"]),
        (M::RetrHides, &[], &[]),
        (M::QuitRefusedKept, &["many-1", "many-2", "many-3"], &["many-3"]),
        (M::QuitRefusedDeleted, &["many-3"], &[]),
        (M::QuitRefusedHalf, &["many-2", "many-3"], &[]),
        (M::QuitClosedDeleted, &["many-3"], &[]),
        (M::QuitClosedKept, &["many-1", "many-2", "many-3"], &["many-3"]),
        (M::QuitUnansweredDeleted, &["many-3"], &[]),
        (M::QuitUnansweredKept, &["many-1", "many-2", "many-3"], &["many-3"]),
        (M::QuitLies, &["many-1", "many-2", "many-3"], &["many-3"]),
    ] {
        let server = EvilServer::start(evil, Mail::many(3));
        for (session, left) in [first, second].into_iter().enumerate() {
            let mut client = Client::logged_in(&server);
            let there = client.list("UIDL").len();
            if session == 0 {
                client.list("RETR 3");
            }
            // Two, if there are two left to delete.
            let marks = if there == 3 {
                2
            } else if evil.sessions() == Sessions::First {
                there
            } else {
                0
            };
            (1..=marks)
                .for_each(|number| assert_eq!(client.ask(&format!("DELE {number}")), "+OK marked\r\n"));
            client.say(b"QUIT\r\n");
            if session == 0 && matches!(evil, M::QuitUnansweredDeleted | M::QuitUnansweredKept) {
                assert!(client.hears_nothing());
                // The silence may have begun before the server had heard QUIT.
                client.socket().shutdown(std::net::Shutdown::Write).unwrap();
            }
            client.rest();
            assert_eq!(server.left(), left, "{evil:?} {session}");
        }
    }
    // Without QUIT, too.
    let server = EvilServer::start(M::DeletesAtOnce, Mail::many(3));
    Client::logged_in(&server).ask("DELE 2");
    assert_eq!(server.left(), ["many-1", "many-3"]);
}

#[test]
fn octets_come_one_by_one_late_or_no_more() {
    let server = EvilServer::start(M::OctetByOctet, Mail::few());
    let mut client = Client::logged_in(&server);
    assert_eq!(client.list("RETR 5").len(), 3 + 2_000);

    let delay = Duration::from_millis(20);
    let server = EvilServer::start(Script::from(M::EveryReplyDelayed).late_by(delay), Mail::few());
    let mut client = Client::logged_in(&server);
    let began = Instant::now();
    client.ask("NOOP");
    assert!(began.elapsed() >= delay);
}

#[test]
fn a_cut_comes_after_exactly_so_many_octets_of_the_first_session() {
    let says = format!("USER {USER}\r\nPASS {PASSWORD}\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n");
    let whole = {
        let server = EvilServer::start(M::Nothing, Mail::many(1));
        let mut client = Client::connect(&server);
        client.say(says.as_bytes());
        client.rest()
    };
    for octets in 0..=whole.len() + 1 {
        let server =
            EvilServer::start(Script::from(M::ConnectionCut).after_octets(octets as u64), Mail::many(1));
        let mut client = Client::connect(&server);
        client.say(says.as_bytes());
        assert_eq!(client.rest(), whole[..octets.min(whole.len())], "{octets}");
        let is_cut = octets <= whole.len();
        assert_eq!(server.sessions()[0].cut, is_cut);
        // QUIT was heard where its answer, of nine octets, has begun, or was to begin.
        assert_eq!(server.left().is_empty(), octets + 9 > whole.len(), "{octets}");
        let mut client = Client::connect(&server);
        client.say(b"QUIT\r\n");
        assert!(client.rest().ends_with(b"+OK bye\r\n"), "the second session is not cut");
    }
}

#[test]
fn a_script_says_which_sessions_and_which_message() {
    let script = Script::from(M::RetrRefused).at_message(3).in_sessions(Sessions::Later);
    let server = EvilServer::start(script, Mail::few());
    let mut first = Client::logged_in(&server);
    let mut second = Client::logged_in(&server);
    first.list("RETR 3");
    assert_eq!(second.ask("RETR 3"), "-ERR cannot be read\r\n");
    second.list("RETR 2");
    assert_eq!(server.sessions()[1].retrieved, ["few-2"]);
    // Who stays is heard to the end.
    let server = EvilServer::start(M::GreetingRefused, Mail::few());
    let mut client = Client::connect(&server);
    client.say(b"USER mara\r\n");
    client.rest();
    drop(client);
    let record = server.sessions()[0].clone();
    assert_eq!(record.commands, [""; 0]);
}

#[test]
fn dropped_it_ends_with_all_of_its_threads() {
    let silent = EvilServer::start(M::GreetingAbsent, Mail::none());
    let late = EvilServer::start(
        Script::from(M::EveryReplyDelayed).late_by(Duration::from_secs(3600)),
        Mail::none(),
    );
    let endless = EvilServer::start(Script::from(M::GreetingEndless).endless_octets(u64::MAX), Mail::none());
    let handshake =
        EvilServer::start(Script::from(M::Nothing).with_tls(Tls::FromTheFirstOctet), Mail::none());
    let idle = EvilServer::start(M::Nothing, Mail::none());
    let servers = [silent, late, endless, handshake, idle];
    let addresses = servers.each_ref().map(EvilServer::address);
    let mut clients: Vec<Client> =
        servers.iter().flat_map(|server| [server; 3]).map(Client::connect).collect();
    clients.iter_mut().skip(12).for_each(|client| drop(client.line()));
    assert!(threads_of(&addresses).is_none_or(|threads| threads >= 5));
    let began = Instant::now();
    drop(servers);
    assert!(began.elapsed() < Duration::from_secs(30));
    // The kernel takes a moment to forget a thread that has ended.
    while threads_of(&addresses).is_some_and(|threads| threads > 0) {
        assert!(began.elapsed() < Duration::from_secs(30), "a thread stays");
        std::thread::yield_now();
    }
    for address in addresses {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    for client in &mut clients {
        client.rest();
        // The other side is gone, or says so.
        drop(client.socket().write(b"NOOP\r\n"));
    }
}

/// How many threads of this process serve these addresses, where the system tells.
fn threads_of(addresses: &[std::net::SocketAddr]) -> Option<usize> {
    let names: Vec<String> = addresses.iter().map(|address| format!("evil:{}", address.port())).collect();
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let name =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    Some(tasks.flatten().map(name).filter(|name| names.iter().any(|known| known == name.trim_end())).count())
}
