//! What a session needs of memory: the same for a message of 200 MiB as for a short one, and little for each message of a
//! listing.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/fake.rs"]
mod fake;
#[path = "harness/mod.rs"]
mod harness;

use allocation_counter::{AllocationInfo, measure};
use fake::{Fake, LINE};
use harness::runtime;
use restante_client::{Client, Credentials, MessageNumber, Options, Security};

/// What a session holds at most while messages stream through it, in octets: 128 KiB of input, 64 KiB and a line of a
/// message, 16 KiB of what is to be sent, and some small things. The server's part is among it.
const SESSION_MAX_OCTETS: u64 = 256 * 1024;

/// What a listing may need for each message while it is made, in octets; LIST and UIDL of it are 36 octets on the wire.
const ENTRY_MAX_OCTETS: u64 = 200;

const HUGE_OCTETS: u64 = 200 * 1024 * 1024;

async fn session(server: Fake) -> Client {
    let options = Options { cleartext_passwords: true, ..Options::default() };
    let mut client = Client::over(server, "localhost", Security::None, &options).await.unwrap();
    client.authenticate(&Credentials::new("john", b"secret".to_vec())).await.unwrap();
    client
}

/// Fetches message 1 with so many more lines: its length, and what was allocated.
fn fetch(more_lines: u64) -> (u64, AllocationInfo) {
    let (runtime, mut octets) = (runtime(), 0);
    let info = measure(|| {
        runtime.block_on(async {
            let mut server = Fake::new(vec![b"Subject: long\r\n\r\n".to_vec()]);
            server.more_lines = more_lines;
            let mut client = session(server).await;
            let mut messages = client.message(MessageNumber::FIRST);
            let mut message = messages.next().await.unwrap().unwrap();
            while let Some(chunk) = message.chunk().await.unwrap() {
                octets += chunk.len() as u64;
            }
            messages.finish().await.unwrap();
            client.quit().await.unwrap();
        });
    });
    (octets, info)
}

#[test]
fn a_message_of_200_mib_needs_no_more_memory_than_a_short_one() {
    let lines = HUGE_OCTETS / LINE.len() as u64 + 1;
    let (octets, info) = fetch(lines);
    assert!(octets > HUGE_OCTETS, "{octets}");
    assert!(info.bytes_max < SESSION_MAX_OCTETS, "{} octets at the most", info.bytes_max);
    let (_, short) = fetch(10_000);
    assert!(info.bytes_max < short.bytes_max + 16 * 1024, "{} and {}", info.bytes_max, short.bytes_max);
}

#[test]
fn a_listing_needs_little_for_each_message() {
    const MESSAGES: u64 = 100_000;
    let runtime = runtime();
    let mut kept = None;
    let mut server = Fake::new(Vec::new());
    server.count = usize::try_from(MESSAGES).unwrap();
    let mut client = Some(runtime.block_on(session(server)));
    let info = measure(|| {
        runtime.block_on(async {
            let mut client = client.take().unwrap();
            kept = Some(client.listing().await.unwrap());
            client.quit().await.unwrap();
        });
    });
    let listing = kept.unwrap();
    assert_eq!((listing.len() as u64, listing.doubts.len()), (MESSAGES, 0));
    // Of that the server of this test holds both answers.
    let server_octets = 2 * 36 * MESSAGES;
    let each = info.bytes_max.saturating_sub(server_octets) / MESSAGES;
    assert!(each <= ENTRY_MAX_OCTETS, "{each} octets for each message");
    let left = u64::try_from(info.bytes_current).unwrap() / MESSAGES;
    assert!(left <= 96, "{left} octets for each message stay");
}
