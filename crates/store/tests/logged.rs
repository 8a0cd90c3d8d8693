//! What is logged, and how often. One test: a process has one log.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{fs, os::unix::fs::symlink};

use restante_store::StoreError;
use support::{Log, World};

fn count(lines: &[String], what: &str) -> usize {
    lines.iter().filter(|line| line.contains(what)).count()
}

#[tokio::test]
async fn odd_entries_encoded_messages_and_changed_ids_are_logged_once() {
    let log = Log::of_this_process();
    let world = World::with(&[("new/1", b"\x1f\x8b\x08\0"), ("new/2", b"Subject: 2\n")]);
    fs::create_dir(world.maildir().join("new/a\ndirectory\u{1b}[31m")).unwrap();
    symlink("/etc/passwd", world.maildir().join("cur/link")).unwrap();
    let mut drop = world.open().await;
    let lines = log.take();
    assert_eq!((lines.len(), count(&lines, "left out")), (2, 2), "{lines:?}");
    assert_eq!(count(&lines, r"a\ndirectory\x1b[31m"), 1, "escaped, on one line: {lines:?}");
    assert_eq!(count(&lines, "a symbolic link"), 1);

    drop.sizes().await.unwrap();
    assert!(log.take().is_empty(), "once");
    assert!(matches!(drop.message(0).await, Err(StoreError::Encoded { .. })));
    let lines = log.take();
    assert_eq!((lines.len(), count(&lines, "compressed (gzip)")), (1, 1), "{lines:?}");
    std::mem::drop(drop);
    std::mem::drop(world.open().await);
    assert!(log.take().is_empty(), "not at every login");

    // What stands in the way of the state file keeps it from being written anew.
    fs::remove_file(world.state_file()).unwrap();
    fs::create_dir(world.maildir().join("restante-index.tmp")).unwrap();
    for n in 3..6 {
        world.put("new", n.to_string().as_bytes(), b"Subject: more\n");
        std::mem::drop(world.open().await);
        let lines = log.take();
        assert_eq!(count(&lines, "cannot be written"), usize::from(n == 3), "{lines:?}");
        assert_eq!(lines.len(), usize::from(n == 3), "{lines:?}");
    }
    fs::remove_dir(world.maildir().join("restante-index.tmp")).unwrap();
    std::mem::drop(world.open().await);

    let index = fs::read(world.state_file()).unwrap();
    for session in 0..2 {
        fs::write(world.state_file(), "restante-index 3\n").unwrap();
        std::mem::drop(world.open().await);
        let lines = log.take();
        assert_eq!(count(&lines, "left as it is"), usize::from(session == 0), "{lines:?}");
    }
    fs::write(world.state_file(), index).unwrap();

    fs::remove_file(world.maildir().join("cur/link")).unwrap();
    for n in 0..100 {
        symlink("/etc/passwd", world.maildir().join(format!("cur/{n}"))).unwrap();
    }
    std::mem::drop(world.open().await);
    let lines = log.take();
    assert!(lines.len() < 30 && count(&lines, "entries=81") == 1, "bounded: {lines:?}");
    for n in 0..100 {
        fs::remove_file(world.maildir().join(format!("cur/{n}"))).unwrap();
    }
    fs::remove_dir(world.maildir().join("new/a\ndirectory\u{1b}[31m")).unwrap();

    fs::write(world.state_file(), "garbage").unwrap();
    std::mem::drop(world.open().await);
    let lines = log.take();
    assert_eq!((lines.len(), count(&lines, "the state file is not used")), (1, 1), "{lines:?}");
    std::mem::drop(world.open().await);
    assert!(log.take().is_empty(), "it was rebuilt");

    // The same file under another name: a conversion that clients will feel.
    world.rename("new/2", "new/uid2");
    std::mem::drop(world.open().await);
    let lines = log.take();
    assert_eq!((lines.len(), count(&lines, "unique-ids changed")), (1, 1), "{lines:?}");
    std::mem::drop(world.open().await);
    assert!(log.take().is_empty());
}
