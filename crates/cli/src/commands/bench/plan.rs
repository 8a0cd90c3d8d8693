//! What a run is to do, with all its bounds; nothing here changes while it runs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use restante_proto::Secret;
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};

use crate::url::Url;

/// What each session does; the help's «Modes» has the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    Sessions,
    Retr,
    List,
    Idle,
}

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Retr => "retr",
            Self::List => "list",
            Self::Idle => "idle",
        }
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
