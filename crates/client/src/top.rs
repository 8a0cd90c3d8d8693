//! What TOP asks for, cut off: the header, the empty line and so many lines of the body (RFC 1939 §7). Some servers send the
//! whole message.

/// How much of the answer to a TOP belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// How many lines of the body may still come.
    lines: u64,
    in_header: bool,
    /// How many octets of the current line came, a CR among them.
    octets: u64,
    /// It has no other octet than a CR.
    empty: bool,
    /// How many octets were taken away.
    surplus: u64,
}

impl Cut {
    pub(crate) const fn new(lines: u64) -> Self {
        Self { lines, in_header: true, octets: 0, empty: true, surplus: 0 }
    }

    /// Takes away what is behind the last line that was asked for.
    pub(crate) fn apply(&mut self, body: &mut Vec<u8>) {
        let mut kept = 0;
        for line in body.split_inclusive(|&octet| octet == b'\n') {
            if !self.in_header && self.lines == 0 {
                break;
            }
            kept += line.len();
            self.line(line);
        }
        self.surplus += (body.len() - kept) as u64;
        body.truncate(kept);
    }

    /// How many octets were taken away.
    pub(crate) const fn surplus(&self) -> u64 {
        self.surplus
    }

    fn line(&mut self, line: &[u8]) {
        let (text, ended) = line.strip_suffix(b"\n").map_or((line, false), |text| (text, true));
        self.octets += text.len() as u64;
        self.empty &= text.iter().all(|&octet| octet == b'\r') && self.octets <= 1;
        if !ended {
            return;
        }
        match self.in_header {
            true => self.in_header = !self.empty,
            false => self.lines = self.lines.saturating_sub(1),
        }
        (self.octets, self.empty) = (0, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_and_so_many_lines_are_kept_at_every_cut() {
        let message = b"A: b\r\n\r\r\nC: d\r\n\r\none\r\n\r\nthree\r\nfour";
        for (lines, kept) in [(0, 17), (1, 22), (2, 24), (3, 31), (4, 35), (u64::MAX, 35)] {
            for at_once in 1..=message.len() {
                let (mut cut, mut all) = (Cut::new(lines), Vec::new());
                for piece in message.chunks(at_once) {
                    let mut body = piece.to_vec();
                    cut.apply(&mut body);
                    all.append(&mut body);
                }
                assert_eq!(all, message[..kept], "{lines} lines, in pieces of {at_once}");
            }
        }
    }
}
