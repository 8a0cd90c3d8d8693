//! The state file: damaged, lost, foreign, in the way. Mail is served all the same, with the same unique-ids.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{fs, os::unix::fs::symlink};

use restante_store::{
    conformance::read,
    maildir::state::{State, StateError},
};
use support::{World, marks};

const FILES: &[(&str, &[u8])] = &[
    ("cur/390953946:2,S", b"Subject: 1\n"),
    ("new/two words", b"Subject: 2\n"),
    ("new/3,S=11", b"Subject: 3\n"),
];

async fn check(world: &World, ids: &[String]) {
    assert_eq!(world.ids().await, ids);
    let mut drop = world.open().await;
    assert_eq!(*drop.sizes().await.unwrap(), [12, 12, 12]);
    assert_eq!(read(&mut *drop, 0).await, b"Subject: 2\r\n");
}

#[tokio::test]
async fn a_damaged_state_file_is_rebuilt_with_the_same_ids() {
    let world = World::with(FILES);
    let ids = world.ids().await;
    check(&world, &ids).await;
    let whole = fs::read(world.state_file()).unwrap();
    let mut flipped = whole.clone();
    flipped[30] ^= 1;
    let cases: [&[u8]; 6] =
        [b"", b"garbage", &whole[..whole.len() / 2], &flipped, &[0; 4096], b"restante-index \n"];
    for damaged in cases {
        assert!(State::parse(damaged).is_err());
        fs::write(world.state_file(), damaged).unwrap();
        check(&world, &ids).await;
        let rebuilt = State::parse(&fs::read(world.state_file()).unwrap()).unwrap();
        assert_eq!(rebuilt.len(), 3);
        let kept = fs::read(world.maildir().join("restante-index.damaged")).unwrap();
        assert_eq!(kept, damaged, "it can still be looked into");
    }
}

#[tokio::test]
async fn a_state_file_of_another_version_is_left_as_it_is() {
    let world = World::with(FILES);
    let ids = world.ids().await;
    let newer = b"restante-index 3\nwhatever a later version wrote";
    fs::write(world.state_file(), newer).unwrap();
    check(&world, &ids).await;
    let drop = world.open().await;
    drop.commit(marks(&[0], 3)).await.unwrap();
    assert_eq!(fs::read(world.state_file()).unwrap(), newer);
    assert_eq!(world.ids().await, ids[1..]);
}

#[tokio::test]
async fn a_state_file_of_an_older_version_is_replaced() {
    let world = World::with(FILES);
    let ids = world.ids().await;
    check(&world, &ids).await;
    let old = b"restante-index 1\nwhatever an older version wrote";
    fs::write(world.state_file(), old).unwrap();
    check(&world, &ids).await;
    assert_eq!(State::parse(&fs::read(world.state_file()).unwrap()).unwrap().len(), 3);
    assert_eq!(fs::read(world.maildir().join("restante-index.damaged")).unwrap(), old);
}

#[tokio::test]
async fn what_a_crash_left_behind_a_whole_state_file_is_removed() {
    let world = World::with(FILES);
    let ids = world.ids().await;
    check(&world, &ids).await;
    let whole = fs::read(world.state_file()).unwrap();
    fs::write(world.state_file(), [&whole[..], &[0; 40]].concat()).unwrap();
    check(&world, &ids).await;
    world.put("new", b"4", b"Subject: 4\n");
    assert_eq!(world.ids().await.len(), 4);
    assert_eq!(State::parse(&fs::read(world.state_file()).unwrap()).unwrap().len(), 4);
    assert!(!world.maildir().join("restante-index.damaged").exists());
}

#[tokio::test]
async fn messages_that_are_read_without_a_list_are_remembered_at_the_end() {
    use std::os::unix::fs::MetadataExt;
    let world = World::with(FILES);
    let written = || fs::metadata(world.state_file()).map(|file| (file.ino(), file.size())).unwrap();
    let mut drop = world.open().await;
    let before = written();
    for index in 0..3 {
        read(&mut *drop, index).await;
        assert_eq!(written(), before, "not written for each message");
    }
    std::mem::drop(drop);
    // Nobody reached QUIT. A session that follows at once waits until it is written.
    assert_eq!(*world.open().await.known_sizes().unwrap(), [12, 12, 12]);
    assert_ne!(written(), before);
}

#[tokio::test]
async fn what_stands_in_the_place_of_the_state_file_harms_nobody() {
    let world = World::with(FILES);
    let ids = world.ids().await;
    let elsewhere = world.folder.path().join("elsewhere");
    fs::write(&elsewhere, "do not touch").unwrap();
    let clear = || {
        for name in ["restante-index", "restante-index.tmp"] {
            let path = world.maildir().join(name);
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir(path).unwrap();
            } else if path.symlink_metadata().is_ok() {
                fs::remove_file(path).unwrap();
            }
        }
    };
    for name in ["restante-index", "restante-index.tmp"] {
        clear();
        fs::create_dir(world.maildir().join(name)).unwrap();
        check(&world, &ids).await;
        clear();
        symlink(&elsewhere, world.maildir().join(name)).unwrap();
        check(&world, &ids).await;
        clear();
        let path = world.maildir().join(name);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        check(&world, &ids).await;
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), b"do not touch");
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_replaced() {
    let world = World::with(FILES);
    let ids = world.ids().await;
    fs::write(world.maildir().join("restante-index.tmp"), "restante-index 2\nhalf").unwrap();
    fs::remove_file(world.state_file()).unwrap();
    check(&world, &ids).await;
    assert!(!world.maildir().join("restante-index.tmp").exists());
}

#[tokio::test]
async fn a_message_that_was_edited_is_counted_again() {
    let world = World::with(FILES);
    let ids = world.ids().await;
    check(&world, &ids).await;
    // As editors do it: another file under the same name.
    world.put("tmp", b"two words", b"Subject: longer\n\nthan before\n");
    world.rename("tmp/two words", "new/two words");
    let mut drop = world.open().await;
    assert_eq!(*drop.sizes().await.unwrap(), [32, 12, 12]);
    std::mem::drop(drop);
    // In its place, which no Maildir's file should be, and no folder tells. RETR does: by the size, or where that is
    // the same, by the time of the last change.
    let path = world.maildir().join("new/two words");
    fs::write(&path, "Subject: longer\r\nthan before\n").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    let mut drop = world.open().await;
    assert_eq!(*drop.sizes().await.unwrap(), [32, 12, 12]);
    assert_eq!(read(&mut *drop, 0).await, b"Subject: longer\r\nthan before\r\n");
    assert_eq!(*drop.known_sizes().unwrap(), [30, 12, 12]);
    fs::write(&path, "a\n").unwrap();
    assert_eq!(read(&mut *drop, 0).await, b"a\r\n");
    assert_eq!(*drop.known_sizes().unwrap(), [3, 12, 12]);
    std::mem::drop(drop);
    assert_eq!(*world.open().await.known_sizes().unwrap(), [3, 12, 12], "and from then on");
}

#[tokio::test]
async fn the_order_of_first_sight_is_kept() {
    let world = World::with(&[("new/20", b"a\n"), ("new/30", b"b\n")]);
    assert_eq!(world.ids().await, ["20", "30"]);
    world.put("new", b"10", b"c\n");
    world.put("new", b"25", b"d\n");
    assert_eq!(world.ids().await, ["20", "30", "10", "25"]);
    world.rename("new/20", "cur/20:2,S");
    assert_eq!(world.ids().await, ["20", "30", "10", "25"]);
}

#[tokio::test]
async fn an_id_returns_with_its_message_and_goes_to_no_other() {
    let world = World::with(&[("new/1,S=2", b"a\n"), ("new/2", b"b\n")]);
    assert_eq!(world.ids().await, ["1", "2"]);
    world.rename("new/1,S=2", "tmp/aside");
    world.put("new", b"1,S=3", b"cc\n");
    let ids = world.ids().await;
    assert_eq!((ids.len(), &*ids[0]), (2, "2"));
    assert_ne!(ids[1], "1");
    world.rename("tmp/aside", "cur/1,S=2:2,S");
    assert_eq!(world.ids().await, ["1", "2", &ids[1]]);
    // Also after it was deleted by a session, and restored from a backup.
    let file = |name| world.maildir().join(name);
    let time = fs::metadata(file("cur/1,S=2:2,S")).unwrap().modified().unwrap();
    let drop = world.open().await;
    drop.commit(marks(&[0], 3)).await.unwrap();
    world.put("cur", b"1,S=2:2,S", b"a\n");
    let restored = fs::File::options().write(true).open(file("cur/1,S=2:2,S")).unwrap();
    restored.set_modified(time).unwrap();
    assert_eq!(world.ids().await, ["1", "2", &ids[1]]);
}

#[test]
fn parsing_never_panics_on_arbitrary_octets() {
    use proptest::prelude::*;
    let frame = || proptest::collection::vec(any::<u8>(), 0..200);
    proptest!(|(first in frame(), second in frame())| {
        match State::parse(&State::seal(&[&first, &second])) {
            Ok(state) => prop_assert_eq!(State::parse(&state.to_octets()), Ok(state)),
            Err(error @ (StateError::Head | StateError::Version | StateError::Old)) => {
                prop_assert!(false, "it was sealed: {}", error);
            }
            Err(_) => {}
        }
    });
}
