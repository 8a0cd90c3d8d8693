//! How a connection is made and held: time limits, TLS, what may be under way.

use std::{sync::Arc, time::Duration};

use restante_proto::client::WindowMax;
use rustls::ClientConfig;

use crate::{
    tls::{TlsError, TlsOptions},
    transcript::Transcript,
};

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection, all addresses of the host together.
    pub connect: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For an answer, or for more of it. Each octet of a message begins the wait anew, so that a slow transfer lives and a
    /// stalled one does not; status lines and listings have to come at some pace.
    pub answer: Duration,
}

impl Default for Timeouts {
    /// 30 s, 30 s and 3 minutes: some servers read all mail before they list it.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            handshake: Duration::from_secs(30),
            answer: Duration::from_secs(180),
        }
    }
}

/// How a connection is made and held.
///
/// ```
/// use restante_client::{Options, tls::{TlsOptions, Trust}};
/// let options = Options {
///     tls: TlsOptions { trust: Trust::File("/etc/ssl/my-ca.pem".into()), ..TlsOptions::default() },
///     ..Options::default()
/// };
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Time limits.
    pub timeouts: Timeouts,
    /// Whom to trust, and with what to identify.
    pub tls: TlsOptions,
    /// TLS made ready before, so that many connections share it and resume each other's sessions; it goes before `tls`.
    pub tls_config: Option<Arc<ClientConfig>>,
    /// Whether a password may go over a connection that is not encrypted.
    pub cleartext_passwords: bool,
    /// Whether a response may go out with AUTH itself, where it fits (RFC 5034 §4). Without it each waits for the challenge: the
    /// two lines that Microsoft's servers ask for with XOAUTH2.
    pub initial_response: bool,
    /// What may be under way at a time, where the server offers PIPELINING.
    pub window: WindowMax,
    /// Whether PIPELINING is used where it is offered.
    pub pipelining: bool,
    /// Where the session is written down, without its secrets.
    pub transcript: Option<Transcript>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeouts: Timeouts::default(),
            tls: TlsOptions::default(),
            tls_config: None,
            cleartext_passwords: false,
            initial_response: true,
            window: WindowMax::default(),
            pipelining: true,
            transcript: None,
        }
    }
}

impl Options {
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        match &self.tls_config {
            Some(config) => Ok(Arc::clone(config)),
            None => self.tls.client_config().map(Arc::new),
        }
    }
}
