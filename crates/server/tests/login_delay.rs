//! The time between two logins (RFC 2449 §6.5): announced, kept, and fair to who lost the connection.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{sync::Arc, time::Duration};

use restante_auth::{
    Directory, Entry, StoredPassword, Verifier,
    directory::{Lookup, LookupError, Task},
};
use restante_proto::UserName;
use restante_sasl::Needs;
use restante_server::{Port, Server};
use world::{Client, PASSWORD, Plan, Running, connect, logged_in, user};

/// Everybody is there, and has to wait for a minute.
#[derive(Debug)]
struct OwnTime;

impl OwnTime {
    fn password() -> StoredPassword {
        StoredPassword::parse(format!("{{PLAIN}}{PASSWORD}").as_bytes()).unwrap()
    }
}

impl Directory for OwnTime {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        let mut entry = Entry::new(user.clone(), Self::password());
        entry.account.login_delay = Some(Duration::from_secs(60));
        Box::pin(async { Ok(Lookup::Known(Box::new(entry))) })
    }

    fn can(&self, needs: Needs) -> bool {
        needs == Needs::Password
    }

    fn stand_in(&self, _name: &str) -> Option<StoredPassword> {
        Some(Self::password())
    }
}

fn start(delay: u64) -> Running {
    let mut plan = Plan::default();
    plan.settings.limits.login_delay = Duration::from_secs(delay);
    plan.settings.limits.takeover_idle = Duration::from_millis(1);
    plan.start()
}

async fn capabilities<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    client: &mut Client<S>,
) -> Vec<String> {
    assert!(client.say("CAPA").await.starts_with("+OK"));
    client.block().await
}

/// Logs in; what PASS is answered.
async fn again(running: &Running) -> (Client<tokio::net::TcpStream>, String) {
    let mut client = connect(running.pop3).await;
    client.say(&format!("USER {}", user())).await;
    let answer = client.say(&format!("PASS {PASSWORD}")).await;
    (client, answer)
}

/// Logs out, and waits until the maildrop is free.
async fn quit(running: &Running, client: &mut Client<tokio::net::TcpStream>) {
    assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    free(running).await;
}

async fn free(running: &Running) {
    tokio::time::timeout(world::PATIENCE, async {
        while !running.handle.locks().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn it_is_announced_and_enforced_after_the_password() {
    let running = start(900);
    let mut client = connect(running.pop3).await;
    assert!(capabilities(&mut client).await.contains(&"LOGIN-DELAY 900".to_owned()));
    client.log_in().await;
    assert!(capabilities(&mut client).await.contains(&"LOGIN-DELAY 900".to_owned()));
    quit(&running, &mut client).await;
    for _ in 0..5 {
        let (mut client, answer) = again(&running).await;
        assert!(
            answer.starts_with("-ERR [LOGIN-DELAY] too soon after the last login, try again in "),
            "{answer}"
        );
        // It is no failed login: the connection stays, however often.
        for _ in 0..4 {
            client.say(&format!("USER {}", user())).await;
            assert!(client.say(&format!("PASS {PASSWORD}")).await.starts_with("-ERR [LOGIN-DELAY]"));
        }
        // A wrong password learns nothing of it.
        client.say(&format!("USER {}", user())).await;
        assert!(client.say("PASS wrong").await.starts_with("-ERR [AUTH]"));
        assert_eq!(running.handle.sessions().last().unwrap().failed_logins, 1);
    }
}

#[tokio::test]
async fn once_the_time_is_over_the_login_is_taken() {
    let running = start(1);
    quit(&running, &mut logged_in(running.pop3).await).await;
    let answer = loop {
        let (_, answer) = again(&running).await;
        if !answer.starts_with("-ERR [LOGIN-DELAY]") {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(answer, "+OK maildrop locked and ready");
}

#[tokio::test]
async fn without_it_nothing_is_said_and_nobody_waits() {
    let running = start(0);
    for _ in 0..3 {
        let mut client = logged_in(running.pop3).await;
        assert!(!capabilities(&mut client).await.iter().any(|line| line.starts_with("LOGIN-DELAY")));
        quit(&running, &mut client).await;
    }
}

#[tokio::test]
async fn a_lost_connection_is_excused_once() {
    let running = start(900);
    drop(logged_in(running.pop3).await);
    free(&running).await;
    let (client, answer) = again(&running).await;
    assert_eq!(answer, "+OK maildrop locked and ready");
    drop(client);
    free(&running).await;
    let (_client, answer) = again(&running).await;
    assert!(answer.starts_with("-ERR [LOGIN-DELAY]"), "{answer}");
}

#[tokio::test]
async fn a_session_that_hangs_is_taken_over_once() {
    let running = start(900);
    let _hangs = logged_in(running.pop3).await;
    let taken = loop {
        let (client, answer) = again(&running).await;
        if !answer.starts_with("-ERR [IN-USE]") {
            assert_eq!(answer, "+OK maildrop locked and ready");
            break client;
        }
    };
    // The one that took over stays, though it is idle for long enough.
    for _ in 0..3 {
        let (_, answer) = again(&running).await;
        assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
    }
    drop(taken);
}

#[tokio::test]
async fn who_has_a_time_of_his_own_is_told_it_once_he_is_logged_in() {
    let mut plan = Plan::default();
    plan.settings.limits.login_delay = Duration::from_secs(900);
    let folder = tempfile::tempdir().unwrap();
    world::write_certificate(folder.path());
    let mut config = plan.config(folder.path());
    config.verifier = Arc::new(Verifier::new(Arc::new(OwnTime), &restante_auth::Settings::default()));
    let server = Server::bind(config).unwrap();
    let pop3 = server.addresses().iter().find(|(_, port)| *port == Port::Pop3).unwrap().0;
    tokio::spawn(server.run());
    let has =
        async |client: &mut Client<_>, line: &str| capabilities(client).await.contains(&line.to_owned());
    let mut client = connect(pop3).await;
    assert!(has(&mut client, "LOGIN-DELAY 900").await, "nobody has shown another time yet");
    client.log_in().await;
    assert!(has(&mut client, "LOGIN-DELAY 60").await);
    client.say("QUIT").await;
    let mut client = connect(pop3).await;
    assert!(has(&mut client, "LOGIN-DELAY 900 USER").await);
}

#[tokio::test]
async fn who_came_too_soon_has_not_logged_in() {
    let log = world::log();
    let running = start(900);
    quit(&running, &mut logged_in(running.pop3).await).await;
    let (mut client, answer) = again(&running).await;
    assert!(answer.starts_with("-ERR [LOGIN-DELAY]"), "{answer}");
    assert_eq!(running.handle.sessions().last().unwrap().user, None);
    client.say("QUIT").await;
    let ended = async || loop {
        let text = log.text();
        let ended: Vec<_> = text.lines().filter(|line| line.contains("session ended")).collect();
        match ended.as_slice() {
            [one, other] => break (one.contains(" user="), other.contains(" user=")),
            _ => tokio::task::yield_now().await,
        }
    };
    let ended = tokio::time::timeout(world::PATIENCE, ended()).await.unwrap();
    assert_eq!(ended, (true, false), "{}", log.text());
    log.shows(&format!("address=127.0.0.1 user=\"{}\" seconds=", user())).await;
}
