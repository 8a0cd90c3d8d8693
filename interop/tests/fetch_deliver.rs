//! Where our client delivers to, if it is a server: Dovecot by IMAP and LMTP, Exim by SMTP. The mail comes from our own
//! server, and is read in the Maildir where it ends up.
//!
//! What Dovecot changes in a message: by IMAP nothing, but it takes no empty one; by LMTP it puts `Return-Path:`,
//! `Delivered-To:` and `Received:` in front. What Exim changes: it puts `Received:` in front; a bare CR becomes a line
//! end, a header gets the empty line behind it that it has not, an empty message becomes an empty line.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, path::PathBuf};

use restante_interop::{
    DOVECOT, EXIM, Fetch, Letter, Outcome, PASSWORD, Peer, Program, Security, Server, Service, USER,
    assert_same, canonical, corpus, fresh, maildir, until,
};

/// A message is stuck, or nothing could be done.
const FAILED: i32 = 1;

/// The variable with the password of the server that is delivered to.
const VARIABLE: &str = "INTEROP_TO_PASSWORD";

/// The ways to a server that is delivered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Imap,
    ImapStartTls,
    Imaps,
    LmtpSocket,
    Lmtp,
    Smtp,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Imap, Self::ImapStartTls, Self::Imaps, Self::LmtpSocket, Self::Lmtp, Self::Smtp];
    const IMAP: [Self; 3] = [Self::Imap, Self::ImapStartTls, Self::Imaps];

    fn is_imap(self) -> bool {
        Self::IMAP.contains(&self)
    }

    /// Starts the server with an empty Maildir.
    fn start(self) -> Peer {
        Peer::start(if self == Self::Smtp { &EXIM } else { &DOVECOT }, &[])
    }

    /// The destination for this user.
    fn to(self, peer: &Peer, user: &str) -> String {
        let at = |service| format!("localhost:{}", peer.port(service));
        match self {
            Self::Imap => format!("imap://{user}@{}/INBOX?tls=none", at(Service::Imap)),
            Self::ImapStartTls => format!("imap://{user}@{}/INBOX", at(Service::Imap)),
            Self::Imaps => format!("imaps://{user}@{}/INBOX", at(Service::Imaps)),
            Self::LmtpSocket => format!("lmtp:{}?to={user}@example.org", peer.file("run/lmtp").display()),
            Self::Lmtp => format!("lmtp://{}?to={user}@example.org", at(Service::Lmtp)),
            Self::Smtp => format!("smtp://{}?to={user}@example.org", at(Service::Smtp)),
        }
    }

    /// The letters that the server takes.
    fn taken(self) -> Vec<Letter> {
        corpus().into_iter().filter(|letter| !self.is_imap() || letter.name != "empty file").collect()
    }

    /// What the server makes of a letter.
    fn changed(self, letter: &Letter) -> Vec<u8> {
        let octets = letter.canonical();
        match (self, letter.name) {
            (Self::Smtp, "bare CR") => {
                // Every CR and every LF ends a line, but the two together end one.
                let text = String::from_utf8(octets).unwrap();
                text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n").into_bytes()
            }
            (Self::Smtp, "header only" | "empty file") => [octets.as_slice(), b"\r\n"].concat(),
            _ => octets,
        }
    }
}

/// Hands letters over by Python's own clients, to see what the servers themselves make of them.
const HAND_OVER: &str = r#"
import imaplib, re, smtplib, ssl, sys
way, port, authority, user, password, *files = sys.argv[1:]
trust = ssl.create_default_context(cafile=authority)
if way.startswith("Imap"):
    # A bare CR or LF is to be sent as it is.
    imaplib.MapCRLF = re.compile(rb"(?!)")
    if way == "Imaps":
        box = imaplib.IMAP4_SSL("localhost", int(port), ssl_context=trust)
    else:
        box = imaplib.IMAP4("localhost", int(port))
        if way == "ImapStartTls":
            box.starttls(trust)
    box.login(user, password)
    for name in files:
        kind, words = box.append("INBOX", None, None, open(name, "rb").read())
        assert kind == "OK", words
    box.logout()
else:
    if way == "Smtp":
        box = smtplib.SMTP("localhost", int(port))
        box.ehlo()
        box.starttls(context=trust)
    elif way == "Lmtp":
        box = smtplib.LMTP("localhost", int(port))
    else:
        box = smtplib.LMTP(port)
    box.ehlo()
    box.mail("jane@example.org")
    assert box.rcpt("somebody@example.org")[0] == 550
    box.rset()
    for name in files:
        assert box.mail("jane@example.org")[0] == 250
        assert box.rcpt(user + "@example.org")[0] == 250
        assert box.docmd("DATA")[0] == 354
        octets = open(name, "rb").read()
        lines = octets.split(b"\r\n")
        box.send(b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines) + b".\r\n")
        assert box.getreply()[0] == 250
    box.quit()
"#;

/// Hands the letters over without our client.
fn hand_over(peer: &Peer, way: Way, letters: &[Letter]) -> Outcome {
    let folder = peer.client_folder("handed-over");
    let files: Vec<PathBuf> = letters
        .iter()
        .map(|letter| {
            let file = folder.join(&letter.id);
            fs::write(&file, letter.canonical()).unwrap();
            file
        })
        .collect();
    let port = match way {
        Way::Imap | Way::ImapStartTls => peer.port(Service::Imap).to_string(),
        Way::Imaps => peer.port(Service::Imaps).to_string(),
        Way::LmtpSocket => peer.file("run/lmtp").display().to_string(),
        Way::Lmtp => peer.port(Service::Lmtp).to_string(),
        Way::Smtp => peer.port(Service::Smtp).to_string(),
    };
    Program::new("python3", "python3", &folder)
        .args(["-c", HAND_OVER, &format!("{way:?}"), &port])
        .arg(peer.authority())
        .args([USER, PASSWORD])
        .args(files)
        .run()
        .succeeded()
}

/// What lies in the Maildir of the server, in canonical form and without the fields that it put in front.
fn delivered(peer: &Peer, expected: &[(&'static str, Vec<u8>)]) -> Vec<Vec<u8>> {
    maildir::read(&peer.maildir())
        .into_iter()
        .map(|octets| {
            let octets = canonical(&octets);
            let mut rest = octets.as_slice();
            while !expected.iter().any(|(_, whole)| whole == rest) {
                match without_field(rest) {
                    Some(shorter) => rest = shorter,
                    None => return octets,
                }
            }
            rest.to_vec()
        })
        .collect()
}

/// The message without its first field, if that is one of a server that delivers.
fn without_field(message: &[u8]) -> Option<&[u8]> {
    const FIELDS: [&str; 5] =
        ["return-path:", "delivered-to:", "received:", "envelope-to:", "delivery-date:"];
    let starts = |field: &str| {
        message.get(..field.len()).is_some_and(|name| name.eq_ignore_ascii_case(field.as_bytes()))
    };
    if !FIELDS.into_iter().any(starts) {
        return None;
    }
    let mut at = 0;
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        if at > 0 && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            break;
        }
        at += line.len();
    }
    message.get(at..)
}

/// Waits until the server has so many messages: an MTA says +250 before they are in the Maildir.
fn arrived(peer: &Peer, count: usize) {
    let all = until(|| (maildir::files(&peer.maildir()).len() >= count).then_some(()));
    assert!(all.is_some(), "{} of {count} arrived", maildir::files(&peer.maildir()).len());
}

/// What has to be in the Maildir.
fn expected(way: Way, letters: &[Letter]) -> Vec<(&'static str, Vec<u8>)> {
    letters.iter().map(|letter| (letter.name, way.changed(letter))).collect()
}

/// Our client between our server and theirs.
struct Delivery {
    way: Way,
    origin: Server,
    peer: Peer,
}

impl Delivery {
    fn start(way: Way, letters: &[Letter]) -> Self {
        eprintln!("with {way:?}");
        Self { way, origin: Server::start(letters), peer: way.start() }
    }

    fn run_with(
        &self,
        fetch: &Fetch<'_>,
        user: &str,
        password: &str,
        authority: PathBuf,
        keep: &str,
    ) -> Outcome {
        let to = self.way.to(&self.peer, user);
        let mut program = fetch.program(&self.origin.authority(), &to).args(["--keep", keep]);
        program = program.args(["--password-env", "INTEROP_PASSWORD"]).env("INTEROP_PASSWORD", PASSWORD);
        if self.way.is_imap() {
            program = program.args(["--to-password-env", VARIABLE]).env(VARIABLE, password);
        }
        if matches!(self.way, Way::ImapStartTls | Way::Imaps | Way::Smtp) {
            program = program.arg("--to-ca-file").arg(authority);
        }
        let outcome = program.run();
        fetch.told_nobody(&outcome);
        outcome
    }

    fn run(&self, fetch: &Fetch<'_>, keep: &str) -> Outcome {
        self.run_with(fetch, USER, PASSWORD, self.peer.authority(), keep)
    }
}

#[test]
fn the_peers_themselves_work() {
    for way in Way::ALL {
        eprintln!("with {way:?}");
        let (peer, letters) = (way.start(), way.taken());
        hand_over(&peer, way, &letters);
        arrived(&peer, letters.len());
        let expected = expected(way, &letters);
        assert_same(delivered(&peer, &expected), &expected);
    }
}

#[test]
fn keeps_and_then_delivers_only_what_is_new() {
    for way in Way::ALL {
        let mut letters = way.taken();
        let delivery = Delivery::start(way, &letters);
        let fetch = Fetch::new(&delivery.origin, Security::Tls, "client");
        for _ in 0..2 {
            delivery.run(&fetch, "true").succeeded();
            arrived(&delivery.peer, letters.len());
            let expected = expected(way, &letters);
            assert_same(delivered(&delivery.peer, &expected), &expected);
        }
        delivery.origin.deliver(&fresh());
        letters.push(fresh());
        delivery.run(&fetch, "true").succeeded();
        arrived(&delivery.peer, letters.len());
        let expected = expected(way, &letters);
        assert_same(delivered(&delivery.peer, &expected), &expected);
        assert_eq!(delivery.origin.left().len(), letters.len());
        delivery.origin.stop();
    }
}

#[test]
fn deletes_what_was_delivered() {
    for way in Way::ALL {
        let letters = way.taken();
        let delivery = Delivery::start(way, &letters);
        let fetch = Fetch::new(&delivery.origin, Security::Stls, "client");
        for _ in 0..2 {
            delivery.run(&fetch, "false").succeeded();
            arrived(&delivery.peer, letters.len());
            let expected = expected(way, &letters);
            assert_same(delivered(&delivery.peer, &expected), &expected);
            assert_eq!(delivery.origin.left(), Vec::<String>::new());
        }
        delivery.origin.stop();
    }
}

#[test]
fn a_message_that_is_not_taken_stops_no_other() {
    for way in Way::IMAP {
        let delivery = Delivery::start(way, &corpus());
        let fetch = Fetch::new(&delivery.origin, Security::Tls, "client");
        delivery.run(&fetch, "false").failed_with(FAILED);
        let expected = expected(way, &way.taken());
        assert_same(delivered(&delivery.peer, &expected), &expected);
        let kept: Vec<String> = corpus()
            .into_iter()
            .filter(|letter| letter.name == "empty file")
            .map(|letter| letter.id)
            .collect();
        assert_eq!(delivery.origin.left(), kept);
        delivery.origin.stop();
    }
}

/// Nothing was delivered, and nothing deleted.
#[track_caller]
fn assert_untouched(delivery: &Delivery) {
    assert_same(maildir::read(&delivery.peer.maildir()), &[]);
    assert_eq!(delivery.origin.left(), [fresh().id]);
}

#[test]
fn a_stranger_behind_the_destination_is_refused() {
    for way in [Way::ImapStartTls, Way::Imaps] {
        let delivery = Delivery::start(way, &[fresh()]);
        let fetch = Fetch::new(&delivery.origin, Security::Tls, "client");
        let stranger = delivery.peer.stranger();
        let outcome = delivery.run_with(&fetch, USER, PASSWORD, stranger, "false").failed_with(FAILED);
        assert!(outcome.words().contains("certificate"), "{outcome}");
        assert_untouched(&delivery);
        delivery.origin.stop();
    }
}

#[test]
fn a_wrong_password_of_the_destination_is_told() {
    for way in Way::IMAP {
        let delivery = Delivery::start(way, &[fresh()]);
        let fetch = Fetch::new(&delivery.origin, Security::Tls, "client");
        let (wrong, authority) = ("not the passphrase", delivery.peer.authority());
        let outcome = delivery.run_with(&fetch, USER, wrong, authority, "false").failed_with(FAILED);
        assert!(!outcome.words().contains(wrong), "the wrong password is shown");
        assert_untouched(&delivery);
        delivery.origin.stop();
    }
}

#[test]
fn a_recipient_that_nobody_knows_is_told() {
    for way in [Way::LmtpSocket, Way::Lmtp, Way::Smtp] {
        let delivery = Delivery::start(way, &[fresh()]);
        let fetch = Fetch::new(&delivery.origin, Security::Tls, "client");
        let authority = delivery.peer.authority();
        delivery.run_with(&fetch, "somebody", PASSWORD, authority, "false").failed_with(FAILED);
        assert_untouched(&delivery);
        // The same message is not lost: with the right recipient it goes.
        delivery.run(&fetch, "false").succeeded();
        arrived(&delivery.peer, 1);
        delivery.origin.stop();
    }
}
