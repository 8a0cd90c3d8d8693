//! The keys of an authorization server (RFC 7517): read when they are needed, kept, and read again when a token names one
//! that is not there. One question at a time, however many wait for it.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use super::{LookupError, broken, http::Http};

/// After what time keys are read again, though nothing new is asked for.
const RENEWED_AFTER: Duration = Duration::from_secs(3600);

/// For how long keys are used that cannot be read again.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// How often, at most, keys are read again because a token names one that is not there.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(30);

/// How long nobody is asked again after a question that failed.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// How many keys are looked at.
const KEYS_MAX: usize = 64;

/// The keys of one server.
pub(super) struct Keys {
    http: Http,
    issuer: String,
    /// Where they are, if somebody said so.
    url: Option<String>,
    kept: RwLock<Option<Arc<Kept>>>,
    /// Held while they are read.
    asking: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    last: Option<(Instant, bool)>,
}

struct Kept {
    keys: Vec<Key>,
    since: Instant,
}

struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: Arc<DecodingKey>,
}

/// The key of a token.
pub(super) enum Found {
    Key(Arc<DecodingKey>),
    Nothing,
}

impl Keys {
    pub(super) fn new(http: Http, issuer: String, url: Option<String>) -> Self {
        Self { http, issuer, url, kept: RwLock::new(None), asking: Mutex::default() }
    }

    /// The key of this name; where a token names none, the only one that could have signed it.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Found, LookupError> {
        let kept = self.kept();
        if let Some(kept) = &kept
            && kept.since.elapsed() < RENEWED_AFTER
            && let Some(key) = kept.find(kid, algorithm)
        {
            return Ok(Found::Key(key));
        }
        let seen = kept.as_ref().map(|kept| kept.since);
        let renewed = self.renew_unless(seen, kept.is_some()).await;
        let Some(kept) = self.kept().filter(|kept| kept.since.elapsed() < KEPT_FOR) else {
            return Err(renewed.err().unwrap_or_else(|| self.unread("they could not be read a moment ago")));
        };
        match (kept.find(kid, algorithm), renewed) {
            (Some(key), renewed) => {
                if let Err(error) = renewed {
                    tracing::warn!(%error, "the keys of the authorization server are old ones");
                }
                Ok(Found::Key(key))
            }
            // It may be a new one.
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Ok(Found::Nothing),
        }
    }

    /// Reads them now.
    pub(super) async fn renew(&self) -> Result<(), LookupError> {
        let mut asked = self.asking.lock().await;
        self.read(&mut asked).await
    }

    /// Reads them, unless somebody else did since, or it was done too lately.
    async fn renew_unless(&self, seen: Option<Instant>, have: bool) -> Result<(), LookupError> {
        let mut asked = self.asking.lock().await;
        if self.kept().map(|kept| kept.since) != seen {
            return Ok(());
        }
        if let Some((last, went_well)) = asked.last {
            let pause = if went_well && have { UNKNOWN_PAUSE } else { FAILED_PAUSE };
            if last.elapsed() < pause {
                return match went_well {
                    true => Ok(()),
                    false => Err(self.unread("they could not be read a moment ago")),
                };
            }
        }
        self.read(&mut asked).await
    }

    async fn read(&self, asked: &mut Asked) -> Result<(), LookupError> {
        // Whoever asks may go away meanwhile; then it counts as a failure.
        asked.last = Some((Instant::now(), false));
        let keys = self.fetch().await?;
        let since = Instant::now();
        asked.last = Some((since, true));
        let kept = Arc::new(Kept { keys, since });
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(())
    }

    async fn fetch(&self) -> Result<Vec<Key>, LookupError> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let set = self.http.get(&url).await?;
        let list = set.get("keys").and_then(Value::as_array);
        let list = list.ok_or_else(|| self.unread("what is there has no keys"))?;
        Ok(list.iter().take(KEYS_MAX).filter_map(Key::read).collect())
    }

    /// Where the keys are, by the server's metadata (OpenID Connect Discovery §4, RFC 8414 §3).
    async fn discover(&self) -> Result<String, LookupError> {
        let bare = self.issuer.trim_end_matches('/');
        let by_openid = format!("{bare}/.well-known/openid-configuration");
        let metadata = match self.http.get(&by_openid).await {
            Ok(metadata) => metadata,
            Err(error) => match self.well_known().map(|url| async move { self.http.get(&url).await }) {
                Some(asking) => asking.await.map_err(|_| error)?,
                None => return Err(error),
            },
        };
        let text = |name: &str| metadata.get(name).and_then(Value::as_str);
        if text("issuer") != Some(&self.issuer) {
            return Err(self.unread("its metadata is that of another issuer"));
        }
        match text("jwks_uri").filter(|url| super::http::is_safe(url)) {
            Some(url) => Ok(url.to_owned()),
            None => Err(self.unread("its metadata has no https: jwks_uri")),
        }
    }

    /// RFC 8414 §3.1: the word goes between host and path.
    fn well_known(&self) -> Option<String> {
        let mut url = reqwest::Url::parse(&self.issuer).ok()?;
        let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Some(url.into())
    }

    fn unread(&self, why: &str) -> LookupError {
        broken(format!("the keys of {}", self.issuer), why)
    }

    fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Kept {
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Arc<DecodingKey>> {
        let mut fit = self.keys.iter().filter(|key| {
            key.algorithms.contains(&algorithm) && (kid.is_none() || key.kid.as_deref() == kid)
        });
        match (fit.next(), fit.next()) {
            (Some(key), None) => Some(Arc::clone(&key.key)),
            _ => None,
        }
    }
}

impl Key {
    /// A key that can be used; others' keys may be of kinds that nobody here knows.
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => vec![Algorithm::RS256, Algorithm::RS512, Algorithm::PS256],
            AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(_) => vec![Algorithm::EdDSA],
            // A secret that everybody knows is none.
            _ => return None,
        };
        if let Some(named) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == named);
        }
        let key = Arc::new(DecodingKey::from_jwk(&jwk).ok()?);
        Some(Self { kid: jwk.common.key_id, algorithms, key })
    }
}
