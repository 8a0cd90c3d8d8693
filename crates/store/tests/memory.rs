//! The memory back end against the law of back ends.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use restante_proto::{UniqueId, UserName};
use restante_store::{
    DeliverError, MemoryStore, OpenError, Store,
    conformance::{self, Fixture},
};

struct Memory(MemoryStore);

impl Fixture for Memory {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn vanish(&self, user: &UserName, unique_id: &str) {
        assert!(self.0.remove(user, &UniqueId::new(unique_id.as_bytes()).unwrap()));
    }
}

#[tokio::test]
async fn it_conforms() {
    conformance::check(&Memory(MemoryStore::new())).await;
}

#[tokio::test]
async fn its_limit_is_kept() {
    conformance::a_message_over_the_limit_is_refused(&MemoryStore::with_message_limit(1000), 1000).await;
}

#[tokio::test]
async fn an_id_is_added_once() {
    let store = MemoryStore::new();
    let (user, id) = (UserName::new("a").unwrap(), UniqueId::new(b"memory.0").unwrap());
    assert!(store.add(&user, id.clone(), "one\r\n"));
    assert!(!store.add(&user, id.clone(), "two\r\n"));
    // A delivery whose id would be that one gets another.
    let mut delivery = store.deliver(&user).unwrap();
    delivery.write(b"three\r\n").unwrap();
    delivery.commit().unwrap();
    let ids = store.unique_ids(&user);
    assert_eq!((ids.len(), &ids[0]), (2, &id));
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn it_has_no_places() {
    let (store, user) = (MemoryStore::new(), UserName::new("a").unwrap());
    assert!(matches!(store.open_at(&user, Some("/a")).await, Err(OpenError::NoPlace)));
    assert!(matches!(store.deliver_at(&user, Some("/a")), Err(DeliverError::NoPlace)));
    assert!(store.open_at(&user, None).await.is_ok() && store.deliver_at(&user, None).is_ok());
}
