//! Where mail lives: the traits [`Store`], [`Maildrop`] and [`Delivery`], and one folder per back end.
//!
//! A back end is a folder, a constant `BACKEND`, one line in `registry.rs`, and one call of the `conformance` suite:
//! passing the suite is what makes it a back end. No protocol lives here; octets are counted by
//! [`restante_proto::body`].

use std::{future::Future, ops::Range, pin::Pin, sync::Arc};

use restante_proto::{Marks, UniqueIds, UserName, body::Form};

pub mod conformance;
#[doc(hidden)]
pub mod crash;
mod error;
pub mod maildir;
pub mod memory;
pub mod registry;
mod source;

pub use error::{CommitError, DeliverError, OpenError, StoreError};
pub use maildir::MaildirStore;
pub use memory::MemoryStore;
pub use source::{Cached, Source};

/// A future of a store, boxed so that stores can be chosen at run time.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place where many users' maildrops live.
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Locks the user's maildrop and takes a snapshot of it (RFC 1939 §4). The lock is held until the [`Maildrop`]
    /// is committed or dropped. A maildrop that does not exist is an empty one; nothing is created.
    fn open<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>>;

    /// As [`Self::open`], at another place than the configuration says, where a directory names one: for Maildirs an absolute
    /// path. Fails with [`OpenError::NoPlace`] where the store has no such places.
    fn open_at<'a>(
        &'a self,
        user: &'a UserName,
        place: Option<&'a str>,
    ) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        match place {
            None => self.open(user),
            Some(_) => Box::pin(async { Err(OpenError::NoPlace) }),
        }
    }

    /// Begins the delivery of one message. Blocking; nothing is seen by anybody before [`Delivery::commit`].
    fn deliver(&self, user: &UserName) -> Result<Box<dyn Delivery>, DeliverError>;

    /// As [`Self::deliver`], at the place that [`Self::open_at`] opens.
    fn deliver_at(&self, user: &UserName, place: Option<&str>) -> Result<Box<dyn Delivery>, DeliverError> {
        match place {
            None => self.deliver(user),
            Some(_) => Err(DeliverError::NoPlace),
        }
    }
}

/// One user's mail, locked for one session: a snapshot whose indices (0-based) never change.
pub trait Maildrop: Send + Sync + std::fmt::Debug {
    /// The number of messages.
    fn messages(&self) -> u32;

    /// Of how many messages the unique-id is another one than when the drop was last open, so that clients will fetch them
    /// again: they were found under other names.
    fn changed_unique_ids(&self) -> u32 {
        0
    }

    /// The canonical length of each message in octets, if that is known without reading any mail.
    fn known_sizes(&self) -> Option<Arc<[u64]>>;

    /// The canonical length of each message in octets; reads the mail whose length is not known yet.
    fn sizes(&mut self) -> Task<'_, Result<Arc<[u64]>, StoreError>>;

    /// The unique-ids of the messages in `range` (indices, within [`Self::messages`]), or of as many of the first of
    /// them as fit a page, but at least one.
    fn unique_ids(&mut self, range: Range<u32>) -> Task<'_, Result<UniqueIds, StoreError>>;

    /// Opens one message for reading. `Gone` if it was removed behind our back.
    fn message(&mut self, index: u32) -> Task<'_, Result<Message, StoreError>>;

    /// Removes the marked messages durably, and releases the lock. The caller sees to it that the future is driven
    /// to its end: it is the UPDATE state (RFC 1939 §6).
    fn commit(self: Box<Self>, deleted: Marks) -> Task<'static, Result<(), CommitError>>;
}

/// A message that can be sent: where its octets are, and what is known of them.
#[derive(Debug)]
pub struct Message {
    /// Where the stored octets are read from.
    pub source: Source,
    /// How many octets are stored.
    pub stored: u64,
    /// The canonical length in octets.
    pub octets: u64,
    /// How it is stored.
    pub form: Form,
}

/// One message on its way into a maildrop. Dropped without [`Self::commit`] it leaves nothing behind.
pub trait Delivery: Send {
    /// Appends octets of the message.
    fn write(&mut self, octets: &[u8]) -> Result<(), DeliverError>;

    /// Makes the message durable and then visible.
    fn commit(self: Box<Self>) -> Result<(), DeliverError>;
}
