//! Killed between any two steps of a commit or a delivery, nothing is lost and nothing comes back twice, while a second
//! process delivers and a third renames.
//!
//! Each case runs this binary again in three roles. The one under test is killed (SIGKILL) at its N-th step, for N = 1
//! and up until it ends by itself. What a power failure would lose beyond that, fsync's order decides; no test sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // tests: a panic is the report; roles speak

mod support;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use restante_proto::Marks;
use restante_store::{Maildrop, Store, conformance, maildir::state::State};
use support::{World, john, marks, store_at};

const ROLE: &str = "RESTANTE_TEST_KILL_ROLE";
const ROOT: &str = "RESTANTE_TEST_KILL_ROOT";
const SEED: &str = "RESTANTE_TEST_KILL_SEED";

/// How often the process under test has to end by itself before there are no more steps to be killed at: the number of
/// steps depends on how often the renamer gets in its way.
const ENDS_WANTED: u32 = 3;

/// More steps than there are.
const STEPS_MAX: u64 = 200;

/// More sessions than it takes to see every message of a drop whose files are renamed all the time.
const SESSIONS_MAX: u32 = 100;

const SEEDS: u32 = 6;
const MARKED: [u32; 3] = [0, 2, 5];

// --- the roles ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    match &*role {
        "commit" => {
            let (drop, marked) = marked(&root).await;
            drop.commit(marked).await.unwrap();
            println!("COMMITTED");
        }
        "deliver" | "deliver too" => deliver(&root, if role == "deliver" { "a" } else { "b" }),
        "rename" => rename(&root, seed),
        other => panic!("there is no role {other}"),
    }
}

/// A session that sees every seed, with those marked that are to go. One that the renamer moves at full speed may be missed
/// by a look at the folders, whoever looks.
async fn marked(root: &Path) -> (Box<dyn Maildrop>, Marks) {
    for _ in 0..SESSIONS_MAX {
        let mut drop = store_at(root).open(&john()).await.unwrap();
        let ids = conformance::unique_ids(&mut *drop).await;
        let place = |n: u32| (0..).zip(&ids).find(|(_, id)| **id == format!("{}.seed", 1000 + n));
        let seeds: Vec<u32> = (0..SEEDS).filter_map(|n| place(n).map(|(at, _)| at)).collect();
        if let Ok(seeds) = <[u32; SEEDS as usize]>::try_from(seeds) {
            let marked = MARKED.map(|n| seeds[n as usize]);
            return (drop, marks(&marked, u32::try_from(ids.len()).unwrap()));
        }
    }
    panic!("a seed is never seen");
}

/// A message that tells by its subject which one it is, and by its length whether it is whole.
fn text(subject: &str) -> String {
    format!("Subject: {subject}\n\n{}", ".line\n".repeat(20_000))
}

fn deliver(root: &Path, prefix: &str) {
    for n in 0..3 {
        let subject = format!("{prefix}{n}");
        let mut delivery = store_at(root).deliver(&john()).unwrap();
        text(&subject).as_bytes().chunks(10_000).for_each(|piece| delivery.write(piece).unwrap());
        delivery.commit().unwrap();
        println!("DELIVERED {subject}.");
    }
}

/// Moves new mail to cur/ and changes flags, until the file `stop` is there.
fn rename(root: &Path, mut random: u64) {
    let maildir = root.join("john");
    // Nobody is left to say stop where the test has failed.
    while root.exists() && !root.join("stop").exists() {
        for folder in ["new", "cur"] {
            // It may not be there yet.
            for entry in fs::read_dir(maildir.join(folder)).into_iter().flatten() {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if random.is_multiple_of(3) {
                    continue;
                }
                let from = entry.unwrap().path();
                let name = from.file_name().unwrap().to_str().unwrap().to_owned();
                let flags = ["", "S", "FS", "T", "RST"][(random >> 8) as usize % 5];
                let to = format!("{}:2,{flags}", name.split(':').next().unwrap());
                match fs::rename(from, maildir.join("cur").join(to)) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

// --- the cases ---------------------------------------------------------------------------------------------------

fn start(role: &str, world: &World, seed: u64, crash_at: Option<u64>) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "role", "--nocapture", "--test-threads=1"]);
    child.env(ROLE, role).env(ROOT, world.folder.path()).env(SEED, seed.to_string());
    if let Some(step) = crash_at {
        child.env("RESTANTE_CRASH_AT", step.to_string());
    }
    child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a role's end: what it said, and whether it was killed.
fn end(child: Child) -> (String, bool) {
    use std::os::unix::process::ExitStatusExt;
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{said}");
    (said, killed)
}

fn delivered(said: &str) -> Vec<String> {
    let subjects = said.split("DELIVERED ").skip(1).filter_map(|rest| rest.split_once('.'));
    subjects.map(|(subject, _)| subject.to_owned()).collect()
}

/// Every message of the maildrop by its subject: how often it is there, and its unique-id. Checks that each is whole.
async fn messages(world: &World, case: &str) -> BTreeMap<String, Vec<String>> {
    let mut drop = world.open().await;
    let ids = conformance::unique_ids(&mut *drop).await;
    let mut messages: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (index, id) in (0..).zip(ids) {
        let message = String::from_utf8(conformance::read(&mut *drop, index).await).unwrap();
        let subject = message.split("\r\n").next().unwrap().trim_start_matches("Subject: ").to_owned();
        assert_eq!(message, text(&subject).replace('\n', "\r\n"), "{case}: half a message");
        messages.entry(subject).or_default().push(id);
    }
    std::mem::drop(drop);
    let state = fs::read(world.state_file()).unwrap();
    assert!(State::parse(&state).is_ok(), "{case}: the state file is damaged");
    messages
}

fn stop(world: &World, renamer: Child) {
    fs::write(world.folder.path().join("stop"), "").unwrap();
    end(renamer);
    fs::remove_file(world.folder.path().join("stop")).unwrap();
}

/// A maildrop of a few messages, some in new/ and some in cur/.
fn seeded() -> World {
    let world = World::with(&[]);
    for n in 0..SEEDS {
        let (folder, suffix) = if n % 2 == 0 { ("new", "") } else { ("cur", ":2,S") };
        let name = format!("{}.seed{suffix}", 1000 + n);
        world.put(folder, name.as_bytes(), text(&format!("seed{n}")).as_bytes());
    }
    fs::write(world.maildir().join("maildirsize"), "0S\n").unwrap();
    world
}

#[tokio::test]
async fn a_commit_that_is_killed_at_any_step_loses_nothing_and_nothing_comes_back() {
    let (mut ends, mut kills) = (0, 0);
    for step in 1..STEPS_MAX {
        let case = format!("killed at step {step} of commit (the seed is {step})");
        let world = seeded();
        // With and without a state file that knows the messages.
        if step % 2 == 0 {
            drop(world.open().await);
        }
        let renamer = start("rename", &world, step, None);
        let deliverer = start("deliver too", &world, step, None);
        let (said, killed) = end(start("commit", &world, step, Some(step)));
        let (delivered_said, _) = end(deliverer);
        stop(&world, renamer);
        ends += u32::from(!killed);
        kills += u32::from(killed);
        assert_eq!(said.contains("COMMITTED"), !killed, "{case}: {said}");

        let found = messages(&world, &case).await;
        for n in 0..SEEDS {
            let times = found.get(&format!("seed{n}")).map_or(0, Vec::len);
            let marked = MARKED.contains(&n);
            let may = if !marked {
                1..=1
            } else if killed {
                0..=1
            } else {
                0..=0
            };
            assert!(may.contains(&times), "{case}: seed{n} is there {times} times, and was marked: {marked}");
        }
        for subject in delivered(&delivered_said) {
            assert_eq!(
                found.get(&subject).map_or(0, Vec::len),
                1,
                "{case}: {subject} was delivered meanwhile"
            );
        }
        assert_eq!(delivered(&delivered_said).len(), 3);
        for (subject, ids) in found.iter().filter(|(subject, _)| subject.starts_with("seed")) {
            let n: u32 = subject.trim_start_matches("seed").parse().unwrap();
            assert_eq!(*ids, [format!("{}.seed", 1000 + n)], "{case}: an id changed");
        }

        // The next session is as good as any: it deletes what is left, and that stays away.
        let mut next = world.open().await;
        let ids = conformance::unique_ids(&mut *next).await;
        let again: Vec<u32> =
            (0..).zip(&ids).filter(|(_, id)| id.ends_with(".seed")).map(|(at, _)| at).collect();
        next.commit(marks(&again, u32::try_from(ids.len()).unwrap())).await.unwrap();
        let left = messages(&world, &case).await;
        assert!(left.keys().eq(["b0", "b1", "b2"].iter()), "{case}: {:?}", left.keys());
        if ends >= ENDS_WANTED {
            break;
        }
    }
    assert!(kills >= 15 && ends >= ENDS_WANTED, "{kills} kills, {ends} ends");
}

#[tokio::test]
async fn a_delivery_that_is_killed_at_any_step_is_whole_or_not_there() {
    let (mut ends, mut kills) = (0, 0);
    for step in 1..STEPS_MAX {
        let case = format!("killed at step {step} of delivery (the seed is {step})");
        // Into a Maildir that is there, and into one that has to be made.
        let world = if step % 2 == 0 { seeded() } else { World::new() };
        let seeds = if step % 2 == 0 { SEEDS } else { 0 };
        let renamer = start("rename", &world, step, None);
        let second = start("deliver too", &world, step, None);
        let (said, killed) = end(start("deliver", &world, step, Some(step)));
        let (second_said, _) = end(second);
        stop(&world, renamer);
        ends += u32::from(!killed);
        kills += u32::from(killed);

        let found = messages(&world, &case).await;
        for subject in delivered(&said).into_iter().chain(delivered(&second_said)) {
            assert_eq!(found.get(&subject).map_or(0, Vec::len), 1, "{case}: {subject} was confirmed");
        }
        assert_eq!(delivered(&second_said).len(), 3, "{case}: the other deliverer was disturbed");
        for (subject, ids) in &found {
            assert_eq!(ids.len(), 1, "{case}: {subject} is there more than once");
        }
        let unconfirmed = found.len() - seeds as usize - 3 - delivered(&said).len();
        assert!(unconfirmed <= usize::from(killed), "{case}: {unconfirmed} messages that nobody confirmed");
        let again = messages(&world, &case).await;
        assert_eq!(again, found, "{case}: the next session sees the same");
        if ends >= ENDS_WANTED {
            break;
        }
    }
    assert!(kills >= 15 && ends >= ENDS_WANTED, "{kills} kills, {ends} ends");
}
