//! Tokens of an authorization server, as a directory: the suite of all directories, and each way in which a token can be
//! wrong, or the server be away.
#![cfg(feature = "oauth")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use restante_auth::{
    Directory,
    conformance::{self, Fixture, Style, User},
    directory::{
        Check, EmailVerified, LookupError, OauthDirectory, OauthError, OauthSettings, SecretText, Task,
        USER_CLAIM_DEFAULT,
    },
};
use restante_proto::{Secret, UserName};
use restante_testkit::authorization_server::{
    AUDIENCE, AuthorizationServer, CLIENT_ID, CLIENT_SECRET, EMAIL, Fault, Signature,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

fn settings(server: &AuthorizationServer) -> OauthSettings {
    OauthSettings {
        issuer: server.issuer(),
        audience: vec![AUDIENCE.to_owned()],
        jwks_url: None,
        introspection_url: None,
        client_id: CLIENT_ID.to_owned(),
        client_secret: Some(SecretText::Here(Secret::new(CLIENT_SECRET.to_owned()))),
        user_claim: USER_CLAIM_DEFAULT.to_owned(),
        email_verified: EmailVerified::Required,
        scope: String::new(),
        timeout: Duration::from_secs(5),
        ca_file: None,
    }
}

fn by_keys(server: &AuthorizationServer) -> OauthDirectory {
    OauthDirectory::new(settings(server)).unwrap()
}

fn by_introspection(server: &AuthorizationServer) -> OauthDirectory {
    let introspection_url = Some(format!("{}/introspect", server.issuer()));
    OauthDirectory::new(OauthSettings { introspection_url, ..settings(server) }).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Right,
    Wrong,
    Expired,
    Unknown,
    Broken,
}

async fn ask(directory: &OauthDirectory, user: &str, token: &str) -> Told {
    let claimed = UserName::new(user).unwrap();
    match directory.token(Some(&claimed), &Secret::new(token.to_owned())).await {
        Ok(Check::Right(account)) => {
            assert_eq!(account.name, claimed);
            Told::Right
        }
        Ok(Check::Wrong) => Told::Wrong,
        Ok(Check::Expired) => Told::Expired,
        Ok(Check::Unknown) => Told::Unknown,
        Err(error) => {
            assert!(matches!(error, LookupError::Broken { .. }));
            assert!(!format!("{error} {error:?}").contains(token), "the token is in the error");
            assert!(!format!("{error} {error:?}").contains(CLIENT_SECRET), "the secret is in the error");
            Told::Broken
        }
    }
}

/// A usual claim set with one claim changed.
fn with(server: &AuthorizationServer, name: &str, value: Value) -> Value {
    let mut claims = server.claims(600);
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

/// Moves tokio's clock; sockets keep theirs.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Waits until so many questions for keys have come.
async fn asked(server: &AuthorizationServer, times: usize) {
    let come = async {
        while server.requests("/jwks").len() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), come).await.expect("the question for keys");
}

/// So many who ask at once.
fn many(directory: &Arc<OauthDirectory>, token: &str, times: usize) -> JoinSet<Told> {
    let one = || {
        let (directory, token) = (Arc::clone(directory), token.to_owned());
        async move { ask(&directory, EMAIL, &token).await }
    };
    (0..times).map(|_| one()).collect()
}

struct Tokens {
    server: AuthorizationServer,
    opaque: bool,
}

impl Fixture for Tokens {
    fn style(&self) -> Style {
        Style::Tokens
    }

    fn directory<'a>(&'a self, _: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        let directory = if self.opaque { by_introspection(&self.server) } else { by_keys(&self.server) };
        Box::pin(async { directory.into() })
    }

    fn broken(&self) -> Task<'_, Option<Arc<dyn Directory>>> {
        for path in ["/jwks", "/introspect"] {
            self.server.fault(path, Some(Fault::Status500));
        }
        let directory = if self.opaque { by_introspection(&self.server) } else { by_keys(&self.server) };
        Box::pin(async { Some(directory.into()) })
    }

    fn token(&self, user: &User) -> String {
        let claims = with(&self.server, "email", json!(user.name));
        if self.opaque {
            self.server.mint_opaque(&claims)
        } else {
            self.server.mint(&claims, Signature::Es256)
        }
    }
}

#[tokio::test]
async fn it_is_a_directory_with_keys() {
    conformance::check(&Tokens { server: AuthorizationServer::start(), opaque: false }).await;
}

#[tokio::test]
async fn it_is_a_directory_with_introspection() {
    conformance::check(&Tokens { server: AuthorizationServer::start(), opaque: true }).await;
}

#[tokio::test]
async fn signatures_count() {
    let server = AuthorizationServer::start();
    let directory = by_keys(&server);
    let claims = server.claims(600);
    for (signature, told) in [
        (Signature::Rs256, Told::Right),
        (Signature::Es256, Told::Right),
        (Signature::NoKid, Told::Right),
        (Signature::Forged, Told::Wrong),
        (Signature::Hs256, Told::Wrong),
        (Signature::None, Told::Unknown),
    ] {
        assert_eq!(ask(&directory, EMAIL, &server.mint(&claims, signature)).await, told, "{signature:?}");
    }
    // One set of keys for all of them.
    assert_eq!(server.requests("/jwks").len(), 1);
    // Somebody else's claims under a signature that is right.
    let (token, other) =
        (server.mint(&claims, Signature::Es256), with(&server, "email", json!("eve@example.org")));
    let other = server.mint(&other, Signature::Es256);
    let [head, body, signature] = [&token, &other, &token].map(|token| token.split('.').collect::<Vec<_>>());
    let mixed = [head[0], body[1], signature[2]].join(".");
    assert_eq!(ask(&directory, "eve@example.org", &mixed).await, Told::Wrong);
}

#[tokio::test]
async fn claims_count() {
    let server = AuthorizationServer::start();
    let mut settings = settings(&server);
    settings.scope = "mail".into();
    let directory = OauthDirectory::new(settings).unwrap();
    let now = server.claims(0)["exp"].as_u64().unwrap();
    for (name, value, told) in [
        ("iat", json!(0), Told::Right),
        ("iss", json!("https://id.example.org"), Told::Unknown),
        ("iss", Value::Null, Told::Unknown),
        ("iss", json!([server.issuer()]), Told::Unknown),
        ("aud", json!("somebody"), Told::Wrong),
        ("aud", Value::Null, Told::Wrong),
        ("aud", json!(["somebody", AUDIENCE]), Told::Right),
        ("exp", json!(now - 50), Told::Right),
        ("exp", json!(now - 120), Told::Expired),
        ("exp", json!("never"), Told::Wrong),
        ("exp", Value::Null, Told::Wrong),
        ("nbf", json!(now + 50), Told::Right),
        ("nbf", json!(now + 120), Told::Wrong),
        ("nbf", json!("x"), Told::Wrong),
        ("email", Value::Null, Told::Wrong),
        ("email", json!("eve@example.org"), Told::Wrong),
        ("email", json!("JOHN@example.ORG"), Told::Right),
        ("email_verified", json!(false), Told::Wrong),
        ("email_verified", Value::Null, Told::Wrong),
        ("scope", json!("openid"), Told::Wrong),
        ("scope", Value::Null, Told::Wrong),
    ] {
        let token = server.mint(&with(&server, name, value.clone()), Signature::Rs256);
        assert_eq!(ask(&directory, EMAIL, &token).await, told, "{name}: {value}");
    }
    for garbage in ["", "x", "..", "a.b.c", "\u{e4}.x.y", "a b.c.d", &"x.y.z".repeat(5000)] {
        assert_eq!(ask(&directory, EMAIL, garbage).await, Told::Unknown, "{garbage}");
    }
}

#[tokio::test]
async fn new_keys_are_found_and_others_are_not_looked_for_all_the_time() {
    let server = AuthorizationServer::start();
    let directory = by_keys(&server);
    let good = server.mint(&server.claims(600), Signature::Es256);
    assert_eq!(ask(&directory, EMAIL, &good).await, Told::Right);
    server.rotate_keys();
    let new = server.mint(&server.claims(600), Signature::Es256);
    // The last time was a moment ago.
    assert_eq!(ask(&directory, EMAIL, &new).await, Told::Wrong);
    assert_eq!(server.requests("/jwks").len(), 1);
    later(31).await;
    // However many come, one question is asked.
    let all = (0..8).map(|_| ask(&directory, EMAIL, &new));
    let mut told = Vec::new();
    for one in all.map(Box::pin) {
        told.push(one.await);
    }
    assert_eq!(told, [Told::Right; 8]);
    assert_eq!(server.requests("/jwks").len(), 2);
    assert_eq!(ask(&directory, EMAIL, &good).await, Told::Wrong, "a key that was withdrawn");
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let server = AuthorizationServer::start();
    server.fault("/jwks", Some(Fault::Slow(Duration::from_millis(100))));
    let directory = Arc::new(by_keys(&server));
    let token = server.mint(&server.claims(600), Signature::Rs256);
    let all = many(&directory, &token, 20);
    assert!(all.join_all().await.iter().all(|told| *told == Told::Right));
    assert_eq!(server.requests("/jwks").len(), 1);
}

#[tokio::test]
async fn where_no_keys_are_kept_all_who_wait_fail_after_one_timeout() {
    let server = AuthorizationServer::start();
    server.fault("/jwks", Some(Fault::Hangs));
    // Longer than the pause after a failure, which must not begin with the question.
    let timeout = Duration::from_secs(20);
    let directory = Arc::new(OauthDirectory::new(OauthSettings { timeout, ..settings(&server) }).unwrap());
    let token = server.mint(&server.claims(600), Signature::Rs256);
    let all = many(&directory, &token, 8);
    asked(&server, 1).await;
    later(21).await;
    // One timeout is over; none of them begins another.
    let told = tokio::time::timeout(Duration::from_secs(5), all.join_all()).await.expect("one timeout");
    assert_eq!(told, [Told::Broken; 8]);
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Broken, "it is remembered");
    assert_eq!(server.requests("/jwks").len(), 1);
    server.fault("/jwks", None);
    later(6).await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
}

#[tokio::test]
async fn kept_keys_answer_at_once_while_the_server_hangs() {
    let server = AuthorizationServer::start();
    let directory = Arc::new(by_keys(&server));
    let token = server.mint(&server.claims(600), Signature::Es256);
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    server.fault("/jwks", Some(Fault::Hangs));
    later(2 * 3600).await;
    for _ in 0..3 {
        let told = tokio::time::timeout(Duration::from_secs(2), many(&directory, &token, 8).join_all()).await;
        assert_eq!(told.expect("nobody waits"), [Told::Right; 8]);
        asked(&server, 2).await;
    }
    assert_eq!(server.requests("/jwks").len(), 2, "one renewal is on its way");
    // What it brings is taken when it comes.
    later(6).await;
    server.rotate_keys();
    let new = server.mint(&server.claims(600), Signature::Es256);
    assert_eq!(ask(&directory, EMAIL, &new).await, Told::Broken, "a key that is not known waits for the end");
    server.fault("/jwks", None);
    later(61).await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    asked(&server, 3).await;
    let gone = async {
        while ask(&directory, EMAIL, &token).await == Told::Right {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the old key is withdrawn");
}

#[tokio::test]
async fn who_waits_and_goes_away_takes_no_answer_from_others() {
    let server = AuthorizationServer::start();
    server.fault("/jwks", Some(Fault::Slow(Duration::from_millis(200))));
    let directory = Arc::new(by_keys(&server));
    let token = server.mint(&server.claims(600), Signature::Rs256);
    let mut first = many(&directory, &token, 1);
    asked(&server, 1).await;
    first.shutdown().await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    assert_eq!(server.requests("/jwks").len(), 1);
}

#[tokio::test]
async fn an_issuer_that_does_not_say_verified_is_trusted_where_that_is_set() {
    let server = AuthorizationServer::start();
    let trusting = OauthSettings { email_verified: EmailVerified::Trusted, ..settings(&server) };
    let directory = OauthDirectory::new(trusting).unwrap();
    let silent = server.mint(&with(&server, "email_verified", Value::Null), Signature::Rs256);
    assert_eq!(ask(&directory, EMAIL, &silent).await, Told::Right);
    assert_eq!(ask(&by_keys(&server), EMAIL, &silent).await, Told::Wrong);
    let denied = server.mint(&with(&server, "email_verified", json!(false)), Signature::Rs256);
    assert_eq!(ask(&directory, EMAIL, &denied).await, Told::Wrong);
}

#[tokio::test]
async fn a_secret_that_changed_is_read_again() {
    let server = AuthorizationServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("not yet\n");
    let directory = OauthDirectory::new(OauthSettings {
        introspection_url: Some(format!("{}/introspect", server.issuer())),
        client_secret: Some(SecretText::File(file.clone())),
        ..settings(&server)
    })
    .unwrap();
    let token = server.mint_opaque(&server.claims(600));
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Broken);
    write(&format!("{CLIENT_SECRET}\n"));
    directory.reload().await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    // One that cannot be used changes nothing.
    fs::remove_file(&file).unwrap();
    directory.reload().await;
    let another = server.mint_opaque(&server.claims(600));
    assert_eq!(ask(&directory, EMAIL, &another).await, Told::Right);
}

#[tokio::test]
async fn keys_outlive_a_server_that_is_away_but_not_for_ever() {
    let server = AuthorizationServer::start();
    let directory = by_keys(&server);
    let token = server.mint(&server.claims(600), Signature::Es256);
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    server.fault("/jwks", Some(Fault::Closes));
    later(2 * 3600).await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    asked(&server, 2).await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    assert_eq!(server.requests("/jwks").len(), 2, "it is not asked again at once");
    later(23 * 3600).await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Broken);
    server.fault("/jwks", None);
    later(6).await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
}

#[tokio::test]
async fn a_server_that_misbehaves_is_no_verdict() {
    let server = AuthorizationServer::start();
    let token = server.mint(&server.claims(600), Signature::Es256);
    let opaque = server.mint_opaque(&server.claims(600));
    let mut impatient = settings(&server);
    impatient.timeout = Duration::from_millis(300);
    for fault in [
        Fault::Hangs,
        Fault::Garbage,
        Fault::NoJson,
        Fault::Huge(3 << 20),
        Fault::Status500,
        Fault::Unavailable,
        Fault::Closes,
    ] {
        for path in ["/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"]
        {
            server.fault(path, Some(fault));
        }
        let directory = OauthDirectory::new(impatient.clone()).unwrap();
        assert_eq!(ask(&directory, EMAIL, &token).await, Told::Broken, "{fault:?}");
        server.fault("/introspect", Some(fault));
        let introspection_url = Some(format!("{}/introspect", server.issuer()));
        let directory =
            OauthDirectory::new(OauthSettings { introspection_url, ..impatient.clone() }).unwrap();
        assert_eq!(ask(&directory, EMAIL, &opaque).await, Told::Broken, "{fault:?}");
        for path in [
            "/jwks",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
            "/introspect",
        ] {
            server.fault(path, None);
        }
    }
    // Metadata of somebody else.
    server.script(|script| script.issuer = Some("https://id.example.org".into()));
    assert_eq!(ask(&by_keys(&server), EMAIL, &token).await, Told::Broken);
    // A server that does not know us: that is not the user's fault.
    let mut stranger = settings(&server);
    stranger.introspection_url = Some(format!("{}/introspect", server.issuer()));
    stranger.client_secret = Some(SecretText::Here(Secret::new("wrong".into())));
    assert_eq!(ask(&OauthDirectory::new(stranger).unwrap(), EMAIL, &opaque).await, Told::Broken);
}

#[tokio::test]
async fn introspection_is_remembered_for_a_minute() {
    let server = AuthorizationServer::start();
    let directory = by_introspection(&server);
    let token = server.mint_opaque(&server.claims(600));
    for _ in 0..3 {
        assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    }
    assert_eq!(server.requests("/introspect").len(), 1);
    // Known or not, it is one user's.
    assert_eq!(ask(&directory, "eve@example.org", &token).await, Told::Wrong);
    server.revoke_all();
    later(61).await;
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Unknown);
    // A JWT says by whom it was made: it is asked about too, and what is not active any more is wrong.
    let old = server.mint(&server.claims(-120), Signature::Es256);
    assert_eq!(ask(&directory, EMAIL, &old).await, Told::Wrong);
    let foreign = with(&server, "iss", json!("https://id.example.org"));
    let asked = server.requests("/introspect").len();
    assert_eq!(ask(&directory, EMAIL, &server.mint(&foreign, Signature::Es256)).await, Told::Unknown);
    assert_eq!(server.requests("/introspect").len(), asked, "tokens of others are shown to nobody");
}

#[test]
fn settings_that_would_let_anybody_in_are_refused() {
    let server = AuthorizationServer::start();
    let with = |change: fn(&mut OauthSettings)| {
        let mut settings = settings(&server);
        change(&mut settings);
        OauthDirectory::new(settings).map(drop)
    };
    assert!(matches!(with(|settings| settings.audience.clear()), Err(OauthError::Audience)));
    assert!(matches!(
        with(|settings| settings.issuer = "http://id.example.org".into()),
        Err(OauthError::Url { key: "issuer" })
    ));
    assert!(matches!(
        with(|settings| settings.introspection_url = Some("http://id.example.org/i".into())),
        Err(OauthError::Url { key: "introspection_url" })
    ));
    let by_scope = |settings: &mut OauthSettings| {
        settings.introspection_url = Some("https://id.example.org/i".into());
        settings.audience.clear();
        settings.scope = "mail".into();
    };
    with(by_scope).unwrap();
}
