//! A run that is told to stop, at any moment: it ends at once, and nothing is lost or there twice.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use engine::Desk;
use restante_fetch::{Event, Keep, RunError, Stop};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};
use support::Files;

#[test]
fn stopped_at_each_event() {
    let mail = Mail::few();
    for at in 1..200 {
        let case = format!("stopped at event {at}");
        let server = EvilServer::start(Misbehaviour::Nothing, mail.clone());
        let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
        let stop = Stop::default();
        let (told, events) = (stop.clone(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&events);
        let watch = move |_: &Event| {
            if counted.fetch_add(1, Ordering::SeqCst) + 1 == at {
                told.now();
            }
        };
        let ran = engine::run_until(&desk.account, &stop, watch);
        desk.assert_nothing_lost(&server, &case);
        let stopped = events.load(Ordering::SeqCst) >= at;
        match &ran.ended {
            Err(RunError::Stopped) => assert!(stopped, "{case}"),
            // What was begun at the end is brought to its end.
            Ok(_) => {}
            Err(error) => panic!("{case}: {error}"),
        }
        let state = desk.state();
        let delivered = desk.there().len();
        assert_eq!(state.len(), delivered, "{case}: the journal knows what is there, and nothing else");
        assert_eq!(desk.leftovers(), Vec::<String>::new(), "{case}");
        desk.run().summary();
        desk.assert_exactly(&mail, &case);
        desk.assert_journal(5, &case);
        assert_eq!(server.left(), Vec::<String>::new(), "{case}");
        if !stopped {
            assert!(at > 8, "{case}");
            return;
        }
    }
    panic!("there are more events than 200");
}

/// What was fetched and has no intent yet is given up: a command may take minutes for each.
#[test]
fn what_waits_to_be_delivered_is_given_up() {
    let server = EvilServer::start(Misbehaviour::Nothing, Mail::many(20));
    let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
    let folder = desk.world.folder.path();
    // It ends when it sees that all is to stop.
    let (begun, end) = (folder.join("begun"), folder.join("end"));
    let command = format!(
        "command:cat > /dev/null; echo x >> {}; until test -e {}; do sleep 0.01; done",
        begun.display(),
        end.display()
    );
    let account =
        restante_fetch::Account { destination: engine::destination(&command), ..desk.account.clone() };
    let stop = Stop::default();
    let ran = std::thread::scope(|scope| {
        let running = scope.spawn(|| engine::run_until(&account, &stop, |_| {}));
        while !begun.exists() || server.retrieved().len() < 3 {
            std::thread::yield_now();
        }
        stop.now();
        std::fs::write(&end, "").unwrap();
        running.join().unwrap()
    });
    assert!(matches!(ran.ended, Err(RunError::Stopped)), "{}", ran.told());
    assert_eq!(std::fs::read_to_string(&begun).unwrap().lines().count(), 1);
    assert_eq!(desk.state().len(), 1, "what was begun is known");
    assert_eq!(server.left().len(), 20);
}

/// A server that says nothing more does not hold a run that is told to stop, nor does one that never answers QUIT.
#[test]
fn a_silent_server_does_not_hold_it() {
    for misbehaviour in [
        Misbehaviour::GreetingAbsent,
        Misbehaviour::LoginUnanswered,
        Misbehaviour::StatUnanswered,
        Misbehaviour::RetrUnanswered,
        Misbehaviour::BodyStops,
        Misbehaviour::QuitUnansweredDeleted,
    ] {
        let case = misbehaviour.name();
        let server = EvilServer::start(misbehaviour, Mail::few());
        let mut desk = Desk::new(server.address(), Files::Maildir, Keep::No);
        // Without the stop the test would take for ever.
        desk.account.options.timeouts.answer = std::time::Duration::from_secs(86_400);
        let stop = Stop::default();
        let ran = std::thread::scope(|scope| {
            let running = scope.spawn(|| engine::run_until(&desk.account, &stop, |_| {}));
            let heard = || server.sessions().first().is_some_and(|session| is_stuck(misbehaviour, session));
            while !heard() && !running.is_finished() {
                std::thread::yield_now();
            }
            stop.now();
            running.join().unwrap()
        });
        assert!(matches!(ran.ended, Err(RunError::Stopped)), "{case}: {}", ran.told());
        desk.assert_nothing_lost(&server, case);
    }
}

/// Whether the session has come to where the server falls silent.
fn is_stuck(misbehaviour: Misbehaviour, session: &restante_testkit::evil::Record) -> bool {
    let said = |word: &str| session.commands.iter().any(|command| command.starts_with(word));
    match misbehaviour {
        Misbehaviour::GreetingAbsent => true,
        Misbehaviour::LoginUnanswered => said("AUTH"),
        Misbehaviour::StatUnanswered => said("STAT"),
        Misbehaviour::QuitUnansweredDeleted => said("QUIT"),
        _ => said("RETR 2"),
    }
}
