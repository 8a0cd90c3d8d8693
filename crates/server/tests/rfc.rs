//! What the RFCs ask of a server, where only a whole server can show it. `docs/rfc/` says which statement each test
//! proves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use world::{Client, Plan, connect};

#[tokio::test]
async fn no_greeting_has_a_time_stamp_that_another_had() {
    // RFC 1939 §7, APOP.
    let mut plan = Plan::default();
    plan.settings.apop = true;
    let running = plan.start();
    let mut stamps = BTreeSet::new();
    for _ in 0..50 {
        let mut client = Client::new(TcpStream::connect(running.pop3).await.unwrap());
        let greeting = client.line().await;
        let stamp = greeting.rsplit_once(' ').unwrap().1.to_owned();
        // As a msg-id of RFC 822: something on both sides of one @.
        let (left, right) = stamp.trim_matches(['<', '>']).split_once('@').unwrap();
        assert!(!left.is_empty() && right == "X1" && !left.contains('@'), "{stamp}");
        assert!(stamps.insert(stamp));
    }
}

#[tokio::test]
async fn tls_older_than_1_2_is_refused() {
    // RFC 8314 §4.1 with RFC 8997.
    let running = Plan::default().start();
    for minor in [0x00, 0x01, 0x02] {
        // SSL 3.0, TLS 1.0 and TLS 1.1: a hello as clients of those days sent it.
        let mut body = vec![0x03, minor];
        body.extend_from_slice(&[7; 32]); // random
        body.push(0); // no session
        body.extend_from_slice(&[0, 4, 0xc0, 0x13, 0x00, 0x2f]); // ECDHE-RSA and RSA with AES-128
        body.extend_from_slice(&[1, 0]); // no compression
        let octets = u8::try_from(body.len()).unwrap();
        let mut hello = vec![0x16, 0x03, minor, 0, octets + 4, 0x01, 0, 0, octets];
        hello.extend_from_slice(&body);
        let mut client = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
        client.send(&hello).await;
        let rest = client.rest().await;
        // One fatal alert, and the end.
        assert!(rest.len() == 7 && rest[0] == 0x15 && rest[5] == 2, "{minor}: {rest:?}");
    }
}

/// Notices whether the server asks for a certificate; has none.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::SeqCst);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn no_certificate_is_asked_of_a_client() {
    // RFC 8314 §4.2: only servers that can log in by one may ask.
    let running = Plan::default().start();
    for version in [&TLS12, &TLS13] {
        let asked = Arc::new(Asked::default());
        let mut config = (*world::client_config(&running.certificate, &[], &[version])).clone();
        config.client_auth_cert_resolver = Arc::clone(&asked) as _;
        let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
        let mut client = tcp.secure(Arc::new(config)).await.unwrap();
        assert_eq!(client.line().await, "+OK X1 POP3 Server");
        assert!(!asked.0.load(Ordering::SeqCst), "{version:?}");
        // RFC 8314 §3.1: TLS alone logs nobody in.
        assert_eq!(client.say("STAT").await, "-ERR not allowed in the AUTHORIZATION state");
    }
}

#[tokio::test]
async fn the_largest_response_of_plain_is_taken() {
    // RFC 5034 §4, RFC 2595 §6: names and passwords of 255 octets each, in an initial response and in one that is asked for.
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    // Three times 255 `a` with NULs between them, in base64: `aaa` is `YWFh`.
    let response =
        [&"YWFh".repeat(85), "AGFh", &"YWFh".repeat(84), "YQBh", &"YWFh".repeat(84), "YWE="].concat();
    let words = "-ERR [AUTH] wrong user name or password";
    assert_eq!(client.say(&format!("AUTH PLAIN {response}")).await, words);
    assert_eq!(client.say("AUTH PLAIN").await, "+ ");
    assert_eq!(client.say(&response).await, words);
}
