//! Sessions that somebody begins to hear when they are under way: their heads say in which state they were.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::sync::{Arc, Mutex};

use restante_proto::dialogue::{Head, Joined};
use restante_server::{Begun, Observer, Watch};
use tokio::time::timeout;
use world::{PATIENCE, Plan, Running, connect};

/// Keeps the heads of what it might hear.
#[derive(Debug, Default)]
struct Heads(Mutex<Vec<Head>>);

impl Observer for Heads {
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>> {
        self.0.lock().unwrap().push(session.head());
        None
    }
}

/// The head of the one session that is on, which is joined now.
async fn joined(server: &Running) -> Head {
    let heads = Arc::new(Heads::default());
    let on = server.handle.sessions();
    assert!(server.handle.attach(&on[0].session, Arc::clone(&heads) as Arc<dyn Observer>));
    let begun = async {
        loop {
            if let Some(head) = heads.0.lock().unwrap().pop() {
                return head;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, begun).await.expect("the session is joined between two commands")
}

#[tokio::test]
async fn the_head_says_in_which_state_a_session_was_joined() {
    let server = Plan::default().start();
    let mut client = connect(server.pop3).await;
    assert_eq!(joined(&server).await.joined, Some(Joined::Authorization));
    client.log_in().await;
    let head = joined(&server).await;
    assert_eq!(head.joined, Some(Joined::Transaction));
    assert!(head.to_string().contains("\njoined: TRANSACTION\n"), "{head}");
    client.say("QUIT").await;
}
