//! Reading and writing the state file of a Maildir. Only who holds the lock does so.
//!
//! A state file that cannot be read or written costs time and never mail: what it says can be found again.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use rustix::{
    fs::{self, AtFlags, Mode, OFlags},
    io::Errno,
};

use super::{
    dir::{Dir, Fault, retry},
    state::{State, StateError},
};
use crate::crash;

/// The name of the state file in the Maildir.
pub const STATE_FILE: &str = "restante-index";

/// What it is called while it is written.
const STATE_FILE_TEMPORARY: &str = "restante-index.tmp";

/// The longest state file that is read, in octets: some hundred for each of a million messages.
const STATE_MAX_OCTETS: u64 = 512 << 20;

/// Reads the state file. Where there is none, or none that can be used, the state is empty.
pub(super) fn read(dir: Dir<'_>) -> State {
    match load(dir) {
        Ok(state) => state.unwrap_or_default(),
        Err(why) => {
            // A rebuilt state has the same ids where they come from the names: all but those of messages that share
            // a name with another one, now or before.
            let maildir = dir.path.display();
            tracing::warn!(%maildir, file = STATE_FILE, %why, "the state file is not used, and is rebuilt");
            State::default()
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Parse(#[from] StateError),
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("it is longer than {STATE_MAX_OCTETS} octets")]
    TooLong,
}

fn load(dir: Dir<'_>) -> Result<Option<State>, Unusable> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match retry(|| fs::openat(dir.fd, STATE_FILE, flags, Mode::empty())) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(io::Error::from(errno).into()),
    };
    let mut octets = Vec::new();
    if file.take(STATE_MAX_OCTETS + 1).read_to_end(&mut octets)? as u64 > STATE_MAX_OCTETS {
        return Err(Unusable::TooLong);
    }
    Ok(Some(State::parse(&octets)?))
}

/// Replaces the state file: whoever reads it, now or after a crash, finds the old one or the new one.
pub(super) fn write(dir: Dir<'_>, state: &State) -> Result<(), Fault> {
    let fault = |source: io::Error| Fault::new("writing", dir.path.join(STATE_FILE), source);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What a crash left behind. Its absence is the usual case, and any other failure shows in the next call.
    match retry(|| fs::unlinkat(dir.fd, STATE_FILE_TEMPORARY, AtFlags::empty())) {
        Ok(()) | Err(_) => {}
    }
    let file = retry(|| fs::openat(dir.fd, STATE_FILE_TEMPORARY, flags, Mode::RUSR | Mode::WUSR));
    let mut file = File::from(file.map_err(|errno| fault(errno.into()))?);
    crash::point("state: created");
    let written = file.write_all(&state.to_octets()).and_then(|()| {
        crash::point("state: written");
        file.sync_all()
    });
    let renamed = written.and_then(|()| {
        crash::point("state: synced");
        Ok(retry(|| fs::renameat(dir.fd, STATE_FILE_TEMPORARY, dir.fd, STATE_FILE))?)
    });
    crash::point("state: renamed");
    if let Err(source) = renamed {
        // A full disk is not made fuller; if even that fails, the next writer removes it.
        match retry(|| fs::unlinkat(dir.fd, STATE_FILE_TEMPORARY, AtFlags::empty())) {
            Ok(()) | Err(_) => {}
        }
        return Err(fault(source));
    }
    Ok(())
}
