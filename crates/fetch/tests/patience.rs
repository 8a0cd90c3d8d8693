//! What servers say in words, what they want between logins, and clocks that are wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod fake;
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use engine::Desk;
use fake::{
    Server,
    pop::{Pop, Say},
};
use restante_fetch::{
    Event, Keep, Mode, Patience, RunError, Stop,
    journal::{Journal, Known, Record, Stage, now},
};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};
use support::Files;

fn desk(server: &Server, keep: Keep) -> Desk {
    Desk::new(([127, 0, 0, 1], server.port).into(), Files::Maildir, keep)
}

fn note(desk: &Desk, records: &[Record]) {
    Journal::open(&desk.account.journal).unwrap().append(records).unwrap();
}

fn fetch(desk: &Desk) -> engine::Ran {
    let patience = Patience { pauses: vec![Duration::ZERO; 3], ..Patience::default() };
    engine::run_with(&desk.account, Mode::Fetch, &patience, &Stop::default(), |_| {})
}

/// The session breaks on purpose, since a length is unlike LIST, and there may be no new one at once.
#[test]
fn a_server_that_wants_time_between_logins_and_lists_wrong_lengths_is_asked_one_by_one() {
    let mut pop = Pop::new("USER\nUIDL\nTOP\nPIPELINING\nLOGIN-DELAY 900");
    pop.mail[0].1 = 100;
    let server = pop.start(|_, _| Say::Good);
    let desk = desk(&server, Keep::No);
    let ran = fetch(&desk);
    assert!(matches!(ran.ended, Err(RunError::Client(_))), "{}", ran.told());
    note(&desk, &[Record::Login { at: now() - 900 }]);
    let ran = fetch(&desk);
    assert_eq!((ran.summary().delivered, ran.summary().deleted), (2, 2), "{}", ran.told());
    // A short time is waited for, and the run goes on.
    let mut pop = Pop::new("USER\nUIDL\nTOP\nPIPELINING\nLOGIN-DELAY 1");
    pop.mail[0].1 = 100;
    let server = pop.start(|_, _| Say::Good);
    assert_eq!(self::desk(&server, Keep::No).run().summary().delivered, 2);
}

/// What the server did not announce it may still enforce.
#[test]
fn a_login_that_comes_too_soon_is_no_wrong_password_and_is_tried_again() {
    let too_soon = Arc::new(AtomicBool::new(true));
    let is_too_soon = Arc::clone(&too_soon);
    let server = Pop::new("USER\nUIDL\nTOP\nRESP-CODES\nAUTH-RESP-CODE").start(move |_, line| {
        match line.starts_with("PASS") && is_too_soon.load(Ordering::SeqCst) {
            true => Say::This("-ERR [LOGIN-DELAY] too soon after the last login, try again in 899 s".into()),
            false => Say::Good,
        }
    });
    let desk = desk(&server, Keep::Always);
    for _ in 0..3 {
        let ran = fetch(&desk);
        assert!(matches!(&ran.ended, Err(RunError::Client(_))), "{}", ran.told());
        assert!(ran.ended.unwrap_err().is_temporary());
    }
    assert_eq!(desk.state().refused, None);
    too_soon.store(false, Ordering::SeqCst);
    assert_eq!(fetch(&desk).summary().delivered, 2);
}

#[test]
fn a_maildrop_that_is_locked_is_no_wrong_password() {
    let locked = Arc::new(AtomicBool::new(true));
    let is_locked = Arc::clone(&locked);
    let server = Pop::new("USER\nUIDL\nTOP").start(move |_, line| match line.starts_with("PASS") {
        true if is_locked.load(Ordering::SeqCst) => {
            Say::This("-ERR .lock busy! Is another session active?".into())
        }
        _ => Say::Good,
    });
    let desk = desk(&server, Keep::Always);
    // At the first login the words may mean anything.
    assert!(matches!(fetch(&desk).ended, Err(RunError::Credentials(_))));
    locked.store(false, Ordering::SeqCst);
    assert_eq!(fetch(&desk).summary().delivered, 2);
    locked.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let ran = fetch(&desk);
        assert!(matches!(&ran.ended, Err(RunError::Client(_))), "{}", ran.told());
        assert!(ran.ended.unwrap_err().is_temporary());
    }
    assert_eq!(desk.state().refused, None);
}

/// The server holds the lock of the session that broke for a moment, and has no code for that.
#[test]
fn a_refusal_behind_a_break_is_a_break() {
    let server = Pop::new("USER\nUIDL\nTOP").start(|session, line| match (session, line) {
        (1, "RETR 2") => Say::HangUp,
        (2, line) if line.starts_with("PASS") => Say::This("-ERR no".into()),
        _ => Say::Good,
    });
    let desk = desk(&server, Keep::Always);
    let ran = fetch(&desk);
    assert_eq!(ran.summary().delivered, 2, "{}", ran.told());
    assert_eq!(ran.events.iter().filter(|event| matches!(event, Event::Again { .. })).count(), 2);
    assert_eq!(desk.state().refused, None);
}

/// Were it not on disk that a message was delivered, a crash might leave a journal that says it was only intended.
#[test]
fn what_is_deleted_was_delivered_durably() {
    let journal = Arc::new(std::sync::Mutex::new(None::<std::path::PathBuf>));
    let seen = Arc::clone(&journal);
    let server = Pop::new("USER\nUIDL\nTOP").start(move |_, line| {
        if line.starts_with("DELE") {
            // What was synced is marked by the next record, or at the end: here it is the end of what is known.
            let path = seen.lock().unwrap().clone().unwrap();
            std::fs::copy(&path, path.with_extension("then")).unwrap();
        }
        Say::Good
    });
    let desk = desk(&server, Keep::No);
    *journal.lock().unwrap() = Some(desk.account.journal.clone());
    assert_eq!(fetch(&desk).summary().deleted, 2);
    let then = std::fs::metadata(desk.account.journal.with_extension("then")).unwrap().len();
    let text = std::fs::read(&desk.account.journal).unwrap();
    let mut behind = text[usize::try_from(then).unwrap()..].split(|&octet| octet == b'\n');
    assert_eq!(behind.next().and_then(Record::parse), Some(Record::Synced), "the sync before DELE is noted");
}

fn key_of_the_first(desk: &Desk) -> restante_fetch::journal::Key {
    let state = desk.state();
    let mut delivered: Vec<_> = state.iter().filter(|(_, known)| known.stage == Stage::Delivered).collect();
    delivered.sort_by_key(|(_, known)| known.octets);
    delivered[0].0.clone()
}

const DAY: u64 = 86_400;

#[test]
fn a_server_without_unique_ids_is_not_said_to_give_new_numbers() {
    let message = |name: &str| format!("Received: from there id {name}\r\n\r\n{name}\r\n").into_bytes();
    let mail = Mail::none().and("a", &message("first")).and("b", &message("the second"));
    let server = EvilServer::start(Misbehaviour::UidlRefused, mail);
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(fetch(&desk).summary().delivered, 2);
    note(&desk, &[Record::Delivered { key: key_of_the_first(&desk), at: now() - 40 * DAY }]);
    desk.account.policy.keep = Keep::For(Duration::from_secs(30 * DAY));
    let ran = fetch(&desk);
    assert_eq!((ran.summary().deleted, ran.summary().kept), (1, 1), "{}", ran.told());
    assert!(!ran.told().contains("new numbers"), "{}", ran.told());
}

#[test]
fn a_clock_that_was_put_forward_deletes_nothing_at_once() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(fetch(&desk).summary().delivered, 5);
    // As if it had been 40 days ago.
    let text = std::fs::read(&desk.account.journal).unwrap();
    let earlier = |record: Record| match record {
        Record::Delivered { key, .. } => Record::Delivered { key, at: now() - 40 * DAY },
        Record::Login { .. } => Record::Login { at: now() - 40 * DAY },
        Record::Strength { strength, .. } => Record::Strength { strength, at: now() - 40 * DAY },
        Record::Intent { key, octets, listed, digest, header, token, .. } => {
            Record::Intent { key, octets, listed, digest, header, token, at: now() - 40 * DAY }
        }
        record => record,
    };
    std::fs::remove_file(&desk.account.journal).unwrap();
    let records = text.split(|&octet| octet == b'\n').filter_map(Record::parse).map(earlier);
    note(&desk, &records.collect::<Vec<_>>());
    desk.account.policy.keep = Keep::For(Duration::from_secs(30 * DAY));
    let ran = fetch(&desk);
    assert_eq!((ran.summary().deleted, ran.summary().kept), (0, 5));
    assert!(ran.told().contains("nothing is deleted for its age this time"), "{}", ran.told());
    assert_eq!(fetch(&desk).summary().deleted, 5, "the time is as it was said to be");
}

#[test]
fn a_delivery_is_never_noted_before_what_was_noted() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    let later = now() + 50_000;
    note(&desk, &[Record::Login { at: later }]);
    assert_eq!(fetch(&desk).summary().delivered, 5);
    assert!(desk.state().iter().all(|(_, Known { at, .. })| *at == later));
}
