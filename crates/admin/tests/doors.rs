//! Doors on real sockets: their rights, what lies in their way, their bounds, their end; and the client that asks.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::get};
use restante_admin::{
    Access, Doors, Keys, Place, WhyNot,
    client::{Client, ClientError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::oneshot,
    task::JoinHandle,
};

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn unix(path: &Path) -> [Place; 1] {
    [Place::Unix(path.to_owned())]
}

/// A router with a stream that never ends.
fn router() -> Router {
    struct Never;
    impl futures_core::Stream for Never {
        type Item = Result<&'static str, std::convert::Infallible>;
        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Pending
        }
    }
    Router::new()
        .route("/fact", get(|| async { "[1,2]" }))
        .route("/lines", get(|| async { "one\n\ntwo\nlast" }))
        .route("/for-ever", get(|| async { Body::from_stream(Never) }))
}

fn keys() -> Arc<Keys> {
    let token = Some(b"0123456789abcdef".to_vec().into());
    Arc::new(Keys::new(Access { token, ..Access::default() }))
}

fn served(doors: Doors) -> (oneshot::Sender<()>, JoinHandle<()>) {
    served_with(doors, keys())
}

fn served_with(doors: Doors, keys: Arc<Keys>) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (end, ends) = oneshot::channel::<()>();
    let ended = async {
        let _told = ends.await;
    };
    (end, tokio::spawn(doors.serve(router(), keys, ended)))
}

#[tokio::test]
async fn a_socket_is_its_owners_alone_and_goes_with_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let doors = Doors::open(&unix(&path)).unwrap();
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!((doors.socket(), doors.places()), (Some(path.as_path()), unix(&path).to_vec()));
    let (end, serving) = served(doors);
    let client = Client::new(&path);
    assert_eq!(client.get::<Vec<u8>>("/fact").await.unwrap(), [1, 2]);
    drop(end);
    serving.await.unwrap();
    assert!(!path.exists());
    assert!(matches!(client.get_text("/fact").await, Err(ClientError::NoSocket(_))));
}

#[tokio::test]
async fn what_lies_in_the_way_is_replaced_only_where_nobody_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(matches!(Client::new(&path).get_text("/").await, Err(ClientError::NobodyListens(_))));
    let doors = Doors::open(&unix(&path)).unwrap();
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let told = Doors::open(&unix(&path)).unwrap_err();
    let me = std::process::id().to_string();
    assert!(matches!(&told.why, WhyNot::Taken(Some(who)) if who.contains(&me)), "{told}");
    // Somebody has put another one there: it is not ours to remove.
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    drop(doors);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    drop(other);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Doors::open(&unix(&path)).unwrap_err().why, WhyNot::NoSocket));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = folder.path().join("gone/admin.sock");
    let told = Doors::open(&unix(&nowhere)).unwrap_err();
    assert!(matches!(told.why, WhyNot::NoFolder(_)) && told.to_string().contains("install -d"), "{told}");
}

#[tokio::test]
async fn a_tcp_address_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = Place::Tcp(taken.local_addr().unwrap());
    let told = Doors::open(&[place]).unwrap_err();
    assert!(matches!(told.why, WhyNot::Taken(None)) && told.to_string().contains("ss -ltnp"), "{told}");
}

#[tokio::test]
async fn lines_come_as_they_come_and_what_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (_end, _serving) = served(Doors::open(&unix(&path)).unwrap());
    let client = Client::new(&path);
    let mut lines = client.lines("/lines").await.unwrap();
    let mut all = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        all.push(String::from_utf8(line).unwrap());
    }
    assert_eq!(all, ["one", "", "two"], "half a line is none");
    assert!(matches!(client.post("/gone").await, Err(ClientError::Refused { status: 404, .. })));
    assert!(matches!(client.get::<u8>("/fact").await, Err(ClientError::Malformed(_))));
}

#[tokio::test]
async fn the_end_waits_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let places = [Place::Unix(path.clone()), Place::Tcp(([127, 0, 0, 1], 0).into())];
    let doors = Doors::open(&places).unwrap();
    let address = doors.address().unwrap();
    let (end, serving) = served(doors);
    let _lines = Client::new(&path).lines("/for-ever").await.unwrap();
    let _says_nothing = UnixStream::connect(&path).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET / HTT").await.unwrap();
    let began = Instant::now();
    drop(end);
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn heads_are_bounded() {
    let doors = Doors::open(&[Place::Tcp(([127, 0, 0, 1], 0).into())]).unwrap();
    let address = doors.address().unwrap();
    let (_end, _serving) = served(doors);
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: x\r\n".repeat(100));
    for head in [long, many] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be cut before all of it is taken.
        let _cut = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let _reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let doors = Doors::open(&[Place::Tcp(([127, 0, 0, 1], 0).into())]).unwrap();
    let address = doors.address().unwrap();
    let (_end, _serving) = served(doors);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut answer = Vec::new();
    // The clock goes on where nobody has anything to do.
    let _reset = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "), "{answer:?}");
    assert!(began.elapsed() <= Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn so_many_connections_and_no_more_are_served() {
    const CONNECTIONS_MAX: usize = 256;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (_end, _serving) = served(Doors::open(&unix(&path)).unwrap());
    let ask = async |stream: &mut UnixStream| {
        stream.write_all(b"GET /fact HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    };
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        ask(&mut stream).await;
        held.push(stream);
    }
    let mut late = UnixStream::connect(&path).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(100), ask(&mut late)).await;
    assert!(waits.is_err(), "one too many was served");
    held.pop();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, late.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// A head with the token; the answer's status.
async fn ask_by_tcp(stream: &mut TcpStream, path: &str) -> String {
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let doors = Doors::open(&[Place::Tcp(([127, 0, 0, 1], 0).into())]).unwrap();
    let address = doors.address().unwrap();
    let (_end, _serving) = served(doors);
    let mut known = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask_by_tcp(&mut known, "/fact").await, "HTTP/1.1 200");
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let began = Instant::now();
    let mut late = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask_by_tcp(&mut late, "/fact").await, "HTTP/1.1 200");
    assert!(began.elapsed() < Duration::from_secs(4), "it waits for none of them: {:?}", began.elapsed());
    let mut rest = [0; 512];
    let got = known.read(&mut rest).await.unwrap();
    assert!(got > 0, "the rest of its answer");
    assert_eq!(ask_by_tcp(&mut known, "/fact").await, "HTTP/1.1 200", "and nobody who was let in is cut");
}

#[tokio::test]
async fn who_was_let_in_by_a_token_goes_with_it() {
    let doors = Doors::open(&[Place::Tcp(([127, 0, 0, 1], 0).into())]).unwrap();
    let address = doors.address().unwrap();
    let keys = keys();
    let (_end, _serving) = served_with(doors, Arc::clone(&keys));
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask_by_tcp(&mut stream, "/for-ever").await, "HTTP/1.1 200");
    keys.replace(Access { token: Some(b"another-token-of-theirs".to_vec().into()), ..Access::default() });
    let mut rest = Vec::new();
    let _cut = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the stream ends");
}

#[tokio::test]
async fn a_server_that_hangs_is_told_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let _hangs = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(one)) = tokio::time::timeout(PATIENCE, UnixStream::connect(&path)).await {
        waiting.push(one);
    }
    let began = Instant::now();
    let told = Doors::open(&unix(&path)).unwrap_err();
    assert!(matches!(told.why, WhyNot::Silent) && told.to_string().contains("does not answer"), "{told}");
    let told = Client::new(&path).get_text("/").await.unwrap_err();
    assert!(matches!(told, ClientError::Hangs(_)), "{told}");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert!(path.exists(), "it is not replaced");
}

#[tokio::test]
async fn a_stream_that_is_cut_is_the_end_of_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (end, _serving) = served(Doors::open(&unix(&path)).unwrap());
    let mut lines = Client::new(&path).lines("/for-ever").await.unwrap();
    drop(end);
    let told = tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().unwrap_err();
    assert!(matches!(told, ClientError::Stopped), "{told}");
}
