//! A TCP proxy on loopback that makes a link long, narrow or unreliable, where the kernel cannot: each octet is held back
//! for a fixed time, however many there are; a connection may be cut or fall silent after a number of octets.
//!
//! It knows nothing of what it carries. The queue between reading and writing is in `pipe.rs`; `bin/delay-proxy.rs` is
//! the same as a program.

mod pipe;

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use self::pipe::{Pipe, give_out, take_in};
use crate::loopback::{Door, Stop};

/// How long the other side may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which way an octet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From who connected to the proxy.
    ToServer,
    /// From the server behind it.
    ToClient,
}

/// Which connections are cut or fall silent; all are delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// The first only: who tries again comes through.
    First,
    /// Each of them.
    #[default]
    Every,
}

/// What is done to the octets. The default is nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// How long an octet travels. A connection takes three such times to arrive at the server, as on a real link, though
    /// the client's kernel thinks that it has one at once.
    pub delay_each_way: Duration,
    /// How many octets a second pass in each direction of a connection.
    pub octets_per_second: Option<u64>,
    /// The connection is closed on both sides when so many octets were passed on.
    pub cut_after_octets: Option<(Direction, u64)>,
    /// From then on nothing moves in either direction, not even an end, and nothing is closed.
    pub stall_after_octets: Option<(Direction, u64)>,
    /// Which connections are cut or fall silent.
    pub faults_on: Connections,
}

/// A running proxy; dropped, it closes all of its connections and waits for its threads.
pub struct Proxy {
    door: Door,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[allow(clippy::expect_used)] // of a test: nothing can be done about it
    pub fn start(upstream: SocketAddr, plan: Plan) -> Self {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), upstream, plan).expect("a free port on loopback")
    }

    /// Listens there.
    pub fn listen(listen: SocketAddr, upstream: SocketAddr, plan: Plan) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let door =
            Door::open(listen, "proxy", move |client, stop| carry(client, upstream, plan, &counted, stop))?;
        Ok(Self { door, counts })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many octets were passed on in this direction, on all connections together.
    #[must_use]
    pub fn passed_on(&self, direction: Direction) -> u64 {
        self.counts.of(direction).load(Ordering::SeqCst)
    }
}

impl Counts {
    fn of(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }
}

/// One connection: two sockets and a pipe each way.
struct Link {
    client: TcpStream,
    server: OnceLock<TcpStream>,
    to_server: Pipe,
    to_client: Pipe,
    silent: AtomicBool,
}

impl Link {
    /// Closes both sides and wakes all threads.
    fn end(&self) {
        self.to_server.end();
        self.to_client.end();
        // They may be closed already.
        drop(self.client.shutdown(Shutdown::Both));
        if let Some(server) = self.server.get() {
            drop(server.shutdown(Shutdown::Both));
        }
    }
}

/// How one direction of a link is treated.
struct Way<'a> {
    link: &'a Link,
    pipe: &'a Pipe,
    delay: Duration,
    octets_per_second: Option<u64>,
    cut_after: Option<u64>,
    stall_after: Option<u64>,
    passed_on: &'a AtomicU64,
}

fn carry(client: TcpStream, upstream: SocketAddr, plan: Plan, counts: &Counts, stop: &Stop) {
    let earlier = counts.connections.fetch_add(1, Ordering::SeqCst);
    let faulty = plan.faults_on == Connections::Every || earlier == 0;
    let link = Arc::new(Link {
        client,
        server: OnceLock::new(),
        to_server: Pipe::default(),
        to_client: Pipe::default(),
        silent: AtomicBool::new(false),
    });
    let closed = Arc::clone(&link);
    let _at_end = stop.at_end(move || closed.end());
    let link = &*link;
    let way = |direction| {
        let after = |fault: Option<(Direction, u64)>| {
            fault.filter(|(of, _)| faulty && *of == direction).map(|(_, octets)| octets)
        };
        Way {
            link,
            pipe: match direction {
                Direction::ToServer => &link.to_server,
                Direction::ToClient => &link.to_client,
            },
            delay: plan.delay_each_way,
            octets_per_second: plan.octets_per_second,
            cut_after: after(plan.cut_after_octets),
            stall_after: after(plan.stall_after_octets),
            passed_on: counts.of(direction),
        }
    };
    let (up, down) = (&way(Direction::ToServer), &way(Direction::ToClient));
    thread::scope(|scope| {
        // What the client says at once travels while its connection does.
        let began = Instant::now();
        scope.spawn(move || take_in(&link.client, up));
        if !stop.wait((began + 3 * plan.delay_each_way).saturating_duration_since(Instant::now())) {
            return link.end();
        }
        let Ok(server) = TcpStream::connect_timeout(&upstream, CONNECT_TIMEOUT) else {
            return link.end();
        };
        // A proxy that gathers segments would measure itself.
        for socket in [&link.client, &server] {
            drop(socket.set_nodelay(true));
        }
        let server = link.server.get_or_init(|| server);
        if link.to_server.is_over() {
            return link.end();
        }
        scope.spawn(move || take_in(server, down));
        scope.spawn(move || give_out(&link.client, down));
        give_out(server, up);
    });
}
