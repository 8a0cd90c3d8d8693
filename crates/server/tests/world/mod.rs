//! A server on loopback with mail in memory, and a client that speaks line by line.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report
#![allow(dead_code)] // each test file uses a part of it

use std::{
    cell::RefCell,
    net::SocketAddr,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use restante_auth::{MemoryDirectory, StoredPassword, Verifier};
use restante_proto::{UniqueId, UserName};
use restante_server::{Cleartext, Config, Handle, Limits, Observer, Port, Server, Settings, server_config};
use restante_store::{MemoryStore, Store};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

pub(crate) mod told;

/// Long enough for a loaded machine; nothing waits that long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The password of every user.
pub(crate) const PASSWORD: &str = "abcxyz";

/// A server that runs until it is stopped or dropped with the runtime.
pub(crate) struct Running {
    pub(crate) pop3: SocketAddr,
    pub(crate) pop3s: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) server: JoinHandle<()>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) folder: tempfile::TempDir,
}

/// What a test changes before its server begins.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) tls: bool,
    pub(crate) failure_delay: Duration,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
}

impl Default for Plan {
    fn default() -> Self {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        Self {
            settings: Settings {
                hostname: "X1".into(),
                pop3: vec![any],
                pop3s: vec![any],
                cleartext: Cleartext::Loopback,
                apop: false,
                mechanisms: Some(vec!["PLAIN".into(), "LOGIN".into()]),
                limits: Limits::default(),
            },
            store: Arc::new(mail(&["Subject: one\n\nfirst\n", "Subject: two\n\n.second"])),
            tls: true,
            failure_delay: Duration::ZERO,
            observers: Vec::new(),
        }
    }
}

pub(crate) fn user() -> UserName {
    UserName::new("john.doe@anydomain.com").unwrap()
}

/// The user's maildrop with these messages, whose unique-ids are `id-1` and so on.
pub(crate) fn mail(messages: &[&str]) -> MemoryStore {
    let store = MemoryStore::new();
    for (number, message) in (1..).zip(messages) {
        let id = UniqueId::new(format!("id-{number}").as_bytes()).unwrap();
        assert!(store.add(&user(), id, message.as_bytes().to_vec()));
    }
    store
}

pub(crate) fn verifier(failure_delay: Duration) -> Arc<Verifier> {
    let stored = StoredPassword::parse(format!("{{PLAIN}}{PASSWORD}").as_bytes()).unwrap();
    let directory = MemoryDirectory::new([(user(), stored)]);
    let settings = restante_auth::Settings {
        failure_delay_first: failure_delay,
        failure_delay_max: failure_delay * 4,
        ..Default::default()
    };
    Arc::new(Verifier::new(Arc::new(directory), &settings))
}

impl Plan {
    pub(crate) fn config(&self, folder: &std::path::Path) -> Config {
        let tls = self.tls.then(|| server_config(&folder.join("cert.pem"), &folder.join("key.pem")).unwrap());
        Config {
            settings: self.settings.clone(),
            tls,
            store: Arc::clone(&self.store),
            verifier: verifier(self.failure_delay),
            observers: self.observers.clone(),
        }
    }

    pub(crate) fn start(self) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let certificate = write_certificate(folder.path());
        let server = Server::bind(self.config(folder.path())).unwrap();
        let at =
            |wanted| server.addresses().iter().find(|(_, port)| *port == wanted).map(|(address, _)| *address);
        let (pop3, pop3s) = (at(Port::Pop3).unwrap(), at(Port::Pop3s).unwrap());
        let handle = server.handle();
        Running { pop3, pop3s, handle, server: tokio::spawn(server.run()), certificate, folder }
    }
}

/// Writes a new certificate for `localhost` and its key.
pub(crate) fn write_certificate(folder: &std::path::Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// A client's TLS that trusts one certificate.
pub(crate) fn client_config(
    certificate: &CertificateDer<'static>,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// A client on any stream.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    held: Vec<u8>,
}

pub(crate) async fn connect(address: SocketAddr) -> Client<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut client = Client { stream, held: Vec::new() };
    assert_eq!(client.line().await, "+OK X1 POP3 Server");
    client
}

/// Connects, and logs in.
pub(crate) async fn logged_in(address: SocketAddr) -> Client<TcpStream> {
    let mut client = connect(address).await;
    client.log_in().await;
    client
}

impl Client<TcpStream> {
    /// Begins TLS on the stream.
    pub(crate) async fn secure(
        self,
        config: Arc<rustls::ClientConfig>,
    ) -> std::io::Result<Client<tokio_rustls::client::TlsStream<TcpStream>>> {
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, self.stream).await?;
        Ok(Client { stream, held: Vec::new() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, held: Vec::new() }
    }

    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.stream.write_all(octets.as_ref())).await.expect("the server reads").unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next line without its CRLF.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.held.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8(self.held[..end].to_vec()).unwrap();
                self.held.drain(..end + 2);
                return line;
            }
            let mut piece = [0; 4096];
            let octets =
                timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("a line in time").unwrap();
            assert!(octets > 0, "the server closed; held: {:?}", String::from_utf8_lossy(&self.held));
            self.held.extend_from_slice(&piece[..octets]);
        }
    }

    /// Says a line and hears one.
    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.line().await
    }

    /// The lines of a block, without the last one.
    pub(crate) async fn block(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line().await {
                line if line == "." => return lines,
                line => lines.push(line),
            }
        }
    }

    pub(crate) async fn log_in(&mut self) {
        assert_eq!(self.say("USER john.doe@anydomain.com").await, "+OK send your password");
        assert_eq!(self.say(&format!("PASS {PASSWORD}")).await, "+OK maildrop locked and ready");
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.held);
        // A reset is an end too; the tests that care look at what came before it.
        let _reset = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("the server closes");
        rest
    }
}

/// What this test's server logs; the test has to stay on one thread, as `#[tokio::test]` does.
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
}

thread_local! {
    static LINES: RefCell<Option<Arc<Mutex<Vec<u8>>>>> = const { RefCell::new(None) };
}

/// Begins to keep the log of this thread. The subscriber is one for the process: with one for each thread, a line whose
/// place is first reached by a thread that has none would never be logged.
pub(crate) fn log() -> Log {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Writer).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    let lines: Arc<Mutex<Vec<u8>>> = Arc::default();
    LINES.set(Some(Arc::clone(&lines)));
    Log { lines }
}

impl Log {
    /// Waits until the log holds this text.
    pub(crate) async fn shows(&self, text: &str) {
        let seen = || String::from_utf8_lossy(&self.lines.lock().unwrap()).into_owned();
        let shown = timeout(PATIENCE, async {
            while !seen().contains(text) {
                tokio::task::yield_now().await;
            }
        });
        assert!(shown.await.is_ok(), "{text:?} is not in the log:\n{}", seen());
    }
}

/// Writes to the log of the thread, if it keeps one.
struct Writer;

impl std::io::Write for Writer {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow(|lines| {
            if let Some(lines) = lines {
                lines.lock().unwrap().extend_from_slice(octets);
            }
        });
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
