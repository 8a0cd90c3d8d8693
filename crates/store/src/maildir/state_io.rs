//! Reading and writing the state file of a Maildir. Only who holds the lock does so.
//!
//! What is new is appended; where that has become much, the file is replaced. A state file that is lost or cannot be
//! written costs time and never mail: nearly all it says can be found again.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::FileExt,
};

use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    dir::{Dir, Fault, Stamp, retry, size_octets},
    format::{HEAD_MAX_OCTETS, Loaded, STATE_MAX_OCTETS},
    said::{self, About},
    state::{News, State, StateError},
};
use crate::crash;

/// The name of the state file in the Maildir.
pub const STATE_FILE: &str = "restante-index";

/// What it is called while it is written.
const STATE_FILE_TEMPORARY: &str = "restante-index.tmp";

/// What a damaged one is called, so that it can be looked into.
const STATE_FILE_DAMAGED: &str = "restante-index.damaged";

/// So much may be appended, in octets, and half as much as the first frame has, before the file is replaced.
const APPENDED_MAX_OCTETS: u64 = 64 * 1024;

/// The state file as this session read or wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StateFile {
    /// Which file it is; `None` where there is none that could be used.
    pub(super) identity: Option<Identity>,
    first_octets: u64,
    used_octets: u64,
    /// Whether it is not to be replaced: it is of another version, or was not ours to read.
    pub(super) keep: bool,
}

/// What tells whether a file is the one that was read or written, and is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    stamp: Stamp,
    octets: u64,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { stamp: Stamp::of(stat), octets: size_octets(stat) }
    }
}

/// What the state file says.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) state: State,
    pub(super) file: StateFile,
}

/// Which file the state file is now, if there is one.
pub(super) fn identity(dir: Dir<'_>) -> Option<Identity> {
    retry(|| fs::statat(dir.fd, STATE_FILE, AtFlags::SYMLINK_NOFOLLOW)).ok().map(|stat| Identity::of(&stat))
}

/// Reads the state file. Where there is none, or none that can be used, the state is empty.
///
/// An error is one of the system: to go on without the state would forget it.
pub(super) fn read(dir: Dir<'_>) -> Result<Remembered, Fault> {
    let why = match load(dir) {
        Ok(remembered) => {
            said::is_news(dir.path, About::Unused, None::<()>);
            return Ok(remembered.unwrap_or_default());
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
    Ok(Remembered { state: State::default(), file: StateFile { keep, ..StateFile::default() } })
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

fn load(dir: Dir<'_>) -> Result<Option<Remembered>, Unusable> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = match retry(|| fs::openat(dir.fd, STATE_FILE, flags, Mode::empty())) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(Unusable::NotRegular),
        Err(errno) => return Err(io::Error::from(errno).into()),
    };
    let stat = retry(|| fs::fstat(&file)).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Unusable::NotRegular);
    }
    // The owner of a Maildir may put anything here: what is no state file is not read to its end.
    let mut octets = Vec::new();
    (&mut file).take(HEAD_MAX_OCTETS as u64).read_to_end(&mut octets)?;
    State::check_head(&octets)?;
    let too_long = |octets: u64| octets > STATE_MAX_OCTETS;
    if too_long(size_octets(&stat)) {
        return Err(Unusable::TooLong);
    }
    octets.reserve(usize::try_from(size_octets(&stat)).unwrap_or(0));
    file.take(STATE_MAX_OCTETS).read_to_end(&mut octets)?;
    if too_long(octets.len() as u64) {
        return Err(Unusable::TooLong);
    }
    let Loaded { state, first_octets, used_octets } = State::load(&octets)?;
    if used_octets < octets.len() as u64 {
        let octets = octets.len() as u64 - used_octets;
        tracing::info!(maildir = %dir.path.display(), file = STATE_FILE, octets, "what a crash left half written is left out");
    }
    let identity = Some(Identity::of(&stat));
    Ok(Some(Remembered { state, file: StateFile { identity, first_octets, used_octets, keep: false } }))
}

/// Brings the state file up to date: whoever reads it, now or after a crash, finds it as it was or as it is to be.
pub(super) fn write(dir: Dir<'_>, state: &mut State, file: &mut StateFile) -> Result<(), Fault> {
    let appended = file.used_octets - file.first_octets;
    let few =
        state.news.places.len() <= state.len() / 2 && appended <= file.first_octets / 2 + APPENDED_MAX_OCTETS;
    let done = match file.identity {
        Some(identity) if few && !state.news.renumbered => append(dir, state, identity, file)?,
        _ => false,
    };
    if !done {
        let octets = state.to_octets();
        // Until it is known which file is there now.
        file.identity = None;
        let identity = replace(dir, &octets, STATE_MAX_OCTETS, state.has_own_ids())?;
        let octets = octets.len() as u64;
        *file =
            StateFile { identity: Some(identity), first_octets: octets, used_octets: octets, keep: false };
        // Who had which id may not be lost with the power, unless the names tell it again.
        if state.news.own_ids {
            let synced = crash::noted("fsync maildir", retry(|| fs::fsync(dir.fd)));
            synced.map_err(|errno| Fault::new("syncing", dir.path, errno))?;
        }
    }
    state.news = News::default();
    crash::point("state: durable");
    Ok(())
}

/// Appends what is new to the state file; `false` if that is another file by now.
fn append(dir: Dir<'_>, state: &State, identity: Identity, file: &mut StateFile) -> Result<bool, Fault> {
    let fault = |source: io::Error| Fault::new("writing", dir.path.join(STATE_FILE), source);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(fd) = retry(|| fs::openat(dir.fd, STATE_FILE, flags, Mode::empty())) else { return Ok(false) };
    let stat = |fd: &File| retry(|| fs::fstat(fd)).map_err(|errno| fault(errno.into()));
    let fd = File::from(fd);
    if Identity::of(&stat(&fd)?) != identity {
        return Ok(false);
    }
    let octets = state.news_to_octets();
    if file.used_octets + octets.len() as u64 > STATE_MAX_OCTETS {
        return Ok(false);
    }
    file.identity = None;
    if identity.octets > file.used_octets {
        fd.set_len(file.used_octets).map_err(fault)?;
    }
    crash::point("state: opened");
    crash::noted("append state", fd.write_all_at(&octets, file.used_octets)).map_err(fault)?;
    crash::point("state: appended");
    // Who had which id may not be lost with the power, unless the names tell it again.
    if state.news.own_ids {
        crash::noted("fsync state", fd.sync_data()).map_err(fault)?;
        crash::point("state: synced");
    }
    file.used_octets += octets.len() as u64;
    file.identity = Some(Identity::of(&stat(&fd)?));
    Ok(true)
}

/// Replaces the state file; it is made durable before it replaces another one that must not be lost.
fn replace(dir: Dir<'_>, octets: &[u8], max_octets: u64, sync: bool) -> Result<Identity, Fault> {
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
        if sync { crash::noted("fsync state", file.sync_all()) } else { Ok(()) }
    });
    let renamed = written.and_then(|()| {
        crash::point("state: synced");
        let renamed = retry(|| fs::renameat(dir.fd, STATE_FILE_TEMPORARY, dir.fd, STATE_FILE));
        Ok(crash::noted("rename state", renamed)?)
    });
    crash::point("state: renamed");
    let stat = renamed.and_then(|()| Ok(retry(|| fs::fstat(&file))?));
    stat.map(|stat| Identity::of(&stat)).map_err(|source| {
        // A full disk is not made fuller; if even that fails, the next writer removes it.
        match retry(|| fs::unlinkat(dir.fd, STATE_FILE_TEMPORARY, AtFlags::empty())) {
            Ok(()) | Err(_) => {}
        }
        fault(source)
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use restante_proto::UniqueId;

    use super::*;
    use crate::maildir::{
        dir::{Place, open_path},
        state::{Count, Facts, Located},
    };

    fn opened() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().unwrap();
        let fd = open_path(folder.path()).unwrap().unwrap();
        (folder, fd)
    }

    fn push(state: &mut State, name: &str) {
        let located = Located { place: Place::New, suffix: b"", inode: 1 };
        let facts = Facts { stored: 1, modified_ns: 1 };
        state.push(name.as_bytes(), &UniqueId::new(name.as_bytes()).unwrap(), located, facts, Count::Unknown);
    }

    #[test]
    fn what_is_too_long_is_neither_read_nor_written() {
        let (folder, fd) = opened();
        let dir = Dir { fd: fd.as_fd(), path: folder.path() };
        let octets = State::default().to_octets();
        replace(dir, &octets, octets.len() as u64, true).unwrap();
        assert_eq!(load(dir).unwrap().unwrap().state, State::default());
        let fault = replace(dir, &[0; 100], 99, true).unwrap_err();
        assert_eq!(fault.source.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(load(dir).unwrap().unwrap().state, State::default(), "the old one is still there");
        // Files with holes: they cost nothing, and reading them should not either.
        let file = File::options().write(true).open(folder.path().join(STATE_FILE)).unwrap();
        file.set_len(STATE_MAX_OCTETS + 1).unwrap();
        assert!(matches!(load(dir), Err(Unusable::TooLong)));
        let mut file = File::create(folder.path().join(STATE_FILE)).unwrap();
        file.set_len(STATE_MAX_OCTETS).unwrap();
        assert!(matches!(load(dir), Err(Unusable::Parse(StateError::Head))));
        file.write_all(b"restante-index 3\n").unwrap();
        assert!(matches!(load(dir), Err(Unusable::Parse(StateError::Version))));
    }

    #[test]
    fn what_is_new_is_appended_until_that_is_much() {
        let (folder, fd) = opened();
        let dir = Dir { fd: fd.as_fd(), path: folder.path() };
        let (mut state, mut file) = (State::default(), StateFile::default());
        (0..1000).for_each(|n| push(&mut state, &format!("first{n}")));
        write(dir, &mut state, &mut file).unwrap();
        let (mut appends, mut replacements) = (0, 0);
        for n in 0..3000 {
            push(&mut state, &format!("then{n}"));
            let before = file;
            crash::take_noted();
            write(dir, &mut state, &mut file).unwrap();
            let calls = crash::take_noted();
            if calls == ["append state"] {
                appends += 1;
                assert!(file.used_octets - before.used_octets < 300, "as much as is new");
            } else {
                replacements += 1;
                assert_eq!(calls, ["write state", "rename state"]);
            }
            assert!(!state.is_dirty());
        }
        assert!((2..10).contains(&replacements) && appends > 2900, "{replacements}");
        let read = load(dir).unwrap().unwrap();
        assert_eq!((&read.state, read.file), (&state, file));
        // Most of it changed: all of it is written.
        (0..state.len() - 10).for_each(|place| state.missing(place, 1));
        write(dir, &mut state, &mut file).unwrap();
        assert_eq!(crash::take_noted(), ["write state", "rename state"]);
    }

    #[test]
    fn who_had_which_id_is_durable_before_it_is_told() {
        let (folder, fd) = opened();
        let dir = Dir { fd: fd.as_fd(), path: folder.path() };
        let (mut state, mut file) = (State::default(), StateFile::default());
        push(&mut state, "1");
        write(dir, &mut state, &mut file).unwrap();
        let located = Located { place: Place::New, suffix: b"", inode: 2 };
        let facts = Facts { stored: 1, modified_ns: 1 };
        state.push(b"2", &UniqueId::new(b"another").unwrap(), located, facts, Count::Unknown);
        state.news.own_ids = true;
        crash::take_noted();
        let mut twin = (state.clone(), StateFile::default());
        write(dir, &mut state, &mut file).unwrap();
        assert_eq!(crash::take_noted(), ["append state", "fsync state"]);
        write(dir, &mut twin.0, &mut twin.1).unwrap();
        assert_eq!(crash::take_noted(), ["write state", "fsync state", "rename state", "fsync maildir"]);
    }

    #[test]
    fn a_file_that_another_program_changed_is_replaced_and_not_appended_to() {
        let (folder, fd) = opened();
        let dir = Dir { fd: fd.as_fd(), path: folder.path() };
        let (mut state, mut file) = (State::default(), StateFile::default());
        push(&mut state, "1");
        write(dir, &mut state, &mut file).unwrap();
        let path = folder.path().join(STATE_FILE);
        std::fs::write(&path, "something else").unwrap();
        push(&mut state, "2");
        write(dir, &mut state, &mut file).unwrap();
        assert_eq!(load(dir).unwrap().unwrap().state, state);
        std::fs::remove_file(&path).unwrap();
        push(&mut state, "3");
        write(dir, &mut state, &mut file).unwrap();
        assert_eq!(load(dir).unwrap().unwrap().state, state);
    }

    #[test]
    fn what_a_crash_left_of_an_append_is_left_out_and_overwritten() {
        let (folder, fd) = opened();
        let dir = Dir { fd: fd.as_fd(), path: folder.path() };
        let (mut state, mut file) = (State::default(), StateFile::default());
        push(&mut state, "1");
        write(dir, &mut state, &mut file).unwrap();
        let first = state.clone();
        push(&mut state, "2");
        write(dir, &mut state, &mut file).unwrap();
        let path = folder.path().join(STATE_FILE);
        let whole = std::fs::read(&path).unwrap();
        for cut in file.first_octets as usize..whole.len() {
            let cases = [whole[..cut].to_vec(), {
                // The size grew, and the octets never came.
                let mut zeros = whole.clone();
                zeros[cut..].fill(0);
                zeros
            }];
            for octets in cases {
                std::fs::write(&path, &octets).unwrap();
                let Remembered { state: mut read, file: mut read_file } = load(dir).unwrap().unwrap();
                assert_eq!(read, first, "cut at {cut}");
                push(&mut read, "3");
                write(dir, &mut read, &mut read_file).unwrap();
                let again = load(dir).unwrap().unwrap();
                assert_eq!((again.state, again.file), (read, read_file));
                assert!(State::parse(&std::fs::read(&path).unwrap()).is_ok(), "nothing is left behind it");
            }
        }
    }
}
