//! The Maildir++ quota file `maildirsize`: it follows what is delivered and removed, where it exists.
//!
//! Each change is one line `octets messages` at its end. It is never created and never recounted here; the programs
//! that own it do that. A change that is lost is put right by them.

use std::{fs::File, io::Write};

use rustix::{
    fs::{self, FileType, Mode, OFlags},
    io::Errno,
};

use super::dir::{Dir, retry};

const QUOTA_FILE: &str = "maildirsize";

/// How much mail came or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    octets: i128,
    messages: i64,
}

impl Change {
    /// One message of this stored size was removed.
    pub(super) fn removed(&mut self, stored: u64) {
        self.octets -= i128::from(stored);
        self.messages -= 1;
    }

    /// One message of this stored size was delivered.
    pub(super) fn delivered(&mut self, stored: u64) {
        self.octets += i128::from(stored);
        self.messages += 1;
    }
}

/// Appends a change to the quota file, if there is one.
pub(super) fn record(dir: Dir<'_>, change: Change) {
    if change == Change::default() {
        return;
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let written = match retry(|| fs::openat(dir.fd, QUOTA_FILE, flags, Mode::empty())) {
        Err(Errno::NOENT) => return,
        Err(errno) => Err(errno.into()),
        Ok(file) => append(File::from(file), change),
    };
    if let Err(error) = written {
        tracing::warn!(maildir = %dir.path.display(), %error, "{QUOTA_FILE} could not be kept up to date");
    }
}

fn append(mut file: File, change: Change) -> std::io::Result<()> {
    if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    // One write, so that lines of several writers do not mix.
    file.write_all(format!("{} {}\n", change.octets, change.messages).as_bytes())
}
