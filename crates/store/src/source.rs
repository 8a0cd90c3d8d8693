//! Where the octets of a message are read from: what is cached without waiting, by whoever asks; the rest by a thread
//! that may wait for a disk.

use std::{fs::File, io, os::unix::fs::FileExt};

use bytes::Bytes;
use rustix::{
    buffer::spare_capacity,
    io::{Errno, ReadWriteFlags, pread, preadv2},
};

/// The store's handle of a message, opaque to the protocol.
#[derive(Debug)]
pub enum Source {
    /// An open file. It stays readable when the message is removed meanwhile.
    File(File),
    /// Octets in memory.
    Bytes(Bytes),
}

/// What [`Source::cached_at`] has.
#[derive(Debug, PartialEq, Eq)]
pub enum Cached<'a> {
    /// At least one octet, but at the end of the message, where there is none.
    Octets(&'a [u8]),
    /// A disk would have to be waited for.
    Missing,
    /// The file system cannot say, and will not later on.
    Unsupported,
}

impl Source {
    /// The octets at `offset` that can be had without waiting, at most as many as fit `room`, where they may lie.
    pub fn cached_at<'a>(&'a self, offset: u64, room: &'a mut [u8]) -> io::Result<Cached<'a>> {
        let file = match self {
            Self::Bytes(bytes) => {
                let rest = rest(bytes, offset);
                return Ok(Cached::Octets(&rest[..rest.len().min(room.len())]));
            }
            Self::File(file) => file,
        };
        // An offset that is not one would mean the file's own place.
        if i64::try_from(offset).is_err() {
            return Ok(Cached::Unsupported);
        }
        let into = &mut [io::IoSliceMut::new(room)];
        match preadv2(file, into, offset, ReadWriteFlags::NOWAIT) {
            Ok(octets) => Ok(Cached::Octets(&room[..octets])),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Cached::Missing),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(Cached::Unsupported),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Appends octets at `offset` to `octets`, at most as many as fit its capacity, and says how many; 0 at the end.
    /// Blocks where it is a file.
    pub fn append_at(&self, offset: u64, octets: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => {
                let rest = rest(bytes, offset);
                let appended = rest.len().min(octets.capacity() - octets.len());
                octets.extend_from_slice(&rest[..appended]);
                Ok(appended)
            }
            Self::File(file) => loop {
                match pread(file, spare_capacity(octets), offset) {
                    Err(Errno::INTR) => {}
                    read => return Ok(read?),
                }
            },
        }
    }

    /// Reads octets at `offset` into `buffer` and says how many; 0 at the end. Blocks where it is a file.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(buffer, offset),
            Self::Bytes(bytes) => {
                let rest = rest(bytes, offset);
                let octets = rest.len().min(buffer.len());
                buffer[..octets].copy_from_slice(&rest[..octets]);
                Ok(octets)
            }
        }
    }
}

fn rest(bytes: &Bytes, offset: u64) -> &[u8] {
    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"Subject: a\n\nb\n";

    fn file() -> Source {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(TEXT).unwrap();
        Source::File(file)
    }

    #[test]
    fn every_way_of_reading_reads_the_same() {
        for source in [file(), Source::Bytes(Bytes::from_static(TEXT))] {
            for offset in [0, 3, 13, 14, 15, u64::MAX >> 1, u64::MAX] {
                let expected = usize::try_from(offset).ok().and_then(|at| TEXT.get(at..)).unwrap_or_default();
                let expected = &expected[..expected.len().min(8)];
                let mut read = [0; 8];
                if let Ok(octets) = source.read_at(offset, &mut read) {
                    assert_eq!(&read[..octets], expected);
                    let mut appended = Vec::with_capacity(8);
                    assert_eq!(source.append_at(offset, &mut appended).unwrap(), octets);
                    assert_eq!(appended, expected);
                }
                // What was just written is cached, but nobody promises that it stays so.
                if let Cached::Octets(octets) = source.cached_at(offset, &mut [0; 8]).unwrap() {
                    assert_eq!(octets, expected);
                }
            }
        }
    }

    #[test]
    fn what_lies_in_memory_is_not_copied() {
        let bytes = Bytes::from_static(TEXT);
        let source = Source::Bytes(bytes.clone());
        let mut room = [0; 4];
        let Cached::Octets(octets) = source.cached_at(3, &mut room).unwrap() else { panic!() };
        assert_eq!((octets.as_ptr(), octets), (bytes[3..].as_ptr(), &TEXT[3..7]));
    }

    #[test]
    fn what_cannot_say_whether_it_would_wait_is_told() {
        // procfs has no page cache, and refuses RWF_NOWAIT.
        let source = Source::File(File::open("/proc/self/status").unwrap());
        assert_eq!(source.cached_at(0, &mut [0; 8]).unwrap(), Cached::Unsupported);
    }
}
