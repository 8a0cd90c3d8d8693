//! Into a folder of .eml files: each message once, octet by octet as it was received.
//!
//! The token is the name X of `.X.tmp`, which becomes `X.eml`. As long as the first is there the message was not
//! delivered; once it is gone it was, whatever has become of the second since.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, io::Errno};

use super::{
    Batch, BatchMax, Destination, Fate, Fault, Intent, Kind, Promise, Spec, SpecError, Token,
    dotfile::{self, Folder, Staged, Undelivered},
    files,
};

pub(super) const KIND: Kind = Kind {
    name: "eml",
    help: "a folder of .eml files, octet by octet as received",
    example: "eml:~/mail-archive",
    promise: Promise::ExactlyOnce,
    open,
};

/// Each message of a batch is an open file.
const BATCH_MAX: BatchMax = BatchMax { messages: 250, octets: 64 * 1024 * 1024 };

fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    let path = spec.path()?;
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => files::check_creatable(&path)?,
        Err(error) => {
            let context = format!("opening {}", path.display());
            return Err(SpecError::Place(files::explain(&context, &path, &error)));
        }
        Ok(facts) if !facts.is_dir() => {
            return Err(SpecError::Place(format!("{} is no folder", path.display())));
        }
        Ok(_) => files::check_writable(&path)?,
    }
    Ok(Box::new(Eml { path, undelivered: Undelivered::default() }))
}

#[derive(Debug)]
struct Eml {
    path: PathBuf,
    undelivered: Undelivered,
}

fn published(name: &str) -> String {
    format!("{name}.eml")
}

/// Creates the folder where it is missing, durably, but not what it stands in.
fn create(path: &Path) -> Result<(), Fault> {
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) => Folder::open(super::spec::above(path), "")?.sync(),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(files::fault(&format!("creating {}", path.display()), path, &errno.into())),
    }
}

impl Destination for Eml {
    fn promise(&self) -> Promise {
        KIND.promise
    }

    fn batch_max(&self) -> BatchMax {
        BATCH_MAX
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        create(&self.path)?;
        let staged = Staged::new(Folder::open(&self.path, "")?);
        Ok(Box::new(EmlBatch { staged, undelivered: self.undelivered.clone() }))
    }

    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault> {
        let name = intent.token.as_str();
        if !dotfile::is_name(name) {
            return Ok(files::foreign());
        }
        let folder = Folder::open(&self.path, "")?;
        // Both are there where a file was linked under its new name, and the crash came before the old one was removed.
        if folder.reopen(name)?.is_some() && !folder.holds(&published(name))? {
            self.undelivered.add(name);
            return Ok(Fate::NotDelivered);
        }
        // It was renamed, but maybe not durably.
        folder.sync()?;
        folder.discard(name);
        files::gone(intent.age, || folder.holds(&published(name)))
    }
}

struct EmlBatch {
    staged: Staged,
    undelivered: Undelivered,
}

impl Batch for EmlBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        self.staged.begin()
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let Some(file) = &mut self.staged.current else { return Ok(()) };
        file.buffer().extend_from_slice(octets);
        file.flush()
    }

    fn finish(&mut self) -> Result<(), Fault> {
        self.staged.finish()
    }

    fn abandon(&mut self) {
        self.staged.current = None;
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        let synced = self.staged.sync();
        let token =
            |name: &str| Token::new(name).ok_or_else(|| Fault::Destination(format!("{name}: no token")));
        let files = self.staged.files.iter();
        files.zip(synced).map(|(file, synced)| synced.and_then(|()| token(file.name()))).collect()
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        let Some(file) = self.staged.files.get(place) else {
            return Err(Fault::Destination(format!("there is no message {place} in this batch")));
        };
        self.staged.folder.publish(file.name(), &published(file.name()))
    }

    fn settle(&mut self) -> Result<(), Fault> {
        self.staged.folder.sync()?;
        self.undelivered.discard(&self.staged.folder);
        Ok(())
    }
}
