//! What the RFCs ask of a server, where only a whole server can show it. `docs/rfc/` says which statement each test
//! proves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{
    collections::BTreeSet,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use restante_auth::{MemoryDirectory, StoredPassword, Verifier};
use restante_proto::{Marks, UniqueIds, UserName};
use restante_server::{Port, Server};
use restante_store::{
    CommitError, DeliverError, Delivery, Maildrop, Message, OpenError, Store, StoreError, Task,
};
use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};
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
async fn any_command_sets_the_autologout_back() {
    // RFC 1939 §3: refused commands, too.
    let idle = Duration::from_secs(2);
    let mut plan = Plan::default();
    plan.settings.limits.idle = idle;
    let running = plan.start();
    let mut client = world::logged_in(running.pop3).await;
    let begun = Instant::now();
    for command in ["NOOP", "STAT", "XTND", "NOOP", "DELE 9", "NOOP", "NOOP", "NOOP"] {
        assert!(!client.say(command).await.is_empty());
        tokio::time::sleep(idle / 6).await; // the idle time is the thing under test
    }
    assert!(begun.elapsed() > idle, "no time went by");
    assert_eq!(client.say("NOOP").await, "+OK");
}

/// The hello of a client whose newest version is 3.`minor`, with all else that TLS 1.2 wants.
fn hello(minor: u8) -> Vec<u8> {
    let extensions: &[&[u8]] = &[
        &[0, 10, 0, 4, 0, 2, 0, 23], // the group secp256r1
        &[0, 11, 0, 2, 1, 0],        // uncompressed points
        &[0, 13, 0, 4, 0, 2, 4, 3],  // ECDSA with SHA-256
    ];
    let extensions = extensions.concat();
    let mut body = vec![0x03, minor];
    body.extend_from_slice(&[7; 32]); // random
    body.push(0); // no session
    body.extend_from_slice(&[0, 4, 0xc0, 0x2b, 0xc0, 0x09]); // ECDHE-ECDSA with AES-128
    body.extend_from_slice(&[1, 0]); // no compression
    body.extend_from_slice(&u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&extensions);
    let octets = u8::try_from(body.len()).unwrap();
    let mut record = vec![0x16, 0x03, 1, 0, octets + 4, 0x01, 0, 0, octets];
    record.extend_from_slice(&body);
    record
}

#[tokio::test]
async fn tls_older_than_1_2_is_refused() {
    // RFC 8314 §4.1 with RFC 8997: SSL 3.0, TLS 1.0 and 1.1.
    let running = Plan::default().start();
    for minor in 0..3 {
        let mut client = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
        client.send(hello(minor)).await;
        let rest = client.rest().await;
        // One fatal alert, protocol_version, and the end.
        assert!(rest.len() == 7 && rest[0] == 0x15 && rest[5..] == [2, 70], "{minor}: {rest:?}");
    }
    let mut client = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    client.send(hello(3)).await;
    let mut answer = [0; 6];
    client.stream.read_exact(&mut answer).await.unwrap();
    assert_eq!((answer[0], answer[5]), (0x16, 2), "a ServerHello: it was the version and nothing else");
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

/// A store of two messages in which everything fails in the way that the user's name says.
#[derive(Debug)]
struct Failing;

#[derive(Debug)]
struct FailingDrop(String);

fn broken() -> std::io::Error {
    std::io::ErrorKind::Other.into()
}

impl FailingDrop {
    fn failure(&self) -> StoreError {
        let path = "/mail".into();
        match self.0.as_str() {
            "denied" => StoreError::Denied { path },
            "encoded" => StoreError::Encoded { path, what: "compressed" },
            "gone" => StoreError::Gone,
            _ => StoreError::Broken { context: "reading".into(), source: broken() },
        }
    }
}

impl Store for Failing {
    fn open<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        Box::pin(async move {
            match user.as_str() {
                "closed" => Err(OpenError::Denied { path: "/mail".into(), owner: None }),
                "nowhere" => Err(OpenError::NoPlace),
                "busy" => Err(OpenError::Busy),
                "torn" => Err(OpenError::Broken { context: "opening".into(), source: broken() }),
                name => Ok(Box::new(FailingDrop(name.to_owned())) as Box<dyn Maildrop>),
            }
        })
    }

    fn deliver(&self, _: &UserName) -> Result<Box<dyn Delivery>, DeliverError> {
        Err(DeliverError::NoPlace)
    }
}

impl Maildrop for FailingDrop {
    fn messages(&self) -> u32 {
        2
    }

    fn known_sizes(&self) -> Option<Arc<[u64]>> {
        None
    }

    fn sizes(&mut self) -> Task<'_, Result<Arc<[u64]>, StoreError>> {
        Box::pin(async { Err(self.failure()) })
    }

    fn unique_ids(&mut self, _: Range<u32>) -> Task<'_, Result<UniqueIds, StoreError>> {
        Box::pin(async { Err(self.failure()) })
    }

    fn message(&mut self, _: u32) -> Task<'_, Result<Message, StoreError>> {
        Box::pin(async { Err(self.failure()) })
    }

    fn commit(self: Box<Self>, deleted: Marks) -> Task<'static, Result<(), CommitError>> {
        Box::pin(async move { Err(CommitError { remain: deleted.count(), source: broken() }) })
    }
}

#[tokio::test]
async fn each_failure_of_a_store_has_its_code() {
    // RFC 3206 §4: TEMP passes by itself, PERM somebody has to mend; and none is the credentials' fault.
    let names = ["closed", "nowhere", "busy", "torn", "denied", "encoded", "gone", "broken"];
    let directory =
        names.map(|name| (UserName::new(name).unwrap(), StoredPassword::parse(b"{PLAIN}abcxyz").unwrap()));
    let plan = Plan::default();
    let folder = tempfile::tempdir().unwrap();
    world::write_certificate(folder.path());
    let mut config = plan.config(folder.path());
    config.store = Arc::new(Failing);
    let verifier =
        Verifier::new(Arc::new(MemoryDirectory::new(directory)), &restante_auth::Settings::default());
    config.verifier = Arc::new(verifier);
    let server = Server::bind(config).unwrap();
    let pop3 = server.addresses().iter().find(|(_, port)| *port == Port::Pop3).unwrap().0;
    let _handle = server.handle(); // without one it would stop
    tokio::spawn(server.run());
    for (name, code) in
        [("closed", "[SYS/PERM]"), ("nowhere", "[SYS/PERM]"), ("busy", "[IN-USE]"), ("torn", "[SYS/TEMP]")]
    {
        let mut client = connect(pop3).await;
        client.say(&format!("USER {name}")).await;
        let refusal = client.say("PASS abcxyz").await;
        assert!(refusal.starts_with(&format!("-ERR {code} ")), "{name}: {refusal}");
    }
    for (name, code) in
        [("denied", "[SYS/PERM] "), ("encoded", "[SYS/PERM] "), ("broken", "[SYS/TEMP] "), ("gone", "the ")]
    {
        let mut client = connect(pop3).await;
        client.say(&format!("USER {name}")).await;
        assert_eq!(client.say("PASS abcxyz").await, "+OK maildrop locked and ready", "{name}");
        for command in ["RETR 1", "TOP 1 0"] {
            let refusal = client.say(command).await;
            assert!(refusal.starts_with(&format!("-ERR {code}")), "{name} {command}: {refusal}");
        }
        // The session goes on, and the end is told as it is.
        assert_eq!(client.say("DELE 2").await, "+OK msg deleted");
        assert_eq!(client.say("QUIT").await, "-ERR [SYS/TEMP] 1 deleted messages not removed");
    }
}
