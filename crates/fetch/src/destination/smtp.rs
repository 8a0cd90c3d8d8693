//! SMTP (RFC 5321), and submission with a login (RFC 6409): mail goes on as if it were forwarded. How a message is
//! handed over stands in `relay.rs`.
//!
//! STARTTLS is used where it is offered and works, and required by `?tls=required` and by a login; `?tls=none` does
//! without, even for a password.

use restante_sasl::Credentials;

use super::{
    Batch, BatchMax, Destination, Fate, Fault, Intent, Kind, Promise, Spec, SpecError,
    place::{Place, wrong},
    relay::{
        Envelope, PROMISE, Relay,
        session::{Access, Address, Security, Tongue},
    },
    tls,
    wire::Limits,
};

/// `smtp`, for the registry.
pub const SMTP: Kind = Kind {
    name: "smtp",
    help: "a mail server that takes it further, by SMTP; with a login on port 587",
    example: "smtp://mail.example.org?to=john@example.org",
    promise: PROMISE,
    open,
};

/// `smtps`, for the registry.
pub const SMTPS: Kind = Kind {
    name: "smtps",
    help: "the same over TLS, on port 465",
    example: "smtps://john@mail.example.org?to=john@example.org",
    ..SMTP
};

fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    Smtp::open(spec, Limits::default()).map(|smtp| Box::new(smtp) as Box<dyn Destination>)
}

/// An SMTP server.
#[derive(Clone, Debug)]
pub struct Smtp(Relay);

impl Smtp {
    /// The server of this place, with limits of one's own.
    pub fn open(spec: &Spec, limits: Limits) -> Result<Self, SpecError> {
        let mut place = Place::parse(&spec.place)?;
        if !place.path.is_empty() {
            return wrong(&format!("no path stands behind the host: {}", SMTP.example));
        }
        let envelope = Envelope::take(&mut place.query, SMTP.example)?;
        let credentials = match (place.user, &spec.password) {
            (None, _) => None,
            (Some(user), Some(password)) => Some(Credentials::new(user, password.clone())),
            (Some(_), None) => return wrong("a login wants a password, and none is given"),
        };
        let config = || tls::client_config(spec.ca_file.as_deref());
        let security = match (&*spec.kind, place.query.take("tls").as_deref()) {
            ("smtps", None) => Security::Implicit(config()?),
            ("smtp", Some("required")) => Security::StartTls(config()?),
            ("smtp", Some("none")) => Security::None,
            ("smtp", None) if credentials.is_some() => Security::StartTls(config()?),
            ("smtp", None) => Security::IfOffered(config()?),
            _ => return wrong("tls=required or tls=none can be said of TLS, and with smtp:// only"),
        };
        place.query.finish("?to=, ?from= and ?tls= are")?;
        let port = match (&security, &credentials) {
            (Security::Implicit(_), _) => 465,
            (_, Some(_)) => 587,
            _ => 25,
        };
        let at = Address::Tcp { host: place.host, port: place.port.unwrap_or(port) };
        let access = Access { at, tongue: Tongue::Smtp, security, credentials, limits };
        Ok(Self(Relay::new(access, envelope)))
    }
}

impl Destination for Smtp {
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
