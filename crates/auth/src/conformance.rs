//! The law of directories: what each of them must do, as one suite that its tests call.
//!
//! ```
//! use restante_auth::{MemoryDirectory, StoredPassword, conformance};
//! use restante_proto::UserName;
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! conformance::check(|users| {
//!     MemoryDirectory::new(users.iter().map(|(name, field)| {
//!         (UserName::new(name).unwrap(), StoredPassword::parse(field.as_bytes()).unwrap())
//!     }))
//! })
//! .await;
//! # });
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)] // a suite of tests: a panic is the report

use std::collections::HashSet;

use restante_proto::UserName;

use crate::{Directory, StoredPassword, directory::Lookup};

/// Two schemes and two costs, cheap ones.
const USERS: &[(&str, &str)] = &[
    ("ann@example.org", "{SHA256-CRYPT}$5$rounds=1000$./$/zG1pZJDc8/tkfvRQ6eOhfFGYPMJUkcR/kWe8AYrVZC"),
    ("Bob", "{PLAIN}a b"),
    ("ann", "{PLAIN.b64}YTpi"),
    ("j\u{f6}rg@example.org", "{plain}x"),
];

/// Runs the suite on the directories that `make` makes of names and `{SCHEME}hash` fields.
pub async fn check<D: Directory>(make: impl Fn(&[(&str, &str)]) -> D) {
    let directory = make(USERS);
    users_are_found(&directory).await;
    others_are_not(&directory).await;
    stand_ins_are_like_the_users(&directory).await;
    an_empty_directory_has_a_stand_in(&make(&[])).await;
}

async fn lookup(directory: &impl Directory, name: &str) -> Option<StoredPassword> {
    match directory.lookup(&UserName::new(name).unwrap()).await.expect("a directory that works") {
        Lookup::Known(entry) => entry.password,
        Lookup::Unknown | Lookup::Ask => None,
    }
}

fn stand_in(directory: &impl Directory, name: &str) -> StoredPassword {
    directory.stand_in(name).expect("a directory that stores passwords")
}

async fn users_are_found(directory: &impl Directory) {
    let passwords: [(&str, &str); 6] = [
        ("ann@example.org", "p\u{e4}ssw\u{f6}rd"),
        ("ANN@Example.Org", "p\u{e4}ssw\u{f6}rd"),
        ("bob", "a b"),
        ("BOB", "a b"),
        ("ann", "a:b"),
        ("j\u{f6}rg@example.org", "x"),
    ];
    for (name, password) in passwords {
        let stored = lookup(directory, name).await.unwrap_or_else(|| panic!("{name} is not found"));
        assert!(stored.verify(password.as_bytes()), "{name} has another password");
        assert!(!stored.verify(b"") && !stored.verify(b"abcxyz"), "{name} logs in with anything");
    }
}

async fn others_are_not(directory: &impl Directory) {
    for name in ["carl", "bob@example.org", "ann@example.org.", "an", "annn", "j\u{d6}rg@example.org"] {
        assert!(lookup(directory, name).await.is_none(), "{name} is found");
    }
}

/// Every kind of password that users have is also had by some who are not there, and no other kind.
async fn stand_ins_are_like_the_users(directory: &impl Directory) {
    let kind = |stored: &StoredPassword| (stored.scheme(), stored.cost());
    let mut kinds = HashSet::new();
    for (name, _) in USERS {
        kinds.extend(lookup(directory, name).await.as_ref().map(kind));
    }
    let stand_ins: HashSet<_> =
        (0..1000).map(|n| kind(&stand_in(directory, &format!("nobody{n}")))).collect();
    assert_eq!(stand_ins, kinds);
    for name in ["carl", "", "../etc/passwd", "two words"] {
        let first = kind(&stand_in(directory, name));
        assert!((0..20).all(|_| kind(&stand_in(directory, name)) == first), "{name:?} changes");
    }
}

async fn an_empty_directory_has_a_stand_in(directory: &impl Directory) {
    assert!(lookup(directory, "ann").await.is_none());
    let (stand_in, default) = (stand_in(directory, "ann"), StoredPassword::stand_in());
    assert_eq!((stand_in.scheme(), stand_in.cost()), (default.scheme(), default.cost()));
}
