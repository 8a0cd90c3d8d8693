//! What the server says it can do (CAPA, RFC 2449 §5), typed; and what is known where it says nothing.

use restante_proto::capability::Capability;

/// The capabilities of a server.
///
/// Before the login and behind it they may differ; [`crate::Client::capabilities`] gives the latest.
///
/// ```
/// use restante_client::{Capabilities, Offer};
/// fn can_read_headers(capabilities: &Capabilities) -> bool {
///     // Servers without CAPA have to be tried: many know TOP.
///     capabilities.top() != Offer::No
/// }
/// assert!(can_read_headers(&Capabilities::default()));
/// assert!(!Capabilities::default().pipelining(), "which is never tried");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    list: Option<Vec<Capability>>,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The server says so.
    Yes,
    /// The server says what it has, and this is not among it.
    No,
    /// The server knows no CAPA: it has to be tried.
    Unknown,
}

impl Capabilities {
    pub(crate) const fn new(list: Vec<Capability>) -> Self {
        Self { list: Some(list) }
    }

    /// Whether the server knows CAPA.
    pub const fn are_known(&self) -> bool {
        self.list.is_some()
    }

    /// Everything it said, in its order.
    pub fn iter(&self) -> impl Iterator<Item = &Capability> {
        self.list.iter().flatten()
    }

    /// TOP (RFC 2449 §6.1).
    pub fn top(&self) -> Offer {
        self.offer(&Capability::Top)
    }

    /// UIDL (§6.8).
    pub fn uidl(&self) -> Offer {
        self.offer(&Capability::Uidl)
    }

    /// USER and PASS (§6.2).
    pub fn user(&self) -> Offer {
        self.offer(&Capability::User)
    }

    /// STLS (RFC 2595 §4).
    pub fn stls(&self) -> Offer {
        self.offer(&Capability::Stls)
    }

    /// Whether commands may be sent before the answers to earlier ones came (§6.6). Only a server that says so takes them.
    pub fn pipelining(&self) -> bool {
        self.offer(&Capability::Pipelining) == Offer::Yes
    }

    /// Whether `[AUTH]` and `[SYS/…]` are told apart (RFC 3206 §6): then a refused login without `[AUTH]` is none of the
    /// password's fault.
    pub fn auth_resp_code(&self) -> bool {
        self.offer(&Capability::AuthRespCode) == Offer::Yes
    }

    /// The SASL mechanisms of AUTH, in capitals (§6.3).
    pub fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.iter()
            .flat_map(|capability| match capability {
                Capability::Sasl(mechanisms) => mechanisms.as_slice(),
                _ => &[],
            })
            .map(String::as_str)
    }

    /// The least number of seconds between logins (§6.5).
    pub fn login_delay(&self) -> Option<u32> {
        self.iter().find_map(|capability| match capability {
            Capability::LoginDelay { seconds, .. } => Some(*seconds),
            _ => None,
        })
    }

    /// How many days the server keeps mail (§6.7): `Some(None)` is for ever.
    pub fn expire(&self) -> Option<Option<u32>> {
        self.iter().find_map(|capability| match capability {
            Capability::Expire { days, .. } => Some(*days),
            _ => None,
        })
    }

    /// Who made the server (§6.9).
    pub fn implementation(&self) -> Option<&str> {
        self.iter().find_map(|capability| match capability {
            Capability::Implementation(text) => Some(text.as_str()),
            _ => None,
        })
    }

    fn offer(&self, wanted: &Capability) -> Offer {
        match &self.list {
            None => Offer::Unknown,
            Some(list) if list.contains(wanted) => Offer::Yes,
            Some(_) => Offer::No,
        }
    }
}
