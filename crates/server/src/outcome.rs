//! The log line of a session: what is known of it when it ends, however it ends.

use std::fmt;

use restante_proto::{UserName, server::Close};
use tracing::{debug, info};

use crate::{
    happening::{EndReason, Happening},
    proxy::Via,
    sessions::Present,
};

impl Why {
    /// Whether a proper end of the connection means anything to the client: TLS tells it from a cut.
    pub(crate) const fn is_polite(&self) -> bool {
        match self {
            Self::Session(_)
            | Self::Autologout
            | Self::LoginTimeout
            | Self::TakenOver
            | Self::Kicked
            | Self::Stopped => true,
            Self::WriteTimeout
            | Self::Dead
            | Self::Handshake(_)
            | Self::ClearTextOnTlsPort
            | Self::HttpOnTlsPort
            | Self::NothingSaid
            | Self::Connection(_) => false,
        }
    }

    /// The same for programs.
    pub(crate) const fn reason(&self) -> EndReason {
        match self {
            Self::Session(Close::Quit) => EndReason::Quit,
            Self::Session(Close::QuitRefused) => EndReason::QuitRefused,
            Self::Session(Close::Disconnected) | Self::NothingSaid => EndReason::Disconnected,
            Self::Session(Close::BadCommands) => EndReason::BadCommands,
            Self::Session(Close::LoginFailures) => EndReason::LoginFailures,
            Self::Session(Close::EndlessLine) => EndReason::EndlessLine,
            Self::Session(Close::TlsOnClearPort | Close::HttpRequest)
            | Self::ClearTextOnTlsPort
            | Self::HttpOnTlsPort => EndReason::WrongProtocol,
            Self::Session(Close::BrokenOff) => EndReason::BrokenOff,
            Self::Session(Close::Misuse) => EndReason::Internal,
            Self::Autologout => EndReason::Autologout,
            Self::LoginTimeout => EndReason::LoginTimeout,
            Self::WriteTimeout => EndReason::WriteTimeout,
            Self::Dead => EndReason::Dead,
            Self::Handshake(_) => EndReason::TlsHandshake,
            Self::TakenOver => EndReason::TakenOver,
            Self::Kicked => EndReason::Kicked,
            Self::Connection(_) => EndReason::Connection,
            Self::Stopped => EndReason::Stopped,
        }
    }

    /// Whether it is that the client let the server wait.
    pub(crate) const fn is_timeout(&self) -> bool {
        matches!(self, Self::Autologout | Self::LoginTimeout | Self::WriteTimeout | Self::Dead)
    }
}

/// How a session comes to its end. It is logged when this is dropped, so that a session that is cut off has its line too.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) present: Present,
    /// How many octets had been sent when it was last looked whether they arrive.
    pub(crate) watched_octets: u64,
    pub(crate) why: Why,
}

/// The name of a session, in every log line about it: when the server began, and a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId {
    pub(crate) server: u32,
    pub(crate) number: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.server, self.number)
    }
}

/// Why a session ended.
#[derive(Clone, Debug)]
pub(crate) enum Why {
    /// The session itself says why.
    Session(Close),
    /// It was logged in and silent for too long (RFC 1939 §3).
    Autologout,
    /// Nobody logged in in time.
    LoginTimeout,
    /// The client did not read.
    WriteTimeout,
    /// The client answers nothing any more.
    Dead,
    /// The TLS handshake failed.
    Handshake(String),
    /// Clear text came on the TLS port.
    ClearTextOnTlsPort,
    /// An HTTP request came on the TLS port, in clear text.
    HttpOnTlsPort,
    /// Nothing came on the TLS port before the client went: somebody looked whether it is open.
    NothingSaid,
    /// A new session of the same user took the maildrop over.
    TakenOver,
    /// An operator ended it.
    Kicked,
    /// The connection failed.
    Connection(String),
    /// The server stopped before the session did.
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(close) => close.fmt(f),
            Self::Autologout => f.write_str("idle for too long"),
            Self::LoginTimeout => f.write_str("no login in time"),
            Self::WriteTimeout => f.write_str("the client did not read"),
            Self::Dead => f.write_str("the client is gone"),
            Self::Handshake(error) => write!(f, "TLS handshake: {error}"),
            Self::ClearTextOnTlsPort => f.write_str("clear text on the TLS port"),
            Self::HttpOnTlsPort => f.write_str("HTTP on the TLS port"),
            Self::NothingSaid => f.write_str("the client went away without a word"),
            Self::TakenOver => f.write_str("taken over by a new session"),
            Self::Kicked => f.write_str("ended by the operator"),
            Self::Connection(error) => write!(f, "connection: {error}"),
            Self::Stopped => f.write_str("the server stopped"),
        }
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        // Who hears that it ended may look at once, and finds it ended.
        self.present.leave();
        let presence = self.present.presence();
        let (facts, why) = (presence.facts(), self.why.to_string());
        if presence.via == Via::Itself && facts.commands == 0 {
            // A proxy looks every few seconds whether the server is there.
            debug!(session = %facts.session, address = %facts.client.ip(), "a proxy has looked");
            return presence.live.tell(|| Happening::Ended {
                session: &facts,
                reason: self.why.reason(),
                why: &why,
            });
        }
        // Texts are recorded as such, so that every format quotes them.
        info!(
            session = %facts.session,
            port = %facts.port,
            address = %facts.client.ip(),
            client_port = facts.client.port(),
            proxy = presence.via.proxy().map(tracing::field::display),
            user = facts.user.as_ref().map(UserName::as_str),
            tls = facts.tls.as_ref().map(|tls| format!("{} {}", tls.version, tls.cipher)).as_deref(),
            retr = facts.retrieved,
            top = facts.tops,
            dele = facts.deleted,
            received = facts.received_octets,
            sent = facts.sent_octets,
            seconds = facts.age.as_millis() as f64 / 1000.0,
            why = why.as_str(),
            "session ended"
        );
        let failed = match self.why {
            Why::Handshake(_) | Why::ClearTextOnTlsPort | Why::HttpOnTlsPort => true,
            // Cut off in its midst.
            Why::Kicked | Why::Stopped | Why::LoginTimeout => presence.shakes_hands(),
            _ => false,
        };
        if failed {
            presence.live.tell(|| Happening::NotSecured);
        }
        presence.live.tell(|| Happening::Ended { session: &facts, reason: self.why.reason(), why: &why });
    }
}
