//! Whom a client of ours trusts: the system's certificates, those of a file, or anybody; as options and as TLS
//! settings. How a handshake is done, and what is said over it, is elsewhere.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, InvalidMessage, RootCertStore,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{failure::Failure, output};

/// What helps where a handshake fails.
pub(crate) const HINT: &str = "--ca-file trusts a certificate of your own, --insecure trusts any";

/// The options of every subcommand that speaks TLS to a server.
#[derive(clap::Args)]
pub(crate) struct TrustArgs {
    /// Trusts the certificates of this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Trusts any certificate: for test servers only
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
}

impl TrustArgs {
    /// Whom to trust; that it is anybody is said aloud.
    pub(crate) fn trust(&self) -> Trust {
        if self.insecure {
            output::warn(&["the server's certificate is not checked (--insecure)".to_owned()]);
        }
        match &self.ca_file {
            Some(file) => Trust::File(file.clone()),
            None if self.insecure => Trust::Anybody,
            None => Trust::System,
        }
    }
}

/// Whom to trust.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The system's roots.
    System,
    /// The certificates of this file, and no others.
    File(PathBuf),
    /// Anybody.
    Anybody,
}

impl Trust {
    /// TLS for a client that trusts so.
    pub(crate) fn client_config(&self) -> Result<ClientConfig, Failure> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::failed(format!("TLS cannot be set up: {error}")))?;
        let mut config = match self {
            Self::Anybody => {
                let verifier = Arc::new(NoVerifier(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
            Self::System => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
            Self::File(file) => builder.with_root_certificates(roots_of(file)?).with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"pop3".to_vec()];
        Ok(config)
    }
}

/// The version and the cipher that a handshake settled on, by their registered names.
pub(crate) fn settled(tls: &ClientConnection) -> (Option<String>, Option<String>) {
    let version =
        tls.protocol_version().and_then(|version| version.as_str().map(|text| text.replace('_', ".")));
    // The registered names have no 13 in them.
    let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    (version, cipher.map(|name| name.replace("TLS13_", "TLS_")))
}

/// An error of TLS without its Rust around it.
pub(crate) fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server ended the connection".into(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server does not answer".into(),
        _ => match within(error) {
            _ if is_clear_text(error) => "what the server says is not TLS".into(),
            Some(rustls::Error::InvalidCertificate(wrong)) => certificate(wrong),
            _ => error.to_string(),
        },
    }
}

fn within(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Whether the handshake failed because the other side does not speak TLS.
pub(crate) fn is_clear_text(error: &io::Error) -> bool {
    matches!(within(error), Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Whether the handshake failed because the certificate is not trusted, which [`HINT`] helps against. A certificate
/// that cannot be read stays so, whoever is trusted.
pub(crate) fn is_mistrust(error: &io::Error) -> bool {
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
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is not for this host's name"
        }
        CertificateError::BadEncoding => "cannot be read",
        CertificateError::Revoked => "was revoked",
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

/// What the system trusts. Single certificates that cannot be read are no reason to trust none.
fn system_roots() -> Result<RootCertStore, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
    Err(Failure::failed(format!("the system has no certificates that it trusts{why}"))
        .hint("install the package ca-certificates, or name a file with --ca-file"))
}

fn roots_of(file: &Path) -> Result<RootCertStore, Failure> {
    let fail = |why: String| Failure::failed(format!("{}: {why}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fail(format!("{error} (PEM is expected: CERTIFICATE)")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| fail(error.to_string()))?;
    }
    if roots.is_empty() { Err(fail("holds no certificate".into())) } else { Ok(roots) }
}

/// Takes any certificate, for `--insecure`. Signatures are still checked, so that the handshake stays one.
#[derive(Debug)]
struct NoVerifier(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
