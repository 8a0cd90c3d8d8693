//! Maildirs for tests: a throw-away folder, files put in it by hand, and the store that serves it.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)] // tests: a panic is the report; each test uses a part

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use restante_proto::{Marks, UserName};
use restante_store::{
    MaildirStore, Maildrop, OpenError, Store,
    conformance::{self, Fixture},
    maildir::{Options, STATE_FILE},
};
use tempfile::TempDir;

/// A store of Maildirs in a throw-away folder.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: MaildirStore,
}

/// The user that most tests use.
pub(crate) fn john() -> UserName {
    UserName::new("john").unwrap()
}

/// The store of the Maildirs under `root`.
pub(crate) fn store_at(root: &Path) -> MaildirStore {
    let template = format!("{}/{{user}}", root.to_str().unwrap());
    MaildirStore::new(template.parse().unwrap(), Options::default())
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store_at(folder.path());
        Self { folder, store }
    }

    /// A world in which john's Maildir has these files, as `new/x` or `cur/x:2,S`.
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let world = Self::new();
        world.make();
        for (name, octets) in files {
            std::fs::write(world.maildir().join(name), octets).unwrap();
        }
        world
    }

    /// Makes john's Maildir.
    pub(crate) fn make(&self) {
        for folder in ["tmp", "new", "cur"] {
            std::fs::create_dir_all(self.maildir().join(folder)).unwrap();
        }
    }

    pub(crate) fn maildir(&self) -> PathBuf {
        self.folder.path().join("john")
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.maildir().join(STATE_FILE)
    }

    /// Writes a file whose name need not be text.
    pub(crate) fn put(&self, folder: &str, name: &[u8], octets: &[u8]) {
        std::fs::write(self.maildir().join(folder).join(OsStr::from_bytes(name)), octets).unwrap();
    }

    pub(crate) fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.maildir().join(from), self.maildir().join(to)).unwrap();
    }

    pub(crate) async fn open(&self) -> Box<dyn Maildrop> {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Box<dyn Maildrop>, OpenError> {
        self.store.open(&john()).await
    }

    /// The unique-ids in order, in a session of their own.
    pub(crate) async fn ids(&self) -> Vec<String> {
        conformance::unique_ids(&mut *self.open().await).await
    }

    /// Everything in new/ and cur/, sorted.
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        for folder in ["new", "cur"] {
            for entry in std::fs::read_dir(self.maildir().join(folder)).unwrap() {
                files.insert(format!("{folder}/{}", entry.unwrap().file_name().as_bytes().escape_ascii()));
            }
        }
        files
    }
}

impl Fixture for World {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn vanish(&self, user: &UserName, unique_id: &str) {
        let mut removed = 0;
        for folder in ["new", "cur"] {
            for entry in std::fs::read_dir(self.folder.path().join(user.as_str()).join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_str().unwrap().starts_with(unique_id) {
                    std::fs::remove_file(entry.path()).unwrap();
                    removed += 1;
                }
            }
        }
        assert_eq!(removed, 1);
    }
}

/// Marks of these indices in a drop of so many messages.
pub(crate) fn marks(indices: &[u32], messages: u32) -> Marks {
    let mut marks = Marks::default();
    assert!(indices.iter().all(|&index| marks.mark(index, messages)));
    marks
}

/// What is logged while it lives, in this thread and in the pool's threads that a current-thread runtime waits for.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Collects what this process logs from now on. One test a process may call it: spans and threads share it.
    pub(crate) fn of_this_process() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
            .with_writer(move || writer.clone())
            .init();
        log
    }

    /// The lines that were logged since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let octets = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(octets).unwrap().lines().map(str::to_owned).collect()
    }
}
