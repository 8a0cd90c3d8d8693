//! The live page of a server that runs here: where it is listened for, who may see it, and whether the server is ready.
//! The page itself, its routes and its doors are the crate `restante-admin`'s.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

use restante_admin::{Access, Admin, Doors, Keys, ListenError, Options, Place, WhyNot};
use restante_server::{Handle, Observer};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::{
    failure::Failure,
    settings::{self, Loaded, Settings, admin::DEFAULT_SOCKET, check},
};

/// What hears of the sessions, and shows them.
pub(super) struct Page {
    admin: Admin,
    keys: Arc<Keys>,
    places: Vec<Place>,
    need: Need,
    /// What readiness is checked by; nothing where it needs no check.
    loaded: Arc<Mutex<Option<Loaded>>>,
}

/// What it means that a place cannot be listened at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// The server does not start.
    Must,
    /// It runs without: nobody asked for it.
    May,
    /// It runs without; but the default was written down, so that somebody may wonder.
    Should,
}

/// The page while it is served; it ends with the server, or when this is dropped.
pub(super) struct Shown {
    end: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl Page {
    /// As the configuration says.
    pub(super) fn of_settings(loaded: &Loaded) -> Result<Self, Failure> {
        let Loaded { settings, places } = loaded;
        let access = access(loaded)?;
        let is_default = settings.listen.admin == [Place::Unix(DEFAULT_SOCKET.into())];
        let need = match (is_default, places.has("listen.admin")) {
            (false, _) => Need::Must,
            (true, true) => Need::Should,
            (true, false) => Need::May,
        };
        let places = settings.listen.admin.clone();
        Ok(Self::new(settings.hostname(), access, places, need, Some(loaded.clone())))
    }

    /// The demo's.
    pub(super) fn of_demo(hostname: &str, access: Access, places: Vec<Place>) -> Self {
        Self::new(hostname.to_owned(), access, places, Need::Must, None)
    }

    fn new(hostname: String, access: Access, places: Vec<Place>, need: Need, loaded: Option<Loaded>) -> Self {
        let keys = Keys::new(access);
        let loaded = Arc::new(Mutex::new(loaded));
        let looked_at = Arc::clone(&loaded);
        let ready = move || {
            // Disks are slow: nobody waits for the lock meanwhile.
            let loaded = looked_at.lock().unwrap_or_else(PoisonError::into_inner).clone();
            loaded.map_or(Ok(()), |loaded| ready(&loaded))
        };
        let admin = Admin::new(Options { hostname, ready: Box::new(ready) });
        Self { admin, keys: Arc::new(keys), places, need, loaded }
    }

    /// What hears of the sessions.
    pub(super) fn observers(&self) -> Vec<Arc<dyn Observer>> {
        match self.places.is_empty() {
            // Nobody could see it.
            true => Vec::new(),
            false => self.admin.observers(),
        }
    }

    /// Listens. Needs a runtime.
    pub(super) fn open(&self) -> Result<Doors, Failure> {
        let error = match Doors::open(&self.places) {
            Ok(doors) => return Ok(doors),
            Err(error) => error,
        };
        let ListenError { why, .. } = &error;
        match (self.need, why) {
            (Need::Must, WhyNot::Taken(_) | WhyNot::Silent) => {
                let is_demo = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).is_none();
                return Err(Failure::failed(error.to_string()).hint(match is_demo {
                    true => "--demo-admin 127.0.0.1:0 takes a port that is free",
                    false => "each server needs a place of its own for its page: [listen] admin",
                }));
            }
            (Need::Must, _) => return Err(Failure::failed(error.to_string())),
            (Need::May, WhyNot::NoFolder(_) | WhyNot::Io(_)) => {
                info!("the server runs without its page and `restante admin`: {error}");
            }
            (Need::May | Need::Should, _) => {
                warn!("the server runs without its page and `restante admin`: {error}");
            }
        }
        Ok(Doors::default())
    }

    /// Serves the page behind these doors.
    pub(super) fn show(&self, doors: Doors, handle: Handle) -> Shown {
        for place in doors.places() {
            info!("listening on {place} (admin)");
        }
        let (end, ends) = oneshot::channel();
        let ended = async {
            // That nobody is left to tell is the same.
            let _told = ends.await;
        };
        let router = self.admin.router(handle);
        Shown { end, serving: tokio::spawn(doors.serve(router, Arc::clone(&self.keys), ended)) }
    }

    /// Takes over what a configuration that was read again says.
    pub(super) fn reload(&self, loaded: Loaded, access: Access) {
        if loaded.settings.listen.admin != self.places {
            let places: Vec<_> = self.places.iter().map(Place::to_string).collect();
            warn!(
                "[listen] admin has changed; that takes a restart, and until then it stays at {}",
                places.join(", ")
            );
        }
        self.keys.replace(access);
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
    }
}

impl Shown {
    /// Ends it; what is still asked is answered, or cut after a moment.
    pub(super) async fn end(self) {
        let Self { end, serving } = self;
        drop(end);
        // It fails only by a panic, which has been told.
        let _ended = serving.await;
    }
}

/// Who may come in; the token's file is read.
pub(super) fn access(loaded: &Loaded) -> Result<Access, Failure> {
    let Loaded { settings, places } = loaded;
    for problem in settings::admin::warnings(settings, places) {
        warn!("{}", places.tell(&problem));
    }
    check::access(settings, places).map_err(|problem| settings::fail(places, &[problem]))
}

/// Whether mail and users can be reached.
fn ready(Loaded { settings, places }: &Loaded) -> Result<(), String> {
    if let Some(problem) = check::roots(settings, places).into_iter().next() {
        return Err(problem.message);
    }
    users(settings)
}

fn users(settings: &Settings) -> Result<(), String> {
    let Some(file) = settings.users_file() else { return Ok(()) };
    let opened = File::open(file).map(drop);
    opened.map_err(|error| format!("cannot read the users file {}: {error}", file.display()))
}
