//! What an open Maildir reads, and when; how it is let go. What comes out of it, the tests in `tests/` show.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use super::*;
use crate::crash;

fn cache() -> Arc<Cache> {
    Arc::new(Cache::new(1 << 20))
}

struct World {
    folder: tempfile::TempDir,
    cache: Arc<Cache>,
}

impl World {
    fn with(names: &[&str]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap(), cache: cache() };
        for folder in ["new", "cur", "tmp"] {
            std::fs::create_dir_all(world.maildir().join(folder)).unwrap();
        }
        names.iter().for_each(|name| world.put(name));
        world
    }

    fn maildir(&self) -> PathBuf {
        self.folder.path().join("john")
    }

    fn put(&self, name: &str) {
        std::fs::write(self.maildir().join(name), "Subject: a\n").unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.maildir().join(from), self.maildir().join(to)).unwrap();
    }

    /// Sets the times of the folders back, so that they prove something.
    fn age(&self) {
        for folder in ["new", "cur"] {
            let folder = File::open(self.maildir().join(folder)).unwrap();
            folder.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        }
    }

    fn lock(&self) -> Lock {
        Lock::acquire(self.folder.path(), &self.maildir()).unwrap()
    }

    fn open(&self) -> Open {
        Open::new(self.lock(), Arc::clone(&self.cache)).unwrap()
    }

    /// What a session reads and writes, and how many messages it has. It ends with nothing said.
    fn session(&self) -> (Vec<&'static str>, usize) {
        crash::take_noted();
        let mut open = self.open();
        let messages = open.shown.len();
        open.close();
        (crash::take_noted(), messages)
    }

    /// The same in a process of its own, which has nothing in memory.
    fn session_elsewhere(&self) -> (Vec<&'static str>, usize) {
        Self { folder: tempfile::tempdir().unwrap(), cache: cache() }.session_in(self)
    }

    fn session_in(&self, world: &Self) -> (Vec<&'static str>, usize) {
        crash::take_noted();
        let mut open = Open::new(world.lock(), Arc::clone(&self.cache)).unwrap();
        let messages = open.shown.len();
        open.close();
        (crash::take_noted(), messages)
    }

    /// Whether a session needs not wait for anything.
    fn opens_at_once(&self) -> bool {
        let lock = Lock::acquire_at_once(self.folder.path(), &self.maildir()).unwrap().unwrap();
        Open::at_once(lock, &self.cache).map(|mut open| open.close()).is_ok()
    }
}

#[test]
fn only_what_changed_is_read() {
    let world = World::with(&["new/1", "new/2", "cur/3:2,S", "cur/4:2,S"]);
    assert!(!world.opens_at_once(), "it was never open");
    assert_eq!(world.session(), (vec!["read new", "read cur", "write state", "rename state"], 4));
    // The folders changed just now, so that their times prove nothing.
    assert!(!world.opens_at_once());
    assert_eq!(world.session(), (vec!["read new", "read cur"], 4));
    world.age();
    assert_eq!(world.session(), (vec!["read new", "read cur", "append state"], 4));
    assert_eq!(world.session(), (vec![], 4));
    assert_eq!(world.session_elsewhere(), (vec![], 4));
    assert!(world.opens_at_once() && world.opens_at_once());

    world.put("new/5");
    assert!(!world.opens_at_once());
    world.age();
    // cur/ was touched too: its inode's time is another one.
    assert_eq!(world.session(), (vec!["read new", "read cur", "append state"], 5));
    world.put("new/6");
    assert_eq!(world.session(), (vec!["read new", "append state"], 6));
    assert_eq!(world.session(), (vec!["read new"], 6));
    assert_eq!(world.session_elsewhere(), (vec!["read new"], 6));

    world.age();
    assert_eq!(world.session().1, 6);
    world.rename("cur/3:2,S", "cur/3:2,FS");
    assert_eq!(world.session(), (vec!["read cur", "append state"], 6));
    world.age();
    assert_eq!(world.session().1, 6);
    world.rename("new/1", "cur/1:2,");
    assert_eq!(world.session(), (vec!["read new", "read cur", "append state"], 6));
    world.age();
    assert_eq!(world.session().1, 6);
    std::fs::remove_file(world.maildir().join("cur/1:2,")).unwrap();
    let calls = [&["read cur"][..], &["read new", "read cur"].repeat(3), &["append state"]].concat();
    assert_eq!(world.session(), (calls, 5), "one look is no proof, and cur/ changed just now");
}

#[test]
fn what_another_program_wrote_into_the_state_file_stands_above_memory() {
    let world = World::with(&["new/1", "new/2"]);
    world.age();
    assert_eq!(world.session().1, 2);
    assert!(world.opens_at_once());
    let state = std::fs::read(world.maildir().join(STATE_FILE)).unwrap();
    std::fs::write(world.maildir().join(STATE_FILE), &state).unwrap();
    assert!(!world.opens_at_once());
    assert_eq!(world.session(), (vec![], 2));
    assert!(world.opens_at_once());
    std::fs::remove_file(world.maildir().join(STATE_FILE)).unwrap();
    assert!(!world.opens_at_once());
    assert_eq!(world.session(), (vec!["read new", "read cur", "write state", "rename state"], 2));
    std::fs::remove_dir_all(world.maildir()).unwrap();
    assert!(Lock::acquire_at_once(world.folder.path(), &world.maildir()).is_none());
    assert_eq!(world.session(), (vec![], 0));
}

#[test]
fn a_folder_that_was_exchanged_is_read() {
    let world = World::with(&["new/1", "cur/2"]);
    world.age();
    assert_eq!(world.session().1, 2);
    // Another folder with the very same time, as from a backup.
    let time = std::fs::metadata(world.maildir().join("cur")).unwrap().modified().unwrap();
    world.rename("cur", "old");
    std::fs::create_dir(world.maildir().join("cur")).unwrap();
    world.put("cur/3");
    File::open(world.maildir().join("cur")).unwrap().set_modified(time).unwrap();
    assert!(!world.opens_at_once());
    let mut open = world.open();
    assert_eq!(open.unique_ids(0..2).iter().collect::<Vec<_>>(), ["1", "3"]);
    open.close();
}

#[test]
fn a_symlink_is_never_followed_at_once() {
    let world = World::with(&["new/1", "cur/2"]);
    world.age();
    assert_eq!(world.session().1, 2);
    let path = |name: &str| world.folder.path().join(name);
    std::os::unix::fs::symlink("john", path("jack")).unwrap();
    assert!(Lock::acquire_at_once(world.folder.path(), &path("jack")).is_none());
    // On the way to the root it is the operator's.
    std::os::unix::fs::symlink(world.folder.path(), path("root")).unwrap();
    assert!(Lock::acquire_at_once(&path("root"), &path("root/john")).is_some());
    assert!(Lock::acquire_at_once(&path("root"), &path("root/jack")).is_none());
    world.rename("cur", "old");
    std::os::unix::fs::symlink("old", world.maildir().join("cur")).unwrap();
    assert!(!world.opens_at_once());
}

#[tokio::test]
async fn a_message_that_was_read_before_is_opened_at_once() {
    let world = World::with(&["new/1", "new/2"]);
    let mut open = world.open();
    assert!(open.message_at_once(0).is_none(), "it was never counted");
    open.sizes(&AtomicBool::new(false)).unwrap();
    let message = open.message_at_once(0).unwrap();
    assert_eq!((message.stored, message.octets), (11, 12));
    world.rename("new/1", "cur/1:2,S");
    assert!(open.message_at_once(0).is_none(), "it is not where it was");
    std::fs::write(world.maildir().join("new/2"), "edited\n").unwrap();
    assert!(open.message_at_once(1).is_none(), "it is not what it was");
    assert!(open.message_at_once(2).is_none());
    let mut drop = MaildirDrop::new(open);
    assert_eq!(drop.message(0).await.unwrap().octets, 12);
    assert_eq!(drop.message(1).await.unwrap().octets, 8);
}

#[test]
fn many_messages_are_counted_together_and_as_one_by_one() {
    let world = World::with(&[]);
    let text = |n: usize| format!("Subject: {n}\n{}", ".line\r\n\n".repeat(n % 50));
    for n in 0..700 {
        std::fs::write(world.maildir().join(format!("new/{}", 1000 + n)), text(n)).unwrap();
    }
    let mut open = world.open();
    // Three are elsewhere by now, and one is nowhere.
    for n in [1003, 1300, 1699] {
        world.rename(&format!("new/{n}"), &format!("cur/{n}:2,S"));
    }
    std::fs::remove_file(world.maildir().join("new/1500")).unwrap();
    let sizes = open.sizes(&AtomicBool::new(false)).unwrap();
    for (n, &octets) in sizes.iter().enumerate() {
        let text = text(n);
        let bare = text.replace("\r\n", "").matches('\n').count();
        let expected = if n == 500 { text.len() } else { text.len() + bare };
        assert_eq!(octets, expected as u64, "message {n}");
    }
    assert_eq!(open.state.count(500), Count::Unknown);
    assert!(open.state.located(3).is_some_and(|located| located.suffix == b":2,S"));
    open.close();
}

#[test]
fn sizes_that_nobody_waits_for_any_more_are_not_counted() {
    let world = World::with(&["new/1", "new/2"]);
    let mut open = world.open();
    open.sizes(&AtomicBool::new(true)).unwrap();
    assert_eq!(open.known_sizes(), None, "they would hold the lock for long");
    let drop = MaildirDrop::new(open);
    let (abandoned, shared) = (Arc::clone(&drop.abandoned), Arc::clone(&drop.open));
    assert!(!abandoned.load(Ordering::Relaxed));
    // Here without a runtime, so that all is done at once.
    std::mem::drop(drop);
    assert!(abandoned.load(Ordering::Relaxed));
    assert!(lock(&shared).shown.is_empty() && lock(&shared).lock.dir().is_none(), "freed and unlocked");
}

#[tokio::test]
async fn who_reconnects_waits_for_a_session_that_is_over() {
    let world = World::with(&["new/1", "new/2"]);
    for _ in 0..20 {
        let mut open = world.open();
        open.state.missing(0, 1);
        let drop = MaildirDrop::new(open);
        let shared = Arc::clone(&drop.open);
        // A call that was given up still runs.
        let busy = lock(&shared);
        std::mem::drop(drop);
        let (root, path) = (world.folder.path().to_owned(), world.maildir());
        assert!(Lock::acquire_at_once(&root, &path).is_none(), "that would be to wait");
        let next = tokio::task::spawn_blocking(move || Lock::acquire(&root, Path::new(&path)));
        std::mem::drop(busy);
        assert!(next.await.unwrap().unwrap().dir().is_some());
    }
}

impl World {
    /// The unique-ids that a process of its own sees, which has nothing in memory.
    fn ids_elsewhere(&self) -> Vec<String> {
        let mut open = Open::new(self.lock(), cache()).unwrap();
        let ids = ids(&open);
        open.close();
        ids
    }
}

fn ids(open: &Open) -> Vec<String> {
    open.unique_ids(0..u32::try_from(open.shown.len()).unwrap()).iter().map(str::to_owned).collect()
}

fn delete(mut open: Open, index: u32) {
    let mut marks = Marks::default();
    assert!(marks.mark(index, 100));
    open.commit(&marks).unwrap();
    open.close();
}

#[test]
fn ids_are_unlike_where_one_of_two_that_are_alike_is_in_both_folders() {
    let world = World::with(&["new/1,S=5", "new/1,S=6"]);
    let copy = world.maildir().join("cur/1,S=6:2,S");
    std::fs::hard_link(world.maildir().join("new/1,S=6"), copy).unwrap();
    let first = world.ids_elsewhere();
    assert!(first.len() == 2 && first[0] != first[1], "{first:?}");
    std::fs::remove_file(world.maildir().join("new/1,S=6")).unwrap();
    assert_eq!(world.ids_elsewhere(), first);
    assert!(!world.maildir().join("restante-index.damaged").exists());
}

#[test]
fn another_message_under_a_name_in_the_folder_that_was_not_read_stays() {
    let world = World::with(&["cur/1:2,S", "new/0"]);
    world.age();
    assert_eq!(world.session().1, 2);
    std::fs::write(world.maildir().join("new/1"), "Subject: quite another\n\none\n").unwrap();
    let open = world.open();
    let index = ids(&open).iter().position(|id| id == "1").unwrap();
    delete(open, u32::try_from(index).unwrap());
    assert!(world.maildir().join("new/1").exists() && !world.maildir().join("cur/1:2,S").exists());
}

#[test]
fn a_deleted_message_with_a_second_name_does_not_come_back() {
    for second in ["cur/1,S=11:2,", "new/1,S=11"] {
        let world = World::with(&["new/1"]);
        std::fs::hard_link(world.maildir().join("new/1"), world.maildir().join(second)).unwrap();
        world.age();
        let open = world.open();
        assert_eq!(ids(&open), ["1"]);
        delete(open, 0);
        assert_eq!(world.ids_elsewhere(), [""; 0], "{second}");
    }
}

#[test]
fn a_file_that_was_exchanged_while_another_one_was_sought_is_looked_at() {
    let world = World::with(&["cur/1:2,S", "cur/2:2,S"]);
    world.age();
    let mut open = world.open();
    open.sizes(&AtomicBool::new(false)).unwrap();
    std::fs::write(world.maildir().join("tmp/x"), "Subject: longer by far\n\n\n\n").unwrap();
    world.rename("tmp/x", "cur/1:2,S");
    world.rename("cur/2:2,S", "cur/2:2,FS");
    open.message(1).unwrap();
    open.close();
    let mut open = world.open();
    let sizes = open.sizes(&AtomicBool::new(false)).unwrap();
    assert_eq!(*sizes, [30, 12]);
    open.close();
}

#[test]
fn a_maildrop_with_news_can_be_dropped_without_a_runtime() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let world = World::with(&["new/1"]);
        let mut open = world.open();
        open.message(0).unwrap();
        assert!(open.has_news());
        drop(MaildirDrop::new(open));
        done.send(world.session()).unwrap();
    });
    let (calls, messages) = ended.recv_timeout(Duration::from_secs(20)).expect("it hangs");
    assert_eq!((calls, messages), (vec!["read new", "read cur"], 1), "its size was saved");
}
