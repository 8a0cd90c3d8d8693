//! `restante account login`, and `restante fetch` with tokens: our server with a directory of tokens, our client, and an
//! authorization server on loopback that knows both.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use restante_testkit::{
    authorization_server::{
        AUDIENCE, AuthorizationServer, CLIENT_ID, CLIENT_SECRET, Device, EMAIL, Fault, visit,
    },
    proxy::{Connections, Direction, Plan, Proxy},
};
use serde_json::{Value, json};
use tempfile::TempDir;

mod binary;

struct World {
    home: TempDir,
    oauth: AuthorizationServer,
    server: Child,
    place: SocketAddr,
}

impl World {
    fn new() -> Self {
        let (home, oauth) = (tempfile::tempdir().unwrap(), AuthorizationServer::start());
        let here = home.path().display();
        for name in ["cur", "new", "tmp"] {
            fs::create_dir_all(home.path().join("mail").join(EMAIL).join(name)).unwrap();
        }
        for number in 1..=3 {
            let file = home.path().join("mail").join(EMAIL).join(format!("cur/{number}:2,"));
            fs::write(file, format!("Subject: {number}\n\nText.\n")).unwrap();
        }
        let configuration = format!(
            "hostname = \"mail.example.org\"\n[listen]\npop3 = [\"127.0.0.1:0\"]\nadmin = []\n\
             [auth]\ndirectories = [\"oauth\"]\ncleartext = \"loopback\"\n\
             [oauth]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\nscope = \"mail\"\n\
             [limits]\nfailure_delay_seconds = 0\n[store]\nmaildir = \"{here}/mail/{{user}}\"\n",
            oauth.issuer()
        );
        fs::write(home.path().join("restante.toml"), configuration).unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["serve", "--config", home.path().join("restante.toml").to_str().unwrap()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap());
        let (mut seen, mut place) = (String::new(), None);
        while place.is_none() {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the server ended: {seen}");
            place =
                line.split_once("listening on ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
            seen.push_str(&line);
        }
        let place: SocketAddr = place.unwrap();
        // Whoever does not read the log makes the server wait.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let accounts = format!(
            "[accounts.john]\nurl = \"pop3://{EMAIL}@{place}?tls=none\"\noauth = \"{}\"\nclient_id = \"{CLIENT_ID}\"\n\
             client_secret_file = \"{here}/secret\"\nscope = \"mail\"\nto = \"maildir:{here}/Mail\"\n",
            oauth.issuer()
        );
        fs::write(home.path().join("fetch.toml"), accounts).unwrap();
        fs::write(home.path().join("secret"), CLIENT_SECRET).unwrap();
        oauth.script(|script| {
            (script.needs_client_secret, script.device) = (true, Device::Pending(0));
        });
        Self { home, oauth, server, place }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = binary::command(args);
        command.args(["--config", "fetch.toml", "--state", "state"]).current_dir(self.home.path());
        command.env("HOME", self.home.path());
        // No desktop, and nobody's keyring.
        for name in ["DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        command
    }

    /// Runs it; no secret may be in what it says.
    fn run(&self, args: &[&str]) -> binary::Ran {
        let ran = binary::feed(self.command(args), b"");
        self.without_secrets(&format!("{}{}", ran.stdout(), ran.stderr()));
        ran
    }

    fn without_secrets(&self, text: &str) {
        for secret in self.oauth.secrets() {
            assert!(!text.contains(&secret), "a secret is told: {text}");
        }
    }

    fn tokens(&self) -> PathBuf {
        self.home.path().join("state/john.tokens")
    }

    fn refreshes(&self) -> usize {
        let asked = self.oauth.requests("/token");
        asked.iter().filter(|form| form["grant_type"] == "refresh_token").count()
    }

    fn fetched(&self) -> usize {
        fs::read_dir(self.home.path().join("Mail/new")).map_or(0, Iterator::count)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.kill().unwrap_or_default();
        self.server.wait().map(drop).unwrap_or_default();
    }
}

#[test]
fn help() {
    binary::help(&["account", "login"]);
    binary::help(&["account", "logout"]);
}

#[test]
fn by_a_code_and_then_mail_comes() {
    let world = World::new();
    let told = world.run(&["fetch", "john"]).fails(1);
    assert!(told.contains("restante account login john"), "{told}");
    assert!(world.run(&["account", "status"]).ok().contains("nobody has signed in"));
    let told = world.run(&["account", "login", "john", "--device"]).ok();
    assert!(
        told.contains("WDJB-MJHT") && told.contains("/activate") && told.contains("john.tokens"),
        "{told}"
    );
    assert_eq!(fs::metadata(world.tokens()).unwrap().permissions().mode() & 0o777, 0o600);
    world.run(&["fetch", "john"]).ok();
    assert_eq!((world.fetched(), world.refreshes()), (3, 0));
    let told = world.run(&["account", "status", "--json"]).ok();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["oauth"]["signed_in"], &told["oauth"]["renewable"]), (&true.into(), &true.into()));
    let told = world.run(&["account", "check", "john"]).ok();
    assert!(told.contains("3 messages") && told.contains("the token lasts"), "{told}");
    assert!(world.run(&["account", "logout", "john"]).ok().contains("Signed out"));
    assert!(!world.tokens().exists());
    assert!(world.run(&["account", "logout", "john"]).ok().contains("no tokens"));
    world.run(&["fetch", "john"]).fails(1);
}

#[test]
fn by_a_browser() {
    let world = World::new();
    let mut command = world.command(&["account", "login", "john", "--browser", "--no-keyring"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    let url = loop {
        let mut line = String::new();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended: {text}");
        text.push_str(&line);
        if let Some(url) = line.trim().strip_prefix(world.oauth.issuer().as_str()) {
            break format!("{}{url}", world.oauth.issuer());
        }
    };
    let (status, page) = visit(&url).unwrap();
    assert!(status == 200 && page.contains("close this window"), "{page}");
    said.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text.contains("Signed in"), "{text}");
    world.without_secrets(&text);
    world.run(&["fetch", "john"]).ok();
    assert_eq!(world.fetched(), 3);
}

#[test]
fn tokens_are_replaced_when_they_end_and_when_the_server_refuses_them() {
    let world = World::new();
    // One that has ended before it is used.
    world.oauth.script(|script| script.lifetime_seconds = 0);
    world.run(&["account", "login", "john", "--device"]).ok();
    world.oauth.script(|script| script.lifetime_seconds = 3600);
    world.run(&["fetch", "john"]).ok();
    assert_eq!((world.fetched(), world.refreshes()), (3, 1));
    // One that should work, and does not: the mail server says so, once.
    world.oauth.script(|script| script.claims = json!({"exp": 1}));
    world.run(&["account", "login", "john", "--device"]).ok();
    world.oauth.script(|script| script.claims = json!({}));
    world.run(&["fetch", "john"]).ok();
    assert_eq!(world.refreshes(), 2);
    // A long one, as Microsoft's are.
    world.oauth.script(|script| script.token_octets = 4096);
    world.run(&["account", "login", "john", "--device"]).ok();
    world.run(&["account", "check", "john"]).ok();
    assert_eq!(world.refreshes(), 2);
    // Somebody else's: a new one is refused as well, and then it is told.
    world.oauth.script(|script| script.claims = json!({"email": "eve@example.org"}));
    world.run(&["account", "login", "john", "--device"]).ok();
    let told = world.run(&["account", "check", "john"]).fails(1);
    assert!(told.contains("is POP3 turned on") && !told.contains("is the password"), "{told}");
}

#[test]
fn each_session_of_a_run_asks_for_a_token() {
    let world = World::new();
    let large = format!("Subject: large\n\n{}", "A line of some length.\n".repeat(10_000));
    fs::write(world.home.path().join("mail").join(EMAIL).join("cur/2b:2,"), large).unwrap();
    // The first session breaks in the middle of the mail; by the next one its token has ended.
    let cut = Plan {
        cut_after_octets: Some((Direction::ToClient, 50_000)),
        faults_on: Connections::First,
        ..Plan::default()
    };
    let proxy = Proxy::start(world.place, cut);
    let file = world.home.path().join("fetch.toml");
    let accounts = fs::read_to_string(&file).unwrap();
    let accounts = accounts.replace(&world.place.to_string(), &proxy.address().to_string());
    fs::write(&file, accounts).unwrap();
    world.oauth.script(|script| script.lifetime_seconds = 0);
    world.run(&["account", "login", "john", "--device"]).ok();
    world.run(&["fetch", "john"]).ok();
    assert_eq!((world.fetched(), proxy.connections(), world.refreshes()), (4, 2, 2));
}

#[test]
fn who_signs_out_is_signed_out() {
    let world = World::new();
    world.oauth.script(|script| script.lifetime_seconds = 0);
    world.run(&["account", "login", "john", "--device"]).ok();
    // While a refresh is under way: what comes of it is not kept behind the back of whoever signs out.
    world.oauth.fault("/token", Some(Fault::Slow(Duration::from_secs(1))));
    let mut fetch = world.command(&["fetch", "john"]);
    let mut fetch = fetch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while world.refreshes() == 0 {
        assert!(Instant::now() < until, "no refresh");
        std::thread::yield_now();
    }
    assert!(world.run(&["account", "logout", "john"]).ok().contains("Signed out"));
    fetch.wait().unwrap();
    assert!(!world.tokens().exists());
}

#[test]
fn a_keyring_that_does_not_answer_is_told() {
    let world = World::new();
    // As where it was signed in with a desktop, and cron fetches.
    fs::create_dir_all(world.home.path().join("state")).unwrap();
    let marker = world.home.path().join("state/john.tokens.keyring");
    fs::write(&marker, "").unwrap();
    let told = world.run(&["fetch", "john"]).fails(1);
    assert!(told.contains("the keyring does not answer") && !told.contains("account login"), "{told}");
    let told = world.run(&["account", "logout", "john"]).fails(1);
    assert!(told.contains("still in the keyring"), "{told}");
    assert!(marker.exists());
    // The file is another place; what is left in the first is told.
    let ran = world.run(&["account", "login", "john", "--device", "--no-keyring"]);
    assert!(ran.status() == 0 && ran.stderr().contains("older tokens are still in the keyring"));
    world.run(&["fetch", "john"]).ok();
}

#[test]
fn tokens_that_cannot_be_read_stop_no_other_account() {
    let world = World::new();
    let file = world.home.path().join("fetch.toml");
    let accounts = fs::read_to_string(&file).unwrap();
    fs::write(&file, accounts.clone() + &accounts.replace("accounts.john", "accounts.zoe")).unwrap();
    fs::create_dir_all(world.home.path().join("state")).unwrap();
    fs::write(world.tokens(), "{}").unwrap();
    fs::set_permissions(world.tokens(), fs::Permissions::from_mode(0o644)).unwrap();
    let told = world.run(&["account", "status"]).ok();
    assert!(told.contains("chmod 600") && told.contains("zoe: "), "{told}");
    let told = world.run(&["account", "status", "--json"]).ok();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told[0]["oauth"]["error"].as_str().unwrap().contains("chmod 600"));
    assert_eq!(told[1]["oauth"]["signed_in"], false);
}

#[test]
fn a_password_where_tokens_alone_are_taken_is_told() {
    let world = World::new();
    let accounts = format!(
        "[accounts.john]\nurl = \"pop3://{EMAIL}@{}?tls=none\"\npassword_file = \"secret\"\nto = \"maildir:Mail\"\n",
        world.place
    );
    fs::write(world.home.path().join("fetch.toml"), accounts).unwrap();
    let told = world.run(&["fetch", "john"]).fails(1);
    assert!(told.contains("oauth = ") && told.contains("account login"), "{told}");
}

#[test]
fn nobody_signs_in_for_tokens_that_cannot_be_kept() {
    let world = World::new();
    let lock = world.home.path().join("state/john.tokens.lock");
    fs::create_dir_all(&lock).unwrap();
    let told = world.run(&["account", "login", "john", "--device"]).fails(1);
    assert!(told.contains("cannot lock"), "{told}");
    assert!(world.oauth.requests("/device").is_empty());
    fs::remove_dir(&lock).unwrap();
    let file = world.home.path().join("fetch.toml");
    let accounts = fs::read_to_string(&file).unwrap();
    fs::write(&file, accounts + "tokens = \"keyring\"\n").unwrap();
    let told = world.run(&["account", "login", "john", "--device", "--no-keyring"]).fails(2);
    assert!(told.contains("do not go together"), "{told}");
    let told = world.run(&["account", "login", "john", "--device"]).fails(1);
    assert!(told.contains("the keyring does not answer"), "{told}");
    assert!(world.oauth.requests("/device").is_empty());
}

#[test]
fn what_goes_wrong_is_told() {
    let world = World::new();
    for (device, words) in [(Device::Denied, "not allowed"), (Device::Expired, "in time")] {
        world.oauth.script(|script| script.device = device);
        let told = world.run(&["account", "login", "john", "--device"]).fails(1);
        assert!(told.contains(words), "{told}");
    }
    world.oauth.script(|script| (script.device, script.lifetime_seconds) = (Device::Pending(0), 0));
    world.run(&["account", "login", "john", "--device"]).ok();
    world.oauth.fault("/token", Some(Fault::Status500));
    let told = world.run(&["fetch", "john"]).fails(1);
    assert!(told.contains("makes no sense") && !told.contains("account login"), "{told}");
    world.oauth.fault("/token", None);
    world.oauth.script(|script| script.refuses_refresh = true);
    let told = world.run(&["fetch", "john"]).fails(1);
    assert!(told.contains("restante account login john"), "{told}");
}

#[test]
fn keys_that_make_no_sense_are_told() {
    let world = World::new();
    let head = "[accounts.john]\nurl = \"pop3s://john@pop.example.org\"\nto = \"maildir:/tmp/x\"\n";
    for (keys, words) in [
        ("oauth = \"google\"", "console.cloud.google.com"),
        ("oauth = \"gogle\"\nclient_id = \"x\"", "google, microsoft, yahoo"),
        ("oauth = \"http://id.example.org\"\nclient_id = \"x\"", "https:"),
        ("client_id = \"x\"", "goes with oauth"),
        ("oauth = \"google\"\nclient_id = \"x\"\npassword_env = \"P\"", "do not go together"),
        ("oauth = \"google\"\nclient_id = \"x\"\ntokens = \"cloud\"", "keyring or file"),
        ("oauth = \"google\"\nclient_id = \"x\"\nminimum = \"scram\"", "does not go with oauth"),
        ("oauth = \"google\"\nclient_id = \"x\"\nmechanism = \"PLAIN\"", "takes no token"),
        ("mechanism = \"external\"", "client certificate"),
    ] {
        fs::write(world.home.path().join("fetch.toml"), format!("{head}{keys}\n")).unwrap();
        let told = world.run(&["account", "list"]).fails(1);
        assert!(told.contains(words), "{keys}: {told}");
    }
    let google = format!("{head}oauth = \"google\"\nclient_id = \"x\"\n");
    fs::write(world.home.path().join("fetch.toml"), google).unwrap();
    let told = world.run(&["account", "login", "john", "--device"]).fails(2);
    assert!(told.contains("--browser"), "{told}");
}
