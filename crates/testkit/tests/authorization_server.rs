//! The fake authorization server does what the RFCs say, so that tests against it mean something.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_testkit::authorization_server::{AuthorizationServer, CLIENT_ID, visit};
use serde_json::Value;

#[test]
fn it_is_found_and_shows_its_keys() {
    let server = AuthorizationServer::start();
    let get = |path: &str| -> Value {
        let (status, body) = visit(&format!("{}{path}", server.issuer())).unwrap();
        assert_eq!(status, 200);
        serde_json::from_str(&body).unwrap()
    };
    let metadata = get("/.well-known/openid-configuration");
    assert_eq!(metadata["issuer"], server.issuer());
    let before = get("/jwks");
    assert_eq!(before["keys"].as_array().unwrap().len(), 3);
    server.rotate_keys();
    let after = get("/jwks");
    assert_ne!(before["keys"][1]["kid"], after["keys"][1]["kid"]);
    assert!(after["keys"][1].get("d").is_none());
    assert_eq!(server.requests("/jwks").len(), 2);
}

#[test]
fn a_code_needs_its_verifier() {
    let server = AuthorizationServer::start();
    // RFC 7636, appendix B.
    let (verifier, challenge) =
        ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let exchange = |verifier: &str| {
        let ask = format!(
            "{}/authorize?response_type=code&client_id={CLIENT_ID}&code_challenge={challenge}&code_challenge_method=S256&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2F&state=x",
            server.issuer()
        );
        // Nobody listens there; the code is in what the server remembers.
        assert!(visit(&ask).is_err());
        let code = server.secrets().into_iter().find(|secret| secret.starts_with("code-")).unwrap();
        let ask = format!(
            "{}/token?grant_type=authorization_code&code={code}&client_id={CLIENT_ID}&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2F&code_verifier={verifier}",
            server.issuer()
        );
        visit(&ask).unwrap()
    };
    let (status, body) = exchange(verifier);
    assert_eq!(status, 200, "{body}");
    let (status, body) = exchange("another-verifier-that-is-long-enough-for-the-rule");
    assert_eq!(status, 400);
    assert!(body.contains("invalid_grant"));
}
