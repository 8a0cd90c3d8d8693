//! Where a client put the mail, and whether it is the mail that was served: each message once, octet by octet.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    mem,
    path::{Path, PathBuf},
};

use crate::bench::corpus::{self, Drop};

/// The field that says which message it is stands within so many octets.
const HEADER_OCTETS: usize = 1024;

/// How and where the messages lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// A Maildir; lines end in LF.
    Maildir(PathBuf),
    /// A folder with a file for each, as it was on the wire.
    Wire(PathBuf),
    /// One file of SMTP commands and messages.
    Bsmtp(PathBuf),
    /// They are thrown away.
    Nowhere,
}

impl Arrived {
    /// Says what is wrong, if anything is.
    pub(super) fn check(&self, drop: &Drop) -> Result<(), String> {
        let mut seen = Seen { drop, seen: vec![false; drop.messages as usize], count: 0 };
        let read = match self {
            Self::Nowhere => return Ok(()),
            Self::Maildir(folder) => ["new", "cur"]
                .iter()
                .try_for_each(|part| files(&folder.join(part), &mut |octets| seen.take(&octets))),
            Self::Wire(folder) => files(folder, &mut |octets| seen.take(&stored(&octets))),
            Self::Bsmtp(file) => fs::File::open(file)
                .and_then(|file| bsmtp(BufReader::new(file), &mut |octets| seen.take(&octets))),
        };
        match read {
            Ok(()) if seen.count == drop.messages => Ok(()),
            Ok(()) => Err(format!("{} messages arrived instead of {}", seen.count, drop.messages)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// How much is there, to see whether something came: files, or octets of the only one.
    pub(super) fn amount(&self) -> io::Result<u64> {
        let count = |folder: &Path| Ok::<_, io::Error>(fs::read_dir(folder)?.count() as u64);
        match self {
            Self::Nowhere => Ok(0),
            Self::Maildir(folder) => Ok(count(&folder.join("new"))? + count(&folder.join("cur"))?),
            Self::Wire(folder) => count(folder),
            Self::Bsmtp(file) => Ok(fs::metadata(file)?.len()),
        }
    }
}

fn files(folder: &Path, take: &mut dyn FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    fs::read_dir(folder)?.try_for_each(|entry| take(fs::read(entry?.path())?))
}

/// The message with LF at the ends of lines. The mail of the benchmark has no other CR.
fn stored(wire: &[u8]) -> Vec<u8> {
    wire.iter().copied().filter(|octet| *octet != b'\r').collect()
}

/// Gives the messages of a file of batched SMTP, without the dots that were stuffed. The sender, who became part of the
/// command, stands in front again.
fn bsmtp(mut file: impl BufRead, take: &mut dyn FnMut(Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let (mut line, mut sender, mut message) = (Vec::new(), Vec::new(), None);
    loop {
        line.clear();
        if file.read_until(b'\n', &mut line)? == 0 {
            return match message {
                None => Ok(()),
                Some(_) => Err(io::Error::other("the last message has no end")),
            };
        }
        let text = line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")).unwrap_or(&line);
        match (&mut message, text) {
            (None, b"DATA") => message = Some(mem::take(&mut sender)),
            (None, _) => {
                if let Some(address) = text.strip_prefix(b"MAIL FROM:") {
                    let address = address.split(|octet| *octet == b' ').next().unwrap_or_default();
                    sender = [b"Return-Path: ", address, b"\n"].concat();
                }
            }
            (Some(_), b".") => take(message.take().unwrap_or_default())?,
            (Some(message), _) => {
                message.extend_from_slice(text.strip_prefix(b".").unwrap_or(text));
                message.push(b'\n');
            }
        }
    }
}

/// Which messages were found.
struct Seen<'a> {
    drop: &'a Drop,
    seen: Vec<bool>,
    count: u32,
}

impl Seen<'_> {
    fn take(&mut self, octets: &[u8]) -> io::Result<()> {
        let wrong = |text: String| Err(io::Error::other(text));
        let Some(number) = number_of(octets) else {
            let begin = &octets[..octets.len().min(60)];
            return wrong(format!("a message that was never sent arrived: {}", begin.escape_ascii()));
        };
        match self.seen.get_mut(number as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return wrong(format!("message {number} arrived twice")),
            None => return wrong(format!("message {number} arrived, which is not in the drop")),
        }
        if octets != corpus::message(self.drop, number) {
            return wrong(format!("message {number} is not what it was"));
        }
        self.count += 1;
        Ok(())
    }
}

/// The number in the Message-ID of [`corpus::message`].
fn number_of(octets: &[u8]) -> Option<u32> {
    let header = String::from_utf8_lossy(&octets[..octets.len().min(HEADER_OCTETS)]);
    let (_, rest) = header.split_once("\nMessage-ID: <")?;
    rest.split_once(".bench@")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::corpus::Names;

    const DROP: Drop = Drop { messages: 2, octets: (3000, 3000), names: Names::Sized, linked: None };

    fn seen(messages: &[Vec<u8>]) -> Result<u32, String> {
        let mut seen = Seen { drop: &DROP, seen: vec![false; 2], count: 0 };
        messages.iter().try_for_each(|message| seen.take(message)).map_err(|error| error.to_string())?;
        Ok(seen.count)
    }

    #[test]
    fn each_message_counts_once_and_as_it_was() {
        let [first, second] = [0, 1].map(|number| corpus::message(&DROP, number));
        assert_eq!(seen(&[second.clone(), first.clone()]), Ok(2));
        assert_eq!(seen(&[first.clone(), first.clone()]), Err("message 0 arrived twice".into()));
        let mut longer = first;
        longer.push(b'\n');
        assert_eq!(seen(&[longer]), Err("message 0 is not what it was".into()));
        assert_eq!(
            seen(&[corpus::message(&DROP, 7)]),
            Err("message 7 arrived, which is not in the drop".into())
        );
        assert!(seen(&[b"Hello".to_vec()]).is_err());
        assert_eq!(stored(&corpus::wire(&second)), second);
    }

    #[test]
    fn batched_smtp_gives_its_messages_back() {
        let text = "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n..y\r\n.\r\nRSET\r\nDATA\r\nDATA\r\n.\r\n";
        let mut got = Vec::new();
        let mut take = |octets| {
            got.push(octets);
            Ok(())
        };
        bsmtp(text.as_bytes(), &mut take).expect("it is complete");
        assert!(bsmtp(&b"DATA\nx\n"[..], &mut |_| Ok(())).is_err());
        assert_eq!(got, [b"Return-Path: <a>\nx\n.y\n".to_vec(), b"DATA\n".to_vec()]);
    }
}
