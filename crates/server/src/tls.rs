//! TLS by rustls: certificates, the `pop3` protocol name of ALPN, and what a failed handshake means in words.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use restante_proto::{
    dialogue::{self, TlsEvent, Word},
    server::TlsFacts,
};
use restante_sasl::{ChannelBindings, end_point};
use rustls::{
    ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::extensions::GeneralName;

/// The registered ALPN name of POP3 (RFC 7301, IANA): other names are refused by rustls.
const ALPN: &[u8] = b"pop3";

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of the kind.
    #[error("{}: {problem}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: PemProblem,
    },
    /// The authorities of clients cannot be used.
    #[error("{}: {problem}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("{}", unusable(certificate, key, source))]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What failed.
        source: rustls::Error,
    },
}

/// What is wrong with a file that should be PEM.
#[derive(Debug, thiserror::Error)]
pub enum PemProblem {
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// It is DER.
    #[error("this is DER, and PEM is expected; `openssl {} -inform DER -in FILE` prints it as PEM", .0.tool())]
    Der(PemKind),
    /// The key is encrypted.
    #[error(
        "the key has a passphrase, which nobody is there to type; remove it with `openssl pkey -in FILE -out NEW`"
    )]
    Passphrase,
    /// The file of the one holds the other.
    #[error("this is {}, and {} is expected; are the two swapped?", .0.other().words(), .0.words())]
    Swapped(PemKind),
    /// There is nothing of the kind.
    #[error("{} is expected, PEM, and there is none in it", .0.words())]
    Nothing(PemKind),
    /// What there is cannot be decoded.
    #[error("{} is expected, PEM, and it is damaged: {source}", kind.words())]
    Damaged {
        /// What was expected.
        kind: PemKind,
        /// What failed.
        source: pem::Error,
    },
}

/// What a PEM file should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemKind {
    /// One certificate or more.
    Certificate,
    /// A private key.
    Key,
}

impl PemKind {
    const fn words(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate",
            Self::Key => "a private key",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Certificate => Self::Key,
            Self::Key => Self::Certificate,
        }
    }

    const fn tool(self) -> &'static str {
        match self {
            Self::Certificate => "x509",
            Self::Key => "pkey",
        }
    }
}

/// How much of a file that is not what it should be is looked at, in octets.
const LOOK_MAX_OCTETS: u64 = 1 << 20;

/// What is there instead of the PEM that was expected; `None` where the file held nothing of the kind.
fn pem_error(path: &Path, kind: PemKind, error: Option<pem::Error>) -> TlsError {
    let look = || {
        let mut octets = Vec::new();
        let file = File::open(path)?;
        file.take(LOOK_MAX_OCTETS).read_to_end(&mut octets).map(|_| octets)
    };
    let problem = match (error, look()) {
        (Some(pem::Error::Io(error)), _) | (_, Err(error)) => PemProblem::Io(error),
        (error, Ok(octets)) => {
            let text = String::from_utf8_lossy(&octets);
            let has_key = text.contains("PRIVATE KEY-----");
            let has_certificate = text.contains("-----BEGIN CERTIFICATE-----");
            let (is_there, other_is_there) = match kind {
                PemKind::Certificate => (has_certificate, has_key),
                PemKind::Key => (has_key, has_certificate),
            };
            let encrypted =
                text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
            match error {
                // A DER SEQUENCE of more than 127 octets (X.690 §8.1.3.5).
                _ if octets.starts_with(&[0x30, 0x82]) || octets.starts_with(&[0x30, 0x81]) => {
                    PemProblem::Der(kind)
                }
                _ if kind == PemKind::Key && encrypted => PemProblem::Passphrase,
                _ if other_is_there && !is_there => PemProblem::Swapped(kind),
                None | Some(pem::Error::NoItemsFound) => PemProblem::Nothing(kind),
                Some(error) => PemProblem::Damaged { kind, source: error },
            }
        }
    };
    TlsError::Pem { path: path.into(), problem }
}

fn unusable(certificate: &Path, key: &Path, error: &rustls::Error) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("{key}: the key is not that of the certificate {certificate}")
        }
        rustls::Error::InvalidCertificate(wrong)
            if format!("{wrong:?}").contains("UnsupportedCertVersion") =>
        {
            format!("{certificate}: the certificate is of an old form; X.509 version 3 is needed")
        }
        rustls::Error::InvalidCertificate(wrong) => {
            format!("{certificate}: the certificate cannot be used: {wrong}")
        }
        other => format!("{certificate} and {key} cannot be used together: {other}"),
    }
}

/// The TLS side of a server, and what must be known of it besides.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// What rustls shakes hands by.
    pub(crate) rustls: Arc<ServerConfig>,
    /// `tls-server-end-point` (RFC 5929 §4) of the one certificate that it shows; `None` where that is not defined.
    pub(crate) end_point: Option<Vec<u8>>,
}

/// Whether clients may identify by a certificate (for SASL EXTERNAL), and whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// A PEM file with the authorities that sign them.
    pub authorities: PathBuf,
    /// Whether a client without one is sent away.
    pub required: bool,
}

/// The TLS side of a server from a chain of certificates and a key, both PEM: TLS 1.2 and 1.3, ALPN `pop3`.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<TlsConfig>, TlsError> {
    server_config_with(certificate, key, None)
}

/// As [`server_config`]; clients may show certificates.
pub fn server_config_with(
    certificate: &Path,
    key: &Path,
    clients: Option<&ClientCertificates>,
) -> Result<Arc<TlsConfig>, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem_error(certificate, PemKind::Certificate, Some(error)))?;
    if chain.is_empty() {
        return Err(pem_error(certificate, PemKind::Certificate, None));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| pem_error(key, PemKind::Key, Some(error)))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = clients.map(|clients| client_verifier(clients, &provider)).transpose()?;
    let end_point = chain.first().and_then(|certificate| end_point(certificate));
    let build = || {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_client_cert_verifier(verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
            .with_single_cert(chain, private)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A client that comes again resumes without a new signature; its key exchange is new all the same (RFC 8446
        // §2.2). One ticket, for it comes once at a time. Early data stays off: it could be sent again by another.
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        Ok(Arc::new(TlsConfig { rustls: Arc::new(config), end_point }))
    };
    build().map_err(|source| TlsError::Unusable { certificate: certificate.into(), key: key.into(), source })
}

/// Checks the certificates of clients against the authorities of a file.
fn client_verifier(
    clients: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let path = &clients.authorities;
    let damaged = |error| pem_error(path, PemKind::Certificate, error);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| damaged(Some(error)))? {
        let added = roots.add(certificate.map_err(|error| damaged(Some(error)))?);
        added.map_err(|source| TlsError::Authority { path: path.clone(), problem: source.to_string() })?;
    }
    if roots.is_empty() {
        return Err(damaged(None));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| TlsError::Authority { path: path.clone(), problem: error.to_string() })
}

/// What SASL can use of a TLS connection.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) bindings: ChannelBindings,
    /// Whom the client's certificate names, the first name first; empty where it showed none.
    pub(crate) certified: Vec<String>,
}

impl Channel {
    /// Of a handshake that is done.
    fn of(connection: &ServerConnection, config: &TlsConfig) -> Self {
        // RFC 9266 §4.2: with TLS 1.2 it would need the extended master secret, which nobody here insists on.
        let exporter = (connection.protocol_version() == Some(ProtocolVersion::TLSv1_3))
            .then(|| {
                connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok()
            })
            .flatten();
        let bindings = ChannelBindings { exporter, end_point: config.end_point.clone() };
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        Self { bindings, certified: shown.map(names).unwrap_or_default() }
    }
}

/// The most names that are read from a client's certificate.
const CERTIFIED_MAX: usize = 16;

/// Whom a certificate names: its mail addresses (RFC 5280 §4.2.1.6), and else its common name.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return Vec::new() };
    let addresses = parsed.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = addresses
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::RFC822Name(address) => Some((*address).to_owned()),
            _ => None,
        })
        .take(CERTIFIED_MAX)
        .collect();
    if names.is_empty() {
        let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_owned).take(1));
    }
    names
}

/// What was agreed, and what SASL can use of it.
pub(crate) fn settled(connection: &ServerConnection, config: &TlsConfig) -> (TlsFacts, Channel) {
    let channel = Channel::of(connection, config);
    let facts = TlsFacts {
        binding: !channel.bindings.is_empty(),
        certificate: !channel.certified.is_empty(),
        ..facts(connection)
    };
    (facts, channel)
}

/// What was agreed.
fn facts(connection: &ServerConnection) -> TlsFacts {
    let version = connection.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
    let cipher =
        connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str().map(str::to_owned));
    let cipher = cipher.unwrap_or_default().replace("TLS13_", "TLS_"); // the registered names
    let version = version.unwrap_or_default().replace('_', ".");
    TlsFacts { version, cipher, ..TlsFacts::default() }
}

/// What was agreed, as a dialogue tells it.
pub(crate) fn event(connection: &ServerConnection) -> TlsEvent {
    let TlsFacts { version, cipher, .. } = facts(connection);
    // What is no word, as a name that is a page long, is left out.
    let word = |text: &str| Word::new(text).ok();
    TlsEvent::Handshake(dialogue::TlsFacts {
        version: word(&version),
        cipher: word(&cipher),
        name: connection.server_name().and_then(word),
        alpn: connection.alpn_protocol().and_then(|name| str::from_utf8(name).ok()).and_then(word),
    })
}

/// A failed handshake in words for the log.
pub(crate) fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "the client does not speak TLS".into()
        }
        Some(rustls::Error::NoApplicationProtocol) => {
            "the client offers protocols (ALPN), and pop3 is not one".into()
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the client ended the handshake with the alert {alert:?}{}", alert_hint(*alert))
        }
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the client went away during the handshake".into()
        }
        None => error.to_string(),
    }
}

fn alert_hint(alert: rustls::AlertDescription) -> &'static str {
    use rustls::AlertDescription::{BadCertificate, CertificateExpired, CertificateUnknown, UnknownCA};
    match alert {
        UnknownCA | BadCertificate | CertificateUnknown => ": it does not trust this server's certificate",
        CertificateExpired => ": this server's certificate has expired",
        _ => "",
    }
}
