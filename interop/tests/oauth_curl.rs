//! curl with a bearer token: OAUTHBEARER (RFC 7628) and XOAUTH2, against our server with a directory of tokens.
//!
//! Of the two curl takes OAUTHBEARER wherever it is offered, whatever `--login-options` says (seen in 7.88), so that the server
//! offers one at a time here. Short or long, the token goes out in one line.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{Account, Letter, Outcome, Program, Security, Server, fresh, with_security};
use restante_testkit::authorization_server::{
    AUDIENCE, AuthorizationServer, CLIENT_ID, CLIENT_SECRET, EMAIL, Signature,
};
use serde_json::json;

/// `curl: (67) the user name, password, or similar was not accepted`.
const LOGIN_DENIED: i32 = 67;

const MECHANISMS: [&str; 2] = ["OAUTHBEARER", "XOAUTH2"];

fn start(oauth: &AuthorizationServer, mechanism: &str, more: &str, letters: &[Letter]) -> Server {
    let section = format!("issuer = \"{}\"\naudience = \"{AUDIENCE}\"\n{more}", oauth.issuer());
    Server::with_tokens(&Account { user: EMAIL, ..Account::default() }, letters, mechanism, &section)
}

fn curl(server: &Server, security: Security, token: &str) -> Outcome {
    let authority = server.authority();
    let folder = authority.parent().expect("it is in a folder");
    let scheme = if security == Security::Tls { "pop3s" } else { "pop3" };
    let program = Program::new("curl", "curl", folder)
        .args(["--disable", "--silent", "--show-error", "--verbose", "--cacert"])
        .arg(&authority)
        .args(["--user", EMAIL, "--oauth2-bearer", token])
        .arg(format!("{scheme}://localhost:{}/1", server.port(security)));
    // STLS is not a wish but a condition.
    if security == Security::Stls { program.arg("--ssl-reqd").run() } else { program.run() }
}

#[test]
fn a_token_opens_the_mailbox() {
    let (oauth, letter) = (AuthorizationServer::start(), fresh());
    for mechanism in MECHANISMS {
        let server = start(&oauth, mechanism, "", std::slice::from_ref(&letter));
        with_security(&Security::ALL, |security| {
            let token = oauth.mint(&oauth.claims(600), Signature::Rs256);
            let outcome = curl(&server, security, &token).succeeded();
            assert_eq!(outcome.stdout, letter.canonical(), "{outcome}");
            assert!(outcome.words().contains(&format!("AUTH {mechanism}")), "{outcome}");
        });
        // As long as Microsoft's may become.
        let mut claims = oauth.claims(600);
        claims["groups"] = json!("x".repeat(3000));
        let token = oauth.mint(&claims, Signature::Es256);
        assert!(token.len() > 4096, "{}", token.len());
        curl(&server, Security::Tls, &token).succeeded();
        server.stop();
    }
}

#[test]
fn an_opaque_token_is_introspected() {
    let (oauth, letter) = (AuthorizationServer::start(), fresh());
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), CLIENT_SECRET).unwrap();
    let more = format!(
        "introspection_url = \"{}/introspect\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret_file = \"{}\"\n",
        oauth.issuer(),
        secret.path().display()
    );
    for mechanism in MECHANISMS {
        let server = start(&oauth, mechanism, &more, std::slice::from_ref(&letter));
        let token = oauth.mint_opaque(&oauth.claims(600));
        curl(&server, Security::Tls, &token).succeeded();
        curl(&server, Security::Tls, "not-a-token-of-anybody").failed_with(LOGIN_DENIED);
        let log = server.log();
        assert!(!log.contains(&token) && !log.contains(CLIENT_SECRET), "{log}");
        server.stop();
    }
}

#[test]
fn a_wrong_token_does_not() {
    let (oauth, letter) = (AuthorizationServer::start(), fresh());
    let mut somebody = oauth.claims(600);
    somebody["email"] = json!("eve@example.org");
    for mechanism in MECHANISMS {
        let server = start(&oauth, mechanism, "", std::slice::from_ref(&letter));
        for token in [
            oauth.mint(&oauth.claims(-120), Signature::Es256),
            oauth.mint(&somebody, Signature::Es256),
            oauth.mint(&oauth.claims(600), Signature::Forged),
        ] {
            let outcome = curl(&server, Security::Plain, &token).failed_with(LOGIN_DENIED);
            // The challenge that says why (RFC 7628 §3.2.2, in base64), and then the refusal.
            assert!(outcome.words().contains("< + eyJ"), "{outcome}");
            // With XOAUTH2 curl does not wait for it.
            assert!(mechanism == "XOAUTH2" || outcome.words().contains("-ERR [AUTH]"), "{outcome}");
            assert!(!server.log().contains(&token), "the token is in the log");
        }
        server.stop();
    }
}
