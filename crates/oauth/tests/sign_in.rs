//! Each way to sign in, and each way in which that goes wrong, against an authorization server on loopback; and tokens that
//! are kept and replaced.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use restante_oauth::{
    Browser, Client, Flow, Http, OauthError, Place, Provider, Source, Store, Tokens, Unsaved, device, is_safe,
};
use restante_proto::Secret;
use restante_testkit::authorization_server::{
    AuthorizationServer, CLIENT_ID, CLIENT_SECRET, Device, Fault, visit,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

fn http_with(timeout: Duration) -> Http {
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Http::with_timeout(tls, timeout).unwrap()
}

fn http() -> Http {
    http_with(Duration::from_secs(10))
}

fn client() -> Client {
    Client { id: CLIENT_ID.into(), secret: None }
}

/// Waits in no time.
fn at_once(_: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async {})
}

async fn by_device(server: &AuthorizationServer, client: &Client) -> Result<Tokens, OauthError> {
    let provider = Provider::find(&server.issuer(), &http()).await?;
    let told = Mutex::new(None);
    let tell = |instructions: &device::Instructions| *told.lock().unwrap() = Some(instructions.clone());
    let signed_in = device::sign_in(&provider, client, "mail openid", &http(), at_once, tell).await;
    let told = told.into_inner().unwrap();
    assert!(told.is_none_or(|told| told.code == "WDJB-MJHT" && told.url.ends_with("/activate")));
    signed_in
}

async fn by_browser(server: &AuthorizationServer, client: &Client) -> (Result<Tokens, OauthError>, String) {
    let provider = Provider::find(&server.issuer(), &http()).await.unwrap();
    let browser = Browser::open(&provider, client, "mail openid").await.unwrap();
    let url = browser.url().to_owned();
    let person = tokio::task::spawn_blocking(move || visit(&url).unwrap().1);
    let tokens = browser.finish(&http()).await;
    (tokens, person.await.unwrap())
}

/// No text of an error tells what only the two servers may know.
fn without_secrets(server: &AuthorizationServer, error: &OauthError) {
    let text = format!("{error} {error:?}");
    assert!(!text.contains("SECRET") && !text.contains(CLIENT_SECRET), "{text}");
    assert!(server.secrets().iter().all(|secret| !text.contains(secret.as_str())), "{text}");
}

#[tokio::test]
async fn a_code_is_typed_elsewhere() {
    let server = AuthorizationServer::start();
    for device in [Device::Pending(0), Device::Pending(3), Device::SlowDown(2)] {
        server.script(|script| script.device = device);
        let tokens = by_device(&server, &client()).await.unwrap();
        assert!(tokens.refresh.is_some() && tokens.expires_at.is_some());
        assert_eq!(tokens.scope, "openid mail");
        assert!(!format!("{tokens:?}").contains(tokens.access.expose().as_str()));
    }
    assert_eq!(server.requests("/device")[0]["scope"], "mail openid");
    assert_eq!(server.requests("/token").len(), 1 + 4 + 3);
    for (device, error) in [(Device::Denied, OauthError::Denied), (Device::Expired, OauthError::TooLate)] {
        server.script(|script| script.device = device);
        assert_eq!(by_device(&server, &client()).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn a_client_that_has_to_prove_itself_does() {
    let server = AuthorizationServer::start();
    server.script(|script| script.needs_client_secret = true);
    let error = by_device(&server, &client()).await.unwrap_err();
    assert!(matches!(&error, OauthError::Refused(text) if text.contains("invalid_client")), "{error}");
    let proven = Client { secret: Some(Secret::new(CLIENT_SECRET.into())), ..client() };
    by_device(&server, &proven).await.unwrap();
    by_browser(&server, &proven).await.0.unwrap();
    assert!(!format!("{proven:?}").contains(CLIENT_SECRET));
}

#[tokio::test]
async fn a_browser_comes_back() {
    let server = AuthorizationServer::start();
    let (tokens, page) = by_browser(&server, &client()).await;
    assert!(tokens.unwrap().refresh.is_some());
    assert!(page.contains("You can close this window"), "{page}");
    let asked = &server.requests("/authorize")[0];
    assert_eq!((asked["code_challenge_method"].as_str(), asked["scope"].as_str()), ("S256", "mail openid"));
    assert!(asked["redirect_uri"].starts_with("http://127.0.0.1:"));
    // What was kept here went with the code, and nothing of it with the question.
    assert!(
        !asked.contains_key("code_verifier") && server.requests("/token")[0].contains_key("code_verifier")
    );
}

#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    let server = AuthorizationServer::start();
    server.script(|script| script.wrong_state = true);
    let provider = Provider::find(&server.issuer(), &http()).await.unwrap();
    let server = Arc::new(server);
    // One that is forged does not end it; so many do.
    for forged in [1, 16] {
        server.script(|script| script.wrong_state = true);
        let browser = Browser::open(&provider, &client(), "mail").await.unwrap();
        let (url, seen) = (browser.url().to_owned(), Arc::clone(&server));
        let person = tokio::task::spawn_blocking(move || {
            for _ in 0..forged {
                let (status, page) = visit(&url).unwrap();
                assert!(status == 400 && page.contains("Nothing was kept"), "{page}");
            }
            if forged == 1 {
                assert!(seen.requests("/token").is_empty());
                seen.script(|script| script.wrong_state = false);
                assert_eq!(visit(&url).unwrap().0, 200);
            }
        });
        let tokens = browser.finish(&http()).await;
        person.await.unwrap();
        assert_eq!(tokens.err(), (forged > 1).then_some(OauthError::State));
    }
    server.script(|script| (script.wrong_state, script.refuses) = (false, Some("access_denied")));
    let (tokens, page) = by_browser(&server, &client()).await;
    assert_eq!(tokens.unwrap_err(), OauthError::Denied);
    assert!(page.contains("not allowed"), "{page}");
    server.script(|script| script.refuses = Some("server_error"));
    assert!(matches!(by_browser(&server, &client()).await.0, Err(OauthError::Refused(_))));
}

#[tokio::test]
async fn what_else_comes_to_the_port_is_not_an_answer() {
    let server = AuthorizationServer::start();
    let provider = Provider::find(&server.issuer(), &http()).await.unwrap();
    let browser = Browser::open(&provider, &client(), "mail").await.unwrap();
    let url = browser.url().to_owned();
    let person = tokio::task::spawn_blocking(move || {
        let port = url.split("127.0.0.1%3A").nth(1).unwrap().split("%2F").next().unwrap();
        let place = format!("127.0.0.1:{port}");
        // Connections for nothing, as browsers make them, and what they ask for besides.
        let idle: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(&place).unwrap()).collect();
        assert_eq!(visit(&format!("http://{place}/favicon.ico")).unwrap().0, 404);
        assert_eq!(visit(&format!("http://{place}/")).unwrap().0, 404);
        let page = visit(&url).unwrap().1;
        drop(idle);
        page
    });
    browser.finish(&http()).await.unwrap();
    assert!(person.await.unwrap().contains("Thank you"));
}

#[tokio::test]
async fn servers_that_do_not_work_are_told_from_those_that_say_no() {
    let server = AuthorizationServer::start();
    let provider = Provider::find(&server.issuer(), &http()).await.unwrap();
    let store = tempfile::tempdir().unwrap();
    let file = store.path().join("john.tokens");
    let impatient = http_with(Duration::from_millis(300));
    for fault in [
        Fault::Hangs,
        Fault::Garbage,
        Fault::NoJson,
        Fault::Huge(2 << 20),
        Fault::Status500,
        Fault::Unavailable,
        Fault::Closes,
    ] {
        keep(&file, &server, 0).await;
        server.fault("/token", Some(fault));
        let source = source(&server, &file, impatient.clone());
        let error = source.access(None).await.unwrap_err();
        assert!(error.is_temporary(), "{fault:?}: {error}");
        without_secrets(&server, &error);
        // Nothing is lost by it.
        server.fault("/token", None);
        assert!(source.access(None).await.is_ok(), "{fault:?}");
        server.fault("/device", Some(fault));
        let asked = device::sign_in(&provider, &client(), "mail", &impatient, at_once, |_| {}).await;
        assert!(asked.unwrap_err().is_temporary(), "{fault:?}");
        server.fault("/device", None);
    }
}

#[tokio::test]
async fn whom_one_signs_in_with_is_found() {
    let server = AuthorizationServer::start();
    let found = Provider::find(&server.issuer(), &http()).await.unwrap();
    assert_eq!(found.flows(), [Flow::Device, Flow::Browser]);
    let flows = |name: &str| Provider::from(Provider::known(name).unwrap()).flows();
    assert_eq!(
        ["google", "microsoft", "yahoo"].map(flows),
        [vec![Flow::Browser], vec![Flow::Device, Flow::Browser], vec![Flow::Browser]]
    );
    for known in restante_oauth::PROVIDERS {
        let urls = [Some(known.authorization), Some(known.token), known.device];
        assert!(urls.into_iter().flatten().all(|url| url.starts_with("https://") && is_safe(url)));
    }
    for wrong in ["gogle", "http://id.example.org", ""] {
        assert!(matches!(Provider::find(wrong, &http()).await, Err(OauthError::Setup(_))), "{wrong}");
    }
    server.script(|script| script.issuer = Some("https://id.example.org".into()));
    assert!(matches!(Provider::find(&server.issuer(), &http()).await, Err(OauthError::Setup(_))));
    // The older address is enough.
    server.script(|script| script.issuer = None);
    server.fault("/.well-known/openid-configuration", Some(Fault::Status500));
    assert!(Provider::find(&server.issuer(), &http()).await.is_ok());
}

fn source(server: &AuthorizationServer, file: &Path, http: Http) -> Source {
    Source::new(&server.issuer(), client(), http, Store::new(Place::File, "john", file))
}

/// Signs in, and keeps tokens whose access token has this many seconds.
async fn keep(file: &Path, server: &AuthorizationServer, lifetime: u64) {
    server.script(|script| (script.lifetime_seconds, script.device) = (lifetime, Device::Pending(0)));
    let tokens = by_device(server, &client()).await.unwrap();
    Store::new(Place::File, "john", file).save(&tokens).await.unwrap();
    server.script(|script| script.lifetime_seconds = 3600);
}

#[tokio::test]
async fn tokens_are_replaced_before_their_end_and_when_they_are_refused() {
    let (server, folder) = (AuthorizationServer::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("state").join("john.tokens");
    keep(&file, &server, 3600).await;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let start = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let clock = Arc::new(AtomicU64::new(start));
    let seen = Arc::clone(&clock);
    let source = source(&server, &file, http()).with_clock(move || seen.load(Ordering::SeqCst));
    let first = source.access(None).await.unwrap();
    assert_eq!(source.access(None).await.unwrap(), first);
    let refreshes =
        || server.requests("/token").iter().filter(|form| form["grant_type"] == "refresh_token").count();
    assert_eq!(refreshes(), 0);
    clock.store(start + 3600 - 50, Ordering::SeqCst);
    let second = source.access(None).await.unwrap();
    assert!(second != first && refreshes() == 1);
    // A mail server refuses one that should work: there is a new one, once for all who hold the same.
    let third = source.access(Some(&second)).await.unwrap();
    assert_eq!(source.access(Some(&second)).await.unwrap(), third);
    assert!(third != second && refreshes() == 2);
    assert!(!format!("{source:?}").contains("SECRET"));
}

fn refreshes(server: &AuthorizationServer) -> usize {
    server.requests("/token").iter().filter(|form| form["grant_type"] == "refresh_token").count()
}

#[tokio::test]
async fn a_refresh_token_is_spent_only_where_the_next_one_can_be_kept() {
    let (server, folder) = (AuthorizationServer::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("john.tokens");
    keep(&file, &server, 0).await;
    // Where the new file would be made, something else stands: nothing can be written, as on a disk that is full.
    let hindrance = folder.path().join(format!("john.tokens.{}.new", std::process::id()));
    fs::create_dir(&hindrance).unwrap();
    let source = source(&server, &file, http());
    let error = source.access(None).await.unwrap_err();
    assert!(matches!(error, OauthError::Store(_)) && error.is_temporary(), "{error}");
    assert_eq!(refreshes(&server), 0);
    fs::remove_dir(&hindrance).unwrap();
    source.access(None).await.unwrap();
    assert!(refreshes(&server) == 1 && source.trouble().is_none());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    // What is not spent leaves nothing behind either.
    keep(&file, &server, 0).await;
    server.fault("/token", Some(Fault::Status500));
    source.access(None).await.unwrap_err();
    assert!(!hindrance.exists());
}

#[tokio::test]
async fn what_could_not_be_kept_is_kept_later() {
    let (server, folder) = (Arc::new(AuthorizationServer::start()), tempfile::tempdir().unwrap());
    let (file, aside) = (folder.path().join("john.tokens"), folder.path().join("aside"));
    keep(&file, &server, 0).await;
    // Once the answer is here, a folder stands where the file was, so that nothing takes its place.
    let (seen, places) = (Arc::clone(&server), (file.clone(), aside.clone()));
    let clock = move || {
        if refreshes(&seen) == 1 && !places.1.exists() {
            fs::rename(&places.0, &places.1).unwrap();
            fs::create_dir(&places.0).unwrap();
        }
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    let unsaved = Unsaved::default();
    let first = source(&server, &file, http()).with_unsaved(unsaved.clone()).with_clock(clock);
    let token = first.access(None).await.unwrap();
    assert!(first.trouble().unwrap().contains("could not be kept") && first.trouble().is_none());
    // The next run of the same process still has it, and says so.
    let next = source(&server, &file, http()).with_unsaved(unsaved.clone());
    assert!(next.access(None).await.unwrap() == token && next.trouble().is_some());
    // It is kept as soon as that works.
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    assert!(next.access(None).await.unwrap() == token && next.trouble().is_none());
    let kept = Store::new(Place::File, "john", &file).load().await.unwrap().unwrap();
    assert_eq!((kept.access, refreshes(&server)), (token, 1));
    // Then the store counts: whoever signs out is signed out.
    fs::remove_file(&file).unwrap();
    assert!(matches!(next.access(None).await, Err(OauthError::SignIn(_))));
}

#[tokio::test]
async fn two_at_once_use_a_refresh_token_once() {
    let (server, folder) = (AuthorizationServer::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("john.tokens");
    keep(&file, &server, 0).await;
    server.fault("/token", Some(Fault::Slow(Duration::from_millis(50))));
    // Each with a file of its own that it locks, as two processes have.
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let source = source(&server, &file, http());
        all.spawn(async move { source.access(None).await });
    }
    let all: Vec<_> = all.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(all.iter().all(|token| *token == all[0]));
    let refreshes =
        server.requests("/token").iter().filter(|form| form["grant_type"] == "refresh_token").count();
    assert_eq!(refreshes, 1);
}

#[tokio::test]
async fn what_only_a_person_can_help_with_is_told() {
    let (server, folder) = (AuthorizationServer::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("john.tokens");
    let source = source(&server, &file, http());
    let error = source.access(None).await.unwrap_err();
    assert!(matches!(error, OauthError::SignIn(_)) && !error.is_temporary());
    keep(&file, &server, 0).await;
    server.script(|script| script.refuses_refresh = true);
    let error = source.access(None).await.unwrap_err();
    assert!(matches!(error, OauthError::SignIn(_)), "{error}");
    without_secrets(&server, &error);
    // Tokens of one server are not shown to another.
    let other =
        Source::new("https://id.example.org", client(), http(), Store::new(Place::File, "john", &file));
    assert!(matches!(other.access(None).await, Err(OauthError::SignIn(_))));
}

#[tokio::test]
async fn a_file_that_others_can_read_is_not_used() {
    let (server, folder) = (AuthorizationServer::start(), tempfile::tempdir().unwrap());
    let file = folder.path().join("john.tokens");
    keep(&file, &server, 3600).await;
    let store = Store::new(Place::File, "john", &file);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(store.load().await, Err(OauthError::Store(text)) if text.contains("chmod 600")));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(store.load().await.unwrap().is_some());
    fs::write(&file, "{\"version\": 1").unwrap();
    assert!(matches!(store.load().await, Err(OauthError::Setup(_))));
    assert!(store.forget().await.unwrap() && !store.forget().await.unwrap());
    assert_eq!(store.load().await, Ok(None));
    // Nothing is left beside it but the lock.
    keep(&file, &server, 3600).await;
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["john.tokens"]);
}
