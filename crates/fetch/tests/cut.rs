//! The session is cut at every octet, and each message is there exactly once in the end.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use std::thread;

use engine::Desk;
use restante_fetch::Keep;
use restante_testkit::{
    evil::{EvilServer, Mail, Misbehaviour, Script, Sessions},
    proxy::{Connections, Direction, Plan, Proxy},
};
use support::Files;

/// Few and short, so that each octet can be cut at.
fn mail() -> Mail {
    Mail::none()
        .and("a", b"Received: by a\r\nSubject: a\r\n\r\n.dot\r\n")
        .and("b", b"Subject: b\r\n\r\nsame\r\n")
        .and("c", b"Subject: b\r\n\r\nsame\r\n")
        .and("d", b"Received: by d\r\n\r\n")
}

/// How many octets a whole session has in this direction.
fn octets(direction: Direction, keep: Keep, pipelining: bool) -> u64 {
    let server = EvilServer::start(Misbehaviour::Nothing, mail());
    let proxy = Proxy::start(server.address(), Plan::default());
    let mut desk = Desk::new(proxy.address(), Files::Maildir, keep);
    desk.account.options.pipelining = pipelining;
    assert_eq!(desk.run().summary().delivered, 4);
    proxy.passed_on(direction)
}

/// Each case in one of a few threads.
fn each(cases: impl Iterator<Item = u64> + Send, check: impl Fn(u64) + Sync) {
    let cases = std::sync::Mutex::new(cases);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let case = cases.lock().unwrap().next();
                    let Some(case) = case else { break };
                    check(case);
                }
            });
        }
    });
}

fn assert_done(desk: &Desk, server: &EvilServer, keep: Keep, case: &str) {
    desk.assert_exactly(&mail(), case);
    desk.assert_journal(4, case);
    desk.assert_nothing_lost(server, case);
    let left = if keep == Keep::No { 0 } else { 4 };
    assert_eq!(server.left().len(), left, "{case}: what the server has");
}

fn first_session_cut_at_every_octet(keep: Keep, pipelining: bool, step: usize) {
    let octets = octets(Direction::ToClient, keep, pipelining);
    assert!(octets > 300, "{octets}");
    each((0..=octets).step_by(step), |cut| {
        let case = format!("{keep}, pipelining {pipelining}, cut after {cut} octets");
        let script = Script::from(Misbehaviour::ConnectionCut).after_octets(cut);
        let server = EvilServer::start(script, mail());
        let mut desk = Desk::new(server.address(), Files::Maildir, keep);
        desk.account.options.pipelining = pipelining;
        desk.run().summary();
        // What is delivered is delivered after the first run already; whether it is deleted may not be known.
        desk.assert_exactly(&mail(), &case);
        let second = desk.run();
        assert_eq!(second.summary().delivered, 0, "{case}");
        assert_done(&desk, &server, keep, &case);
    });
}

#[test]
fn cut_at_every_octet_of_the_first_session() {
    first_session_cut_at_every_octet(Keep::No, true, 1);
}

#[test]
fn cut_at_every_octet_without_pipelining() {
    first_session_cut_at_every_octet(Keep::No, false, 1);
}

#[test]
fn cut_at_every_octet_while_mail_is_kept() {
    first_session_cut_at_every_octet(Keep::Always, true, 1);
}

#[test]
fn cut_in_every_session_for_a_while() {
    let octets = octets(Direction::ToClient, Keep::No, true);
    each((0..=octets).step_by(3), |cut| {
        let case = format!("every session cut after {cut} octets");
        let script = Script::from(Misbehaviour::ConnectionCut).after_octets(cut).in_sessions(Sessions::Every);
        let server = EvilServer::start(script, mail());
        let good = Proxy::start(server.address(), Plan::default());
        let mut desk = Desk::new(good.address(), Files::Maildir, Keep::No);
        for _ in 0..2 {
            // It may fail or not.
            let ran = desk.run();
            desk.assert_nothing_lost(&server, &case);
            assert!(desk.there().values().all(|&times| times <= 2), "{case}: {}", ran.told());
        }
        // The mail that is left moves to a server that cuts nothing.
        let left: Vec<_> = server.left();
        let mut rest = Mail::none();
        for message in mail().messages().iter().filter(|message| left.contains(&message.id)) {
            rest = rest.and(&message.id, &message.octets);
        }
        let server = EvilServer::start(Misbehaviour::Nothing, rest);
        desk.at_server(server.address());
        desk.run().summary();
        desk.run().summary();
        desk.assert_exactly(&mail(), &case);
        desk.assert_journal(4, &case);
        assert_eq!(server.left(), Vec::<String>::new(), "{case}");
    });
}

#[test]
fn cut_at_every_octet_that_the_client_says() {
    for (keep, pipelining) in [(Keep::No, true), (Keep::No, false), (Keep::Always, true)] {
        let octets = octets(Direction::ToServer, keep, pipelining);
        each(0..=octets, |cut| {
            let case = format!("{keep}, pipelining {pipelining}, cut after {cut} octets of the client");
            let server = EvilServer::start(Misbehaviour::Nothing, mail());
            let plan = Plan {
                cut_after_octets: Some((Direction::ToServer, cut)),
                faults_on: Connections::First,
                ..Plan::default()
            };
            let proxy = Proxy::start(server.address(), plan);
            let mut desk = Desk::new(proxy.address(), Files::Maildir, keep);
            desk.account.options.pipelining = pipelining;
            desk.run().summary();
            assert_eq!(desk.run().summary().delivered, 0, "{case}");
            assert_done(&desk, &server, keep, &case);
        });
    }
}

#[test]
fn the_answer_to_quit_is_lost_or_a_lie() {
    use Misbehaviour::{
        QuitClosedDeleted, QuitClosedKept, QuitLies, QuitRefusedDeleted, QuitRefusedHalf, QuitRefusedKept,
        QuitUnansweredDeleted, QuitUnansweredKept,
    };
    for (misbehaviour, told) in [
        (QuitClosedDeleted, true),
        (QuitClosedKept, true),
        (QuitUnansweredDeleted, true),
        (QuitUnansweredKept, true),
        (QuitRefusedDeleted, true),
        (QuitRefusedHalf, true),
        (QuitRefusedKept, true),
        (QuitLies, false),
    ] {
        let case = misbehaviour.name();
        let server = EvilServer::start(misbehaviour, mail());
        let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
        let first = desk.run();
        assert_eq!(first.summary().delivered, 4, "{case}");
        assert_eq!(first.summary().not_deleted.is_some(), told, "{case}: {}", first.told());
        assert_eq!(desk.run().summary().delivered, 0, "{case}");
        assert_done(&desk, &server, Keep::No, case);
    }
}
