//! A disk that becomes full, really: a small file system in memory, where this process may mount one. Where it may not,
//! the tests with small files (in `maildir.rs`, `eml.rs`, `mbox.rs`) show the same, and this one says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // tests: a panic is the report

mod support;

use std::process::Command;

use restante_fetch::destination::{Fault, conformance, conformance::Fixture as _};
use support::{Files, World};

/// A file system of 512 KiB, unmounted when it is dropped.
struct Disk(World);

impl Disk {
    fn mount(world: World) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(world.folder.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(world))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(self.0.folder.path()).status().unwrap().success());
    }
}

#[test]
fn nothing_is_lost_and_nothing_is_half_there() {
    for files in [Files::Maildir, Files::Eml, Files::Mbox] {
        let Some(disk) = Disk::mount(World::new(files)) else {
            println!("no file system may be mounted here: see the tests with small files");
            return;
        };
        let world = &disk.0;
        conformance::deliver(&*world.open(), &[conformance::message(0)]);
        let destination = world.open();
        let mut batch = destination.batch().unwrap();
        let (mut staged, mut refused) = (Vec::new(), 0);
        for n in 0..6 {
            let message = support::killed_message(n);
            let begun =
                batch.begin().and_then(|()| message.chunks(10_000).try_for_each(|piece| batch.write(piece)));
            match begun.and_then(|()| batch.finish()) {
                Ok(()) => staged.push(message),
                Err(Fault::Destination(why)) => {
                    assert!(why.contains("the disk is full"), "{why}");
                    batch.abandon();
                    refused += 1;
                }
                Err(fault) => panic!("{fault}"),
            }
        }
        assert!(refused > 0 && !staged.is_empty(), "{files:?}");
        let (mut there, mut not) = (vec![conformance::message(0)], Vec::new());
        let tokens: Vec<_> = batch.sync().into_iter().map(Result::unwrap).collect();
        for (place, token) in tokens.into_iter().enumerate() {
            match batch.publish(place) {
                Ok(()) => there.push(staged[place].clone()),
                Err(_) => not.push(conformance::intent(token, &staged[place])),
            }
        }
        batch.settle().unwrap();
        drop(batch);
        for intent in &not {
            assert_eq!(destination.resolve(intent), Ok(restante_fetch::destination::Fate::NotDelivered));
        }
        let mut found = world.messages();
        let mut expected: Vec<_> = there.iter().map(|message| world.form(message)).collect();
        found.sort();
        expected.sort();
        assert!(found == expected, "{files:?}: {} instead of {}", found.len(), expected.len());
    }
}
