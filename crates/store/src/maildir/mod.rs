//! Maildirs, in place: those that Postfix, Exim, procmail, Dovecot and Courier deliver to, while they deliver.
//!
//! Where to start reading: [`MaildirStore`] opens and delivers; `scan.rs` looks what is there, `snapshot.rs` makes it
//! one with what is remembered (`state.rs`; in a file by `format.rs` and `state_io.rs`, in memory by `cache.rs`),
//! `maildrop.rs` serves it, `count.rs` measures, `commit.rs` removes, `deliver.rs` adds by the steps of
//! `staging.rs`. Names are octets, and the file
//! system is reached by descriptors (`dir.rs`). What is named `at_once` waits for nothing and runs anywhere; all
//! else blocks, and runs in tokio's pool.
//!
//! A message that is stored compressed or encrypted keeps its number and is listed by the size of its file; it is not
//! served.

use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use restante_proto::UserName;

use crate::{DeliverError, Delivery, Maildrop, OpenError, Store, Task, registry::Backend};

mod cache;
mod commit;
mod count;
mod deliver;
mod dir;
mod encoded;
mod format;
mod local;
mod lock;
mod maildrop;
mod name;
mod quota;
mod said;
mod scan;
mod seen;
mod snapshot;
pub mod staging;
pub mod state;
mod state_io;
mod template;

use lock::Lock;
use maildrop::{MaildirDrop, Open};
pub use state_io::STATE_FILE;
pub use template::{Template, TemplateError};

/// What people see of this back end.
pub const BACKEND: Backend = Backend {
    name: "maildir",
    help: "one Maildir for each user, shared with the programs that deliver to it",
    example: "maildir = \"/var/vmail/{domain}/{local}\"",
};

/// Settings of a [`MaildirStore`] beside its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The longest message that is taken for delivery, in octets as received; `None` for no limit.
    pub message_limit_octets: Option<u64>,
    /// How much memory may be taken by what is known of Maildirs that nobody has open, in octets.
    pub index_max_octets: usize,
}

/// As much memory as is usual for [`Options::index_max_octets`]: for about two million messages.
pub const INDEX_USUAL_OCTETS: usize = 256 * 1024 * 1024;

impl Default for Options {
    fn default() -> Self {
        Self { message_limit_octets: None, index_max_octets: INDEX_USUAL_OCTETS }
    }
}

/// Maildirs under the paths of a [`Template`].
#[derive(Clone, Debug)]
pub struct MaildirStore {
    template: Template,
    options: Options,
    cache: Arc<cache::Cache>,
}

impl MaildirStore {
    /// The store of the Maildirs that `template` names.
    pub fn new(template: Template, options: Options) -> Self {
        Self { template, options, cache: Arc::new(cache::Cache::new(options.index_max_octets)) }
    }

    /// Opens a maildrop that nobody has changed since it was open here, if nothing has to be waited for. Otherwise the
    /// lock, if it could be had.
    fn open_at_once(&self, place: &Place) -> Result<Box<dyn Maildrop>, Result<Option<Lock>, OpenError>> {
        match Lock::acquire_at_once(&place.root, &place.path) {
            None => Err(Ok(None)),
            Some(Err(error)) => Err(Err(error)),
            Some(Ok(lock)) => match Open::at_once(lock, &self.cache) {
                Ok(open) => Ok(Box::new(MaildirDrop::new(open))),
                Err(lock) => Err(Ok(Some(lock))),
            },
        }
    }

    fn open_blocking(&self, place: &Place, lock: Option<Lock>) -> Result<Box<dyn Maildrop>, OpenError> {
        let lock = lock.map_or_else(|| Lock::acquire(&place.root, &place.path), Ok)?;
        if lock.dir().is_none() {
            place.check_absence()?;
        }
        Ok(Box::new(MaildirDrop::new(Open::new(lock, Arc::clone(&self.cache))?)))
    }

    /// Where a user's Maildir is: at `named`, if there is such a place, or where the template says.
    fn place(&self, user: &UserName, named: Option<&str>) -> Option<Place> {
        match named {
            None => Some(Place { root: self.template.root().to_owned(), path: self.template.path(user)? }),
            Some(named) => Place::named(named),
        }
    }
}

/// Where a Maildir is.
struct Place {
    /// The folder that has to be there: where it is missing, a disk is not mounted.
    root: PathBuf,
    path: PathBuf,
}

impl Place {
    /// A place that a directory names: an absolute path that does not lead upwards. The folder that it is in has to be there.
    fn named(text: &str) -> Option<Self> {
        let named = Path::new(text);
        let sound = named.is_absolute()
            && named.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
            && !text.contains('\0');
        // By its parts, so that one place has one name whatever slashes are in it.
        let path: PathBuf = if sound { named.components().collect() } else { return None };
        Some(Self { root: path.parent()?.to_owned(), path })
    }

    /// A missing Maildir is an empty drop. But where the folder above all of them is missing too, or a symlink leads
    /// nowhere, a disk is not mounted, and clients that are told of empty drops would forget what they have.
    fn check_absence(&self) -> Result<(), OpenError> {
        let Self { root, path } = self;
        let there = |place: &&Path| place.symlink_metadata().is_ok();
        let deepest = path.ancestors().find(there);
        if dir::open_path(root)?.is_none() {
            return Err(dir::Fault::new("opening", root, io::ErrorKind::NotFound).into());
        }
        match deepest {
            Some(link) if link.is_symlink() && link.metadata().is_err() => {
                Err(dir::Fault::new("following", link, io::ErrorKind::NotFound).into())
            }
            _ => Ok(()),
        }
    }
}

impl Store for MaildirStore {
    fn open<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        self.open_at(user, None)
    }

    fn open_at<'a>(
        &'a self,
        user: &'a UserName,
        place: Option<&'a str>,
    ) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        Box::pin(async move {
            let place = self.place(user, place).ok_or(OpenError::NoPlace)?;
            let lock = match self.open_at_once(&place) {
                Ok(maildrop) => return Ok(maildrop),
                Err(lock) => lock?,
            };
            let store = self.clone();
            let opened = tokio::task::spawn_blocking(move || store.open_blocking(&place, lock)).await;
            opened.unwrap_or_else(|error| {
                Err(OpenError::Broken { context: "opening a maildrop".to_owned(), source: error.into() })
            })
        })
    }

    fn deliver(&self, user: &UserName) -> Result<Box<dyn Delivery>, DeliverError> {
        self.deliver_at(user, None)
    }

    fn deliver_at(&self, user: &UserName, place: Option<&str>) -> Result<Box<dyn Delivery>, DeliverError> {
        let place = self.place(user, place).ok_or(DeliverError::NoPlace)?;
        Ok(Box::new(deliver::MaildirDelivery::begin(self, &place)?))
    }
}
