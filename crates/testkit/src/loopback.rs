//! A listener on loopback with a thread a connection, which ends, with all of its threads, when it is dropped. What is
//! said on a connection is the business of who starts it (`evil`, `proxy`).

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How many connections are served at once; one more is closed at once.
const CONNECTIONS_MAX: usize = 256;

/// How long nobody is accepted after an accept that failed (no descriptors left, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How long the call that wakes the listener may take.
const WAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// A listener and its threads.
pub(crate) struct Door {
    address: SocketAddr,
    stop: Arc<Stop>,
    keeper: Option<JoinHandle<()>>,
}

impl Door {
    /// Listens, and calls `serve` in a thread of its own for each connection. Its threads bear the name.
    pub(crate) fn open<F>(listen: SocketAddr, name: &'static str, serve: F) -> io::Result<Self>
    where
        F: Fn(TcpStream, &Stop) + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(Stop::default());
        let seen = Arc::clone(&stop);
        // A kernel shows fifteen octets of it.
        let name = format!("{name}:{}", address.port());
        let keeper =
            thread::Builder::new().name(name.clone()).spawn(move || keep(&listener, &name, &seen, &serve))?;
        Ok(Self { address, stop, keeper: Some(keeper) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.now();
        // The accept in progress returns for one more connection only.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        drop(TcpStream::connect_timeout(&address, WAKE_TIMEOUT));
        if let Some(keeper) = self.keeper.take() {
            // A panic of a connection's thread was printed when it happened.
            drop(keeper.join());
        }
    }
}

fn keep<F>(listener: &TcpListener, name: &str, stop: &Stop, serve: &F)
where
    F: Fn(TcpStream, &Stop) + Send + Sync,
{
    let at_once = AtomicUsize::new(0);
    // The scope ends when the last of its threads has.
    thread::scope(|scope| {
        while !stop.is_now() {
            let Ok((socket, _)) = listener.accept() else {
                stop.wait(ACCEPT_PAUSE);
                continue;
            };
            if stop.is_now() || at_once.load(Ordering::SeqCst) >= CONNECTIONS_MAX {
                continue;
            }
            at_once.fetch_add(1, Ordering::SeqCst);
            let at_once = &at_once;
            let run = move || {
                serve(socket, stop);
                at_once.fetch_sub(1, Ordering::SeqCst);
            };
            if thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, run).is_err() {
                at_once.fetch_sub(1, Ordering::SeqCst);
            }
        }
    });
}

/// The end of a [`Door`], as its threads see it.
#[derive(Default)]
pub(crate) struct Stop {
    state: Mutex<Stopping>,
    changed: Condvar,
}

#[derive(Default)]
struct Stopping {
    now: bool,
    next: u64,
    closers: BTreeMap<u64, Box<dyn FnOnce() + Send>>,
}

impl Stop {
    fn state(&self) -> MutexGuard<'_, Stopping> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_now(&self) -> bool {
        self.state().now
    }

    fn now(&self) {
        let closers = {
            let mut state = self.state();
            state.now = true;
            std::mem::take(&mut state.closers)
        };
        self.changed.notify_all();
        closers.into_values().for_each(|close| close());
    }

    /// Waits; false when the end came meanwhile.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state();
        while !state.now {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// What is to be done at the end (at once, if it came already) unless the guard is dropped before. It must wake
    /// whoever waits in the thread that asks for it.
    pub(crate) fn at_end(&self, close: impl FnOnce() + Send + 'static) -> AtEnd<'_> {
        let mut state = self.state();
        if state.now {
            drop(state);
            close();
            return AtEnd { stop: self, key: None };
        }
        let key = state.next;
        state.next += 1;
        state.closers.insert(key, Box::new(close));
        AtEnd { stop: self, key: Some(key) }
    }
}

/// While it lives, something is done at the end.
pub(crate) struct AtEnd<'a> {
    stop: &'a Stop,
    key: Option<u64>,
}

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let closer = self.stop.state().closers.remove(&key);
            drop(closer);
        }
    }
}
