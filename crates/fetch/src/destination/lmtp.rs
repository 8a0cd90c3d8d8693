//! LMTP (RFC 2033): a local mail server's door for delivery, such as Dovecot's. How a message is handed over stands in
//! `relay.rs`.

use super::{
    Batch, BatchMax, Destination, Fate, Fault, Intent, Kind, Promise, Spec, SpecError,
    place::{Place, Query, decode, wrong},
    relay::{
        Envelope, PROMISE, Relay,
        session::{Access, Address, Security, Tongue},
    },
    tls,
    wire::Limits,
};

/// `lmtp`, for the registry.
pub const KIND: Kind = Kind {
    name: "lmtp",
    help: "a mail server's LMTP socket, or lmtp://host:port",
    example: "lmtp:/run/dovecot/lmtp?to=john",
    promise: PROMISE,
    open,
};

const DEFAULT_PORT: u16 = 24;

fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    Lmtp::open(spec, Limits::default()).map(|lmtp| Box::new(lmtp) as Box<dyn Destination>)
}

/// An LMTP server.
#[derive(Clone, Debug)]
pub struct Lmtp(Relay);

impl Lmtp {
    /// The server of this place, with limits of one's own.
    pub fn open(spec: &Spec, limits: Limits) -> Result<Self, SpecError> {
        let (at, mut query) = if spec.place.starts_with("//") {
            let place = Place::parse(&spec.place)?;
            if place.user.is_some() || !place.path.is_empty() {
                return wrong("LMTP knows no login and no path: lmtp://host:24?to=john");
            }
            (Address::Tcp { host: place.host, port: place.port.unwrap_or(DEFAULT_PORT) }, place.query)
        } else {
            let (path, query) = Query::split(&spec.place)?;
            if !path.starts_with('/') {
                return wrong("a socket's path begins with a slash: lmtp:/run/dovecot/lmtp?to=john");
            }
            (Address::Unix(decode(path)?.into()), query)
        };
        let envelope = Envelope::take(&mut query, KIND.example)?;
        let security = match (query.take("tls").as_deref(), &at) {
            (None, _) => Security::None,
            (Some("required"), Address::Tcp { .. }) => {
                Security::StartTls(tls::client_config(spec.ca_file.as_deref())?)
            }
            _ => return wrong("tls=required is all that can be said of TLS, and with lmtp:// only"),
        };
        query.finish("?to=, ?from= and ?tls= are")?;
        let access = Access { at, tongue: Tongue::Lmtp, security, credentials: None, limits };
        Ok(Self(Relay::new(access, envelope)))
    }
}

impl Destination for Lmtp {
    fn promise(&self) -> Promise {
        self.0.promise()
    }

    fn batch_max(&self) -> BatchMax {
        self.0.batch_max()
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        self.0.batch()
    }

    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault> {
        self.0.resolve(intent)
    }
}
