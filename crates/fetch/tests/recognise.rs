//! Messages that the unique-ids do not tell apart: none, new ones for all, used again.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use engine::Desk;
use restante_fetch::{Event, Keep};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};
use support::Files;

/// As real mail is: each says through which servers it came.
fn message(name: &str, body: &str) -> Vec<u8> {
    format!("Received: from there by here id {name}; today\r\nSubject: {name}\r\n\r\n{body}\r\n").into_bytes()
}

fn mail(ids: [&str; 4]) -> Mail {
    let [a, b, c, d] = ids;
    Mail::none()
        .and(a, &message("one", "short"))
        .and(b, &message("two", "longer than that"))
        // Twice the same, and nothing that says where it came from.
        .and(c, b"Subject: same\r\n\r\n")
        .and(d, b"Subject: same\r\n\r\n")
}

#[test]
fn without_unique_ids_nothing_is_delivered_twice() {
    let server = EvilServer::start(Misbehaviour::UidlRefused, mail(["a", "b", "c", "d"]));
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(desk.run().summary().delivered, 4);
    for _ in 0..2 {
        let before = server.retrieved().len();
        let ran = desk.run();
        assert_eq!(ran.summary().delivered, 0, "{}", ran.told());
        assert_eq!(server.retrieved().len() - before, 2, "only those without Received are read");
    }
    desk.assert_exactly(server.mail(), "kept");
    desk.assert_journal(4, "kept");
    // A new one is found among the old ones, and the same once more is a third.
    server.deliver("e", &message("three", "new"));
    server.deliver("f", b"Subject: same\r\n\r\n");
    assert_eq!(desk.run().summary().delivered, 2);
    assert_eq!(desk.run().summary().delivered, 0);
    desk.account.policy.keep = Keep::No;
    let ran = desk.run();
    assert_eq!((ran.summary().delivered, ran.summary().deleted), (0, 6), "{}", ran.told());
    assert_eq!(server.left(), Vec::<String>::new());
    assert_eq!(desk.there().values().sum::<usize>(), 6);
}

#[test]
fn without_unique_ids_what_is_deleted_is_forgotten() {
    let server = EvilServer::start(Misbehaviour::UidlRefused, mail(["a", "b", "c", "d"]));
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let ran = desk.run();
    assert_eq!((ran.summary().delivered, ran.summary().deleted), (4, 4));
    // The same message once more: the server said that it had removed the first, so it is another one.
    server.deliver("e", b"Subject: same\r\n\r\n");
    assert_eq!(desk.run().summary().delivered, 1);
    server.deliver("f", b"Subject: other\r\n\r\n");
    assert_eq!(desk.run().summary().delivered, 1);
    let gone = desk.state().iter().filter(|(_, known)| known.gone.is_some()).count();
    assert!(gone >= 4, "what is gone is noted, so that it is forgotten some day: {gone}");
}

/// All at once, as after a server has moved: with TOP their headers tell, without it they are read.
#[test]
fn new_unique_ids_for_all_are_noticed() {
    for (misbehaviour, reads) in [(Misbehaviour::Nothing, 2), (Misbehaviour::CapaLiesTop, 4)] {
        for keep in [Keep::Always, Keep::No] {
            let case = format!("{}, keep {keep}", misbehaviour.name());
            let old = EvilServer::start(Misbehaviour::Nothing, mail(["a", "b", "c", "d"]));
            let mut desk = Desk::new(old.address(), Files::Maildir, Keep::Always);
            assert_eq!(desk.run().summary().delivered, 4, "{case}");
            let new = EvilServer::start(misbehaviour, mail(["w", "x", "y", "z"]));
            new.deliver("new", &message("new", "new"));
            desk.at_server(new.address()).account.policy.keep = keep;
            let ran = desk.run();
            let summary = ran.summary();
            assert_eq!((summary.delivered, summary.recognised), (1, 4), "{case}: {}", ran.told());
            assert!(ran.told().contains("new unique-ids"), "{case}: {}", ran.told());
            assert_eq!(new.retrieved().len(), reads + 1, "{case}: how many were read");
            assert_eq!(new.left().len(), if keep == Keep::No { 0 } else { 5 }, "{case}");
            // The new ids are known now.
            let before = new.retrieved().len();
            assert_eq!(desk.run().summary().delivered, 0, "{case}");
            assert_eq!(new.retrieved().len(), before, "{case}");
            assert_eq!(desk.there().values().sum::<usize>(), 5, "{case}");
        }
    }
}

#[test]
fn new_unique_ids_for_some_are_noticed() {
    let old = EvilServer::start(Misbehaviour::Nothing, mail(["a", "b", "c", "d"]));
    let mut desk = Desk::new(old.address(), Files::Maildir, Keep::Always);
    desk.run().summary();
    let new = EvilServer::start(Misbehaviour::Nothing, mail(["a", "x", "c", "z"]));
    let ran = desk.at_server(new.address()).run();
    assert_eq!((ran.summary().delivered, ran.summary().recognised), (0, 2), "{}", ran.told());
    let told = ran.events.iter().filter(|event| matches!(event, Event::Recognised { .. })).count();
    assert_eq!(told, 2);
    assert_eq!(desk.run().summary().kept, 4);
    desk.assert_exactly(new.mail(), "renamed in part");
}

#[test]
fn two_with_the_same_header_and_length_are_two() {
    let (one, other) = (message("same", "body"), message("same", "BODY"));
    // Both at once.
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::none().and("a", &one).and("b", &other));
    let desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(desk.run().summary().delivered, 2);
    // One after the other, where the first is gone.
    let kept = message("kept", "so that not all are new");
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::none().and("k", &kept).and("a", &one));
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(desk.run().summary().delivered, 2);
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::none().and("k", &kept).and("b", &other));
    assert_eq!(desk.at_server(server.address()).run().summary().delivered, 1);
    // Without unique-ids, both there.
    let server = EvilServer::start(Misbehaviour::UidlRefused, Mail::none().and("a", &one).and("b", &other));
    let desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(desk.run().summary().delivered, 2);
    assert_eq!(desk.run().summary().delivered, 0);
    assert_eq!(desk.there().len(), 2);
}

/// RFC 1939 §7 forbids it only as long as the first message is there.
#[test]
fn a_unique_id_that_is_given_again_loses_nothing() {
    for keep in [Keep::No, Keep::Always] {
        let first = EvilServer::start(Misbehaviour::Nothing, Mail::none().and("1", &message("one", "body")));
        let mut desk = Desk::new(first.address(), Files::Maildir, Keep::No);
        assert_eq!(desk.run().summary().deleted, 1);
        let again = EvilServer::start(Misbehaviour::Nothing, Mail::none().and("1", &message("two", "BODY")));
        desk.at_server(again.address()).account.policy.keep = keep;
        let ran = desk.run();
        assert_eq!(ran.summary().delivered, 1, "keep {keep}: {}", ran.told());
        assert_eq!(desk.there().len(), 2, "keep {keep}");
        assert_eq!(again.left().len(), usize::from(keep != Keep::No));
        assert_eq!(desk.run().summary().delivered, 0);
    }
}

/// It was delivered and kept, and somebody else removed it: the unique-id alone is no proof that this is the same message.
#[test]
fn a_unique_id_that_is_given_again_behind_a_kept_message_loses_nothing() {
    let kept = message("kept", "so that something is left");
    let (one, same_length) = (message("one", "body"), message("two", "BODY"));
    let longer = message("two", "another length");
    // Seen to be gone in between, or not.
    for (is_missed, new) in [(true, &same_length), (true, &longer), (false, &longer)] {
        for keep in [Keep::No, Keep::Always] {
            let case = format!("missed: {is_missed}, keep {keep}");
            let mail = Mail::none().and("k", &kept);
            let first = EvilServer::start(Misbehaviour::Nothing, mail.clone().and("1", &one));
            let mut desk = Desk::new(first.address(), Files::Maildir, Keep::Always);
            assert_eq!(desk.run().summary().delivered, 2, "{case}");
            if is_missed {
                let without = EvilServer::start(Misbehaviour::Nothing, mail.clone());
                assert_eq!(desk.at_server(without.address()).run().summary().kept, 1, "{case}");
            }
            let again = EvilServer::start(Misbehaviour::Nothing, mail.clone().and("1", new));
            desk.at_server(again.address()).account.policy.keep = keep;
            let ran = desk.run();
            assert_eq!(ran.summary().delivered, 1, "{case}: {}", ran.told());
            assert_eq!(desk.there().len(), 3, "{case}");
            assert_eq!(again.left().len(), if keep == Keep::No { 0 } else { 2 }, "{case}");
            let before = again.retrieved().len();
            assert_eq!(desk.run().summary().delivered, 0, "{case}");
            assert_eq!(again.retrieved().len(), before, "{case}");
        }
    }
}

/// It was gone for a while, as at servers that show a part of a maildrop, and is the same: it is looked at once.
#[test]
fn what_comes_back_as_it_was_is_not_delivered_again() {
    let (kept, nameless) = (message("kept", "left"), b"Subject: from nowhere\r\n\r\n");
    let all = Mail::none().and("k", &kept).and("1", &message("one", "body")).and("2", nameless);
    let server = EvilServer::start(Misbehaviour::Nothing, all.clone());
    let part = EvilServer::start(Misbehaviour::Nothing, Mail::none().and("k", &kept));
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(desk.run().summary().delivered, 3);
    assert_eq!(desk.at_server(part.address()).run().summary().kept, 1);
    for read in [1, 0] {
        let before = server.retrieved().len();
        let ran = desk.at_server(server.address()).run();
        let summary = ran.summary();
        assert_eq!((summary.delivered, summary.recognised, summary.kept), (0, 0, 3), "{}", ran.told());
        assert_eq!(server.retrieved().len() - before, read, "only the one without Received is read");
    }
    desk.account.policy.keep = Keep::No;
    assert_eq!(desk.run().summary().deleted, 3);
    desk.assert_exactly(&all, "back");
}

/// What the server said that it removed and did not: its header tells, and it is not read again.
#[test]
fn what_was_not_removed_is_known_by_its_header() {
    let server = EvilServer::start(Misbehaviour::QuitLies, Mail::none().and("1", &message("one", "body")));
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    assert_eq!(desk.run().summary().deleted, 1);
    let ran = desk.run();
    assert_eq!((ran.summary().delivered, ran.summary().deleted), (0, 1), "{}", ran.told());
    assert!(ran.told().contains("said it had removed"), "{}", ran.told());
    assert_eq!(server.retrieved().len(), 1);
    assert_eq!(server.left(), Vec::<String>::new());
}
