//! A program that renames all the time: moves from new/ to cur/ and changes flags, while drops are opened and read.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{
    fs, io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use restante_store::conformance::read;
use support::{World, marks};

const MESSAGES: u32 = 600;
const SESSIONS: u32 = 25;

/// Tells the renamer to stop, also when the test fails: a scope waits for its threads.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Renames every message again and again until it is told to stop.
fn rename_for_ever(world: &World, stop: &AtomicBool, renamed: &AtomicU64) {
    let flags = ["", "S", "FS", "RS", "T"];
    let mut round = 0usize;
    while !stop.load(Ordering::Relaxed) {
        for folder in ["new", "cur"] {
            let names: Vec<_> = fs::read_dir(world.maildir().join(folder)).unwrap().collect();
            for entry in names {
                let from = entry.unwrap().path();
                let name = from.file_name().unwrap().to_str().unwrap().to_owned();
                let base = name.split(':').next().unwrap();
                let to = world.maildir().join("cur").join(format!("{base}:2,{}", flags[round % flags.len()]));
                match fs::rename(from, to) {
                    Ok(()) => renamed.fetch_add(1, Ordering::Relaxed),
                    // The session deleted it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                    Err(error) => panic!("{error}"),
                };
            }
            round += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_view_holds_all_messages_while_they_are_renamed() {
    let world = World::with(&[]);
    let text = |n: u32| format!("Subject: {n}\n");
    for n in 0..MESSAGES {
        world.put("new", format!("{}", 1000 + n).as_bytes(), text(n).as_bytes());
    }
    let ids = world.ids().await;
    let (stop, renamed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| rename_for_ever(&world, &stop, &renamed));
        let _stop = Stop(&stop);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for session in 0..SESSIONS {
                    let mut drop = world.open().await;
                    assert_eq!(drop.messages(), MESSAGES, "session {session}");
                    let page = restante_store::conformance::unique_ids(&mut *drop).await;
                    assert_eq!(page, ids, "session {session}");
                    let sizes = drop.sizes().await.unwrap();
                    for index in (session..MESSAGES).step_by(60) {
                        let message = read(&mut *drop, index).await;
                        assert_eq!(message, text(index).replace('\n', "\r\n").as_bytes());
                        assert_eq!(sizes[index as usize], message.len() as u64);
                    }
                }
            });
        });
    });
    assert!(renamed.load(Ordering::Relaxed) > u64::from(MESSAGES), "the renamer worked");
    let mut drop = world.open().await;
    assert_eq!(read(&mut *drop, 5).await, b"Subject: 5\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_never_comes_back_while_it_is_renamed() {
    let world = World::with(&[]);
    for n in 0..100 {
        world.put("new", format!("{}", 1000 + n).as_bytes(), b"Subject: x\n");
    }
    let (stop, renamed) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| rename_for_ever(&world, &stop, &renamed));
        let _stop = Stop(&stop);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let mut left = world.ids().await;
                while left.len() >= 10 {
                    let drop = world.open().await;
                    let messages = drop.messages();
                    assert_eq!(messages as usize, left.len(), "neither lost nor back");
                    let done = drop.commit(marks(&[0, 2, 4, 6, 8], messages)).await;
                    let now = world.ids().await;
                    match done {
                        Ok(()) => {
                            let kept = |(at, id): (usize, String)| (at >= 10 || at % 2 == 1).then_some(id);
                            let kept: Vec<_> = left.into_iter().enumerate().filter_map(kept).collect();
                            assert_eq!(now, kept);
                        }
                        // They moved too fast, and that was told. What is there is what is left.
                        Err(error) => assert!((1..=5).contains(&error.remain)),
                    }
                    left = now;
                }
            });
        });
    });
}
