//! The server as a whole: it listens, lets connections in, takes a new configuration, and stops in good order.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use restante_auth::Verifier;
use restante_proto::{
    reply::{Refusal, ResponseCode},
    server::{Offer, Policy},
};
use restante_sasl::{Mechanism, Needs};
use restante_store::Store;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tracing::{error, info, warn};

use crate::{
    connection::Connection,
    drive::Stage,
    gate::{Full, Gate, Place, Refusals},
    happening::Happening,
    listen::{self, BindError, Port},
    login_delay::LoginDelays,
    observe::Observer,
    outcome::SessionId,
    proxy::{self, Header, HeaderError, Via},
    registry::Registry,
    sessions::{Arrival, Kick, LockFacts, SessionFacts, Sessions, Totals},
    settings::Settings,
    tls::TlsConfig,
};

/// All that a server is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the operator decides.
    pub settings: Settings,
    /// Certificate and key, from [`crate::server_config`]; without it there is neither STLS nor pop3s.
    pub tls: Option<Arc<TlsConfig>>,
    /// Where mail is.
    pub store: Arc<dyn Store>,
    /// Who users are.
    pub verifier: Arc<Verifier>,
    /// What hears of sessions: usually nothing.
    pub observers: Vec<Arc<dyn Observer>>,
}

/// A server that listens, and serves once it is [run](Self::run).
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    listeners: BTreeMap<listen::Place, TcpListener>,
    handle: Handle,
    orders: mpsc::Receiver<Order>,
}

/// Gives orders to a running [`Server`].
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

/// Why a new configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// An address of it cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

#[derive(Debug)]
enum Order {
    Reload(Box<Config>, oneshot::Sender<Result<(), ReloadError>>),
    Stop,
}

/// What new connections are served by; replaced as a whole on reload, while older ones keep theirs.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) settings: Settings,
    /// As it was for the last session: which mechanisms are offered goes by what the directories can do, which changes when
    /// users do.
    policy: ArcSwap<Policy>,
    pub(crate) tls: Option<Arc<TlsConfig>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    live: ArcSwap<Live>,
    gate: Arc<Gate>,
    refusals: Refusals,
    pub(crate) registry: Arc<Registry>,
    pub(crate) login_delays: Arc<LoginDelays>,
    pub(crate) sessions: Arc<Sessions>,
    /// Where it listens now.
    listening: ArcSwap<Vec<(SocketAddr, Port)>>,
    stopping: AtomicBool,
    began: u32,
    connections: AtomicU64,
}

/// The mechanisms that are offered: those that the operator names, or those by which every user can log in.
fn offers(settings: &Settings, verifier: &Verifier) -> impl Iterator<Item = Offer> {
    let named = settings.mechanisms.as_ref();
    let offered = move |mechanism: &&Mechanism| match named {
        Some(names) => names.iter().any(|name| name.eq_ignore_ascii_case(mechanism.name)),
        None => !mechanism.by_name_only && verifier.can(mechanism.needs),
    };
    restante_sasl::MECHANISMS.iter().filter(offered).map(|mechanism| Offer {
        name: mechanism.name,
        cleartext: mechanism.cleartext,
        binding: mechanism.binding,
        certificate: mechanism.needs == Needs::Certificate,
    })
}

impl Live {
    pub(crate) fn new(config: Config) -> Self {
        let Config { settings, tls, store, verifier, observers } = config;
        let policy = Policy {
            hostname: settings.hostname.clone(),
            stls: tls.is_some(),
            passwords: verifier.can(Needs::Password),
            mechanisms: offers(&settings, &verifier).collect(),
            login_failures_max: settings.limits.login_failures,
            bad_commands_max: settings.limits.bad_commands,
        };
        let policy = ArcSwap::from_pointee(policy);
        Self { settings, policy, tls, store, verifier, observers }
    }

    /// Whether a mechanism is offered that binds to the TLS connection, where there is one.
    pub(crate) fn offers_binding(&self) -> bool {
        self.policy.load().mechanisms.iter().any(|offer| offer.binding)
    }

    /// What holds for a session that begins now.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        let policy = self.policy.load_full();
        let passwords = self.verifier.can(Needs::Password);
        let same = offers(&self.settings, &self.verifier).eq(policy.mechanisms.iter().cloned());
        if same && passwords == policy.passwords {
            return policy;
        }
        let mechanisms = offers(&self.settings, &self.verifier).collect();
        let policy = Arc::new(Policy { passwords, mechanisms, ..Policy::clone(&policy) });
        self.policy.store(Arc::clone(&policy));
        policy
    }

    /// Tells the observers what happened; without any it is not even found out.
    pub(crate) fn tell<'a>(&self, happening: impl FnOnce() -> Happening<'a>) {
        if let [first, others @ ..] = self.observers.as_slice() {
            let happening = happening();
            first.happened(&happening);
            others.iter().for_each(|observer| observer.happened(&happening));
        }
    }
}

impl Server {
    /// Listens on every address of the configuration. Needs a tokio runtime.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let mut listeners = BTreeMap::new();
        for place in listen::places(&config.settings) {
            if let Some(listener) = listen::bind(place)? {
                listeners.insert(place, listener);
            }
        }
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let shared = Arc::new(Shared {
            live: ArcSwap::from_pointee(Live::new(config)),
            gate: Arc::default(),
            refusals: Refusals::default(),
            registry: Arc::default(),
            login_delays: Arc::default(),
            sessions: Arc::default(),
            listening: ArcSwap::from_pointee(addresses(&listeners)),
            stopping: AtomicBool::new(false),
            began: began as u32, // a name, not a time
            connections: AtomicU64::new(0),
        });
        let (to, orders) = mpsc::channel(8);
        let handle = Handle { orders: to, shared: Arc::clone(&shared) };
        Ok(Self { shared, listeners, handle, orders })
    }

    /// Where it listens, with the ports that the system chose where port 0 was asked for.
    pub fn addresses(&self) -> Vec<(SocketAddr, Port)> {
        addresses(&self.listeners)
    }

    /// What gives it orders while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until it is told to stop: then nobody logs in any more, sessions may reach QUIT for a while, and a
    /// commit that has begun is always finished. Told to stop again, it does not wait for sessions.
    ///
    /// Dropped, it stops listening and ends its sessions; commits that have begun go on in their runtime.
    pub async fn run(self) {
        // Its own handle is kept: without any other it serves for ever.
        let Self { shared, listeners, handle: _handle, mut orders } = self;
        let (stage, _) = watch::channel(Stage::Running);
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let accept = |(port, _): listen::Place, listener: TcpListener| {
            let address = listener.local_addr().ok();
            let accept = accept(listener, port, Arc::clone(&shared), stage.subscribe(), alive.clone());
            Accepting { task: tokio::spawn(accept), address }
        };
        let mut accepting: BTreeMap<_, _> =
            listeners.into_iter().map(|(place, listener)| (place, accept(place, listener))).collect();
        while let Some(order) = orders.recv().await {
            let (config, done) = match order {
                Order::Stop => break,
                Order::Reload(config, done) => (config, done),
            };
            let reloaded = reload(&shared, *config, &mut accepting, &accept).await;
            let places = accepting.iter().filter_map(|((port, _), at)| Some((at.address?, *port)));
            shared.listening.store(Arc::new(places.collect()));
            // Nobody may be waiting for the result.
            let _nobody = done.send(reloaded.map_err(ReloadError::from));
        }
        shared.stopping.store(true, Ordering::Relaxed);
        drop(accepting);
        shared.listening.store(Arc::default());
        let drain = shared.live.load().settings.limits.drain;
        info!(seconds = drain.as_secs(), "stopping: sessions may reach QUIT");
        // Sending fails only where no session is left to hear it; likewise below.
        let _no_sessions = stage.send(Stage::Draining);
        drop(alive);
        let drained = async {
            tokio::select! {
                _ = all_gone.recv() => true,
                () = again(&mut orders) => false,
                () = shared.registry.empty() => false,
            }
        };
        if !tokio::time::timeout(drain, drained).await.unwrap_or(false) {
            let _no_sessions = stage.send(Stage::Ending);
            all_gone.recv().await;
        }
        info!("stopped");
    }
}

/// Where these listen, with the ports that the system chose where port 0 was asked for.
fn addresses(listeners: &BTreeMap<listen::Place, TcpListener>) -> Vec<(SocketAddr, Port)> {
    let places = listeners.iter();
    places.filter_map(|((port, _), listener)| Some((listener.local_addr().ok()?, *port))).collect()
}

/// Waits until the server is told to stop once more; refuses what else it is told.
async fn again(orders: &mut mpsc::Receiver<Order>) {
    loop {
        match orders.recv().await {
            Some(Order::Reload(_, done)) => {
                let _nobody = done.send(Err(ReloadError::Stopping));
            }
            Some(Order::Stop) => return,
            None => std::future::pending().await,
        }
    }
}

/// A task that lets connections in; it ends when this is dropped.
#[derive(Debug)]
struct Accepting {
    task: JoinHandle<()>,
    address: Option<SocketAddr>,
}

impl Accepting {
    /// Ends it, and waits until its socket is closed.
    async fn end(mut self) {
        self.task.abort();
        // Its end is the wish; there is nothing else to learn.
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Handle {
    /// Replaces the configuration: sessions go on with the old one, new ones have the new one. When a new address
    /// cannot be listened on, everything stays as it was.
    pub async fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let (done, result) = oneshot::channel();
        self.orders.send(Order::Reload(Box::new(config), done)).await.map_err(|_| ReloadError::Stopping)?;
        result.await.unwrap_or(Err(ReloadError::Stopping))
    }

    /// Tells the server to stop.
    pub async fn stop(&self) {
        // It fails where the server has stopped already.
        let _stopped = self.orders.send(Order::Stop).await;
    }

    /// Whether users may log in: the server has not been told to stop.
    pub fn is_serving(&self) -> bool {
        !self.shared.stopping.load(Ordering::Relaxed)
    }

    /// Where it listens now, by what is spoken there; nowhere once it was told to stop.
    pub fn listening(&self) -> Vec<(SocketAddr, Port)> {
        self.shared.listening.load().to_vec()
    }

    /// The sessions that are on, in the order in which they began.
    pub fn sessions(&self) -> Vec<SessionFacts> {
        self.shared.sessions.list()
    }

    /// The session of this name, if it is on.
    pub fn session(&self, session: &str) -> Option<SessionFacts> {
        self.shared.sessions.find(session).map(|presence| presence.facts())
    }

    /// How many sessions there are and were, and what they sent.
    pub fn totals(&self) -> Totals {
        self.shared.sessions.totals()
    }

    /// The maildrops that sessions hold, by user.
    pub fn locks(&self) -> Vec<LockFacts> {
        self.shared.registry.locks()
    }

    /// Ends a session; `false` where none of this name is on. What was marked in it stays, since it did not come to QUIT;
    /// a commit that has begun is finished.
    pub fn kick(&self, session: &str) -> bool {
        let found = self.shared.sessions.find(session);
        found.inspect(|presence| presence.kick(Kick::Operator)).is_some()
    }

    /// Lets an observer hear a session that is on already, from its next command; `false` where none of this name is on,
    /// or many observers wait for that already.
    /// [`Observer::begin`] is called then, unless the session ends before.
    pub fn attach(&self, session: &str, observer: Arc<dyn Observer>) -> bool {
        let found = self.shared.sessions.find(session);
        found.is_some_and(|presence| presence.want(observer))
    }
}

/// Opens the places that the new configuration adds, closes those that it does not have, and on failure goes back.
async fn reload(
    shared: &Shared,
    config: Config,
    accepting: &mut BTreeMap<listen::Place, Accepting>,
    accept: &impl Fn(listen::Place, TcpListener) -> Accepting,
) -> Result<(), BindError> {
    let wanted = listen::places(&config.settings);
    let added: Vec<_> = wanted.iter().filter(|place| !accepting.contains_key(place)).copied().collect();
    // An address that moves between pop3 and pop3s is in its own way.
    let moved = |(_, address): &listen::Place| added.iter().any(|(_, other)| other == address);
    let moving: Vec<_> =
        accepting.keys().filter(|place| !wanted.contains(place) && moved(place)).copied().collect();
    for place in &moving {
        if let Some(task) = accepting.remove(place) {
            task.end().await;
        }
    }
    let bound: Result<Vec<_>, _> = added.iter().map(|place| Ok((*place, listen::bind(*place)?))).collect();
    let (opened, result) = match bound {
        Ok(opened) => {
            accepting.retain(|place @ (port, address), _| {
                let kept = wanted.contains(place);
                if !kept {
                    info!("no longer listening on {address} ({port})");
                }
                kept
            });
            for (port, address) in added {
                info!("listening on {address} ({port})");
            }
            shared.live.store(Arc::new(Live::new(config)));
            (opened, Ok(()))
        }
        Err(error) => {
            let back = moving.into_iter().filter_map(|place| match listen::bind(place) {
                Ok(listener) => Some((place, listener)),
                Err(error) => {
                    error!("{error}; it was listened on before");
                    None
                }
            });
            (back.collect(), Err(error))
        }
    };
    let listening = opened.into_iter().filter_map(|(place, listener)| Some((place, listener?)));
    accepting.extend(listening.map(|(place, listener)| (place, accept(place, listener))));
    result
}

/// Lets connections in.
async fn accept(
    listener: TcpListener,
    port: Port,
    shared: Arc<Shared>,
    stage: watch::Receiver<Stage>,
    alive: mpsc::Sender<()>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let door = Door { port, shared: &shared, stage: &stage, alive: &alive };
                let peer = listen::canonical(peer);
                if port.is_proxied() { door.proxy(stream, peer) } else { door.client(stream, peer) }
            }
            Err(error) => {
                // Out of file descriptors, most likely: waiting lets sessions end.
                if let Some(times) = shared.refusals.count(std::time::Instant::now()) {
                    warn!(error = error.to_string().as_str(), times, "cannot accept connections");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What a new connection comes through.
#[derive(Clone, Copy)]
struct Door<'a> {
    port: Port,
    shared: &'a Arc<Shared>,
    stage: &'a watch::Receiver<Stage>,
    alive: &'a mpsc::Sender<()>,
}

impl Door<'_> {
    /// A client has connected.
    fn client(self, stream: TcpStream, peer: SocketAddr) {
        let live = self.shared.live.load_full();
        match self.shared.gate.enter(peer.ip(), &live.settings.limits) {
            Ok(place) => self.admit(stream, peer, Via::Nobody, live, place),
            Err(full) => self.refuse(&stream, peer, &live, full),
        }
    }

    /// A proxy has connected, if it is one, and says for whom.
    fn proxy(self, mut stream: TcpStream, peer: SocketAddr) {
        let live = self.shared.live.load_full();
        if !live.settings.proxies.iter().any(|network| network.contains(peer.ip())) {
            live.tell(|| Happening::Refused { limit: "proxies" });
            if let Some(refused) = self.shared.refusals.count(std::time::Instant::now()) {
                warn!(address = %peer.ip(), limit = "proxies", refused, "connections refused: not from a proxy");
            }
            return;
        }
        // Those that have not said for whom they come are bounded by the number of connections, and by the time that they have.
        let place = match self.shared.gate.enter_unnamed(&live.settings.limits) {
            Ok(place) => place,
            Err(full) => return self.refuse(&stream, peer, &live, full),
        };
        let (port, shared, mut stage, alive) =
            (self.port, Arc::clone(self.shared), self.stage.clone(), self.alive.clone());
        tokio::spawn(async move {
            let patience = live.settings.limits.tls_handshake;
            let mut ending = stage.clone();
            let read = tokio::select! {
                biased;
                // It fails where the server is gone.
                _ = ending.wait_for(|stage| *stage >= Stage::Draining) => return,
                read = tokio::time::timeout(patience, proxy::read(&mut stream)) => read,
            };
            stage.mark_unchanged();
            let door = Door { port, shared: &shared, stage: &stage, alive: &alive };
            let (client, via) = match read {
                Ok(Ok(Header::Client(client))) => (client, Via::Proxy(peer.ip())),
                Ok(Ok(Header::Itself)) => (peer, Via::Itself),
                Ok(Err(HeaderError::Nothing)) => return,
                Ok(Err(error)) => return door.no_header(peer, &error.to_string()),
                Err(_) => return door.no_header(peer, "it did not come in time"),
            };
            // What it looks at by itself is no client's.
            let named = match via {
                Via::Itself => Ok(place),
                Via::Proxy(_) | Via::Nobody => place.named(client.ip(), &live.settings.limits),
            };
            match named {
                Ok(place) => door.admit(stream, client, via, live, place),
                Err(full) => door.refuse(&stream, client, &live, full),
            }
        });
    }

    fn no_header(self, peer: SocketAddr, why: &str) {
        if let Some(refused) = self.shared.refusals.count(std::time::Instant::now()) {
            warn!(address = %peer.ip(), why, refused, "connections refused: no header of a proxy");
        }
    }

    fn refuse(self, stream: &TcpStream, peer: SocketAddr, live: &Live, full: Full) {
        live.tell(|| Happening::Refused { limit: full.name() });
        if let Some(refused) = self.shared.refusals.count(std::time::Instant::now()) {
            warn!(address = %peer, limit = full.name(), refused, "connections refused: too many");
        }
        if self.port.spoken() == Port::Pop3 {
            let mut out = Vec::new();
            Refusal::coded(ResponseCode::SysTemp, "too many connections, try again later").write(&mut out);
            // Said if it can be said at once: a flood is not worth waiting for.
            let _unsaid = stream.try_write(&out);
        }
    }

    fn admit(self, stream: TcpStream, peer: SocketAddr, via: Via, live: Arc<Live>, place: Place) {
        let Self { shared, stage, alive, .. } = self;
        let port = self.port.spoken();
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let arrival = Arrival {
            id: SessionId { server: shared.began, number },
            port,
            peer,
            via,
            server: stream.local_addr().ok().map(listen::canonical),
            live,
        };
        let connection = Connection {
            stream,
            present: shared.sessions.enter(arrival),
            shared: Arc::clone(shared),
            stage: stage.clone(),
            alive: alive.clone(),
            place,
        };
        // Who hears of it finds it in the table.
        connection.present.presence().live.tell(|| Happening::Connected { port });
        tokio::spawn(connection.run());
    }
}
