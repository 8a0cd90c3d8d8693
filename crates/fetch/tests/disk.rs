//! Disks and destinations that fail, and journals that cannot be used: nothing is lost, nothing is there twice, and mail
//! stays on the server until it is safe.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use engine::{Desk, destination};
use restante_fetch::{
    Account, Event, Keep, RunError,
    destination::{Batch, BatchMax, Destination, Fate, Fault, Intent, Promise, Token},
    journal::{Journal, JournalError, Stage},
};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};
use support::{Files, open_at, the_childs_root};

fn good(mail: Mail) -> EvilServer {
    EvilServer::start(Misbehaviour::Nothing, mail)
}

fn mail() -> Mail {
    Mail::none()
        .and("a", b"Received: by a\r\n\r\n1\r\n")
        .and("b", b"Subject: b\r\n\r\nsame\r\n")
        .and("c", b"Subject: b\r\n\r\nsame\r\n")
}

// --- a destination that fails at one of its calls ------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// As a full disk does: nothing of it is done.
    Before,
    /// As a failed `fsync` does: it is done, and nobody knows.
    After,
    /// It does not take this message.
    Message,
}

/// Fails at the call of this number, from 1.
#[derive(Clone, Debug)]
struct Failing {
    inner: Arc<dyn Destination>,
    how: How,
    at: usize,
    calls: Arc<AtomicUsize>,
}

impl Failing {
    fn call<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let fails = self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at;
        match self.how {
            How::Before if fails => Err(Fault::Destination("the disk is full".into())),
            How::Message if fails => Err(Fault::Message("not that one".into())),
            How::After if fails => work().and_then(|_| Err(Fault::Destination("nobody knows".into()))),
            _ => work(),
        }
    }
}

struct FailingBatch {
    inner: Box<dyn Batch>,
    of: Failing,
}

impl Destination for Failing {
    fn promise(&self) -> Promise {
        self.inner.promise()
    }

    fn batch_max(&self) -> BatchMax {
        BatchMax { messages: 2, ..self.inner.batch_max() }
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        let inner =
            if self.how == How::Message { self.inner.batch() } else { self.call(|| self.inner.batch()) };
        Ok(Box::new(FailingBatch { inner: inner?, of: self.clone() }))
    }

    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault> {
        self.inner.resolve(intent)
    }
}

impl Batch for FailingBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        self.of.call(|| self.inner.begin())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.of.call(|| self.inner.write(octets))
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let finished = self.of.call(|| self.inner.finish());
        // After an error it counts as abandoned.
        if finished.is_err() && self.of.how != How::After {
            self.inner.abandon();
        }
        finished
    }

    fn abandon(&mut self) {
        self.inner.abandon();
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        let tokens = self.inner.sync();
        tokens.into_iter().map(|token| self.of.call(|| token)).collect()
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        self.of.call(|| self.inner.publish(place))
    }

    fn settle(&mut self) -> Result<(), Fault> {
        match self.of.how {
            How::Message => self.inner.settle(),
            _ => self.of.call(|| self.inner.settle()),
        }
    }
}

fn failing_at_each_call(files: Files, how: How) {
    for at in 1..200 {
        let case = format!("{files:?}, {how:?}, call {at}");
        let server = good(mail());
        let desk = Desk::new(server.address(), files, Keep::No);
        let inner = open_at(desk.world.folder.path(), files).unwrap().into();
        let calls = Arc::new(AtomicUsize::new(0));
        let destination = Arc::new(Failing { inner, how, at, calls: Arc::clone(&calls) });
        let account = Account { destination, ..desk.account.clone() };
        let ran = engine::run(&account);
        desk.assert_nothing_lost(&server, &case);
        let failed = calls.load(Ordering::SeqCst) >= at;
        match (how, &ran.ended) {
            (How::Message, Ok(summary)) => assert_eq!(summary.stuck, usize::from(failed), "{case}"),
            (_, Err(RunError::Destination(_))) => assert!(failed, "{case}"),
            (_, Ok(_)) => assert!(!failed, "{case}: {}", ran.told()),
            (_, Err(error)) => panic!("{case}: {error}"),
        }
        // Another run of the same process, then one of a new one.
        let ran = engine::run(&Account { destination: account.destination, ..desk.account.clone() });
        desk.assert_nothing_lost(&server, &case);
        ran.summary();
        desk.run().summary();
        assert_eq!(desk.there(), desk.wanted(&mail()), "{case}");
        desk.assert_journal(3, &case);
        assert_eq!(server.left(), Vec::<String>::new(), "{case}");
        if !failed {
            assert!(at > 10, "{case}");
            return;
        }
    }
    panic!("there are more calls than 200");
}

#[test]
fn a_disk_that_becomes_full_at_any_call() {
    failing_at_each_call(Files::Maildir, How::Before);
    failing_at_each_call(Files::Mbox, How::Before);
}

#[test]
fn a_disk_that_fails_behind_any_call() {
    failing_at_each_call(Files::Maildir, How::After);
    failing_at_each_call(Files::Eml, How::After);
}

#[test]
fn a_message_that_is_not_taken_at_any_call() {
    failing_at_each_call(Files::Maildir, How::Message);
    failing_at_each_call(Files::Eml, How::Message);
}

// --- commands ------------------------------------------------------------------------------------------------------

#[test]
fn a_message_that_is_refused_is_set_aside_and_tried_less_and_less() {
    let server = good(mail().and("bad", b"Subject: bad\r\n\r\n"));
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let taken = desk.world.folder.path().join("taken");
    let command = format!("command:if grep -q bad; then exit 65; fi; echo x >> {}", taken.display());
    let account = Account { destination: destination(&command), ..desk.account.clone() };
    for attempt in 1..=3 {
        let ran = engine::run(&account);
        let summary = ran.summary();
        assert_eq!(
            (summary.delivered, summary.stuck),
            (if attempt == 1 { 3 } else { 0 }, 1),
            "{}",
            ran.told()
        );
        let aside = |event: &Event| matches!(event, Event::SetAside { why, .. } if why.contains("status 65"));
        assert!(ran.events.iter().any(aside), "{}", ran.told());
        let state = desk.state();
        let attempts = state.iter().find_map(|(_, known)| match &known.stage {
            Stage::Aside(aside) => Some(aside.attempts),
            _ => None,
        });
        assert_eq!(attempts, Some(attempt), "each attempt is counted, so that pauses grow");
    }
    assert_eq!(server.left(), ["bad"]);
    assert_eq!(fs::read_to_string(taken).unwrap().lines().count(), 3);
}

#[test]
fn a_destination_that_takes_nothing_now_ends_the_run() {
    let server = good(mail());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let account = Account { destination: destination("command:exit 75"), ..desk.account.clone() };
    for _ in 0..2 {
        let ran = engine::run(&account);
        assert!(matches!(ran.ended, Err(RunError::Destination(_))), "{}", ran.told());
    }
    assert_eq!(server.left().len(), 3);
    // Another destination takes over: what the first one did not take is delivered there.
    desk.run().summary();
    desk.assert_exactly(&mail(), "another destination");
    assert_eq!(server.left(), Vec::<String>::new());
}

/// Messages that are too long are no failures, and each is named once in a run.
#[test]
fn what_is_too_long_is_counted_apart_and_named() {
    let long = [&b"Subject: long\r\n\r\n"[..], &[b'x'; 500], b"\r\n"].concat();
    let server = good(mail().and("long", &long));
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    desk.account.policy.max_octets = Some(400);
    for delivered in [3, 0] {
        let ran = desk.run();
        let summary = ran.summary();
        assert_eq!((summary.delivered, summary.stuck, summary.too_long), (delivered, 0, 1), "{}", ran.told());
        let number = if delivered == 3 { 4 } else { 1 };
        let expected = Event::TooLong { number, id: Some("long".into()), octets: long.len() as u64 };
        assert_eq!(ran.events.iter().filter(|&event| *event == expected).count(), 1);
    }
}

/// Without unique-ids too: what was read is known by what it holds.
#[test]
fn a_message_without_a_unique_id_that_is_refused_is_remembered() {
    let server = EvilServer::start(Misbehaviour::UidlRefused, mail());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    let account = Account { destination: destination("command:exit 65"), ..desk.account.clone() };
    for attempt in 1..=2 {
        assert_eq!(engine::run(&account).summary().stuck, 3);
        let state = desk.state();
        assert_eq!(state.len(), 3, "two that are the same are two");
        assert!(state.iter().all(|(key, known)| key.id().is_none() && known.failures == attempt));
    }
}

/// The destination defers one message, and says so outright: the others pass, now and the next time.
#[test]
fn a_message_that_is_deferred_stops_no_other() {
    let mut bad_first = Mail::none().and("bad", b"Subject: bad\r\n\r\n");
    for message in mail().messages() {
        bad_first = bad_first.and(&message.id, &message.octets);
    }
    let server = good(bad_first);
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let taken = desk.world.folder.path().join("taken");
    let command = format!("command:if grep -q bad; then exit 75; fi; echo x >> {}", taken.display());
    let account = Account { destination: destination(&command), ..desk.account };
    for delivered in [3, 0, 1] {
        let ran = engine::run(&account);
        let summary = ran.summary();
        assert_eq!((summary.delivered, summary.stuck), (delivered, 1), "{}", ran.told());
        assert!(!ran.told().contains("nobody knows"), "{}", ran.told());
        if delivered == 0 {
            server.deliver("new", b"Subject: new\r\n\r\n");
        }
    }
    assert_eq!(server.left(), ["bad"]);
    assert_eq!(fs::read_to_string(taken).unwrap().lines().count(), 4);
}

/// A server may hang up at one message each time: it comes last from then on, so that it stops the others once.
#[test]
fn a_message_at_which_the_destination_fails_comes_last_the_next_time() {
    let server = good(mail());
    let desk = Desk::new(server.address(), Files::Eml, Keep::No);
    let inner = open_at(desk.world.folder.path(), Files::Eml).unwrap().into();
    let bad = mail().messages()[0].octets.to_vec();
    let destination = Arc::new(Breaking { inner, bad });
    let account = Account { destination, ..desk.account.clone() };
    for left in [3, 1, 1] {
        let ran = engine::run(&account);
        assert!(matches!(ran.ended, Err(RunError::Destination(_))), "{}", ran.told());
        desk.assert_nothing_lost(&server, "breaking");
        assert_eq!(3 - desk.there().values().sum::<usize>(), left, "{}", ran.told());
    }
    desk.run().summary();
    desk.assert_exactly(&mail(), "in the end");
}

/// A destination that breaks at one message.
#[derive(Debug)]
struct Breaking {
    inner: Arc<dyn Destination>,
    bad: Vec<u8>,
}

struct BreakingBatch {
    inner: Box<dyn Batch>,
    bad: Vec<u8>,
    written: Vec<u8>,
}

impl Destination for Breaking {
    fn promise(&self) -> Promise {
        self.inner.promise()
    }

    fn batch_max(&self) -> BatchMax {
        BatchMax { messages: 1, ..self.inner.batch_max() }
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        Ok(Box::new(BreakingBatch { inner: self.inner.batch()?, bad: self.bad.clone(), written: Vec::new() }))
    }

    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault> {
        self.inner.resolve(intent)
    }
}

impl Batch for BreakingBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        self.inner.begin()
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.written.extend(octets);
        self.inner.write(octets)
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.inner.finish()
    }

    fn abandon(&mut self) {
        self.inner.abandon();
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        self.inner.sync()
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        match self.written == self.bad {
            true => Err(Fault::Destination("it hung up".into())),
            false => self.inner.publish(place),
        }
    }

    fn settle(&mut self) -> Result<(), Fault> {
        self.inner.settle()
    }
}

// --- journals ------------------------------------------------------------------------------------------------------

/// Nothing is said to a server before the journal is there.
#[test]
fn without_a_journal_nothing_is_done() {
    let server = good(mail());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let path = &desk.account.journal;
    let fails = |case: &str, expected: fn(&JournalError) -> bool, temporary: bool| {
        let ran = desk.run();
        let Err(error @ RunError::Journal(journal)) = &ran.ended else { panic!("{case}: {}", ran.told()) };
        assert!(expected(journal), "{case}: {error}");
        assert_eq!(error.is_temporary(), temporary, "{case}");
        assert_eq!(server.connections(), 0, "{case}");
    };
    fs::create_dir(path).unwrap();
    fails("a folder", |error| matches!(error, JournalError::Io { .. }), true);
    fs::remove_dir(path).unwrap();
    fs::write(path, "restante journal 2\n").unwrap();
    fails("another version", |error| matches!(error, JournalError::Version(_)), false);
    fs::write(path, "restante journal 1\nx\nx\n").unwrap();
    fails("damaged", |error| matches!(error, JournalError::Damaged { line: 2, .. }), false);
    fs::remove_file(path).unwrap();
    let open = Journal::open(path).unwrap();
    fails("locked", |error| matches!(error, JournalError::Busy), true);
    drop(open);
    desk.run().summary();
    desk.assert_exactly(&mail(), "in the end");
}

/// The journal cannot grow beyond so many blocks of 512 octets: it fails in the middle of a record.
#[test]
fn a_journal_that_becomes_full() {
    let mut failed = 0;
    for blocks in 1..=6 {
        let case = format!("{blocks} blocks");
        let server = good(mail());
        let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
        fs::write(desk.world.folder.path().join("server"), server.address().to_string()).unwrap();
        support::with_small_files("a_full_journals_part", desk.world.folder.path(), blocks);
        failed += usize::from(desk.world.folder.path().join("failed").exists());
        desk.assert_nothing_lost(&server, &case);
        desk.run().summary();
        desk.run().summary();
        assert_eq!(desk.there(), desk.wanted(&mail()), "{case}");
        desk.assert_journal(3, &case);
        assert_eq!(server.left(), Vec::<String>::new(), "{case}");
    }
    assert!((1..6).contains(&failed), "{failed} of them failed");
}

#[test]
fn a_full_journals_part() {
    let Some(root) = the_childs_root() else { return };
    let server = fs::read_to_string(root.join("server")).unwrap().parse().unwrap();
    let destination = open_at(&root, Files::Maildir).unwrap();
    let ran = engine::run(&engine::account(server, destination.into(), &root, Keep::No));
    match ran.ended {
        Ok(_) => {}
        Err(RunError::Journal(JournalError::Io { .. })) => fs::write(root.join("failed"), "").unwrap(),
        Err(error) => panic!("{error}"),
    }
}
