//! What became of a message whose delivery was interrupted, under the lock of its mbox: it is compared with its spool where
//! it should stand.
//!
//! A part of it is removed. If another program has appended mail behind that part meanwhile, the mail is moved down, and
//! that is a redo: what is moved stands in a durable file beside the mbox before anything is touched, so that a crash in
//! the middle is repaired by the next run.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use restante_store::crash;
use sha2::{Digest, Sha256};

use super::{
    super::{Fate, Token, dotfile::Folder, spec::above},
    COPIED_OCTETS, is_spool,
};

/// What may have to be supplied before a separator.
pub(super) const LINE_ENDS: &[u8; 2] = b"\n\n";

/// How much before the first message of a batch must be as it was, in octets.
const TAIL_OCTETS: u64 = 4096;

/// How much of an entry is searched for at first, in octets.
const NEEDLE_OCTETS: usize = 256;

/// The longest separator line that is recognised, in octets.
const SEPARATOR_MAX_OCTETS: u64 = 1000;

/// Where a message will stand, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The name of its spool.
    pub(super) name: String,
    /// The length of the mbox before the batch.
    pub(super) base: u64,
    /// Where it begins.
    pub(super) at: u64,
    /// How many line ends are supplied before it.
    pub(super) prefix: u8,
    /// The length of its spool.
    pub(super) octets: u64,
    /// A digest of the last octets before `base`.
    pub(super) tail: u64,
}

impl Ticket {
    pub(super) fn token(&self) -> Option<Token> {
        let Self { name, base, at, prefix, octets, tail } = self;
        Token::new(format!("{name}/{base}/{at}/{prefix}/{octets}/{tail:016x}"))
    }

    pub(super) fn parse(token: &Token) -> Option<Self> {
        let mut fields = token.as_str().split('/');
        let name = fields.next().filter(|name| is_spool(name))?.to_owned();
        let mut number = || fields.next()?.parse::<u64>().ok();
        let (base, at, prefix, octets) = (number()?, number()?, number()?, number()?);
        let tail = u64::from_str_radix(fields.next()?, 16).ok()?;
        let prefix = u8::try_from(prefix).ok().filter(|&prefix| usize::from(prefix) <= LINE_ENDS.len())?;
        let sane = base <= at && at.checked_add(octets)?.checked_add(u64::from(prefix)).is_some();
        (sane && fields.next().is_none()).then_some(Self { name, base, at, prefix, octets, tail })
    }

    /// How many octets are appended.
    pub(super) fn total(&self) -> u64 {
        u64::from(self.prefix) + self.octets
    }
}

/// A digest of the last octets before `end`.
pub(super) fn tail(mbox: &File, end: u64) -> io::Result<u64> {
    let digest = Sha256::digest(read(mbox, end.saturating_sub(TAIL_OCTETS), end)?);
    Ok(digest.iter().take(8).fold(0, |number, &octet| number << 8 | u64::from(octet)))
}

/// How many line ends are missing before a separator may stand at the end.
pub(super) fn missing_line_ends(mbox: &File, end: u64) -> io::Result<u8> {
    let last = read(mbox, end.saturating_sub(2), end)?;
    Ok(match &*last {
        [] | b"\n\n" => 0,
        [.., b'\n'] => 1,
        _ => 2,
    })
}

/// Reads a range that is not long.
fn read(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?];
    file.read_exact_at(&mut octets, from)?;
    Ok(octets)
}

/// An mbox that is locked, and where its spools are.
pub(super) struct Place<'a> {
    pub(super) folder: &'a Folder,
    pub(super) path: &'a Path,
    pub(super) mbox: &'a File,
}

impl Place<'_> {
    /// Finds out what became of a message, and removes a part of it.
    pub(super) fn recover(&self, ticket: &Ticket, spool: &File) -> io::Result<Fate> {
        self.redo(&ticket.name)?;
        let length = self.mbox.metadata()?.len();
        if spool.metadata()?.len() != ticket.octets {
            return Ok(Fate::Unknown("its temporary file was changed".into()));
        }
        if length < ticket.base || tail(self.mbox, ticket.base)? != ticket.tail {
            return self.search(ticket, spool, length);
        }
        let expected = ticket.total();
        if length <= ticket.at {
            return Ok(Fate::NotDelivered);
        }
        let common = self.common(ticket, spool, length)?;
        if common == expected {
            self.mbox.sync_all()?;
            return Ok(Fate::Delivered);
        }
        if ticket.at + common == length {
            self.mbox.set_len(ticket.at)?;
            self.mbox.sync_all()?;
            return Ok(Fate::NotDelivered);
        }
        match self.stranger(ticket, common, length)? {
            Some(part) => {
                self.remove(ticket, part, length)?;
                Ok(Fate::NotDelivered)
            }
            None => self.search(ticket, spool, length),
        }
    }

    /// How many octets from where it should stand are those of the message.
    fn common(&self, ticket: &Ticket, spool: &File, length: u64) -> io::Result<u64> {
        let mut done = 0;
        let total = ticket.total().min(length - ticket.at);
        let prefix = u64::from(ticket.prefix);
        while done < total {
            let until = (done + COPIED_OCTETS as u64).min(total);
            let there = read(self.mbox, ticket.at + done, ticket.at + until)?;
            let mut ours = Vec::with_capacity(there.len());
            if done < prefix {
                ours.extend(LINE_ENDS[..usize::from(ticket.prefix)].iter().take(there.len()));
            }
            let from = (done + ours.len() as u64).saturating_sub(prefix);
            ours.extend(read(spool, from, from + (there.len() - ours.len()) as u64)?);
            let same = there.iter().zip(&ours).take_while(|(a, b)| a == b).count();
            done += same as u64;
            if same < there.len() {
                break;
            }
        }
        Ok(done)
    }

    /// How many of the octets that are like ours are ours, where another program's separator follows them.
    ///
    /// Its first octets may be like ours too, but not beyond its first line. One line that is wholly like ours is ours,
    /// and was changed behind it.
    fn stranger(&self, ticket: &Ticket, common: u64, length: u64) -> io::Result<Option<u64>> {
        let at = ticket.at + common;
        let from = at.saturating_sub(SEPARATOR_MAX_OCTETS).max(ticket.at);
        let window = read(self.mbox, from, (at + SEPARATOR_MAX_OCTETS).min(length))?;
        let differs = usize::try_from(at - from).map_err(io::Error::other)?;
        let line_ends = window[differs..].iter().take_while(|&&octet| octet == b'\n').count();
        let last = differs + line_ends;
        // On one line with the first octet that differs.
        let first = memchr::memrchr(b'\n', &window[..differs]).map_or(0, |line_end| line_end + 1);
        let first = if line_ends > 0 { last } else { first };
        let begins = |start: &usize| is_separator(&window[*start..]);
        let found = (first..=last).rev().find(begins);
        Ok(found.map(|start| from - ticket.at + start.min(differs) as u64))
    }

    /// Removes the first `part` octets of what was appended; what follows them is another's, and is moved down.
    fn remove(&self, ticket: &Ticket, part: u64, length: u64) -> io::Result<()> {
        // The line ends that were missing stay.
        let kept = part.min(u64::from(ticket.prefix));
        if part > kept {
            self.write_redo(
                &ticket.name,
                Redo { to: ticket.at + kept, from: ticket.at + part, end: length },
            )?;
            self.redo(&ticket.name)?;
        }
        Ok(())
    }

    /// Looks for the whole message anywhere.
    fn search(&self, ticket: &Ticket, spool: &File, length: u64) -> io::Result<Fate> {
        let needle = read(spool, 0, ticket.octets.min(NEEDLE_OCTETS as u64))?;
        let finder = memchr::memmem::Finder::new(&needle);
        let mut from = 0;
        while from + ticket.octets <= length {
            let until = (from + COPIED_OCTETS as u64 + NEEDLE_OCTETS as u64).min(length);
            let window = read(self.mbox, from, until)?;
            for found in finder.find_iter(&window) {
                let here = Ticket { at: from + found as u64, prefix: 0, ..ticket.clone() };
                if self.common(&here, spool, length)? == ticket.octets {
                    self.mbox.sync_all()?;
                    return Ok(Fate::Delivered);
                }
            }
            from += COPIED_OCTETS as u64;
        }
        Ok(Fate::Unknown(
            "another program has changed the mbox since, and the message is not in it as it was".into(),
        ))
    }
}

/// Whether a separator line stands here: `From `, a name, and somewhere a time of day.
fn is_separator(text: &[u8]) -> bool {
    let line = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
    let is_time =
        |five: &[u8]| five[2] == b':' && [0, 1, 3, 4].iter().all(|&at: &usize| five[at].is_ascii_digit());
    line.starts_with(b"From ") && line.windows(5).any(is_time)
}

/// A move of `from..end` down to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Redo {
    to: u64,
    from: u64,
    end: u64,
}

const REDO_HEAD_OCTETS: u64 = 24;

impl Redo {
    fn head(self) -> Vec<u8> {
        [self.to, self.from, self.end].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let (to, from, end) = (number(0)?, number(8)?, number(16)?);
        (to <= from && from <= end).then_some(Self { to, from, end })
    }

    /// Where the mbox ends afterwards.
    const fn new_end(self) -> u64 {
        self.end - (self.from - self.to)
    }
}

impl Place<'_> {
    fn redo_path(&self, name: &str) -> PathBuf {
        let mbox = self.path.file_name().unwrap_or_default().to_string_lossy();
        above(self.path).join(format!(".{mbox}.{name}.redo"))
    }

    /// Writes down what is to be moved: all of `to..end`, as it is now.
    fn write_redo(&self, name: &str, redo: Redo) -> io::Result<()> {
        self.save_redo(name, redo, |out| copy_range(self.mbox, redo.to..redo.end, out))
    }

    fn save_redo(
        &self,
        name: &str,
        redo: Redo,
        content: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.redo_path(name);
        let draft = path.with_extension("draft");
        let mut file = private(&draft)?;
        file.write_all(&redo.head())?;
        content(&mut file)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        self.sync_folder()?;
        crash::point("mbox: redo written");
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync().map_err(io::Error::other)
    }

    /// Does what is written down, if something is: begun, done, or not begun.
    fn redo(&self, name: &str) -> io::Result<()> {
        let path = self.redo_path(name);
        let mut side = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let mut head = Vec::new();
        (&mut side).take(REDO_HEAD_OCTETS).read_to_end(&mut head)?;
        let redo = Redo::parse(&head).ok_or(io::ErrorKind::InvalidData)?;
        let length = self.mbox.metadata()?.len();
        let is_done = length < redo.end || !self.is_as_it_was(redo, &side)?;
        if !is_done {
            if length > redo.end {
                // Somebody has appended more meanwhile.
                let longer = Redo { end: length, ..redo };
                self.save_redo(name, longer, |out| {
                    copy_range(&side, REDO_HEAD_OCTETS..REDO_HEAD_OCTETS + (redo.end - redo.to), out)?;
                    copy_range(self.mbox, redo.end..length, out)
                })?;
                return self.redo(name);
            }
            self.move_down(redo, &side)?;
        }
        fs::remove_file(&path)?;
        self.sync_folder()?;
        crash::point("mbox: redone");
        Ok(())
    }

    /// Whether the end that will be cut off is still there: it is not written over before it is cut off.
    fn is_as_it_was(&self, redo: Redo, side: &File) -> io::Result<bool> {
        let mut at = redo.new_end();
        while at < redo.end {
            let until = (at + COPIED_OCTETS as u64).min(redo.end);
            let shift = |offset: u64| offset - redo.to + REDO_HEAD_OCTETS;
            if read(self.mbox, at, until)? != read(side, shift(at), shift(until))? {
                return Ok(false);
            }
            at = until;
        }
        Ok(true)
    }

    fn move_down(&self, redo: Redo, side: &File) -> io::Result<()> {
        let mut at = redo.from;
        while at < redo.end {
            let until = (at + COPIED_OCTETS as u64).min(redo.end);
            let octets = read(side, at - redo.to + REDO_HEAD_OCTETS, until - redo.to + REDO_HEAD_OCTETS)?;
            self.mbox.write_all_at(&octets, at - (redo.from - redo.to))?;
            at = until;
            crash::point("mbox: a piece moved");
        }
        self.mbox.sync_all()?;
        self.mbox.set_len(redo.new_end())?;
        crash::point("mbox: cut");
        self.mbox.sync_all()
    }
}

/// A new file that nobody else may read.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn copy_range(file: &File, range: std::ops::Range<u64>, out: &mut File) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let until = (at + COPIED_OCTETS as u64).min(range.end);
        out.write_all(&read(file, at, until)?)?;
        at = until;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
