//! What it costs to be looked at, for `cargo xtask instructions`: round trips and whole sessions on a server that tells
//! nobody, on one that is counted while nobody watches, and while a page hears every session, or does not read what it
//! asked for. The client's own instructions are in all of them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // what does not go as planned is to be seen

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use restante_admin::{Admin, Options};
use restante_auth::{MemoryDirectory, StoredPassword, Verifier};
use restante_proto::{UniqueId, UserName};
use restante_server::{Config, Server, Settings};
use restante_store::MemoryStore;
use restante_testkit::loops::{self, Loop, Round};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

const COMMANDS: u64 = 500;
const SESSIONS: u64 = 20;

const LOOPS: &[Loop] = &[
    Loop { name: "noop-unseen", unit: "command", units: COMMANDS, prepare: || commands(Seen::ByNobody) },
    Loop { name: "noop-counted", unit: "command", units: COMMANDS, prepare: || commands(Seen::Counted) },
    Loop { name: "noop-watched", unit: "command", units: COMMANDS, prepare: || commands(Seen::Watched) },
    Loop { name: "noop-unread", unit: "command", units: COMMANDS, prepare: || commands(Seen::Unread) },
    Loop { name: "visit-unseen", unit: "session", units: SESSIONS, prepare: || visits(Seen::ByNobody) },
    Loop { name: "visit-counted", unit: "session", units: SESSIONS, prepare: || visits(Seen::Counted) },
    Loop { name: "visit-watched", unit: "session", units: SESSIONS, prepare: || visits(Seen::Watched) },
    Loop { name: "visit-unread", unit: "session", units: SESSIONS, prepare: || visits(Seen::Unread) },
];

fn main() -> ExitCode {
    loops::main(LOOPS)
}

/// Who looks at the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It has no observers at all.
    ByNobody,
    /// It is counted, and nobody watches.
    Counted,
    /// Somebody reads all that is said.
    Watched,
    /// Somebody asked for that, and does not read it.
    Unread,
}

/// A server on a runtime of one thread, on which its clients are too.
fn world(seen: Seen) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let user = UserName::new("ann@example.org").unwrap();
    let store = MemoryStore::new();
    assert!(store.add(&user, UniqueId::new(b"1").unwrap(), b"Subject: a\n\nb\n".to_vec()));
    let stored = StoredPassword::parse(b"{PLAIN}abc").unwrap();
    let directory = MemoryDirectory::new([(user, stored)]);
    let admin = Admin::new(Options { hostname: "X1".into(), ready: Box::new(|| Ok(())) });
    let address = runtime.block_on(async {
        let server = Server::bind(Config {
            settings: Settings {
                hostname: "X1".into(),
                pop3: vec!["127.0.0.1:0".parse().unwrap()],
                ..Settings::default()
            },
            tls: None,
            store: Arc::new(store),
            verifier: Arc::new(Verifier::new(Arc::new(directory), &restante_auth::Settings::default())),
            observers: if seen == Seen::ByNobody { Vec::new() } else { admin.observers() },
        })
        .unwrap();
        let (address, _) = *server.addresses().first().unwrap();
        let router = admin.router(server.handle());
        tokio::spawn(server.run());
        if matches!(seen, Seen::Watched | Seen::Unread) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            let mut page = TcpStream::connect(at).await.unwrap();
            page.write_all(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut piece = vec![0; 16 * 1024];
            // Once the answer begins it is watched.
            assert!(page.read(&mut piece).await.unwrap() > 0);
            tokio::spawn(async move {
                while seen == Seen::Watched && page.read(&mut piece).await.is_ok_and(|octets| octets > 0) {}
                std::future::pending::<()>().await;
                drop(page);
            });
        }
        address
    });
    (runtime, address)
}

/// Says something, and waits for an answer that ends so.
async fn say(stream: &mut TcpStream, line: &[u8], end: &[u8]) {
    stream.write_all(line).await.unwrap();
    let (mut answer, mut filled) = ([0; 512], 0);
    while !answer[..filled].ends_with(end) {
        let octets = stream.read(&mut answer[filled..]).await.unwrap();
        assert!(octets > 0, "{}", answer[..filled].escape_ascii());
        filled += octets;
    }
    assert!(answer.starts_with(b"+OK"), "{}", answer[..filled].escape_ascii());
}

async fn log_in(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    say(&mut stream, b"", b"\r\n").await;
    say(&mut stream, b"USER ann@example.org\r\n", b"\r\n").await;
    say(&mut stream, b"PASS abc\r\n", b"\r\n").await;
    stream
}

/// Commands in one session, one at a time.
fn commands(seen: Seen) -> Round {
    let (runtime, address) = world(seen);
    let mut stream = runtime.block_on(log_in(address));
    Box::new(move || {
        runtime.block_on(async {
            for _ in 0..COMMANDS {
                say(&mut stream, b"NOOP\r\n", b"\r\n").await;
            }
        });
    })
}

/// Whole sessions: a login, STAT, a message, QUIT.
fn visits(seen: Seen) -> Round {
    let (runtime, address) = world(seen);
    Box::new(move || {
        runtime.block_on(async {
            for _ in 0..SESSIONS {
                let mut stream = log_in(address).await;
                say(&mut stream, b"STAT\r\n", b"\r\n").await;
                say(&mut stream, b"RETR 1\r\n", b"\r\n.\r\n").await;
                say(&mut stream, b"QUIT\r\n", b"\r\n").await;
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            }
        });
    })
}
