//! The law of destinations: what every kind must do, as a suite that each kind's tests call once.
//!
//! A violation is a panic that says which law was broken: this module is a test that lives in the library so that kinds
//! anywhere can run it. What only one kind can show, such as a kill between two system calls, its own tests show.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a suite of tests: a panic is the report

use std::time::Duration;

use super::{Batch, Destination, Fate, Fault, Intent, Promise, Token};

/// A destination under test, and what only its kind can tell about it.
pub trait Fixture {
    /// Opens it, as a process does that starts anew.
    fn open(&self) -> Box<dyn Destination>;

    /// The messages that are there, in any order, as [`Self::form`] says.
    fn messages(&self) -> Vec<Vec<u8>>;

    /// The form in which a message is read back, given as it came from the server.
    fn form(&self, message: &[u8]) -> Vec<u8>;

    /// What is left of deliveries that did not come to their end, by name.
    fn leftovers(&self) -> Vec<String>;
}

/// Bodies that have broken mail programs, as they come from a server: each ends in a line end.
pub fn hostile() -> Vec<Vec<u8>> {
    let small: &[&[u8]] = &[
        b"",
        b"\r\n",
        b"\n",
        b"\r\r\n",
        b".\r\n",
        b"..\r\n.\r\n",
        b"\r\n.\r\n",
        b"Subject: headers only\r\n",
        b"Subject: 8 bit\r\n\r\n\xff\xfe\xe4\xf6\xfc\xc3\r\n",
        b"Subject: NUL\r\n\r\na\0b\0\r\n",
        b"Subject: bare CR\r\n\r\na\rb\r\rc\r\r\n",
        b"Subject: bare LF\r\n\r\na\nb\n\nc\r\n",
        b"Subject: CR at the end of a piece\r\n\r\nabc\r\r\r\n",
        b"From the beginning\r\n\r\nFrom the body\r\n>From\r\n>From once\r\n>>From twice\r\n\r\nFrom after a blank line\r\n",
        b"no header at all\r\n",
        b"Return-Path: <someone@example.org>\r\nSubject: blank lines at the end\r\n\r\na\r\n\r\n\r\n",
        b"\x1b[31mSubject: escape\r\n",
        b"\xef\xbb\xbfSubject: a mark of byte order\r\n",
    ];
    let mut all: Vec<Vec<u8>> = small.iter().map(|&body| body.to_vec()).collect();
    all.push([b"Subject: a long line\r\n\r\n", &*vec![b'x'; 1024 * 1024], b"\r\n"].concat());
    all.push(
        b"Subject: many lines\r\n\r\n"
            .iter()
            .chain(b".From here\r\n".repeat(20_000).iter())
            .copied()
            .collect(),
    );
    all
}

/// Checks all of it, each law in a destination of its own.
pub fn check<F: Fixture>(make: impl Fn() -> F) {
    the_octets_are_the_same(&make());
    what_is_abandoned_leaves_nothing(&make());
    a_batch_that_is_dropped_leaves_nothing(&make());
    order_is_kept_by_place(&make());
    a_crash_after_any_step_is_mended(&make);
    a_strange_token_is_unknown(&make());
}

/// A message, said to be number `n`.
pub fn message(n: usize) -> Vec<u8> {
    format!("Subject: {n}\r\n\r\n{}", format!("line {n}\r\n").repeat(50)).into_bytes()
}

fn stage(batch: &mut dyn Batch, message: &[u8]) {
    batch.begin().unwrap();
    // In pieces of odd lengths, so that line ends are cut too.
    let (front, back) = message.split_at(message.len() / 2);
    front.chunks(7001).for_each(|piece| batch.write(piece).unwrap());
    back.chunks(4093).for_each(|piece| batch.write(piece).unwrap());
    batch.finish().unwrap();
}

/// Delivers messages as the engine does, in batches that the destination likes.
pub fn deliver(destination: &dyn Destination, messages: &[Vec<u8>]) {
    for chunk in messages.chunks(destination.batch_max().messages) {
        let mut batch = destination.batch().unwrap();
        chunk.iter().for_each(|message| stage(&mut *batch, message));
        let tokens = batch.sync();
        assert_eq!(tokens.len(), chunk.len(), "one result for each message");
        for (place, token) in tokens.into_iter().enumerate() {
            token.unwrap();
            batch.publish(place).unwrap();
        }
        batch.settle().unwrap();
    }
}

fn sorted(mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    messages.sort();
    messages
}

fn formed(fixture: &dyn Fixture, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    sorted(messages.iter().map(|message| fixture.form(message)).collect())
}

fn assert_there(fixture: &dyn Fixture, messages: &[Vec<u8>], case: &str) {
    let (there, expected) = (sorted(fixture.messages()), formed(fixture, messages));
    assert_eq!(there.len(), expected.len(), "{case}: how many there are");
    for (there, expected) in there.iter().zip(&expected) {
        assert!(
            there == expected,
            "{case}: «{}» instead of «{}»",
            there[..there.len().min(300)].escape_ascii(),
            expected[..expected.len().min(300)].escape_ascii()
        );
    }
}

/// Whatever a message is made of, it is read back as it came.
pub fn the_octets_are_the_same(fixture: &dyn Fixture) {
    let bodies = hostile();
    deliver(&*fixture.open(), &bodies);
    assert_there(fixture, &bodies, "hostile bodies");
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

/// A message that is abandoned is not there, and the others are.
pub fn what_is_abandoned_leaves_nothing(fixture: &dyn Fixture) {
    let destination = fixture.open();
    let mut batch = destination.batch().unwrap();
    for cut in [0, 10, 100_000] {
        batch.begin().unwrap();
        batch.write(&vec![b'x'; cut]).unwrap();
        batch.abandon();
    }
    stage(&mut *batch, &message(1));
    batch.begin().unwrap();
    batch.write(b"Subject: half").unwrap();
    batch.abandon();
    assert_eq!(batch.sync().into_iter().filter(Result::is_ok).count(), 1);
    batch.publish(0).unwrap();
    batch.settle().unwrap();
    drop(batch);
    assert_there(fixture, &[message(1)], "abandoned");
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

/// A batch that is dropped before it was synced was never there.
pub fn a_batch_that_is_dropped_leaves_nothing(fixture: &dyn Fixture) {
    let destination = fixture.open();
    let mut batch = destination.batch().unwrap();
    stage(&mut *batch, &message(1));
    if destination.batch_max().messages > 1 {
        batch.begin().unwrap();
        batch.write(b"Subject: half").unwrap();
    }
    drop(batch);
    assert_there(fixture, &[], "dropped");
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
    deliver(&*destination, &[message(2)]);
    assert_there(fixture, &[message(2)], "after a batch that was dropped");
}

/// A place is the number of those finished before it.
pub fn order_is_kept_by_place(fixture: &dyn Fixture) {
    let destination = fixture.open();
    if destination.batch_max().messages < 2 {
        return;
    }
    let mut batch = destination.batch().unwrap();
    stage(&mut *batch, &message(0));
    batch.begin().unwrap();
    batch.abandon();
    stage(&mut *batch, &message(1));
    assert_eq!(batch.sync().into_iter().filter(Result::is_ok).count(), 2);
    batch.publish(0).unwrap();
    batch.settle().unwrap();
    drop(batch);
    assert_there(fixture, &[message(0)], "the first place");
    assert!(fixture.open().batch().is_ok(), "another batch can begin");
}

/// An intent of the journal for this message.
pub fn intent(token: Token, message: &[u8]) -> Intent {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(message).into();
    Intent { token, octets: message.len() as u64, digest, age: Duration::ZERO }
}

/// Where everything stops: after so many messages were published, and settled or not.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Staged,
    Synced,
    Published(usize),
    Settled,
}

/// Everything stops after a step, a new process resolves the intents and delivers again what is not there: each message
/// is there once; where the promise is less, at least once.
pub fn a_crash_after_any_step_is_mended<F: Fixture>(make: impl Fn() -> F) {
    let most = make().open().batch_max().messages.min(3);
    let published = (1..=most).map(Stop::Published);
    for stop in [Stop::Staged, Stop::Synced].into_iter().chain(published).chain([Stop::Settled]) {
        let fixture = make();
        let case = format!("stopped at {stop:?}");
        let messages: Vec<_> = (0..most).map(message).collect();
        deliver(&*fixture.open(), &[message(100)]);
        let intents = interrupted(&*fixture.open(), &messages, stop);
        mend(&fixture, &messages, &intents, &case);
    }
}

fn interrupted(destination: &dyn Destination, messages: &[Vec<u8>], stop: Stop) -> Vec<Intent> {
    let mut batch = destination.batch().unwrap();
    messages.iter().for_each(|message| stage(&mut *batch, message));
    if matches!(stop, Stop::Staged) {
        return Vec::new();
    }
    let tokens: Vec<Token> = batch.sync().into_iter().map(Result::unwrap).collect();
    let published = match stop {
        Stop::Staged | Stop::Synced => 0,
        Stop::Published(places) => places,
        Stop::Settled => messages.len(),
    };
    (0..published).for_each(|place| batch.publish(place).unwrap());
    if matches!(stop, Stop::Settled) {
        batch.settle().unwrap();
    }
    // Dropping is what a shutdown does; a kill, which does not even that, is for each kind's own tests.
    tokens.into_iter().zip(messages).map(|(token, message)| intent(token, message)).collect()
}

fn mend(fixture: &dyn Fixture, messages: &[Vec<u8>], intents: &[Intent], case: &str) {
    let before = fixture.messages();
    let destination = fixture.open();
    let resolve = |intent: &Intent| destination.resolve(intent).unwrap();
    let fates: Vec<Fate> = intents.iter().map(resolve).collect();
    let exactly = destination.promise() == Promise::ExactlyOnce;
    for (fate, message) in fates.iter().zip(messages) {
        let is_there = before.contains(&fixture.form(message));
        match fate {
            Fate::Delivered => assert!(is_there, "{case}: it is not there"),
            Fate::NotDelivered => assert!(!is_there, "{case}: it is there"),
            Fate::Unknown(why) => assert!(!exactly, "{case}: {why}"),
        }
    }
    // The engine may die before it has written that down: the next one asks again.
    if exactly {
        let again = fixture.open();
        intents.iter().zip(&fates).for_each(|(intent, fate)| {
            assert_eq!(again.resolve(intent).unwrap(), *fate, "{case}: asked again, it says something else");
        });
    }
    let fates = fates.into_iter().map(Some).chain(std::iter::repeat(None));
    let missing = messages.iter().zip(fates).filter(|(_, fate)| *fate != Some(Fate::Delivered));
    let missing: Vec<_> = missing.map(|(message, _)| message.clone()).collect();
    deliver(&*destination, &missing);
    deliver(&*destination, &[message(101)]);
    let all: Vec<_> = messages.iter().cloned().chain([message(100), message(101)]).collect();
    if exactly {
        assert_there(fixture, &all, case);
        assert_eq!(fixture.leftovers(), Vec::<String>::new(), "{case}");
    } else {
        let there = fixture.messages();
        assert!(formed(fixture, &all).iter().all(|message| there.contains(message)), "{case}: one is lost");
    }
}

/// A token that the destination did not make, such as one of an older version, harms nothing.
pub fn a_strange_token_is_unknown(fixture: &dyn Fixture) {
    deliver(&*fixture.open(), &[message(1)]);
    for text in ["x/y", "../../etc/passwd", ".", "a:b", "a,b", "1/2/3/4/5/6"] {
        let strange = intent(Token::new(text).unwrap(), b"");
        match fixture.open().resolve(&strange) {
            Ok(Fate::Unknown(_)) | Err(Fault::Message(_) | Fault::Deferred(_) | Fault::Destination(_)) => {}
            Ok(fate) => panic!("{text}: {fate:?}"),
        }
    }
    assert_there(fixture, &[message(1)], "after strange tokens");
}
