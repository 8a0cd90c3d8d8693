//! What a run is to do, with all its bounds; nothing here changes while it runs.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use restante_proto::Secret;
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};

use restante_client::Url;

/// What each session does; the help's «Modes» has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    Sessions,
    Retr,
    List,
    Idle,
    Slow,
}

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Retr => "retr",
            Self::List => "list",
            Self::Idle => "idle",
            Self::Slow => "slow",
        }
    }

    /// Whether all sessions are held at once, instead of one after another.
    pub(super) const fn holds(self) -> bool {
        matches!(self, Self::Idle | Self::Slow)
    }
}

/// TLS handshakes of later sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handshakes {
    /// Each is a full one.
    Full,
    /// Tickets are used, each client its own.
    Resumed,
}

/// The plan.
pub(super) struct Plan {
    pub(super) url: Url,
    pub(super) address: SocketAddr,
    /// Who the server's certificate is to be for.
    pub(super) name: ServerName<'static>,
    /// `None` where there is no TLS.
    pub(super) tls: Option<ClientConfig>,
    pub(super) handshakes: Handshakes,
    /// The whole line, so that it is made and wiped once.
    pub(super) pass: Secret<Vec<u8>>,
    pub(super) users: Vec<Arc<str>>,
    pub(super) mode: Mode,
    pub(super) clients: usize,
    /// How many sessions are due in a second, whether or not earlier ones have ended; `None` where each client
    /// begins one after another.
    pub(super) rate: Option<NonZeroU32>,
    /// The addresses that connections come from, in turn; none where the system chooses.
    pub(super) sources: Vec<IpAddr>,
    /// What a session in [`Mode::Slow`] reads in a second.
    pub(super) sip_octets: usize,
    /// No more sessions than this.
    pub(super) sessions: Option<u64>,
    /// No session begins after this time.
    pub(super) duration: Duration,
    /// How long a client waits for anything.
    pub(super) patience: Duration,
    /// The messages that a session retrieves in [`Mode::Sessions`].
    pub(super) retr: u32,
    /// How many RETRs are under way at once.
    pub(super) pipeline: u32,
}

impl Plan {
    /// The TLS settings of one more client.
    pub(super) fn tls_of_a_client(&self) -> Option<Arc<ClientConfig>> {
        let mut config = self.tls.clone()?;
        config.resumption = match self.handshakes {
            Handshakes::Full => Resumption::disabled(),
            Handshakes::Resumed => Resumption::in_memory_sessions(1),
        };
        Some(Arc::new(config))
    }
}
