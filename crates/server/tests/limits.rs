//! Every bound of the server, crossed (RFC 1939 §3 for the autologout).
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream, time::Instant};
use world::{Client, PASSWORD, Plan, connect, logged_in, mail};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn too_many_connections_are_refused_and_told_so() {
    let mut plan = Plan::default();
    plan.settings.limits.connections = 2;
    let running = plan.start();
    let first = connect(running.pop3).await;
    let _second = connect(running.pop3).await;
    let mut third = Client::new(TcpStream::connect(running.pop3).await.unwrap());
    assert_eq!(third.rest().await, b"-ERR [SYS/TEMP] too many connections, try again later\r\n");
    drop(first);
    // The place is free once the server has seen the end.
    loop {
        let mut next = Client::new(TcpStream::connect(running.pop3).await.unwrap());
        if next.line().await.starts_with("+OK") {
            break;
        }
    }
}

#[tokio::test]
async fn too_many_connections_from_one_address_are_refused() {
    let mut plan = Plan::default();
    plan.settings.limits.connections_per_address = 1;
    let running = plan.start();
    let _first = connect(running.pop3).await;
    let mut second = Client::new(TcpStream::connect(running.pop3).await.unwrap());
    assert!(second.rest().await.starts_with(b"-ERR [SYS/TEMP]"));
    let mut tls = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    assert_eq!(tls.rest().await, b"", "on the TLS port nothing can be said");
}

#[tokio::test]
async fn who_does_not_log_in_is_closed_without_a_word() {
    let mut plan = Plan::default();
    plan.settings.limits.login = SHORT;
    let running = plan.start();
    let mut silent = connect(running.pop3).await;
    assert_eq!(silent.rest().await, b"");
    // Commands do not buy time, also where the next one is always there already and the answers are read slowly.
    let mut busy = connect(running.pop3).await;
    let (mut reader, mut writer) = busy.stream.split();
    let flood = async {
        while tokio::io::AsyncWriteExt::write_all(&mut writer, &b"CAPA\r\n".repeat(1000)).await.is_ok() {}
    };
    let drip = async {
        let mut piece = [0; 1000];
        while reader.read(&mut piece).await.is_ok_and(|octets| octets > 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(world::PATIENCE, async {
        tokio::select! { () = flood => {}, () = drip => {} }
    })
    .await
    .expect("the connection is closed");
}

#[tokio::test]
async fn who_is_silent_is_logged_out_without_a_word_and_nothing_is_deleted() {
    let store = mail(&["a\n"]);
    let mut plan = Plan { store: Arc::new(store.clone()), ..Plan::default() };
    plan.settings.limits.idle = SHORT * 5;
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    assert_eq!(client.say("DELE 1").await, "+OK msg deleted");
    assert_eq!(client.rest().await, b"");
    assert_eq!(store.unique_ids(&world::user()).len(), 1);
}

#[tokio::test]
async fn a_slow_reader_lives_while_it_reads() {
    // Progress in either direction counts: this RETR takes much longer than the bounds.
    const BOUND: Duration = Duration::from_secs(2);
    let mut plan = Plan { store: Arc::new(mail(&[&"x".repeat(12_000_000)])), ..Plan::default() };
    plan.settings.limits.idle = BOUND;
    plan.settings.limits.write = BOUND;
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    client.send("RETR 1\r\nQUIT\r\n").await;
    let (mut read, begun, mut piece) = (0, Instant::now(), vec![0; 1_000_000]);
    loop {
        let octets = client.stream.read(&mut piece).await.unwrap();
        if octets == 0 {
            break;
        }
        read += octets;
        if begun.elapsed() < BOUND * 2 {
            tokio::time::sleep(BOUND / 8).await;
        }
    }
    assert!(begun.elapsed() > BOUND, "it was not slow");
    assert_eq!(
        read,
        "+OK 12000002 octets\r\n".len() + 12_000_002 + 3 + "+OK POP3 Server saying Good-Bye\r\n".len()
    );
}

#[tokio::test]
async fn who_does_not_read_is_given_up() {
    let mut plan = Plan { store: Arc::new(mail(&[&"x".repeat(30_000_000)])), ..Plan::default() };
    plan.settings.limits.write = SHORT;
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    client.send("RETR 1\r\n").await;
    // The lock is free again while this client still does not read.
    let by = Instant::now() + world::PATIENCE;
    loop {
        // One connection could not ask as often as it takes.
        let mut next = connect(running.pop3).await;
        next.say("USER john.doe@anydomain.com").await;
        if next.say(&format!("PASS {PASSWORD}")).await.starts_with("+OK") {
            break;
        }
        assert!(Instant::now() < by, "the lock stuck");
    }
    let rest = client.rest().await;
    assert!(rest.len() < 30_000_000 && !rest.ends_with(b".\r\n"), "{}", rest.len());
}

#[tokio::test]
async fn a_tls_handshake_has_its_time() {
    let mut plan = Plan::default();
    plan.settings.limits.tls_handshake = SHORT;
    let running = plan.start();
    let mut silent = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    assert_eq!(silent.rest().await, b"");
    let mut begun = Client::new(TcpStream::connect(running.pop3s).await.unwrap());
    begun.send(b"\x16\x03\x01").await;
    assert_eq!(begun.rest().await, b"");
    let mut stls = connect(running.pop3).await;
    assert_eq!(stls.say("STLS").await, "+OK begin TLS negotiation");
    assert_eq!(stls.rest().await, b"");
}

#[tokio::test]
async fn wrong_passwords_end_the_connection_in_the_same_words() {
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    let words = "-ERR [AUTH] wrong user name or password";
    for user in ["nobody", "john.doe@anydomain.com", "../../etc"] {
        assert_eq!(client.say(&format!("USER {user}")).await, "+OK send your password");
        let password = if user.starts_with("john") { "" } else { "wrong" };
        assert_eq!(client.say(&format!("PASS {password}")).await, words, "{user}");
    }
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn failures_are_delayed_and_others_are_not() {
    const DELAY: Duration = Duration::from_secs(60);
    let running = Plan { failure_delay: DELAY, ..Plan::default() }.start();
    let mut guesser = connect(running.pop3).await;
    guesser.say("USER nobody").await;
    assert!(guesser.say("PASS wrong").await.starts_with("-ERR [AUTH]"), "the first is answered at once");
    guesser.send("USER nobody\r\nPASS wrong\r\n").await;
    assert_eq!(guesser.line().await, "+OK send your password");
    // The rightful user waits for nobody, though the guesser's answer takes a minute.
    logged_in(running.pop3).await;
    let early = tokio::time::timeout(SHORT, guesser.line()).await;
    assert!(early.is_err(), "the second failure was answered at once");
}

#[tokio::test]
async fn malformed_commands_without_end_end_the_connection() {
    let mut plan = Plan::default();
    plan.settings.limits.bad_commands = 4;
    let running = plan.start();
    let mut client = connect(running.pop3).await;
    client.send("X\r\n".repeat(10)).await;
    let said = String::from_utf8(client.rest().await).unwrap();
    assert_eq!(said.lines().count(), 4);
    assert!(said.ends_with("-ERR too many errors\r\n"), "{said}");
}

#[tokio::test]
async fn a_line_without_an_end_is_given_up() {
    let running = Plan::default().start();
    let mut client = connect(running.pop3).await;
    // A gigabyte would be refused as this is; the server closes long before.
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        if tokio::io::AsyncWriteExt::write_all(&mut client.stream, &piece).await.is_err() {
            return;
        }
    }
    panic!("the server took a gigabyte");
}
