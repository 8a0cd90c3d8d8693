//! Commands ahead of answers (RFC 2449 §6.6): only where the server offers it, never more than the window, and with the same
//! result.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/fake.rs"]
mod fake;
#[path = "harness/mod.rs"]
mod harness;

use std::sync::Arc;

use fake::Fake;
use harness::{credentials, runtime};
use restante_client::{Client, Options, Security, WindowMax};

const MESSAGES: usize = 60;

/// A whole session: what was fetched, and how many commands were under way at the most.
fn session(capabilities: &'static str, options: Options) -> (Vec<Vec<u8>>, usize) {
    let messages = (0..MESSAGES).map(|at| format!("Subject: {at}\r\n\r\nHello\r\n").into_bytes()).collect();
    let mut server = Fake::new(messages);
    server.capabilities = capabilities;
    let most = Arc::clone(&server.most_ahead);
    let options = Options { cleartext_passwords: true, ..options };
    let fetched = runtime().block_on(async {
        let mut client = Client::over(server, "localhost", Security::None, &options).await.unwrap();
        client.authenticate(&credentials()).await.unwrap();
        let listing = client.listing().await.unwrap();
        let (mut fetched, mut messages) = (Vec::new(), client.messages(listing.numbers()));
        while let Some(mut message) = messages.next().await.unwrap() {
            fetched.push(message.read_to_end(1000).await.unwrap().unwrap());
        }
        let deleted = client.delete_all(listing.numbers()).await.unwrap();
        assert!(deleted.iter().map(|(number, _)| *number).eq(listing.numbers()));
        client.quit().await.unwrap();
        fetched
    });
    let most = *most.lock().unwrap();
    (fetched, most)
}

fn window(commands: u32, octets: u64) -> Options {
    Options { window: WindowMax { commands, octets }, ..Options::default() }
}

#[test]
fn nothing_is_sent_ahead_unless_it_is_offered_and_wanted() {
    let (one_by_one, most) = session("USER\r\nUIDL\r\n", Options::default());
    assert_eq!((one_by_one.len(), most), (MESSAGES, 1));
    let (fetched, most) =
        session("USER\r\nPIPELINING\r\n", Options { pipelining: false, ..Options::default() });
    assert_eq!((&fetched, most), (&one_by_one, 1));
    let (fetched, most) = session("USER\r\nPIPELINING\r\n", Options::default());
    assert_eq!((&fetched, most), (&one_by_one, MESSAGES));
}

#[test]
fn no_more_is_under_way_than_the_window_has() {
    // The listing is four commands at once.
    for (options, expected) in [
        (window(10, u64::MAX), 10),
        (window(u32::MAX, u64::MAX), MESSAGES),
        (window(1, u64::MAX), 4),
        (window(0, 0), 4),
    ] {
        let (fetched, most) = session("USER\r\nPIPELINING\r\n", options);
        assert_eq!((fetched.len(), most), (MESSAGES, expected));
    }
}
