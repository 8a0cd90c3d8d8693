//! Reading and writing the state file of a Maildir. Only who holds the lock does so.
//!
//! A state file that is lost or cannot be written costs time and never mail: nearly all it says can be found again.

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
    said::{self, About},
    state::{HEAD_MAX_OCTETS, STATE_MAX_OCTETS, State, StateError},
};
use crate::crash;

/// The name of the state file in the Maildir.
pub const STATE_FILE: &str = "restante-index";

/// What it is called while it is written.
const STATE_FILE_TEMPORARY: &str = "restante-index.tmp";

/// What a damaged one is called, so that it can be looked into.
const STATE_FILE_DAMAGED: &str = "restante-index.damaged";

/// What the state file says.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) state: State,
    /// Whether the state file is not to be replaced: it is of another version, or was not ours to read.
    pub(super) keep: bool,
}

/// Reads the state file. Where there is none, or none that can be used, the state is empty.
///
/// An error is one of the system: to go on without the state would forget it.
pub(super) fn read(dir: Dir<'_>) -> Result<Remembered, Fault> {
    let why = match load(dir) {
        Ok(state) => {
            said::is_news(dir.path, About::Unused, None::<()>);
            return Ok(Remembered { state: state.unwrap_or_default(), keep: false });
        }
        Err(Unusable::Read(error)) if error.kind() != io::ErrorKind::PermissionDenied => {
            return Err(Fault::new("reading", dir.path.join(STATE_FILE), error));
        }
        Err(why) => why,
    };
    let maildir = dir.path.display();
    let keep = matches!(why, Unusable::Parse(StateError::Version) | Unusable::Read(_));
    if keep {
        if said::is_news(dir.path, About::Unused, Some(why.to_string())) {
            tracing::warn!(%maildir, file = STATE_FILE, %why, "the state file is not used, and is left as it is");
        }
    } else {
        // A rebuilt state has the same ids where they come from the names: all but those of messages that share
        // a name with another one, now or before.
        let aside = match why {
            Unusable::NotRegular => Ok(()),
            _ => retry(|| fs::renameat(dir.fd, STATE_FILE, dir.fd, STATE_FILE_DAMAGED)),
        };
        let not_kept = aside.err().map(tracing::field::display);
        tracing::warn!(%maildir, file = STATE_FILE, %why, not_kept, "the state file is not used, and is rebuilt");
    }
    Ok(Remembered { state: State::default(), keep })
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Parse(#[from] StateError),
    #[error("{0}")]
    Read(#[from] io::Error),
    #[error("it is no regular file")]
    NotRegular,
    #[error("it is longer than {STATE_MAX_OCTETS} octets")]
    TooLong,
}

fn load(dir: Dir<'_>) -> Result<Option<State>, Unusable> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = match retry(|| fs::openat(dir.fd, STATE_FILE, flags, Mode::empty())) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(Unusable::NotRegular),
        Err(errno) => return Err(io::Error::from(errno).into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Unusable::NotRegular);
    }
    // The owner of a Maildir may put anything here: what is no state file is not read to its end.
    let mut octets = Vec::new();
    (&mut file).take(HEAD_MAX_OCTETS as u64).read_to_end(&mut octets)?;
    State::check_head(&octets)?;
    let too_long = |octets: u64| octets > STATE_MAX_OCTETS;
    if too_long(metadata.len()) {
        return Err(Unusable::TooLong);
    }
    file.take(STATE_MAX_OCTETS).read_to_end(&mut octets)?;
    if too_long(octets.len() as u64) {
        return Err(Unusable::TooLong);
    }
    Ok(Some(State::parse(&octets)?))
}

/// Replaces the state file: whoever reads it, now or after a crash, finds the old one or the new one.
pub(super) fn write(dir: Dir<'_>, state: &State) -> Result<(), Fault> {
    let octets = state.to_octets();
    replace(dir, &octets, STATE_MAX_OCTETS)?;
    // What the names tell again may be lost with the power; who had which id may not.
    if state.knows_more_than_names() {
        let synced = crash::noted("fsync maildir", retry(|| fs::fsync(dir.fd)));
        synced.map_err(|errno| Fault::new("syncing", dir.path, errno))?;
    }
    crash::point("state: durable");
    Ok(())
}

fn replace(dir: Dir<'_>, octets: &[u8], max_octets: u64) -> Result<(), Fault> {
    let fault = |source: io::Error| Fault::new("writing", dir.path.join(STATE_FILE), source);
    if octets.len() as u64 > max_octets {
        // It would not be read again.
        return Err(fault(io::ErrorKind::FileTooLarge.into()));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // What a crash left behind. Its absence is the usual case, and any other failure shows in the next call.
    match retry(|| fs::unlinkat(dir.fd, STATE_FILE_TEMPORARY, AtFlags::empty())) {
        Ok(()) | Err(_) => {}
    }
    let file = retry(|| fs::openat(dir.fd, STATE_FILE_TEMPORARY, flags, Mode::RUSR | Mode::WUSR));
    let mut file = File::from(file.map_err(|errno| fault(errno.into()))?);
    crash::point("state: created");
    let written = crash::noted("write state", file.write_all(octets)).and_then(|()| {
        crash::point("state: written");
        crash::noted("fsync state", file.sync_all())
    });
    let renamed = written.and_then(|()| {
        crash::point("state: synced");
        let renamed = retry(|| fs::renameat(dir.fd, STATE_FILE_TEMPORARY, dir.fd, STATE_FILE));
        Ok(crash::noted("rename state", renamed)?)
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::maildir::dir::open_path;

    #[test]
    fn what_is_too_long_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let fd = open_path(folder.path()).unwrap().unwrap();
        let dir = Dir { fd: fd.as_fd(), path: folder.path() };
        let octets = State::default().to_octets();
        replace(dir, &octets, octets.len() as u64).unwrap();
        assert_eq!(load(dir).unwrap(), Some(State::default()));
        let fault = replace(dir, &[0; 100], 99).unwrap_err();
        assert_eq!(fault.source.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(load(dir).unwrap(), Some(State::default()), "the old one is still there");
        // Files with holes: they cost nothing, and reading them should not either.
        let file = File::options().write(true).open(folder.path().join(STATE_FILE)).unwrap();
        file.set_len(STATE_MAX_OCTETS + 1).unwrap();
        assert!(matches!(load(dir), Err(Unusable::TooLong)));
        let mut file = File::create(folder.path().join(STATE_FILE)).unwrap();
        file.set_len(STATE_MAX_OCTETS).unwrap();
        assert!(matches!(load(dir), Err(Unusable::Parse(StateError::Head))));
        file.write_all(b"restante-index 2\n").unwrap();
        assert!(matches!(load(dir), Err(Unusable::Parse(StateError::Version))));
    }
}
