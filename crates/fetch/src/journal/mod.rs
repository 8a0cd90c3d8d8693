//! The journal of an account: what is known of each message, on disk, so that nothing is delivered twice and nothing is
//! deleted before it was delivered.
//!
//! A file that is appended to: one record a line (`record.rs`), each with a checksum; a last line that was torn by a crash
//! is cut off. A power failure may leave more than that: of what was not synced, the disk keeps what it likes. So each
//! sync is noted by a record behind it; damage behind the last of these is cut off, and damage before it is refused. When more of it is history than news it is written anew beside itself and renamed into place. One process at
//! a time has it open, by a lock on the file.

mod record;
mod state;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use restante_store::crash;
use rustix::fs::{FlockOperation, flock};

pub(crate) use record::header_digest;
pub use record::{Key, MARK_OCTETS, Mark, Record};
pub(crate) use state::INTERRUPTED;
pub use state::{Aside, Bound, Known, Stage, State};

use crate::destination::{Intent, Token};

/// What the first line says; another number is another program's.
const HEADER: &str = "restante journal 1\n";

/// The longest journal that is read, in octets.
const FILE_MAX_OCTETS: u64 = 4 << 30;

/// A journal is written anew when it has more than this many records that say nothing any more, and more of them than others.
const HISTORY_MAX_RECORDS: usize = 1000;

/// The journal of one account, open and locked.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    state: State,
    /// How many records the file has.
    records: usize,
    /// How many octets of the file are whole records.
    octets: u64,
    /// What the file holds was synced, and no record says so yet.
    unmarked: bool,
    /// Something could not be written: what the file holds is not known any more, and nothing is added to it.
    broken: bool,
    /// Lines on their way; kept to be used again.
    lines: Vec<u8>,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it open.
    #[error("another run for this account is under way")]
    Busy,
    /// It is none, or of a newer version.
    #[error("{} is no journal of this version", .0.display())]
    Version(PathBuf),
    /// It is that of another mailbox: what it says of unique-ids says nothing of this one.
    #[error(
        "{} is the journal of another mailbox, that of {user}: give the account another name, or move the journal away if it is the same mailbox after all, and everything is fetched again",
        .path.display()
    )]
    OtherMailbox {
        /// Which.
        path: PathBuf,
        /// Whose mailbox it is.
        user: String,
    },
    /// It is damaged in its middle, where no crash could damage it.
    #[error(
        "{} is damaged in line {line}: restore it from a backup, or move it away, and everything is fetched again",
        .path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// Something could not be written before, so that nothing more is.
    #[error("writing {} failed before", .0.display())]
    Broken(PathBuf),
    /// The file system failed.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl JournalError {
    /// Whether it may go better in a while without anybody doing anything.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Broken(_) | Self::Io { .. })
    }
}

impl Journal {
    /// Opens and locks the journal; it is created, with its folder, where it is missing.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let fail = |doing| move |source| JournalError::Io { doing, path: path.to_owned(), source };
        create_folder(folder_of(path)).map_err(fail("creating the folder of"))?;
        let file = loop {
            let mut options = OpenOptions::new();
            let file = options
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .map_err(fail("opening"))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(JournalError::Busy),
                Err(errno) => return Err(fail("locking")(errno.into())),
            }
            // It may have been written anew between the opening and the lock: then this is the old one.
            if is_same(&file, path).map_err(fail("looking at"))? {
                break file;
            }
        };
        let mut journal = Self {
            path: path.to_owned(),
            file,
            state: State::default(),
            records: 0,
            octets: 0,
            unmarked: false,
            broken: false,
            lines: Vec::new(),
        };
        journal.read()?;
        if journal.records > 2 * journal.state.records_len() + HISTORY_MAX_RECORDS
            && let Err(error) = journal.write_anew()
        {
            // As it is it says the same, only longer.
            tracing::warn!(%error, "a journal that is mostly history stays as it is");
        }
        Ok(journal)
    }

    /// What the journal knows, for looking only: without a lock, and without creating anything. `None` where there is none.
    pub fn look(path: &Path) -> Result<Option<State>, JournalError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::Io { doing: "opening", path: path.to_owned(), source }),
        };
        let text = read_all(&file, path)?;
        Ok(Some(replay(&text, path)?.0))
    }

    /// What is known.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Binds it to a mailbox and a destination; one that was bound to none is adopted. Gives what it was bound to, where
    /// that was something else; another user's it stays.
    pub fn bind(&mut self, to: &Bound) -> Result<Option<Bound>, JournalError> {
        let before = self.state.account.clone();
        if before.as_ref() == Some(to) {
            return Ok(None);
        }
        if let Some(Bound { user, .. }) = before.as_ref().filter(|before| before.user != to.user) {
            return Err(JournalError::OtherMailbox { path: self.path.clone(), user: user.clone() });
        }
        let Bound { user, host, to } = to.clone();
        let moved = before.as_ref().is_some_and(|before| before.host != host);
        let mut records = vec![Record::Account { user, host, to }];
        records.extend(moved.then_some(Record::Moved));
        self.append_durably(&records)?;
        Ok(before)
    }

    /// The time of a delivery: never before another time that is noted, whatever the clock says. Mail is deleted so long
    /// behind it, and a machine that comes up in 1970 must not make it old.
    pub fn time_of_delivery(&self) -> u64 {
        now().max(self.state.newest)
    }

    /// Appends records without waiting for the disk: they survive this process, though not the machine.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        self.lines.clear();
        let mark = self.unmarked.then_some(&Record::Synced);
        for record in mark.into_iter().chain(records) {
            record.write(&mut self.lines);
        }
        self.write_lines()?;
        self.unmarked = false;
        self.records += records.len() + usize::from(mark.is_some());
        for record in records {
            self.state.apply(record);
        }
        Ok(())
    }

    /// Appends records, durably.
    pub fn append_durably(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        self.append(records)?;
        self.sync()
    }

    /// Makes durable what was appended.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        // After a failure nobody knows what of it is on disk, and asking once more would say that all is well.
        self.file.sync_data().map_err(|source| {
            self.broken = true;
            self.failed("syncing", source)
        })?;
        self.unmarked = true;
        crash::point("journal: synced");
        Ok(())
    }

    /// Writes the lines; where that fails in the middle, half a line must not stay before the next one.
    fn write_lines(&mut self) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken(self.path.clone()));
        }
        if let Err(source) = self.file.write_all(&self.lines) {
            self.broken = true;
            // If that fails too, the next opening cuts it off: it is the last line.
            drop(self.file.set_len(self.octets));
            return Err(self.failed("writing", source));
        }
        self.octets += self.lines.len() as u64;
        crash::point("journal: appended");
        Ok(())
    }

    /// The intents that have no end: what became of them is to be asked before anything else is done.
    pub fn intents(&self, now: u64) -> Vec<(Key, Intent)> {
        let open = |(key, known): (&Key, &Known)| match &known.stage {
            Stage::Intent(token) => {
                let age = Duration::from_secs(now.saturating_sub(known.at));
                let intent = Intent { token: token.clone(), octets: known.octets, digest: known.digest, age };
                Some((key.clone(), intent))
            }
            _ => None,
        };
        let mut intents: Vec<_> = self.state.iter().filter_map(open).collect();
        // In the order in which they were written down, as far as that matters: tokens count up.
        intents.sort_by(|(_, a), (_, b)| (b.age, a.token.as_str()).cmp(&(a.age, b.token.as_str())));
        intents
    }

    fn read(&mut self) -> Result<(), JournalError> {
        let text = read_all(&self.file, &self.path)?;
        let (state, records, whole) = replay(&text, &self.path)?;
        if whole < text.len() {
            // The end was torn by a crash, or never all written; what it would have said was never relied on.
            let cut = self.file.set_len(whole as u64).and_then(|()| self.file.sync_data());
            cut.map_err(|source| self.failed("mending", source))?;
            crash::point("journal: mended");
        }
        (self.state, self.records, self.octets) = (state, records, whole as u64);
        if whole == 0 {
            self.lines = HEADER.as_bytes().to_vec();
            self.write_lines()?;
            // Its name too: intents in a file that is not found again would be none.
            let synced = self.file.sync_all().and_then(|()| sync_folder(folder_of(&self.path)));
            synced.map_err(|source| self.failed("syncing", source))?;
            self.unmarked = true;
            crash::point("journal: created");
        }
        Ok(())
    }

    /// Writes what is known into a new file, which then takes the place of this one.
    fn write_anew(&mut self) -> Result<(), JournalError> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let mut text = HEADER.as_bytes().to_vec();
        let records = self.state.records();
        records.iter().for_each(|record| record.write(&mut text));
        let written = (|| {
            let mut options = OpenOptions::new();
            // Appended to and locked before it has its name: nobody else can come between.
            let mut file = options.read(true).append(true).create(true).mode(0o600).open(&beside)?;
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.set_len(0)?;
            file.write_all(&text)?;
            file.sync_all()?;
            crash::point("journal: written anew");
            fs::rename(&beside, &self.path)?;
            crash::point("journal: renamed");
            Ok(file)
        })();
        if written.is_err() {
            // Without it there may be room again.
            drop(fs::remove_file(&beside));
        }
        self.file = written.map_err(|source| self.failed("writing anew", source))?;
        (self.records, self.octets, self.unmarked) = (records.len(), text.len() as u64, true);
        // Until then the old one may come back after a crash, and what is appended to this one would be lost.
        sync_folder(folder_of(&self.path)).map_err(|source| {
            self.broken = true;
            self.failed("syncing the folder of", source)
        })
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> JournalError {
        JournalError::Io { doing, path: self.path.clone(), source }
    }
}

impl Drop for Journal {
    /// What was synced last is marked, so that damage there is not taken for what a crash left.
    ///
    /// Unlocked by a word of its own: a process that was just forked for a command would hold the lock on until it runs that.
    fn drop(&mut self) {
        if self.unmarked && !self.broken {
            self.lines.clear();
            Record::Synced.write(&mut self.lines);
            if let Err(error) = self.write_lines() {
                tracing::warn!(%error, "a journal's last sync is not noted in it");
            }
        }
        // If that fails, closing the file does it.
        let _closed_instead = flock(&self.file, FlockOperation::Unlock);
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Creates what is missing of this folder, durably.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    create_folder(above)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => sync_folder(above),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (open, there) = (file.metadata()?, fs::metadata(path));
    match there {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_all(file: &File, path: &Path) -> Result<Vec<u8>, JournalError> {
    let mut text = Vec::new();
    let read = file.take(FILE_MAX_OCTETS).read_to_end(&mut text);
    read.map_err(|source| JournalError::Io { doing: "reading", path: path.to_owned(), source })?;
    Ok(text)
}

/// What a journal says, how many records it has, and how many octets of it are whole.
fn replay(text: &[u8], path: &Path) -> Result<(State, usize, usize), JournalError> {
    let Some(mut rest) = text.strip_prefix(HEADER.as_bytes()) else {
        // A header that was torn itself.
        return match HEADER.as_bytes().starts_with(text) {
            true => Ok((State::default(), 0, 0)),
            false => Err(JournalError::Version(path.to_owned())),
        };
    };
    let (mut state, mut records, mut line) = (State::default(), 0, 1);
    // Older journals have no marks: there, nobody knows what was synced.
    let mut is_marked = false;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        line += 1;
        match Record::parse(&rest[..end]) {
            Some(record) => {
                is_marked |= record == Record::Synced;
                state.apply(&record);
            }
            // The last line, and torn: the disk may have kept its end and not its beginning.
            None if end + 1 == rest.len() => break,
            // What was not synced need not come to the disk in order.
            None if is_marked && !has_mark(&rest[end + 1..]) => break,
            None => return Err(JournalError::Damaged { path: path.to_owned(), line }),
        }
        records += 1;
        rest = &rest[end + 1..];
    }
    Ok((state, records, text.len() - rest.len()))
}

/// Whether any of these lines says that everything before it was synced.
fn has_mark(lines: &[u8]) -> bool {
    lines.split(|&octet| octet == b'\n').any(|line| Record::parse(line) == Some(Record::Synced))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Kept so that a token from a journal is as legal as a new one.
fn token(text: &str) -> Option<Token> {
    Token::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> Key {
        Key::of_id(&restante_proto::UniqueId::new(id.as_bytes()).unwrap())
    }

    fn intent(id: &str) -> Record {
        Record::Intent {
            key: key(id),
            octets: 7,
            listed: Some(9),
            digest: [1; 32],
            header: Some([2; 16]),
            token: Token::new("tmp/x").unwrap(),
            at: 1000,
        }
    }

    #[test]
    fn what_is_appended_is_there_after_a_crash_and_a_torn_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/john.journal");
        let mut journal = Journal::open(&path).unwrap();
        journal
            .append_durably(&[intent("a"), intent("b"), Record::Delivered { key: key("a"), at: 1001 }])
            .unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let known = journal.state().len();
            assert!(known <= 2);
            // It goes on from there.
            journal.append(&[intent("c")]).unwrap();
            drop(journal);
            assert_eq!(Journal::open(&path).unwrap().state().len(), known + 1, "cut at {cut}");
        }
        fs::write(&path, &whole).unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.intents(1010).len(), 1);
        let (open, intent) = &journal.intents(1010)[0];
        assert_eq!((open, intent.age.as_secs(), intent.token.as_str()), (&key("b"), 10, "tmp/x"));
        assert!(matches!(Journal::open(&path), Err(JournalError::Busy)));
        assert_eq!(Journal::look(&path).unwrap().unwrap().len(), 2);
    }

    #[test]
    fn what_was_not_synced_may_be_on_disk_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("john.journal");
        let synced = {
            let mut journal = Journal::open(&path).unwrap();
            journal.append_durably(&[intent("a"), intent("b")]).unwrap();
            let synced = usize::try_from(journal.octets).unwrap();
            journal.append(&[Record::Delivered { key: key("a"), at: 1 }, intent("c"), intent("d")]).unwrap();
            // The process goes on; the machine does not.
            journal.broken = true;
            synced
        };
        let whole = fs::read(&path).unwrap();
        for at in HEADER.len()..whole.len() - 150 {
            let mut text = whole.clone();
            // A hole where a block was not written.
            text[at..at + 150].fill(0);
            fs::write(&path, &text).unwrap();
            match Journal::open(&path) {
                // Where it took the mark with it, or the line end before, nothing tells that it was synced.
                Ok(journal) => {
                    assert!(at + 150 >= synced, "damage of what was synced, at {at}");
                    assert!(at < synced || journal.state().len() == 2, "{at}");
                }
                Err(JournalError::Damaged { .. }) => assert!(at < synced, "{at}"),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn damage_in_the_middle_and_other_versions_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("john.journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.append_durably(&[intent("a"), intent("b")]).unwrap();
        drop(journal);
        let mut text = fs::read(&path).unwrap();
        text[HEADER.len() + 40] ^= 1;
        fs::write(&path, &text).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Damaged { line: 3, .. })));
        // One that has no marks, as older programs wrote them.
        let mut text = HEADER.as_bytes().to_vec();
        [intent("a"), intent("b"), intent("c")].iter().for_each(|record| record.write(&mut text));
        text[HEADER.len() + 30] ^= 1;
        fs::write(&path, &text).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Damaged { line: 2, .. })));
        fs::write(&path, "restante journal 2\n").unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Version(_))));
        fs::write(&path, "something else").unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Version(_))));
    }

    #[test]
    fn a_journal_that_is_mostly_history_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("john.journal");
        let mut journal = Journal::open(&path).unwrap();
        for at in 0..2000 {
            journal.append(&[Record::Login { at }]).unwrap();
        }
        journal.append(&[intent("a"), Record::Delivered { key: key("a"), at: 5 }]).unwrap();
        drop(journal);
        let before = fs::metadata(&path).unwrap().len();
        let mut journal = Journal::open(&path).unwrap();
        assert!(fs::metadata(&path).unwrap().len() < before / 10);
        assert!(matches!(Journal::open(&path), Err(JournalError::Busy)), "the new file is locked too");
        journal.append(&[intent("b")]).unwrap();
        drop(journal);
        let state = Journal::look(&path).unwrap().unwrap();
        assert_eq!((state.len(), state.login), (2, Some(1999)));
        assert!(matches!(state.get(&key("a")).unwrap().stage, Stage::Delivered));
    }

    #[test]
    fn it_is_written_anew_once_and_not_at_every_opening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("john.journal");
        let mut journal = Journal::open(&path).unwrap();
        for n in 0..2000 {
            let key = key(&n.to_string());
            journal
                .append(&[
                    intent(&n.to_string()),
                    Record::Delivered { key: key.clone(), at: 1 },
                    Record::Deleted { key: key.clone(), at: 2 },
                    Record::Gone { key: key.clone(), at: 3 },
                    Record::Failed {
                        key: self::key(&format!("bad{n}")),
                        at: 1,
                        broke: true,
                        why: "x".into(),
                    },
                ])
                .unwrap();
        }
        assert_eq!(journal.state().records_len(), journal.state().records().len());
        drop(journal);
        let octets = || fs::metadata(&path).unwrap().len();
        let before = octets();
        drop(Journal::open(&path).unwrap());
        assert_eq!(
            octets(),
            before,
            "it is longer than its messages are many, and says no more than is needed"
        );
    }

    #[test]
    fn what_fails_at_its_last_step_is_counted_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("john.journal");
        let mut journal = Journal::open(&path).unwrap();
        for at in 1..=5 {
            let failed = Record::Failed { key: key("a"), at, broke: false, why: "no".into() };
            journal.append(&[intent("a"), failed]).unwrap();
        }
        let attempts = |state: &State, id| match &state.get(&key(id)).unwrap().stage {
            Stage::Aside(aside) => aside.attempts,
            stage => panic!("{stage:?}"),
        };
        assert_eq!(attempts(journal.state(), "a"), 5);
        journal.append(&[intent("a"), Record::Undone { key: key("a") }]).unwrap();
        assert_eq!(attempts(journal.state(), "a"), 5);
        journal.append(&[intent("a")]).unwrap();
        journal.write_anew().unwrap();
        let mut journal = {
            drop(journal);
            Journal::open(&path).unwrap()
        };
        assert_eq!(journal.intents(1010).len(), 1);
        journal.append(&[Record::Delivered { key: key("a"), at: 9 }]).unwrap();
        assert_eq!(journal.state().get(&key("a")).unwrap().failures, 0);
    }

    #[test]
    fn nothing_is_added_behind_what_could_not_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("john.journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.append(&[intent("a")]).unwrap();
        // A file that may be read only: writing fails, as on a full disk.
        let good = std::mem::replace(&mut journal.file, File::open(&path).unwrap());
        assert!(matches!(journal.append(&[intent("b")]), Err(JournalError::Io { .. })));
        journal.file = good;
        assert!(matches!(journal.append(&[intent("b")]), Err(JournalError::Broken(_))));
        assert_eq!(journal.state().len(), 1);
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().state().len(), 1);
    }
}
