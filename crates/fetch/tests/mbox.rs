//! The mbox as a destination.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // tests: a panic is the report

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use restante_fetch::destination::{Fate, Fault, Token, conformance, conformance::Fixture as _};
use support::{Files, World, mode, open_at, the_childs_root};

fn world() -> World {
    World::new(Files::Mbox)
}

/// What another program appends.
const OTHERS: &str = "From other@example.org Sat Nov 28 10:00:00 2026\nSubject: another's\n\nmail\n\n";

fn append(world: &World, text: &str) {
    let mut file = fs::File::options().create(true).append(true).open(world.path()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

const OTHERS_BODY: &[u8] = b"Subject: another's\r\n\r\nmail\r\n";

#[test]
fn it_conforms() {
    conformance::check(world);
}

#[test]
fn killed_at_each_step_each_message_is_there_once() {
    support::killed_at_each_step(Files::Mbox, "killed", 20, |_| None);
}

#[test]
fn killed_while_another_program_appends_afterwards_nothing_of_it_is_lost() {
    support::killed_at_each_step(Files::Mbox, "killed", 20, |world| {
        append(world, OTHERS);
        Some(OTHERS_BODY.to_vec())
    });
}

#[test]
fn killed() {
    let Some(root) = the_childs_root() else { return };
    support::deliver_with_journal(&root, Files::Mbox);
}

#[test]
fn an_mbox_without_a_last_line_end_gets_one() {
    for (before, supplied) in
        [("", ""), ("From a b\n\nx", "\n\n"), ("From a b\n\nx\n", "\n"), ("From a b\n\n", "")]
    {
        let world = world();
        append(&world, before);
        conformance::deliver(&*world.open(), &[conformance::message(1), conformance::message(2)]);
        let text = fs::read_to_string(world.path()).unwrap();
        assert!(text.starts_with(&format!("{before}{supplied}From MAILER-DAEMON ")), "{text}");
        assert_eq!(world.messages().iter().filter(|text| **text == conformance::message(2)).count(), 1);
    }
}

#[test]
fn it_is_locked_from_sync_to_the_end_of_the_batch() {
    let world = world();
    let lock = world.folder.path().join("box.lock");
    let destination = world.open();
    let mut batch = destination.batch().unwrap();
    batch.begin().unwrap();
    batch.finish().unwrap();
    assert!(!lock.exists(), "nobody waits while messages come");
    let token = batch.sync().remove(0).unwrap();
    assert!(lock.exists());
    batch.publish(0).unwrap();
    batch.settle().unwrap();
    assert!(lock.exists());
    drop(batch);
    assert!(!lock.exists());
    assert_eq!(destination.resolve(&conformance::intent(token, b"")), Ok(Fate::Delivered));
    assert_eq!(fs::metadata(world.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_mail_program_that_removes_what_came_does_not_bring_it_back() {
    let world = world();
    let destination = world.open();
    let mut batch = destination.batch().unwrap();
    batch.begin().unwrap();
    batch.finish().unwrap();
    let token = batch.sync().remove(0).unwrap();
    batch.publish(0).unwrap();
    batch.settle().unwrap();
    drop(batch);
    // Before «delivered» came into the journal.
    fs::write(world.path(), "").unwrap();
    assert_eq!(destination.resolve(&conformance::intent(token, b"")), Ok(Fate::Delivered));
}

#[test]
fn a_program_that_ignores_the_lock_is_not_written_over() {
    let world = world();
    let destination = world.open();
    let mut batch = destination.batch().unwrap();
    batch.begin().unwrap();
    batch.finish().unwrap();
    let token = batch.sync().remove(0).unwrap();
    append(&world, OTHERS);
    assert!(matches!(batch.publish(0), Err(Fault::Destination(_))));
    drop(batch);
    assert_eq!(destination.resolve(&conformance::intent(token, b"")), Ok(Fate::NotDelivered));
    assert_eq!(fs::read_to_string(world.path()).unwrap(), OTHERS);
}

#[test]
fn what_is_no_mbox_is_refused() {
    let world = world();
    let error = open_at(&world.folder.path().join("disk"), Files::Mbox).unwrap_err().to_string();
    assert!(error.contains("disk that is not mounted"), "{error}");
    fs::create_dir(world.path()).unwrap();
    let error = open_at(world.folder.path(), Files::Mbox).unwrap_err().to_string();
    assert!(error.contains("is no file"), "{error}");
}

#[test]
fn one_of_another_user_is_told() {
    let world = world();
    conformance::deliver(&*world.open(), &[conformance::message(0)]);
    mode(world.folder.path(), 0o755);
    mode(&world.path(), 0o444);
    support::as_somebody_else("denied", world.folder.path());
}

#[test]
fn denied() {
    let Some(root) = the_childs_root() else { return };
    let error = open_at(&root, Files::Mbox).unwrap_err().to_string();
    assert!(error.contains("permission denied") && error.contains("belongs to uid"), "{error}");
}

#[test]
fn a_disk_that_becomes_full_in_the_middle_leaves_no_part_of_a_message() {
    let world = world();
    conformance::deliver(&*world.open(), &[conformance::message(0)]);
    // Each spool fits, but the mbox does not take all of them.
    support::with_small_files("full", world.folder.path(), 500);
    let mut expected = vec![conformance::message(0), support::killed_message(0)];
    expected.sort();
    let mut there = world.messages();
    there.sort();
    assert!(there == expected, "{} messages", there.len());
    assert_eq!(world.leftovers().len(), 2, "they wait for the next batch to settle");
    // There is room again, and everything comes.
    conformance::deliver(&*world.open(), &[support::killed_message(1), support::killed_message(2)]);
    assert_eq!(world.messages().len(), 4);
}

#[test]
fn full() {
    let Some(root) = the_childs_root() else { return };
    let destination = open_at(&root, Files::Mbox).unwrap();
    let mut batch = destination.batch().unwrap();
    for n in 0..3 {
        batch.begin().unwrap();
        batch.write(&support::killed_message(n)).unwrap();
        batch.finish().unwrap();
    }
    let tokens: Vec<_> = batch.sync().into_iter().map(Result::unwrap).collect();
    batch.publish(0).unwrap();
    assert!(batch.publish(1).is_err() && batch.publish(2).is_err());
    batch.settle().unwrap();
    drop(batch);
    let fates =
        tokens.into_iter().map(|token| destination.resolve(&conformance::intent(token, b"")).unwrap());
    assert_eq!(fates.collect::<Vec<_>>(), [Fate::Delivered, Fate::NotDelivered, Fate::NotDelivered]);
}

/// A process that was killed in the middle of appending, and another program's mail behind what it left.
fn interrupted() -> World {
    for step in 1.. {
        let world = world();
        let mut process = support::child("killed", world.folder.path());
        let output = process.env("RESTANTE_CRASH_AT", step.to_string()).output().unwrap();
        assert!(!output.status.success(), "it never stopped in the middle of a message");
        let text = fs::read(world.path()).unwrap_or_default();
        if !text.is_empty() && !text.ends_with(b"\n\n") {
            append(&world, OTHERS);
            return world;
        }
    }
    unreachable!("steps have no end")
}

fn resolve_all(root: &std::path::Path) -> Vec<Fate> {
    let destination = open_at(root, Files::Mbox).unwrap();
    let journal = fs::read_to_string(root.join("journal")).unwrap();
    let tokens = journal.lines().map(|line| Token::new(line).unwrap());
    tokens.map(|token| destination.resolve(&conformance::intent(token, b"")).unwrap()).collect()
}

#[test]
fn recovery_that_is_killed_at_each_step_is_completed_by_the_next() {
    use std::os::unix::process::ExitStatusExt as _;
    for step in 1..50 {
        let case = format!("killed at step {step} of recovery");
        let world = interrupted();
        let mut process = support::child("resolving", world.folder.path());
        let output = process.env("RESTANTE_CRASH_AT", step.to_string()).output().unwrap();
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
        append(&world, &OTHERS.replace("another's", "more"));
        let fates = resolve_all(world.folder.path());
        let delivered = fates.iter().filter(|fate| **fate == Fate::Delivered).count();
        assert!(
            delivered < 3 && fates[..delivered].iter().all(|fate| *fate == Fate::Delivered),
            "{case}: {fates:?}"
        );
        let mut expected: Vec<_> = (0..delivered).map(support::killed_message).collect();
        expected.push(OTHERS_BODY.to_vec());
        expected.push(b"Subject: more\r\n\r\nmail\r\n".to_vec());
        assert!(world.messages() == expected, "{case}: {fates:?}");
        if !killed {
            assert!(step > 4, "only {step} steps");
            return;
        }
    }
    panic!("there are more steps than expected");
}

#[test]
fn resolving() {
    let Some(root) = the_childs_root() else { return };
    resolve_all(&root);
}

#[test]
fn a_batch_needs_no_more_descriptors_than_there_are() {
    support::with_few_descriptors(Files::Mbox);
}

#[test]
fn many_messages() {
    let Some(root) = the_childs_root() else { return };
    support::many_messages(&root, Files::Mbox);
}

#[test]
fn a_program_that_holds_the_lock_is_waited_for() {
    use std::io::{BufRead as _, BufReader};
    let world = world();
    append(&world, "");
    let mut process = support::child("holding", world.folder.path());
    let mut holder = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("LOCKED")));
    std::thread::scope(|threads| {
        let deliverer = threads.spawn(|| conformance::deliver(&*world.open(), &[conformance::message(0)]));
        // It has the dotlock, which the other does not know, and waits for the other lock.
        while !world.folder.path().join("box.lock").exists() && !deliverer.is_finished() {
            std::thread::yield_now();
        }
        drop(holder.stdin.take());
        deliverer.join().unwrap();
    });
    assert!(said.any(|line| line.unwrap().contains("LENGTH 0.")), "it was written into meanwhile");
    assert!(holder.wait().unwrap().success());
    assert_eq!(world.messages(), [conformance::message(0)]);
}

#[test]
fn holding() {
    let Some(root) = the_childs_root() else { return };
    let file = fs::File::options().write(true).open(root.join("box")).unwrap();
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    println!("LOCKED");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    println!("LENGTH {}.", file.metadata().unwrap().len());
}
