//! A message on its way to a destination that wants its length first: in memory while it is small, then in an anonymous
//! temporary file, with its length, its SHA-256, and what is odd about its octets. Where it goes is not its business.

use std::io::{self, Read, Seek, SeekFrom, Write};

use restante_proto::body::Measure;
use sha2::{Digest, Sha256};
use tempfile::SpooledTempFile;

use super::Fault;

/// How much of a message is kept in memory, in octets; what is longer goes to a temporary file.
pub(crate) const MEMORY_MAX_OCTETS: usize = 256 * 1024;

/// How much of a message is read at once, in octets.
pub(crate) const PIECE_OCTETS: usize = 64 * 1024;

/// A message that is not whole yet.
#[derive(Debug)]
pub(crate) struct Spool {
    file: SpooledTempFile,
    digest: Sha256,
    measure: Measure,
    /// The last two octets.
    last: [u8; 2],
    cr_cr_lf: bool,
    nul: bool,
    eight_bit: bool,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            file: SpooledTempFile::new(MEMORY_MAX_OCTETS),
            digest: Sha256::new(),
            measure: Measure::default(),
            last: [0; 2],
            cr_cr_lf: false,
            nul: false,
            eight_bit: false,
        }
    }
}

impl Spool {
    /// Takes the next octets of the message.
    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        self.file.write_all(octets).map_err(|error| trouble("written", &error))?;
        self.digest.update(octets);
        self.measure.push(octets);
        self.nul |= octets.contains(&0);
        self.eight_bit |= !octets.is_ascii();
        let mut seam = self.last.to_vec();
        seam.extend(&octets[..octets.len().min(2)]);
        self.cr_cr_lf |= [&seam, octets].iter().any(|octets| octets.windows(3).any(|end| end == b"\r\r\n"));
        let known = if octets.len() < 2 { &seam } else { octets };
        self.last = known.last_chunk().copied().unwrap_or(self.last);
        Ok(())
    }

    /// The message is whole.
    pub(crate) fn finish(self) -> Spooled {
        let octets = self.measure.stored_octets();
        let final_crlf = if octets > 0 && self.last[1] != b'\n' { 2 } else { 0 };
        Spooled {
            file: self.file,
            octets,
            cr_cr_lf: self.cr_cr_lf,
            bare_lfs: self.measure.finish().octets - octets - final_crlf,
            digest: self.digest.finalize().into(),
            nul: self.nul,
            eight_bit: self.eight_bit,
        }
    }
}

/// A whole message.
#[derive(Debug)]
pub(crate) struct Spooled {
    file: SpooledTempFile,
    octets: u64,
    bare_lfs: u64,
    cr_cr_lf: bool,
    digest: [u8; 32],
    nul: bool,
    eight_bit: bool,
}

impl Spooled {
    /// Its length in octets.
    pub(crate) const fn octets(&self) -> u64 {
        self.octets
    }

    /// How many LFs have no CR before them.
    pub(crate) const fn bare_lfs(&self) -> u64 {
        self.bare_lfs
    }

    /// Whether a line ends in anything but CRLF, or in one CR too many: what servers change that keep lines.
    pub(crate) const fn has_odd_lines(&self) -> bool {
        self.bare_lfs > 0 || self.cr_cr_lf
    }

    /// Its SHA-256.
    pub(crate) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether it holds a NUL, which IMAP's usual literals cannot carry.
    pub(crate) const fn has_nul(&self) -> bool {
        self.nul
    }

    /// Whether it holds octets above 0x7F.
    pub(crate) const fn has_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// The first octets of it.
    pub(crate) fn head(&mut self, max_octets: u64) -> Result<Vec<u8>, Fault> {
        let mut head = Vec::new();
        self.rewind()?;
        Read::by_ref(&mut self.file)
            .take(max_octets)
            .read_to_end(&mut head)
            .map_err(|error| trouble("read", &error))?;
        Ok(head)
    }

    /// Hands out the message from its start, piece by piece.
    pub(crate) fn pieces<E: From<Fault>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.rewind()?;
        let mut piece = vec![0; PIECE_OCTETS];
        loop {
            match self.file.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(octets) => take(&piece[..octets])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(trouble("read", &error).into()),
            }
        }
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        self.file.seek(SeekFrom::Start(0)).map(drop).map_err(|error| trouble("read", &error))
    }
}

fn trouble(what: &str, error: &io::Error) -> Fault {
    Fault::Destination(format!(
        "a message's temporary file in {} cannot be {what}: {error}; TMPDIR names another folder",
        std::env::temp_dir().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spooled(pieces: &[&[u8]]) -> Spooled {
        let mut spool = Spool::default();
        pieces.iter().for_each(|piece| spool.write(piece).unwrap());
        spool.finish()
    }

    fn whole(spooled: &mut Spooled) -> Vec<u8> {
        let mut whole = Vec::new();
        spooled
            .pieces(|piece| {
                whole.extend_from_slice(piece);
                Ok::<_, Fault>(())
            })
            .unwrap();
        whole
    }

    #[test]
    fn a_message_comes_out_as_it_went_in_and_more_than_once() {
        for length in [0, 1, MEMORY_MAX_OCTETS - 1, MEMORY_MAX_OCTETS, MEMORY_MAX_OCTETS + 1, 700_000] {
            let message: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let pieces: Vec<&[u8]> = message.chunks(10_007).collect();
            let mut spooled = spooled(&pieces);
            assert_eq!(spooled.octets(), length as u64);
            assert_eq!(spooled.digest(), &<[u8; 32]>::from(Sha256::digest(&message)));
            assert_eq!(whole(&mut spooled), message);
            assert_eq!(spooled.head(10).unwrap(), message[..length.min(10)]);
            assert_eq!(whole(&mut spooled), message);
        }
    }

    #[test]
    fn memory_is_left_for_a_file_at_the_bound() {
        let mut spool = Spool::default();
        spool.write(&vec![b'a'; MEMORY_MAX_OCTETS]).unwrap();
        assert!(!spool.file.is_rolled());
        spool.write(b"a").unwrap();
        assert!(spool.file.is_rolled());
    }

    #[test]
    fn what_is_odd_is_known() {
        let plain = spooled(&[b"a\r", b"\n"]);
        assert_eq!((plain.bare_lfs(), plain.has_nul(), plain.has_eight_bit()), (0, false, false));
        assert!(!plain.has_odd_lines());
        for pieces in
            [&[&b"a\r\r\n"[..]][..], &[b"\r\r", b"\n"], &[b"\r", b"\r", b"", b"\n"], &[b"a\r", b"\r\nb"]]
        {
            assert!(spooled(pieces).has_odd_lines(), "{pieces:?}");
        }
        let odd = spooled(&[b"a\n\0", b"\xe9"]);
        assert_eq!((odd.octets(), odd.bare_lfs(), odd.has_nul(), odd.has_eight_bit()), (4, 1, true, true));
    }
}
