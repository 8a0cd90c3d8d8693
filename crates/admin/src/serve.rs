//! Doors that are open: connections are taken, bounded in number, time and size, and what is asked goes through
//! `door.rs` to the router. They never keep the process: what is still open at the end is cut.

use std::{
    convert::Infallible,
    future::pending,
    net::{IpAddr, SocketAddr},
    path::Path,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
};
use tracing::{info, warn};

use crate::{
    door::{Door, Keys, Way},
    listen::{self, ListenError, Place, UnixDoor},
};

mod guests;

pub(crate) use guests::Guest;
use guests::Strangers;

/// Connections at the same time, by unix sockets, and by TCP with a token. By unix sockets what comes beyond waits to be
/// accepted, by TCP it is answered 503. Those without a token are counted in `guests.rs`.
const CONNECTIONS_MAX: usize = 256;
/// How long the first head of a request may take.
const FIRST_HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// How long each further one may take, and a connection be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// The longest head of a request, in octets.
const HEAD_MAX_OCTETS: usize = 16 << 10;
/// How many headers it may have.
const HEADERS_MAX: usize = 64;
/// After so long a client that takes nothing of what is sent, or is not there any more, is given up.
const DEAD_AFTER: Duration = Duration::from_secs(60);
/// How long answers may still take at the end.
const END_PATIENCE: Duration = Duration::from_millis(500);
/// How long to wait where connections cannot be accepted.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Doors that are open, and behind which nobody stands yet.
#[derive(Debug, Default)]
pub struct Doors {
    unix: Vec<UnixDoor>,
    tcp: Vec<TcpListener>,
}

impl Doors {
    /// How many connections all doors together take at the same time.
    pub const CONNECTIONS_MAX: usize = 2 * CONNECTIONS_MAX;

    /// Listens at all places. Needs a tokio runtime.
    pub fn open(places: &[Place]) -> Result<Self, ListenError> {
        let mut doors = Self::default();
        for place in places {
            match place {
                Place::Unix(path) => doors.unix.push(UnixDoor::open(path)?),
                Place::Tcp(address) => doors.tcp.push(listen::tcp(*address)?),
            }
        }
        Ok(doors)
    }

    /// Where they are, with the ports that the system chose where port 0 was asked for.
    pub fn places(&self) -> Vec<Place> {
        let unix = self.unix.iter().map(|door| Place::Unix(door.path().to_owned()));
        unix.chain(self.tcp.iter().filter_map(|door| door.local_addr().ok()).map(Place::Tcp)).collect()
    }

    /// The first TCP address.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.first()?.local_addr().ok()
    }

    /// The first unix socket.
    pub fn socket(&self) -> Option<&Path> {
        self.unix.first().map(UnixDoor::path)
    }

    /// Serves the router until `end` is ready; then answers have a moment, and what is still open is cut.
    pub async fn serve(self, router: Router, keys: Arc<Keys>, end: impl Future<Output = ()>) {
        let Self { unix, tcp } = self;
        let (ending, ends) = watch::channel(());
        let house = House { keys: Arc::clone(&keys), router, ends };
        let mut tasks = JoinSet::new();
        let (unix_room, tcp_room) = (room(), room());
        let strangers = Arc::default();
        for door in unix {
            tasks.spawn(house.clone().take_unix(door, Arc::clone(&unix_room)));
        }
        for listener in tcp {
            tasks.spawn(house.clone().take_tcp(listener, Arc::clone(&tcp_room), Arc::clone(&strangers)));
        }
        drop(house);
        end.await;
        drop(ending);
        // The tasks that take connections hold them, and end with them.
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(END_PATIENCE, all).await.is_err() {
            tasks.shutdown().await;
        }
        keys.tell();
    }
}

fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS_MAX))
}

/// What is behind all doors.
#[derive(Clone)]
struct House {
    keys: Arc<Keys>,
    router: Router,
    /// It is over when nobody is at the other end.
    ends: watch::Receiver<()>,
}

impl House {
    async fn take_unix(self, door: UnixDoor, room: Arc<Semaphore>) {
        let (mut open, mut ends) = (JoinSet::new(), self.ends.clone());
        loop {
            while open.try_join_next().is_some() {}
            let taken = async {
                let place = Arc::clone(&room).acquire_owned().await;
                (door.listener.accept().await, place)
            };
            let (taken, place) = tokio::select! {
                taken = taken => taken,
                _ = ends.changed() => break,
            };
            let Ok(place) = place else { break };
            match taken {
                Ok((stream, _)) => {
                    if let Some(uid) = let_in(&stream) {
                        let house = self.clone();
                        open.spawn(async move {
                            house.connection(stream, Way::Unix { uid }, None, pending()).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => cannot_accept(&error).await,
            }
        }
        // The file goes first: whoever comes now finds nobody.
        drop(door);
        while open.join_next().await.is_some() {}
    }

    /// Whoever comes is taken at once: those who have shown no token never keep out one who has.
    async fn take_tcp(self, listener: TcpListener, room: Arc<Semaphore>, strangers: Arc<Strangers>) {
        let (mut open, mut ends) = (JoinSet::new(), self.ends.clone());
        loop {
            while open.try_join_next().is_some() {}
            let taken = tokio::select! {
                taken = listener.accept() => taken,
                _ = ends.changed() => break,
            };
            match taken {
                Ok((stream, from)) => {
                    let Ok(to) = stream.local_addr() else { continue };
                    prepare(&stream);
                    let way = Way::Tcp { from: canonical(from), to: canonical(to) };
                    let (guest, cut) = Guest::new(&strangers, canonical(from).ip(), Arc::clone(&room));
                    let mut changes = self.keys.changes();
                    let cut = async move {
                        tokio::select! {
                            () = cut => {}
                            // Who was let in by a token that is none any more.
                            _ = changes.changed() => {}
                        }
                    };
                    open.spawn(self.clone().connection(stream, way, Some(Arc::new(guest)), cut));
                }
                Err(error) => cannot_accept(&error).await,
            }
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    /// Serves one until it is over, or is to be cut.
    async fn connection<S>(
        self,
        stream: S,
        way: Way,
        guest: Option<Arc<Guest>>,
        cut: impl Future<Output = ()>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { keys, router, mut ends } = self;
        let door = Arc::new(Door { way, keys, router, guest });
        let asked = Arc::new(Notify::new());
        let asks = Arc::clone(&asked);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            asks.notify_one();
            let door = Arc::clone(&door);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_MAX_OCTETS)
            .serve_connection(TokioIo::new(stream), service);
        let cut = async {
            let asked = tokio::time::timeout(FIRST_HEAD_PATIENCE, asked.notified());
            tokio::select! {
                () = cut => {}
                () = async { if asked.await.is_ok() { pending().await } } => {}
            }
        };
        let (mut connection, mut cut) = (pin!(connection), pin!(cut));
        // What goes wrong on a connection is the client's business.
        tokio::select! {
            _ended = connection.as_mut() => return,
            () = cut.as_mut() => return,
            _ = ends.changed() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ended = connection => {}
            () = cut => {}
        }
    }
}

/// Who it is, if it may come: root, or the user that this runs as; the rights of the file say so already.
fn let_in(stream: &UnixStream) -> Option<u32> {
    let me = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == me => Some(peer.uid()),
        Ok(peer) => {
            warn!(uid = peer.uid(), "somebody else came to the admin socket, and was not let in");
            None
        }
        Err(error) => {
            info!("it is not known who came to the admin socket: {error}");
            None
        }
    }
}

/// A dead client holds no place for long. That it cannot be set is no reason not to serve.
fn prepare(stream: &TcpStream) {
    let _late = stream.set_nodelay(true);
    let _kept = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, DEAD_AFTER / 2))
        .and_then(|()| sockopt::set_tcp_user_timeout(stream, DEAD_AFTER.as_millis() as u32));
}

/// IPv4 in IPv6's clothes is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, address.port())),
        IpAddr::V6(_) => address,
    }
}

async fn cannot_accept(error: &std::io::Error) {
    warn!(error = error.to_string().as_str(), "cannot accept admin connections");
    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
}
