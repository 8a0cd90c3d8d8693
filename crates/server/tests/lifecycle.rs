//! Locks and takeover, drain, reload: what happens to sessions when something else happens.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use restante_proto::{Marks, UniqueIds, UserName};
use restante_store::{
    CommitError, DeliverError, Delivery, Maildrop, MemoryStore, Message, OpenError, Store, StoreError, Task,
};
use tokio::{sync::Notify, time::timeout};
use world::{PASSWORD, Plan, connect, logged_in, mail, user};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_second_login_is_told_who_holds_the_maildrop() {
    let running = Plan::default().start();
    let _first = logged_in(running.pop3).await;
    let mut second = connect(running.pop3).await;
    second.say("USER john.doe@anydomain.com").await;
    let answer = second.say(&format!("PASS {PASSWORD}")).await;
    let words = answer.strip_prefix("-ERR [IN-USE] maildrop in use since ").unwrap();
    let (since, idle) = words.split_once(" ago by a session idle for ").unwrap();
    assert!(since.ends_with(" s") && idle.ends_with(" s"), "{answer}");
}

#[tokio::test]
async fn an_idle_session_is_taken_over_from_the_same_address() {
    let log = world::log();
    let store = mail(&["a\n"]);
    let mut plan = Plan { store: Arc::new(store.clone()), ..Plan::default() };
    plan.settings.limits.takeover_idle = SHORT;
    let running = plan.start();
    let mut first = logged_in(running.pop3).await;
    assert_eq!(first.say("DELE 1").await, "+OK msg deleted");
    tokio::time::sleep(SHORT * 2).await; // the idle time is the thing under test
    let mut second = logged_in(running.pop3).await;
    log.shows("user=\"john.doe@anydomain.com\"").await;
    log.shows("why=\"taken over by a new session").await;
    assert_eq!(second.say("STAT").await, "+OK 1 3", "without QUIT nothing is lost");
    assert_eq!(first.rest().await, b"", "and nothing unasked is said");
}

#[tokio::test]
async fn who_still_receives_is_not_idle() {
    // A slow link: much has been written, little has arrived.
    let store = mail(&[&"x".repeat(3_000_000)]);
    let mut plan = Plan { store: Arc::new(store), ..Plan::default() };
    plan.settings.limits.takeover_idle = SHORT * 2;
    let running = plan.start();
    let mut slow = logged_in(running.pop3).await;
    slow.send("RETR 1\r\n").await;
    let mut piece = vec![0; 30_000];
    for _ in 0..20 {
        tokio::io::AsyncReadExt::read_exact(&mut slow.stream, &mut piece).await.unwrap();
        tokio::time::sleep(SHORT / 2).await;
    }
    let mut second = connect(running.pop3).await;
    second.say("USER john.doe@anydomain.com").await;
    let answer = second.say(&format!("PASS {PASSWORD}")).await;
    assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
    // And it reaches its QUIT.
    slow.send("QUIT\r\n").await;
    let rest = slow.rest().await;
    assert!(rest.ends_with(b".\r\n+OK POP3 Server saying Good-Bye\r\n"));
}

#[tokio::test]
async fn a_maildrop_that_is_being_opened_is_in_use_by_a_session() {
    let inner = mail(&["a\n"]);
    let (plan, opens) = slow_to_open(&inner);
    let running = plan.start();
    let mut first = connect(running.pop3).await;
    first.say("USER john.doe@anydomain.com").await;
    first.send(format!("PASS {PASSWORD}\r\n")).await;
    opens.begun.notified().await;
    let mut second = connect(running.pop3).await;
    second.say("USER john.doe@anydomain.com").await;
    let answer = second.say(&format!("PASS {PASSWORD}")).await;
    assert!(answer.ends_with("by a session that is busy now"), "{answer}");
    opens.go.notify_one();
    assert_eq!(first.line().await, "+OK maildrop locked and ready");
}

#[tokio::test]
async fn a_second_stop_does_not_wait_for_sessions() {
    let log = world::log();
    let running = Plan::default().start();
    let mut client = logged_in(running.pop3).await;
    running.handle.stop().await;
    running.handle.stop().await;
    assert_eq!(client.rest().await, b"");
    timeout(world::PATIENCE, running.server).await.expect("it stops").unwrap();
    log.shows("why=\"the server stopped").await;
    log.shows("user=\"john.doe@anydomain.com\"").await;
}

#[tokio::test]
async fn a_server_whose_future_is_dropped_listens_no_more() {
    let running = Plan::default().start();
    let mut client = logged_in(running.pop3).await;
    running.server.abort();
    assert_eq!(client.rest().await, b"", "its sessions end");
    timeout(world::PATIENCE, async {
        while tokio::net::TcpStream::connect(running.pop3).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("nobody listens");
}

#[tokio::test]
async fn an_address_may_move_between_the_ports() {
    // Ports that the system has just chosen are free still.
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (one, other) = (free(), free());
    let mut plan = Plan::default();
    (plan.settings.pop3, plan.settings.pop3s) = (vec![one], vec![other]);
    let running = plan.start();
    let mut plan = Plan::default();
    (plan.settings.pop3, plan.settings.pop3s) = (vec![other], vec![one]);
    running.handle.reload(plan.config(running.folder.path())).await.unwrap();
    connect(other).await;
}

#[tokio::test]
async fn takeover_can_be_switched_off() {
    let mut plan = Plan::default();
    plan.settings.limits.takeover_idle = Duration::ZERO;
    let running = plan.start();
    let _first = logged_in(running.pop3).await;
    let mut second = connect(running.pop3).await;
    second.say("USER john.doe@anydomain.com").await;
    assert!(second.say(&format!("PASS {PASSWORD}")).await.starts_with("-ERR [IN-USE]"));
}

#[tokio::test]
async fn a_draining_server_lets_sessions_reach_quit() {
    let store = mail(&["a\n", "b\n"]);
    let running = Plan { store: Arc::new(store.clone()), ..Plan::default() }.start();
    let mut inside = logged_in(running.pop3).await;
    let mut outside = connect(running.pop3).await;
    outside.say("USER john.doe@anydomain.com").await;
    running.handle.stop().await;
    let answer = outside.say(&format!("PASS {PASSWORD}")).await;
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    assert_eq!(inside.say("DELE 1").await, "+OK msg deleted");
    assert_eq!(inside.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    drop((inside, outside));
    timeout(world::PATIENCE, running.server).await.expect("it stops once nobody is left").unwrap();
    assert_eq!(store.unique_ids(&user()).len(), 1);
}

#[tokio::test]
async fn a_drained_session_is_closed_without_a_word() {
    let mut plan = Plan::default();
    plan.settings.limits.drain = SHORT;
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    running.handle.stop().await;
    assert_eq!(client.rest().await, b"");
    timeout(world::PATIENCE, running.server).await.expect("it stops").unwrap();
}

/// What a slow store waits for.
#[derive(Clone, Debug, Default)]
struct Gate {
    begun: Arc<Notify>,
    go: Arc<Notify>,
}

/// A memory store whose opening waits until it is let go.
#[derive(Debug)]
struct SlowToOpen {
    inner: MemoryStore,
    gate: Gate,
}

impl Store for SlowToOpen {
    fn open<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        Box::pin(async move {
            self.gate.begun.notify_one();
            self.gate.go.notified().await;
            self.inner.open(user).await
        })
    }

    fn deliver(&self, user: &UserName) -> Result<Box<dyn Delivery>, DeliverError> {
        self.inner.deliver(user)
    }
}

fn slow_to_open(inner: &MemoryStore) -> (Plan, Gate) {
    let gate = Gate::default();
    let store = SlowToOpen { inner: inner.clone(), gate: gate.clone() };
    (Plan { store: Arc::new(store), ..Plan::default() }, gate)
}

/// A memory store whose commits wait until they are let go, or fail.
#[derive(Debug)]
struct Slow {
    inner: MemoryStore,
    begun: Arc<Notify>,
    go: Arc<Notify>,
    fails: Arc<AtomicBool>,
}

#[derive(Debug)]
struct SlowDrop {
    inner: Box<dyn Maildrop>,
    begun: Arc<Notify>,
    go: Arc<Notify>,
    fails: Arc<AtomicBool>,
}

impl Store for Slow {
    fn open<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Box<dyn Maildrop>, OpenError>> {
        Box::pin(async move {
            let inner = self.inner.open(user).await?;
            let (begun, go, fails) = (Arc::clone(&self.begun), Arc::clone(&self.go), Arc::clone(&self.fails));
            Ok(Box::new(SlowDrop { inner, begun, go, fails }) as Box<dyn Maildrop>)
        })
    }

    fn deliver(&self, user: &UserName) -> Result<Box<dyn Delivery>, DeliverError> {
        self.inner.deliver(user)
    }
}

impl Maildrop for SlowDrop {
    fn messages(&self) -> u32 {
        self.inner.messages()
    }

    fn known_sizes(&self) -> Option<Arc<[u64]>> {
        self.inner.known_sizes()
    }

    fn sizes(&mut self) -> Task<'_, Result<Arc<[u64]>, StoreError>> {
        self.inner.sizes()
    }

    fn unique_ids(&mut self, range: Range<u32>) -> Task<'_, Result<UniqueIds, StoreError>> {
        self.inner.unique_ids(range)
    }

    fn message(&mut self, index: u32) -> Task<'_, Result<Message, StoreError>> {
        self.inner.message(index)
    }

    fn commit(self: Box<Self>, deleted: Marks) -> Task<'static, Result<(), CommitError>> {
        Box::pin(async move {
            self.begun.notify_one();
            if self.fails.load(Ordering::SeqCst) {
                return Err(CommitError { remain: 1, source: std::io::ErrorKind::StorageFull.into() });
            }
            self.go.notified().await;
            self.inner.commit(deleted).await
        })
    }
}

fn slow(inner: &MemoryStore) -> (Plan, Arc<Notify>, Arc<Notify>, Arc<AtomicBool>) {
    let (begun, go, fails) = (Arc::default(), Arc::default(), Arc::default());
    let store = Slow {
        inner: inner.clone(),
        begun: Arc::clone(&begun),
        go: Arc::clone(&go),
        fails: Arc::clone(&fails),
    };
    (Plan { store: Arc::new(store), ..Plan::default() }, begun, go, fails)
}

#[tokio::test]
async fn quit_tells_that_the_deletion_failed() {
    let inner = mail(&["a\n"]);
    let (plan, _, _, fails) = slow(&inner);
    let running = plan.start();
    fails.store(true, Ordering::SeqCst);
    let mut client = logged_in(running.pop3).await;
    client.say("DELE 1").await;
    assert_eq!(client.say("QUIT").await, "-ERR [SYS/TEMP] 1 deleted messages not removed");
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_commit_that_has_begun_is_finished_whatever_happens_to_the_connection() {
    let log = world::log();
    let inner = mail(&["a\n"]);
    let (plan, begun, go, _) = slow(&inner);
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    client.say("DELE 1").await;
    client.send("QUIT\r\n").await;
    begun.notified().await;
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    // The session has ended, and with it everything that waited for the commit.
    log.shows("why=\"connection: reset by the client").await;
    go.notify_one();
    log.shows("the client did not wait for the answer to QUIT").await;
    timeout(world::PATIENCE, async {
        while !inner.unique_ids(&user()).is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the message is removed");
}

#[tokio::test]
async fn a_commit_that_has_begun_is_finished_whoever_ends_the_session() {
    let log = world::log();
    let inner = mail(&["a\n"]);
    let (plan, begun, go, _) = slow(&inner);
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    client.say("DELE 1").await;
    client.send("QUIT\r\n").await;
    begun.notified().await;
    assert!(running.handle.kick(&running.handle.sessions()[0].session));
    assert_eq!(client.rest().await, b"", "it is not told that all is done");
    log.shows("why=\"ended by the operator").await;
    assert_eq!(inner.unique_ids(&user()).len(), 1, "not yet");
    go.notify_one();
    log.shows("the client did not wait for the answer to QUIT").await;
    assert_eq!(inner.unique_ids(&user()).len(), 0);
}

#[tokio::test]
async fn a_stopping_server_waits_for_a_commit() {
    let inner = mail(&["a\n"]);
    let (mut plan, begun, go, _) = slow(&inner);
    plan.settings.limits.drain = SHORT;
    let running = plan.start();
    let mut client = logged_in(running.pop3).await;
    client.say("DELE 1").await;
    client.send("QUIT\r\n").await;
    begun.notified().await;
    running.handle.stop().await;
    assert_eq!(client.rest().await, b"", "the connection is closed when the time is over");
    assert!(!running.server.is_finished());
    go.notify_one();
    timeout(world::PATIENCE, running.server).await.expect("it stops").unwrap();
    assert_eq!(inner.unique_ids(&user()).len(), 0);
}

#[tokio::test]
async fn a_reload_opens_new_addresses_and_closes_old_ones() {
    let running = Plan::default().start();
    let mut old = logged_in(running.pop3).await;
    let mut plan = Plan::default();
    plan.settings.hostname = "X2".into();
    plan.settings.pop3.clear();
    running.handle.reload(plan.config(running.folder.path())).await.unwrap();
    assert!(tokio::net::TcpStream::connect(running.pop3).await.is_err(), "nobody listens there");
    assert_eq!(old.say("NOOP").await, "+OK", "the session that was on goes on");
    // An address that cannot be had leaves everything as it was.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut plan = Plan::default();
    plan.settings.pop3 = vec![taken.local_addr().unwrap()];
    plan.settings.pop3s.clear();
    assert!(running.handle.reload(plan.config(running.folder.path())).await.is_err());
    assert!(tokio::net::TcpStream::connect(running.pop3s).await.is_ok());
}
