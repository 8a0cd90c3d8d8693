//! A system that has no descriptors left: an error, and no wrong sizes. One test: the limit is that of the process.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use restante_store::{OpenError, StoreError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{World, john};

#[tokio::test]
async fn a_system_without_descriptors_makes_no_sizes() {
    let world = World::with(&[("new/1", b"Subject: 1\n"), ("new/2", b"Subject: 2\n")]);
    let mut drop = world.open().await;
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
    let sizes = drop.sizes().await;
    let message = drop.message(0).await;
    let open =
        restante_store::Store::open(&world.store, &restante_proto::UserName::new("jack").unwrap()).await;
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(matches!(sizes, Err(StoreError::Broken { .. })), "{sizes:?}");
    assert!(matches!(message, Err(StoreError::Broken { .. })));
    assert!(matches!(open, Err(OpenError::Broken { .. })));
    assert_eq!(*drop.sizes().await.unwrap(), [12, 12], "and when there are some again, the truth");
    std::mem::drop(drop);
    assert_eq!(restante_store::Store::open(&world.store, &john()).await.unwrap().messages(), 2);
}
