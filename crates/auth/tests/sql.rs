//! Users in a database: SQLite whole, and of the others what needs no server: one that is gone, and one that says nothing.
#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use restante_auth::{
    Directories, Directory, MemoryDirectory, Route, Settings, StoredPassword, Verdict, Verifier,
    conformance::{self, Fixture, Style, User},
    directory::{
        Lookup, LookupError, SecretText, Task,
        sql::{self, SqlDirectory},
    },
};
use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram::Hash};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const TABLE: &str = "CREATE TABLE users (name TEXT, password TEXT, scram_sha_256 TEXT, scram_sha_1 TEXT, \
                     maildir TEXT, login_delay INTEGER)";

const QUERY: &str = "SELECT name, password, scram_sha_256, scram_sha_1, maildir, login_delay FROM users \
                     WHERE name = :user";

/// A database with this done to it.
async fn database(path: &Path, statements: &[&str]) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe((*statement).to_owned())).execute(&mut connection).await.unwrap();
    }
    connection
}

fn settings(path: &Path, query: &str) -> sql::Settings {
    sql::Settings::new(format!("sqlite://{}", path.display()), query)
}

fn open(path: &Path, query: &str) -> SqlDirectory {
    SqlDirectory::new(&settings(path, query)).unwrap()
}

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn at_once() -> Settings {
    Settings { failure_delay_first: Duration::ZERO, ..Settings::default() }
}

fn secret(password: &str) -> Secret<Vec<u8>> {
    Secret::new(password.as_bytes().to_vec())
}

struct Sqlite {
    folder: tempfile::TempDir,
    made: AtomicUsize,
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("{}.db", self.made.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Fixture for Sqlite {
    fn style(&self) -> Style {
        Style::Stores
    }

    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        let path = self.path();
        Box::pin(async move {
            let mut connection = database(&path, &[TABLE]).await;
            for user in users {
                sqlx::query("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)")
                    .bind(user.name.to_ascii_lowercase())
                    .bind(user.stored)
                    .bind(user.keys(Hash::Sha256).text().expose().clone())
                    .bind(user.keys(Hash::Sha1).text().expose().clone())
                    .bind(user.maildrop)
                    .bind(user.login_delay.map(|delay| i64::try_from(delay.as_secs()).unwrap()))
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
            Arc::new(open(&path, QUERY)) as Arc<dyn Directory>
        })
    }

    fn broken(&self) -> Task<'_, Option<Arc<dyn Directory>>> {
        let directory = open(&self.folder.path().join("none.db"), QUERY);
        Box::pin(async { Some(Arc::new(directory) as Arc<dyn Directory>) })
    }

    fn has_keys(&self) -> bool {
        true
    }

    fn has_accounts(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn sqlite_keeps_the_law() {
    conformance::check(&Sqlite { folder: tempfile::tempdir().unwrap(), made: AtomicUsize::new(0) }).await;
}

#[tokio::test]
async fn what_looks_like_sql_is_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let mut connection =
        database(&path, &[TABLE, "INSERT INTO users (name, password) VALUES ('ann', '{PLAIN}x')"]).await;
    sqlx::query("INSERT INTO users (name, password) VALUES (?, '{PLAIN}y')")
        .bind("o'brien")
        .execute(&mut connection)
        .await
        .unwrap();
    let verifier = Verifier::new(Arc::new(open(&path, QUERY)), &at_once());
    for guess in ["'or'1'='1", "ann'--", "x'union(select'x','{PLAIN}x')--", "%", "_nn", "ann\";--", "ann\0"] {
        for password in ["x", "y", ""] {
            let verdict = verifier.password(guess, &secret(password), PEER).await;
            assert_eq!(verdict, Verdict::Refused { known: false }, "{guess}");
        }
    }
    let verdict = verifier.password("O'Brien", &secret("y"), PEER).await;
    assert!(matches!(verdict, Verdict::Accepted(account) if account.name.as_str() == "o'brien"));
}

#[tokio::test]
async fn a_database_that_comes_later_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let directory = open(&path, QUERY);
    let broken = directory.lookup(&name("ann")).await;
    assert!(matches!(broken, Err(LookupError::Broken { .. })), "{broken:?}");
    let connection =
        database(&path, &[TABLE, "INSERT INTO users (name, password) VALUES ('ann', '!')"]).await;
    connection.close().await.unwrap();
    assert!(matches!(directory.lookup(&name("ann")).await.unwrap(), Lookup::LockedOut(_)));
    assert!(matches!(directory.lookup(&name("bob")).await.unwrap(), Lookup::Unknown));
}

#[tokio::test]
async fn two_rows_for_one_name_are_an_error_and_one_without_a_password_is_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let rows =
        "INSERT INTO users (name, password) VALUES ('ann', '{PLAIN}x'), ('ann', '{PLAIN}y'), ('bob', NULL)";
    database(&path, &[TABLE, rows]).await;
    let directory = open(&path, QUERY);
    for _ in 0..10 {
        let error = directory.lookup(&name("ann")).await.unwrap_err().to_string();
        assert!(error.contains("more than one row"), "{error}");
        assert!(matches!(directory.lookup(&name("bob")).await.unwrap(), Lookup::Unknown));
    }
}

#[tokio::test]
async fn who_is_locked_out_is_known_and_nothing_lets_him_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let rows = "INSERT INTO users (name, password) VALUES ('ann', '!{PLAIN}x'), ('bob', '{PLAIN}y'), \
                ('carl', 'damaged')";
    database(&path, &[TABLE, rows]).await;
    // Somebody of this name in the next directory does not matter.
    let next = ["ann", "carl"].map(|user| (name(user), StoredPassword::parse(b"{PLAIN}next").unwrap()));
    let directories = Directories::new(vec![
        Route::new("sql", Arc::new(open(&path, QUERY))),
        Route::new("users", Arc::new(MemoryDirectory::new(next))),
    ]);
    let verifier = Verifier::of(directories, &at_once());
    assert!(matches!(verifier.password("bob", &secret("y"), PEER).await, Verdict::Accepted(_)));
    for user in ["ann", "carl"] {
        for password in ["x", "y", "next", "", "!", "!{PLAIN}x", "damaged"] {
            let verdict = verifier.password(user, &secret(password), PEER).await;
            assert_eq!(verdict, Verdict::Refused { known: true }, "{user} {password}");
        }
        assert!(matches!(verifier.certificate(user, PEER).await, Verdict::Refused { .. }), "{user}");
        let claim = verifier.keys(user, Hash::Sha256, PEER).await.unwrap();
        assert!(matches!(verifier.proof(claim, true, PEER).await, Verdict::Refused { .. }), "{user}");
    }
    assert!(matches!(verifier.certificate("bob", PEER).await, Verdict::Accepted(_)));
}

#[tokio::test]
async fn parts_of_the_name_and_a_name_of_the_databases_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let statements = [
        "CREATE TABLE mailbox (local TEXT, domain TEXT, secret TEXT)",
        "INSERT INTO mailbox VALUES ('ann', 'example.org', '{PLAIN}x'), ('root', '', '{PLAIN}r')",
    ];
    database(&path, &statements).await;
    let query = "SELECT secret AS Password, 'mail+' || local AS \"NAME\" -- :nobody\n FROM mailbox \
                 WHERE local = :local AND domain = :domain AND :user <> '';";
    let directory = open(&path, query);
    for (user, called) in [("ann@example.org", "mail+ann"), ("root", "mail+root")] {
        let Lookup::Known(entry) = directory.lookup(&name(user)).await.unwrap() else {
            panic!("{user} is unknown");
        };
        assert_eq!(entry.account.name, name(called));
    }
    for stranger in ["ann", "ann@example.com", "root@example.org"] {
        assert!(matches!(directory.lookup(&name(stranger)).await.unwrap(), Lookup::Unknown), "{stranger}");
    }
}

#[tokio::test]
async fn a_query_that_is_wrong_is_an_error_that_shows_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    database(&path, &[TABLE, "INSERT INTO users (name, password) VALUES ('hunter2', '{PLAIN}x')"]).await;
    for query in [
        "SELECT pasword AS password FROM users WHERE name = :user",
        "SELECT name AS passwort FROM users WHERE name = :user AND password <> ''",
        "SELECT password, name AS login_delay FROM users WHERE name = :user",
        "SELECT json_extract(:user, '$.x') AS password",
    ] {
        let error = open(&path, query).lookup(&name("hunter2")).await.unwrap_err();
        let text = error.to_string();
        let is_rows = text.contains("the row of hunter2");
        assert!(is_rows || !format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn what_can_be_offered_is_what_the_query_promises() {
    let path = Path::new("/nowhere");
    let directory = open(path, QUERY);
    let keys = [Needs::Keys(Hash::Sha256), Needs::Keys(Hash::Sha1)];
    assert!(keys.iter().all(|needs| directory.can(*needs)));
    assert!(!directory.can(Needs::Plaintext) && !directory.can(Needs::Token));
    let directory = open(path, "SELECT password FROM users WHERE name = :user /* scram_sha_256 */");
    assert!(directory.can(Needs::Password) && directory.can(Needs::Certificate));
    assert!(!keys.iter().any(|needs| directory.can(*needs)));
    let all = "SELECT password FROM users WHERE name = :user";
    let directory = SqlDirectory::new(&sql::Settings { plaintext: true, ..settings(path, all) }).unwrap();
    assert!(directory.can(Needs::Plaintext) && keys.iter().all(|needs| directory.can(*needs)));
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for scheme in ["postgres", "mysql"] {
        let settings = sql::Settings::new(format!("{scheme}://ann@127.0.0.1:{port}/mail"), QUERY);
        let directory = SqlDirectory::new(&settings).unwrap();
        let begin = Instant::now();
        let error = directory.lookup(&name("ann")).await.unwrap_err();
        assert!(matches!(error, LookupError::Broken { .. }), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{scheme}");
    }
}

/// However many ask, and however often.
#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    for scheme in ["postgres", "mysql"] {
        let settings = sql::Settings {
            patience: Duration::from_millis(200),
            connections: 2,
            ..sql::Settings::new(format!("{scheme}://ann@127.0.0.1:{port}/mail"), QUERY)
        };
        let directory = Arc::new(SqlDirectory::new(&settings).unwrap());
        let begin = Instant::now();
        let asked: Vec<_> = (0..10)
            .map(|_| {
                let directory = Arc::clone(&directory);
                tokio::spawn(async move { directory.lookup(&name("ann")).await })
            })
            .collect();
        for answer in asked {
            let answer = answer.await.unwrap();
            assert!(matches!(answer, Err(LookupError::Hangs { .. })), "{scheme}: {answer:?}");
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{scheme}");
    }
    silent.abort();
}

#[test]
fn settings_that_are_wrong_show_no_secret() {
    for (url, query) in [
        ("postgres://ann:seekrit@[::1/mail", QUERY),
        ("postgres://ann:seekrit@h:port/mail", QUERY),
        ("mysql://ann:seekrit@h:99999/mail", QUERY),
        ("postgres://ann:seekrit@localhost/mail?sslmode=none", QUERY),
        ("postgres://ann:seekrit@localhost/mail?password=seekrit", QUERY),
        ("postgres://ann:seekrit@localhost/mail", "SELECT 1"),
        ("seekrit", QUERY),
        ("sqlite://seekrit.db", QUERY),
    ] {
        let error = SqlDirectory::new(&sql::Settings::new(url, query)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("seekrit"), "{error}");
    }
    let settings = sql::Settings {
        password: Some(SecretText::Here(Secret::new("seekrit".to_owned()))),
        ..sql::Settings::new("postgres://ann:seekrit@localhost/mail", QUERY)
    };
    let directory = SqlDirectory::new(&settings).unwrap();
    assert!(!format!("{settings:?} {directory:?}").contains("seekrit"));
}
