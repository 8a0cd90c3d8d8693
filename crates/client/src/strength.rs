//! How strong a login by password is: what a client can remember of a server, and insist on the next time.
//!
//! Which mechanisms there are is `restante-sasl`'s business; which one is taken is decided in `login.rs`.

use std::{fmt, str::FromStr};

use restante_sasl::{CredentialKind, Mechanism, Needs};

/// How much a login by password gives away, the weakest first.
///
/// Tokens and certificates are logins of another kind, which nobody falls back from or to; and what rests on MD5 is never
/// chosen, only named.
///
/// ```
/// use restante_client::Strength;
/// assert!(Strength::Password < Strength::Keys && Strength::Keys < Strength::Bound);
/// assert_eq!("scram".parse(), Ok(Strength::Keys));
/// assert_eq!(Strength::Bound.to_string(), "scram-plus");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// The server is shown the password: USER, PLAIN, LOGIN.
    Password,
    /// The password is proven and not shown, and so does the server that it knows it: SCRAM (RFC 5802).
    Keys,
    /// And nobody stands between: SCRAM with channel binding.
    Bound,
}

impl Strength {
    /// Each of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Password, Self::Keys, Self::Bound];

    /// That of a mechanism; `None` for tokens, certificates, and what is never chosen.
    pub const fn of(mechanism: &Mechanism) -> Option<Self> {
        match mechanism.needs {
            _ if mechanism.by_name_only || !mechanism.takes(CredentialKind::Password) => None,
            Needs::Keys(_) if mechanism.binding => Some(Self::Bound),
            Needs::Keys(_) => Some(Self::Keys),
            _ => Some(Self::Password),
        }
    }

    /// As a configuration writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Keys => "scram",
            Self::Bound => "scram-plus",
        }
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is no strength.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a login is as strong as password, scram or scram-plus")]
pub struct NoStrength;

impl FromStr for Strength {
    type Err = NoStrength;

    fn from_str(text: &str) -> Result<Self, NoStrength> {
        Self::ALL.into_iter().find(|strength| strength.word().eq_ignore_ascii_case(text)).ok_or(NoStrength)
    }
}
