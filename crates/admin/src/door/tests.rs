//! Who is let in, and who is not.

use axum::{
    Extension,
    routing::{get, post},
};
use http_body_util::Full;

use super::*;

const TOKEN: &str = "0123456789abcdef";
const METRICS_TOKEN: &str = "fedcba9876543210";
const UNIX: Way = Way::Unix { uid: 1000 };

fn keys() -> Arc<Keys> {
    let secret = |text: &str| Some(text.as_bytes().to_vec().into());
    let hosts = vec!["Mail.example.org".into()];
    Arc::new(Keys::new(Access { token: secret(TOKEN), metrics_token: secret(METRICS_TOKEN), hosts }))
}

fn door(keys: &Arc<Keys>, way: Way) -> Door {
    let router = Router::new()
        .route("/", get(|| async { "the page" }))
        .route("/sessions", get(|| async { "sessions" }))
        .route("/metrics", get(|| async { "metrics" }))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "the disk is gone") }))
        .route("/by", get(|by: Extension<By>| async move { by.0.0 }))
        .route("/kick", post(|body: String| async move { format!("kicked {body}") }));
    Door { way, keys: Arc::clone(keys), router, guest: None }
}

fn tcp() -> Way {
    Way::Tcp { from: ([192, 0, 2, 7], 4711).into(), to: ([192, 0, 2, 1], 1180).into() }
}

/// `GET /path`, `POST /path`, and headers.
fn request(line: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<body::Bytes>> {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::from(body.as_bytes().to_vec())).unwrap()
}

async fn asked(door: &Door, line: &str, headers: &[(&str, &str)]) -> Response<Body> {
    door.answer(request(line, headers, "")).await
}

async fn status(door: &Door, line: &str, headers: &[(&str, &str)]) -> u16 {
    asked(door, line, headers).await.status().as_u16()
}

async fn text(answer: Response<Body>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

const HOST: (&str, &str) = ("host", "192.0.2.1:1180");
const BEARER: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");

#[tokio::test]
async fn only_names_of_ours_are_answered_to() {
    let keys = keys();
    let (unix, tcp) = (door(&keys, UNIX), door(&keys, tcp()));
    for (host, by_unix, by_tcp) in [
        ("192.0.2.1:1180", 421, 200),
        ("192.0.2.1:1181", 421, 421),
        ("192.0.2.1", 421, 421),
        ("192.0.2.2:1180", 421, 421),
        ("localhost:1180", 200, 200),
        ("LOCALHOST", 200, 200),
        ("localhost:9000", 200, 200),
        ("127.0.0.1:9000", 200, 200),
        ("[::1]:9000", 200, 200),
        ("mail.example.org", 200, 200),
        ("mail.example.org:8443", 200, 200),
        ("evil.example", 421, 421),
        ("localhost.evil.example", 421, 421),
        ("evil.example:1180", 421, 421),
        ("localhost:1180@evil.example", 421, 421),
        ("", 421, 421),
        (":1180", 421, 421),
    ] {
        let headers = [("host", host), BEARER];
        assert_eq!(status(&unix, "GET /sessions", &headers).await, by_unix, "{host} by a unix socket");
        assert_eq!(status(&tcp, "GET /sessions", &headers).await, by_tcp, "{host} by TCP");
    }
    assert_eq!(status(&tcp, "GET /sessions", &[BEARER]).await, 421, "none");
    let two = [HOST, HOST, BEARER];
    assert_eq!(status(&tcp, "GET /sessions", &two).await, 421, "two");
    assert_eq!(status(&tcp, "GET http://evil.example/", &[HOST, BEARER]).await, 421);
    let refused = asked(&tcp, "GET /", &[("host", "evil.example"), BEARER]).await;
    assert_eq!(text(refused).await, "");
}

#[tokio::test]
async fn tcp_needs_the_token_and_unix_sockets_do_not() {
    let keys = keys();
    let (unix, tcp) = (door(&keys, UNIX), door(&keys, tcp()));
    assert_eq!(status(&unix, "GET /sessions", &[("host", "localhost")]).await, 200);
    let refused = asked(&tcp, "GET /sessions", &[HOST]).await;
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["www-authenticate"].as_bytes()),
        (401, &b"Bearer"[..])
    );
    assert_eq!(text(refused).await, "the token is needed\n");
    assert_eq!(status(&tcp, "GET /sessions", &[HOST, BEARER]).await, 200);
    assert_eq!(status(&tcp, "GET /sessions?token=0123456789abcdef", &[HOST]).await, 401);
    assert_eq!(
        status(&tcp, "GET /sessions", &[HOST, ("authorization", "Basic 0123456789abcdef")]).await,
        401
    );
    // The page's files hold nothing, and a name that is none of ours gets none all the same.
    assert_eq!(text(asked(&tcp, "GET /", &[HOST]).await).await, "the page");
    assert_eq!(status(&tcp, "POST /", &[HOST]).await, 401);
    assert_eq!(status(&tcp, "GET /", &[("host", "evil.example")]).await, 421);
    assert_eq!(text(asked(&unix, "GET /by", &[("host", "localhost")]).await).await, "uid 1000");
    assert_eq!(text(asked(&tcp, "GET /by", &[HOST, BEARER]).await).await, "192.0.2.7:4711");
}

#[tokio::test]
async fn health_is_for_all_and_its_reasons_are_not() {
    let keys = keys();
    let tcp = door(&keys, tcp());
    let metrics = ("authorization", "Bearer fedcba9876543210");
    assert_eq!(text(asked(&tcp, "GET /livez", &[HOST]).await).await, "ok");
    for (headers, said) in [
        (&[HOST][..], "not ready\n"),
        (&[HOST, metrics], "not ready\n"),
        (&[HOST, BEARER], "the disk is gone"),
    ] {
        let answer = asked(&tcp, "GET /readyz", headers).await;
        assert_eq!(answer.status().as_u16(), 503);
        assert_eq!(text(answer).await, said);
    }
    assert_eq!(status(&tcp, "GET /readyz", &[("host", "evil.example")]).await, 421);
    // Nothing is found out about tokens where none is needed.
    assert_eq!(status(&tcp, "GET /livez", &[HOST, ("authorization", "Bearer nonsense")]).await, 200);
}

#[tokio::test]
async fn the_token_of_metrics_opens_nothing_else() {
    let keys = keys();
    let tcp = door(&keys, tcp());
    let metrics = ("authorization", "Bearer fedcba9876543210");
    assert_eq!(text(asked(&tcp, "GET /metrics", &[HOST, metrics]).await).await, "metrics");
    for line in ["POST /metrics", "GET /sessions", "POST /kick", "GET /by"] {
        assert_eq!(status(&tcp, line, &[HOST, metrics]).await, 403, "{line}");
    }
    assert_eq!(status(&tcp, "GET /metrics", &[HOST]).await, 401);
    assert_eq!(status(&tcp, "GET /metrics", &[HOST, BEARER]).await, 200);
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_slowed_and_the_right_one_never() {
    let keys = keys();
    let door = door(&keys, tcp());
    let wrong = ("authorization", "Bearer 0123456789abcdeF");
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(status(&door, "GET /sessions", &[HOST, wrong]).await, 401);
    }
    assert!(began.elapsed() >= 3 * WRONG_TOKEN_DELAY, "{:?}", began.elapsed());
    // Many at once: as many wait as may, and the others do not.
    let began = Instant::now();
    let many = (0..30).map(|_| {
        let door = door.clone();
        tokio::spawn(async move { status(&door, "GET /sessions", &[HOST, wrong]).await })
    });
    let many: Vec<_> = many.collect();
    tokio::task::yield_now().await;
    assert_eq!(status(&door, "GET /sessions", &[HOST, BEARER]).await, 200);
    assert_eq!(began.elapsed(), Duration::ZERO, "the right one waits for none");
    let mut refused = 0;
    for one in many {
        refused += usize::from(one.await.unwrap() == 429);
    }
    assert_eq!(refused, 20);
    assert_eq!(began.elapsed(), WRONG_TOKEN_DELAY_MAX);
    for n in 0..2 * WRONG_ADDRESSES_MAX as u32 {
        keys.wrong().came(IpAddr::V4(n.into()), Instant::now());
    }
    assert_eq!(keys.wrong().waits.len(), WRONG_ADDRESSES_MAX);
}

#[tokio::test(start_paused = true)]
async fn all_wrong_tokens_are_told_in_the_end() {
    let keys = keys();
    let from = IpAddr::from([192, 0, 2, 7]);
    for _ in 0..25 {
        let keys = Arc::clone(&keys);
        tokio::spawn(async move { keys.refusal(from).await });
    }
    tokio::task::yield_now().await;
    assert_eq!(keys.wrong().untold, Some((24, from)), "the first was told at once");
    tokio::time::sleep(TOLD_EVERY + Duration::from_millis(1)).await;
    let wrong = keys.wrong();
    assert_eq!((wrong.untold, wrong.is_telling), (None, false));
}

#[tokio::test]
async fn whoever_has_no_token_any_more_hears_of_it() {
    let keys = keys();
    let door = door(&keys, tcp());
    let mut changes = keys.changes();
    let secret = |text: &str| Some(text.as_bytes().to_vec().into());
    let same = || Access { token: secret(TOKEN), metrics_token: secret(METRICS_TOKEN), hosts: Vec::new() };
    keys.replace(same());
    assert!(!changes.has_changed().unwrap(), "the same token read again");
    keys.replace(Access { token: secret("another token, longer"), ..same() });
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(status(&door, "GET /sessions", &[HOST, BEARER]).await, 401);
    // None at all: the door is closed, and nobody's token is wrong.
    keys.wrong().untold = None;
    keys.replace(Access { token: None, metrics_token: None, hosts: Vec::new() });
    assert!(changes.has_changed().unwrap());
    let closed = asked(&door, "GET /sessions", &[HOST, BEARER]).await;
    assert!(closed.status().as_u16() == 403 && text(closed).await.contains("closed"));
    assert_eq!(keys.wrong().untold, None);
}

#[tokio::test]
async fn other_pages_have_nothing_done() {
    let keys = keys();
    for door in [door(&keys, UNIX), door(&keys, tcp())] {
        let host = ("host", "localhost:1180");
        let post = async |more: &[(&str, &str)]| {
            status(&door, "POST /kick", &[&[host, BEARER][..], more].concat()).await
        };
        assert_eq!(post(&[]).await, 200);
        assert_eq!(post(&[("origin", "http://localhost:1180")]).await, 200);
        assert_eq!(post(&[("origin", "https://LOCALHOST:1180")]).await, 200);
        assert_eq!(post(&[("origin", "http://localhost:3000")]).await, 403);
        assert_eq!(post(&[("origin", "http://evil.example")]).await, 403);
        assert_eq!(post(&[("origin", "null")]).await, 403);
        assert_eq!(post(&[("origin", "null"), ("sec-fetch-site", "same-origin")]).await, 200);
        assert_eq!(post(&[("sec-fetch-site", "cross-site")]).await, 403);
        let get = async |path: &str, site: &str, mode: &str| {
            let headers = [host, BEARER, ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
            status(&door, &format!("GET {path}"), &headers).await
        };
        assert_eq!(get("/sessions", "same-origin", "cors").await, 200);
        assert_eq!(get("/sessions", "none", "navigate").await, 200);
        assert_eq!(get("/sessions", "cross-site", "no-cors").await, 403);
        assert_eq!(get("/sessions", "cross-site", "navigate").await, 403);
        assert_eq!(get("/sessions", "same-site", "cors").await, 403);
        assert_eq!(get("/", "cross-site", "navigate").await, 200);
        assert_eq!(get("/", "cross-site", "no-cors").await, 200, "it is public");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_every_answer_is_guarded() {
    let door = door(&keys(), UNIX);
    let host = ("host", "localhost");
    let much = "x".repeat(BODY_MAX_OCTETS);
    let answer = door.answer(request("POST /kick", &[host], &much)).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(text(answer).await.len(), "kicked ".len() + much.len());
    assert_eq!(door.answer(request("POST /kick", &[host], &(much + "x"))).await.status().as_u16(), 413);
    for (line, host) in [("GET /", "localhost"), ("GET /nothing", "localhost"), ("GET /", "evil.example")] {
        let answer = asked(&door, line, &[("host", host)]).await;
        for name in ["x-content-type-options", "referrer-policy", "cache-control", "content-security-policy"]
        {
            assert!(answer.headers().contains_key(name), "{line} {host}: {name}");
        }
    }
}
