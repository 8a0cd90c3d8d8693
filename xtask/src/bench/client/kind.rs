//! The clients under test: how each is configured and started, and where its mail arrives. One file each. How a run is
//! measured is `watch.rs`; how what arrived is checked, `arrived.rs`.

use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use super::{arrived::Arrived, cells::What};
use crate::bench::server::{MAIL_ID, package_version};

mod curl;
mod fetchmail;
pub(super) mod floor;
mod getmail;
mod mpop;
mod restante;

/// One client in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    /// Its folder, where it finds its configuration, keeps its state and puts the mail.
    pub(super) folder: &'a Path,
    /// Programs of ours that every user can reach: our client, and this one.
    pub(super) programs: &'a Path,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) messages: u32,
    pub(super) what: What,
}

impl Job<'_> {
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn show(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    /// Writes a file that is the client's, and that nobody else reads: some of them insist.
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        own(&path)
    }

    /// Makes an empty Maildir, which not every client makes by itself.
    fn maildir(&self, name: &str) -> io::Result<()> {
        for part in ["", "tmp", "new", "cur"] {
            let folder = self.file(name).join(part);
            fs::create_dir(&folder)?;
            own(&folder)?;
        }
        Ok(())
    }
}

/// Gives a file or a folder to the user whom clients run as.
pub(super) fn own(path: &Path) -> io::Result<()> {
    chown(path, Some(MAIL_ID), Some(MAIL_ID))
}

/// What is different about each client.
pub(super) trait Kind: Sync {
    fn name(&self) -> &'static str;
    /// The program and the Debian package that it comes in; none for our own.
    fn package(&self) -> Option<(&'static str, &'static str)>;
    fn version(&self) -> Option<String> {
        package_version(self.package()?.1)
    }
    /// How it is configured, in a few words.
    fn configured(&self) -> &'static str;
    /// Whether a message is on the disk when it counts as fetched.
    fn durable(&self) -> bool;
    /// Whether it knows what it fetched before.
    fn remembers(&self) -> bool {
        true
    }
    /// The exit status that says that nothing was new.
    fn nothing_new(&self) -> i32 {
        0
    }
    /// Writes its configuration, and makes the folders that it wants to be there.
    fn prepare(&self, job: &Job<'_>) -> io::Result<()>;
    /// The program with its arguments. It runs in the folder of the job, which is its home.
    fn command(&self, job: &Job<'_>) -> Vec<String>;
    fn arrived(&self, job: &Job<'_>) -> Arrived;
}

/// All of them, ours first.
pub(super) fn kinds() -> [&'static dyn Kind; 5] {
    [&restante::Restante, &mpop::Mpop, &fetchmail::Fetchmail, &getmail::Getmail, &curl::Curl]
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
