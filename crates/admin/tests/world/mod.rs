//! A server with one user and his mail, what looks at it, and clients of both.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use restante_admin::{Admin, Options};
use restante_auth::{MemoryDirectory, StoredPassword, Verifier};
use restante_proto::{UniqueId, UserName};
use restante_server::{Config, Handle, Port, Server, Settings};
use restante_store::MemoryStore;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const USER: &str = "john.doe@anydomain.com";
pub(crate) const PASSWORD: &str = "abcxyz";

/// A server that runs, and the address where it can be looked at.
pub(crate) struct World {
    pub(crate) pop3: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) admin: Admin,
}

pub(crate) async fn world() -> World {
    world_that(|| Ok(())).await
}

/// One whose mail and users can be reached as this says.
pub(crate) async fn world_that(ready: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> World {
    let user = UserName::new(USER).unwrap();
    let store = MemoryStore::new();
    for number in 1..=3 {
        let id = UniqueId::new(format!("id-{number}").as_bytes()).unwrap();
        assert!(store.add(&user, id, b"Subject: a\n\n.a line\n".to_vec()));
    }
    let stored = StoredPassword::parse(format!("{{PLAIN}}{PASSWORD}").as_bytes()).unwrap();
    let settings = restante_auth::Settings { failure_delay_first: Duration::ZERO, ..Default::default() };
    let admin = Admin::new(Options { hostname: "X1".into(), ready: Box::new(ready) });
    let server = Server::bind(Config {
        settings: Settings {
            hostname: "X1".into(),
            pop3: vec!["127.0.0.1:0".parse().unwrap()],
            ..Settings::default()
        },
        tls: None,
        store: Arc::new(store),
        verifier: Arc::new(Verifier::new(Arc::new(MemoryDirectory::new([(user, stored)])), &settings)),
        observers: admin.observers(),
    })
    .unwrap();
    let pop3 = server.addresses().iter().find(|(_, port)| *port == Port::Pop3).unwrap().0;
    let handle = server.handle();
    tokio::spawn(server.run());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let router = admin.router(handle.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    World { pop3, http, handle, admin }
}

impl World {
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Response<Incoming> {
        let stream = TcpStream::connect(self.http).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::builder().method(method).uri(path).header("host", "x").body(Empty::<Bytes>::new());
        timeout(PATIENCE, sender.send_request(request.unwrap())).await.expect("an answer in time").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.ask("GET", path).await;
        let status = answer.status();
        let body = timeout(PATIENCE, answer.into_body().collect()).await.expect("all of it in time").unwrap();
        (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    /// What comes of a stream of events or lines.
    pub(crate) async fn follow(&self, path: &str) -> Follow {
        let answer = self.ask("GET", path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        Follow { body: answer.into_body(), held: String::new(), seen: String::new() }
    }

    /// A client that has heard the greeting.
    pub(crate) async fn connect(&self) -> Client {
        let mut client = Client(BufReader::new(TcpStream::connect(self.pop3).await.unwrap()));
        assert_eq!(client.line().await, "+OK X1 POP3 Server");
        client
    }

    pub(crate) async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        client.say(&format!("USER {USER}")).await;
        assert_eq!(client.say(&format!("PASS {PASSWORD}")).await, "+OK maildrop locked and ready");
        client
    }

    /// The name of the one session that is on.
    pub(crate) fn session(&self) -> String {
        let sessions = self.handle.sessions();
        assert_eq!(sessions.len(), 1);
        sessions[0].session.clone()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&Handle) -> bool) {
        let so = timeout(PATIENCE, async {
            while !is(&self.handle) {
                tokio::task::yield_now().await;
            }
        });
        assert!(so.await.is_ok(), "{what}");
    }
}

/// A stream that is read as it comes.
pub(crate) struct Follow {
    body: Incoming,
    held: String,
    pub(crate) seen: String,
}

impl Follow {
    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.held.split_once('\n') {
                let line = line.to_owned();
                self.held = rest.to_owned();
                self.seen.push_str(&line);
                self.seen.push('\n');
                return Some(line);
            }
            let frame = timeout(PATIENCE, self.body.frame());
            let frame = frame.await.unwrap_or_else(|_| panic!("nothing more comes behind:\n{}", self.seen));
            let data = frame?.unwrap().into_data().unwrap();
            self.held.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Reads until a line has this in it, and gives it.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let by = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < by, "{text:?} is not in:\n{}", self.seen);
            let Some(line) = self.line().await else { panic!("{text:?} is not in:\n{}", self.seen) };
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The data of the next event of this name.
    pub(crate) async fn event(&mut self, name: &str) -> String {
        self.until(&format!("event: {name}")).await;
        let data = self.until("data: ").await;
        data.strip_prefix("data: ").unwrap().to_owned()
    }
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("a line in time").unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) async fn send(&mut self, octets: &str) {
        self.0.write_all(octets.as_bytes()).await.unwrap();
    }

    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n")).await;
        self.line().await
    }
}
