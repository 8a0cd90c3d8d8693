//! How soon a server is asked again: wrong passwords, times between logins, sessions that break, messages set aside.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use std::time::Duration;

use engine::{Desk, Ran};
use restante_client::Credentials;
use restante_fetch::{
    Event, Keep, Mode, Patience, RunError, Stop,
    journal::{Journal, Record, now},
};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, Script, Sessions};
use support::Files;

fn patient(desk: &Desk, mode: Mode) -> Ran {
    let patience = Patience { pauses: vec![Duration::ZERO; 3], ..Patience::default() };
    engine::run_with(&desk.account, mode, &patience, &Stop::default(), |_| {})
}

#[test]
fn a_wrong_password_is_not_tried_again_and_again() {
    for misbehaviour in [Misbehaviour::LoginRefused, Misbehaviour::LoginRefusedAuth] {
        let server = EvilServer::start(misbehaviour, Mail::few());
        let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
        let coded = misbehaviour == Misbehaviour::LoginRefusedAuth;
        // Without [AUTH] from a server that tells causes apart, the password is not to blame.
        for times in 1..=4 {
            let ran = patient(&desk, Mode::Fetch);
            match (coded, times) {
                (true, 1 | 2) => {
                    assert!(matches!(ran.ended, Err(RunError::Credentials(_))), "{}", ran.told());
                }
                (true, _) => {
                    let Err(error @ RunError::Held { times: 2, seconds, .. }) = &ran.ended else {
                        panic!("{}", ran.told());
                    };
                    assert!((1..=600).contains(seconds) && !error.is_temporary());
                }
                (false, _) => assert!(matches!(ran.ended, Err(RunError::Client(_))), "{}", ran.told()),
            }
        }
        assert_eq!(server.connections(), if coded { 2 } else { 4 });
        // Somebody says that it is right now.
        patient(&desk, Mode::FetchNow);
        assert_eq!(server.connections(), if coded { 3 } else { 5 });
    }
}

#[test]
fn what_was_not_refused_is_not_held() {
    let server = EvilServer::start(Misbehaviour::LoginRefusedAuth, Mail::few());
    let mut desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let held = |desk: &Desk| match patient(desk, Mode::Fetch).ended {
        Err(RunError::Credentials(_)) => false,
        Err(RunError::Held { what: "password", .. }) => true,
        ended => panic!("{ended:?}"),
    };
    assert_eq!([held(&desk), held(&desk), held(&desk)], [false, false, true]);
    // Somebody has corrected the password, and then the way to log in; each has its own two times.
    let user = desk.account.credentials.user.clone();
    desk.account.credentials = Credentials::new(user, b"another one".to_vec());
    assert_eq!([held(&desk), held(&desk), held(&desk)], [false, false, true]);
    desk.account.way = Some("USER".into());
    assert_eq!([held(&desk), held(&desk), held(&desk)], [false, false, true]);
    let journal = std::fs::read_to_string(&desk.account.journal).unwrap();
    assert!(!journal.contains("another one") && journal.contains("refused "), "{journal}");
}

#[test]
fn the_time_between_logins_is_kept() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::few());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let login = |at| {
        let mut journal = Journal::open(&desk.account.journal).unwrap();
        journal.append(&[Record::Login { at }, Record::Delay { seconds: 900 }]).unwrap();
    };
    login(now());
    let ran = patient(&desk, Mode::FetchNow);
    assert!(matches!(ran.ended, Err(RunError::TooEarly { delay: 900, .. })), "{}", ran.told());
    assert_eq!(server.connections(), 0);
    // A clock that was wrong does not stop it.
    login(now() * 2);
    assert_eq!(patient(&desk, Mode::Fetch).summary().delivered, 5);
    login(now() - 901);
    assert_eq!(patient(&desk, Mode::Fetch).summary().delivered, 0);
    assert_eq!(desk.state().delay, None, "the server does not want it any more");
}

#[test]
fn sessions_that_break_are_made_anew_a_few_times() {
    let script = Script::from(Misbehaviour::ConnectionCut).in_sessions(Sessions::Every).after_octets(30);
    let server = EvilServer::start(script, Mail::few());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let ran = patient(&desk, Mode::Fetch);
    assert!(matches!(ran.ended, Err(RunError::Client(_))), "{}", ran.told());
    assert_eq!(server.connections(), 4);
    assert_eq!(ran.events.iter().filter(|event| matches!(event, Event::Again { .. })).count(), 3);
}

#[test]
fn what_failed_twice_waits_and_does_not_hold_the_others() {
    let server = EvilServer::start(Misbehaviour::RetrRefused, Mail::few());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    let refused = |server: &EvilServer| server.commands().iter().filter(|said| *said == "RETR 2").count();
    for (run, asked) in [(1, 1), (2, 2), (3, 2)] {
        let ran = patient(&desk, Mode::Fetch);
        assert_eq!(ran.summary().stuck, 1, "run {run}: {}", ran.told());
        assert_eq!(refused(&server), asked, "run {run}");
    }
    assert_eq!(desk.there().len(), 4);
}

/// One run waits in vain for what the server has lost, and the next ones do not.
#[test]
fn a_server_that_loses_what_is_sent_ahead_is_asked_one_by_one() {
    let server = EvilServer::start(Misbehaviour::CapaLiesPipelining, Mail::few());
    let desk = Desk::new(server.address(), Files::Maildir, Keep::Always);
    assert_eq!(patient(&desk, Mode::Fetch).summary().delivered, 5);
    assert_eq!(server.connections(), 2);
    let ran = patient(&desk, Mode::Fetch);
    assert_eq!((ran.summary().kept, ran.told()), (5, String::new()));
    assert_eq!(server.connections(), 3);
    // A day later it is tried again.
    Journal::open(&desk.account.journal).unwrap().append(&[Record::OneByOne { at: now() - 86_400 }]).unwrap();
    assert_eq!(patient(&desk, Mode::Fetch).summary().kept, 5);
    assert_eq!(server.connections(), 5);
}
