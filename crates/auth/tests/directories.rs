//! The conformance suite on every directory there is.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{cell::Cell, fs};

use restante_auth::{MemoryDirectory, StoredPassword, UsersFileDirectory, conformance};
use restante_proto::UserName;

#[tokio::test]
async fn memory() {
    conformance::check(|users| {
        MemoryDirectory::new(users.iter().map(|(name, field)| {
            (UserName::new(name).unwrap(), StoredPassword::parse(field.as_bytes()).unwrap())
        }))
    })
    .await;
}

#[tokio::test]
async fn users_file() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Cell::new(0));
    conformance::check(|users| {
        files.set(files.get() + 1);
        let path = folder.path().join(format!("users{}", files.get()));
        let lines: String = users.iter().map(|(name, field)| format!("{name}:{field}\n")).collect();
        fs::write(&path, lines).unwrap();
        UsersFileDirectory::open(path).unwrap()
    })
    .await;
}
