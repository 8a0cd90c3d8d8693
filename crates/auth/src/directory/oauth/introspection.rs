//! Asking the authorization server about a token (RFC 7662). What it said of one that is active is known for a short while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use blake2::{Blake2s256, Digest as _};
use restante_proto::Secret;
use serde_json::Value;
use tokio::time::Instant;

use super::{LookupError, broken, http::Http};

/// For how long an answer is known: a token that was withdrawn works no longer than that.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// How many answers are known at a time.
const KNOWN_MAX: usize = 4096;

/// The longest answer that is kept, in octets of its text.
const KEPT_MAX_OCTETS: usize = 16 << 10;

/// What was said of tokens, by their hash, and until when that is known.
type Known = HashMap<[u8; 32], (Instant, Arc<Value>)>;

pub(super) struct Introspection {
    http: Arc<Http>,
    url: String,
    client_id: String,
    client_secret: RwLock<Option<Secret<String>>>,
    known: Mutex<Known>,
}

impl Introspection {
    pub(super) fn new(
        http: Arc<Http>,
        url: String,
        client_id: String,
        client_secret: Option<Secret<String>>,
    ) -> Self {
        Self { http, url, client_id, client_secret: RwLock::new(client_secret), known: Mutex::default() }
    }

    /// From now on this proves who we are.
    pub(super) fn replace(&self, client_secret: Option<Secret<String>>) {
        *self.client_secret.write().unwrap_or_else(PoisonError::into_inner) = client_secret;
    }

    /// What it says of a token; `None` if the token is not active.
    pub(super) async fn ask(&self, token: &str) -> Result<Option<Arc<Value>>, LookupError> {
        let hash: [u8; 32] = Blake2s256::digest(token.as_bytes()).into();
        if let Some((until, claims)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&hash)
            && *until > Instant::now()
        {
            return Ok(Some(Arc::clone(claims)));
        }
        let form = [("token", token), ("token_type_hint", "access_token")];
        let secret = self.client_secret.read().unwrap_or_else(PoisonError::into_inner).clone();
        let secret = secret.as_ref().map_or("", |secret| secret.expose().as_str());
        let claims = self.http.post(&self.url, &form, (&self.client_id, secret)).await?;
        match claims.get("active").and_then(Value::as_bool) {
            Some(true) => {}
            Some(false) => return Ok(None),
            None => {
                return Err(broken(
                    format!("asking {}", self.url),
                    "it does not say whether the token is active",
                ));
            }
        }
        let claims = Arc::new(claims);
        if claims.to_string().len() <= KEPT_MAX_OCTETS {
            self.remember(hash, &claims);
        }
        Ok(Some(claims))
    }

    fn remember(&self, hash: [u8; 32], claims: &Arc<Value>) {
        let mut lives = KNOWN_FOR;
        if let Some(expires) = claims.get("exp").and_then(Value::as_u64) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            lives = lives.min(Duration::from_secs(expires.saturating_sub(now)));
        }
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (until, _)| *until > now);
        }
        if known.len() < KNOWN_MAX {
            known.insert(hash, (now + lives, Arc::clone(claims)));
        }
    }
}
