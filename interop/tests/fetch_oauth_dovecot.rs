//! `restante fetch` with tokens from Dovecot, which asks the authorization server about each (RFC 7662): OAUTHBEARER and
//! XOAUTH2, long tokens, and one that has ended.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, path::Path};

use restante_interop::{DOVECOT_OAUTH, Outcome, Peer, Program, Security, USER, fresh, introspect_at};
use restante_testkit::authorization_server::{AuthorizationServer, CLIENT_ID, CLIENT_SECRET, Device};
use serde_json::json;

fn ours(folder: &Path, arguments: &str) -> Outcome {
    let more = ["--config", "fetch.toml", "--state", "state"];
    Program::ours(folder).args(arguments.split(' ')).args(more).run()
}

#[test]
fn by_every_mechanism_and_every_way() {
    let oauth = AuthorizationServer::start();
    introspect_at(format!(
        "http://{CLIENT_ID}:{CLIENT_SECRET}@{}/introspect",
        oauth.issuer().trim_start_matches("http://")
    ));
    // Dovecot's users have no domain here.
    oauth.script(|script| {
        (script.device, script.claims) = (Device::Pending(0), json!({"email": USER}));
    });
    let peer = Peer::start(&DOVECOT_OAUTH, &[fresh()]);
    let mut accounts = String::new();
    let ways = [(Security::Plain, "XOAUTH2"), (Security::Stls, "OAUTHBEARER"), (Security::Tls, "XOAUTH2")];
    let folder = peer.client_folder("tokens");
    for (security, mechanism) in ways {
        let (scheme, query) = match security {
            Security::Plain => ("pop3", "?tls=none"),
            Security::Stls => ("pop3", ""),
            Security::Tls => ("pop3s", ""),
        };
        accounts.push_str(&format!(
            "[accounts.{mechanism}-{security:?}]\nurl = \"{scheme}://{USER}@localhost:{}{query}\"\nmechanism = \"{mechanism}\"\n\
             ca_file = \"{}\"\noauth = \"{}\"\nclient_id = \"{CLIENT_ID}\"\ntokens = \"file\"\nto = \"maildir:{}/{security:?}\"\n",
            peer.pop3_port(security),
            peer.authority().display(),
            oauth.issuer(),
            folder.display(),
        ));
    }
    fs::write(folder.join("fetch.toml"), accounts).unwrap();
    for (security, mechanism) in ways {
        let name = format!("{mechanism}-{security:?}");
        oauth.script(|script| script.token_octets = if security == Security::Tls { 4096 } else { 0 });
        ours(&folder, &format!("account login {name} --device")).succeeded();
        ours(&folder, &format!("fetch {name}")).succeeded();
        let arrived = fs::read_dir(folder.join(format!("{security:?}/new"))).unwrap().count();
        assert_eq!(arrived, 1, "{name}\n{}", peer.log());
        // What is withdrawn is refused by Dovecot, and replaced within the run.
        let before = oauth.requests("/token").len();
        oauth.revoke_all();
        let outcome = ours(&folder, &format!("fetch {name}")).succeeded();
        assert_eq!(oauth.requests("/token").len(), before + 1, "{outcome}");
        assert!(oauth.secrets().iter().all(|secret| !outcome.words().contains(secret)), "{outcome}");
    }
}
