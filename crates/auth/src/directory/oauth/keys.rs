//! The keys of an authorization server (RFC 7517): read when they are needed, kept, and read again when a token names one
//! that is not there. One question at a time, however many wait for it; who has a key that is kept waits for nothing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{LookupError, broken, http::Http};

/// After what time keys are read again, though nothing new is asked for.
const RENEWED_AFTER: Duration = Duration::from_secs(3600);

/// For how long keys are used that cannot be read again.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// How long after a question keys are not read again because a token names one that is not there.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(30);

/// How long after a question that failed nobody is asked again, where somebody waits for the answer.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// The same where kept keys do.
const RENEWAL_PAUSE: Duration = Duration::from_secs(60);

/// How many keys are looked at.
const KEYS_MAX: usize = 64;

/// The keys of one server.
pub(super) struct Keys {
    shared: Arc<Shared>,
}

struct Shared {
    http: Arc<Http>,
    issuer: String,
    /// Where they are, if somebody said so.
    url: Option<String>,
    /// How long all requests of one question may take.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Arc<Kept>>,
    /// The question that is being asked.
    running: Option<watch::Receiver<Option<Outcome>>>,
    /// When the last one ended, and how: its end counts, or those who wait for a server that hangs would each ask anew.
    last: Option<(Instant, Outcome)>,
}

/// What a question came to, for all who wait for it.
type Outcome = Result<(), Arc<str>>;

/// A question on its way. Whatever ends it, everybody hears of it.
struct Question {
    shared: Arc<Shared>,
    tell: watch::Sender<Option<Outcome>>,
    outcome: Outcome,
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.running = None;
        state.last = Some((Instant::now(), self.outcome.clone()));
        drop(state);
        self.tell.send_replace(Some(self.outcome.clone()));
    }
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
    pub(super) fn new(http: Arc<Http>, issuer: String, url: Option<String>, patience: Duration) -> Self {
        Self { shared: Arc::new(Shared { http, issuer, url, patience, state: Mutex::default() }) }
    }

    /// The key of this name; where a token names none, the only one that could have signed it.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Found, LookupError> {
        let shared = &self.shared;
        if let Some(kept) = shared.kept()
            && let Some(key) = kept.find(kid, algorithm)
        {
            if kept.since.elapsed() >= RENEWED_AFTER {
                shared.renew_behind();
            }
            return Ok(Found::Key(key));
        }
        let renewed = shared.renew_unless_lately().await;
        match (shared.kept().and_then(|kept| kept.find(kid, algorithm)), renewed) {
            (Some(key), _) => Ok(Found::Key(key)),
            (None, Ok(())) => Ok(Found::Nothing),
            // It may be a new one.
            (None, Err(why)) => Err(shared.unread(&why)),
        }
    }

    /// Reads them now.
    pub(super) async fn renew(&self) -> Result<(), LookupError> {
        let answer = self.shared.ask(self.shared.state());
        wait(answer).await.map_err(|why| self.shared.unread(&why))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys that may still be used.
    fn kept(&self) -> Option<Arc<Kept>> {
        self.state().kept.clone().filter(|kept| kept.since.elapsed() < KEPT_FOR)
    }

    /// Has them read while nobody waits.
    fn renew_behind(self: &Arc<Self>) {
        let state = self.state();
        let lately = |(end, _): &(Instant, Outcome)| end.elapsed() < RENEWAL_PAUSE;
        if !state.last.as_ref().is_some_and(lately) {
            drop(self.ask(state));
        }
    }

    /// Reads them, with all others who want that; if it was done too lately, what it came to then is what it comes to now.
    async fn renew_unless_lately(self: &Arc<Self>) -> Outcome {
        let answer = {
            let state = self.state();
            if state.running.is_none()
                && let Some((end, outcome)) = &state.last
            {
                let pause = if outcome.is_ok() { UNKNOWN_PAUSE } else { FAILED_PAUSE };
                if end.elapsed() < pause {
                    return outcome.clone();
                }
            }
            self.ask(state)
        };
        wait(answer).await
    }

    /// Asks the question, unless it is being asked. It goes on by itself, within its time, though all who wait go away.
    fn ask(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> watch::Receiver<Option<Outcome>> {
        if let Some(running) = &state.running {
            return running.clone();
        }
        let (tell, answer) = watch::channel(None);
        state.running = Some(answer.clone());
        // A runtime that ends drops the task at once, and its end needs the state.
        drop(state);
        let broken_off = Err(Arc::from("reading them was broken off"));
        let mut question = Question { shared: Arc::clone(self), tell, outcome: broken_off };
        drop(tokio::spawn(async move {
            let shared = Arc::clone(&question.shared);
            question.outcome = match timeout(shared.patience, shared.fetch()).await {
                Ok(Ok(keys)) => {
                    let since = Instant::now();
                    shared.state().kept = Some(Arc::new(Kept { keys, since }));
                    Ok(())
                }
                Ok(Err(error)) => Err(error.to_string().into()),
                Err(_) => Err(Arc::from("the authorization server did not answer in time")),
            };
            if let Err(why) = &question.outcome
                && shared.kept().is_some()
            {
                tracing::warn!(%why, "the keys of the authorization server are old ones: reading them again failed");
            }
        }));
        answer
    }

    async fn fetch(&self) -> Result<Vec<Key>, LookupError> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let set = self.http.get(&url).await?;
        let list = set.get("keys").and_then(Value::as_array);
        let list = list.ok_or_else(|| broken(format!("asking {url}"), "what is there has no keys"))?;
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
            return Err(broken("its metadata", "it is that of another issuer"));
        }
        match text("jwks_uri").filter(|url| super::http::is_safe(url)) {
            Some(url) => Ok(url.to_owned()),
            None => Err(broken("its metadata", "it has no https: jwks_uri")),
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
}

async fn wait(mut answer: watch::Receiver<Option<Outcome>>) -> Outcome {
    match answer.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(outcome)) => outcome.clone(),
        // The question tells its end before it goes; nobody gets here.
        _ => Err(Arc::from("reading them was broken off")),
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
