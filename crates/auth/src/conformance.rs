//! The law of directories: what each of them must do, as one suite that its tests call.
//!
//! A directory stores passwords, or compares them by itself, or knows tokens: [`Style`]. A [`Fixture`] makes one with the
//! users that it is given, in whatever its kind keeps them, and the suite asks it, first by itself and then behind a
//! [`Verifier`]. A kind that has no keys, no accounts, or no way to break says so by the fixture's methods, and one whose
//! names or passwords are bound to something narrower gives its own [`Fixture::users`].
//!
//! ```
//! use std::sync::Arc;
//! use restante_auth::{Directory, MemoryDirectory, StoredPassword, conformance::{self, Fixture, Style, User}, directory::Task};
//! use restante_proto::UserName;
//!
//! struct Memory;
//!
//! impl Fixture for Memory {
//!     fn style(&self) -> Style {
//!         Style::Stores
//!     }
//!
//!     fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
//!         let entry = |user: &User| {
//!             (UserName::new(user.name).unwrap(), StoredPassword::parse(user.stored.as_bytes()).unwrap())
//!         };
//!         let directory: Arc<dyn Directory> = Arc::new(MemoryDirectory::new(users.iter().map(entry)));
//!         Box::pin(async { directory })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! conformance::check(&Memory).await;
//! # });
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)] // a suite of tests: a panic is the report

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use restante_proto::{Secret, UserName};
use restante_sasl::{
    Needs,
    scram::{self, Hash, Keys},
};

use crate::{
    Account, Directory, Entry, Settings, StoredPassword, Verdict, Verifier,
    directory::{Check, Lookup, Task},
};

/// What a directory does with what somebody logs in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// It gives out stored passwords: [`Entry::password`].
    Stores,
    /// It compares by itself: [`Directory::check`].
    Compares,
    /// It knows tokens: [`Directory::token`].
    Tokens,
}

/// A user whom a directory is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, as somebody wrote it; it counts in lower case.
    pub name: &'static str,
    /// The password.
    pub password: &'static str,
    /// The password as `{SCHEME}hash`.
    pub stored: &'static str,
    /// Where the mail is, where [`Fixture::has_accounts`].
    pub maildrop: Option<&'static str>,
    /// How long to wait between logins, where [`Fixture::has_accounts`].
    pub login_delay: Option<Duration>,
}

impl User {
    /// SCRAM keys of the password, for directories that have them: [`Fixture::has_keys`].
    pub fn keys(&self, hash: Hash) -> Keys {
        let salt = self.name.as_bytes();
        Keys::derive(hash, self.password.as_bytes(), salt, scram::ITERATIONS_MIN).expect("keys")
    }

    fn user_name(&self) -> UserName {
        UserName::new(self.name).unwrap()
    }

    fn password(&self) -> Secret<Vec<u8>> {
        Secret::new(self.password.as_bytes().to_vec())
    }
}

/// Two schemes and two costs, cheap ones; a name with a domain and without, in two cases, one in another script.
pub const USERS: &[User] = &[
    User {
        name: "ann@example.org",
        password: "p\u{e4}ssw\u{f6}rd",
        stored: "{SHA256-CRYPT}$5$rounds=1000$./$/zG1pZJDc8/tkfvRQ6eOhfFGYPMJUkcR/kWe8AYrVZC",
        maildrop: Some("/var/mail/elsewhere/ann"),
        login_delay: Some(Duration::from_secs(60)),
    },
    User { name: "Bob", password: "a b", stored: "{PLAIN}a b", maildrop: None, login_delay: None },
    User { name: "ann", password: "a:b", stored: "{PLAIN.b64}YTpi", maildrop: None, login_delay: None },
    User {
        name: "j\u{f6}rg@example.org",
        password: "x",
        stored: "{plain}x",
        maildrop: None,
        login_delay: Some(Duration::from_secs(3600)),
    },
];

/// A kind of directory under test.
pub trait Fixture: Sync {
    /// What the directory does.
    fn style(&self) -> Style;

    /// A directory that has these users and no others. It is called with [`Self::users`], and with none of them.
    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>>;

    /// A directory that cannot answer: its server is gone, its table is not there. `None` for kinds that cannot break.
    fn broken(&self) -> Task<'_, Option<Arc<dyn Directory>>> {
        Box::pin(async { None })
    }

    /// The users that it is made with.
    fn users(&self) -> &[User] {
        USERS
    }

    /// Whether it keeps [`User::keys`].
    fn has_keys(&self) -> bool {
        false
    }

    /// Whether it says of a user where the mail is, and how long to wait between logins.
    fn has_accounts(&self) -> bool {
        false
    }

    /// A token of this user, where it knows tokens.
    fn token(&self, user: &User) -> String {
        panic!("no token of {}: a fixture of this style makes some", user.name)
    }
}

/// Runs the suite.
pub async fn check(fixture: &dyn Fixture) {
    let directory = fixture.directory(fixture.users()).await;
    match fixture.style() {
        Style::Stores => {
            users_are_found(fixture, &*directory).await;
            others_are_not(fixture, &*directory).await;
            stand_ins_are_like_the_users(fixture, &*directory).await;
            an_empty_directory_has_a_stand_in(fixture).await;
        }
        Style::Compares => passwords_are_compared(fixture, &*directory).await,
        Style::Tokens => tokens_are_known(fixture, &*directory).await,
    }
    what_it_can_is_what_it_does(fixture, &*directory);
    users_log_in(fixture, Arc::clone(&directory)).await;
    if let Some(broken) = fixture.broken().await {
        a_broken_directory_says_so(fixture, broken).await;
    }
}

/// Every user, under the name as it is written, in capitals and in small letters.
fn spellings(fixture: &dyn Fixture) -> impl Iterator<Item = (User, UserName)> {
    fixture.users().iter().flat_map(|user| {
        [user.name.to_owned(), user.name.to_ascii_uppercase(), user.name.to_ascii_lowercase()]
            .map(|name| (*user, UserName::new(&name).unwrap()))
    })
}

/// Names that nobody has. What a database takes for the same as a user's name it may find, under the user's own.
fn strangers(fixture: &dyn Fixture) -> impl Iterator<Item = UserName> {
    let names = [
        "carl",
        "bob@example.org",
        "ann@example.org.",
        "ann@example.com",
        "an",
        "annn",
        "j\u{d6}rg@example.org",
        "jorg@example.org",
        "b%b",
        "*",
        "a_n",
        "ann'--",
        "ann)(uid=*",
    ];
    let taken: HashSet<_> = fixture.users().iter().map(User::user_name).collect();
    names.into_iter().filter_map(|name| UserName::new(name).ok()).filter(move |name| !taken.contains(name))
}

async fn find(directory: &dyn Directory, name: &UserName) -> Option<Entry> {
    match directory.lookup(name).await.expect("a directory that works") {
        Lookup::Known(entry) => Some(*entry),
        Lookup::Unknown | Lookup::Ask | Lookup::LockedOut(_) => None,
    }
}

fn is_account(fixture: &dyn Fixture, account: &Account, user: &User) {
    assert_eq!(account.name, user.user_name(), "the account has another name");
    if fixture.has_accounts() {
        assert_eq!(account.maildrop.as_deref(), user.maildrop, "{}: where the mail is", user.name);
        assert_eq!(account.login_delay, user.login_delay, "{}: the time between logins", user.name);
    }
}

async fn users_are_found(fixture: &dyn Fixture, directory: &dyn Directory) {
    for (user, name) in spellings(fixture) {
        let entry = find(directory, &name).await.unwrap_or_else(|| panic!("{name} is not found"));
        is_account(fixture, &entry.account, &user);
        let stored = entry.password.as_ref().unwrap_or_else(|| panic!("{name} has no password"));
        assert!(stored.verify(user.password.as_bytes()), "{name} has another password");
        assert!(!stored.verify(b"") && !stored.verify(b"abcxyz"), "{name} logs in with anything");
        let keys: Vec<_> = Hash::ALL.into_iter().filter_map(|hash| entry.keys_of(hash).cloned()).collect();
        match fixture.has_keys() {
            true => assert!(
                Hash::ALL.iter().zip(&keys).all(|(hash, keys)| **keys == user.keys(*hash)) && keys.len() == 2,
                "{name} has other keys"
            ),
            false => assert!(keys.is_empty(), "{name} has keys, which the fixture does not say"),
        }
    }
}

async fn others_are_not(fixture: &dyn Fixture, directory: &dyn Directory) {
    for name in strangers(fixture) {
        if let Some(entry) = find(directory, &name).await {
            assert!(is_alike(fixture, &name, &entry.account), "{name} is found");
        }
    }
}

/// Whether a name that nobody has led to a user whose name is the same but for its accents, as databases see it.
fn is_alike(fixture: &dyn Fixture, name: &UserName, account: &Account) -> bool {
    let plain = |name: &str| name.to_lowercase().replace('\u{f6}', "o");
    let users = fixture.users().iter().any(|user| user.user_name() == account.name);
    users && account.name != *name && plain(name.as_str()) == plain(account.name.as_str())
}

/// Every kind of password that users have is also had by some who are not there, and no other kind.
async fn stand_ins_are_like_the_users(fixture: &dyn Fixture, directory: &dyn Directory) {
    let kind = |stored: &StoredPassword| (stored.scheme(), stored.cost());
    let mut kinds = HashSet::new();
    for user in fixture.users() {
        let entry = find(directory, &user.user_name()).await;
        kinds.extend(entry.and_then(|entry| entry.password).as_ref().map(kind));
    }
    let stand_ins: HashSet<_> =
        (0..1000).map(|n| kind(&stand_in(directory, &format!("nobody{n}")))).collect();
    assert_eq!(stand_ins, kinds);
    for name in ["carl", "", "../etc/passwd", "two words"] {
        let first = kind(&stand_in(directory, name));
        assert!((0..20).all(|_| kind(&stand_in(directory, name)) == first), "{name:?} changes");
        for hash in Hash::ALL {
            let keys = directory.stand_in_keys(name, hash);
            assert!((scram::ITERATIONS_MIN..=scram::ITERATIONS_MAX).contains(&keys.iterations), "{keys:?}");
            assert_eq!(directory.stand_in_keys(name, hash), keys, "{name:?} changes");
        }
    }
}

fn stand_in(directory: &dyn Directory, name: &str) -> StoredPassword {
    directory.stand_in(name).expect("a directory that stores passwords")
}

async fn an_empty_directory_has_a_stand_in(fixture: &dyn Fixture) {
    let directory = fixture.directory(&[]).await;
    assert!(find(&*directory, &UserName::new("ann").unwrap()).await.is_none());
    let (stand_in, default) = (stand_in(&*directory, "ann"), StoredPassword::stand_in());
    assert_eq!((stand_in.scheme(), stand_in.cost()), (default.scheme(), default.cost()));
}

async fn passwords_are_compared(fixture: &dyn Fixture, directory: &dyn Directory) {
    let check = async |name: &UserName, password: &[u8]| {
        directory.check(name, &Secret::new(password.to_vec())).await.expect("a directory that works")
    };
    for (user, name) in spellings(fixture) {
        match directory.lookup(&name).await.expect("a directory that works") {
            Lookup::Unknown | Lookup::LockedOut(_) => panic!("{name} is not found"),
            Lookup::Ask => {}
            Lookup::Known(entry) => assert!(entry.password.is_none(), "{name} has a stored password"),
        }
        let Check::Right(account) = check(&name, user.password.as_bytes()).await else {
            panic!("{name}'s password is not right")
        };
        is_account(fixture, &account, &user);
        // No server may take an empty password for an anonymous login (RFC 4513 §5.1.2).
        for wrong in [&b""[..], b"abcxyz", b"\0", &user.password().expose().repeat(2)] {
            let verdict = check(&name, wrong).await;
            assert!(!matches!(verdict, Check::Right(_)), "{name} logs in with anything");
        }
    }
    for name in strangers(fixture) {
        for user in fixture.users() {
            if let Check::Right(account) = check(&name, user.password.as_bytes()).await {
                assert!(is_alike(fixture, &name, &account), "{name} logs in");
            }
        }
    }
    assert!(directory.stand_in("carl").is_none(), "stand-ins are for directories that store passwords");
}

async fn tokens_are_known(fixture: &dyn Fixture, directory: &dyn Directory) {
    let ask = async |claimed: Option<&UserName>, token: String| {
        directory.token(claimed, &Secret::new(token)).await.expect("a directory that works")
    };
    for (user, name) in spellings(fixture) {
        for claimed in [Some(&name), None] {
            let Check::Right(account) = ask(claimed, fixture.token(&user)).await else {
                panic!("{name}'s token is not right")
            };
            is_account(fixture, &account, &user);
        }
        let other = fixture.users().iter().find(|other| other.user_name() != name).expect("two users");
        let verdict = ask(Some(&other.user_name()), fixture.token(&user)).await;
        assert!(matches!(verdict, Check::Wrong), "{name}'s token lets {} in: {verdict:?}", other.name);
        let cut: String = fixture.token(&user).chars().skip(1).collect();
        for forged in [cut, String::new(), "a.b.c".to_owned(), "x".repeat(10_000)] {
            for claimed in [Some(&name), None] {
                let verdict = ask(claimed, forged.clone()).await;
                assert!(!matches!(verdict, Check::Right(_)), "{name} logs in with anything");
            }
        }
    }
}

fn what_it_can_is_what_it_does(fixture: &dyn Fixture, directory: &dyn Directory) {
    let tokens = fixture.style() == Style::Tokens;
    assert_eq!(directory.can(Needs::Token), tokens, "tokens");
    assert_eq!(directory.can(Needs::Password), !tokens, "passwords");
    if fixture.style() != Style::Stores {
        assert!(!directory.can(Needs::Plaintext), "it has no passwords that can be read");
        assert!(Hash::ALL.iter().all(|hash| !directory.can(Needs::Keys(*hash))), "it has no keys");
    }
    if fixture.has_keys() {
        let can = |hash: &Hash| directory.can(Needs::Keys(*hash));
        assert!(Hash::ALL.iter().all(can), "every user has keys");
    }
}

/// Settings under which a failure is answered at once.
fn at_once() -> Settings {
    Settings { failure_delay_first: Duration::ZERO, ..Settings::default() }
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

async fn users_log_in(fixture: &dyn Fixture, directory: Arc<dyn Directory>) {
    let verifier = Verifier::new(directory, &at_once());
    let log_in = async |name: &str, user: &User| match fixture.style() {
        Style::Tokens => verifier.token(Some(name), &Secret::new(fixture.token(user)), PEER).await,
        Style::Stores | Style::Compares => verifier.password(name, &user.password(), PEER).await,
    };
    for (user, name) in spellings(fixture) {
        match log_in(name.as_str(), &user).await {
            Verdict::Accepted(account) => is_account(fixture, &account, &user),
            other => panic!("{name} does not log in: {other:?}"),
        }
        let wrong = Secret::new(b"abcxyz".to_vec());
        assert!(matches!(verifier.password(name.as_str(), &wrong, PEER).await, Verdict::Refused { .. }));
        let wrong = Secret::new("abcxyz".to_owned());
        assert!(matches!(verifier.token(Some(name.as_str()), &wrong, PEER).await, Verdict::Refused { .. }));
    }
    for stranger in ["carl", "", "../etc/passwd", "two words", "ann\0"] {
        for user in fixture.users() {
            let verdict = log_in(stranger, user).await;
            assert!(matches!(verdict, Verdict::Refused { .. }), "{stranger:?}: {verdict:?}");
        }
    }
}

/// It never says that there is no such user, or that a password is wrong: the next directory would be asked, or the user
/// would doubt the password.
async fn a_broken_directory_says_so(fixture: &dyn Fixture, broken: Arc<dyn Directory>) {
    let user = fixture.users().first().expect("a user");
    let (name, password) = (user.user_name(), user.password());
    match fixture.style() {
        Style::Stores => assert!(broken.lookup(&name).await.is_err()),
        Style::Compares => assert!(broken.check(&name, &password).await.is_err()),
        Style::Tokens => {
            let token = Secret::new(fixture.token(user));
            assert!(broken.token(Some(&name), &token).await.is_err());
            assert_eq!(Verifier::new(broken, &at_once()).token(None, &token, PEER).await, Verdict::Failed);
            return;
        }
    }
    assert_eq!(
        Verifier::new(broken, &at_once()).password(name.as_str(), &password, PEER).await,
        Verdict::Failed
    );
}
