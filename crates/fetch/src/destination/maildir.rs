//! Into a Maildir: each message once. The steps of a delivery are those of the store (`staging.rs` there).
//!
//! The token is the name X in tmp/. As long as tmp/X is there the message was not delivered; once it is gone it was,
//! whatever a mail program has done with it since.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use restante_store::{
    DeliverError,
    maildir::staging::{Folders, Staged, Trace},
};

use super::{
    Batch, BatchMax, Destination, Fate, Fault, Intent, Kind, Promise, Spec, SpecError, Token, files, flush,
};

pub(super) const KIND: Kind = Kind {
    name: "maildir",
    help: "a Maildir, one file for each message",
    example: "maildir:~/Mail",
    promise: Promise::ExactlyOnce,
    open,
};

/// Each message of a batch is an open file.
const BATCH_MAX: BatchMax = BatchMax { messages: 250, octets: 64 * 1024 * 1024 };

fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    let path = spec.path()?;
    check(&path)?;
    Ok(Box::new(Maildir { path, undelivered: Arc::default() }))
}

/// Whether there is a Maildir, or one can be made.
fn check(path: &Path) -> Result<(), SpecError> {
    let wrong = |text: String| Err(SpecError::Place(text));
    let unreadable = |error: io::Error| {
        SpecError::Place(files::explain(&format!("opening {}", path.display()), path, &error))
    };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return files::check_creatable(path),
        Err(error) => return Err(unreadable(error)),
        Ok(facts) if !facts.is_dir() => return wrong(format!("{} is no folder", path.display())),
        Ok(_) => {}
    }
    let folder = |name: &str| path.join(name).is_dir();
    if folder("new") && folder("cur") && folder("tmp") {
        return ["tmp", "new"].iter().try_for_each(|name| files::check_writable(&path.join(name)));
    }
    // One whose creation was interrupted is completed.
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if !["tmp", "new", "cur"].iter().any(|folder| name == *folder) {
            return wrong(format!(
                "{} is no Maildir (it has no tmp/, new/ and cur/), and is not empty",
                path.display()
            ));
        }
    }
    files::check_writable(path)
}

#[derive(Debug)]
struct Maildir {
    path: PathBuf,
    /// Names in tmp/ that were found undelivered; they are removed when a batch settles.
    undelivered: Arc<Mutex<Vec<String>>>,
}

impl Maildir {
    fn fault(&self, error: DeliverError) -> Fault {
        files::delivery_fault(&self.path, error)
    }
}

impl Destination for Maildir {
    fn promise(&self) -> Promise {
        KIND.promise
    }

    fn batch_max(&self) -> BatchMax {
        BATCH_MAX
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        let folders = Folders::open(&self.path).map_err(|error| self.fault(error))?;
        folders.clean();
        Ok(Box::new(MaildirBatch {
            path: self.path.clone(),
            folders: Arc::new(folders),
            undelivered: Arc::clone(&self.undelivered),
            current: None,
            staged: Vec::new(),
            published: Vec::new(),
        }))
    }

    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault> {
        let name = intent.token.as_str();
        if !is_name(name) {
            return Ok(files::foreign());
        }
        let fault = |error| self.fault(error);
        // A Maildir that is missing altogether says nothing about what was delivered.
        let folders = Folders::existing(&self.path).map_err(fault)?;
        match folders.trace(name).map_err(fault)? {
            Trace::Staged => {
                self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
                Ok(Fate::NotDelivered)
            }
            Trace::Gone => {
                // It was renamed, but maybe not durably.
                folders.sync_published().and_then(|()| folders.discard(name)).map_err(fault)?;
                folders.sync_staged().map_err(fault)?;
                files::gone(intent.age, || folders.holds(name).map_err(fault))
            }
        }
    }
}

struct MaildirBatch {
    path: PathBuf,
    folders: Arc<Folders>,
    undelivered: Arc<Mutex<Vec<String>>>,
    current: Option<Staged>,
    staged: Vec<Staged>,
    /// The stored octets of what was published.
    published: Vec<u64>,
}

impl MaildirBatch {
    fn fault(&self, error: DeliverError) -> Fault {
        files::delivery_fault(&self.path, error)
    }

    /// Gives descriptors back, when there are no more, by syncing what is staged before its turn.
    fn relieve(&mut self) -> Result<(), DeliverError> {
        self.staged.iter_mut().try_for_each(Staged::sync_and_close)
    }
}

impl Batch for MaildirBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        let begun = match self.folders.begin() {
            Err(DeliverError::Broken { source, .. })
                if rustix::io::Errno::from_io_error(&source) == Some(rustix::io::Errno::MFILE) =>
            {
                self.relieve().and_then(|()| self.folders.begin())
            }
            begun => begun,
        };
        self.current = Some(begun.map_err(|error| self.fault(error))?);
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = current.write(octets);
        written.map_err(|error| self.fault(error))
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        current.finish().map_err(|error| self.fault(error))?;
        current.file().into_iter().for_each(flush::begin);
        self.staged.push(current);
        Ok(())
    }

    fn abandon(&mut self) {
        self.current = None;
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        let synced = flush::all(&self.staged, Staged::sync);
        // After a power failure a name that is missing would mean that the message was delivered.
        let named = self.folders.sync_staged().map_err(|error| self.fault(error));
        let mut tokens = Vec::with_capacity(self.staged.len());
        for (staged, synced) in self.staged.iter_mut().zip(synced) {
            let synced = synced.map_err(|error| files::delivery_fault(&self.path, error));
            tokens.push(synced.and_then(|()| named.clone()).and_then(|()| {
                let token = Token::new(staged.name());
                staged.keep();
                token.ok_or_else(|| Fault::Destination(format!("{}: no token", staged.name())))
            }));
        }
        tokens
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        let Some(staged) = self.staged.get_mut(place) else {
            return Err(Fault::Destination(format!("there is no message {place} in this batch")));
        };
        let published = match staged.publish() {
            Ok(_) => Ok(()),
            // Somebody removed it from tmp/, unless the first answer was lost, as over NFS. If it is not in new/ either, it
            // must not look as if it had been delivered.
            Err(error @ DeliverError::Broken { .. }) if is_missing(&error) => {
                match self.folders.holds(staged.name()) {
                    Ok(true) => Ok(()),
                    _ => self.folders.mark_staged(staged.name()).and(Err(error)),
                }
            }
            Err(error) => Err(error),
        };
        let octets = staged.stored_octets();
        published.map_err(|error| self.fault(error))?;
        self.published.push(octets);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Fault> {
        let synced = self.folders.sync_published().and_then(|()| self.folders.sync_staged());
        synced.map_err(|error| self.fault(error))?;
        self.published.drain(..).for_each(|octets| self.folders.count(octets));
        let undelivered =
            std::mem::take(&mut *self.undelivered.lock().unwrap_or_else(PoisonError::into_inner));
        for name in undelivered {
            if let Err(error) = self.folders.discard(&name) {
                // It harms nobody, and is removed when it is old.
                tracing::warn!(maildir = %self.path.display(), %error, "a file was left in tmp/");
            }
        }
        Ok(())
    }
}

/// Whether this is a name that the store gives: a time and `.M`, and nothing that has a meaning in a Maildir.
fn is_name(name: &str) -> bool {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && name[digits..].starts_with(".M") && !name.contains(['/', ':', ','])
}

fn is_missing(error: &DeliverError) -> bool {
    matches!(error, DeliverError::Broken { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
