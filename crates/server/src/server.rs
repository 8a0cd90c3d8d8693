//! The server as a whole: it listens, lets connections in, takes a new configuration, and stops in good order.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use restante_auth::Verifier;
use restante_proto::{
    reply::{Refusal, ResponseCode},
    server::{Offer, Policy},
};
use restante_store::Store;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};
use tracing::{info, warn};

use crate::{
    connection::Connection,
    drive::Stage,
    gate::{Full, Gate},
    listen::{self, BindError, Port},
    outcome::SessionId,
    registry::Registry,
    settings::Settings,
};

/// All that a server is made from.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the operator decides.
    pub settings: Settings,
    /// Certificate and key, from [`crate::server_config`]; without it there is neither STLS nor pop3s.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Where mail is.
    pub store: Arc<dyn Store>,
    /// Who users are.
    pub verifier: Arc<Verifier>,
}

/// A server that listens, and serves once it is [run](Self::run).
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    listeners: HashMap<(Port, SocketAddr), TcpListener>,
    handle: Handle,
    orders: mpsc::Receiver<Order>,
}

/// Gives orders to a running [`Server`].
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Order>);

#[derive(Debug)]
enum Order {
    Reload(Box<Config>, oneshot::Sender<Result<(), BindError>>),
    Stop,
}

/// What new connections are served by; replaced as a whole on reload, while older ones keep theirs.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) settings: Settings,
    pub(crate) policy: Arc<Policy>,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) verifier: Arc<Verifier>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    live: ArcSwap<Live>,
    gate: Arc<Gate>,
    pub(crate) registry: Arc<Registry>,
    began: u32,
    connections: AtomicU64,
}

impl Live {
    fn new(config: Config) -> Self {
        let Config { settings, tls, store, verifier } = config;
        let mechanisms = restante_sasl::MECHANISMS
            .iter()
            .map(|mechanism| Offer { name: mechanism.name, cleartext: mechanism.cleartext })
            .collect();
        let policy = Arc::new(Policy {
            hostname: settings.hostname.clone(),
            stls: tls.is_some(),
            mechanisms,
            login_failures_max: settings.limits.login_failures,
            bad_commands_max: settings.limits.bad_commands,
        });
        Self { settings, policy, tls, store, verifier }
    }
}

impl Server {
    /// Listens on every address of the configuration. Needs a tokio runtime.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let mut listeners = HashMap::new();
        for (port, address) in wanted(&config.settings) {
            listeners.insert((port, address), listen::bind(address, &addresses(&config.settings, port))?);
        }
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let shared = Arc::new(Shared {
            live: ArcSwap::from_pointee(Live::new(config)),
            gate: Arc::default(),
            registry: Arc::default(),
            began: began as u32, // a name, not a time
            connections: AtomicU64::new(0),
        });
        let (handle, orders) = mpsc::channel(8);
        Ok(Self { shared, listeners, handle: Handle(handle), orders })
    }

    /// Where it listens, with the ports that the system chose where port 0 was asked for.
    pub fn addresses(&self) -> Vec<(SocketAddr, Port)> {
        let mut addresses: Vec<_> = self
            .listeners
            .iter()
            .filter_map(|((port, _), listener)| Some((listener.local_addr().ok()?, *port)))
            .collect();
        addresses.sort_by_key(|(address, port)| (port.to_string(), *address));
        addresses
    }

    /// What gives it orders while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until it is told to stop: then nobody logs in any more, sessions may reach QUIT for a while, and a
    /// commit that has begun is always finished.
    pub async fn run(self) {
        let Self { shared, listeners, handle, mut orders } = self;
        drop(handle);
        let (stage, _) = watch::channel(Stage::Running);
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let accept = |port, listener| {
            tokio::spawn(accept(listener, port, Arc::clone(&shared), stage.subscribe(), alive.clone()))
                .abort_handle()
        };
        let mut accepting: HashMap<(Port, SocketAddr), AbortHandle> =
            listeners.into_iter().map(|(key, listener)| (key, accept(key.0, listener))).collect();
        while let Some(order) = orders.recv().await {
            let (config, done) = match order {
                Order::Stop => break,
                Order::Reload(config, done) => (config, done),
            };
            let reloaded = reload(&shared, *config, &mut accepting, &accept);
            // Nobody may be waiting for the result.
            let _nobody = done.send(reloaded);
        }
        accepting.values().for_each(AbortHandle::abort);
        drop(accepting);
        let drain = shared.live.load().settings.limits.drain;
        info!(seconds = drain.as_secs(), "stopping: sessions may reach QUIT");
        // Fails only where no session is left to hear it; likewise below.
        let _no_sessions = stage.send(Stage::Draining);
        drop(alive);
        if tokio::time::timeout(drain, all_gone.recv()).await.is_err() {
            let _no_sessions = stage.send(Stage::Ending);
            all_gone.recv().await;
        }
        info!("stopped");
    }
}

impl Handle {
    /// Replaces the configuration: sessions go on with the old one, new ones have the new one. When a new address
    /// cannot be listened on, everything stays as it was.
    pub async fn reload(&self, config: Config) -> Result<(), BindError> {
        let (done, result) = oneshot::channel();
        if self.0.send(Order::Reload(Box::new(config), done)).await.is_err() {
            return Ok(()); // the server is stopping: there is nothing to reload
        }
        result.await.unwrap_or(Ok(()))
    }

    /// Tells the server to stop.
    pub async fn stop(&self) {
        // It fails where the server has stopped already.
        let _stopped = self.0.send(Order::Stop).await;
    }
}

/// Each address once, by what is spoken there.
fn wanted(settings: &Settings) -> impl Iterator<Item = (Port, SocketAddr)> {
    let pop3 = settings.pop3.iter().map(|address| (Port::Pop3, *address));
    pop3.chain(settings.pop3s.iter().map(|address| (Port::Pop3s, *address)))
}

fn addresses(settings: &Settings, port: Port) -> Vec<SocketAddr> {
    wanted(settings).filter(|(spoken, _)| *spoken == port).map(|(_, address)| address).collect()
}

fn reload(
    shared: &Shared,
    config: Config,
    accepting: &mut HashMap<(Port, SocketAddr), AbortHandle>,
    accept: &impl Fn(Port, TcpListener) -> AbortHandle,
) -> Result<(), BindError> {
    let mut fresh = Vec::new();
    for key @ (port, address) in wanted(&config.settings) {
        if !accepting.contains_key(&key) {
            fresh.push((key, listen::bind(address, &addresses(&config.settings, port))?));
        }
    }
    accepting.retain(|key, task| {
        let kept = wanted(&config.settings).any(|wanted| wanted == *key);
        if !kept {
            task.abort();
        }
        kept
    });
    shared.live.store(Arc::new(Live::new(config)));
    accepting.extend(fresh.into_iter().map(|(key, listener)| (key, accept(key.0, listener))));
    Ok(())
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
            Ok((stream, peer)) => admit(stream, listen::canonical(peer), port, &shared, &stage, &alive),
            Err(error) => {
                // Out of file descriptors, most likely: waiting lets sessions end.
                warn!(%error, "cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    port: Port,
    shared: &Arc<Shared>,
    stage: &watch::Receiver<Stage>,
    alive: &mpsc::Sender<()>,
) {
    let live = shared.live.load_full();
    let place = match shared.gate.enter(peer.ip(), &live.settings.limits) {
        Ok(place) => place,
        Err(full) => {
            warn!(address = %peer, limit = full.name(), "connection refused: too many");
            if port == Port::Pop3 {
                let mut out = Vec::new();
                Refusal::coded(ResponseCode::SysTemp, "too many connections, try again later")
                    .write(&mut out);
                // Said if it can be said at once: a flood is not worth waiting for.
                let _unsaid = stream.try_write(&out);
            }
            return;
        }
    };
    let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let connection = Connection {
        stream,
        peer,
        port,
        id: SessionId { server: shared.began, number },
        live,
        shared: Arc::clone(shared),
        stage: stage.clone(),
        alive: alive.clone(),
        place,
    };
    tokio::spawn(connection.run());
}

impl Full {
    const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
        }
    }
}
