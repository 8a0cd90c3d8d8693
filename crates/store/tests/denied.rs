//! What the server's user may not read or change. As root, who may everything, the test runs itself again as nobody.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use restante_store::{OpenError, Store, StoreError, conformance, conformance::read};
use support::{World, john, marks, store_at};

/// Tells the child where the Maildirs are; without it, the tests of the child's part have nothing to do.
const ROOT: &str = "RESTANTE_TEST_DENIED_ROOT";

const NOBODY: u32 = 65534;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs the test `part` of this binary in a process whose user may not everything.
fn as_somebody_else(world: &World, part: &str) {
    // A process that another test forks while the copy is written would keep it from being run.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody must be able to run the binary, wherever the build put it.
    let copy = world.folder.path().join("the-test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    mode(&copy, 0o755);
    mode(world.folder.path(), 0o755);
    let mut child = Command::new(&copy);
    child.args(["--exact", part, "--nocapture"]).env(ROOT, world.folder.path()).current_dir("/");
    if rustix::process::geteuid().is_root() {
        child.uid(NOBODY).gid(NOBODY);
    }
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(alone);
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    assert!(String::from_utf8_lossy(&text).contains("1 passed"), "the part was not found");
}

fn the_childs_root() -> Option<std::path::PathBuf> {
    Some(std::env::var_os(ROOT)?.into())
}

#[test]
fn a_maildir_of_another_user_is_denied_with_its_owner() {
    let world = World::with(&[("new/1", b"Subject: 1\n")]);
    mode(&world.maildir(), 0);
    as_somebody_else(&world, "child_denied");
    mode(&world.maildir(), 0o755);
    mode(&world.maildir().join("cur"), 0);
    as_somebody_else(&world, "child_denied");
    mode(&world.maildir().join("cur"), 0o700);
}

#[tokio::test]
async fn child_denied() {
    let Some(root) = the_childs_root() else { return };
    let owner = fs::metadata(&root).unwrap();
    let Err(OpenError::Denied { path, owner: told }) = store_at(&root).open(&john()).await else {
        panic!("it was not denied")
    };
    assert_eq!(told, Some(std::os::unix::fs::MetadataExt::uid(&owner)));
    assert!(path.starts_with(root.join("john")), "{}", path.display());
    assert!(store_at(&root).open(&john()).await.is_err(), "and the lock was not kept");
}

#[test]
fn unreadable_files_are_left_out_and_a_drop_that_may_only_be_read_is_served() {
    let world = World::with(&[
        ("new/1", b"Subject: 1\n"),
        ("new/2", b"Subject: 2\n"),
        ("cur/3:2,S", b"Subject: 3\n"),
        ("cur/4:2,S", b"Subject: 4\n"),
    ]);
    for name in ["new/1", "cur/3:2,S", "cur/4:2,S"] {
        mode(&world.maildir().join(name), 0o644);
    }
    mode(&world.maildir().join("new/2"), 0);
    for folder in ["", "tmp", "new", "cur"] {
        mode(&world.maildir().join(folder), 0o555);
    }
    as_somebody_else(&world, "child_read_only");
    for folder in ["", "tmp", "new", "cur"] {
        mode(&world.maildir().join(folder), 0o755);
    }
    assert_eq!(world.files().len(), 4);
    assert!(!world.state_file().exists());
}

#[tokio::test]
async fn child_read_only() {
    let Some(root) = the_childs_root() else { return };
    let store = store_at(&root);
    for _ in 0..2 {
        let mut drop = store.open(&john()).await.unwrap();
        assert_eq!(conformance::unique_ids(&mut *drop).await, ["1", "3", "4"]);
        assert_eq!(*drop.sizes().await.unwrap(), [12, 12, 12]);
        assert_eq!(read(&mut *drop, 1).await, b"Subject: 3\r\n");
        let error = drop.commit(marks(&[0, 2], 3)).await.unwrap_err();
        assert_eq!(error.remain, 2, "nothing could be removed, and that is told");
        assert_eq!(error.source.kind(), std::io::ErrorKind::PermissionDenied);
    }
    assert!(store.deliver(&john()).is_err());
}

#[test]
fn a_message_that_becomes_readable_is_shown() {
    let world = World::with(&[("new/1", b"Subject: 1\n"), ("new/2", b"Subject: 2\n")]);
    for name in ["", "new", "cur", "new/1", "new/2"] {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(world.maildir().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    as_somebody_else(&world, "child_readable_again");
}

#[tokio::test]
async fn child_readable_again() {
    let Some(root) = the_childs_root() else { return };
    let two = root.join("john/new/2");
    mode(&two, 0);
    for folder in ["john/new", "john/cur"] {
        // Times that prove that the folders have not changed: a file's mode is no matter of theirs.
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::open(root.join(folder)).unwrap().set_modified(old).unwrap();
    }
    let store = store_at(&root);
    assert_eq!(conformance::unique_ids(&mut *store.open(&john()).await.unwrap()).await, ["1"]);
    mode(&two, 0o600);
    assert_eq!(conformance::unique_ids(&mut *store.open(&john()).await.unwrap()).await, ["1", "2"]);
}

#[test]
fn a_message_that_becomes_unreadable_is_denied() {
    let world = World::with(&[("new/1", b"Subject: 1\n"), ("new/2", b"Subject: 2\n")]);
    for name in ["new/1", "new/2"] {
        mode(&world.maildir().join(name), 0o644);
    }
    if rustix::process::geteuid().is_root() {
        // The child changes the mode of its own file.
        for name in ["", "new", "new/2"] {
            std::os::unix::fs::chown(world.maildir().join(name), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    as_somebody_else(&world, "child_unreadable");
}

#[tokio::test]
async fn child_unreadable() {
    let Some(root) = the_childs_root() else { return };
    let mut drop = store_at(&root).open(&john()).await.unwrap();
    assert_eq!(drop.messages(), 2);
    mode(&root.join("john/new/2"), 0);
    assert!(matches!(drop.message(1).await, Err(StoreError::Denied { .. })));
    assert_eq!(drop.sizes().await.unwrap()[0], 12, "the other one is counted");
    assert_eq!(read(&mut *drop, 0).await, b"Subject: 1\r\n");
}
