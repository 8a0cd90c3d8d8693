//! Every call is dropped at every await: what follows works, or says that it was interrupted, and never takes one answer for
//! another. The server's octets come one by one, with a pause before each.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/fake.rs"]
mod fake;
#[path = "harness/mod.rs"]
mod harness;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use fake::Fake;
use harness::runtime;
use restante_client::{Client, Credentials, Error, MessageNumber, Messages, Options, Security, Stat};

/// More awaits than any call here has.
const POLLS_MAX: usize = 3_000;

fn mail() -> Vec<Vec<u8>> {
    [
        &b"Subject: one\r\n\r\nfirst\r\n"[..],
        b"Subject: two\r\n\r\n",
        b"Subject: three\r\n\r\n..dots\r\nend\r\n",
    ]
    .map(<[u8]>::to_vec)
    .into()
}

/// The messages as they arrive.
fn received() -> Vec<Vec<u8>> {
    let mut messages = mail();
    messages[2] = b"Subject: three\r\n\r\n.dots\r\nend\r\n".to_vec();
    messages
}

fn numbers() -> [MessageNumber; 3] {
    [1, 2, 3].map(|number| MessageNumber::new(number).unwrap())
}

fn options(pipelining: bool) -> Options {
    Options { cleartext_passwords: true, pipelining, ..Options::default() }
}

fn credentials() -> Credentials {
    Credentials::new("john", b"secret".to_vec())
}

async fn connected(pipelining: bool) -> Client {
    let mut server = Fake::new(mail());
    server.drips = true;
    Client::over(server, "localhost", Security::None, &options(pipelining)).await.unwrap()
}

/// Polls so many times: what came of it, `None` where it is not done.
async fn polled<T>(mut call: Pin<&mut impl Future<Output = T>>, times: usize) -> Option<T> {
    for _ in 0..times {
        let once = poll_fn(|cx| {
            Poll::Ready(match call.as_mut().poll(cx) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            })
        });
        if let Some(done) = once.await {
            return Some(done);
        }
    }
    None
}

/// What a client says afterwards is right, or it says that it was interrupted; never before it was polled.
async fn works_or_says_so(client: &mut Client, logged_in: bool, times: usize) {
    let interrupted = |error: &Error| matches!(error, Error::Interrupted(_));
    match client.refresh_capabilities().await {
        Ok(capabilities) => assert!(capabilities.pipelining() && capabilities.iter().count() == 5),
        Err(error) => assert!(interrupted(&error) && times > 0, "{error}"),
    }
    if logged_in {
        match client.stat().await {
            Ok(stat) => assert_eq!(stat, Stat { messages: 3, octets: 70 }),
            Err(error) => assert!(interrupted(&error) && times > 0, "{error}"),
        }
        match client.listing().await {
            Ok(listing) => assert!(listing.len() == 3 && listing.doubts.is_empty()),
            Err(error) => assert!(interrupted(&error) && times > 0, "{error}"),
        }
    }
}

/// Takes a run of messages to its end.
async fn all_of(mut messages: Messages<'_>) -> Result<(), Error> {
    while let Some(mut message) = messages.next().await? {
        while message.chunk().await?.is_some() {}
    }
    Ok(())
}

/// A call on a client that is logged in, or about to be.
macro_rules! every_await {
    ($($name:ident, $logged_in:literal: |$client:ident| $call:expr;)*) => {
        $(#[test]
        fn $name() {
            for pipelining in [true, false] {
                let mut ended = false;
                for times in 0..POLLS_MAX {
                    ended = runtime().block_on(async {
                        let mut client = connected(pipelining).await;
                        if $logged_in {
                            client.authenticate(&credentials()).await.unwrap();
                        }
                        let done = {
                            let $client = &mut client;
                            polled(pin!(async { $call.map(drop) }), times).await
                        };
                        done.iter().for_each(|done| assert!(done.is_ok(), "{done:?}"));
                        let phase = client.phase();
                        works_or_says_so(&mut client, phase.name() == "TRANSACTION", times).await;
                        done.is_some()
                    });
                    if ended {
                        break;
                    }
                }
                assert!(ended, "it has no end");
            }
        })*
    };
}

every_await! {
    authenticating_by_plain, false: |client| client.authenticate(&credentials()).await;
    authenticating_by_login, false: |client| client.authenticate_with("LOGIN", &credentials()).await;
    authenticating_by_user, false: |client| client.authenticate_with("USER", &credentials()).await;
    authenticating_by_apop, false: |client| client.authenticate_with("APOP", &credentials()).await;
    asking_for_capabilities, true: |client| client.refresh_capabilities().await;
    counting, true: |client| client.stat().await;
    listing, true: |client| client.listing().await;
    asking_for_a_size, true: |client| client.size(numbers()[0]).await;
    asking_for_a_unique_id, true: |client| client.unique_id(numbers()[0]).await;
    deleting, true: |client| client.delete(numbers()[0]).await;
    deleting_many, true: |client| client.delete_all(numbers()).await;
    resetting, true: |client| client.reset().await;
    doing_nothing, true: |client| client.noop().await;
    fetching_one, true: |client| all_of(client.message(numbers()[1])).await;
    fetching_many, true: |client| all_of(client.messages(numbers())).await;
    fetching_headers, true: |client| all_of(client.tops(numbers(), 0)).await;
}

/// Awaits again and again, each time with a new future that is dropped after a few polls: nothing is lost by that.
macro_rules! in_bits {
    ($times:expr, $call:expr) => {{
        let mut done = None;
        for _ in 0..POLLS_MAX {
            done = polled(pin!($call), $times).await;
            if done.is_some() {
                break;
            }
        }
        done.expect("it has no end")
    }};
}

#[test]
fn messages_go_on_where_they_were_dropped() {
    for (pipelining, times) in [(true, 1), (true, 2), (true, 7), (false, 1), (false, 5)] {
        runtime().block_on(async {
            let mut client = connected(pipelining).await;
            client.authenticate(&credentials()).await.unwrap();
            let (mut messages, mut fetched) = (client.messages(numbers()), Vec::new());
            for number in numbers() {
                // The handle borrows the run: that there is one more is seen by a first look, which is dropped.
                let mut octets = Vec::new();
                let mut found = false;
                for _ in 0..POLLS_MAX {
                    let next = polled(pin!(messages.next()), times).await;
                    let Some(next) = next else { continue };
                    let mut message = next.unwrap().unwrap();
                    assert_eq!(message.number(), number);
                    while let Some(chunk) = in_bits!(times, async {
                        message.chunk().await.map(|chunk| chunk.map(<[u8]>::to_vec))
                    })
                    .unwrap()
                    {
                        octets.extend_from_slice(&chunk);
                    }
                    found = true;
                    break;
                }
                assert!(found, "it has no end");
                fetched.push(octets);
            }
            assert_eq!(fetched, received());
            in_bits!(times, async { messages.next().await.map(|more| more.is_none()) }).unwrap();
            client.noop().await.unwrap();
        });
    }
}

#[test]
fn messages_left_midway_are_told_and_finished_ones_are_not() {
    for pipelining in [true, false] {
        runtime().block_on(async {
            let mut client = connected(pipelining).await;
            client.authenticate(&credentials()).await.unwrap();
            // Nothing was asked for yet.
            drop(client.messages(numbers()));
            client.noop().await.unwrap();
            // Read to its end, though nobody asked for the next.
            let mut messages = client.message(numbers()[0]);
            let mut message = messages.next().await.unwrap().unwrap();
            assert_eq!(message.read_to_end(1000).await.unwrap().unwrap(), received()[0]);
            client.noop().await.unwrap();
            // Finished in the middle.
            let mut messages = client.messages(numbers());
            let mut message = messages.next().await.unwrap().unwrap();
            assert!(message.chunk().await.unwrap().is_some());
            messages.finish().await.unwrap();
            client.noop().await.unwrap();
            // Too long for who reads it: the rest is skipped.
            let mut messages = client.messages(numbers());
            let mut message = messages.next().await.unwrap().unwrap();
            assert_eq!(message.read_to_end(5).await.unwrap(), None);
            messages.finish().await.unwrap();
            assert_eq!(client.stat().await.unwrap().messages, 3);
            // Left in the middle.
            let mut messages = client.messages(numbers());
            let mut message = messages.next().await.unwrap().unwrap();
            assert!(message.chunk().await.unwrap().is_some());
            let error = client.noop().await.unwrap_err();
            assert!(matches!(error, Error::Interrupted(_)), "{error}");
            let words = "the connection cannot be used any more: an earlier call was cancelled, or its messages were not \
                         read to the end";
            assert_eq!(error.to_string(), words);
            assert!(matches!(client.quit().await, Err(Error::Interrupted(_))));
        });
    }
}

#[test]
fn a_connection_in_the_making_is_dropped_without_harm() {
    for times in 0..POLLS_MAX {
        let done = runtime().block_on(async {
            let mut server = Fake::new(mail());
            server.drips = true;
            let options = options(true);
            polled(pin!(Client::over(server, "localhost", Security::None, &options)), times).await.is_some()
        });
        if done {
            return;
        }
    }
    panic!("it has no end");
}
