//! Who is let in, and who is not.

use axum::routing::{get, post};
use http_body_util::Full;

use super::*;

const TOKEN: &str = "0123456789abcdef";

fn keys() -> Arc<Keys> {
    let access =
        Access { token: Some(TOKEN.as_bytes().to_vec().into()), hosts: vec!["Mail.example.org".into()] };
    Arc::new(Keys::new(access).unwrap())
}

fn door(keys: &Arc<Keys>, way: Way) -> Door {
    let router = Router::new()
        .route("/", get(|| async { "the page" }))
        .route("/sessions", get(|| async { "sessions" }))
        .route("/kick", post(|body: String| async move { format!("kicked {body}") }));
    Door { way, keys: Arc::clone(keys), router }
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
    let (unix, tcp) = (door(&keys, Way::Unix), door(&keys, tcp()));
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
    let (unix, tcp) = (door(&keys, Way::Unix), door(&keys, tcp()));
    assert_eq!(status(&unix, "GET /sessions", &[("host", "localhost")]).await, 200);
    let refused = asked(&tcp, "GET /sessions", &[HOST]).await;
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["www-authenticate"].as_bytes()),
        (401, &b"Bearer"[..])
    );
    assert_eq!(text(refused).await, "the token is needed\n");
    let refused = text(asked(&tcp, "GET /", &[HOST]).await).await;
    assert!(
        refused.contains("<form method=post action=/login>") && !refused.contains("the page<"),
        "{refused}"
    );
    assert_eq!(status(&tcp, "GET /sessions", &[HOST, BEARER]).await, 200);
    assert_eq!(
        status(&tcp, "GET /sessions", &[HOST, ("cookie", "restante-1180=0123456789abcdef")]).await,
        401
    );
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_is_not_the_token() {
    let keys = keys();
    let door = door(&keys, tcp());
    let form =
        request("POST /login", &[HOST, ("origin", "http://192.0.2.1:1180")], "x=1&token=0123456789%61bcdef");
    for answer in [door.answer(form).await, asked(&door, "GET /?token=0123456789abcdef", &[HOST]).await] {
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].as_bytes()), (303, &b"/"[..]));
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(
            cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict") && !cookie.contains(TOKEN),
            "{cookie}"
        );
        let cookie = format!("other=1; {}", cookie.split(';').next().unwrap());
        assert_eq!(status(&door, "GET /", &[HOST, ("cookie", &cookie)]).await, 200);
        // The same token read again keeps it, another one does not.
        let hosts = Vec::new();
        keys.replace(Access { token: Some(TOKEN.as_bytes().to_vec().into()), hosts }).unwrap();
        assert_eq!(status(&door, "GET /", &[HOST, ("cookie", &cookie)]).await, 200);
    }
    let answer = asked(&door, "GET /?token=0123456789abcdef", &[HOST]).await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let access = Access { token: Some(b"another token, longer".to_vec().into()), hosts: Vec::new() };
    keys.replace(access).unwrap();
    assert_eq!(status(&door, "GET /", &[HOST, ("cookie", &cookie)]).await, 401);
    assert_eq!(status(&door, "GET /", &[HOST, BEARER]).await, 401);
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_slowed_where_they_come_from() {
    let keys = keys();
    let door = door(&keys, tcp());
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(status(&door, "GET /?token=0123456789abcdeF", &[HOST]).await, 401);
    }
    assert!(began.elapsed() >= 2 * WRONG_TOKEN_DELAY, "{:?}", began.elapsed());
    let elsewhere = Way::Tcp { from: ([192, 0, 2, 8], 4711).into(), to: ([192, 0, 2, 1], 1180).into() };
    let elsewhere = Door { way: elsewhere, ..door.clone() };
    let began = Instant::now();
    assert_eq!(status(&elsewhere, "GET /", &[HOST, BEARER]).await, 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
    // A hundred at once wait no longer than the longest.
    for _ in 0..100 {
        keys.wrong().came([192, 0, 2, 7].into(), Instant::now());
    }
    assert_eq!(status(&door, "GET /", &[HOST, BEARER]).await, 200);
    assert_eq!(began.elapsed(), WRONG_TOKEN_DELAY_MAX);
    for n in 0..2 * WRONG_ADDRESSES_MAX as u32 {
        keys.wrong().came(IpAddr::V4(n.into()), Instant::now());
    }
    assert_eq!(keys.wrong().waits.len(), WRONG_ADDRESSES_MAX);
}

#[tokio::test]
async fn other_pages_have_nothing_done() {
    let keys = keys();
    for door in [door(&keys, Way::Unix), door(&keys, tcp())] {
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
        assert_eq!(get("/", "cross-site", "no-cors").await, 403);
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_every_answer_is_guarded() {
    let door = door(&keys(), Way::Unix);
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

#[test]
fn forms_are_read_as_browsers_write_them() {
    assert_eq!(field(b"token=a+b%2Bc", "token").unwrap(), b"a b+c");
    assert_eq!(field(b"x=1&token=", "token").unwrap(), b"");
    assert_eq!(field(b"tokens=1&atoken=2&token", "token"), None);
    assert_eq!(field(b"token=%4", "token"), None);
    assert_eq!(field(b"token=%zz&token=good", "token").unwrap(), b"good");
}
