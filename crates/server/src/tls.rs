//! TLS by rustls: certificates, the `pop3` protocol name of ALPN, and what a failed handshake means in words.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use restante_proto::server::TlsFacts;
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

/// The registered ALPN name of POP3 (RFC 7301, IANA): other names are refused by rustls.
const ALPN: &[u8] = b"pop3";

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or holds no PEM of the kind.
    #[error("{}: {source} (PEM is expected: {expected})", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What failed.
        source: pem::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What failed.
        source: rustls::Error,
    },
}

/// The TLS side of a server from a chain of certificates and a key, both PEM: TLS 1.2 and 1.3, ALPN `pop3`.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain =
        CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|source| TlsError::Pem { path: certificate.into(), expected: "CERTIFICATE", source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.into() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem {
        path: key.into(),
        expected: "PRIVATE KEY",
        source,
    })?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let build = || {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, private)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    };
    build().map_err(|source| TlsError::Unusable { certificate: certificate.into(), key: key.into(), source })
}

/// What was agreed.
pub(crate) fn facts(connection: &ServerConnection) -> TlsFacts {
    let version = connection.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
    let cipher =
        connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str().map(str::to_owned));
    let cipher = cipher.unwrap_or_default().replace("TLS13_", "TLS_"); // the registered names
    TlsFacts { version: version.unwrap_or_default().replace('_', "."), cipher }
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
