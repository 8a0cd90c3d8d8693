//! SCRAM over real connections: channel bindings of TLS 1.3 and 1.2 (RFC 9266, RFC 5929), what is offered where, and
//! what a client is told that is not who it says. The messages themselves are tested in `restante-sasl`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_auth::{
    Directory, StoredPassword, Verifier,
    directory::{Lookup, LookupError, Task},
};
use restante_proto::UserName;
use restante_sasl::{ChannelBindings, ClientContext, ClientError, Credentials, Needs, find};
use restante_server::{Cleartext, Port, Server};
use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use world::{Client, PASSWORD, Plan, Running, client_config, connect};

const USER: &str = "john.doe@anydomain.com";
const WRONG: &str = "-ERR [AUTH] wrong user name or password";
const MALFORMED: &str = "-ERR [AUTH] the response is malformed";
const WELCOME: &str = "+OK maildrop locked and ready";

/// A server that offers all that its users can log in by.
fn start() -> Running {
    let mut plan = Plan::default();
    plan.settings.mechanisms = None;
    plan.start()
}

async fn tls(running: &Running, version: &'static SupportedProtocolVersion) -> Client<TlsStream<TcpStream>> {
    let tcp = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    let config = client_config(&running.certificate, &[b"pop3"], &[version]);
    let mut client = tcp.secure(config).await.unwrap();
    assert_eq!(client.line().await, "+OK X1 POP3 Server");
    client
}

/// RFC 9266 §2: the label, no context, 32 octets.
fn exporter(client: &Client<TlsStream<TcpStream>>) -> Vec<u8> {
    let connection = client.stream.get_ref().1;
    connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap()
}

/// RFC 5929 §4.1: the certificate, which is signed with SHA-256.
fn end_point(running: &Running) -> Vec<u8> {
    Sha256::digest(&running.certificate).to_vec()
}

fn context(bindings: ChannelBindings) -> ClientContext {
    let plus_offered = !bindings.is_empty();
    ClientContext { nonce: "0123456789abcdefghijklmn".into(), bindings, plus_offered, ..Default::default() }
}

/// Logs in: what the server says in the end, and whether it has proven itself.
async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    mechanism: &str,
    (user, password): (&str, &str),
    context: &ClientContext,
) -> (String, Result<(), ClientError>) {
    let credentials = Credentials::new(user, password.as_bytes().to_vec());
    let mut half = (find(mechanism).unwrap().client)(credentials, context);
    let initial = BASE64.encode(half.initial().expect("it begins").expose());
    let mut line = client.say(&format!("AUTH {mechanism} {initial}")).await;
    while let Some(challenge) = line.strip_prefix("+ ") {
        let response = half.respond(&BASE64.decode(challenge).unwrap()).unwrap();
        line = client.say(&BASE64.encode(response.expose())).await;
    }
    (line, half.accepted())
}

fn all_is_well() -> (String, Result<(), ClientError>) {
    (WELCOME.into(), Ok(()))
}

fn refused(line: &str) -> (String, Result<(), ClientError>) {
    (line.into(), Err(ClientError::Impostor))
}

#[tokio::test]
async fn the_exporter_of_tls_1_3_binds() {
    let running = start();
    for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
        let mut client = tls(&running, &TLS13).await;
        let bindings = ChannelBindings { exporter: Some(exporter(&client)), end_point: None };
        let outcome = log_in(&mut client, mechanism, (USER, PASSWORD), &context(bindings)).await;
        assert_eq!(outcome, all_is_well());
        assert_eq!(client.say("STAT").await, "+OK 2 48");
        assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    }
}

#[tokio::test]
async fn the_certificate_binds_in_both_versions_and_behind_stls() {
    let running = start();
    let bindings = ChannelBindings { exporter: None, end_point: Some(end_point(&running)) };
    for version in [&TLS12, &TLS13] {
        let mut client = tls(&running, version).await;
        let outcome =
            log_in(&mut client, "SCRAM-SHA-256-PLUS", (USER, PASSWORD), &context(bindings.clone())).await;
        assert_eq!(outcome, all_is_well());
        client.say("QUIT").await;

        let mut client = connect(running.pop3).await;
        client.say("STLS").await;
        let config = client_config(&running.certificate, &[b"pop3"], &[version]);
        let mut client = client.secure(config).await.unwrap();
        let outcome =
            log_in(&mut client, "SCRAM-SHA-1-PLUS", (USER, PASSWORD), &context(bindings.clone())).await;
        assert_eq!(outcome, all_is_well());
        client.say("QUIT").await;
    }
}

/// RFC 9266 §4.2: it would need the extended master secret there.
#[tokio::test]
async fn the_exporter_is_no_binding_on_tls_1_2() {
    let running = start();
    let mut client = tls(&running, &TLS12).await;
    let bindings = ChannelBindings { exporter: Some(exporter(&client)), end_point: None };
    let outcome = log_in(&mut client, "SCRAM-SHA-256-PLUS", (USER, PASSWORD), &context(bindings)).await;
    assert_eq!(outcome, refused(MALFORMED));
}

/// Somebody in between has a connection to each side, and the two are not the same.
#[tokio::test]
async fn the_binding_of_another_connection_is_refused_as_a_wrong_password_is() {
    let running = start();
    let (mut client, other) = (tls(&running, &TLS13).await, tls(&running, &TLS13).await);
    assert_ne!(exporter(&client), exporter(&other), "each connection has its own");
    let bindings = ChannelBindings { exporter: Some(exporter(&other)), end_point: None };
    let outcome = log_in(&mut client, "SCRAM-SHA-256-PLUS", (USER, PASSWORD), &context(bindings)).await;
    assert_eq!(outcome, refused(WRONG));
    let bindings = ChannelBindings { exporter: Some(exporter(&client)), end_point: None };
    let outcome =
        log_in(&mut client, "SCRAM-SHA-256-PLUS", (USER, "wrong"), &context(bindings.clone())).await;
    assert_eq!(outcome, refused(WRONG));
    let outcome = log_in(&mut client, "SCRAM-SHA-256-PLUS", (USER, PASSWORD), &context(bindings)).await;
    assert_eq!(outcome, all_is_well(), "the connection was as good as any");
}

/// RFC 5802 §6: the client has a binding and was shown a list without -PLUS.
#[tokio::test]
async fn a_client_that_was_shown_no_plus_is_refused_where_it_was_offered() {
    let running = start();
    let mut client = tls(&running, &TLS13).await;
    let bindings = ChannelBindings { exporter: Some(exporter(&client)), end_point: None };
    let deceived = ClientContext { plus_offered: false, ..context(bindings) };
    let outcome = log_in(&mut client, "SCRAM-SHA-256", (USER, PASSWORD), &deceived).await;
    assert_eq!(outcome, refused(MALFORMED));
    let without = context(ChannelBindings::default());
    let outcome = log_in(&mut client, "SCRAM-SHA-256", (USER, PASSWORD), &without).await;
    assert_eq!(outcome, all_is_well(), "who has no binding is let in without");

    // Where no -PLUS is offered, the client is right.
    let mut plan = Plan::default();
    plan.settings.mechanisms = Some(vec!["SCRAM-SHA-256".into()]);
    let running = plan.start();
    let mut client = tls(&running, &TLS13).await;
    let outcome = log_in(&mut client, "SCRAM-SHA-256", (USER, PASSWORD), &deceived).await;
    assert_eq!(outcome, all_is_well());
}

async fn sasl<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Client<S>) -> String {
    client.say("CAPA").await;
    client.block().await.into_iter().find(|line| line.starts_with("SASL")).unwrap_or_default()
}

#[tokio::test]
async fn plus_is_offered_under_tls_alone() {
    let running = start();
    let mut client = connect(running.pop3).await;
    assert_eq!(sasl(&mut client).await, "SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN");
    let outcome = client.say("AUTH SCRAM-SHA-256-PLUS cD10bHMtZXhwb3J0ZXIsLG49YSxyPWI=").await;
    assert!(outcome.starts_with("-ERR"), "{outcome}");
    for version in [&TLS12, &TLS13] {
        let mut client = tls(&running, version).await;
        let offered = "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN";
        assert_eq!(sasl(&mut client).await, offered);
    }
}

/// What shows no password may be used where none may be shown.
#[tokio::test]
async fn scram_works_in_clear_where_passwords_do_not() {
    let mut plan = Plan::default();
    plan.settings.mechanisms = None;
    plan.settings.cleartext = Cleartext::Never;
    let running = plan.start();
    let mut client = connect(running.pop3).await;
    assert_eq!(sasl(&mut client).await, "SASL SCRAM-SHA-256 SCRAM-SHA-1");
    let context = context(ChannelBindings::default());
    let outcome = log_in(&mut client, "SCRAM-SHA-1", (USER, PASSWORD), &context).await;
    assert_eq!(outcome, all_is_well());
}

/// An unknown user has a salt as others have, the same each time, and is refused in the same words.
#[tokio::test]
async fn somebody_who_is_not_there_looks_like_somebody_who_is() {
    let running = start();
    let mut challenges = Vec::new();
    for user in [USER, "nobody", "Nobody", "somebody", USER] {
        let mut client = connect(running.pop3).await;
        let first = BASE64.encode(format!("n,,n={user},r=abc"));
        let line = client.say(&format!("AUTH SCRAM-SHA-256 {first}")).await;
        let challenge = BASE64.decode(line.strip_prefix("+ ").unwrap()).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        let (nonce, rest) = challenge.split_once(',').unwrap();
        assert!(nonce.starts_with("r=abc") && nonce.len() >= "r=abc".len() + 18);
        challenges.push((nonce.to_owned(), rest.to_owned()));
        assert!(client.say("*").await.starts_with("-ERR"));
    }
    let salts: Vec<_> = challenges.iter().map(|(_, salt)| salt.as_str()).collect();
    assert_eq!(salts[1], salts[2], "the same for the same name");
    assert_eq!(salts[0], salts[4]);
    assert!(salts[0] != salts[1] && salts[1] != salts[3]);
    assert!(salts.iter().all(|salt| salt.len() == salts[0].len() && salt.ends_with(",i=4096")));
    assert!(
        challenges
            .iter()
            .all(|(nonce, _)| challenges.iter().filter(|(other, _)| other == nonce).count() == 1)
    );
    let mut client = connect(running.pop3).await;
    let context = context(ChannelBindings::default());
    let outcome = log_in(&mut client, "SCRAM-SHA-256", ("nobody", PASSWORD), &context).await;
    assert_eq!(outcome, refused(WRONG));
}

/// CRAM-MD5 is there where it is named, and only there.
#[tokio::test]
async fn cram_md5_works_where_it_is_named() {
    let mut plan = Plan::default();
    plan.settings.mechanisms = Some(vec!["cram-md5".into()]);
    let running = plan.start();
    for (password, last) in [("wrong", WRONG), (PASSWORD, WELCOME)] {
        let mut client = connect(running.pop3).await;
        assert_eq!(sasl(&mut client).await, "SASL CRAM-MD5");
        let line = client.say("AUTH CRAM-MD5").await;
        let challenge = BASE64.decode(line.strip_prefix("+ ").unwrap()).unwrap();
        assert!(challenge.ends_with(b"@X1>"));
        let credentials = Credentials::new(USER, password.as_bytes().to_vec());
        let mut half = (find("CRAM-MD5").unwrap().client)(credentials, &ClientContext::default());
        let response = half.respond(&challenge).unwrap();
        assert_eq!(client.say(&BASE64.encode(response.expose())).await, last);
    }
}

/// Users who have tokens alone.
#[derive(Debug)]
struct Tokens;

impl Directory for Tokens {
    fn lookup<'a>(&'a self, _: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        Box::pin(async { Ok(Lookup::Unknown) })
    }

    fn can(&self, needs: Needs) -> bool {
        needs == Needs::Token
    }

    fn stand_in(&self, _: &str) -> Option<StoredPassword> {
        None
    }
}

#[tokio::test]
async fn where_there_are_tokens_alone_no_password_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = Plan { tls: false, ..Plan::default() };
    plan.settings.pop3s.clear();
    plan.settings.mechanisms = None;
    plan.settings.cleartext = Cleartext::Always;
    let mut config = plan.config(folder.path());
    config.verifier = Arc::new(Verifier::new(Arc::new(Tokens), &restante_auth::Settings::default()));
    let server = Server::bind(config).unwrap();
    let pop3 = server.addresses().iter().find(|(_, port)| *port == Port::Pop3).unwrap().0;
    tokio::spawn(server.run());
    let mut client = connect(pop3).await;
    assert!(client.say("CAPA").await.starts_with("+OK"));
    let capabilities = client.block().await;
    assert!(capabilities.contains(&"SASL OAUTHBEARER XOAUTH2".to_owned()), "{capabilities:?}");
    assert!(!capabilities.contains(&"USER".to_owned()), "{capabilities:?}");
    assert!(client.say("USER ann").await.starts_with("-ERR"));
}
