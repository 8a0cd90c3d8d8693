//! A whole session, cut or silent after each octet that the server says: no panic, no hang, no message that is called whole and
//! is not, and an error that says so.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/mod.rs"]
mod harness;

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
};

use harness::{LONG, SHORT, credentials, options, pem, runtime, told, within};
use restante_client::{Client, Error, Options, Security, Url};
use restante_testkit::{
    evil::{EvilServer, Mail, Misbehaviour, Script, Tls},
    proxy::{Direction, Plan, Proxy},
};

/// How many sessions run at a time.
const THREADS: usize = 8;

/// More octets than any session here has.
const OCTETS_MAX: u64 = 20_000;

fn mail() -> Mail {
    Mail::many(2).and("dots", b"Subject: dots\r\n\r\n.\r\n..\r\nend\r\n")
}

/// Runs a session after each so many octets, until one comes to its end; how many did not.
fn at_every(step: u64, session: impl Fn(u64) -> Result<(), Error> + Sync) -> u64 {
    let (next, ended, broken) = (AtomicU64::new(0), AtomicU64::new(OCTETS_MAX), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let octets = next.fetch_add(step, SeqCst);
                    if octets > ended.load(SeqCst) {
                        break;
                    }
                    match session(octets) {
                        Ok(()) => drop(ended.fetch_min(octets, SeqCst)),
                        Err(_) => drop(broken.fetch_add(1, SeqCst)),
                    }
                }
            });
        }
    });
    assert!(ended.into_inner() < OCTETS_MAX, "no session came to its end");
    broken.into_inner()
}

/// Connects, logs in, lists, fetches, deletes and quits. What is reported is right, up to the error.
async fn session(url: &Url, options: &Options, mail: &Mail) -> Result<(), Error> {
    let mut client = Client::connect(url, options).await?;
    let done = talk(&mut client, mail).await;
    if let Err(error) = done {
        let next = client.noop().await;
        assert!(matches!(next, Err(Error::Interrupted(_))), "after «{error}»: {next:?}");
        return Err(error);
    }
    client.quit().await
}

async fn talk(client: &mut Client, mail: &Mail) -> Result<(), Error> {
    client.authenticate_with("USER", &credentials()).await?;
    let listing = client.listing().await?;
    assert_eq!((listing.len(), listing.doubts.len()), (3, 0));
    for (entry, message) in listing.entries().iter().zip(mail.messages()) {
        assert_eq!(entry.id.as_ref().map(|id| id.as_str()), Some(message.id.as_str()));
        assert_eq!(entry.octets, Some(message.octets.len() as u64));
    }
    let mut messages = client.messages(listing.numbers());
    let mut whole = 0;
    while let Some(mut message) = messages.next().await? {
        let octets = message.read_to_end(10_000).await?.unwrap();
        assert_eq!(octets, &*mail.messages()[whole].octets, "called whole");
        whole += 1;
    }
    assert_eq!(whole, 3);
    let deleted = client.delete_all(listing.numbers()).await?;
    assert!(deleted.iter().all(|(_, done)| done.is_ok()));
    Ok(())
}

/// A session with a server that cuts it within what it says.
fn cut(octets: u64, tls: bool, pipelining: bool) -> Result<(), Error> {
    let mut script = Script::from(Misbehaviour::ConnectionCut).after_octets(octets);
    if tls {
        script = script.with_tls(Tls::FromTheFirstOctet);
    }
    let server = EvilServer::start(script, mail());
    let trusted = pem(&[&server.certificate()]);
    let security = if tls { Security::Implicit } else { Security::None };
    let options = Options { pipelining, ..options(tls.then_some(&trusted)) };
    let done = runtime().block_on(session(&harness::url(&server, security), &options, server.mail()));
    if let Err(error) = &done {
        assert!(matches!(error, Error::Lost(_)), "cut after {octets} octets: {}", told(error));
        assert!(server.committed().is_empty() || error.to_string().contains("QUIT"), "{octets}: {error}");
    }
    done
}

#[test]
fn cut_after_every_octet_the_connection_is_lost() {
    for pipelining in [true, false] {
        let broken = at_every(1, |octets| cut(octets, false, pipelining));
        assert!(broken > 500, "{broken}");
    }
}

#[test]
fn cut_within_tls_it_is_lost_as_well() {
    for pipelining in [true, false] {
        let broken = at_every(23, |octets| cut(octets, true, pipelining));
        assert!(broken > 20, "{broken}");
    }
}

/// A session through a proxy that cuts or stalls what the server sends, TLS and all.
fn proxied(security: Security, plan: Plan, options: &Options) -> Result<(), Error> {
    let tls = if security == Security::Implicit { Tls::FromTheFirstOctet } else { Tls::Stls };
    let server = EvilServer::start(Script::from(Misbehaviour::Nothing).with_tls(tls), mail());
    let trusted = pem(&[&server.certificate()]);
    let proxy = Proxy::start(server.address(), plan);
    let place = proxy.address();
    let url = Url { user: None, host: place.ip().to_string(), port: place.port(), security };
    let with = harness::options((security != Security::None).then_some(&trusted));
    let options = Options { timeouts: options.timeouts, pipelining: options.pipelining, ..with };
    runtime().block_on(session(&url, &options, server.mail()))
}

#[test]
fn a_cut_of_records_or_of_the_handshake_is_told() {
    for security in [Security::Implicit, Security::Stls] {
        let broken = at_every(61, |octets| {
            let plan = Plan { cut_after_octets: Some((Direction::ToClient, octets)), ..Plan::default() };
            let done = proxied(security, plan, &Options { timeouts: within(LONG), ..Options::default() });
            if let Err(error) = &done {
                assert!(matches!(error, Error::Lost(_) | Error::Tls(_)), "{octets}: {}", told(error));
            }
            done
        });
        assert!(broken > 20, "{broken}");
    }
}

#[test]
fn a_silence_is_told_after_its_time() {
    for security in [Security::None, Security::Implicit] {
        let broken = at_every(41, |octets| {
            let plan = Plan { stall_after_octets: Some((Direction::ToClient, octets)), ..Plan::default() };
            let done = proxied(security, plan, &Options { timeouts: within(SHORT), ..Options::default() });
            if let Err(error) = &done {
                assert!(matches!(error, Error::TimedOut(_)), "{octets}: {}", told(error));
            }
            done
        });
        assert!(broken > 12, "{broken}");
    }
}
