//! Into an mbox (mboxrd): each message once, by the length of the mbox in the journal, and by truncation under its lock.
//!
//! Each message is spooled as `.FILE.X.tmp` beside the mbox, already in the form of the mbox (`entry.rs`). From
//! [`Batch::sync`] until the batch is dropped the mbox is locked (`lock.rs`), so that a token can say where the message
//! will stand. The spool stays until the message is durable in the mbox: it is what `recover.rs` compares with after a
//! crash, and once it is gone the message was delivered.

use std::{
    convert::Infallible,
    fs, io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use restante_store::crash;

use super::{
    Batch, BatchMax, Destination, Fate, Fault, Intent, Kind, Promise, Spec, SpecError, Token,
    dotfile::{self, Folder, Staged, Undelivered},
    files, flush,
    spec::above,
    utc,
};

mod entry;
mod lock;
mod recover;

use entry::Entry;
use lock::{Lock, Missing, PATIENCE};
use recover::Ticket;

pub(super) const KIND: Kind = Kind {
    name: "mbox",
    help: "an mbox file (mboxrd), locked while it is written",
    example: "mbox:~/mail.mbox",
    promise: Promise::ExactlyOnce,
    open,
};

/// Each message of a batch is an open file, and all of them are stored twice for a moment.
const BATCH_MAX: BatchMax = BatchMax { messages: 250, octets: 64 * 1024 * 1024 };

/// How much is copied at a time, in octets.
const COPIED_OCTETS: usize = 64 * 1024;

fn open(spec: &Spec) -> Result<Box<dyn Destination>, SpecError> {
    let path = spec.path()?;
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => files::check_creatable(&path)?,
        Err(error) => {
            let context = format!("opening {}", path.display());
            return Err(SpecError::Place(files::explain(&context, &path, &error)));
        }
        Ok(facts) if !facts.is_file() => {
            return Err(SpecError::Place(format!("{} is no file, so it is no mbox", path.display())));
        }
        Ok(_) => {
            if let Err(error) = fs::File::options().append(true).open(&path) {
                let context = format!("writing into {}", path.display());
                return Err(SpecError::Place(files::explain(&context, &path, &error)));
            }
            // The spools stand beside it.
            files::check_writable(above(&path))?;
        }
    }
    Ok(Box::new(Mbox { path, undelivered: Undelivered::default() }))
}

#[derive(Debug)]
struct Mbox {
    path: PathBuf,
    undelivered: Undelivered,
}

impl Mbox {
    /// The folder of the spools.
    fn folder(&self) -> Result<Folder, Fault> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        Folder::open(above(&self.path), &format!("{name}."))
    }
}

impl Destination for Mbox {
    fn promise(&self) -> Promise {
        KIND.promise
    }

    fn batch_max(&self) -> BatchMax {
        BATCH_MAX
    }

    fn batch(&self) -> Result<Box<dyn Batch>, Fault> {
        Ok(Box::new(MboxBatch {
            path: self.path.clone(),
            undelivered: self.undelivered.clone(),
            staged: Staged::new(self.folder()?),
            entry: None,
            locked: None,
        }))
    }

    fn resolve(&self, intent: &Intent) -> Result<Fate, Fault> {
        let Some(ticket) = Ticket::parse(&intent.token) else { return Ok(files::foreign()) };
        let folder = self.folder()?;
        let Some(spool) = folder.reopen(&ticket.name)? else {
            return files::gone(intent.age, || Ok(false));
        };
        let fate = match Lock::acquire(&self.path, Missing::Tell, PATIENCE)? {
            Some(lock) => {
                let place = recover::Place { folder: &folder, path: &self.path, mbox: lock.file() };
                let fate = place.recover(&ticket, &spool);
                fate.map_err(|error| fault(&self.path, "looking through", &error))?
            }
            None if ticket.base == 0 => Fate::NotDelivered,
            None => Fate::Unknown("the mbox is gone".into()),
        };
        match fate {
            Fate::Delivered => folder.discard(&ticket.name),
            Fate::NotDelivered | Fate::Unknown(_) => self.undelivered.add(&ticket.name),
        }
        Ok(fate)
    }
}

fn fault(path: &Path, doing: &str, error: &io::Error) -> Fault {
    files::fault(&format!("{doing} {}", path.display()), path, error)
}

struct MboxBatch {
    path: PathBuf,
    undelivered: Undelivered,
    staged: Staged,
    entry: Option<Entry>,
    locked: Option<Locked>,
}

/// The mbox from sync on.
struct Locked {
    lock: Lock,
    /// Where each message will stand; `None` for one that could not be spooled.
    tickets: Vec<Option<Ticket>>,
    /// The length of the mbox before.
    base: u64,
    /// Where the mbox ends as far as we have written it.
    end: u64,
}

impl MboxBatch {
    /// Locks the mbox and decides where each message will stand.
    fn lock(&self, synced: &[Result<(), Fault>]) -> io::Result<Result<Locked, Fault>> {
        let lock = match Lock::acquire(&self.path, Missing::Create, PATIENCE) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Err(io::ErrorKind::NotFound.into()),
            Err(fault) => return Ok(Err(fault)),
        };
        let base = lock.file().metadata()?.len();
        let tail = recover::tail(lock.file(), base)?;
        let mut prefix = recover::missing_line_ends(lock.file(), base)?;
        let (mut at, mut tickets) = (base, Vec::with_capacity(synced.len()));
        for (file, synced) in self.staged.files.iter().zip(synced) {
            let octets = file.octets();
            let ticket = Ticket { name: file.name().to_owned(), base, at, prefix, octets, tail };
            tickets.push(synced.is_ok().then(|| {
                at += u64::from(std::mem::take(&mut prefix)) + octets;
                ticket
            }));
        }
        Ok(Ok(Locked { lock, tickets, base, end: base }))
    }
}

impl Locked {
    /// Appends one message. What fails in the middle is taken back.
    fn append(&mut self, ticket: &Ticket, spool: &fs::File) -> io::Result<()> {
        let file = self.lock.file();
        if file.metadata()?.len() != self.end {
            return Err(io::Error::other("another program wrote into it in spite of the lock"));
        }
        let appended = copy(ticket, spool, file);
        if let Err(error) = appended {
            // If this fails too, it is done when the message is resolved.
            file.set_len(self.end)?;
            return Err(error);
        }
        crash::point("mbox: appended");
        self.end += ticket.total();
        Ok(())
    }
}

impl Locked {
    /// Takes back what the disk would not take: the system shows it as if it were there, so that nobody could tell later.
    fn take_back(&mut self) {
        match self.lock.file().set_len(self.base) {
            Ok(()) => self.end = self.base,
            Err(error) => tracing::warn!(%error, "an mbox could not be cut after its disk had failed"),
        }
    }
}

fn copy(ticket: &Ticket, spool: &fs::File, mbox: &fs::File) -> io::Result<()> {
    let prefix = usize::from(ticket.prefix);
    mbox.write_all_at(&recover::LINE_ENDS[..prefix], ticket.at)?;
    let mut buffer = vec![0; COPIED_OCTETS];
    let mut done = 0;
    while done < ticket.octets {
        let wanted = COPIED_OCTETS.min(usize::try_from(ticket.octets - done).unwrap_or(COPIED_OCTETS));
        spool.read_exact_at(&mut buffer[..wanted], done)?;
        mbox.write_all_at(&buffer[..wanted], ticket.at + prefix as u64 + done)?;
        done += wanted as u64;
        crash::point("mbox: a piece appended");
    }
    Ok(())
}

impl Batch for MboxBatch {
    fn begin(&mut self) -> Result<(), Fault> {
        self.staged.begin()?;
        self.entry = Some(Entry::new(utc::Utc::new(utc::now_us() / 1_000_000)));
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        let (Some(file), Some(entry)) = (&mut self.staged.current, &mut self.entry) else { return Ok(()) };
        entry.push(octets, file.buffer());
        file.flush()
    }

    fn finish(&mut self) -> Result<(), Fault> {
        if let (Some(file), Some(entry)) = (&mut self.staged.current, self.entry.take()) {
            entry.finish(file.buffer());
        }
        self.staged.finish()
    }

    fn abandon(&mut self) {
        self.staged.current = None;
        self.entry = None;
    }

    fn sync(&mut self) -> Vec<Result<Token, Fault>> {
        if self.staged.files.is_empty() {
            return Vec::new();
        }
        let synced = self.staged.sync();
        // The lock needs descriptors too.
        self.staged.close();
        let locked = match self.lock(&synced) {
            Ok(locked) => locked,
            Err(error) => Err(fault(&self.path, "reading", &error)),
        };
        match locked {
            Ok(locked) => {
                let token = |ticket: &Option<Ticket>| {
                    let token = ticket.as_ref().and_then(Ticket::token);
                    token.ok_or_else(|| Fault::Destination("the message has no place".to_owned()))
                };
                let tokens: Vec<_> = locked.tickets.iter().map(token).collect();
                self.locked = Some(locked);
                synced.into_iter().zip(tokens).map(|(synced, token)| synced.and(token)).collect()
            }
            Err(fault) => {
                // No token was given, so that nothing is an intent.
                self.staged.files.iter().for_each(|file| self.staged.folder.discard(file.name()));
                synced.into_iter().map(|synced| synced.and_then(|()| Err(fault.clone()))).collect()
            }
        }
    }

    fn publish(&mut self, place: usize) -> Result<(), Fault> {
        let Some(locked) = &mut self.locked else {
            return Err(Fault::Destination("the mbox is not locked".to_owned()));
        };
        let Some(ticket) = locked.tickets.get(place).cloned().flatten() else {
            return Err(Fault::Destination(format!("there is no message {place} in this batch")));
        };
        if ticket.at != locked.end {
            return Err(Fault::Destination(format!(
                "{}: a message of the same batch could not be appended before this one",
                self.path.display()
            )));
        }
        let Some(spool) = self.staged.folder.reopen(&ticket.name)? else {
            return Err(Fault::Destination(format!("{}: its temporary file is gone", ticket.name)));
        };
        locked.append(&ticket, &spool).map_err(|error| fault(&self.path, "appending to", &error))
    }

    fn settle(&mut self) -> Result<(), Fault> {
        let Some(locked) = &mut self.locked else { return Ok(()) };
        if let Err(error) = locked.lock.file().sync_all() {
            locked.take_back();
            return Err(fault(&self.path, "syncing", &error));
        }
        // The mbox itself may be new.
        self.staged.folder.sync()?;
        crash::point("mbox: durable");
        // Each one costs the file system milliseconds, unless they come together: 2,000 took 5.5 s one by one.
        let appended = locked.tickets.iter().flatten().filter(|ticket| ticket.at < locked.end);
        flush::all(&appended.collect::<Vec<_>>(), |ticket| {
            self.staged.folder.discard(&ticket.name);
            crash::point("mbox: a spool removed");
            Ok::<_, Infallible>(())
        });
        self.undelivered.discard(&self.staged.folder);
        Ok(())
    }
}

/// Whether a token's name is one of a spool.
fn is_spool(name: &str) -> bool {
    dotfile::is_name(name)
}
