//! The whole server on real sockets: a session from greeting to good-bye, pipelining, and how connections end.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{sync::Arc, time::Duration};

use restante_store::Store;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use world::{Client, PASSWORD, Plan, connect, logged_in, mail, user};

#[tokio::test]
async fn a_session_reads_and_deletes() {
    let store = mail(&["Subject: one\n\nfirst\n", "Subject: two\n\n.second"]);
    let running = Plan { store: Arc::new(store.clone()), ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    assert_eq!(client.say("STAT").await, "+OK 2 48");
    assert_eq!(client.say("LIST").await, "+OK 2 messages (48 octets)");
    assert_eq!(client.block().await, ["1 23", "2 25"]);
    assert_eq!(client.say("UIDL").await, "+OK 2 messages (48 octets)");
    assert_eq!(client.block().await, ["1 id-1", "2 id-2"]);
    assert_eq!(client.say("RETR 2").await, "+OK 25 octets");
    assert_eq!(client.block().await, ["Subject: two", "", "..second"]);
    assert_eq!(client.say("TOP 1 0").await, "+OK top of message follows");
    assert_eq!(client.block().await, ["Subject: one", ""]);
    assert_eq!(client.say("DELE 1").await, "+OK msg deleted");
    assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    assert_eq!(client.rest().await, b"");
    assert_eq!(store.unique_ids(&user()).len(), 1);
}

#[tokio::test]
async fn any_number_of_commands_in_one_segment_or_one_octet_a_segment() {
    let script = format!(
        "USER john.doe@anydomain.com\r\nPASS {PASSWORD}\r\nCAPA\r\nSTAT\r\nUIDL\r\nRETR 1\r\nTOP 2 1\r\nDELE 9\r\nNOOP\r\nQUIT\r\n"
    );
    let running = Plan::default().start();
    let mut whole = connect(running.pop3).await;
    whole.send(&script).await;
    let expected = whole.rest().await;
    assert!(expected.ends_with(b"Good-Bye\r\n"), "{}", String::from_utf8_lossy(&expected));
    let mut bytewise = connect(running.pop3).await;
    for octet in script.as_bytes().chunks(1) {
        bytewise.send(octet).await;
    }
    assert_eq!(bytewise.rest().await, expected);
}

#[tokio::test]
async fn unread_input_does_not_turn_the_good_bye_into_a_reset() {
    let running = Plan::default().start();
    let mut client = logged_in(running.pop3).await;
    // Far more than a socket's buffers hold of what is never read by the session.
    client.send(format!("QUIT\r\n{}", "NOOP\r\n".repeat(20_000))).await;
    assert_eq!(client.rest().await, b"+OK POP3 Server saying Good-Bye\r\n");
}

#[tokio::test]
async fn closing_without_quit_deletes_nothing_and_frees_the_maildrop() {
    let store = mail(&["a\n"]);
    let running = Plan { store: Arc::new(store.clone()), ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    assert_eq!(client.say("DELE 1").await, "+OK msg deleted");
    // A QUIT without its line end is no QUIT.
    client.send("QUIT").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"");
    assert_eq!(store.unique_ids(&user()).len(), 1);
    logged_in(running.pop3).await;
}

#[tokio::test]
async fn a_half_closed_connection_gets_its_answers() {
    let running = Plan::default().start();
    let mut client = logged_in(running.pop3).await;
    client.send("STAT\r\nRETR 1\r\nQUIT\r\n").await;
    client.stream.shutdown().await.unwrap();
    let rest = client.rest().await;
    assert!(rest.starts_with(b"+OK 2 48\r\n") && rest.ends_with(b"Good-Bye\r\n"));
}

#[tokio::test]
async fn a_reset_frees_the_maildrop() {
    let log = world::log();
    let mut plan = Plan::default();
    plan.settings.limits.takeover_idle = Duration::ZERO;
    let running = plan.start();
    let client = logged_in(running.pop3).await;
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    log.shows("why=\"connection: ").await;
    logged_in(running.pop3).await;
}

#[tokio::test]
async fn a_large_message_passes_whole_and_in_bounded_memory() {
    // One line of 64 MB, behind an octet that is a dot.
    let mut message = b".".to_vec();
    message.resize(64_000_000, b'x');
    let store = mail(&[]);
    let id = restante_proto::UniqueId::new(b"large").unwrap();
    store.add(&user(), id, message.clone());
    let running = Plan { store: Arc::new(store), ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    assert_eq!(client.say("LIST 1").await, "+OK 1 64000002");
    client.send("RETR 1\r\nQUIT\r\n").await;
    let rest = client.rest().await;
    let body = rest.strip_prefix(b"+OK 64000002 octets\r\n.").unwrap();
    assert!(body.starts_with(&message), "the message, octet for octet");
    assert_eq!(&body[message.len()..], b"\r\n.\r\n+OK POP3 Server saying Good-Bye\r\n");
}

#[tokio::test]
async fn a_client_that_never_reads_makes_the_server_stop_reading() {
    let store = mail(&[&"x".repeat(1_000_000)]);
    let running = Plan { store: Arc::new(store), ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    // What the server takes in before it stops: socket buffers, and no more. Then nothing moves any more.
    let (flood, mut taken) = ("RETR 1\r\n".repeat(1_000), 0);
    while let Ok(written) =
        tokio::time::timeout(Duration::from_secs(1), client.stream.write(flood.as_bytes())).await
    {
        taken += written.unwrap();
        assert!(taken < 32 << 20, "the server took {taken} octets of commands");
    }
}

#[tokio::test]
async fn deletion_is_for_good_before_quit_is_answered() {
    let store = mail(&["a\n", "b\n"]);
    let running = Plan { store: Arc::new(store.clone()), ..Plan::default() }.start();
    let mut client = logged_in(running.pop3).await;
    client.send("DELE 1\r\nDELE 2\r\nQUIT\r\n").await;
    for _ in 0..3 {
        assert!(client.line().await.starts_with("+OK"));
    }
    assert_eq!(store.unique_ids(&user()).len(), 0);
    // And the lock is free already, before the connection is closed.
    assert!(store.open(&user()).await.is_ok());
}

#[tokio::test]
async fn apop_is_offered_where_it_is_on() {
    let mut plan = Plan::default();
    plan.settings.apop = true;
    let running = plan.start();
    let mut client = Client::new(TcpStream::connect(running.pop3).await.unwrap());
    let greeting = client.line().await;
    let stamp = greeting.strip_prefix("+OK X1 POP3 Server ").unwrap();
    assert!(stamp.starts_with('<') && stamp.ends_with("@X1>"), "{stamp}");
    assert!(stamp[1..stamp.len() - 1].chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '@')));
    assert_eq!(
        client.say("APOP john.doe@anydomain.com 00000000000000000000000000000000").await,
        "-ERR [AUTH] wrong user name or password"
    );
}
