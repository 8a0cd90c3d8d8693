//! TLS for our clients: whom to trust, with what to identify, and what a handshake settled or failed with, in words.
//!
//! Trust is the system's certificates, those of a file, keys that are pinned, or, for test servers, anybody.

use std::{
    fmt, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_proto::dialogue::{TlsFacts, Word};
use restante_sasl::{ChannelBindings, end_point};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    InvalidMessage, ProtocolVersion, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    version::{TLS12, TLS13},
};
use sha2::{Digest as _, Sha256};

use crate::error::printable;

/// How TLS is to be.
///
/// ```
/// use restante_client::tls::{Identity, TlsOptions, Trust, Version};
/// let pin = "sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=".parse()?;
/// let options = TlsOptions {
///     trust: Trust::Pinned(vec![pin]),
///     identity: Some(Identity { certificate: "john.pem".into(), key: "john.key".into() }),
///     min_version: Version::Tls13,
///     ..TlsOptions::default()
/// };
/// assert!(options.client_config().is_err(), "there are no such files");
/// # Ok::<(), restante_client::tls::TlsError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Whom to trust.
    pub trust: Trust,
    /// With what to identify, where the server asks for it.
    pub identity: Option<Identity>,
    /// The oldest version that is good enough.
    pub min_version: Version,
    /// The newest version that is offered; the newest there is, where nothing is said.
    pub max_version: Option<Version>,
}

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The certificates that the system trusts.
    #[default]
    System,
    /// The certificates of this file (PEM), and no others.
    File(PathBuf),
    /// The certificates that the system trusts, and those of this file (PEM).
    SystemAnd(PathBuf),
    /// A server with one of these public keys, whoever signed its certificate and whatever name stands in it.
    Pinned(Vec<Pin>),
    /// Anybody: for test servers only.
    Anybody,
}

/// The SHA-256 of a certificate's public key (its SubjectPublicKeyInfo, RFC 7469 §2.4), written in base64.
///
/// ```
/// use restante_client::tls::Pin;
/// let pin: Pin = "sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=".parse()?;
/// assert_eq!(pin.to_string(), "sha256/d6qzRu9zOECb90Uez27xWltNsj0e1Md7GkYYkVoZWmM=");
/// # Ok::<(), restante_client::tls::TlsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl std::str::FromStr for Pin {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Self, TlsError> {
        let base64 = text.strip_prefix("sha256/").or_else(|| text.strip_prefix("sha256//")).unwrap_or(text);
        let octets = BASE64.decode(base64).map_err(|_| TlsError::Pin)?;
        octets.try_into().map(Self).map_err(|_| TlsError::Pin)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", BASE64.encode(self.0))
    }
}

impl Pin {
    /// The pin of a certificate's key.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
        let key = certificate.subject_public_key_info();
        Some(Self(Sha256::digest(key.as_ref()).into()))
    }
}

/// A certificate of the client's, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The chain (PEM), the client's own certificate first.
    pub certificate: PathBuf,
    /// The private key (PEM).
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.2.
    #[default]
    Tls12,
    /// 1.3.
    Tls13,
}

/// Why TLS is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(Reason),
    /// The host's name is none that a certificate could hold.
    #[error("the host's name cannot stand in a certificate")]
    HostName,
    /// TLS is on already.
    #[error("TLS is on already")]
    Already,
    /// The system trusts nobody.
    #[error(
        "the system has no certificates that it trusts{0}: install the package ca-certificates, or name a file"
    )]
    NoRoots(String),
    /// A file cannot be read, or holds something else.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// A pin is none.
    #[error("a pinned key is written sha256/ and 44 characters of base64")]
    Pin,
    /// What was configured does not fit together.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    text: String,
    kind: ReasonKind,
}

/// What helps against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonKind {
    /// The certificate is not trusted: trust it, or pin its key.
    Mistrust,
    /// The other side does not speak TLS here: use STLS.
    ClearText,
    /// Anything else.
    Other,
}

impl Reason {
    /// The reason in an error of a handshake.
    pub fn of(error: &io::Error) -> Self {
        let kind = match () {
            () if is_clear_text(error) => ReasonKind::ClearText,
            () if is_mistrust(error) => ReasonKind::Mistrust,
            () => ReasonKind::Other,
        };
        Self { text: told(error), kind }
    }

    /// What helps.
    pub const fn kind(&self) -> ReasonKind {
        self.kind
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TlsOptions {
    /// Makes TLS ready. Share it between connections: then they resume each other's sessions.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: &[&SupportedProtocolVersion] = match (self.min_version, self.max_version) {
            (Version::Tls12, Some(Version::Tls12)) => &[&TLS12],
            (Version::Tls12, Some(Version::Tls13) | None) => &[&TLS13, &TLS12],
            (Version::Tls13, Some(Version::Tls13) | None) => &[&TLS13],
            (Version::Tls13, Some(Version::Tls12)) => {
                return Err(TlsError::Setup("the newest version is older than the oldest".into()));
            }
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| TlsError::Setup(error.to_string()))?;
        let any = |accept| Arc::new(AnyChain { provider, accept });
        let builder = match &self.trust {
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(any(None)),
            Trust::Pinned(pins) => {
                builder.dangerous().with_custom_certificate_verifier(any(Some(pins.clone())))
            }
            Trust::System => builder.with_root_certificates(system_roots()?),
            Trust::File(file) => builder.with_root_certificates(roots_of(file)?),
            Trust::SystemAnd(file) => {
                let mut roots = roots_of(file)?;
                roots.roots.extend(system_roots()?.roots);
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| {
                    file_error(&identity.key, format!("{error} (PEM is expected: PRIVATE KEY)"))
                })?;
                builder
                    .with_client_auth_cert(certificates_of(&identity.certificate)?, key)
                    .map_err(|error| TlsError::Setup(format!("the client certificate: {error}")))?
            }
        };
        config.alpn_protocols = vec![b"pop3".to_vec()];
        Ok(config)
    }
}

/// What a handshake settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    /// The version by its registered name, such as `TLSv1.3`.
    pub version: Option<String>,
    /// The cipher suite by its registered name.
    pub cipher: Option<String>,
    /// The protocol that was agreed by ALPN.
    pub alpn: Option<String>,
    /// The server's certificates as it sent them (DER), its own first.
    pub peer: Vec<CertificateDer<'static>>,
}

impl TlsInfo {
    /// What this connection settled.
    pub fn of(tls: &ClientConnection) -> Self {
        let (version, cipher) = settled(tls);
        let alpn = tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let peer = tls.peer_certificates().unwrap_or_default().to_vec();
        Self { version, cipher, alpn, peer }
    }

    /// The pin of the server's key.
    pub fn pin(&self) -> Option<Pin> {
        self.peer.first().and_then(Pin::of)
    }

    /// As a dialogue writes it down.
    pub fn facts(&self, host: &str) -> TlsFacts {
        let word = |text: Option<&str>| text.and_then(|text| Word::new(text).ok());
        TlsFacts {
            version: word(self.version.as_deref()),
            cipher: word(self.cipher.as_deref()),
            // An address is not asked for (RFC 6066 §3).
            name: word(Some(host).filter(|host| host.parse::<IpAddr>().is_err())),
            alpn: word(self.alpn.as_deref()),
        }
    }
}

/// The version and the cipher that a handshake settled on, by their registered names.
fn settled(tls: &ClientConnection) -> (Option<String>, Option<String>) {
    let version =
        tls.protocol_version().and_then(|version| version.as_str().map(|text| text.replace('_', ".")));
    // The registered names have no 13 in them.
    let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    (version, cipher.map(|name| name.replace("TLS13_", "TLS_")))
}

/// What a connection that shook hands is known by to both ends, for SASL (RFC 5056).
pub fn bindings(tls: &ClientConnection) -> ChannelBindings {
    // RFC 9266 §4.2: with TLS 1.2 it would need the extended master secret, which nobody here insists on.
    let exporter = (tls.protocol_version() == Some(ProtocolVersion::TLSv1_3))
        .then(|| tls.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok())
        .flatten();
    let end_point = tls.peer_certificates().and_then(<[_]>::first).and_then(|shown| end_point(shown));
    ChannelBindings { exporter, end_point }
}

/// An error of TLS without its Rust around it.
pub(crate) fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server ended the connection".into(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server does not answer".into(),
        _ => match within(error) {
            _ if is_clear_text(error) => "what the server says is not TLS".into(),
            Some(rustls::Error::InvalidCertificate(wrong)) => certificate(wrong),
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                "the server asks for a client certificate, and none is configured".into()
            }
            Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert) => {
                format!("the server does not accept our certificate ({alert:?})")
            }
            _ => error.to_string(),
        },
    }
}

/// Whether the server says that our certificate will not do. With TLS 1.3 it does so when the handshake is over for us.
pub(crate) fn is_refused_identity(error: &io::Error) -> bool {
    matches!(within(error), Some(rustls::Error::AlertReceived(alert)) if is_about_us(*alert))
}

const fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

fn within(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Whether the handshake failed because the other side does not speak TLS.
fn is_clear_text(error: &io::Error) -> bool {
    matches!(within(error), Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Whether the handshake failed because the certificate is not trusted, which other trust helps against. A certificate
/// that cannot be read stays so, whoever is trusted.
fn is_mistrust(error: &io::Error) -> bool {
    match within(error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => {
            !is_old(wrong) && *wrong != CertificateError::BadEncoding
        }
        _ => false,
    }
}

fn is_old(wrong: &CertificateError) -> bool {
    // The type behind it belongs to a crate that is not ours to name.
    matches!(wrong, CertificateError::Other(other) if format!("{other:?}").contains("UnsupportedCertVersion"))
}

/// What is wrong with a server's certificate.
fn certificate(wrong: &CertificateError) -> String {
    let words = match wrong {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::UnknownIssuer => "is signed by nobody who is trusted",
        CertificateError::NotValidForName => "is not for this host's name",
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().take(NAMES_MAX).map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            return format!(
                "the server's certificate is not for this host's name ({}), but for {}",
                expected.to_str(),
                printable(&names)
            );
        }
        CertificateError::BadEncoding => "cannot be read",
        CertificateError::BadSignature => "was not signed by the authority that it names",
        CertificateError::Revoked => "was revoked",
        CertificateError::ApplicationVerificationFailure => "has another key than the one that is pinned",
        wrong if is_old(wrong) => {
            "is of an old form: X.509 version 3 is needed, which `openssl req -x509` with a name makes \
             (-addext subjectAltName=DNS:mail.example.org)"
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "is that of an authority (CA:TRUE), not of a server"
        }
        other => return format!("the server's certificate is not accepted: {other}"),
    };
    format!("the server's certificate {words}")
}

/// How many names of a certificate are told.
const NAMES_MAX: usize = 4;

/// A name of a certificate without the kind around it: `DnsName("mail.example.org")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// What the system trusts. Single certificates that cannot be read are no reason to trust none.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    Err(TlsError::NoRoots(found.errors.first().map_or_else(String::new, |error| format!(" ({error})"))))
}

fn file_error(path: &Path, why: String) -> TlsError {
    TlsError::File { path: path.display().to_string(), why }
}

fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(file, format!("{error} (PEM is expected: CERTIFICATE)")))
}

fn roots_of(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(file)? {
        roots.add(certificate).map_err(|error| file_error(file, error.to_string()))?;
    }
    if roots.is_empty() { Err(file_error(file, "holds no certificate".into())) } else { Ok(roots) }
}

/// Takes certificates whoever signed them: those of pinned keys, or any. Signatures are still checked, so that the server
/// has to hold the key.
#[derive(Debug)]
struct AnyChain {
    provider: Arc<CryptoProvider>,
    accept: Option<Vec<Pin>>,
}

impl ServerCertVerifier for AnyChain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let accepted = match &self.accept {
            None => true,
            Some(pins) => Pin::of(end_entity).is_some_and(|pin| pins.contains(&pin)),
        };
        match accepted {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
