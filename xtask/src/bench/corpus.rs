//! The drops that the servers serve: Maildirs with messages of lines that end in LF, the same octets at each run and
//! for each server. Which drops there are, and what is asked of them, is `cells.rs`.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use super::server::MAIL_ID;

/// When the first message was delivered, in seconds since 1970; each later one came a second later.
const FIRST_SECONDS: u64 = 1_700_000_000;
/// The longest line of a body, without its LF.
const LINE_OCTETS: usize = 72;
/// One line in so many begins with a dot.
const DOTS: u64 = 50;

/// Whether the names of the files say how long the messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// `,S=` and `,W=`, as Dovecot's and our own delivery write them.
    Sized,
    /// Neither, as most other programs write them.
    Bare,
}

/// A kind of drop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drop {
    pub(super) messages: u32,
    /// The least and the most octets of a message as stored.
    pub(super) octets: (usize, usize),
    pub(super) names: Names,
    /// The files are so many different ones with many names each (hard links); `None`: each its own.
    pub(super) linked: Option<u32>,
}

/// What a drop holds: as many messages, of so many octets on the wire, without the dots that are stuffed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) messages: u64,
    pub(super) octets: u64,
}

/// A row of numbers that is the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A message as it is stored: a header, words in lines, some of which begin with a dot. As long as the drop's kind
/// says, to the octet.
pub(super) fn message(kind: &Drop, number: u32) -> Vec<u8> {
    let (least, most) = kind.octets;
    let mut numbers = Numbers(u64::from(number) << 8 ^ least as u64);
    let length = least + numbers.below(most - least + 1);
    let mut text = format!(
        "Return-Path: <sender{number}@example.org>\nDelivered-To: john@example.org\n\
         Date: Tue, 14 Nov 2023 22:{:02}:{:02} +0000\nFrom: Sender <sender{number}@example.org>\n\
         To: John <john@example.org>\nSubject: Message {number}\nMessage-ID: <{number}.bench@example.org>\n\
         MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n",
        number / 60 % 60,
        number % 60,
    )
    .into_bytes();
    while text.len() + 1 < length {
        let room = (length - text.len() - 1).min(LINE_OCTETS);
        line(&mut text, room, &mut numbers);
    }
    text.truncate(length.saturating_sub(1));
    text.push(b'\n');
    text
}

fn line(text: &mut Vec<u8>, room: usize, numbers: &mut Numbers) {
    let end = text.len() + room;
    if numbers.next().is_multiple_of(DOTS) {
        text.push(b'.');
    }
    while text.len() < end {
        let word = 2 + numbers.below(9);
        let mut letters = numbers.next();
        for _ in 0..word {
            text.push(b'a' + (letters % 26) as u8);
            letters /= 26;
        }
        text.push(b' ');
    }
    text.truncate(end);
    text.push(b'\n');
}

/// The message on the wire, without stuffed dots: each LF becomes CR LF.
pub(super) fn wire(stored: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(stored.len() + stored.len() / 32);
    for octet in stored {
        if *octet == b'\n' {
            wire.push(b'\r');
        }
        wire.push(*octet);
    }
    wire
}

/// The name of a message that is written as it is.
fn name_of(kind: &Drop, number: u32, stored: &[u8]) -> String {
    name(kind, number, stored.len() as u64, wire_octets(stored))
}

fn wire_octets(stored: &[u8]) -> u64 {
    (stored.len() + stored.iter().filter(|octet| **octet == b'\n').count()) as u64
}

fn name(kind: &Drop, number: u32, octets: u64, wire_octets: u64) -> String {
    let base = format!("{}.M{}P{number}.bench", FIRST_SECONDS + u64::from(number), number % 1_000_000);
    match kind.names {
        Names::Sized => format!("{base},S={octets},W={wire_octets}"),
        Names::Bare => base,
    }
}

/// Makes a Maildir, in place of one that is there. The messages were seen: they lie in `cur`. What is linked lies in
/// the folder `contents`, for all drops of the kind.
pub(super) fn make(maildir: &Path, kind: &Drop, contents: &Path) -> io::Result<Contents> {
    match fs::remove_dir_all(maildir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    fs::create_dir_all(maildir)?;
    // The folder above is the user's home.
    for folder in maildir.parent().into_iter().chain([maildir]) {
        own(folder)?;
    }
    for part in ["tmp", "new", "cur"] {
        fs::create_dir(maildir.join(part))?;
        own(&maildir.join(part))?;
    }
    let cur = maildir.join("cur");
    if let Some(different) = kind.linked {
        return link(&cur, kind, different, contents);
    }
    let mut contents = Contents::default();
    for number in 0..kind.messages {
        let stored = message(kind, number);
        write(&cur.join(format!("{}:2,S", name_of(kind, number, &stored))), &stored)?;
        contents.messages += 1;
        contents.octets += wire_octets(&stored);
    }
    Ok(contents)
}

/// Gives the files of a few messages as many names as the drop has messages.
fn link(cur: &Path, kind: &Drop, different: u32, contents: &Path) -> io::Result<Contents> {
    fs::create_dir_all(contents)?;
    let mut sources = Vec::new();
    for number in 0..different.max(1) {
        sources.push(source(kind, number, contents)?);
    }
    let mut contents = Contents::default();
    for (number, source) in (0..kind.messages).zip(sources.iter().cycle()) {
        let name = name(kind, number, source.octets, source.wire_octets);
        fs::hard_link(&source.path, cur.join(format!("{name}:2,S")))?;
        contents.messages += 1;
        contents.octets += source.wire_octets;
    }
    Ok(contents)
}

/// A file that gets further names.
struct Source {
    path: PathBuf,
    octets: u64,
    wire_octets: u64,
}

/// Finds it, or makes it. Its name says what its length is on the wire, so that it need not be read again.
fn source(kind: &Drop, number: u32, contents: &Path) -> io::Result<Source> {
    let prefix = format!("{}-{}-{number}-", kind.octets.0, kind.octets.1);
    for entry in fs::read_dir(contents)? {
        let entry = entry?;
        let name = entry.file_name();
        let wire_octets = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse().ok());
        if let Some(wire_octets) = wire_octets {
            return Ok(Source { path: entry.path(), octets: entry.metadata()?.len(), wire_octets });
        }
    }
    let stored = message(kind, number);
    let wire_octets = wire_octets(&stored);
    let path = contents.join(format!("{prefix}{wire_octets}"));
    write(&path, &stored)?;
    Ok(Source { path, octets: stored.len() as u64, wire_octets })
}

/// Delivers one message more, as a delivery agent does.
pub(super) fn deliver(maildir: &Path, kind: &Drop, number: u32) -> io::Result<u64> {
    let stored = message(kind, number);
    let name = name_of(kind, number, &stored);
    let written = maildir.join("tmp").join(&name);
    write(&written, &stored)?;
    fs::rename(written, maildir.join("new").join(name))?;
    Ok(wire_octets(&stored))
}

/// Changes the flags of one message, as another program does.
pub(super) fn flag(maildir: &Path) -> io::Result<()> {
    let seen = |path: &Path| path.to_str()?.strip_suffix(":2,S").map(|base| format!("{base}:2,FS"));
    let mut entries = fs::read_dir(maildir.join("cur"))?;
    let found = entries.find_map(|entry| {
        let path = entry.ok()?.path();
        seen(&path).map(|flagged| (path, flagged))
    });
    let (path, flagged) = found.ok_or_else(|| io::Error::other("no message is left to be flagged"))?;
    fs::rename(path, flagged)
}

/// Takes away all that a server remembers of a drop: the files beside `cur`, `new` and `tmp`.
pub(super) fn forget(maildir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(maildir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write(path: &Path, stored: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(stored)?;
    std::os::unix::fs::fchown(&file, Some(MAIL_ID), Some(MAIL_ID))
}

fn own(path: &Path) -> io::Result<()> {
    chown(path, Some(MAIL_ID), Some(MAIL_ID))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Drop = Drop { messages: 3, octets: (1000, 4000), names: Names::Sized, linked: None };

    #[test]
    fn messages_are_the_same_each_time_and_as_long_as_asked_for() {
        for number in 0..200 {
            let stored = message(&KIND, number);
            assert_eq!(stored, message(&KIND, number));
            assert!((1000..=4000).contains(&stored.len()), "{}", stored.len());
            assert!(stored.ends_with(b"\n") && !stored.contains(&b'\r'));
            assert!(stored.split(|octet| *octet == b'\n').all(|line| line.len() <= LINE_OCTETS + 8));
        }
        let exact = Drop { octets: (5000, 5000), ..KIND };
        assert_eq!(message(&exact, 7).len(), 5000);
    }

    #[test]
    fn some_lines_begin_with_a_dot() {
        let long = Drop { octets: (100_000, 100_000), ..KIND };
        let stored = message(&long, 1);
        let lines = stored.split(|octet| *octet == b'\n');
        let dots = lines.filter(|line| line.starts_with(b".")).count();
        assert!((5..100).contains(&dots), "{dots}");
    }

    #[test]
    fn names_tell_both_lengths() {
        let stored = message(&KIND, 2);
        let (wire, name) = (wire(&stored), name_of(&KIND, 2, &stored));
        assert_eq!(wire.len() as u64, wire_octets(&stored));
        assert!(name.ends_with(&format!(",S={},W={}", stored.len(), wire.len())), "{name}");
    }

    #[test]
    fn linked_drops_have_a_name_for_each_message_and_the_same_octets() {
        let folder = std::env::temp_dir().join(format!("restante-xtask-links-{}", std::process::id()));
        fs::create_dir_all(folder.join("cur")).expect("a folder can be made");
        let kind = Drop { messages: 7, octets: (500, 600), linked: Some(2), ..KIND };
        // Files are given to another user, which only root can do.
        let made = link(&folder.join("cur"), &kind, 2, &folder.join("contents"));
        let names = fs::read_dir(folder.join("cur")).expect("it is there").count();
        fs::remove_dir_all(&folder).expect("it is ours");
        match made {
            Ok(contents) => assert_eq!((contents.messages, names), (7, 7)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
