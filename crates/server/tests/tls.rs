//! TLS: STLS and TLS from the first octet, ALPN, versions, injected commands, and strangers on the wrong port
//! (RFC 2595, RFC 7301, RFC 8314).
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use restante_server::Cleartext;
use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use world::{Client, Plan, Running, client_config, connect};

async fn stls(running: &Running) -> Client<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut client = connect(running.pop3).await;
    assert_eq!(client.say("STLS").await, "+OK begin TLS negotiation");
    client.secure(client_config(&running.certificate, &[b"pop3"], &[&TLS13])).await.unwrap()
}

#[tokio::test]
async fn both_ways_and_both_versions_serve_mail() {
    let running = Plan::default().start();
    for version in [&TLS12, &TLS13] {
        let config = client_config(&running.certificate, &[b"pop3"], &[version]);
        let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
        let mut client = tcp.secure(config.clone()).await.unwrap();
        assert_eq!(client.stream.get_ref().1.alpn_protocol(), Some(b"pop3".as_slice()));
        assert_eq!(client.line().await, "+OK X1 POP3 Server");
        client.log_in().await;
        assert_eq!(client.say("STAT").await, "+OK 2 48");
        assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
        assert_eq!(client.rest().await, b"", "the end is a proper one (close_notify)");

        let mut client = connect(running.pop3).await;
        assert_eq!(client.say("STLS").await, "+OK begin TLS negotiation");
        let mut client = client.secure(config).await.unwrap();
        client.log_in().await;
        assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    }
}

#[tokio::test]
async fn other_protocols_of_alpn_are_refused() {
    let running = Plan::default().start();
    let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let refused = tcp.secure(client_config(&running.certificate, &[b"imap", b"h2"], &[&TLS13])).await;
    let error = refused.err().expect("a refusal").to_string();
    assert!(error.to_lowercase().contains("noapplicationprotocol"), "{error}");
    let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let mut without = tcp.secure(client_config(&running.certificate, &[], &[&TLS13])).await.unwrap();
    assert_eq!(without.line().await, "+OK X1 POP3 Server");
}

#[tokio::test]
async fn what_stands_behind_stls_in_the_same_segment_is_never_run() {
    // The NO STARTTLS class of attacks: commands injected before TLS, run behind it.
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    client.send("USER john.doe@anydomain.com\r\nSTLS\r\nCAPA\r\nUSER eve\r\nNO").await;
    assert_eq!(client.line().await, "+OK send your password");
    assert_eq!(client.line().await, "+OK begin TLS negotiation");
    let mut client = client.secure(client_config(&running.certificate, &[], &[&TLS13])).await.unwrap();
    // Nothing was run, nothing is held over, and the user name is forgotten.
    assert_eq!(client.say("PASS abcxyz").await, "-ERR send USER before PASS");
    client.log_in().await;
}

#[tokio::test]
async fn stls_is_offered_once_and_only_where_it_works() {
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    client.say("CAPA").await;
    assert!(client.block().await.contains(&"STLS".to_owned()));
    let mut client = stls(&running).await;
    client.say("CAPA").await;
    assert!(!client.block().await.contains(&"STLS".to_owned()));
    assert_eq!(client.say("STLS").await, "-ERR TLS is on already");

    let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let mut client = tcp.secure(client_config(&running.certificate, &[], &[&TLS13])).await.unwrap();
    client.line().await;
    assert_eq!(client.say("STLS").await, "-ERR TLS is on already");
}

#[tokio::test]
async fn after_a_failed_handshake_the_connection_ends_and_others_go_on() {
    // Field defect: one session's STLS state on a shared object.
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    assert_eq!(client.say("STLS").await, "+OK begin TLS negotiation");
    client.send("this is no ClientHello\r\nQUIT\r\n").await;
    let rest = client.rest().await;
    assert!(!rest.windows(3).any(|octets| octets == b"+OK"), "{rest:?}");
    stls(&running).await.log_in().await;
}

#[tokio::test]
async fn without_tls_no_password_is_asked_for_where_clear_text_is_forbidden() {
    let mut plan = Plan::default();
    plan.settings.cleartext = Cleartext::Never;
    let running = plan.start();
    let mut client = connect(running.pop3).await;
    client.say("CAPA").await;
    let list = client.block().await;
    assert!(!list.iter().any(|line| line == "USER" || line.starts_with("SASL")), "{list:?}");
    let refusal = "-ERR no password without TLS: use STLS or the TLS port";
    assert_eq!(client.say("USER john.doe@anydomain.com").await, refusal);
    assert_eq!(client.say("AUTH PLAIN AGEAYg==").await, refusal);
    let mut client = stls(&running).await;
    client.say("CAPA").await;
    let list = client.block().await;
    assert!(list.contains(&"USER".to_owned()) && list.contains(&"SASL PLAIN LOGIN".to_owned()), "{list:?}");
    client.log_in().await;
}

#[tokio::test]
async fn strangers_on_the_wrong_port_are_ended_and_named_in_the_log() {
    let log = world::log();
    let running = Plan::default().start();
    // A TLS hello on the clear port.
    let mut client = Client::new(TcpStream::connect(running.pop3).await.unwrap());
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert_eq!(client.rest().await, b"+OK X1 POP3 Server\r\n");
    log.shows("why=\"TLS on the clear-text port").await;
    // HTTP on the clear port.
    let mut client = connect(running.pop3).await;
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.rest().await, b"-ERR this is a POP3 server\r\n");
    log.shows("why=\"HTTP on the clear-text port").await;
    // Clear text, and HTTP, on the TLS port.
    for (text, why) in [
        ("USER a\r\n", "why=\"clear text on the TLS port"),
        ("GET / HTTP/1.1\r\n\r\n", "why=\"HTTP on the TLS port"),
    ] {
        let mut client = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
        client.send(text).await;
        assert_eq!(client.rest().await, b"", "{text}");
        log.shows(why).await;
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_without_dropping_sessions() {
    let plan = Plan::default();
    let (settings, store) = (plan.settings.clone(), plan.store.clone());
    let running = plan.start();
    let mut old = stls(&running).await;
    old.log_in().await;
    let fresh = world::write_certificate(running.folder.path());
    let plan = Plan { settings, store, ..Plan::default() };
    running.handle.reload(plan.config(running.folder.path())).await.unwrap();
    let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    assert!(
        tcp.secure(client_config(&running.certificate, &[], &[&TLS13])).await.is_err(),
        "the old one is gone"
    );
    let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let mut new = tcp.secure(client_config(&fresh, &[], &[&TLS13])).await.unwrap();
    assert_eq!(new.line().await, "+OK X1 POP3 Server");
    assert_eq!(old.say("STAT").await, "+OK 2 48", "the session that was on goes on");
}

#[tokio::test]
async fn a_session_cut_off_in_tls_deletes_nothing() {
    let running = Plan::default().start();
    let mut client = stls(&running).await;
    client.log_in().await;
    assert_eq!(client.say("DELE 1").await, "+OK msg deleted");
    // TCP ends without TLS saying so: what an attacker can do.
    let (tcp, _) = client.stream.get_mut();
    tcp.shutdown().await.unwrap();
    let _alert = tcp.read(&mut [0; 64]).await;
    let mut next = stls(&running).await;
    next.log_in().await;
    assert_eq!(next.say("STAT").await, "+OK 2 48");
}

#[tokio::test]
async fn the_end_is_told_to_tls_also_where_pop3_hears_no_word() {
    let mut plan = Plan::default();
    plan.settings.limits.idle = std::time::Duration::from_millis(300);
    let running = plan.start();
    let mut client = stls(&running).await;
    client.log_in().await;
    let mut rest = Vec::new();
    let read = client.stream.read_to_end(&mut rest).await;
    assert_eq!((read.unwrap(), rest.as_slice()), (0, b"".as_slice()), "no truncation: close_notify came");
}

#[tokio::test]
async fn a_client_that_comes_again_resumes_and_sends_no_early_data() {
    let running = Plan::default().start();
    for version in [&TLS12, &TLS13] {
        let mut config = client_config(&running.certificate, &[b"pop3"], &[version]);
        std::sync::Arc::get_mut(&mut config).unwrap().enable_early_data = true;
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
            let mut client = tcp.secure(config.clone()).await.unwrap();
            // The ticket comes behind the handshake; with the greeting it has been read.
            assert_eq!(client.line().await, "+OK X1 POP3 Server");
            let tls = client.stream.get_mut().1;
            assert!(tls.early_data().is_none(), "nobody can say a command again for another (RFC 8446 §8)");
            assert_eq!(tls.alpn_protocol(), Some(b"pop3".as_slice()));
            kinds.push(tls.handshake_kind().unwrap());
            assert!(client.say("STAT").await.starts_with("-ERR"), "a login is asked for all the same");
        }
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
    }
}

#[tokio::test]
async fn a_ticket_of_another_server_is_no_good() {
    let (one, other) = (Plan::default().start(), Plan::default().start());
    let mut roots = rustls::RootCertStore::empty();
    for running in [&one, &other] {
        roots.add(running.certificate.clone()).unwrap();
    }
    let config = std::sync::Arc::new(
        rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    for running in [&one, &other] {
        let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
        let mut client = tcp.secure(config.clone()).await.unwrap();
        assert_eq!(client.line().await, "+OK X1 POP3 Server");
        assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}
