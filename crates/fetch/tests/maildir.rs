//! The Maildir as a destination.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use restante_fetch::destination::{Fate, Fault, conformance, conformance::Fixture as _};
use support::{Files, World, mode, open_at, the_childs_root};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn world() -> World {
    World::new(Files::Maildir)
}

#[test]
fn it_conforms() {
    conformance::check(world);
}

#[test]
fn killed_at_each_step_each_message_is_there_once() {
    support::killed_at_each_step(Files::Maildir, "killed", 12, |_| None);
}

#[test]
fn killed() {
    let Some(root) = the_childs_root() else { return };
    support::deliver_with_journal(&root, Files::Maildir);
}

#[test]
fn a_mail_program_may_move_and_remove_what_came() {
    for remove in [false, true] {
        let world = world();
        let destination = world.open();
        let mut batch = destination.batch().unwrap();
        batch.begin().unwrap();
        batch.finish().unwrap();
        let token = batch.sync().remove(0).unwrap();
        batch.publish(0).unwrap();
        let name = fs::read_dir(world.path().join("new")).unwrap().next().unwrap().unwrap().file_name();
        let (from, to) = (world.path().join("new").join(&name), world.path().join("cur"));
        fs::rename(from, to.join(format!("{}:2,S", name.to_str().unwrap()))).unwrap();
        if remove {
            fs::remove_dir_all(&to).unwrap();
        }
        let mut intent = conformance::intent(token, b"");
        assert_eq!(destination.resolve(&intent), Ok(Fate::Delivered));
        // So old that another program may have cleaned tmp/.
        intent.age = 31 * HOUR;
        let fate = destination.resolve(&intent).unwrap();
        assert_eq!(matches!(fate, Fate::Unknown(_)), remove, "{fate:?}");
    }
}

#[test]
fn what_somebody_removed_from_tmp_is_not_taken_for_delivered() {
    let world = world();
    let destination = world.open();
    let mut batch = destination.batch().unwrap();
    batch.begin().unwrap();
    batch.finish().unwrap();
    let token = batch.sync().remove(0).unwrap();
    fs::remove_file(world.path().join("tmp").join(token.as_str())).unwrap();
    assert!(batch.publish(0).is_err());
    drop(batch);
    assert_eq!(destination.resolve(&conformance::intent(token, b"")), Ok(Fate::NotDelivered));
    conformance::deliver(&*destination, &[conformance::message(0)]);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn a_link_that_was_made_is_a_delivery() {
    // What a crash leaves on a file system without a rename that replaces nothing.
    let world = world();
    let destination = world.open();
    let mut batch = destination.batch().unwrap();
    batch.begin().unwrap();
    batch.finish().unwrap();
    let token = batch.sync().remove(0).unwrap();
    drop(batch);
    let staged = world.path().join("tmp").join(token.as_str());
    let backup = world.folder.path().join("backup");
    fs::hard_link(&staged, &backup).unwrap();
    let intent = conformance::intent(token.clone(), b"");
    assert_eq!(world.open().resolve(&intent), Ok(Fate::NotDelivered), "a backup is no delivery");
    fs::hard_link(&staged, world.path().join("new").join(format!("{},S=0,W=0", token.as_str()))).unwrap();
    assert_eq!(destination.resolve(&intent), Ok(Fate::Delivered));
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn it_is_created_for_its_owner_alone_but_not_what_it_stands_in() {
    let world = world();
    conformance::deliver(&*world.open(), &[conformance::message(0)]);
    let mode_of = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in ["", "tmp", "new", "cur"] {
        assert_eq!(mode_of(&world.path().join(folder)), 0o700);
    }
    let file = fs::read_dir(world.path().join("new")).unwrap().next().unwrap().unwrap();
    assert_eq!(mode_of(&file.path()), 0o600);
    let name = file.file_name().into_string().unwrap();
    assert!(name.contains(",S=") && name.contains(",W="), "{name}");

    let error = open_at(&world.folder.path().join("disk"), Files::Maildir).unwrap_err().to_string();
    assert!(error.contains("disk that is not mounted"), "{error}");
    // The disk goes while we are running.
    let destination = world.open();
    fs::rename(world.folder.path(), world.folder.path().with_extension("away")).unwrap();
    let intent = conformance::intent(restante_fetch::destination::Token::new("1.M2").unwrap(), b"");
    let unmounted = |fault: Fault| assert!(fault.to_string().contains("is a disk not mounted?"), "{fault}");
    unmounted(destination.batch().map(drop).unwrap_err());
    unmounted(destination.resolve(&intent).unwrap_err());
    fs::rename(world.folder.path().with_extension("away"), world.folder.path()).unwrap();
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let world = world();
    fs::create_dir(world.path()).unwrap();
    assert!(open_at(world.folder.path(), Files::Maildir).is_ok(), "an empty one becomes a Maildir");
    fs::create_dir(world.path().join("new")).unwrap();
    assert!(open_at(world.folder.path(), Files::Maildir).is_ok(), "one that was begun is completed");
    fs::write(world.path().join("letter.txt"), "").unwrap();
    let error = open_at(world.folder.path(), Files::Maildir).unwrap_err().to_string();
    assert!(error.contains("is no Maildir"), "{error}");
}

#[test]
fn one_of_another_user_is_told() {
    let world = world();
    conformance::deliver(&*world.open(), &[conformance::message(0)]);
    mode(world.folder.path(), 0o755);
    for folder in ["", "tmp", "new", "cur"] {
        mode(&world.path().join(folder), 0o555);
    }
    support::as_somebody_else("denied", world.folder.path());
    for folder in ["", "tmp", "new", "cur"] {
        mode(&world.path().join(folder), 0o700);
    }
}

#[test]
fn denied() {
    let Some(root) = the_childs_root() else { return };
    let error = open_at(&root, Files::Maildir).unwrap_err().to_string();
    assert!(error.contains("permission denied") && error.contains("belongs to uid"), "{error}");
}

#[test]
fn a_message_that_does_not_fit_does_not_stop_the_others() {
    let world = world();
    support::with_small_files("small_files", world.folder.path(), 200);
    assert_eq!(world.messages().len(), 2);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

#[test]
fn small_files() {
    let Some(root) = the_childs_root() else { return };
    support::a_large_one_between_two_small_ones(&root, Files::Maildir);
}

#[test]
fn a_batch_needs_no_more_descriptors_than_there_are() {
    support::with_few_descriptors(Files::Maildir);
}

#[test]
fn many_messages() {
    let Some(root) = the_childs_root() else { return };
    support::many_messages(&root, Files::Maildir);
}
