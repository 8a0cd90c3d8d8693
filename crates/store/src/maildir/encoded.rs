//! Recognising files that hold a message compressed or encrypted, by their first octets.
//!
//! Dovecot's plugins zlib and mail-crypt write such files into a Maildir under ordinary names.

/// How a file is encoded. The numbers stand in state files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Compressed by gzip.
    Gzip = 1,
    /// Compressed by bzip2.
    Bzip2 = 2,
    /// Compressed by xz.
    Xz = 3,
    /// Compressed by zstd.
    Zstd = 4,
    /// Compressed by LZ4, in its own frame or in Dovecot's.
    Lz4 = 5,
    /// Encrypted by Dovecot's mail-crypt.
    MailCrypt = 6,
}

/// How many octets of a file are enough to recognise any encoding.
pub(super) const MAGIC_MAX_OCTETS: usize = 15;

const ALL: [Encoding; 6] =
    [Encoding::Gzip, Encoding::Bzip2, Encoding::Xz, Encoding::Zstd, Encoding::Lz4, Encoding::MailCrypt];

impl Encoding {
    /// The encoding of a file that begins with these octets.
    pub(super) fn recognise(start: &[u8]) -> Option<Self> {
        // "BZh" could begin a header line; what follows in bzip2 (the digits of pi, or of its root) could not.
        let bzip2 = start.starts_with(b"BZh")
            && matches!(start.get(3), Some(b'1'..=b'9'))
            && matches!(start.get(4..10), Some(b"1AY&SY" | b"\x17\x72\x45\x38\x50\x90"));
        match start {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            _ if bzip2 => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            _ if start.starts_with(b"Dovecot-LZ4\x0d\x2a\x9b\xc5") => Some(Self::Lz4),
            _ if start.starts_with(b"CRYPTED\x03\x07") => Some(Self::MailCrypt),
            _ => None,
        }
    }

    /// The encoding of this number in a state file.
    pub(super) fn from_code(code: u8) -> Option<Self> {
        ALL.into_iter().find(|encoding| *encoding as u8 == code)
    }

    /// What it is, in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Gzip => "compressed (gzip)",
            Self::Bzip2 => "compressed (bzip2)",
            Self::Xz => "compressed (xz)",
            Self::Zstd => "compressed (zstd)",
            Self::Lz4 => "compressed (LZ4)",
            Self::MailCrypt => "encrypted (mail-crypt)",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_is_never_taken_for_an_archive() {
        for mail in
            [&b""[..], b"BZh9: a header", b"CRYPTED: yes", b"Dovecot-LZ4: yes", b"From: a", b"\x1f", b"BZh"]
        {
            assert_eq!(Encoding::recognise(mail), None);
        }
    }

    #[test]
    fn each_magic_is_recognised_within_the_bound() {
        let starts: [(&[u8], Encoding); 8] = [
            (b"\x1f\x8b\x08\0\0\0\0\0", Encoding::Gzip),
            (b"BZh91AY&SYxxxxx", Encoding::Bzip2),
            (b"BZh9\x17\x72\x45\x38\x50\x90", Encoding::Bzip2),
            (b"\xfd7zXZ\0\0\x04", Encoding::Xz),
            (b"\x28\xb5\x2f\xfd\x04", Encoding::Zstd),
            (b"\x04\x22\x4d\x18", Encoding::Lz4),
            (b"Dovecot-LZ4\x0d\x2a\x9b\xc5", Encoding::Lz4),
            (b"CRYPTED\x03\x07\x02", Encoding::MailCrypt),
        ];
        for (start, encoding) in starts {
            assert_eq!(Encoding::recognise(&start[..start.len().min(MAGIC_MAX_OCTETS)]), Some(encoding));
            assert_eq!(Encoding::from_code(encoding as u8), Some(encoding));
        }
        assert_eq!(Encoding::from_code(0), None);
    }
}
