//! Maildirs as they are found in the wild: shared with programs that deliver, rename, flag and remove meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use restante_proto::Marks;
use restante_store::{OpenError, Store, StoreError, conformance, conformance::read};
use support::{World, john, marks, store_at};

#[tokio::test]
async fn the_seeds_message_has_the_seeds_unique_id_and_length() {
    let message = format!("Subject: seed\r\n\r\n{}\r\n", "x".repeat(1317 - 19));
    assert_eq!(message.len(), 1317);
    let world = World::with(&[("cur/390953946:2,", message.as_bytes())]);
    let mut drop = world.open().await;
    assert_eq!(drop.unique_ids(0..1).await.unwrap().get(0), Some("390953946"));
    assert_eq!(*drop.sizes().await.unwrap(), [1317]);
    assert_eq!(read(&mut *drop, 0).await, message.as_bytes());
}

#[tokio::test]
async fn mail_of_every_usual_program_is_served() {
    let names = [
        "new/1700000001.Vfd00I1234M567890.mx.example.org", // Postfix
        "new/1700000002.H123P456.mx.example.org",          // Exim
        "new/1700000003.12345_1.mx",                       // procmail
        "cur/1700000004.M123P456.mx,S=12,W=13:2,S",        // Dovecot
        "cur/1700000005.M123P456V000000000000FD00I00000000001_0.mx,S=12:2,RS", // Courier
    ];
    let world = World::with(&names.map(|name| (name, &b"Subject: a\n\n"[..])));
    let ids = world.ids().await;
    assert_eq!(
        ids,
        [
            "1700000001.Vfd00I1234M567890.mx.example.org",
            "1700000002.H123P456.mx.example.org",
            "1700000003.12345_1.mx",
            "1700000004.M123P456.mx",
            "1700000005.M123P456V000000000000FD00I00000000001_0.mx",
        ]
    );
    let mut drop = world.open().await;
    for index in 0..5 {
        assert_eq!(read(&mut *drop, index).await, b"Subject: a\r\n\r\n");
    }
}

#[tokio::test]
async fn a_message_in_both_folders_is_one_message() {
    let world = World::with(&[("new/1", b"Subject: a\n")]);
    fs::hard_link(world.maildir().join("new/1"), world.maildir().join("cur/1:2,S")).unwrap();
    let mut drop = world.open().await;
    assert_eq!(drop.messages(), 1);
    assert_eq!(read(&mut *drop, 0).await, b"Subject: a\r\n");
    drop.commit(marks(&[0], 1)).await.unwrap();
    assert!(world.files().is_empty(), "the other half would come back");
}

#[tokio::test]
async fn an_imap_server_may_move_and_flag_under_an_open_session() {
    let world =
        World::with(&[("new/1", b"Subject: 1\n"), ("new/2", b"Subject: 2\n"), ("cur/3:2,", b"Subject: 3\n")]);
    let mut drop = world.open().await;
    world.rename("new/1", "cur/1:2,S");
    world.rename("cur/3:2,", "cur/3:2,FS");
    assert_eq!(drop.messages(), 3);
    assert_eq!(*drop.sizes().await.unwrap(), [12, 12, 12]);
    for (index, text) in (0..).zip(["Subject: 1\r\n", "Subject: 2\r\n", "Subject: 3\r\n"]) {
        assert_eq!(read(&mut *drop, index).await, text.as_bytes());
    }
    world.rename("cur/1:2,S", "cur/1:2,ST");
    world.rename("cur/3:2,FS", "cur/3:2,");
    drop.commit(marks(&[0, 2], 3)).await.unwrap();
    assert_eq!(world.files(), ["new/2".to_owned()].into(), "found under their new names and removed");
}

#[tokio::test]
async fn a_message_that_was_removed_under_us_answers_gone() {
    let world = World::with(&[("new/1", b"Subject: 1\n"), ("new/2", b"Subject: 2\n")]);
    let mut drop = world.open().await;
    fs::remove_file(world.maildir().join("new/1")).unwrap();
    assert_eq!(drop.sizes().await.unwrap().len(), 2, "a message that is gone breaks no list");
    assert!(matches!(drop.message(0).await, Err(StoreError::Gone)));
    assert_eq!(read(&mut *drop, 1).await, b"Subject: 2\r\n");
    drop.commit(marks(&[0], 2)).await.unwrap();
    assert_eq!(world.ids().await, ["2"]);
}

#[tokio::test]
async fn a_message_that_is_being_read_stays_readable_when_it_is_removed() {
    let world = World::with(&[("new/1", b"Subject: 1\n")]);
    let mut drop = world.open().await;
    let message = drop.message(0).await.unwrap();
    fs::remove_file(world.maildir().join("new/1")).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(message.source.read_at(0, &mut buffer).unwrap(), 11);
}

#[tokio::test]
async fn messages_that_come_back_under_other_names_are_told_once() {
    let world = World::with(&[("cur/1:2,", b"Subject: 1\n"), ("cur/2:2,", b"Subject: 2\n")]);
    let open = async || world.open().await.changed_unique_ids();
    assert_eq!(open().await, 0, "never seen before");
    world.rename("cur/1:2,", "cur/other:2,");
    assert_eq!(open().await, 1);
    assert_eq!(open().await, 0, "it is known by its new name");
    world.rename("cur/2:2,", "cur/2:2,S");
    assert_eq!(open().await, 0, "a flag is no other name");
}

#[tokio::test]
async fn trashed_mail_is_shown() {
    let world = World::with(&[("cur/1:2,ST", b"Subject: 1\n")]);
    assert_eq!(world.ids().await, ["1"]);
}

#[tokio::test]
async fn unique_ids_survive_renames_flags_and_the_loss_of_the_state_file() {
    let world = World::with(&[("new/1", b"a\n"), ("new/two words", b"b\n"), ("new/3,S=2,W=3", b"c\n")]);
    world.put("new", b"new\nline\xff", b"d\n");
    let before = world.ids().await;
    assert_eq!(before.len(), 4);
    world.rename("new/1", "cur/1:2,");
    world.rename("cur/1:2,", "cur/1:2,FRS");
    world.rename("new/two words", "cur/two words:2,S");
    assert_eq!(world.ids().await, before);
    fs::remove_file(world.state_file()).unwrap();
    assert_eq!(world.ids().await, before);
    assert!(world.state_file().exists());
}

#[tokio::test]
async fn names_of_odd_octets_are_served_with_an_id_of_their_own() {
    let world = World::new();
    world.make();
    let names: [&[u8]; 5] = [b"a b", b"new\nline", b"\xff\xfe", b"\x1b[31m", &[b'x'; 200]];
    for name in names {
        world.put("new", name, b"Subject: odd\n");
    }
    let mut drop = world.open().await;
    assert_eq!(drop.messages(), 5);
    for (index, id) in (0..).zip(conformance::unique_ids(&mut *drop).await) {
        assert!(id.len() == 32 && id.bytes().all(|octet| octet.is_ascii_hexdigit()), "{id}");
        assert_eq!(read(&mut *drop, index).await, b"Subject: odd\r\n");
    }
    drop.commit(marks(&[0, 1, 2, 3, 4], 5)).await.unwrap();
    assert!(world.files().is_empty());
}

#[tokio::test]
async fn sizes_in_a_name_save_reading_but_never_stand_above_the_truth() {
    let world = World::with(&[
        ("new/1,S=11,W=12", b"Subject: 1\n"), // true
        ("new/2,S=10,W=11", b"Subject: 2\n"), // S is wrong: not believed
        ("new/3,S=10,W=10", b"Subject: 3"),   // two short, where the final line end is missing
        ("new/4,W=12", b"Subject: 4\n"),      // W alone: not believed
    ]);
    let mut drop = world.open().await;
    assert_eq!(drop.known_sizes(), None, "two have to be counted");
    assert_eq!(*drop.sizes().await.unwrap(), [12, 12, 10, 12]);
    let message = drop.message(2).await.unwrap();
    assert_eq!((message.stored, message.octets), (10, 12), "RETR tells the truth");
    assert_eq!(*drop.known_sizes().unwrap(), [12, 12, 12, 12], "and LIST from then on");
    std::mem::drop(drop);
    let drop = world.open().await;
    assert_eq!(*drop.known_sizes().unwrap(), [12, 12, 12, 12], "in later sessions too, also without QUIT");
}

#[tokio::test]
async fn names_that_say_all_sizes_save_all_reading() {
    let world =
        World::with(&[("new/1,S=11,W=12", b"Subject: 1\n"), ("cur/2,S=11,W=12:2,S", b"Subject: 2\n")]);
    assert_eq!(*world.open().await.known_sizes().unwrap(), [12, 12]);
}

#[tokio::test]
async fn encoded_files_are_refused_and_take_nothing_hostage() {
    let files: [(&str, &[u8]); 7] = [
        ("new/1", b"Subject: plain\n"),
        ("new/2", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
        ("new/3", b"\x28\xb5\x2f\xfd\x04\0"),
        ("new/4", b"BZh91AY&SY\0\0"),
        ("new/5", b"\xfd7zXZ\0\0\x04"),
        ("new/6,S=24,W=24", b"Dovecot-LZ4\x0d\x2a\x9b\xc5\0\x10\0\0\0\0\0\0\0"),
        ("new/7", b"CRYPTED\x03\x07\x02\0\0"),
    ];
    let world = World::with(&files);
    for session in 0..2 {
        let mut drop = world.open().await;
        assert_eq!(drop.messages(), 7);
        let sizes = drop.sizes().await.unwrap();
        assert_eq!(sizes[0], 16);
        for index in 1..7 {
            let refused = drop.message(index).await;
            assert!(
                matches!(refused, Err(StoreError::Encoded { .. })),
                "message {index} in session {session}"
            );
            assert_eq!(drop.known_sizes().unwrap()[index as usize], files[index as usize].1.len() as u64);
        }
        assert_eq!(read(&mut *drop, 0).await, b"Subject: plain\r\n");
    }
    let drop = world.open().await;
    drop.commit(marks(&[1, 6], 7)).await.unwrap();
    assert_eq!(world.files().len(), 5, "they can be deleted");
}

#[tokio::test]
async fn a_missing_maildir_is_an_empty_drop_and_nothing_is_created() {
    let world = World::new();
    let drop = world.open().await;
    assert_eq!(drop.messages(), 0);
    drop.commit(Marks::default()).await.unwrap();
    assert_eq!(fs::read_dir(world.folder.path()).unwrap().count(), 0);
    // Half a Maildir is served as what it is.
    fs::create_dir_all(world.maildir().join("cur")).unwrap();
    fs::write(world.maildir().join("cur/1:2,S"), b"Subject: 1\n").unwrap();
    assert_eq!(world.ids().await, ["1"]);
    assert!(!world.maildir().join("new").exists() && !world.maildir().join("tmp").exists());
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_is_an_error_and_no_empty_drop() {
    let world = World::new();
    let store = store_at(&world.folder.path().join("not-mounted"));
    assert!(matches!(store.open(&john()).await, Err(OpenError::Broken { .. })));
    assert!(store.deliver(&john()).is_err(), "mail would go to the wrong disk");
    assert!(!world.folder.path().join("not-mounted").exists());
    std::os::unix::fs::symlink("nowhere", world.maildir()).unwrap();
    assert!(world.store.deliver(&john()).is_err() && !world.folder.path().join("nowhere").exists());
    assert!(matches!(world.try_open().await, Err(OpenError::Broken { .. })), "a link that leads nowhere");
}

#[tokio::test]
async fn folders_that_are_symlinks_are_not_followed() {
    let (world, other) = (World::new(), World::with(&[("new/1", b"of another user\n")]));
    fs::create_dir_all(world.maildir().join("cur")).unwrap();
    std::os::unix::fs::symlink(other.maildir().join("new"), world.maildir().join("new")).unwrap();
    assert!(matches!(world.try_open().await, Err(OpenError::Broken { .. })));
    assert!(world.store.deliver(&john()).is_err());
}

#[tokio::test]
async fn a_maildir_that_is_a_link_is_followed_only_if_an_operator_made_it() {
    let world = World::with(&[("new/1", b"of john\n")]);
    let mal = restante_proto::UserName::new("mal").unwrap();
    let link = world.folder.path().join("mal");
    std::os::unix::fs::symlink("john", &link).unwrap();
    assert_eq!(world.store.open(&mal).await.unwrap().messages(), 1, "our own");
    if !rustix::process::geteuid().is_root() {
        return; // Only root can give a link away.
    }
    std::os::unix::fs::lchown(&link, Some(65534), Some(65534)).unwrap();
    let Err(OpenError::Broken { context, source }) = world.store.open(&mal).await else { panic!("followed") };
    assert!(context.contains("mal") && source.to_string().contains("uid 65534"), "{context}: {source}");
    assert!(world.store.deliver(&mal).is_err());
    // Nor on the way that another link leads.
    let jack = restante_proto::UserName::new("jack").unwrap();
    std::os::unix::fs::symlink("mal", world.folder.path().join("jack")).unwrap();
    assert!(matches!(world.store.open(&jack).await, Err(OpenError::Broken { .. })));
    assert_eq!(world.files().len(), 1);
}

#[tokio::test]
async fn the_lock_is_on_the_maildir_itself_and_leaves_no_file() {
    let world = World::with(&[("new/1", b"Subject: 1\n")]);
    let dir = fs::File::open(world.maildir()).unwrap();
    rustix::fs::flock(&dir, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(matches!(world.try_open().await, Err(OpenError::Busy)), "another process has it");
    drop(dir);
    let session = world.open().await;
    assert!(matches!(world.try_open().await, Err(OpenError::Busy)));
    // Another way to the same Maildir.
    std::os::unix::fs::symlink(world.maildir(), world.folder.path().join("jack")).unwrap();
    let jack = restante_proto::UserName::new("jack").unwrap();
    assert!(matches!(world.store.open(&jack).await, Err(OpenError::Busy)));
    drop(session);
    assert_eq!(world.store.open(&jack).await.unwrap().messages(), 1);
    let names: Vec<_> =
        fs::read_dir(world.maildir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "tmp, new, cur and the state file: {names:?}");
}

#[tokio::test]
async fn the_lock_is_free_before_the_commit_has_answered() {
    let world = World::with(&[]);
    for _ in 0..200 {
        let drop = world.open().await;
        drop.commit(Marks::default()).await.unwrap();
    }
}

#[tokio::test]
async fn another_message_under_a_deleted_ones_name_stays() {
    let world = World::with(&[("cur/1:2,S", b"Subject: read\n")]);
    let drop = world.open().await;
    world.put("new", b"1", b"Subject: another, by a program that repeats names\n");
    drop.commit(marks(&[0], 1)).await.unwrap();
    assert_eq!(world.files(), ["new/1".to_owned()].into());
    let ids = world.ids().await;
    assert!(ids.len() == 1 && ids[0] != "1", "nor is it shown under the deleted one's id: {ids:?}");
    assert_eq!(world.ids().await, ids);
}

#[tokio::test]
async fn a_message_whose_name_gets_sizes_under_an_open_session_is_found_again() {
    let world = World::with(&[
        ("new/1", b"Subject: 11\n"),
        ("new/2", b"Subject: 22\n"),
        ("new/3", b"Subject: 3\n"),
        ("cur/4,S=11:2,", b"Subject: 4\n"),
    ]);
    let mut drop = world.open().await;
    world.rename("new/1", "cur/1,S=12:2,S");
    world.rename("new/2", "cur/2,S=12:2,S");
    world.rename("cur/4,S=11:2,", "cur/4,S=11,W=12:2,S");
    assert_eq!(read(&mut *drop, 0).await, b"Subject: 11\r\n");
    world.rename("cur/1,S=12:2,S", "cur/1,S=12,W=13:2,S");
    assert_eq!(read(&mut *drop, 0).await, b"Subject: 11\r\n");
    drop.commit(marks(&[0, 1, 3], 4)).await.unwrap();
    assert_eq!(world.files(), ["new/3".to_owned()].into(), "+OK says that they are gone");
}

#[tokio::test]
async fn a_twin_of_a_deleted_message_stays() {
    // One stem, one size, one time: only the names tell them apart.
    let world = World::with(&[("new/1,S=11", b"Subject: 1\n"), ("new/1,S=11,W=12", b"Subject: 2\n")]);
    let now = std::time::SystemTime::now();
    for name in ["new/1,S=11", "new/1,S=11,W=12"] {
        fs::File::options().write(true).open(world.maildir().join(name)).unwrap().set_modified(now).unwrap();
    }
    let drop = world.open().await;
    assert_eq!(drop.messages(), 2);
    drop.commit(marks(&[0], 2)).await.unwrap();
    assert_eq!(world.files(), ["new/1,S=11,W=12".to_owned()].into());
}

#[tokio::test]
async fn a_delivery_is_a_maildir_file_as_others_make_them() {
    let world = World::new();
    conformance::deliver(&world, &john(), b"Subject: a\r\n\r\nbody\r\n.\r\nno end");
    let files = world.files();
    let name = files.first().unwrap();
    let file = world.maildir().join(name);
    assert_eq!(fs::read(&file).unwrap(), b"Subject: a\n\nbody\n.\nno end\n");
    assert!(name.starts_with("new/") && name.ends_with(",S=26,W=31"), "{name}");
    assert!(!name.contains(':'));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file), mode(world.maildir().join("tmp")), mode(world.maildir())), (0o600, 0o700, 0o700));
    assert_eq!(fs::read_dir(world.maildir().join("tmp")).unwrap().count(), 0);
    assert_eq!(*world.open().await.known_sizes().unwrap(), [31]);
}

#[tokio::test]
async fn what_lies_in_tmp_is_not_mail() {
    let world = World::with(&[("tmp/1", b"Subject: half\n")]);
    let mut delivery = world.store.deliver(&john()).unwrap();
    delivery.write(b"Subject: unfinished\n").unwrap();
    assert_eq!(world.open().await.messages(), 0);
    assert_eq!(fs::read_dir(world.maildir().join("tmp")).unwrap().count(), 2);
    drop(delivery);
    let left = || fs::read_dir(world.maildir().join("tmp")).unwrap().count();
    assert_eq!(left(), 1, "ours is tidied up, another's is not");
    // But after 36 hours.
    let file = fs::File::options().write(true).open(world.maildir().join("tmp/1")).unwrap();
    for (hours, files) in [(35, 1), (37, 0)] {
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
        file.set_times(fs::FileTimes::new().set_accessed(time).set_modified(time)).unwrap();
        conformance::deliver(&world, &john(), b"Subject: a\n");
        assert_eq!(left(), files);
    }
}

#[tokio::test]
async fn maildirsize_follows_deletions_and_deliveries_where_it_exists() {
    let world = World::with(&[
        ("new/1", b"Subject: 1\n"),
        ("cur/2:2,S", b"Subject: 22\n"),
        ("cur/3:2,ST", b"Subject: 333\n"), // trashed mail does not count in Maildir++
        ("cur/4:2,S", b"Subject: 4\n"),
    ]);
    let quota = world.maildir().join("maildirsize");
    let drop = world.open().await;
    drop.commit(Marks::default()).await.unwrap();
    assert!(!quota.exists(), "it is never created");
    fs::write(&quota, "1000000S,100C\n34 3\n").unwrap();
    let drop = world.open().await;
    drop.commit(marks(&[0, 1, 2], 4)).await.unwrap();
    assert_eq!(fs::read_to_string(&quota).unwrap(), "1000000S,100C\n34 3\n-23 -2\n");
    conformance::deliver(&world, &john(), b"Subject: 5\n");
    assert_eq!(fs::read_to_string(&quota).unwrap(), "1000000S,100C\n34 3\n-23 -2\n11 1\n");
    let drop = world.open().await;
    drop.commit(Marks::default()).await.unwrap();
    assert_eq!(fs::read_to_string(&quota).unwrap().lines().count(), 4, "nothing removed, nothing told");
}

#[tokio::test]
async fn a_session_without_news_writes_nothing() {
    let world = World::with(&[("new/1", b"Subject: 1\n")]);
    let mut drop = world.open().await;
    drop.sizes().await.unwrap();
    drop.commit(Marks::default()).await.unwrap();
    let before = fs::metadata(world.state_file()).unwrap().ino();
    let mut drop = world.open().await;
    assert_eq!(*drop.known_sizes().unwrap(), [12], "counted once and remembered");
    assert_eq!(read(&mut *drop, 0).await, b"Subject: 1\r\n");
    drop.commit(Marks::default()).await.unwrap();
    assert_eq!(fs::metadata(world.state_file()).unwrap().ino(), before, "the state file is as it was");
}

#[tokio::test]
async fn a_copy_of_the_descriptor_in_another_process_does_not_keep_the_lock() {
    let world = World::with(&[("new/1", b"Subject: 1\n")]);
    // What a child has between fork and exec.
    let mut copies = Vec::new();
    let drop = world.open().await;
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        if fs::read_link(&path).is_ok_and(|target| target == world.maildir()) {
            let number: i32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let pid = rustix::process::getpid();
            let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
            copies.push(
                rustix::process::pidfd_getfd(process, number, rustix::process::PidfdGetfdFlags::empty())
                    .unwrap(),
            );
        }
    }
    assert_eq!(copies.len(), 1);
    std::mem::drop(drop);
    assert_eq!(world.open().await.messages(), 1);
}
