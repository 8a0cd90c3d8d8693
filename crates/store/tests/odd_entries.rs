//! What is no readable regular file is left out, and takes nothing hostage.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
};

use restante_store::{StoreError, conformance::read};
use rustix::fs::{FileType, Mode};
use support::{World, marks};

fn fifo(path: std::path::PathBuf) {
    rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test]
async fn only_regular_files_are_messages() {
    let world = World::with(&[("new/1", b"Subject: 1\n"), ("cur/2:2,S", b"Subject: 2\n")]);
    let secret = world.folder.path().join("secret");
    fs::write(&secret, "of somebody else\n").unwrap();
    for folder in ["new", "cur"] {
        let folder = world.maildir().join(folder);
        fs::create_dir(folder.join("a-directory")).unwrap();
        fifo(folder.join("a-fifo"));
        symlink(&secret, folder.join("a-link-out")).unwrap();
        symlink("../cur/2:2,S", folder.join("a-link-within")).unwrap();
        symlink("a-loop", folder.join("a-loop")).unwrap();
        symlink("/dev/zero", folder.join("a-device")).unwrap();
        drop(UnixListener::bind(folder.join("a-socket")).unwrap());
        fs::write(folder.join(".hidden"), "Subject: hidden\n").unwrap();
        fs::write(folder.join(":2,S"), "Subject: no base\n").unwrap();
    }
    let before = world.files();
    let mut drop = world.open().await;
    assert_eq!(drop.messages(), 2);
    assert_eq!(*drop.sizes().await.unwrap(), [12, 12]);
    assert_eq!(read(&mut *drop, 1).await, b"Subject: 2\r\n");
    drop.commit(marks(&[0, 1], 2)).await.unwrap();
    assert_eq!(world.files().len(), before.len() - 2, "and nothing else is touched");
    assert!(secret.exists());
}

#[tokio::test]
async fn a_device_is_left_out() {
    let world = World::with(&[("new/1", b"Subject: 1\n")]);
    let device = rustix::fs::makedev(1, 5); // what /dev/zero is
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        world.maildir().join("new/2"),
        FileType::CharacterDevice,
        Mode::RUSR,
        device,
    );
    if made.is_err() {
        // Only root may make devices; the kinds that anybody may make are above.
        assert!(!rustix::process::geteuid().is_root() || made == Err(rustix::io::Errno::PERM));
    }
    assert_eq!(world.ids().await, ["1"]);
}

#[tokio::test]
async fn a_message_whose_place_something_else_took_is_gone() {
    let world = World::with(&[("new/1", b"a\n"), ("new/2", b"b\n"), ("new/3", b"c\n"), ("new/4", b"d\n")]);
    let secret = world.folder.path().join("secret");
    fs::write(&secret, "of somebody else\n").unwrap();
    let mut drop = world.open().await;
    for name in ["1", "2", "3"] {
        fs::remove_file(world.maildir().join("new").join(name)).unwrap();
    }
    fifo(world.maildir().join("new/1"));
    symlink(&secret, world.maildir().join("new/2")).unwrap();
    fs::create_dir(world.maildir().join("new/3")).unwrap();
    for index in 0..3 {
        assert!(matches!(drop.message(index).await, Err(StoreError::Gone)), "message {index}");
    }
    assert_eq!(drop.sizes().await.unwrap().len(), 4);
    assert_eq!(read(&mut *drop, 3).await, b"d\r\n");
    // What cannot be removed is told, and the rest is removed.
    let error = drop.commit(marks(&[2, 3], 4)).await.unwrap_err();
    assert_eq!(error.remain, 1);
    assert!(!world.maildir().join("new/4").exists());
    assert!(secret.exists());
}

#[tokio::test]
async fn a_large_number_of_odd_entries_is_no_matter() {
    let world = World::with(&[("new/1", b"Subject: 1\n")]);
    for n in 0..1000 {
        symlink("/dev/zero", world.maildir().join(format!("cur/{n}"))).unwrap();
    }
    assert_eq!(world.ids().await, ["1"]);
}
