//! mpop with a bearer token: OAUTHBEARER (RFC 7628) and XOAUTH2 of its own, against our server with a directory of tokens. Both are
//! offered, and mpop takes the one that it is told.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{
    Account, Outcome, Program, Security, Server, assert_same, corpus, maildir, with_security,
};
use restante_testkit::authorization_server::{AUDIENCE, AuthorizationServer, EMAIL, Signature};
use serde_json::json;

/// What the server offers, and what mpop calls it.
const WAYS: [(&str, &str); 2] = [("OAUTHBEARER", "oauthbearer"), ("XOAUTH2", "xoauth2")];

fn start(oauth: &AuthorizationServer) -> Server {
    let section = format!("issuer = \"{}\"\naudience = \"{AUDIENCE}\"\n", oauth.issuer());
    let account = Account { user: EMAIL, ..Account::default() };
    Server::with_tokens(&account, &corpus(), "OAUTHBEARER\", \"XOAUTH2", &section)
}

/// Fetches everything, and gives what came.
fn fetch(
    server: &Server,
    security: Security,
    auth: &str,
    token: &str,
    name: &str,
) -> (Outcome, Vec<Vec<u8>>) {
    let name = format!("{security:?}-{auth}-{name}");
    let folder = server.client_folder(&name);
    let mail = server.client_maildir(&format!("{name}/mail"));
    let tls = match security {
        Security::Plain => "tls off",
        Security::Stls => "tls on\ntls_starttls on",
        Security::Tls => "tls on\ntls_starttls off",
    };
    // The token stands where a password would.
    let text = format!(
        "defaults\n{tls}\ntls_trust_file {}\naccount default\nhost localhost\nport {}\nuser {EMAIL}\npassword \"{token}\"\n\
         auth {auth}\nuidls_file {}/uidls\ndelivery maildir {}\nkeep on\nreceived_header off\n",
        server.authority().display(),
        server.port(security),
        folder.display(),
        mail.display(),
    );
    let file = folder.join("mpoprc");
    server.client_file(&file, &text);
    let outcome = Program::new("mpop", "mpop", &folder).args(["--debug", "--file"]).arg(file).run();
    (outcome, maildir::take(&mail))
}

#[test]
fn a_token_opens_the_mailbox() {
    let oauth = AuthorizationServer::start();
    let letters = corpus();
    let received: Vec<_> = letters.iter().map(|letter| (letter.name, letter.local())).collect();
    let server = start(&oauth);
    for (offered, auth) in WAYS {
        with_security(&Security::ALL, |security| {
            let token = oauth.mint(&oauth.claims(600), Signature::Es256);
            let (outcome, mail) = fetch(&server, security, auth, &token, "right");
            let outcome = outcome.succeeded();
            assert!(outcome.words().contains(&format!("AUTH {offered}")), "{outcome}");
            assert_same(mail, &received);
        });
    }
    server.stop();
}

#[test]
fn a_wrong_token_does_not() {
    let oauth = AuthorizationServer::start();
    let server = start(&oauth);
    let mut somebody = oauth.claims(600);
    somebody["email"] = json!("eve@example.org");
    for (_, auth) in WAYS {
        for (name, token) in [
            ("old", oauth.mint(&oauth.claims(-120), Signature::Es256)),
            ("somebodys", oauth.mint(&somebody, Signature::Es256)),
        ] {
            let (outcome, mail) = fetch(&server, Security::Tls, auth, &token, name);
            let outcome = outcome.failed();
            assert!(outcome.words().contains("authentication failed"), "{outcome}");
            assert_same(mail, &[]);
            assert!(!server.log().contains(&token), "the token is in the log");
        }
    }
    server.stop();
}
