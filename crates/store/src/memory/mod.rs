//! Maildrops in memory: for the demo, for tests, and as the shortest back end to read.
//!
//! Messages are kept octet for octet as they came. Nothing here survives the process.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use restante_proto::{
    Marks, UniqueId, UniqueIds, UserName,
    body::{Measure, Measured},
};

use crate::{
    CommitError, DeliverError, Delivery, Maildrop, Message, OpenError, Source, Store, StoreError, Task,
    registry::Backend,
};

/// What people see of this back end.
pub const BACKEND: Backend = Backend {
    name: "memory",
    help: "maildrops in memory, gone when the server ends: for trying things out",
    example: "memory = true",
};

/// The most unique-ids in one page.
const PAGE_MAX_IDS: usize = 4096;

/// A store in memory. A clone is another handle of the same store.
///
/// ```
/// use restante_proto::{UniqueId, UserName};
/// use restante_store::MemoryStore;
/// let store = MemoryStore::new();
/// let (user, id) = (UserName::new("john.doe@anydomain.com")?, UniqueId::new(b"390953946").unwrap());
/// assert!(store.add(&user, id.clone(), "Subject: hello\r\n\r\nhi\r\n"));
/// assert_eq!(store.unique_ids(&user), [id]);
/// # Ok::<(), restante_proto::user::InvalidUserName>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    users: Mutex<BTreeMap<UserName, UserDrop>>,
    delivered: AtomicU64,
    message_limit_octets: Option<u64>,
}

#[derive(Debug, Default)]
struct UserDrop {
    locked: bool,
    messages: Vec<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    id: UniqueId,
    octets: Bytes,
    measured: Measured,
}

impl Stored {
    fn new(id: UniqueId, octets: Bytes) -> Self {
        let mut measure = Measure::default();
        measure.push(&octets);
        Self { id, measured: measure.finish(), octets }
    }
}

impl Shared {
    /// A panic elsewhere leaves the drops whole: each change is one push or one retain.
    fn users(&self) -> MutexGuard<'_, BTreeMap<UserName, UserDrop>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose deliveries may not be longer than `octets`.
    pub fn with_message_limit(octets: u64) -> Self {
        Self(Arc::new(Shared { message_limit_octets: Some(octets), ..Shared::default() }))
    }

    /// Adds a message with this unique-id to the user's maildrop; `false`, and nothing added, if a message there has
    /// that id already. A session that is open does not see it.
    pub fn add(&self, user: &UserName, id: UniqueId, octets: impl Into<Bytes>) -> bool {
        let mut users = self.0.users();
        let drop = users.entry(user.clone()).or_default();
        let fresh = drop.messages.iter().all(|stored| stored.id != id);
        if fresh {
            drop.messages.push(Stored::new(id, octets.into()));
        }
        fresh
    }

    /// Removes a message behind the back of whoever has the maildrop open; `false` if it was not there.
    pub fn remove(&self, user: &UserName, id: &UniqueId) -> bool {
        let mut users = self.0.users();
        let Some(drop) = users.get_mut(user) else { return false };
        let before = drop.messages.len();
        drop.messages.retain(|stored| stored.id != *id);
        drop.messages.len() < before
    }

    /// The unique-ids of the messages that the user's maildrop holds now.
    pub fn unique_ids(&self, user: &UserName) -> Vec<UniqueId> {
        let users = self.0.users();
        users
            .get(user)
            .map(|drop| drop.messages.iter().map(|stored| stored.id.clone()).collect())
            .unwrap_or_default()
    }
}

impl Store for MemoryStore {
    fn open<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        Box::pin(async move {
            let mut users = self.0.users();
            let drop = users.entry(user.clone()).or_default();
            if std::mem::replace(&mut drop.locked, true) {
                return Err(OpenError::Busy);
            }
            let snapshot = drop.messages.clone();
            let sizes = snapshot.iter().map(|stored| stored.measured.octets).collect();
            let lock = Lock { shared: Arc::clone(&self.0), user: user.clone() };
            Ok(Box::new(MemoryDrop { snapshot, sizes, lock }) as Box<dyn Maildrop>)
        })
    }

    fn deliver(&self, user: &UserName) -> Result<Box<dyn Delivery>, DeliverError> {
        Ok(Box::new(MemoryDelivery { shared: Arc::clone(&self.0), user: user.clone(), octets: Vec::new() }))
    }
}

/// Holds the user's lock, and releases it when dropped.
#[derive(Debug)]
struct Lock {
    shared: Arc<Shared>,
    user: UserName,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(drop) = self.shared.users().get_mut(&self.user) {
            drop.locked = false;
        }
    }
}

#[derive(Debug)]
struct MemoryDrop {
    snapshot: Vec<Stored>,
    sizes: Arc<[u64]>,
    lock: Lock,
}

impl Maildrop for MemoryDrop {
    fn messages(&self) -> u32 {
        // More than 4 billion messages do not fit into memory.
        u32::try_from(self.snapshot.len()).unwrap_or(u32::MAX)
    }

    fn known_sizes(&self) -> Option<Arc<[u64]>> {
        Some(Arc::clone(&self.sizes))
    }

    fn sizes(&mut self) -> Task<'_, Result<Arc<[u64]>, StoreError>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.sizes))))
    }

    fn unique_ids(&mut self, range: Range<u32>) -> Task<'_, Result<UniqueIds, StoreError>> {
        let page = self.snapshot.get(range.start as usize..range.end as usize).unwrap_or_default();
        let page = page.iter().take(PAGE_MAX_IDS).map(|stored| &stored.id).collect();
        Box::pin(std::future::ready(Ok(page)))
    }

    fn message(&mut self, index: u32) -> Task<'_, Result<Message, StoreError>> {
        let message = self.snapshot.get(index as usize).and_then(|wanted| {
            let users = self.lock.shared.users();
            let there = users.get(&self.lock.user)?.messages.iter().any(|stored| stored.id == wanted.id);
            there.then(|| Message {
                source: Source::Bytes(wanted.octets.clone()),
                stored: wanted.octets.len() as u64,
                octets: wanted.measured.octets,
                form: wanted.measured.form,
            })
        });
        Box::pin(std::future::ready(message.ok_or(StoreError::Gone)))
    }

    fn commit(self: Box<Self>, deleted: Marks) -> Task<'static, Result<(), CommitError>> {
        Box::pin(async move {
            let marked = deleted.iter().filter_map(|index| self.snapshot.get(index as usize));
            let marked: std::collections::BTreeSet<_> = marked.map(|stored| &stored.id).collect();
            if let Some(drop) = self.lock.shared.users().get_mut(&self.lock.user) {
                drop.messages.retain(|stored| !marked.contains(&stored.id));
            }
            Ok(())
        })
    }
}

struct MemoryDelivery {
    shared: Arc<Shared>,
    user: UserName,
    octets: Vec<u8>,
}

impl Delivery for MemoryDelivery {
    fn write(&mut self, octets: &[u8]) -> Result<(), DeliverError> {
        let length_octets = (self.octets.len() + octets.len()) as u64;
        if let Some(limit_octets) = self.shared.message_limit_octets.filter(|&limit| length_octets > limit) {
            return Err(DeliverError::TooLong { limit_octets });
        }
        self.octets.extend_from_slice(octets);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), DeliverError> {
        let Self { shared, user, octets } = *self;
        let store = MemoryStore(shared);
        let octets = Bytes::from(octets);
        loop {
            let number = store.0.delivered.fetch_add(1, Ordering::Relaxed);
            // An id that somebody else chose may look the same; the next number does not.
            if let Some(id) = UniqueId::new(format!("memory.{number}").as_bytes())
                && store.add(&user, id, octets.clone())
            {
                return Ok(());
            }
        }
    }
}
