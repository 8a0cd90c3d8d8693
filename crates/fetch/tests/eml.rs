//! A folder of .eml files as a destination.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use std::{fs, time::Duration};

use restante_fetch::destination::{Fate, conformance, conformance::Fixture as _};
use support::{Files, World, mode, open_at, the_childs_root};

fn world() -> World {
    World::new(Files::Eml)
}

#[test]
fn it_conforms() {
    conformance::check(world);
}

#[test]
fn killed_at_each_step_each_message_is_there_once() {
    support::killed_at_each_step(Files::Eml, "killed", 12, |_| None);
}

#[test]
fn killed() {
    let Some(root) = the_childs_root() else { return };
    support::deliver_with_journal(&root, Files::Eml);
}

#[test]
fn files_sort_in_the_order_of_delivery() {
    let world = world();
    let messages: Vec<_> = (0..20).map(conformance::message).collect();
    conformance::deliver(&*world.open(), &messages);
    let mut names: Vec<_> = fs::read_dir(world.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let there: Vec<_> = names.iter().map(|name| fs::read(name).unwrap()).collect();
    assert_eq!(there, messages);
}

#[test]
fn after_a_long_time_only_the_file_itself_proves_it() {
    let world = world();
    let destination = world.open();
    let mut batch = destination.batch().unwrap();
    batch.begin().unwrap();
    batch.finish().unwrap();
    let token = batch.sync().remove(0).unwrap();
    batch.publish(0).unwrap();
    let mut intent = conformance::intent(token.clone(), b"");
    intent.age = Duration::from_secs(31 * 60 * 60);
    assert_eq!(destination.resolve(&intent), Ok(Fate::Delivered));
    fs::remove_file(world.path().join(format!("{}.eml", token.as_str()))).unwrap();
    assert!(matches!(destination.resolve(&intent), Ok(Fate::Unknown(_))));
    intent.age = Duration::ZERO;
    assert_eq!(destination.resolve(&intent), Ok(Fate::Delivered));
}

#[test]
fn a_missing_parent_and_a_file_in_its_place_are_told() {
    let world = world();
    let error = open_at(&world.folder.path().join("disk"), Files::Eml).unwrap_err().to_string();
    assert!(error.contains("disk that is not mounted"), "{error}");
    fs::write(world.path(), "").unwrap();
    let error = open_at(world.folder.path(), Files::Eml).unwrap_err().to_string();
    assert!(error.contains("is no folder"), "{error}");
}

#[test]
fn one_of_another_user_is_told() {
    let world = world();
    conformance::deliver(&*world.open(), &[conformance::message(0)]);
    mode(world.folder.path(), 0o755);
    mode(&world.path(), 0o555);
    support::as_somebody_else("denied", world.folder.path());
    mode(&world.path(), 0o700);
}

#[test]
fn denied() {
    let Some(root) = the_childs_root() else { return };
    let error = open_at(&root, Files::Eml).unwrap_err().to_string();
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
    support::a_large_one_between_two_small_ones(&root, Files::Eml);
}

#[test]
fn a_batch_needs_no_more_descriptors_than_there_are() {
    support::with_few_descriptors(Files::Eml);
}

#[test]
fn many_messages() {
    let Some(root) = the_childs_root() else { return };
    support::many_messages(&root, Files::Eml);
}
