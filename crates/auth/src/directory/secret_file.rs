//! A file with one secret in its first line, that others on this machine cannot read.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use restante_proto::Secret;

/// The longest secret, in octets.
const SECRET_MAX_OCTETS: u64 = 4096;

/// A secret, or the file that it is in, which is read again when it may have changed.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretText {
    /// Itself.
    Here(Secret<String>),
    /// The first line of this file.
    File(PathBuf),
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Anybody on the machine can.
    #[error("everybody on this machine can open {path}; `chmod o= {path}`", path = .0.display())]
    Open(PathBuf),
    /// The first line is empty, too long, or no text.
    #[error("the first line of {} is no secret: 1 to {SECRET_MAX_OCTETS} octets of UTF-8", .0.display())]
    NoSecret(PathBuf),
}

impl SecretText {
    /// The secret. Blocking.
    pub(super) fn read(&self) -> Result<Secret<String>, SecretError> {
        match self {
            Self::Here(secret) => Ok(secret.clone()),
            Self::File(path) => first_line(path),
        }
    }
}

impl SecretError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. } | Self::Open(path) | Self::NoSecret(path) => path,
        }
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here(…)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

fn first_line(path: &Path) -> Result<Secret<String>, SecretError> {
    let failed = |source| SecretError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o007 != 0 {
        return Err(SecretError::Open(path.to_owned()));
    }
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut octets = Vec::with_capacity(usize::try_from(SECRET_MAX_OCTETS).unwrap_or(0) + 2);
    file.take(SECRET_MAX_OCTETS + 1).read_to_end(&mut octets).map_err(failed)?;
    let octets = Secret::new(octets);
    let line = octets.expose().split(|octet| *octet == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line).ok().filter(|text| !text.is_empty());
    let text = text.filter(|text| text.len() as u64 <= SECRET_MAX_OCTETS);
    text.map(|text| Secret::new(text.to_owned())).ok_or_else(|| SecretError::NoSecret(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_line_of_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let secret = SecretText::File(path.clone());
        assert!(matches!(secret.read(), Err(SecretError::Read { .. })));
        for (text, expected) in [
            ("abc xyz\nmore\n", Some("abc xyz")),
            ("abc\r\n", Some("abc")),
            ("abc", Some("abc")),
            ("\nabc", None),
            ("", None),
            (&"x".repeat(5000), None),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert_eq!(secret.read().ok().map(|read| read.expose().clone()).as_deref(), expected);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(secret.read(), Err(SecretError::Open(_))));
    }
}
