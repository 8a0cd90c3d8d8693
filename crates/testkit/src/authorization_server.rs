//! A small OAuth 2.0 authorization server on loopback, to try our clients and our directory against: discovery (RFC 8414),
//! device flow (RFC 8628), authorization code with PKCE (RFC 7636), refresh tokens with rotation, introspection
//! (RFC 7662), and keys (RFC 7517) that can be rotated. It lets its one user in without a question, does what its
//! [`Script`] says, and tells afterwards what it was asked.
//!
//! Its sockets are in `http.rs`, its keys in `keys.rs`, its endpoints in `answers.rs`. It knows no TLS, and keeps secrets as
//! they came: it serves nobody but tests.

mod answers;
mod http;
mod keys;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use self::{http::Asked, keys::Keys};
pub use self::{http::visit, keys::Signature};
use crate::loopback::{Door, Stop};

/// Who has let the client in.
pub const EMAIL: &str = "john@example.org";

/// The client that it knows.
pub const CLIENT_ID: &str = "restante-tests";

/// What that client proves itself with, where it does.
pub const CLIENT_SECRET: &str = "client-Secret-77";

/// What tokens are for (`aud`).
pub const AUDIENCE: &str = "mail.example.org";

/// How many requests are kept.
const REQUESTS_MAX: usize = 4096;

/// What the device flow comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// So often `authorization_pending`, then a token.
    Pending(usize),
    /// So often `slow_down`, then a token.
    SlowDown(usize),
    /// The person says no.
    Denied,
    /// The code is too old.
    Expired,
}

/// What goes wrong at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer comes late.
    Slow(Duration),
    /// No answer comes; the connection stays.
    Hangs,
    /// What comes is no HTTP.
    Garbage,
    /// What comes is no JSON.
    NoJson,
    /// A body of so many octets.
    Huge(usize),
    /// 500, with a page for people.
    Status500,
    /// 503, with an error in JSON.
    Unavailable,
    /// The connection is closed at once.
    Closes,
}

/// What the server does.
#[derive(Clone, Debug)]
pub struct Script {
    /// How long access tokens live, in seconds.
    pub lifetime_seconds: u64,
    /// A refresh gives a new refresh token, and the old one is worth nothing any more.
    pub rotates: bool,
    /// A refresh is answered by `invalid_grant`.
    pub refuses_refresh: bool,
    /// Access tokens are JWTs (RFC 9068); otherwise they mean nothing to anybody else.
    pub jwt: bool,
    /// Access tokens are at least this long, in octets.
    pub token_octets: usize,
    /// The client has to prove itself.
    pub needs_client_secret: bool,
    /// What the device flow comes to.
    pub device: Device,
    /// The authorization endpoint sends this error instead of a code.
    pub refuses: Option<&'static str>,
    /// The authorization endpoint sends another state than it was given.
    pub wrong_state: bool,
    /// The address in the metadata's `issuer`, if not its own.
    pub issuer: Option<String>,
    /// What goes wrong, by path.
    pub faults: BTreeMap<&'static str, Fault>,
    /// Further claims of the tokens that it gives out; those with null are left out.
    pub claims: Value,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            lifetime_seconds: 3600,
            rotates: true,
            refuses_refresh: false,
            jwt: true,
            token_octets: 0,
            needs_client_secret: false,
            device: Device::Pending(1),
            refuses: None,
            wrong_state: false,
            issuer: None,
            faults: BTreeMap::new(),
            claims: json!({}),
        }
    }
}

/// A running server; dropped, it closes all of its connections and waits for its threads.
pub struct AuthorizationServer {
    door: Door,
    world: Arc<World>,
}

struct World {
    state: Mutex<State>,
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct State {
    issuer: String,
    script: Script,
    requests: Vec<(String, BTreeMap<String, String>)>,
    serial: u64,
    /// Authorization codes with their PKCE challenges and redirect URIs.
    codes: BTreeMap<String, (String, String)>,
    /// Device codes with how often they were asked for.
    devices: BTreeMap<String, usize>,
    refresh_tokens: Vec<String>,
    /// Access tokens with their claims.
    tokens: BTreeMap<String, Value>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A word that was not given out before.
    fn new_word(&mut self, what: &str) -> String {
        self.serial += 1;
        format!("{what}-{:04}-SECRET", self.serial)
    }
}

impl AuthorizationServer {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If there is no port.
    #[must_use]
    #[allow(clippy::expect_used)] // of a test: nothing can be done about it
    pub fn start() -> Self {
        let world = Arc::new(World { state: Mutex::default(), keys: Mutex::new(Keys::new()) });
        let shared = Arc::clone(&world);
        let serve = move |socket: TcpStream, stop: &Stop| http::serve(&shared, socket, stop);
        let door = Door::open((Ipv4Addr::LOCALHOST, 0).into(), "oauth", serve);
        let door = door.expect("a free port on loopback");
        world.state().issuer = format!("http://{}", door.address());
        Self { door, world }
    }

    /// Its URL, which is its name too.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://{}", self.door.address())
    }

    /// Changes what it does.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.world.state().script);
    }

    /// From now on this goes wrong at this path; nothing, where it is `None`.
    pub fn fault(&self, path: &'static str, fault: Option<Fault>) {
        let mut state = self.world.state();
        match fault {
            Some(fault) => state.script.faults.insert(path, fault),
            None => state.script.faults.remove(path),
        };
    }

    /// What was asked at a path, one map of parameters a request.
    #[must_use]
    pub fn requests(&self, path: &str) -> Vec<BTreeMap<String, String>> {
        let state = self.world.state();
        state.requests.iter().filter(|(at, _)| at == path).map(|(_, form)| form.clone()).collect()
    }

    /// The claims of a token for its user that lives for so long (a negative number: that is so old).
    #[must_use]
    pub fn claims(&self, lifetime_seconds: i64) -> Value {
        claims(&self.issuer(), lifetime_seconds, 0)
    }

    /// A token with these claims, which introspection knows too.
    #[must_use]
    pub fn mint(&self, claims: &Value, signature: Signature) -> String {
        let token = self.world.keys().sign(claims, signature);
        self.world.state().tokens.insert(token.clone(), claims.clone());
        token
    }

    /// An opaque token with these claims, which only introspection knows.
    #[must_use]
    pub fn mint_opaque(&self, claims: &Value) -> String {
        let mut state = self.world.state();
        let token = state.new_word("opaque");
        state.tokens.insert(token.clone(), claims.clone());
        token
    }

    /// Every access token given out so far is not active any more.
    pub fn revoke_all(&self) {
        self.world.state().tokens.clear();
    }

    /// New keys with new names in place of the old ones.
    pub fn rotate_keys(&self) {
        let new = self.world.keys().next();
        *self.world.keys() = new;
    }

    /// Every word of this server that nobody else may tell: tokens, codes.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let state = self.world.state();
        let mut secrets: Vec<String> = state.tokens.keys().cloned().collect();
        secrets.extend(state.refresh_tokens.iter().cloned());
        secrets.extend(state.codes.keys().cloned());
        secrets.extend(state.devices.keys().cloned());
        secrets.push(CLIENT_SECRET.to_owned());
        secrets
    }
}

/// The claims of a usual token.
fn claims(issuer: &str, lifetime_seconds: i64, serial: u64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    json!({
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "248289761001",
        "email": EMAIL,
        "email_verified": true,
        "scope": "openid mail",
        "iat": now,
        "exp": now.saturating_add_signed(lifetime_seconds),
        "jti": serial.to_string(),
    })
}

/// Overwrites claims; null takes one away.
fn with(mut claims: Value, more: &Value) -> Value {
    if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        for (name, value) in more {
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.clone(), value.clone()),
            };
        }
    }
    claims
}

/// Answers one request.
fn answer(world: &World, asked: &Asked) -> http::Answer {
    let mut state = world.state();
    if state.requests.len() < REQUESTS_MAX {
        let request = (asked.path.clone(), asked.parameters.clone());
        state.requests.push(request);
    }
    if let Some(fault) = state.script.faults.get(asked.path.as_str()) {
        match *fault {
            Fault::Slow(time) => {
                let answered = Box::new(answers::answer(world, &mut state, asked));
                return http::Answer::Late(time, answered);
            }
            fault => return http::Answer::Fault(fault),
        }
    }
    answers::answer(world, &mut state, asked)
}
