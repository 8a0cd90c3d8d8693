//! mpop: fetches into a Maildir, pipelined and one command at a time, keeps or deletes, and remembers unique-ids.
//!
//! What mpop changes in a message: CRLF becomes LF, as Maildirs have it, and it puts a `Received:` field in front, which
//! `received_header off` leaves away. Nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::path::{Path, PathBuf};

use restante_interop::{
    Letter, Outcome, PASSWORD, Program, Security, Server, USER, assert_same, corpus, fresh, maildir,
    with_security,
};

struct Mpop<'a> {
    server: &'a Server,
    folder: PathBuf,
    mail: PathBuf,
}

impl<'a> Mpop<'a> {
    fn new(server: &'a Server, name: &str) -> Self {
        let folder = server.client_folder(name);
        Self { server, mail: server.client_maildir(&format!("{name}/mail")), folder }
    }

    fn run(&self, security: Security, authority: &Path, settings: &str) -> Outcome {
        let tls = match security {
            // Without TLS it wants to be told that a password in clear is meant.
            Security::Plain => "tls off\nauth user",
            Security::Stls => "tls on\ntls_starttls on",
            Security::Tls => "tls on\ntls_starttls off",
        };
        let file = self.folder.join("mpoprc");
        let text = format!(
            "defaults\n{tls}\ntls_trust_file {}\naccount default\nhost localhost\nport {}\nuser {USER}\npassword \"{PASSWORD}\"\n\
             uidls_file {}/uidls\ndelivery maildir {}\n{settings}\n",
            authority.display(),
            self.server.port(security),
            self.folder.display(),
            self.mail.display(),
        );
        self.server.client_file(&file, &text);
        Program::new("mpop", "mpop", &self.folder).arg("--file").arg(file).run()
    }

    fn fetch(&self, security: Security, settings: &str) -> Outcome {
        self.run(security, &self.server.authority(), &format!("received_header off\n{settings}")).succeeded()
    }

    fn take(&self) -> Vec<Vec<u8>> {
        maildir::take(&self.mail)
    }
}

fn received(letters: &[Letter]) -> Vec<(&'static str, Vec<u8>)> {
    letters.iter().map(|letter| (letter.name, letter.local())).collect()
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    let letters = corpus();
    for pipelining in ["on", "off", "auto"] {
        let server = Server::start(&letters);
        with_security(&Security::ALL, |security| {
            let mpop = Mpop::new(&server, &format!("{security:?}"));
            let settings = format!("keep on\npipelining {pipelining}");
            mpop.fetch(security, &settings);
            assert_same(mpop.take(), &received(&letters));
            mpop.fetch(security, &settings);
            assert_same(mpop.take(), &[]);
        });
        assert_eq!(server.left().len(), letters.len());

        let mpop = Mpop::new(&server, "later");
        let settings = format!("keep on\npipelining {pipelining}");
        mpop.fetch(Security::Tls, &settings);
        assert_eq!(mpop.take().len(), letters.len());
        server.deliver(&fresh());
        mpop.fetch(Security::Tls, &settings);
        assert_same(mpop.take(), &received(&[fresh()]));
        server.stop();
    }
}

#[test]
fn deletes_what_it_has() {
    let letters = corpus();
    for pipelining in ["on", "off"] {
        with_security(&Security::ALL, |security| {
            let server = Server::start(&letters);
            let mpop = Mpop::new(&server, "client");
            let settings = format!("keep off\npipelining {pipelining}");
            mpop.fetch(security, &settings);
            assert_same(mpop.take(), &received(&letters));
            assert_eq!(server.left(), Vec::<String>::new());
            server.deliver(&fresh());
            mpop.fetch(security, &settings);
            assert_same(mpop.take(), &received(&[fresh()]));
            assert_eq!(server.left(), Vec::<String>::new());
            server.stop();
        });
    }
}

#[test]
fn its_received_field_is_all_that_it_adds() {
    let letters = corpus();
    let server = Server::start(&letters);
    let mpop = Mpop::new(&server, "client");
    mpop.run(Security::Tls, &server.authority(), "keep on").succeeded();
    let got = mpop.take().iter().map(|octets| without_received(octets)).collect();
    assert_same(got, &received(&letters));
    server.stop();
}

/// The message without the first field, which has lines that begin with white space.
fn without_received(octets: &[u8]) -> Vec<u8> {
    assert!(octets.starts_with(b"Received: "), "{}", octets.escape_ascii());
    let mut lines = octets.split_inclusive(|&octet| octet == b'\n').skip(1).peekable();
    while lines.next_if(|line| line.starts_with(b"\t") || line.starts_with(b" ")).is_some() {}
    lines.flatten().copied().collect()
}

#[test]
fn signs_in_by_every_way_it_has() {
    let server = Server::start(&corpus());
    with_security(&Security::ALL, |security| {
        for method in ["user", "plain", "login"] {
            let mpop = Mpop::new(&server, &format!("{security:?}-{method}"));
            mpop.fetch(security, &format!("keep on\nauth {method}"));
            assert_eq!(mpop.take().len(), corpus().len());
        }
    });
    server.stop();
}

#[test]
fn tells_what_the_server_can() {
    let server = Server::start(&corpus());
    with_security(&Security::ALL, |security| {
        let mpop = Mpop::new(&server, &format!("{security:?}"));
        let file = mpop.folder.join("mpoprc");
        mpop.fetch(security, "keep on");
        let told = Program::new("mpop", "mpop", &mpop.folder)
            .arg("--file")
            .arg(&file)
            .arg("--serverinfo")
            .run()
            .succeeded()
            .text();
        for capability in ["PIPELINING", "UIDL", "TOP"] {
            assert!(told.contains(capability), "{capability} is missing: {told}");
        }
    });
    server.stop();
}

#[test]
fn a_wrong_password_is_told_and_nothing_is_fetched() {
    with_security(&Security::ALL, |security| {
        let server = Server::start(&corpus());
        let mpop = Mpop::new(&server, "client");
        let outcome = mpop.run(security, &server.authority(), "keep off\npassword wrong").failed();
        assert!(outcome.words().contains("authentication failed"), "{outcome}");
        assert_same(mpop.take(), &[]);
        server.stop();
    });
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let letters = corpus();
    let server = Server::start(&letters);
    with_security(&[Security::Stls, Security::Tls], |security| {
        let mpop = Mpop::new(&server, &format!("{security:?}"));
        let outcome = mpop.run(security, &server.stranger(), "keep off").failed();
        assert!(outcome.words().contains("certificate"), "{outcome}");
        assert_same(mpop.take(), &[]);
    });
    assert_eq!(server.left().len(), letters.len());
    server.stop();
}
