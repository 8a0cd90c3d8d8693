//! The destination `lmtp`: on a host and on a socket of this machine. What it shares with SMTP is tested in `smtp.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixListener,
    thread,
};

use fake::{
    deliver, hostile, intent, long, short,
    smtp::{Next, Ways, arrived, book, server},
    spec, synced,
};
use restante_fetch::destination::{Destination, Fate, Fault, lmtp::Lmtp};

mod fake;

#[test]
fn every_octet_arrives() {
    let book = book(&[]);
    let server = server(&book, Ways { extensions: &["8BITMIME", "SIZE"], ..Ways::default() });
    let lmtp = Lmtp::open(&spec(&format!("lmtp://127.0.0.1:{}?to=john", server.port)), long()).unwrap();
    for message in hostile() {
        deliver(&lmtp, &message).unwrap();
    }
    let expected: Vec<Vec<u8>> = hostile().iter().map(|message| arrived(message)).collect();
    let book = book.lock().unwrap();
    assert_eq!(book.messages, expected);
    assert_eq!(book.said[0], "LHLO [127.0.0.1]");
    assert_eq!(book.said[2], "RCPT TO:<john>");
}

#[test]
fn the_answer_to_the_message_says_what_became_of_it() {
    for (next, message, words) in [
        (Next::End("452 4.2.2 the mailbox is full"), false, "full"),
        (Next::End("552 5.2.2 the mailbox is full"), false, "full"),
        (Next::End("550 5.6.0 no"), true, "5.6.0 no"),
        (Next::LoseEnd, false, "may have been delivered"),
        (Next::HangEnd, false, "may have been delivered"),
        (Next::Hang("LHLO"), false, "no answer within"),
    ] {
        let book = book(std::slice::from_ref(&next));
        let server = server(&book, Ways::default());
        let lmtp = Lmtp::open(&spec(&format!("lmtp://127.0.0.1:{}?to=john", server.port)), short()).unwrap();
        let fault = deliver(&lmtp, b"a\r\n").unwrap_err();
        assert_eq!(matches!(fault, Fault::Message(_)), message, "{next:?}: {fault}");
        assert!(fault.to_string().contains(words), "{next:?}: {fault}");
    }
}

#[test]
fn a_socket_of_this_machine_is_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a door");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let say = |text: &str| (&stream).write_all(text.as_bytes()).unwrap();
        say("220 here\r\n");
        let mut said = Vec::new();
        loop {
            let line = lines.next().unwrap();
            match line.as_str() {
                "DATA" => say("354 go on\r\n"),
                "." => say("250 2.0.0 saved\r\n"),
                "QUIT" => return said,
                _ if said.contains(&"DATA".to_owned()) && !said.contains(&".".to_owned()) => {}
                _ => say("250 fine\r\n"),
            }
            said.push(line);
        }
    });
    let place = format!("lmtp:{}?to=john", path.to_str().unwrap().replace(' ', "%20"));
    let lmtp = Lmtp::open(&spec(&place), long()).unwrap();
    let token = deliver(&lmtp, b"Subject: a\r\n\r\n.a\r\n").unwrap();
    assert!(matches!(lmtp.resolve(&intent(&token, b"")), Ok(Fate::Unknown(_))));
    drop(lmtp);
    let said = server.join().unwrap();
    let expected = ["LHLO localhost", "MAIL FROM:<>", "RCPT TO:<john>", "DATA", "Subject: a", "", "..a", "."];
    assert_eq!(said, expected);
}

#[test]
fn a_socket_without_a_server_or_an_answer_is_the_destinations_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door");
    let place = format!("lmtp:{}?to=john", path.display());
    let lmtp = Lmtp::open(&spec(&place), short()).unwrap();
    for _ in 0..2 {
        let (_, tokens) = synced(&lmtp, &[b"a\r\n"]);
        assert!(matches!(tokens[0], Err(Fault::Destination(_))), "{tokens:?}");
        // Now somebody listens, and never answers.
        if !path.exists() {
            let listener = UnixListener::bind(&path).unwrap();
            thread::spawn(move || {
                listener.accept().map(|(mut stream, _)| stream.read_to_end(&mut Vec::new()))
            });
        }
    }
}

#[test]
fn places_that_make_no_sense_are_refused() {
    for text in [
        "lmtp:/run/x",
        "lmtp:run/x?to=j",
        "lmtp:/run/x?to=j&tls=required",
        "lmtp://j@h?to=j",
        "lmtp://h/x?to=j",
        "lmtp://h?to=j&x=1",
        "lmtp:?to=j",
    ] {
        Lmtp::open(&spec(text), long()).unwrap_err();
    }
}
