//! The law of back ends: what every store must do, as a suite that each back end's tests call once.
//!
//! A violation is a panic that says which law was broken: this module is a test that lives in the library so that back
//! ends anywhere can run it. What only one back end can show, such as a crash between two steps, its own tests show.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a suite of tests: a panic is the report

use std::collections::BTreeSet;

use restante_proto::{
    Marks, UserName,
    body::{Part, Stuffer, Unstuffed, Unstuffer},
};

use crate::{DeliverError, Maildrop, Message, OpenError, Store, StoreError};

/// A store under test, and what only its back end can do to it.
pub trait Fixture: Sync {
    /// The store. Its maildrops are empty at first, and it takes deliveries of up to a megabyte.
    fn store(&self) -> &dyn Store;

    /// Removes the message with this unique-id behind the store's back, as another program would.
    fn vanish(&self, user: &UserName, unique_id: &str);
}

/// Bodies that have broken mail servers, as a sender may hand them over.
pub const ODD_BODIES: &[&[u8]] = &[
    b"",
    b"\n",
    b"\r\n",
    b"\r",
    b".",
    b".\n",
    b"..\r\n.\r\n",
    b"\r\n.\r\n",
    b"a\r.b",
    b"a\r\r\n",
    b"a\r\r\r\nb\r",
    b"Subject: headers only",
    b"Subject: no final line end\r\n\r\nbody",
    b"Subject: bare LF\n\nbody\n.\n",
    b"Subject: mixed\r\n\nbody\r\nmore\n",
    b"Subject: NUL\n\na\0b\n\0",
    b"Subject: 8 bit\n\n\xff\xfe\xe4\xf6\xfc\xc3\n",
    b"From the beginning\n\nof an mbox\n",
    b"\x1b[31mSubject: escape\n",
    b"\xef\xbb\xbfSubject: a mark of byte order\n",
];

/// How many messages «many» are.
const MANY: u32 = 1000;

/// Checks all of it.
pub async fn check(fixture: &dyn Fixture) {
    a_maildrop_that_does_not_exist_is_empty(fixture).await;
    one_session_at_a_time(fixture).await;
    a_delivery_is_seen_by_the_next_session(fixture).await;
    a_delivery_that_is_not_committed_leaves_nothing(fixture).await;
    odd_bodies_go_out_in_canonical_form(fixture).await;
    unique_ids_are_unique_and_stay(fixture).await;
    a_message_that_is_gone_is_gone(fixture).await;
    commit_removes_what_is_marked_and_nothing_else(fixture).await;
    a_session_without_commit_removes_nothing(fixture).await;
    users_do_not_see_each_other(fixture).await;
    many_messages(fixture).await;
}

/// RFC 1939 §3: a maildrop without messages is a maildrop.
pub async fn a_maildrop_that_does_not_exist_is_empty(fixture: &dyn Fixture) {
    let user = user("nobody");
    let mut drop = open(fixture, &user).await;
    assert_eq!(drop.messages(), 0);
    assert!(drop.sizes().await.unwrap().is_empty());
    assert!(drop.unique_ids(0..0).await.unwrap().is_empty());
    assert!(matches!(drop.message(0).await, Err(StoreError::Gone)), "there is no message");
    drop.commit(Marks::default()).await.unwrap();
}

/// RFC 1939 §4: the maildrop is locked from login on, until the session ends in whatever way.
pub async fn one_session_at_a_time(fixture: &dyn Fixture) {
    let (user, other) = (user("locked"), user("not-locked"));
    deliver(fixture, &user, b"Subject: a\n");
    let first = open(fixture, &user).await;
    for _ in 0..2 {
        assert!(
            matches!(fixture.store().open(&user).await, Err(OpenError::Busy)),
            "a second session came in"
        );
    }
    drop(open(fixture, &other).await);
    first.commit(Marks::default()).await.unwrap();
    let second = open(fixture, &user).await; // at once: the lock is free before the commit's answer
    drop(second);
    drop(open(fixture, &user).await);
}

/// A session's view does not change (RFC 1939 §4); the next one's is new.
pub async fn a_delivery_is_seen_by_the_next_session(fixture: &dyn Fixture) {
    let user = user("delivery");
    deliver(fixture, &user, b"Subject: one\n\n1\n");
    let mut current = open(fixture, &user).await;
    assert_eq!(current.messages(), 1);
    deliver(fixture, &user, b"Subject: two\n\n2\n");
    assert_eq!(current.messages(), 1, "the view of an open session changed");
    assert_eq!(current.sizes().await.unwrap().len(), 1);
    assert!(matches!(current.message(1).await, Err(StoreError::Gone)));
    current.commit(Marks::default()).await.unwrap();
    let mut next = open(fixture, &user).await;
    assert_eq!(next.messages(), 2);
    assert_eq!(read(&mut *next, 0).await, b"Subject: one\r\n\r\n1\r\n", "old mail keeps its number");
    assert_eq!(read(&mut *next, 1).await, b"Subject: two\r\n\r\n2\r\n");
}

/// A delivery that ends without a commit was never there.
pub async fn a_delivery_that_is_not_committed_leaves_nothing(fixture: &dyn Fixture) {
    let user = user("given-up");
    let mut delivery = fixture.store().deliver(&user).unwrap();
    delivery.write(b"Subject: never mind\n").unwrap();
    drop(delivery);
    let drop = open(fixture, &user).await;
    assert_eq!(drop.messages(), 0);
}

/// Whatever a message is made of, its canonical form goes out, and its length is what LIST says.
pub async fn odd_bodies_go_out_in_canonical_form(fixture: &dyn Fixture) {
    let user = user("odd-bodies");
    ODD_BODIES.iter().for_each(|body| deliver(fixture, &user, body));
    for session in 0..2 {
        let mut drop = open(fixture, &user).await;
        assert_eq!(drop.messages() as usize, ODD_BODIES.len());
        let known = drop.known_sizes();
        let sizes = drop.sizes().await.unwrap();
        assert!(known.is_none_or(|known| known == sizes), "what was known was not true");
        assert_eq!(drop.known_sizes().as_ref(), Some(&sizes), "sizes are known once they were counted");
        for (index, body) in (0..).zip(ODD_BODIES) {
            let message = read(&mut *drop, index).await;
            assert_eq!(
                message,
                canonical(body),
                "body {index} in session {session}: {:?}",
                body.escape_ascii()
            );
            assert_eq!(
                sizes[index as usize],
                message.len() as u64,
                "length of body {index} in session {session}"
            );
        }
        drop.commit(Marks::default()).await.unwrap();
    }
}

/// RFC 1939 §7, UIDL: no two messages have the same id, and a message has the same in every session.
pub async fn unique_ids_are_unique_and_stay(fixture: &dyn Fixture) {
    let user = user("ids");
    let mut before: Vec<String> = Vec::new();
    for _ in 0..3 {
        (0..5).for_each(|_| deliver(fixture, &user, b"Subject: the same every time\n"));
        let mut drop = open(fixture, &user).await;
        let ids = unique_ids(&mut *drop).await;
        assert_eq!(ids.len(), before.len() + 5);
        assert_eq!(ids[..before.len()], before, "an id changed between sessions");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "two messages have the same id");
        let page = drop.unique_ids(2..4).await.unwrap();
        assert_eq!(page.iter().next(), Some(&*ids[2]), "a page begins where it was asked to");
        before = ids;
        drop.commit(Marks::default()).await.unwrap();
    }
}

/// A message that somebody else removed answers «gone», and the numbers of the others stay.
pub async fn a_message_that_is_gone_is_gone(fixture: &dyn Fixture) {
    let user = user("gone");
    (0..3).for_each(|n| deliver(fixture, &user, format!("Subject: {n}\n").as_bytes()));
    let mut drop = open(fixture, &user).await;
    let ids = unique_ids(&mut *drop).await;
    fixture.vanish(&user, &ids[1]);
    assert_eq!(drop.messages(), 3, "the view of an open session changed");
    assert!(matches!(drop.message(1).await, Err(StoreError::Gone)));
    assert_eq!(drop.sizes().await.unwrap().len(), 3);
    assert_eq!(read(&mut *drop, 0).await, b"Subject: 0\r\n");
    assert_eq!(read(&mut *drop, 2).await, b"Subject: 2\r\n");
    // Deleting what is gone is no failure: it is what was asked for.
    let mut marks = Marks::default();
    assert!(marks.mark(1, 3) && marks.mark(2, 3));
    drop.commit(marks).await.unwrap();
    let mut next = open(fixture, &user).await;
    assert_eq!(unique_ids(&mut *next).await, ids[..1]);
}

/// RFC 1939 §6: UPDATE removes the messages marked as deleted, and no other.
pub async fn commit_removes_what_is_marked_and_nothing_else(fixture: &dyn Fixture) {
    let user = user("commit");
    (0..6).for_each(|n| deliver(fixture, &user, format!("Subject: {n}\n").as_bytes()));
    let mut drop = open(fixture, &user).await;
    let ids = unique_ids(&mut *drop).await;
    deliver(fixture, &user, b"Subject: meanwhile\n");
    let mut marks = Marks::default();
    assert!(marks.mark(0, 6) && marks.mark(3, 6) && marks.mark(5, 6));
    drop.commit(marks).await.unwrap();
    let mut next = open(fixture, &user).await;
    let left = unique_ids(&mut *next).await;
    assert_eq!(left[..3], [&ids[1], &ids[2], &ids[4]].map(String::clone));
    assert_eq!(left.len(), 4, "what came meanwhile stays");
    assert!(!ids.contains(&left[3]), "an id was given twice");
    assert_eq!(read(&mut *next, 1).await, b"Subject: 2\r\n");
    assert_eq!(read(&mut *next, 3).await, b"Subject: meanwhile\r\n");
}

/// RFC 1939 §6: a session that ends without QUIT removes nothing.
pub async fn a_session_without_commit_removes_nothing(fixture: &dyn Fixture) {
    let user = user("dropped");
    deliver(fixture, &user, b"Subject: still here\n");
    let mut session = open(fixture, &user).await;
    let ids = unique_ids(&mut *session).await;
    drop(session);
    let mut next = open(fixture, &user).await;
    assert_eq!(unique_ids(&mut *next).await, ids);
}

/// One user's mail is no other's, whatever the names have in common.
pub async fn users_do_not_see_each_other(fixture: &dyn Fixture) {
    let (a, b) = (user("twin"), UserName::new("twin@example.org").unwrap());
    deliver(fixture, &a, b"Subject: for a\n");
    let other = open(fixture, &b).await;
    assert_eq!(other.messages(), 0);
    drop(other);
    deliver(fixture, &b, b"Subject: for b\n");
    let mut drop_a = open(fixture, &a).await;
    assert_eq!((drop_a.messages(), read(&mut *drop_a, 0).await), (1, b"Subject: for a\r\n".to_vec()));
}

/// A thousand messages: pages of ids, every size, every message, a commit of half of them.
pub async fn many_messages(fixture: &dyn Fixture) {
    let user = user("many");
    let body = |n: u32| format!("Subject: {n}\n\n{}\n", ".\n".repeat(n as usize % 50));
    (0..MANY).for_each(|n| deliver(fixture, &user, body(n).as_bytes()));
    let mut drop = open(fixture, &user).await;
    assert_eq!(drop.messages(), MANY);
    let ids = unique_ids(&mut *drop).await;
    let sizes = drop.sizes().await.unwrap();
    let mut subjects = BTreeSet::new();
    for index in 0..MANY {
        let message = read(&mut *drop, index).await;
        assert_eq!(message.len() as u64, sizes[index as usize]);
        subjects.insert(message.split(|&octet| octet == b'\r').next().unwrap().to_vec());
    }
    assert_eq!(subjects.len(), MANY as usize, "each message once");
    let mut marks = Marks::default();
    assert!((0..MANY).step_by(2).all(|index| marks.mark(index, MANY)));
    drop.commit(marks).await.unwrap();
    let mut next = open(fixture, &user).await;
    let odd: Vec<String> = ids.into_iter().skip(1).step_by(2).collect();
    assert_eq!(unique_ids(&mut *next).await, odd);
}

/// What a store with a limit does with a message that crosses it: tells so, and keeps nothing.
pub async fn a_message_over_the_limit_is_refused(store: &dyn Store, limit_octets: u64) {
    let user = user("over-the-limit");
    let longest = vec![b'x'; usize::try_from(limit_octets).unwrap()];
    let mut delivery = store.deliver(&user).unwrap();
    delivery.write(&longest).unwrap();
    assert!(
        matches!(delivery.write(b"y"), Err(DeliverError::TooLong { limit_octets: told }) if told == limit_octets)
    );
    drop(delivery);
    assert_eq!(store.open(&user).await.unwrap().messages(), 0);
    let mut delivery = store.deliver(&user).unwrap();
    delivery.write(&longest).unwrap();
    delivery.commit().unwrap();
    assert_eq!(store.open(&user).await.unwrap().messages(), 1);
}

/// The canonical form of a message: the ten-line rule, octet by octet.
pub fn canonical(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, &octet) in message.iter().enumerate() {
        if octet == b'\n' && (at == 0 || message[at - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(octet);
    }
    if !message.is_empty() && message.last() != Some(&b'\n') {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Delivers a message in two pieces.
pub fn deliver(fixture: &dyn Fixture, user: &UserName, message: &[u8]) {
    let mut delivery = fixture.store().deliver(user).unwrap();
    let (front, back) = message.split_at(message.len() / 2);
    delivery.write(front).unwrap();
    delivery.write(back).unwrap();
    delivery.commit().unwrap();
}

/// Every unique-id of a maildrop, page by page.
pub async fn unique_ids(drop: &mut dyn Maildrop) -> Vec<String> {
    let mut ids = Vec::new();
    while (ids.len() as u32) < drop.messages() {
        let page = drop.unique_ids(ids.len() as u32..drop.messages()).await.unwrap();
        assert!(!page.is_empty(), "a page holds at least one id");
        ids.extend(page.iter().map(str::to_owned));
    }
    assert_eq!(ids.len() as u32, drop.messages(), "one id a message");
    ids
}

/// A message as a client gets it: stuffed, sent, and unstuffed again.
pub async fn read(drop: &mut dyn Maildrop, index: u32) -> Vec<u8> {
    let message = drop.message(index).await.unwrap();
    let received = receive(&message);
    assert_eq!(
        received.len() as u64,
        message.octets,
        "RETR of message {index} told another length than it sent"
    );
    received
}

fn receive(message: &Message) -> Vec<u8> {
    let mut stored = vec![0; usize::try_from(message.stored).unwrap()];
    let mut filled = 0;
    while filled < stored.len() {
        let octets = message.source.read_at(filled as u64, &mut stored[filled..]).unwrap();
        assert_ne!(octets, 0, "less is stored than was told");
        filled += octets;
    }
    assert_eq!(message.source.read_at(message.stored, &mut [0]).unwrap(), 0, "more is stored than was told");
    let (mut wire, mut stuffer) = (Vec::new(), Stuffer::new(message.form, Part::Whole));
    let _more = stuffer.push(&stored, &mut wire);
    stuffer.finish(&mut wire);
    wire.extend_from_slice(b".\r\n");
    let (mut received, mut unstuffer) = (Vec::new(), Unstuffer::default());
    assert_eq!(unstuffer.push(&wire, &mut received), Unstuffed::Done(wire.len()), "the block ended early");
    received
}

async fn open(fixture: &dyn Fixture, user: &UserName) -> Box<dyn Maildrop> {
    fixture.store().open(user).await.unwrap()
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}
