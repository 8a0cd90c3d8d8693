//! What an operator decides: every bound has a name here, its unit last.

use std::{net::SocketAddr, time::Duration};

use crate::proxy::Network;

/// What the server does, apart from where mail and users are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name in the greeting.
    pub hostname: String,
    /// Where clear text that can be upgraded with STLS is spoken.
    pub pop3: Vec<SocketAddr>,
    /// Where TLS is spoken from the first octet (RFC 8314 §3.2).
    pub pop3s: Vec<SocketAddr>,
    /// As `pop3`, behind a header of the PROXY protocol.
    pub proxied_pop3: Vec<SocketAddr>,
    /// As `pop3s`, likewise; the header comes before TLS.
    pub proxied_pop3s: Vec<SocketAddr>,
    /// From where such headers are taken; anybody else who comes to those places is sent away.
    pub proxies: Vec<Network>,
    /// From where passwords are taken without TLS.
    pub cleartext: Cleartext,
    /// Whether APOP is offered.
    pub apop: bool,
    /// The names of the SASL mechanisms that are offered; `None`: all that every user can log in by, but those that need
    /// passwords which the server can read.
    pub mechanisms: Option<Vec<String>>,
    /// The bounds.
    pub limits: Limits,
}

impl Default for Settings {
    /// A server that listens nowhere yet.
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            pop3: Vec::new(),
            pop3s: Vec::new(),
            proxied_pop3: Vec::new(),
            proxied_pop3s: Vec::new(),
            proxies: Vec::new(),
            cleartext: Cleartext::Loopback,
            apop: false,
            mechanisms: None,
            limits: Limits::default(),
        }
    }
}

/// From where passwords are taken without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cleartext {
    /// From nowhere.
    Never,
    /// From this machine.
    Loopback,
    /// From everywhere.
    Always,
}

/// The bounds of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address (IPv6: from one /64).
    pub connections_per_address: usize,
    /// From the connection to the login.
    pub login: Duration,
    /// Without progress in either direction behind the login (RFC 1939 §3: at least ten minutes).
    pub idle: Duration,
    /// For the TLS handshake, and for the header of a proxy.
    pub tls_handshake: Duration,
    /// Without progress while the client does not read.
    pub write: Duration,
    /// For sessions to reach QUIT once the server is told to stop.
    pub drain: Duration,
    /// How long a session of the same user from the same address must have been idle before a new login takes the
    /// maildrop over; zero means never.
    pub takeover_idle: Duration,
    /// Between two logins of a user to whom his directory gives no time of his own (RFC 2449 §6.5); zero means none.
    pub login_delay: Duration,
    /// Wrong passwords that end a connection.
    pub login_failures: u8,
    /// Malformed or misplaced commands in a row that end a connection.
    pub bad_commands: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 100,
            login: Duration::from_secs(180),
            idle: Duration::from_secs(600),
            tls_handshake: Duration::from_secs(30),
            write: Duration::from_secs(300),
            drain: Duration::from_secs(10),
            takeover_idle: Duration::from_secs(60),
            login_delay: Duration::ZERO,
            login_failures: 3,
            bad_commands: 20,
        }
    }
}
