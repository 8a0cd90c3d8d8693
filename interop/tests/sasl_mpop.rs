//! mpop: SCRAM-SHA-256 and SCRAM-SHA-1 of GNU SASL, CRAM-MD5 and APOP, each where nothing else is offered. What it does with mail is
//! in `mpop.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{
    Outcome, PASSWORD, Program, Security, Server, USER, assert_same, corpus, maildir, with_security,
};

/// What the server offers, and what mpop calls it.
const WAYS: [(&str, &str); 6] = [
    ("SCRAM-SHA-256", "scram-sha-256"),
    ("SCRAM-SHA-1", "scram-sha-1"),
    ("CRAM-MD5", "cram-md5"),
    ("APOP", "apop"),
    ("PLAIN", "plain"),
    ("LOGIN", "login"),
];

/// Fetches everything, and gives what came.
fn fetch(server: &Server, security: Security, auth: &str, password: &str) -> (Outcome, Vec<Vec<u8>>) {
    let name = format!("{security:?}-{auth}-{}", password.len());
    let folder = server.client_folder(&name);
    let mail = server.client_maildir(&format!("{name}/mail"));
    let tls = match security {
        Security::Plain => "tls off",
        Security::Stls => "tls on\ntls_starttls on",
        Security::Tls => "tls on\ntls_starttls off",
    };
    let text = format!(
        "defaults\n{tls}\ntls_trust_file {}\naccount default\nhost localhost\nport {}\nuser {USER}\npassword \"{password}\"\n\
         auth {auth}\nuidls_file {}/uidls\ndelivery maildir {}\nkeep on\nreceived_header off\n",
        server.authority().display(),
        server.port(security),
        folder.display(),
        mail.display(),
    );
    let file = folder.join("mpoprc");
    server.client_file(&file, &text);
    let outcome = Program::new("mpop", "mpop", &folder).arg("--file").arg(file).run();
    (outcome, maildir::take(&mail))
}

#[test]
fn logs_in_by_each_way_alone() {
    let letters = corpus();
    let received: Vec<_> = letters.iter().map(|letter| (letter.name, letter.local())).collect();
    for (offered, auth) in WAYS {
        eprintln!("by {offered}");
        let server = Server::offering(&[offered], &letters);
        with_security(&Security::ALL, |security| {
            let (outcome, mail) = fetch(&server, security, auth, PASSWORD);
            outcome.succeeded();
            assert_same(mail, &received);
        });
        server.stop();
    }
}

#[test]
fn a_wrong_password_is_told() {
    for (offered, auth) in WAYS {
        eprintln!("by {offered}");
        let server = Server::offering(&[offered], &corpus());
        let (outcome, mail) = fetch(&server, Security::Tls, auth, "wrong");
        let outcome = outcome.failed();
        assert!(outcome.words().contains("authentication failed"), "{outcome}");
        assert_same(mail, &[]);
        server.stop();
    }
}

/// Of all that is offered mpop takes what it likes best; without TLS it takes nothing by itself that shows the password.
#[test]
fn it_chooses_for_itself() {
    let offered: Vec<&str> = WAYS.iter().map(|(offered, _)| *offered).collect();
    let server = Server::offering(&offered, &corpus());
    with_security(&Security::ALL, |security| {
        let (outcome, mail) = fetch(&server, security, "on", PASSWORD);
        outcome.succeeded();
        assert_eq!(mail.len(), corpus().len());
    });
    server.stop();
}
