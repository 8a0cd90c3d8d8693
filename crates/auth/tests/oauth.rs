//! Tokens of an authorization server, as a directory: the suite of all directories, and each way in which a token can be
//! wrong, or the server be away.
#![cfg(feature = "oauth")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{sync::Arc, time::Duration};

use restante_auth::{
    Directory,
    conformance::{self, Fixture, Style, User},
    directory::{Check, LookupError, OauthDirectory, OauthError, OauthSettings, Task, USER_CLAIM_DEFAULT},
};
use restante_proto::{Secret, UserName};
use restante_testkit::authorization_server::{
    AUDIENCE, AuthorizationServer, CLIENT_ID, CLIENT_SECRET, EMAIL, Fault, Signature,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde_json::{Value, json};

fn settings(server: &AuthorizationServer) -> OauthSettings {
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    OauthSettings {
        issuer: server.issuer(),
        audience: vec![AUDIENCE.to_owned()],
        jwks_url: None,
        introspection_url: None,
        client_id: CLIENT_ID.to_owned(),
        client_secret: Some(Secret::new(CLIENT_SECRET.to_owned())),
        user_claim: USER_CLAIM_DEFAULT.to_owned(),
        scope: String::new(),
        timeout: Duration::from_secs(5),
        tls,
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
        ("email_verified", Value::Null, Told::Right),
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
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (directory, token) = (Arc::clone(&directory), token.clone());
        all.spawn(async move { ask(&directory, EMAIL, &token).await });
    }
    assert!(all.join_all().await.iter().all(|told| *told == Told::Right));
    assert_eq!(server.requests("/jwks").len(), 1);
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
    let asked = server.requests("/jwks").len();
    assert_eq!(ask(&directory, EMAIL, &token).await, Told::Right);
    assert_eq!(server.requests("/jwks").len(), asked, "it is not asked again at once");
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
    stranger.client_secret = Some(Secret::new("wrong".into()));
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
    assert_eq!(with(|settings| settings.audience.clear()), Err(OauthError::Audience));
    assert_eq!(
        with(|settings| settings.issuer = "http://id.example.org".into()),
        Err(OauthError::Url { key: "issuer" })
    );
    assert_eq!(
        with(|settings| settings.introspection_url = Some("http://id.example.org/i".into())),
        Err(OauthError::Url { key: "introspection_url" })
    );
    let by_scope = |settings: &mut OauthSettings| {
        settings.introspection_url = Some("https://id.example.org/i".into());
        settings.audience.clear();
        settings.scope = "mail".into();
    };
    assert_eq!(with(by_scope), Ok(()));
}
