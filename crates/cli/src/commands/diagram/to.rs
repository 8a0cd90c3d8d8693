//! Where a drawing goes: to standard output, or to a file that appears when it is whole.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// The output.
pub(super) enum To {
    Stdout,
    File { file: NamedTempFile, path: PathBuf },
}

impl To {
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout) };
        let folder =
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let mut builder = tempfile::Builder::new();
        let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|error| cannot(path, &error))?;
        Ok(Self::File { file, path: path.to_owned() })
    }

    /// Writes it all, now.
    pub(super) fn write(&mut self, octets: &[u8]) -> Result<(), Failure> {
        if octets.is_empty() {
            return Ok(());
        }
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(octets).and_then(|()| out.flush()).map_err(Failure::from_output)
            }
            Self::File { file, path } => file.write_all(octets).map_err(|error| cannot(path, &error)),
        }
    }

    /// The drawing is whole.
    pub(super) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Stdout => Ok(()),
            Self::File { file, path } => {
                file.persist(&path).map(drop).map_err(|error| cannot(&path, &error.error))
            }
        }
    }
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot write {}: {error}", path.display()))
}
