//! What RFC 1939 asks of a maildrop, where only the Maildir can show it. `docs/rfc/` says which statement each test
//! proves.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod support;

use restante_store::OpenError;
use support::World;

#[tokio::test]
async fn a_maildrop_that_cannot_be_opened_is_not_locked() {
    // RFC 1939 §4: a lock that was acquired is released before the login is refused.
    let world = World::new();
    std::fs::create_dir_all(world.maildir()).unwrap();
    std::fs::write(world.maildir().join("cur"), b"no folder").unwrap();
    for _ in 0..3 {
        // The second time it would be busy.
        let refused = world.try_open().await;
        assert!(matches!(refused, Err(OpenError::Broken { .. } | OpenError::Denied { .. })), "{refused:?}");
        let dir = std::fs::File::open(world.maildir()).unwrap();
        rustix::fs::flock(&dir, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    }
}
