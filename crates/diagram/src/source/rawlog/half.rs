//! One of the two files: pieces of lines with their times, however the reader hands out its octets.

use std::{
    io::{self, BufRead},
    time::Duration,
};

use super::{File, RawlogError};

/// The longest piece of a line that is held, in octets, its time stamp included.
const PIECE_MAX_OCTETS: usize = 16 << 10;
/// The most digits that the seconds of a time stamp have.
const SECONDS_MAX_DIGITS: usize = 12;
/// The digits behind a time stamp's point: microseconds.
const FRACTION_DIGITS: usize = 6;
/// What of a time stamp stands behind its seconds: the point, the microseconds, a space.
pub(super) const STAMP_OCTETS_BEHIND_SECONDS: usize = FRACTION_DIGITS + 2;

/// A line, or a piece of one, without its time stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// When the line began, since 1970.
    pub(super) at: Option<Duration>,
    /// Its octets, the line end included.
    pub(super) octets: Vec<u8>,
    /// The line begins with it.
    pub(super) begins: bool,
    /// It began earlier than the line before it: the clock was set back.
    pub(super) set_back: bool,
}

/// A file that is being read, one piece ahead.
pub(super) struct Half<R> {
    file: File,
    reader: R,
    /// Whether lines have time stamps; `None` if there is no line.
    stamped: Option<bool>,
    head: Option<Piece>,
    /// The line that is read, from 1.
    line: u64,
    /// The time of that line.
    at: Option<Duration>,
    /// The last piece ended its line.
    at_line_start: bool,
}

impl<R: BufRead> Half<R> {
    /// Reads the first piece.
    pub(super) fn open(file: File, reader: R) -> Result<Self, RawlogError> {
        let (head, line, at) = (None, 0, None);
        let mut half = Self { file, reader, stamped: None, head, line, at, at_line_start: true };
        half.head = half.read()?;
        Ok(half)
    }

    /// The piece that is next; `None` behind the last.
    pub(super) const fn head(&self) -> Option<&Piece> {
        self.head.as_ref()
    }

    /// Whether lines have time stamps; `None` if there is no line.
    pub(super) const fn stamped(&self) -> Option<bool> {
        self.stamped
    }

    /// Takes the piece that is next.
    pub(super) fn take(&mut self) -> Result<Option<Piece>, RawlogError> {
        let next = self.read()?;
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn read(&mut self) -> Result<Option<Piece>, RawlogError> {
        let begins = self.at_line_start;
        self.line += u64::from(begins);
        let mut octets =
            self.octets().map_err(|error| RawlogError::Read { file: self.file, line: self.line, error })?;
        self.at_line_start = octets.ends_with(b"\n");
        if octets.is_empty() {
            return Ok(None);
        }
        let mut set_back = false;
        if begins {
            let stamp = stamp_of(&octets);
            match (*self.stamped.get_or_insert_with(|| stamp.is_some()), stamp) {
                (true, Some((at, length))) => {
                    octets.drain(..length);
                    set_back = self.at.is_some_and(|before| at < before);
                    self.at = Some(at);
                }
                // The file ends in a time stamp.
                (true, None) if is_cut_off(&octets) => return Ok(None),
                (true, None) => return Err(RawlogError::NoTimeStamp { file: self.file, line: self.line }),
                (false, _) => {}
            }
        }
        Ok(Some(Piece { at: self.at, octets, begins, set_back }))
    }

    /// Octets up to a line end, to the end of the file, or as many as are held.
    fn octets(&mut self) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        loop {
            let there = match self.reader.fill_buf() {
                Ok(there) => there,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let room = PIECE_MAX_OCTETS - octets.len();
            let there = there.get(..room).unwrap_or(there);
            let line_end = there.iter().position(|&octet| octet == b'\n').map(|place| place + 1);
            let taken = line_end.unwrap_or(there.len());
            octets.extend(there.iter().take(taken));
            self.reader.consume(taken);
            if taken == 0 || line_end.is_some() || octets.len() == PIECE_MAX_OCTETS {
                return Ok(octets);
            }
        }
    }
}

/// The time stamp that octets begin with, such as `1795871330.693688 `, and its length.
pub(super) fn stamp_of(octets: &[u8]) -> Option<(Duration, usize)> {
    let seconds = octets.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let length = seconds + STAMP_OCTETS_BEHIND_SECONDS;
    let [b'.', fraction @ .., b' '] = octets.get(seconds..length)? else { return None };
    if !(1..=SECONDS_MAX_DIGITS).contains(&seconds) || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| digits.iter().fold(0, |all, digit| all * 10 + u64::from(digit - b'0'));
    let whole = Duration::from_secs(number(octets.get(..seconds)?));
    Some((whole + Duration::from_micros(number(fraction)), length))
}

/// Whether this is all of a time stamp but its end, or all of it and nothing behind.
fn is_cut_off(octets: &[u8]) -> bool {
    octets.len() < SECONDS_MAX_DIGITS + STAMP_OCTETS_BEHIND_SECONDS
        && octets.iter().all(|octet| octet.is_ascii_digit() || *octet == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_stamp_is_seconds_and_microseconds_and_a_space() {
        let stamp = |text: &str| stamp_of(text.as_bytes());
        let at = Duration::new(1_795_871_330, 693_688_000);
        assert_eq!(stamp("1795871330.693688 +OK 2 315\r\n"), Some((at, 18)));
        assert_eq!(stamp("1795871330.693688 "), Some((at, 18)));
        assert_eq!(stamp("1.000000 x"), Some((Duration::from_secs(1), 9)));
        for no in
            ["", "STAT", "1795871330", "1795871330.693688", "1795871330.69368 x", "1795871330.6936888 x"]
        {
            assert_eq!(stamp(no), None, "{no}");
        }
        assert_eq!(stamp(".693688 x"), None);
        assert_eq!(stamp("1795871330,693688 x"), None);
        assert_eq!(stamp("9999999999999.000000 x"), None);
        assert!(stamp("999999999999.999999 x").is_some());
    }

    #[test]
    fn a_long_line_comes_in_pieces_of_bounded_length() {
        let mut file = b"1795871330.693688 ".to_vec();
        file.extend(std::iter::repeat_n(b'a', 3 * PIECE_MAX_OCTETS));
        file.extend_from_slice(b"\r\n1795871331.000000 b\n");
        let mut half = Half::open(File::Out, &file[..]).unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = half.take().unwrap() {
            assert!(piece.octets.len() <= PIECE_MAX_OCTETS);
            pieces.push(piece);
        }
        let begins: Vec<bool> = pieces.iter().map(|piece| piece.begins).collect();
        assert_eq!(begins, [true, false, false, false, true]);
        assert_eq!(pieces[4].octets, b"b\n");
        assert_eq!(pieces.iter().map(|piece| piece.octets.len()).sum::<usize>(), 3 * PIECE_MAX_OCTETS + 4);
    }
}
