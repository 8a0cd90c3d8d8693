//! The destination `smtp`, against servers that misbehave on purpose: whose fault it is, and what may have happened.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{sync::Arc, time::Duration};

use fake::{
    Server, deliver, hostile, intent, long, short,
    smtp::{Next, Shared, Ways, arrived, book, server},
    spec, synced,
};
use restante_fetch::destination::{Destination, Fate, Fault, Promise, smtp::Smtp};

mod fake;

fn smtp(server: &Server, end: &str) -> Smtp {
    Smtp::open(&spec(&format!("smtp://127.0.0.1:{}?to=john@example.org{end}", server.port)), long()).unwrap()
}

fn hasty(server: &Server) -> Smtp {
    Smtp::open(&spec(&format!("smtp://127.0.0.1:{}?to=john@example.org", server.port)), short()).unwrap()
}

fn said(book: &Shared, start: &str) -> Vec<String> {
    let book = book.lock().unwrap();
    book.said.iter().filter(|line| line.starts_with(start)).cloned().collect()
}

fn say(command: &'static str, said: &str) -> Next {
    Next::Say(command, format!("{said}\r\n").into_bytes())
}

#[test]
fn every_octet_arrives_but_bare_lfs_become_line_ends() {
    let book = book(&[]);
    let server = server(&book, Ways { extensions: &["SIZE 0", "8BITMIME", "PIPELINING"], ..Ways::default() });
    let smtp = smtp(&server, "");
    let mut corpus = hostile();
    corpus.extend(
        [&b"a\nb\n.\nMAIL FROM:<x>\n\n.c\r\n"[..], b"\n", b"a\r\n.\n.\r\n", b"\0\r\n"].map(<[u8]>::to_vec),
    );
    for message in &corpus {
        deliver(&smtp, message).unwrap();
    }
    let expected: Vec<Vec<u8>> = corpus.iter().map(|message| arrived(message)).collect();
    assert_eq!(book.lock().unwrap().messages, expected);
    assert_eq!(book.lock().unwrap().connections, 1, "one connection is kept");
    assert!(
        said(&book, "MAIL").contains(&"MAIL FROM:<> SIZE=19 BODY=8BITMIME".to_owned()),
        "{:?}",
        said(&book, "MAIL")
    );
    assert!(said(&book, "MAIL").contains(&"MAIL FROM:<> SIZE=2".to_owned()));
    assert_eq!(said(&book, "EHLO"), ["EHLO [127.0.0.1]"]);
}

#[test]
fn the_sender_is_the_messages_own_and_the_empty_one_where_it_is_refused() {
    let refuse = [say("MAIL FROM:<a@b.org>", "450 4.1.8 no such domain"), say("RCPT", "550 not from you")];
    for (script, senders) in [
        (&[][..], &["MAIL FROM:<a@b.org>"][..]),
        (&refuse[..1], &["MAIL FROM:<a@b.org>", "MAIL FROM:<>"]),
        (&refuse[1..], &["MAIL FROM:<a@b.org>", "MAIL FROM:<>"]),
    ] {
        let book = book(script);
        let server = server(&book, Ways::default());
        deliver(&smtp(&server, ""), b"Return-Path: <a@b.org>\r\n\r\n").unwrap();
        assert_eq!(said(&book, "MAIL"), senders);
        assert_eq!(book.lock().unwrap().messages.len(), 1);
    }
    let book = book(&[]);
    let server = server(&book, Ways::default());
    deliver(&smtp(&server, "&from=me@c.org"), b"Return-Path: <a@b.org>\r\n\r\n").unwrap();
    assert_eq!(said(&book, "MAIL"), ["MAIL FROM:<me@c.org>"]);
}

#[test]
fn whose_fault_it_is_depends_on_what_was_refused() {
    for (next, message, words) in [
        (say("greeting", "554 go away"), false, "go away"),
        (say("greeting", "421 later"), false, "later"),
        (say("EHLO", "502 what?"), false, "what?"),
        (say("MAIL", "451 later"), false, "later"),
        (say("MAIL", "550 no"), false, "550"),
        (say("MAIL", "421 closing"), false, "closing"),
        (say("MAIL", "552 too large"), true, "too large"),
        (say("RCPT", "452 later"), false, "<john@example.org>"),
        (say("RCPT", "550 who?"), false, "who?"),
        (say("DATA", "554 spam"), true, "spam"),
        (say("DATA", "451 later"), false, "later"),
        (Next::End("451 4.3.0 later"), false, "later"),
        (Next::End("550 5.7.1 spam"), true, "spam"),
        (Next::End("552 5.2.2 the mailbox is full"), false, "full"),
        (Next::End("421 closing"), false, "closing"),
    ] {
        let book = book(std::slice::from_ref(&next));
        let server = server(&book, Ways::default());
        let smtp = smtp(&server, "");
        let fault = deliver(&smtp, b"a\r\n").unwrap_err();
        assert_eq!(matches!(fault, Fault::Message(_)), message, "{next:?}: {fault}");
        assert!(fault.to_string().contains(words), "{next:?}: {fault}");
        assert!(book.lock().unwrap().messages.is_empty());
        // The next one passes.
        deliver(&smtp, b"b\r\n").unwrap();
        assert_eq!(book.lock().unwrap().messages, [b"b\r\n"], "{next:?}");
    }
}

/// What is deferred behind DATA may concern this message alone. Of what was refused at any step, it is certain that the
/// server has nothing; where it hung up, it is not.
#[test]
fn what_is_deferred_and_what_is_certain() {
    for (next, deferred, certain) in [
        (say("DATA", "451 later"), true, true),
        (Next::End("451 4.3.0 later"), true, true),
        (Next::End("452 4.2.2 the mailbox is full"), false, true),
        (say("RCPT", "450 later"), false, true),
        (Next::End("421 closing"), false, false),
    ] {
        let book = book(std::slice::from_ref(&next));
        let server = server(&book, Ways::default());
        let smtp = smtp(&server, "");
        let mut batch = smtp.batch().unwrap();
        batch.begin().and_then(|()| batch.write(b"a\r\n")).and_then(|()| batch.finish()).unwrap();
        assert!(batch.sync().iter().all(Result::is_ok));
        let fault = batch.publish(0).unwrap_err();
        assert_eq!(matches!(fault, Fault::Deferred(_)), deferred, "{next:?}: {fault}");
        assert_eq!(batch.has_nothing_of(0), certain, "{next:?}: {fault}");
    }
}

#[test]
fn a_message_that_is_too_large_is_not_sent() {
    let book = book(&[]);
    let server = server(&book, Ways { extensions: &["SIZE 10"], ..Ways::default() });
    let fault = deliver(&smtp(&server, ""), b"0123456789\r\n").unwrap_err();
    assert!(matches!(fault, Fault::Message(_)), "{fault}");
    assert_eq!(said(&book, "MAIL"), [""; 0]);
}

#[test]
fn behind_the_final_dot_nobody_can_tell() {
    for next in [Next::LoseEnd, Next::HangEnd] {
        let book = book(&[next]);
        let server = server(&book, Ways::default());
        let smtp = hasty(&server);
        let (mut batch, tokens) = synced(&smtp, &[b"a\r\n"]);
        let fault = batch.publish(0).unwrap_err();
        assert!(
            matches!(&fault, Fault::Destination(why) if why.contains("may have been delivered")),
            "{fault}"
        );
        let token = tokens[0].as_ref().unwrap();
        assert!(matches!(smtp.resolve(&intent(token, b"a\r\n")), Ok(Fate::Unknown(_))));
        assert!(matches!(smtp.promise(), Promise::AtLeastOnce(_)));
        assert_eq!(book.lock().unwrap().connections, 1, "it is not sent a second time");
    }
}

#[test]
fn a_connection_that_was_lost_meanwhile_is_opened_again() {
    // Between two messages, and before the first: there it is the server's way.
    let book = book(&[]);
    let server = server(&book, Ways::default());
    let smtp = smtp(&server, "");
    deliver(&smtp, b"a\r\n").unwrap();
    for lose in [Next::Lose("MAIL"), Next::Lose("DATA"), say("MAIL", "421 idle for too long")] {
        book.lock().unwrap().script.push_back(lose);
        deliver(&smtp, b"b\r\n").unwrap();
    }
    assert_eq!(book.lock().unwrap().messages.len(), 4);
    book.lock().unwrap().script.extend([Next::Lose("MAIL"), Next::Lose("MAIL")]);
    let fault = deliver(&smtp, b"c\r\n").unwrap_err();
    assert!(matches!(fault, Fault::Destination(_)), "{fault}");
}

#[test]
fn a_server_that_hangs_up_in_the_middle_is_heard() {
    let book = book(&[Next::Interrupt("552 5.3.4 that is too much")]);
    let server = server(&book, Ways::default());
    let large = b"0123456789\r\n".repeat(1_000_000);
    let fault = deliver(&smtp(&server, ""), &large).unwrap_err();
    assert!(fault.to_string().contains("that is too much"), "{fault}");
}

#[test]
fn no_answer_is_waited_for_or_read_without_end() {
    let long_line = [&b"250 "[..], &[b'x'; 10_000], b"\r\n"].concat();
    for (next, words) in [
        (Next::Hang("greeting"), "no answer within"),
        (Next::Hang("EHLO"), "no answer within"),
        (Next::Hang("RCPT"), "no answer within"),
        (Next::Say("MAIL", b"250".to_vec()), "no answer within"),
        (Next::Say("MAIL", long_line), "longer than"),
        (Next::Say("EHLO", b"250-x\r\n".repeat(100_000)), "longer than"),
        (Next::Say("EHLO", b"250-x\r\n".repeat(2)), "no answer within"),
        (Next::Say("MAIL", b"hello\r\n".to_vec()), "makes no sense"),
        (Next::Say("MAIL", b"25\xff fine\r\n".to_vec()), "makes no sense"),
    ] {
        let book = book(std::slice::from_ref(&next));
        let server = server(&book, Ways::default());
        let fault = deliver(&hasty(&server), b"a\r\n").unwrap_err();
        assert!(matches!(&fault, Fault::Destination(why) if why.contains(words)), "{next:?}: {fault}");
    }
}

#[test]
fn a_password_needs_tls_and_without_one_it_is_taken_where_it_works() {
    let (tls, _folder, ca_file) = fake::certificate();
    let open = |server: &Server, user: &str, end: &str, trusted: bool| {
        let mut spec = spec(&format!("smtp://{user}127.0.0.1:{}?to=j@b.org{end}", server.port));
        spec.ca_file = trusted.then(|| ca_file.clone());
        Smtp::open(&spec, short()).unwrap()
    };
    let ways = |tls| Ways { extensions: &["AUTH PLAIN LOGIN"], tls };
    let clear = (book(&[]), ways(None));
    let clear = (server(&clear.0, clear.1), clear.0);
    let secure = (book(&[]), ways(Some(tls)));
    let secure = (server(&secure.0, secure.1), secure.0);

    for (open, passes) in [
        (open(&clear.0, "john@", "", true), false),
        (open(&clear.0, "", "&tls=required", true), false),
        (open(&secure.0, "john@", "", false), false),
        (open(&secure.0, "", "&tls=required", false), false),
        (open(&clear.0, "", "", true), true),
        (open(&secure.0, "", "", false), true),
        (open(&secure.0, "", "&tls=required", true), true),
    ] {
        let result = deliver(&open, b"a\r\n");
        assert_eq!(result.is_ok(), passes, "{open:?}: {result:?}");
    }
    assert_eq!(said(&clear.1, "AUTH"), [""; 0]);
    assert_eq!(said(&secure.1, "AUTH"), [""; 0]);
    deliver(&open(&secure.0, "john@", "", true), b"a\r\n").unwrap();
    deliver(&open(&clear.0, "john@", "&tls=none", true), b"a\r\n").unwrap();
    assert_eq!(said(&secure.1, "AUTH"), ["AUTH PLAIN AGpvaG4AaHVudGVyMg=="]);
    assert_eq!(said(&clear.1, "AUTH"), ["AUTH PLAIN AGpvaG4AaHVudGVyMg=="]);
}

#[test]
fn login_and_implicit_tls_work_too() {
    let (tls, _folder, ca_file) = fake::certificate();
    let book = book(&[]);
    let served = Arc::clone(&book);
    let server = Server::start(move |peer| {
        peer.start_tls(&tls)?;
        fake::smtp::serve(peer, &served, &Ways { extensions: &["AUTH LOGIN X-OTHER"], tls: None })
    });
    let mut spec = spec(&format!("smtps://john@127.0.0.1:{}?to=j@b.org", server.port));
    spec.ca_file = Some(ca_file);
    let smtp = Smtp::open(&spec, long()).unwrap();
    for message in hostile() {
        deliver(&smtp, &message).unwrap();
    }
    let expected: Vec<Vec<u8>> = hostile().iter().map(|message| arrived(message)).collect();
    assert_eq!(book.lock().unwrap().messages, expected);
    assert!(book.lock().unwrap().said.contains(&"aHVudGVyMg==".to_owned()));
}

#[test]
fn a_refused_login_is_told_without_the_password() {
    let book = book(&[say("AUTH", "535 5.7.8 wrong")]);
    let server = server(&book, Ways { extensions: &["AUTH PLAIN"], tls: None });
    let spec = spec(&format!("smtp://john@127.0.0.1:{}?to=j@b.org&tls=none", server.port));
    let fault = deliver(&Smtp::open(&spec, long()).unwrap(), b"a\r\n").unwrap_err();
    assert!(
        matches!(&fault, Fault::Destination(why) if why.contains("535") && !why.contains("hunter2")),
        "{fault}"
    );
}

#[test]
fn nobody_there_is_the_destinations_fault() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let limits = restante_fetch::destination::Limits { connect: Duration::from_secs(5), ..short() };
    let smtp = Smtp::open(&spec(&format!("smtp://127.0.0.1:{port}?to=j@b.org")), limits).unwrap();
    let (_, tokens) = synced(&smtp, &[b"a\r\n"]);
    assert!(matches!(tokens[0], Err(Fault::Destination(_))), "{tokens:?}");
}

#[test]
fn places_that_make_no_sense_are_refused() {
    for text in [
        "smtp://h",
        "smtp://h/x?to=a@b",
        "smtp://h?to=",
        "smtp://h?to=a%20b",
        "smtp://h?to=a@b%3E",
        "smtp://h?to=a@b&from=%3C%3E",
        "smtps://h?to=a@b&tls=none",
        "smtp://h?to=a@b&tls=maybe",
        "smtp://h?to=a@b&to=c@d",
        "smtp:h?to=a@b",
    ] {
        Smtp::open(&spec(text), long()).unwrap_err();
    }
    let mut spec = spec("smtp://j@h?to=a@b");
    spec.password = None;
    Smtp::open(&spec, long()).unwrap_err();
}
