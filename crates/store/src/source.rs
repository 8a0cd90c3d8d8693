//! Where the octets of a message are read from.

use std::{fs::File, io, os::unix::fs::FileExt};

use bytes::Bytes;

/// The store's handle of a message, opaque to the protocol.
#[derive(Debug)]
pub enum Source {
    /// An open file. It stays readable when the message is removed meanwhile.
    File(File),
    /// Octets in memory.
    Bytes(Bytes),
}

impl Source {
    /// Reads octets at `offset` into `buffer` and says how many; 0 at the end. Blocks where it is a file.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(buffer, offset),
            Self::Bytes(bytes) => {
                let rest =
                    usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
                let octets = rest.len().min(buffer.len());
                buffer[..octets].copy_from_slice(&rest[..octets]);
                Ok(octets)
            }
        }
    }
}
