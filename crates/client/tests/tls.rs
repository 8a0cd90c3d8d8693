//! TLS: whom the client trusts, with what it identifies, what it tells of the connection, and how it says what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/mod.rs"]
mod harness;

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use harness::{LONG, pem, runtime, within};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use restante_client::{
    Client, Error, Offer, Options, Security,
    tls::{Identity, Pin, ReasonKind, TlsError, TlsInfo, TlsOptions, Trust, Version},
};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority that signs; each has a name of its own.
fn authority() -> Authority {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let name = format!("Authority {}", COUNT.fetch_add(1, SeqCst));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate that it signed, for this name.
fn signed(by: &Authority, name: &str) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, by).unwrap(), key)
}

/// How a server is set up.
struct Setup {
    versions: Vec<&'static SupportedProtocolVersion>,
    /// Whom clients have to be signed by.
    clients: Option<CertificateDer<'static>>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Setup {
    fn new((certificate, key): &(Certificate, KeyPair)) -> Self {
        let certificate = certificate.der().clone();
        Self { versions: vec![&TLS13, &TLS12], clients: None, certificate, key: key.serialize_der() }
    }

    fn config(&self) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.clone()));
        let mut config = builder.with_single_cert(vec![self.certificate.clone()], key).unwrap();
        config.alpn_protocols = vec![b"pop3".to_vec()];
        config
    }

    /// Serves one session within TLS; what was said, and the client's certificate.
    fn serve(&self) -> (tokio::io::DuplexStream, JoinHandle<Served>) {
        let acceptor = TlsAcceptor::from(Arc::new(self.config()));
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let served = tokio::spawn(async move {
            let mut served = Served::default();
            let Ok(mut stream) = acceptor.accept(theirs).await else { return served };
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            served.client = certificates.first().map(|certificate| certificate.to_vec());
            stream.write_all(b"+OK ready\r\n").await.unwrap();
            let mut line = Vec::new();
            loop {
                let mut octet = [0];
                match stream.read(&mut octet).await {
                    Ok(0) => {
                        served.farewell = true;
                        break served;
                    }
                    Ok(_) => line.extend_from_slice(&octet),
                    Err(_) => break served,
                }
                if octet == *b"\n" {
                    served.lines.push(String::from_utf8(std::mem::take(&mut line)).unwrap());
                    stream.write_all(b"-ERR\r\n").await.unwrap();
                }
            }
        });
        (ours, served)
    }
}

#[derive(Default)]
struct Served {
    lines: Vec<String>,
    client: Option<Vec<u8>>,
    /// The client ended TLS as it should.
    farewell: bool,
}

fn options(tls: TlsOptions) -> Options {
    Options { timeouts: within(LONG), tls, ..Options::default() }
}

fn trusting(file: &NamedTempFile) -> TlsOptions {
    TlsOptions { trust: Trust::File(file.path().to_owned()), ..TlsOptions::default() }
}

/// Connects: what was settled, and what the server saw.
fn connect(setup: &Setup, tls: TlsOptions) -> (Result<TlsInfo, Error>, Served) {
    runtime().block_on(async {
        let (stream, served) = setup.serve();
        let client = Client::over(stream, "mail.example.org", Security::Implicit, &options(tls)).await;
        let settled = match client {
            Ok(client) => Ok(client.tls().cloned().unwrap()),
            Err(error) => Err(error),
        };
        (settled, served.await.unwrap())
    })
}

fn refused(settled: Result<TlsInfo, Error>) -> TlsError {
    match settled {
        Err(Error::Tls(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_settled_is_told() {
    let ca = authority();
    let certificate = signed(&ca, "mail.example.org");
    let file = pem(&[ca.der()]);
    for (allowed, version) in [(&TLS13, "TLSv1.3"), (&TLS12, "TLSv1.2")] {
        let setup = Setup { versions: vec![allowed], ..Setup::new(&certificate) };
        let (settled, served) = connect(&setup, trusting(&file));
        let settled = settled.unwrap();
        assert_eq!(settled.version.as_deref(), Some(version));
        let cipher = settled.cipher.clone().unwrap();
        assert!(cipher.starts_with("TLS_") && !cipher.contains("TLS13"), "{cipher}");
        assert_eq!(settled.alpn.as_deref(), Some("pop3"));
        assert_eq!(settled.peer, [certificate.0.der().clone()]);
        assert_eq!(settled.pin(), Pin::of(certificate.0.der()));
        assert_eq!(served.lines, ["CAPA\r\n"]);
        assert_eq!(served.client, None);
    }
}

#[test]
fn behind_stls_only_what_was_said_within_tls_counts() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let file = pem(&[&server.certificate()]);
    runtime().block_on(async {
        let options = harness::options(Some(&file));
        let mut client = Client::connect(&harness::url(&server, Security::Stls), &options).await.unwrap();
        assert_eq!(client.capabilities().stls(), Offer::No, "as it is within TLS");
        client.authenticate(&harness::credentials()).await.unwrap();
        assert!(client.tls().is_some());
        client.quit().await.unwrap();
    });
    assert_eq!(server.commands()[..2], ["STLS", "CAPA"]);
}

#[test]
fn a_server_that_is_too_old_is_not_talked_to() {
    let certificate = signed(&authority(), "mail.example.org");
    let setup = Setup { versions: vec![&TLS12], ..Setup::new(&certificate) };
    let tls = TlsOptions { trust: Trust::Anybody, min_version: Version::Tls13, ..TlsOptions::default() };
    let (settled, served) = connect(&setup, tls);
    let error = refused(settled);
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    assert!(served.lines.is_empty());
}

#[test]
fn strangers_and_other_names_are_not_trusted() {
    let (ca, other) = (authority(), authority());
    let setup = Setup::new(&signed(&ca, "mail.example.org"));
    let (settled, served) = connect(&setup, trusting(&pem(&[other.der()])));
    let error = refused(settled);
    assert!(served.lines.is_empty(), "nothing was said");
    let words = "the TLS handshake failed: the server's certificate is signed by nobody who is trusted";
    assert_eq!(error.to_string(), words);
    assert!(matches!(&error, TlsError::Handshake(reason) if reason.kind() == ReasonKind::Mistrust));
    let setup = Setup::new(&signed(&ca, "imap.example.org"));
    let error = refused(connect(&setup, trusting(&pem(&[ca.der()]))).0);
    let words = "the TLS handshake failed: the server's certificate is not for this host's name (mail.example.org), but for \
                 imap.example.org";
    assert_eq!(error.to_string(), words);
    assert!(matches!(&error, TlsError::Handshake(reason) if reason.kind() == ReasonKind::Mistrust));
}

#[test]
fn a_pinned_key_is_trusted_whoever_signed_it_and_no_other_is() {
    let certificate = signed(&authority(), "elsewhere.example.org");
    let right = Pin::of(certificate.0.der()).unwrap();
    let wrong = Pin::of(signed(&authority(), "mail.example.org").0.der()).unwrap();
    for version in [&TLS13, &TLS12] {
        let setup = Setup { versions: vec![version], ..Setup::new(&certificate) };
        let pinned =
            |pins: &[Pin]| TlsOptions { trust: Trust::Pinned(pins.to_vec()), ..TlsOptions::default() };
        let settled = connect(&setup, pinned(&[wrong, right])).0.unwrap();
        assert_eq!(settled.pin(), Some(right));
        for pins in [&[wrong][..], &[]] {
            let (settled, served) = connect(&setup, pinned(pins));
            let error = refused(settled);
            assert!(error.to_string().ends_with("has another key than the one that is pinned"), "{error}");
            assert!(served.lines.is_empty());
        }
    }
    assert_eq!(right.to_string().parse::<Pin>(), Ok(right));
    assert_eq!("sha256/too-short".parse::<Pin>(), Err(TlsError::Pin));
}

#[test]
fn the_client_identifies_itself_where_it_is_asked_to() {
    let (ca, clients) = (authority(), authority());
    let file = pem(&[ca.der()]);
    let client = signed(&clients, "john");
    let certificate = pem(&[client.0.der()]);
    let mut key = NamedTempFile::new().unwrap();
    key.write_all(client.1.serialize_pem().as_bytes()).unwrap();
    let identity = Identity { certificate: certificate.path().to_owned(), key: key.path().to_owned() };
    for version in [&TLS13, &TLS12] {
        let asking = Setup {
            versions: vec![version],
            clients: Some(clients.der().clone()),
            ..Setup::new(&signed(&ca, "mail.example.org"))
        };
        let (settled, served) =
            connect(&asking, TlsOptions { identity: Some(identity.clone()), ..trusting(&file) });
        assert!(settled.is_ok(), "{settled:?}");
        assert_eq!(served.client.as_deref(), Some(&**client.0.der()));
        // Nobody is asked: nothing is shown.
        let open = Setup { clients: None, ..asking };
        let (_, served) = connect(&open, TlsOptions { identity: Some(identity.clone()), ..trusting(&file) });
        assert_eq!((served.client, served.lines.len()), (None, 1));
        // Asked, and nothing to show: with TLS 1.3 that is heard behind the handshake.
        let asking = Setup { clients: Some(clients.der().clone()), ..open };
        let (settled, served) = connect(&asking, trusting(&file));
        let error = refused(settled);
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(served.lines.is_empty());
        // Signed by somebody else.
        let strict = Setup { clients: Some(ca.der().clone()), ..asking };
        let error =
            refused(connect(&strict, TlsOptions { identity: Some(identity.clone()), ..trusting(&file) }).0);
        assert!(error.to_string().contains("does not accept our certificate"), "{error}");
    }
}

#[test]
fn what_is_wrong_with_the_configuration_is_told_before_anything_is_said() {
    let empty = NamedTempFile::new().unwrap();
    let missing = empty.path().with_extension("missing");
    let bad = |tls: TlsOptions| {
        let setup = Setup::new(&signed(&authority(), "mail.example.org"));
        let (settled, served) = connect(&setup, tls);
        assert!(served.lines.is_empty());
        refused(settled).to_string()
    };
    let error = bad(trusting(&empty));
    assert!(
        error.contains(&empty.path().display().to_string()) && error.contains("no certificate"),
        "{error}"
    );
    let error = bad(TlsOptions { trust: Trust::File(missing.clone()), ..TlsOptions::default() });
    assert!(error.contains(&missing.display().to_string()), "{error}");
    let identity = Some(Identity { certificate: empty.path().to_owned(), key: missing });
    let error = bad(TlsOptions { identity, trust: Trust::Anybody, ..TlsOptions::default() });
    assert!(error.contains("PRIVATE KEY"), "{error}");
    // A name that no certificate could have.
    runtime().block_on(async {
        let (stream, _served) = Setup::new(&signed(&authority(), "mail.example.org")).serve();
        let options = options(TlsOptions { trust: Trust::Anybody, ..TlsOptions::default() });
        let error = Client::over(stream, "no host", Security::Implicit, &options).await.unwrap_err();
        assert!(matches!(error, Error::Tls(TlsError::HostName)), "{error}");
    });
}

#[test]
fn a_session_ends_with_the_farewell_of_tls() {
    let ca = authority();
    let setup = Setup::new(&signed(&ca, "mail.example.org"));
    let file = pem(&[ca.der()]);
    runtime().block_on(async {
        let (stream, served) = setup.serve();
        let client = Client::over(stream, "mail.example.org", Security::Implicit, &options(trusting(&file)))
            .await
            .unwrap();
        // The server refuses everything, QUIT too; the connection is closed all the same.
        assert!(matches!(client.quit().await, Err(Error::Refused(_))));
        let served = served.await.unwrap();
        assert_eq!(served.lines, ["CAPA\r\n", "QUIT\r\n"]);
        assert!(served.farewell, "close_notify came");
    });
}
