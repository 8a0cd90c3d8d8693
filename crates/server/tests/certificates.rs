//! Client certificates: who shows one can log in as a name in it, by SASL EXTERNAL (RFC 4422 app. A), and nobody else can.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use restante_server::{ClientCertificates, Config, Port, Server, server_config_with};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use world::{Client, Plan, write_certificate};

const JOHN: &str = "john.doe@anydomain.com";

/// An authority that signs certificates of users.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Users");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, common_name: &str, addresses: &[&str]) -> Shown {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names =
            addresses.iter().map(|address| SanType::Rfc822Name((*address).try_into().unwrap())).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (certificate.der().clone(), key)
    }
}

/// A server that asks for certificates.
struct Guarded {
    pop3s: SocketAddr,
    certificate: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

fn start(authority: &Authority, required: bool) -> Guarded {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let certificate = write_certificate(folder.path());
    std::fs::write(path("clients.pem"), &authority.pem).unwrap();
    let mut plan = Plan::default();
    plan.settings.mechanisms = None;
    let clients = ClientCertificates { authorities: path("clients.pem"), required };
    let tls = server_config_with(&path("cert.pem"), &path("key.pem"), Some(&clients)).unwrap();
    let server = Server::bind(Config { tls: Some(tls), ..plan.config(folder.path()) }).unwrap();
    let pop3s = server.addresses().iter().find(|(_, port)| *port == Port::Pop3s).unwrap().0;
    tokio::spawn(server.run());
    Guarded { pop3s, certificate, _folder: folder }
}

type Tls = Client<tokio_rustls::client::TlsStream<TcpStream>>;

impl Guarded {
    /// Connects, and shows this certificate.
    async fn connect(
        &self,
        shown: Option<&Shown>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> std::io::Result<Tls> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
        };
        let tcp = TcpStream::connect(self.pop3s).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        Ok(Client::new(stream))
    }

    async fn greeted(&self, shown: Option<&Shown>) -> Tls {
        let mut client = self.connect(shown, &TLS13).await.unwrap();
        assert_eq!(client.line().await, "+OK X1 POP3 Server");
        client
    }
}

async fn mechanisms(client: &mut Tls) -> String {
    assert_eq!(client.say("CAPA").await, "+OK capability list follows");
    client.block().await.into_iter().find(|line| line.starts_with("SASL ")).unwrap()
}

#[tokio::test]
async fn a_certificate_logs_in_as_the_names_in_it_and_no_other() {
    let authority = Authority::new();
    let server = start(&authority, false);
    let shown = authority.sign("Somebody", &["other@anydomain.com", "John.Doe@AnyDomain.com"]);

    let mut client = server.greeted(Some(&shown)).await;
    assert!(mechanisms(&mut client).await.contains(" EXTERNAL"));
    // The first name of the certificate is nobody's here.
    assert_eq!(client.say("AUTH EXTERNAL =").await, "-ERR [AUTH] wrong user name or password");
    assert_eq!(
        client.say(&format!("AUTH EXTERNAL {}", BASE64.encode("root@anydomain.com"))).await,
        "-ERR [AUTH] wrong user name or password"
    );
    assert_eq!(
        client.say(&format!("AUTH EXTERNAL {}", BASE64.encode(JOHN))).await,
        "+OK maildrop locked and ready"
    );
}

#[tokio::test]
async fn without_an_address_it_is_the_common_name() {
    let authority = Authority::new();
    let server = start(&authority, false);
    let mut client = server.greeted(Some(&authority.sign(JOHN, &[]))).await;
    // The long way: an empty challenge, and an empty response.
    assert_eq!(client.say("AUTH EXTERNAL").await, "+ ");
    assert_eq!(client.say("").await, "+OK maildrop locked and ready");
    // Where there are addresses, the common name is only a name.
    let mut client = server.greeted(Some(&authority.sign(JOHN, &["other@anydomain.com"]))).await;
    let said = client.say(&format!("AUTH EXTERNAL {}", BASE64.encode(JOHN))).await;
    assert_eq!(said, "-ERR [AUTH] wrong user name or password");
}

#[tokio::test]
async fn who_shows_none_is_not_offered_it() {
    let authority = Authority::new();
    let server = start(&authority, false);
    let mut client = server.greeted(None).await;
    assert!(!mechanisms(&mut client).await.contains("EXTERNAL"));
    assert!(client.say(&format!("AUTH EXTERNAL {}", BASE64.encode(JOHN))).await.starts_with("-ERR "));
    client.log_in().await;
}

#[tokio::test]
async fn a_stranger_s_certificate_ends_the_handshake() {
    let authority = Authority::new();
    let server = start(&authority, false);
    let forged = Authority::new().sign("Somebody", &[JOHN]);
    // With TLS 1.3 the client is done before the server has looked.
    let refused = match server.connect(Some(&forged), &TLS13).await {
        Err(_) => true,
        Ok(mut client) => client.rest().await.is_empty(),
    };
    assert!(refused);
    assert!(server.connect(Some(&forged), &TLS12).await.is_err());
}

#[tokio::test]
async fn where_one_is_required_nobody_comes_in_without() {
    let authority = Authority::new();
    let server = start(&authority, true);
    assert!(server.connect(None, &TLS12).await.is_err());
    let mut client = server.greeted(Some(&authority.sign("Somebody", &[JOHN]))).await;
    assert_eq!(client.say("AUTH EXTERNAL =").await, "+OK maildrop locked and ready");
}
