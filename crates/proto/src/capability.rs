//! The capability list of CAPA (RFC 2449 §5–6) as values; parsed by a client, written by a server.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::decimal::push_decimal;

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `TOP` is there (RFC 2449 §6.1).
    Top,
    /// `USER` and `PASS` are there (§6.2).
    User,
    /// `SASL` with the mechanisms of AUTH (§6.3).
    Sasl(Vec<String>),
    /// Replies carry response codes (§6.4).
    RespCodes,
    /// `[AUTH]` and `[SYS/…]` are told apart (RFC 3206 §6).
    AuthRespCode,
    /// The least number of seconds between logins; it may differ between users (RFC 2449 §6.5).
    LoginDelay {
        /// Seconds.
        seconds: u32,
        /// Whether another value may come after login.
        per_user: bool,
    },
    /// Commands may be sent before the answers to earlier ones came (§6.6).
    Pipelining,
    /// How long the server keeps mail, in days; `None` is NEVER (§6.7).
    Expire {
        /// Days.
        days: Option<u32>,
        /// Whether another value may come after login.
        per_user: bool,
    },
    /// `UIDL` is there (§6.8).
    Uidl,
    /// `STLS` is there (RFC 2595 §4).
    Stls,
    /// Who made the server (RFC 2449 §6.9).
    Implementation(String),
    /// Anything else, its line as it came.
    Other(String),
}

impl Capability {
    /// Appends the line, with CRLF.
    ///
    /// ```
    /// use restante_proto::capability::Capability;
    /// let mut out = Vec::new();
    /// Capability::Sasl(vec!["PLAIN".into(), "LOGIN".into()]).write(&mut out);
    /// assert_eq!(out, b"SASL PLAIN LOGIN\r\n");
    /// assert_eq!(Capability::parse("SASL PLAIN LOGIN"), Capability::Sasl(vec!["PLAIN".into(), "LOGIN".into()]));
    /// ```
    pub fn write(&self, out: &mut Vec<u8>) {
        let user = |per_user: &bool| if *per_user { " USER" } else { "" };
        match self {
            Self::Top => out.extend_from_slice(b"TOP"),
            Self::User => out.extend_from_slice(b"USER"),
            Self::Sasl(mechanisms) => {
                out.extend_from_slice(b"SASL");
                for mechanism in mechanisms {
                    out.push(b' ');
                    out.extend_from_slice(mechanism.as_bytes());
                }
            }
            Self::RespCodes => out.extend_from_slice(b"RESP-CODES"),
            Self::AuthRespCode => out.extend_from_slice(b"AUTH-RESP-CODE"),
            Self::LoginDelay { seconds, per_user } => {
                out.extend_from_slice(b"LOGIN-DELAY ");
                push_decimal(u64::from(*seconds), out);
                out.extend_from_slice(user(per_user).as_bytes());
            }
            Self::Pipelining => out.extend_from_slice(b"PIPELINING"),
            Self::Expire { days, per_user } => {
                out.extend_from_slice(b"EXPIRE ");
                match days {
                    Some(days) => push_decimal(u64::from(*days), out),
                    None => out.extend_from_slice(b"NEVER"),
                }
                out.extend_from_slice(user(per_user).as_bytes());
            }
            Self::Uidl => out.extend_from_slice(b"UIDL"),
            Self::Stls => out.extend_from_slice(b"STLS"),
            Self::Implementation(text) => {
                out.extend_from_slice(b"IMPLEMENTATION ");
                out.extend_from_slice(text.as_bytes());
            }
            Self::Other(line) => out.extend_from_slice(line.as_bytes()),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Parses a line of the list, without its line end. What is not understood is kept as [`Self::Other`].
    pub fn parse(line: &str) -> Self {
        Self::parse_known(line).unwrap_or_else(|| Self::Other(line.to_owned()))
    }

    fn parse_known(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_ascii_uppercase();
        let rest: Vec<&str> = words.collect();
        let per_user = |word: &str| word.eq_ignore_ascii_case("USER");
        Some(match (name.as_str(), rest.as_slice()) {
            ("TOP", []) => Self::Top,
            ("USER", []) => Self::User,
            ("SASL", mechanisms) => {
                Self::Sasl(mechanisms.iter().map(|name| name.to_ascii_uppercase()).collect())
            }
            ("RESP-CODES", []) => Self::RespCodes,
            ("AUTH-RESP-CODE", []) => Self::AuthRespCode,
            ("LOGIN-DELAY", [seconds]) => Self::LoginDelay { seconds: decimal(seconds)?, per_user: false },
            ("LOGIN-DELAY", [seconds, user]) if per_user(user) => {
                Self::LoginDelay { seconds: decimal(seconds)?, per_user: true }
            }
            ("PIPELINING", []) => Self::Pipelining,
            ("EXPIRE", [days]) => Self::Expire { days: expire(days)?, per_user: false },
            ("EXPIRE", [days, user]) if per_user(user) => {
                Self::Expire { days: expire(days)?, per_user: true }
            }
            ("UIDL", []) => Self::Uidl,
            ("STLS", []) => Self::Stls,
            ("IMPLEMENTATION", [_, ..]) => {
                Self::Implementation(line.trim_ascii().get(name.len()..)?.trim_ascii_start().to_owned())
            }
            _ => return None,
        })
    }
}

/// `NEVER` or a number of days.
fn expire(word: &str) -> Option<Option<u32>> {
    if word.eq_ignore_ascii_case("NEVER") { Some(None) } else { decimal(word).map(Some) }
}

/// Decimal digits and nothing else; `parse` alone would take a sign.
fn decimal(word: &str) -> Option<u32> {
    word.parse().ok().filter(|_| word.bytes().all(|octet| octet.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn every_capability_comes_back() {
        let all = [
            Capability::Top,
            Capability::User,
            Capability::Sasl(vec!["PLAIN".into(), "SCRAM-SHA-256".into()]),
            Capability::RespCodes,
            Capability::AuthRespCode,
            Capability::LoginDelay { seconds: 900, per_user: false },
            Capability::LoginDelay { seconds: 900, per_user: true },
            Capability::Pipelining,
            Capability::Expire { days: None, per_user: false },
            Capability::Expire { days: Some(0), per_user: true },
            Capability::Uidl,
            Capability::Stls,
            Capability::Implementation("Shlemazle Plotz v302".into()),
            Capability::Other("X-NEW thing".into()),
            Capability::Other("EXPIRE soon".into()),
            Capability::Other("EXPIRE +9".into()),
            Capability::Other("LOGIN-DELAY +5 USER".into()),
        ];
        for capability in all {
            let mut out = Vec::new();
            capability.write(&mut out);
            let line = core::str::from_utf8(&out).unwrap().trim_end_matches("\r\n");
            assert_eq!(Capability::parse(line), capability);
        }
    }
}
