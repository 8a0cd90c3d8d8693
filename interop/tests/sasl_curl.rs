//! curl: PLAIN, LOGIN, CRAM-MD5 and APOP, each where nothing else is offered, with an initial response and without. What it does
//! with mail is in `curl.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{Outcome, PASSWORD, Program, Security, Server, USER, corpus, with_security};

/// `curl: (67) the user name, password, or similar was not accepted`.
const LOGIN_DENIED: i32 = 67;

/// What the server offers, and what curl calls it.
const WAYS: [(&str, &str); 4] =
    [("PLAIN", "AUTH=PLAIN"), ("LOGIN", "AUTH=LOGIN"), ("CRAM-MD5", "AUTH=CRAM-MD5"), ("APOP", "AUTH=+APOP")];

fn list(server: &Server, security: Security, options: &[&str], password: &str) -> Outcome {
    let scheme = if security == Security::Tls { "pop3s" } else { "pop3" };
    let authority = server.authority();
    let folder = authority.parent().expect("it is in a folder");
    let program = Program::new("curl", "curl", folder)
        .args(["--disable", "--silent", "--show-error", "--cacert"])
        .arg(&authority)
        .args(["--user", &format!("{USER}:{password}")])
        .args(options);
    let program = if security == Security::Stls { program.arg("--ssl-reqd") } else { program };
    program.arg(format!("{scheme}://localhost:{}/", server.port(security))).run()
}

#[test]
fn logs_in_by_each_way_alone() {
    for (offered, name) in WAYS {
        let server = Server::offering(&[offered], &corpus());
        with_security(&Security::ALL, |security| {
            for initial in [&[][..], &["--sasl-ir"]] {
                eprintln!("by {offered} {initial:?}");
                let options = [&["--login-options", name], initial].concat();
                let outcome = list(&server, security, &options, PASSWORD).succeeded();
                assert_eq!(outcome.text().lines().count(), corpus().len());
            }
            // By itself it takes what it knows.
            list(&server, security, &[], PASSWORD).succeeded();
        });
        server.stop();
    }
}

#[test]
fn a_wrong_password_is_told() {
    for (offered, name) in WAYS {
        let server = Server::offering(&[offered], &corpus());
        eprintln!("by {offered}");
        list(&server, Security::Tls, &["--login-options", name], "wrong").failed_with(LOGIN_DENIED);
        server.stop();
    }
}
