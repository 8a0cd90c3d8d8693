//! A command as a destination.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::fs;

use restante_fetch::destination::{self, Destination, Promise, Spec, conformance, conformance::Fixture};
use restante_store::conformance::canonical;
use tempfile::TempDir;

/// A command that keeps each message in a file of its own.
struct World(TempDir);

impl Fixture for World {
    fn open(&self) -> Box<dyn Destination> {
        let command = format!("cat > \"$(mktemp {}/XXXXXXXX)\"", self.0.path().display());
        destination::open(&Spec::parse(&format!("command:{command}")).unwrap()).unwrap()
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        let files = fs::read_dir(self.0.path()).unwrap();
        files.map(|file| canonical(&fs::read(file.unwrap().path()).unwrap())).collect()
    }

    fn form(&self, message: &[u8]) -> Vec<u8> {
        canonical(message)
    }

    fn leftovers(&self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn it_conforms() {
    conformance::check(|| World(tempfile::tempdir().unwrap()));
}

#[test]
fn it_says_that_it_promises_less() {
    let open = |written: &str| destination::open(&Spec::parse(written).unwrap());
    assert!(matches!(open("command:true").unwrap().promise(), Promise::AtLeastOnce(_)));
    assert!(open("command: ").is_err());
}
