//! `restante account`: what is configured, whether it works, what is stuck.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, process::Command};

use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, PASSWORD, USER};
use serde_json::Value;
use tempfile::TempDir;

mod binary;

struct World {
    home: TempDir,
    server: EvilServer,
}

impl World {
    fn new(misbehaviour: Misbehaviour) -> Self {
        let server = EvilServer::start(misbehaviour, Mail::few());
        let home = tempfile::tempdir().unwrap();
        let text = format!(
            "state = \"~/state\"\n[accounts.good]\nurl = \"pop3://{USER}@{0}?tls=none\"\npassword_env = \"PW\"\nto = \"maildir:~/Mail\"\nkeep = false\nevery = \"5m\"\n\n\
             [accounts.wrong]\nurl = \"pop3://{USER}@{0}?tls=none\"\npassword_env = \"WRONG\"\nto = \"maildir:~/Mail\"\n",
            server.address()
        );
        fs::write(home.path().join("fetch.toml"), text).unwrap();
        Self { home, server }
    }

    fn run(&self, args: &[&str]) -> binary::Ran {
        let mut command: Command = binary::command(args);
        command.args(["--config", "fetch.toml"]).current_dir(self.home.path());
        command.env("HOME", self.home.path()).env("PW", PASSWORD).env("WRONG", "hunter2");
        binary::feed(command, b"")
    }
}

fn json(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn help() {
    for command in [&["account"][..], &["account", "list"], &["account", "check"], &["account", "status"]] {
        binary::help(command);
    }
}

#[test]
fn list_shows_what_is_configured_and_no_secret() {
    let world = World::new(Misbehaviour::Nothing);
    let told = world.run(&["account", "list"]).ok();
    assert!(told.contains("good ") && told.contains("→  maildir:~/Mail  (keep false)"), "{told}");
    let lines = json(&world.run(&["account", "list", "--json"]).ok());
    assert_eq!(
        (lines.len(), &lines[0]["account"], &lines[0]["every_seconds"]),
        (2, &"good".into(), &300.into())
    );
    assert_eq!((&lines[1]["keep"], &lines[1]["user"]), (&"true".into(), &USER.into()));
    assert_eq!(world.server.connections(), 0);
}

#[test]
fn check_logs_in_everywhere_and_changes_nothing() {
    let world = World::new(Misbehaviour::Nothing);
    let messages = world.server.mail().messages().len();
    let ran = world.run(&["account", "check"]);
    assert_eq!(ran.status(), 1);
    let told = ran.stdout();
    assert!(
        told.contains(&format!(
            "good: ok, not encrypted; {messages} messages, {messages} to fetch and then to delete, 0 to delete, 0 to leave"
        )),
        "{told}"
    );
    assert!(ran.stderr().contains("error: wrong: the server refused"), "{}", ran.stderr());
    assert!(!ran.stderr().contains("hunter2"));
    assert!(world.server.retrieved().is_empty() && world.server.left().len() == messages);
    world.run(&["account", "check", "good"]).ok();
    let lines = json(&world.run(&["account", "check", "--json"]).stdout());
    assert_eq!((&lines[0]["ok"], &lines[1]["ok"]), (&true.into(), &false.into()));
}

#[test]
fn status_says_what_was_moved_and_what_is_stuck_without_a_server() {
    let world = World::new(Misbehaviour::RetrRefused);
    let messages = world.server.mail().messages().len();
    assert!(world.run(&["account", "status"]).ok().contains("good: was never fetched"));
    world.run(&["fetch", "good"]).fails(1);
    world.run(&["fetch", "wrong"]).fails(1);
    let before = world.server.connections();
    let told = world.run(&["account", "status"]).ok();
    assert!(told.contains("stuck: ") && told.contains("tried 1 times"), "{told}");
    assert!(told.contains("the server refused the password 1 times in a row"), "{told}");
    let lines = json(&world.run(&["account", "status", "--json"]).ok());
    assert_eq!((&lines[0]["gone"], lines[0]["stuck"].as_array().unwrap().len()), (&(messages - 1).into(), 1));
    assert_eq!(world.server.connections(), before);
}
