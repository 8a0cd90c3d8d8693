//! GNOME's keyring, by the Secret Service on a session bus of its own: tokens are kept there, used, replaced, and forgotten.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_interop::{Account, Outcome, Program, Security, Server, fresh};
use restante_testkit::authorization_server::{AUDIENCE, AuthorizationServer, CLIENT_ID, Device, EMAIL};

/// Runs this shell script where a keyring is open; `$R` is the program under test.
fn with_keyring(server: &Server, folder: &std::path::Path, script: &str) -> Outcome {
    let open = "eval \"$(printf abcxyz | gnome-keyring-daemon --unlock --components=secrets)\" && ";
    Program::new("dbus-run-session", "dbus-daemon gnome-keyring", folder)
        .args(["--", "sh", "-ec"])
        .arg(format!("{open} {script}"))
        .env("R", server.restante())
        .env("XDG_RUNTIME_DIR", folder)
        .env("XDG_DATA_HOME", folder.join("share"))
        .run()
}

#[test]
fn tokens_are_kept_in_the_keyring() {
    let oauth = AuthorizationServer::start();
    let section = format!("issuer = \"{}\"\naudience = \"{AUDIENCE}\"\n", oauth.issuer());
    let account = Account { user: EMAIL, ..Account::default() };
    let server = Server::with_tokens(&account, &[fresh()], "OAUTHBEARER", &section);
    let folder = server.client_folder("keyring");
    let accounts = format!(
        "[accounts.john]\nurl = \"pop3://{EMAIL}@127.0.0.1:{}?tls=none\"\noauth = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
         to = \"maildir:{1}/Mail\"\n",
        server.port(Security::Plain),
        oauth.issuer(),
    )
    .replace(&format!("maildir:{}", oauth.issuer()), &format!("maildir:{}", folder.display()));
    server.client_file(&folder.join("fetch.toml"), &accounts);
    // Each is the process of another day: the first token has ended by then.
    oauth.script(|script| (script.device, script.lifetime_seconds) = (Device::Pending(0), 0));
    let commands = [
        "account login john --device",
        "account status john",
        "fetch john",
        "account logout john",
        "account status john",
    ];
    let script: Vec<String> =
        commands.iter().map(|command| format!("$R {command} --config fetch.toml --state state")).collect();
    let outcome = with_keyring(&server, &folder, &script.join(" && ")).succeeded();
    let told = outcome.words();
    assert!(told.contains("kept in the keyring") && told.contains("nobody has signed in"), "{outcome}");
    assert!(!folder.join("state/john.tokens").exists());
    let asked = oauth.requests("/token");
    assert_eq!(asked.iter().filter(|form| form["grant_type"] == "refresh_token").count(), 1);
    assert!(oauth.secrets().iter().all(|secret| !told.contains(secret)), "{outcome}");
    server.stop();
}
