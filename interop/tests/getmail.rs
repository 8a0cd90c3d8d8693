//! getmail6: fetches into a Maildir, keeps or deletes, and remembers unique-ids. Its POP3 has no STLS, so that plain and
//! TLS are what there is to test.
//!
//! What getmail changes in a message: CRLF becomes LF; `Return-Path:` is taken out of the header and put in front with
//! the sender's address, `<unknown>` if there was none; `Delivered-To:` and `Received:` are added unless switched off. It
//! reads the message with Python's `email` and writes it anew: a bare CR becomes a line end, and a header without the
//! empty line behind it gets one.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::path::{Path, PathBuf};

use restante_interop::{
    Letter, Outcome, PASSWORD, Program, Security, Server, USER, assert_same, corpus, fresh, maildir,
    with_security,
};

const WAYS: [Security; 2] = [Security::Plain, Security::Tls];

struct Getmail<'a> {
    server: &'a Server,
    folder: PathBuf,
    mail: PathBuf,
}

impl<'a> Getmail<'a> {
    fn new(server: &'a Server, name: &str) -> Self {
        let folder = server.client_folder(name);
        Self { server, mail: server.client_maildir(&format!("{name}/mail")), folder }
    }

    fn run(&self, security: Security, authority: &Path, delete: &str) -> Outcome {
        let tls = format!("ca_certs = {}\n", authority.display());
        let (retriever, tls) = match security {
            Security::Tls => ("SimplePOP3SSLRetriever", tls.as_str()),
            Security::Plain | Security::Stls => ("SimplePOP3Retriever", ""),
        };
        let text = format!(
            "[retriever]\ntype = {retriever}\nserver = localhost\nport = {}\nusername = {USER}\npassword = {PASSWORD}\n{tls}\n\
             [destination]\ntype = Maildir\npath = {}/\n\n\
             [options]\nread_all = false\ndelete = {delete}\ndelivered_to = false\nreceived = false\nverbose = 2\n",
            self.server.port(security),
            self.mail.display(),
        );
        let file = self.folder.join("getmailrc");
        self.server.client_file(&file, &text);
        Program::new("getmail", "getmail6", &self.folder)
            .arg("--getmaildir")
            .arg(&self.folder)
            .arg("--rcfile")
            .arg(file)
            .run()
    }

    fn fetch(&self, security: Security, delete: &str) -> Outcome {
        self.run(security, &self.server.authority(), delete).succeeded()
    }
}

/// What getmail makes of the letters.
fn received(letters: &[Letter]) -> Vec<(&'static str, Vec<u8>)> {
    letters
        .iter()
        .map(|letter| {
            let sender: &[u8] = b"Return-Path: <jane@example.org>\n";
            let octets = letter.local();
            let made = match letter.name {
                "bare CR" => octets.iter().map(|&octet| if octet == b'\r' { b'\n' } else { octet }).collect(),
                "header only" => [octets.as_slice(), b"\n"].concat(),
                "empty file" => b"Return-Path: <unknown>\n\n".to_vec(),
                "a dot first" => {
                    let at = octets
                        .windows(sender.len())
                        .position(|piece| piece == sender)
                        .expect("it has a sender");
                    [sender, &octets[..at], &octets[at + sender.len()..]].concat()
                }
                _ => octets,
            };
            (letter.name, made)
        })
        .collect()
}

#[test]
fn keeps_and_then_fetches_only_what_is_new() {
    let letters = corpus();
    with_security(&WAYS, |security| {
        let server = Server::start(&letters);
        let getmail = Getmail::new(&server, "client");
        getmail.fetch(security, "false");
        assert_same(maildir::take(&getmail.mail), &received(&letters));
        assert_eq!(server.left().len(), letters.len());
        server.deliver(&fresh());
        getmail.fetch(security, "false");
        assert_same(maildir::take(&getmail.mail), &received(&[fresh()]));
        getmail.fetch(security, "false");
        assert_same(maildir::take(&getmail.mail), &[]);
        server.stop();
    });
}

#[test]
fn deletes_what_it_has() {
    let letters = corpus();
    with_security(&WAYS, |security| {
        let server = Server::start(&letters);
        let getmail = Getmail::new(&server, "client");
        getmail.fetch(security, "true");
        assert_same(maildir::take(&getmail.mail), &received(&letters));
        assert_eq!(server.left(), Vec::<String>::new());
        server.deliver(&fresh());
        getmail.fetch(security, "true");
        assert_same(maildir::take(&getmail.mail), &received(&[fresh()]));
        assert_eq!(server.left(), Vec::<String>::new());
        server.stop();
    });
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let letters = corpus();
    let server = Server::start(&letters);
    let getmail = Getmail::new(&server, "client");
    let outcome = getmail.run(Security::Tls, &server.stranger(), "true");
    assert!(outcome.words().contains("CERTIFICATE_VERIFY_FAILED"), "{outcome}");
    assert_same(maildir::take(&getmail.mail), &[]);
    assert_eq!(server.left().len(), letters.len());
    server.stop();
}
