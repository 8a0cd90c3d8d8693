//! Where a drawing goes: to standard output, or to a file, which is opened when there is something to write.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// The output.
pub(super) enum To {
    Stdout,
    File { file: Option<File>, path: PathBuf },
}

impl To {
    pub(super) fn new(path: Option<&Path>) -> Self {
        match path {
            None => Self::Stdout,
            Some(path) => Self::File { file: None, path: path.to_owned() },
        }
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
            Self::File { file, path } => {
                let cannot =
                    |error: &io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
                let file = match file {
                    Some(file) => file,
                    // What was there stays as long as there is nothing to put in its place.
                    None => file.insert(File::create(&path).map_err(|error| cannot(&error))?),
                };
                file.write_all(octets).map_err(|error| cannot(&error))
            }
        }
    }
}
