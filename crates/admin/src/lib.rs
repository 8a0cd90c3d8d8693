//! A running server to look at: who is on, each session as its diagram while it grows, metrics, health, and the way to end
//! a session. The server tells what happens ([`restante_server::Observer`]) and knows nothing of this crate.
//!
//! Everything is HTTP, on a unix socket or a TCP address:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | the live page, with its style sheets, scripts and icon (`page.rs`) |
//! | `GET /sessions` | the sessions that are on, and those that ended lately: [`facts::All`] as JSON |
//! | `GET /sessions/events` | the same as it changes (server-sent events): `all` first, then `change` ([`facts::Change`]) |
//! | `GET /sessions/ID` | one session: [`facts::Session`] or [`facts::Ended`] as JSON |
//! | `GET /sessions/ID/dialogue` | what was heard of it so far, as a dialogue (`docs/dialogue.md`) |
//! | `GET /sessions/ID/diagram` | its diagram as it grows (server-sent events) |
//! | `POST /sessions/ID/kick` | ends it: 204, or 404 where none of this name is on |
//! | `GET /watch?user=U`, `?session=ID` | dialogues as they grow, of all sessions that fit: one [`facts::Heard`] as JSON a line |
//! | `GET /locks` | the maildrops that sessions hold: a list of [`facts::Lock`] as JSON |
//! | `GET /metrics` | Prometheus's text |
//! | `GET /livez`, `GET /readyz` | 200, or 503 with the reason |
//!
//! Start reading at [`Admin`], then `routes.rs`. What is heard of sessions, and for whom, is in `hub.rs`.

pub mod client;
mod door;
mod draw;
pub mod facts;
mod hub;
mod list;
mod listen;
pub mod metrics;
mod page;
mod routes;
mod serve;
mod stream;
mod tape;
mod watch;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use restante_server::{Handle, Observer};

pub use door::{Access, Keys};
pub use listen::{ListenError, Place, WhyNot};
pub use serve::Doors;

use crate::{facts::Session, hub::Hub, metrics::Metrics};

/// How long it may take to find out whether the server is ready.
const READY_PATIENCE: Duration = Duration::from_secs(2);
/// For how long a list of sessions serves everybody who asks.
const LIST_KEPT: Duration = Duration::from_millis(200);

/// What a server needs to be looked at. It observes the server from its start, and is asked once that runs.
#[derive(Clone, Debug)]
pub struct Admin {
    hub: Hub,
    metrics: Arc<Metrics>,
    options: Arc<Options>,
}

/// What the operator decides, and what only the program knows.
pub struct Options {
    /// The server's name, as in its greeting.
    pub hostname: String,
    /// Whether mail and users can be reached, or why not. It may take its time.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("hostname", &self.hostname).finish_non_exhaustive()
    }
}

impl Admin {
    /// One for a server that does not run yet.
    ///
    /// ```
    /// use restante_admin::{Admin, Options};
    /// let admin = Admin::new(Options { hostname: "X1".into(), ready: Box::new(|| Ok(())) });
    /// assert_eq!(admin.observers().len(), 2, "for `restante_server::Config`");
    /// ```
    pub fn new(options: Options) -> Self {
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        Self { hub: Hub::new(), metrics, options: Arc::new(options) }
    }

    /// What the server has to tell what happens, by [`restante_server::Config::observers`].
    pub fn observers(&self) -> Vec<Arc<dyn Observer>> {
        vec![Arc::new(self.hub.clone()), Arc::clone(&self.metrics) as _]
    }

    /// What answers questions about the server that this handle is of. Who may ask is not its business.
    pub fn router(&self, handle: Handle) -> Router {
        routes::router(Arc::new(Running {
            handle,
            hub: self.hub.clone(),
            metrics: Arc::clone(&self.metrics),
            options: Arc::clone(&self.options),
            asking: Arc::default(),
            ready: tokio::sync::Mutex::new(None),
            list: Mutex::new(None),
        }))
    }
}

/// A server that runs, and what is known of it.
pub(crate) struct Running {
    handle: Handle,
    hub: Hub,
    metrics: Arc<Metrics>,
    options: Arc<Options>,
    /// It is being found out whether the server is ready.
    asking: Arc<AtomicBool>,
    /// What was found out last, and when that began.
    ready: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
    list: Mutex<Option<(Instant, Arc<[Session]>)>>,
}

impl Running {
    /// The sessions that are on; a moment old at most.
    pub(crate) fn sessions(&self) -> Arc<[Session]> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        match &*list {
            Some((made, sessions)) if made.elapsed() < LIST_KEPT => Arc::clone(sessions),
            _ => {
                let sessions: Arc<[Session]> = self.handle.sessions().iter().map(Session::from).collect();
                *list = Some((Instant::now(), Arc::clone(&sessions)));
                sessions
            }
        }
    }

    /// Lets a session be heard that is on already, unless it is; `false` where none of this name is on.
    pub(crate) fn attach(&self, session: &str) -> bool {
        self.hub.tape(session).is_some() || self.handle.attach(session, Arc::new(self.hub.clone()))
    }

    /// Whether users may log in and find their mail, or why not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        if !self.handle.is_serving() {
            return Err("the server is stopping".into());
        }
        let asked = Instant::now();
        // Who asks while it is found out for somebody else hears what is found out next, as all do who wait for that.
        let mut known = self.ready.lock().await;
        if let Some((found, ready)) = &*known
            && *found >= asked
        {
            return ready.clone();
        }
        let found = Instant::now();
        let ready = self.find_out().await;
        *known = Some((found, ready.clone()));
        ready
    }

    async fn find_out(&self) -> Result<(), String> {
        if self.asking.swap(true, Ordering::AcqRel) {
            // A disk that hangs holds one thread, not one for each question.
            return Err("it is still being found out whether mail and users can be reached".into());
        }
        let (options, asking) = (Arc::clone(&self.options), Asking(Arc::clone(&self.asking)));
        let asked = tokio::task::spawn_blocking(move || {
            let _asking = asking;
            (options.ready)()
        });
        match tokio::time::timeout(READY_PATIENCE, asked).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(_)) => Err("the check failed".into()),
            Err(_) => Err(format!("mail or users cannot be reached within {} s", READY_PATIENCE.as_secs())),
        }
    }
}

/// It is being found out whether the server is ready, until this is dropped.
struct Asking(Arc<AtomicBool>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
