//! Reloading: when, what is told, and what stays in force.

use std::{cell::RefCell, os::unix::fs::PermissionsExt as _, time::SystemTime};

use tokio::time::advance;

use super::*;

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place(text: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    let place = Place { _folder: folder, path };
    place.write(text);
    place
}

impl Place {
    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// As if the file had last been changed an hour ago.
    fn settle(&self) {
        let file = fs::File::options().write(true).open(&self.path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
}

async fn knows(directory: &UsersFileDirectory, name: &str) -> bool {
    matches!(directory.lookup(&UserName::new(name).unwrap()).await.unwrap(), Lookup::Known(_))
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_within_a_second() {
    let place = place("ann:{PLAIN}a\n");
    let directory = UsersFileDirectory::open(&place.path).unwrap();
    assert!(knows(&directory, "ann").await && !knows(&directory, "bob").await);

    place.write("bob:{PLAIN}b\n");
    advance(CHECK_EVERY - Duration::from_millis(1)).await;
    assert!(!knows(&directory, "bob").await, "looked at too often");
    advance(Duration::from_millis(1)).await;
    assert!(knows(&directory, "bob").await && !knows(&directory, "ann").await);

    // Replaced by `restante user`: another inode.
    edit::add(&place.path, &UserName::new("carl").unwrap(), &Secret::new("{PLAIN}c".to_owned()).into())
        .unwrap();
    directory.reload().await;
    assert!(knows(&directory, "carl").await);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_same_size_is_seen_however_soon_it_comes() {
    let place = place("ann:{PLAIN}a\n");
    let directory = UsersFileDirectory::open(&place.path).unwrap();
    for name in ["bob", "eve", "ann", "bob"] {
        place.write(&format!("{name}:{{PLAIN}}a\n"));
        directory.reload().await;
        assert!(knows(&directory, name).await, "{name}");
    }
    place.settle();
    directory.reload().await;
    place.write("zoe:{PLAIN}a\n");
    place.settle();
    directory.reload().await;
    assert!(knows(&directory, "zoe").await, "the inode's time changes even if the file's time is set back");
}

/// A clock that was wrong, or a copy from elsewhere: such a file was read once a second for ever.
#[tokio::test(start_paused = true)]
async fn a_time_in_the_future_does_not_keep_a_file_from_settling() {
    let place = place("ann:{PLAIN}a\n");
    let file = fs::File::options().write(true).open(&place.path).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    let directory = UsersFileDirectory::open(&place.path).unwrap();
    let settled = || directory.watched.seen.lock().unwrap().stamp.is_some();
    directory.reload().await;
    assert!(!settled(), "it may change again within this tick of the clock");
    advance(SETTLES_AFTER + Duration::from_millis(1)).await;
    directory.reload().await;
    assert!(settled());
    place.write("bob:{PLAIN}b\n");
    directory.reload().await;
    assert!(knows(&directory, "bob").await);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_keeps_its_users() {
    let place = place("ann:{PLAIN}a\n");
    let directory = UsersFileDirectory::open(&place.path).unwrap();
    fs::remove_file(&place.path).unwrap();
    advance(CHECK_EVERY).await;
    assert!(knows(&directory, "ann").await);
    fs::create_dir(&place.path).unwrap();
    advance(CHECK_EVERY).await;
    assert!(knows(&directory, "ann").await);
    fs::remove_dir(&place.path).unwrap();
    place.write("bob:{PLAIN}b\n");
    advance(CHECK_EVERY).await;
    assert!(knows(&directory, "bob").await && !knows(&directory, "ann").await);
}

#[test]
fn a_file_that_is_not_there_at_the_start_is_an_error() {
    let place = place("");
    assert!(UsersFileDirectory::open(place.path.with_file_name("none")).is_err());
}

thread_local! {
    static TOLD: RefCell<Vec<(tracing::Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what warnings and notes say, for each thread. It is one for the process: with one for each thread, a line whose place is
/// first reached by a thread that has none would never be told.
struct Warnings;

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN || *metadata.level() == tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0 += &format!("{value:?}");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        TOLD.with_borrow_mut(|told| told.push((*event.metadata().level(), text.0)));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

fn hear() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Warnings).unwrap());
}

fn warnings() -> Vec<String> {
    let told = TOLD.take().into_iter();
    told.filter(|(level, _)| *level == tracing::Level::WARN).map(|(_, text)| text).collect()
}

#[tokio::test]
async fn users_without_keys_are_counted_where_others_have_some() {
    hear();
    let keys = |hash: Hash| {
        let keys = restante_sasl::scram::Keys::stand_in(hash, &[0; 32], vec![1; 16], 4096);
        format!("{{{}}}{}", hash.mechanism(), keys.text().expose())
    };
    let (sha256, sha1) = (keys(Hash::Sha256), keys(Hash::Sha1));
    let hash = "{SHA256-CRYPT}$5$rounds=1000$./$/zG1pZJDc8/tkfvRQ6eOhfFGYPMJUkcR/kWe8AYrVZC";
    let place = place(&format!("a:{sha256}\nb:{{PLAIN}}b\nc:{hash}\nd:{sha1}\n"));
    let directory = UsersFileDirectory::open(&place.path).unwrap();
    let told = TOLD.take();
    assert!(told.iter().any(|(_, text)| text.contains("2 of 4 users have no keys")), "{told:?}");
    // Where nobody has any, or all have, there is nothing to tell.
    for text in [format!("c:{hash}\n"), format!("a:{sha256}\nb:{{PLAIN}}b\n")] {
        place.write(&text);
        directory.watched.check();
        let told = TOLD.take();
        assert!(!told.is_empty() && !told.iter().any(|(_, text)| text.contains("no keys")), "{told:?}");
    }
}

#[tokio::test]
async fn each_damage_is_told_once_and_no_secret_with_it() {
    hear();
    let told = warnings;

    let place = place("ann:{PLAIN}a\nbob:hunter2\nhunter2\n");
    let directory = UsersFileDirectory::open(&place.path).unwrap();
    let lines = told();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("line 2:") && lines[0].contains("write {PLAIN}") && lines[1].contains("line 3:")
    );
    assert!(!lines.concat().contains("hunter2"));

    // Read again, since the file is fresh, but not told again.
    directory.watched.check();
    assert_eq!(told(), [""; 0]);

    fs::remove_file(&place.path).unwrap();
    directory.watched.check();
    assert!(told().concat().contains("stay in force"));
    directory.watched.check();
    assert_eq!(told(), [""; 0]);

    place.write("ann:hunter2\n");
    directory.watched.check();
    assert_eq!(told().len(), 1);

    place.write("ann:{PLAIN}a\n");
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o644)).unwrap();
    directory.watched.check();
    assert!(told().concat().contains("read by everybody"));
}
