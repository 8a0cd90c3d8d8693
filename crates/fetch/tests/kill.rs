//! The engine is killed at each of its steps, in the middle of a run and of the one after it, and each message is there
//! exactly once in the end.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod engine;
mod support;

use std::{net::SocketAddr, os::unix::process::ExitStatusExt as _, process::Output};

use engine::Desk;
use restante_fetch::{Keep, journal::Stage};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour};
use support::{Files, child, open_at, the_childs_root};

/// Tells the child where the server is, what kind of destination it has, and whether mail is kept.
const TASK: &str = "RESTANTE_TEST_TASK";

/// More steps than there are.
const STEPS_MAX: u64 = 400;

/// Two of them are the same.
fn mail() -> Mail {
    let long = format!("Received: by a\r\n\r\n{}", "From here\r\n.\r\n".repeat(500));
    Mail::none()
        .and("a", long.as_bytes())
        .and("b", b"Subject: b\r\n\r\nsame\r\n")
        .and("c", b"Subject: b\r\n\r\nsame\r\n")
}

/// What the child does: one run.
#[test]
fn the_childs_run() {
    let Some(root) = the_childs_root() else { return };
    let task = std::env::var(TASK).unwrap();
    let [server, files, keep]: [&str; 3] = task.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let server: SocketAddr = server.parse().unwrap();
    let files = match files {
        "Maildir" => Files::Maildir,
        "Eml" => Files::Eml,
        _ => Files::Mbox,
    };
    let destination = open_at(&root, files).unwrap();
    let account = engine::account(server, destination.into(), &root, keep.parse().unwrap());
    engine::run(&account).ended.unwrap();
}

fn run_to_step(desk: &Desk, server: &EvilServer, keep: Keep, step: u64) -> Output {
    let mut process = child("the_childs_run", desk.world.folder.path());
    process.env(TASK, format!("{} {:?} {keep}", server.address(), desk.world.files));
    process.env("RESTANTE_CRASH_AT", step.to_string()).output().unwrap()
}

/// Whether it was killed; else it came to its end.
fn was_killed(output: &Output, case: &str) -> bool {
    let killed = output.status.signal() == Some(9);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(killed || output.status.success(), "{case}: {said}");
    killed
}

fn assert_done(desk: &Desk, server: &EvilServer, keep: Keep, case: &str) {
    desk.run().summary();
    desk.run().summary();
    // What was not whole stays, unseen, and is cleaned away when it is old.
    assert_eq!(desk.there(), desk.wanted(&mail()), "{case}");
    desk.assert_journal(3, case);
    let left = if keep == Keep::No { 0 } else { 3 };
    assert_eq!(server.left().len(), left, "{case}: what the server has");
}

fn killed_at_each_step(files: Files, keep: Keep, kills_wanted: u64) {
    let mut kills = 0;
    for step in 1..STEPS_MAX {
        let case = format!("{files:?}, keep {keep}, killed at step {step}");
        let server = EvilServer::start(Misbehaviour::Nothing, mail());
        let desk = Desk::new(server.address(), files, keep);
        let killed = was_killed(&run_to_step(&desk, &server, keep, step), &case);
        desk.assert_nothing_lost(&server, &case);
        kills += u64::from(killed);
        if killed && step % 3 == 0 {
            // The one that mends is killed too, some steps later.
            was_killed(&run_to_step(&desk, &server, keep, step / 3), &case);
            desk.assert_nothing_lost(&server, &case);
        }
        assert_done(&desk, &server, keep, &case);
        if !killed {
            assert!(kills >= kills_wanted, "{case}: only {kills} steps");
            return;
        }
    }
    panic!("there are more steps than {STEPS_MAX}");
}

#[test]
fn killed_while_it_delivers_into_a_maildir_and_deletes() {
    killed_at_each_step(Files::Maildir, Keep::No, 20);
}

#[test]
fn killed_while_it_delivers_into_a_maildir_and_keeps() {
    killed_at_each_step(Files::Maildir, Keep::Always, 15);
}

#[test]
fn killed_while_it_delivers_into_a_folder() {
    killed_at_each_step(Files::Eml, Keep::No, 20);
}

#[test]
fn killed_while_it_delivers_into_an_mbox() {
    killed_at_each_step(Files::Mbox, Keep::No, 20);
}

/// The mended run is killed at each of its steps.
#[test]
fn killed_while_it_mends() {
    let has_intents = |step: &u64| {
        let server = EvilServer::start(Misbehaviour::Nothing, mail());
        let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
        run_to_step(&desk, &server, Keep::No, *step);
        desk.state().iter().any(|(_, known)| matches!(known.stage, Stage::Intent(_)))
    };
    let first = (1..STEPS_MAX).find(has_intents).unwrap();
    for step in 1..STEPS_MAX {
        let case = format!("killed at step {first}, then at step {step}");
        let server = EvilServer::start(Misbehaviour::Nothing, mail());
        let desk = Desk::new(server.address(), Files::Maildir, Keep::No);
        assert!(was_killed(&run_to_step(&desk, &server, Keep::No, first), &case));
        let killed = was_killed(&run_to_step(&desk, &server, Keep::No, step), &case);
        assert_done(&desk, &server, Keep::No, &case);
        if !killed {
            assert!(step > 20, "{case}");
            return;
        }
    }
}
