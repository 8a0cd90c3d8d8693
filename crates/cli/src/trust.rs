//! Whom our clients trust, as options of the command line. What they mean is `restante_client::tls`.

use std::path::PathBuf;

use restante_client::{
    Error, UrlError,
    tls::{Identity, Pin, ReasonKind, TlsError, TlsOptions, Trust, Version},
};

use crate::{failure::Failure, output, terminal::harmless_line};

/// What helps where a certificate is not trusted.
pub(crate) const HINT: &str =
    "--ca-file trusts a certificate of your own, --pin one key, --insecure trusts any";

/// What helps where the other side does not speak TLS from the first byte.
pub(crate) const CLEAR_TEXT_HINT: &str =
    "there is no TLS from the first byte: pop3:// is STLS, and ?tls=none behind the host is plain";

/// The options of every subcommand that speaks TLS to a server.
#[derive(clap::Args)]
pub(crate) struct TrustArgs {
    /// Trusts the certificates of this file (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Trusts a server with this public key, whoever signed its certificate: sha256/ and base64
    #[arg(long, value_name = "PIN", conflicts_with = "ca_file")]
    pin: Vec<Pin>,

    /// Trusts any certificate: for test servers only
    #[arg(long, conflicts_with_all = ["ca_file", "pin"])]
    insecure: bool,

    /// Identifies with this certificate (PEM), if the server asks for one
    #[arg(long, value_name = "FILE", requires = "client_key")]
    client_certificate: Option<PathBuf>,

    /// The private key of --client-certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    client_key: Option<PathBuf>,

    /// Refuses TLS 1.2
    #[arg(long)]
    tls13: bool,
}

impl TrustArgs {
    /// Whether any of them is given.
    pub(crate) const fn is_given(&self) -> bool {
        self.ca_file.is_some()
            || !self.pin.is_empty()
            || self.insecure
            || self.client_certificate.is_some()
            || self.tls13
    }

    /// Whom to trust; that it is anybody is said aloud.
    pub(crate) fn options(&self) -> TlsOptions {
        if self.insecure {
            output::warn(&["the server's certificate is not checked (--insecure)".to_owned()]);
        }
        let trust = match (&self.ca_file, self.pin.as_slice()) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, [_, ..]) => Trust::Pinned(self.pin.clone()),
            (None, []) if self.insecure => Trust::Anybody,
            (None, []) => Trust::System,
        };
        let identity = self.client_certificate.clone().zip(self.client_key.clone());
        TlsOptions {
            trust,
            identity: identity.map(|(certificate, key)| Identity { certificate, key }),
            min_version: if self.tls13 { Version::Tls13 } else { Version::Tls12 },
            max_version: None,
        }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::from_tls(&error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from_client(&error)
    }
}

impl Failure {
    fn from_tls(error: &TlsError) -> Self {
        // Both kinds of errors hold words of the server.
        let failure = Self::failed(harmless_line(&error.to_string()));
        match error {
            TlsError::NoRoots(_) => failure.hint("--ca-file names a file"),
            TlsError::Handshake(reason) => match reason.kind() {
                ReasonKind::Mistrust => failure.hint(HINT),
                ReasonKind::ClearText => failure.hint(CLEAR_TEXT_HINT),
                ReasonKind::Other => failure,
            },
            _ => failure,
        }
    }

    /// An error of the client library in words, with what helps.
    pub(crate) fn from_client(error: &Error) -> Self {
        match error {
            Error::Tls(error) => Self::from_tls(error),
            Error::Cleartext => {
                Self::failed(error.to_string()).hint("pop3s:// is TLS from the first byte, pop3:// is STLS")
            }
            Error::TooWeak { .. } => Self::failed(harmless_line(&error.to_string())).hint(
                "nothing was sent: somebody between may have stripped the list, or the minimum is too high",
            ),
            error => Self::failed(harmless_line(&error.to_string())),
        }
    }
}

impl From<UrlError> for Failure {
    fn from(error: UrlError) -> Self {
        let failure = Self::usage(error.to_string());
        match error {
            UrlError::Password => failure.hint("use --password-command, --password-env or --password-file"),
            _ => failure,
        }
    }
}
