//! What comes of signing in, and how it is written down.

use std::time::{SystemTime, UNIX_EPOCH};

use oauth2::{TokenResponse as _, basic::BasicTokenResponse};
use restante_proto::Secret;
use serde_json::{Value, json};

use crate::error::OauthError;

/// The longest token that is kept, in octets: as much as a mechanism takes.
const TOKEN_MAX_OCTETS: usize = 10 * 1024;

/// How long before its end a token is replaced at the latest, in seconds.
const MARGIN_MAX_SECONDS: u64 = 60;

/// The tokens of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What opens the mailbox.
    pub access: Secret<String>,
    /// What gets a new one.
    pub refresh: Option<Secret<String>>,
    /// Until when the access token works, as far as is known, in seconds since 1970.
    pub expires_at: Option<u64>,
    /// For how long it was made, in seconds.
    pub lifetime_seconds: Option<u64>,
    /// For what it is good, as the server said.
    pub scope: String,
    /// By whom, and for which client, it was given out: see [`Tokens::owner`].
    pub owner: String,
    /// When a person signed in, in seconds since 1970.
    pub signed_in_at: Option<u64>,
}

impl Tokens {
    /// By whom, and for which client, tokens are given out: others are not sent there.
    pub fn owner(provider: &str, client_id: &str) -> String {
        format!("{provider} {client_id}")
    }

    /// What a server gave.
    pub(crate) fn of(response: &BasicTokenResponse, owner: &str, now: u64) -> Result<Self, OauthError> {
        let access = response.access_token().secret();
        let refresh = response.refresh_token().map(oauth2::RefreshToken::secret);
        for token in [Some(access), refresh].into_iter().flatten() {
            let legal = token.bytes().all(|octet| octet.is_ascii_graphic());
            if token.is_empty() || token.len() > TOKEN_MAX_OCTETS || !legal {
                return Err(OauthError::Away("the authorization server gave what is no token".into()));
            }
        }
        let lifetime_seconds = response.expires_in().map(|time| time.as_secs());
        let scope = response
            .scopes()
            .map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
        Ok(Self {
            access: Secret::new(access.clone()),
            refresh: refresh.map(|token| Secret::new(token.clone())),
            expires_at: lifetime_seconds.map(|lifetime| now.saturating_add(lifetime)),
            lifetime_seconds,
            scope: scope.unwrap_or_default(),
            owner: owner.to_owned(),
            signed_in_at: Some(now),
        })
    }

    /// Whether the access token still works for a while: a minute, or a tenth of its life where that is less.
    pub fn is_fresh(&self, now: u64) -> bool {
        let tenth = self.lifetime_seconds.map_or(MARGIN_MAX_SECONDS, |lifetime| lifetime / 10);
        let margin = tenth.min(MARGIN_MAX_SECONDS);
        self.expires_at.is_none_or(|end| end > now.saturating_add(margin))
    }

    /// As text, for a store.
    pub(crate) fn write(&self) -> Secret<String> {
        let object = json!({
            "version": 1,
            "owner": self.owner,
            "access_token": self.access.expose(),
            "refresh_token": self.refresh.as_ref().map(Secret::expose),
            "expires_at": self.expires_at,
            "lifetime_seconds": self.lifetime_seconds,
            "scope": self.scope,
            "signed_in_at": self.signed_in_at,
        });
        Secret::new(object.to_string())
    }

    /// From that text; `None` if it is another one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let object: Value = serde_json::from_str(text).ok()?;
        let words = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| object.get(name).and_then(Value::as_u64);
        if number("version") != Some(1) {
            return None;
        }
        Some(Self {
            access: Secret::new(words("access_token")?),
            refresh: words("refresh_token").map(Secret::new),
            expires_at: number("expires_at"),
            lifetime_seconds: number("lifetime_seconds"),
            scope: words("scope").unwrap_or_default(),
            owner: words("owner")?,
            signed_in_at: number("signed_in_at"),
        })
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(lifetime: Option<u64>) -> Tokens {
        Tokens {
            access: Secret::new("access-SECRET".into()),
            refresh: Some(Secret::new("refresh-SECRET".into())),
            expires_at: lifetime.map(|lifetime| 1000 + lifetime),
            lifetime_seconds: lifetime,
            scope: "mail".into(),
            owner: Tokens::owner("google", "id"),
            signed_in_at: Some(900),
        }
    }

    #[test]
    fn a_token_is_replaced_a_minute_or_a_tenth_before_its_end() {
        for (lifetime, last) in [(3600, 1000 + 3600 - 61), (100, 1000 + 89), (3, 1002)] {
            assert!(tokens(Some(lifetime)).is_fresh(last), "{lifetime}");
            assert!(!tokens(Some(lifetime)).is_fresh(last + 1), "{lifetime}");
        }
        assert!(tokens(None).is_fresh(u64::MAX));
    }

    #[test]
    fn what_is_written_is_read_and_nothing_is_shown() {
        for lifetime in [None, Some(3600)] {
            let tokens = tokens(lifetime);
            assert_eq!(Tokens::read(tokens.write().expose()), Some(tokens.clone()));
            assert!(!format!("{tokens:?}").contains("SECRET"));
        }
        for other in ["", "{}", "[]", "{\"version\": 2, \"access_token\": \"x\", \"owner\": \"y\"}"] {
            assert_eq!(Tokens::read(other), None);
        }
    }
}
