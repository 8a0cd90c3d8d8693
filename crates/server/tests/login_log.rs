//! What the log says of logins that failed: who, if it is a user; never what may be a password in the wrong place.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use world::{Plan, connect, user};

#[tokio::test]
async fn a_name_that_nobody_has_is_not_logged() {
    let log = world::log();
    let running = Plan::default().start();
    for (name, logged) in [("hunter2", "(unknown user)"), (user().as_str(), user().as_str())] {
        let mut client = connect(running.pop3).await;
        client.say(&format!("USER {name}")).await;
        assert!(client.say("PASS wrong").await.starts_with("-ERR"));
        log.shows(&format!("user=\"{logged}\"")).await;
    }
}
