//! The attacks on STLS of «Why TLS Is Better Without STARTTLS» (Poddebniak, Ising, Böck, Schinzel, 2021), by their names
//! there, against the server: nothing of what was said in clear counts within TLS. The table in `docs/security.md` maps
//! each attack to its test, here and in the client's crate.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_server::Cleartext;
use rustls::{ClientConfig, version::TLS13};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use world::{Client, PASSWORD, Plan, Running, client_config, connect};

const USER: &str = "USER john.doe@anydomain.com";
const BEGIN: &str = "+OK begin TLS negotiation";
/// What the server says to PASS where nobody was named.
const NOBODY: &str = "-ERR send USER before PASS";

fn config(running: &Running) -> Arc<ClientConfig> {
    client_config(&running.certificate, &[], &[&TLS13])
}

/// Says these octets in clear, in these pieces, hears as many lines, and goes on within TLS.
async fn secured(running: &Running, pieces: &[&[u8]], lines: usize) -> Client<TlsStream<TcpStream>> {
    let mut client = connect(running.pop3).await;
    for piece in pieces {
        client.send(piece).await;
    }
    for line in 1..=lines {
        let said = client.line().await;
        assert_eq!(said == BEGIN, line == lines, "{said}");
    }
    client.secure(config(running)).await.expect("a handshake")
}

/// Within TLS nothing waits to be said, nobody is named, and a login works.
async fn is_a_new_session(mut client: Client<TlsStream<TcpStream>>) {
    assert_eq!(client.say(&format!("PASS {PASSWORD}")).await, NOBODY);
    client.log_in().await;
    assert_eq!(client.say("STAT").await, "+OK 2 48");
    assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    assert_eq!(client.rest().await, b"", "and no answer more than there were questions");
}

#[tokio::test]
async fn command_injection() {
    // Commands of the attacker behind STLS, in the same segment: run within TLS, they would be answered before the victim's.
    let running = Plan::default().start();
    for injected in [
        "CAPA\r\n".to_owned(),
        format!("{USER}\r\n"),
        format!("{USER}\r\nPASS {PASSWORD}\r\nDELE 1\r\nQUIT\r\n"),
        format!("AUTH PLAIN {}\r\n", BASE64.encode(format!("\0john.doe@anydomain.com\0{PASSWORD}"))),
        "QUIT\r\n".to_owned(),
        "\r\n".to_owned(),
        "NOOP\r\n".repeat(200),
    ] {
        let said = format!("STLS\r\n{injected}");
        is_a_new_session(secured(&running, &[said.as_bytes()], 1).await).await;
    }
}

#[tokio::test]
async fn command_injection_however_it_is_cut() {
    // The server may not read it all at once: wherever the segment ends, what stands in clear is no command within TLS. Cut
    // behind STLS, the rest is what a handshake begins with, and fails it.
    let running = Plan::default().start();
    let said = format!("STLS\r\n{USER}\r\n");
    for cut in 1..said.len() {
        let mut client = connect(running.pop3).await;
        let (first, rest) = said.as_bytes().split_at(cut);
        client.send(first).await;
        if cut >= "STLS\r\n".len() {
            assert_eq!(client.line().await, BEGIN, "{cut}");
            // The answer went out, so that STLS is done: this is read as TLS.
            client.send(rest).await;
            assert!(client.secure(config(&running)).await.is_err(), "{cut}");
            continue;
        }
        client.send(rest).await;
        assert_eq!(client.line().await, BEGIN, "{cut}");
        // Depending on how it came, the rest was dropped or broke the handshake; a session that remembers it there is none.
        if let Ok(mut client) = client.secure(config(&running)).await {
            assert_eq!(client.say(&format!("PASS {PASSWORD}")).await, NOBODY, "{cut}");
        }
    }
    // And the sessions of others go on.
    is_a_new_session(secured(&running, &[b"STLS\r\n"], 1).await).await;
}

#[tokio::test]
async fn command_injection_of_half_a_line() {
    // The attacker's half would be completed by the victim's first line within TLS: `USER eve` + `CAPA`.
    let running = Plan::default().start();
    for half in ["USER eve", "PASS ", "\r", "DELE 1 "] {
        let said = format!("STLS\r\n{half}");
        let mut client = secured(&running, &[said.as_bytes()], 1).await;
        assert_eq!(client.say("CAPA").await, "+OK capability list follows", "{half:?}");
        client.block().await;
        is_a_new_session(client).await;
    }
}

#[tokio::test]
async fn session_fixation_by_user() {
    // USER in clear, by the attacker; PASS within TLS, by the victim, would log in to the attacker's maildrop.
    let running = Plan::default().start();
    is_a_new_session(secured(&running, &[format!("{USER}\r\nSTLS\r\n").as_bytes()], 2).await).await;
    is_a_new_session(secured(&running, &[format!("{USER}\r\n").as_bytes(), b"STLS\r\n"], 2).await).await;
}

#[tokio::test]
async fn session_fixation_by_login() {
    // Logged in in clear, the attacker can hand no session over: STLS is refused in TRANSACTION (RFC 2595 §4).
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    client.log_in().await;
    assert!(client.say("STLS").await.starts_with("-ERR"));
    assert_eq!(client.say("STAT").await, "+OK 2 48", "and it is the same session, in clear");
}

#[tokio::test]
async fn session_fixation_by_an_exchange() {
    // An exchange of AUTH that was begun in clear is neither left open nor completed by STLS.
    let running = Plan::default().start();
    for mechanism in ["PLAIN", "LOGIN"] {
        let mut client = connect(running.pop3).await;
        assert!(client.say(&format!("AUTH {mechanism}")).await.starts_with('+'));
        // It is a response that is no base64, and no command.
        assert!(client.say("STLS").await.starts_with("-ERR"), "{mechanism}");
        assert_eq!(client.say("STLS").await, BEGIN);
        let mut client = client.secure(config(&running)).await.unwrap();
        let response = BASE64.encode(format!("\0john.doe@anydomain.com\0{PASSWORD}"));
        assert!(client.say(&response).await.starts_with("-ERR"), "{mechanism}");
        is_a_new_session(client).await;
    }
}

#[tokio::test]
async fn stripping_leaves_nothing_to_steal() {
    // A client that is made to believe that there is no STLS is asked for no password where clear text is forbidden.
    let mut plan = Plan::default();
    plan.settings.cleartext = Cleartext::Never;
    let running = plan.start();
    let mut client = connect(running.pop3).await;
    client.say("CAPA").await;
    let list = client.block().await;
    assert!(list.contains(&"STLS".to_owned()));
    assert!(!list.iter().any(|line| line == "USER" || line.starts_with("SASL")), "{list:?}");
    for command in [USER, "AUTH PLAIN", "AUTH LOGIN", "AUTH PLAIN AGEAYg=="] {
        assert_eq!(client.say(command).await, "-ERR no password without TLS: use STLS or the TLS port");
    }
    // What TLS brings is said within it.
    assert_eq!(client.say("STLS").await, BEGIN);
    let mut client = client.secure(config(&running)).await.unwrap();
    client.say("CAPA").await;
    let list = client.block().await;
    assert!(list.contains(&"USER".to_owned()) && list.iter().any(|line| line.starts_with("SASL")));
    is_a_new_session(client).await;
}

#[tokio::test]
async fn stls_twice() {
    // Behind a handshake there is no second one, so that none can be replaced.
    let running = Plan::default().start();
    let mut client = secured(&running, &[b"STLS\r\n"], 1).await;
    assert_eq!(client.say("STLS").await, "-ERR TLS is on already");
    is_a_new_session(client).await;
    // Two of them in one segment are one, and an injected command.
    is_a_new_session(secured(&running, &[b"STLS\r\nSTLS\r\n"], 1).await).await;
}

#[tokio::test]
async fn a_handshake_that_fails_is_no_way_back_to_clear_text() {
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    assert_eq!(client.say("STLS").await, BEGIN);
    client.send(format!("CAPA\r\n{USER}\r\nPASS {PASSWORD}\r\n")).await;
    let rest = client.rest().await;
    assert!(!rest.windows(3).any(|octets| octets == b"+OK"), "{rest:?}");
}
