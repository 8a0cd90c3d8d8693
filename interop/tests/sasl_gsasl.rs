//! GNU SASL, with OpenSSL for TLS: an independent SCRAM with channel binding. The script beside this test puts the two together by
//! Python's ctypes, for none of the mail clients here has -PLUS.
//!
//! What it shows: that the exporter of TLS 1.3 (RFC 9266) is the same on both sides, and that a binding of another connection is
//! refused. GNU SASL never says `y`: with a binding at hand it takes no mechanism without (seen in 2.2.0).
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{Outcome, PASSWORD, Program, Security, Server, USER, corpus};

/// Debian's, which has the packages' modules.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = include_str!("sasl_gsasl/client.py");

const ALL: [&str; 4] = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1"];

fn start() -> Server {
    Server::offering(&ALL, &corpus())
}

fn client(server: &Server, version: &str, mechanism: &str, password: &str, binding: &str) -> Outcome {
    let folder = server.client_folder(&format!("{version}-{mechanism}-{}-{binding}", password.len()));
    let file = folder.join("client.py");
    server.client_file(&file, SCRIPT);
    let security = if version == "none" { Security::Plain } else { Security::Tls };
    Program::new(PYTHON, "python3 python3-openssl libgsasl18", &folder)
        .arg(file)
        .arg(server.port(security).to_string())
        .arg(server.authority())
        .args([version, mechanism, USER, password, binding])
        .run()
}

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.text().lines().map(str::to_owned).collect()
}

#[track_caller]
fn is_let_in(outcome: Outcome) {
    let outcome = outcome.succeeded();
    let said = lines(&outcome);
    let [_, answer, proven, stat, quit] = said.as_slice() else { panic!("{outcome}") };
    assert!(answer.starts_with("+OK") && stat.starts_with("+OK") && quit.starts_with("+OK"), "{outcome}");
    assert_eq!(proven, "the server is proven", "{outcome}");
}

#[track_caller]
fn is_refused(outcome: Outcome) {
    let outcome = outcome.succeeded();
    let said = lines(&outcome);
    let [_, answer, proven] = said.as_slice() else { panic!("{outcome}") };
    assert!(answer.starts_with("-ERR [AUTH]"), "{outcome}");
    assert_eq!(proven, "the server is not proven", "{outcome}");
}

#[test]
fn the_exporter_of_tls_1_3_binds() {
    let server = start();
    for mechanism in &ALL[..2] {
        let outcome = client(&server, "1.3", mechanism, PASSWORD, "own");
        assert!(lines(&outcome)[0].contains(mechanism), "{outcome}");
        is_let_in(outcome);
    }
    server.stop();
}

#[test]
fn the_binding_of_another_connection_is_refused() {
    for mechanism in &ALL[..2] {
        let server = start();
        is_refused(client(&server, "1.3", mechanism, PASSWORD, "other"));
        server.stop();
    }
}

#[test]
fn the_exporter_of_tls_1_2_is_refused() {
    let server = start();
    is_refused(client(&server, "1.2", ALL[0], PASSWORD, "own"));
    server.stop();
}

#[test]
fn a_wrong_password_is_refused() {
    let server = start();
    is_refused(client(&server, "1.3", ALL[0], "wrong", "own"));
    server.stop();
}

#[test]
fn scram_without_a_binding_works_with_tls_and_without() {
    let server = start();
    for mechanism in &ALL[2..] {
        for version in ["none", "1.2", "1.3"] {
            is_let_in(client(&server, version, mechanism, PASSWORD, "none"));
        }
    }
    server.stop();
}
