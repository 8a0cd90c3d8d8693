//! Users in PostgreSQL, reached by TCP with TLS and a password. What is special there: a query's parameters have the
//! types of the columns that they are compared with, so that citext has no case.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use restante_auth::{
    Directory,
    conformance::{self, Fixture, Style, User},
    directory::{
        Lookup, SecretText, Task,
        sql::{Settings, SqlDirectory},
    },
};
use restante_interop::{
    Server,
    daemon::Daemon,
    directory::{
        ANN, JOERG, TIMEOUT_SECONDS, USERS, closed_port, is_down, is_up, next_is_asked, next_is_not_asked,
    },
};
use restante_proto::{Secret, UserName};
use restante_sasl::scram::Hash;
use rustix::process::Signal;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const PASSWORD: &str = "of the d@tabase/";

const QUERY: &str = "SELECT name, password, scram_sha_256, scram_sha_1, maildir, login_delay FROM users \
                     WHERE name = :user";

struct Postgres(Daemon);

impl Postgres {
    fn new() -> Self {
        assert!(
            Path::new(PROGRAMS).is_dir(),
            "PostgreSQL is not there\n  install it:  apt-get install postgresql"
        );
        let mut daemon = Daemon::new("PostgreSQL", "postgresql");
        // A fast shutdown: clients are not waited for.
        daemon.ends_by(Signal::INT);
        daemon.write("password", PASSWORD);
        let words = [
            &format!("{PROGRAMS}/initdb"),
            "--pgdata=data",
            "--username=restante",
            "--auth=scram-sha-256",
            "--pwfile=password",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ];
        daemon.run(&words, &[], "");
        Self(daemon)
    }

    fn start(&mut self) {
        let (program, port) = (format!("{PROGRAMS}/postgres"), self.0.port().to_string());
        let sockets = format!("unix_socket_directories={}", self.0.show("."));
        let certificate = format!("ssl_cert_file={}", self.0.show("certificate.pem"));
        let key = format!("ssl_key_file={}", self.0.show("key.pem"));
        let words = [
            &program,
            "-D",
            "data",
            "-p",
            &port,
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            &sockets,
            "-c",
            "fsync=off",
            "-c",
            "ssl=on",
            "-c",
            &certificate,
            "-c",
            &key,
        ];
        self.0.start(&words, |daemon| {
            let port = daemon.port().to_string();
            let ready = std::process::Command::new(format!("{PROGRAMS}/pg_isready"));
            let mut ready = ready;
            ready.args(["--quiet", "--host=127.0.0.1", "--port", &port]).status().unwrap().success()
        });
    }

    fn sql(&self, text: &str) {
        let port = self.0.port().to_string();
        let words = [
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--host=127.0.0.1",
            "--port",
            &port,
            "--username=restante",
            "--set",
            "ON_ERROR_STOP=1",
            "postgres",
        ];
        self.0.run(&words, &[("PGPASSWORD", PASSWORD)], text);
    }

    fn url(&self) -> String {
        format!("postgres://restante@localhost:{}/postgres?sslmode=verify-full", self.0.port())
    }

    fn directory(&self, query: &str) -> SqlDirectory {
        let settings = Settings {
            password: Some(SecretText::Here(Secret::new(PASSWORD.to_owned()))),
            ca_file: Some(self.0.file("ca.pem")),
            ..Settings::new(self.url(), query)
        };
        SqlDirectory::new(&settings).unwrap()
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn table(name: &str, users: &[User]) -> String {
    let mut text = format!(
        "CREATE TABLE {name} (name varchar(255) PRIMARY KEY, password text, scram_sha_256 text, scram_sha_1 text, \
         maildir text, login_delay smallint);\n"
    );
    for user in users {
        let key = |hash| quoted(user.keys(hash).text().expose());
        text += &format!(
            "INSERT INTO {name} VALUES ({}, {}, {}, {}, {}, {});\n",
            quoted(&user.name.to_ascii_lowercase()),
            quoted(user.stored),
            key(Hash::Sha256),
            key(Hash::Sha1),
            user.maildrop.map_or_else(|| "NULL".to_owned(), quoted),
            user.login_delay.map_or_else(|| "NULL".to_owned(), |delay| delay.as_secs().to_string()),
        );
    }
    text
}

struct Law {
    postgres: Mutex<Postgres>,
    made: AtomicUsize,
}

impl Fixture for Law {
    fn style(&self) -> Style {
        Style::Stores
    }

    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        let name = format!("users{}", self.made.fetch_add(1, Ordering::Relaxed));
        let postgres = self.postgres.lock().unwrap();
        postgres.sql(&table(&name, users));
        let directory = postgres.directory(&QUERY.replace("users", &name));
        Box::pin(async { Arc::new(directory) as Arc<dyn Directory> })
    }

    fn broken(&self) -> Task<'_, Option<Arc<dyn Directory>>> {
        let url = format!("postgres://restante@127.0.0.1:{}/postgres", closed_port());
        let directory = SqlDirectory::new(&Settings::new(url, QUERY)).unwrap();
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
async fn it_keeps_the_law() {
    let mut postgres = Postgres::new();
    postgres.start();
    conformance::check(&Law { postgres: Mutex::new(postgres), made: AtomicUsize::new(0) }).await;
}

#[tokio::test]
async fn it_is_found_again_after_a_restart_and_citext_has_no_case() {
    let mut postgres = Postgres::new();
    postgres.start();
    postgres.sql(
        "CREATE EXTENSION citext;\nCREATE TYPE kind AS ENUM ('{PLAIN}x');\n\
         CREATE TABLE users (name citext, password kind, login_delay bigint, maildir name);\n\
         INSERT INTO users VALUES ('Ann@Example.ORG', '{PLAIN}x', 30, '/srv/ann');",
    );
    let directory = postgres.directory("SELECT *, '::' || $$:user$$ FROM users WHERE name = :user");
    let ann = UserName::new("ann@example.org").unwrap();
    let is_found = async || match directory.lookup(&ann).await {
        Ok(Lookup::Known(entry)) => {
            assert!(entry.password.unwrap().verify(b"x"));
            assert_eq!(entry.account.maildrop.as_deref(), Some("/srv/ann"));
            assert_eq!(entry.account.login_delay.unwrap().as_secs(), 30);
            true
        }
        Ok(other) => panic!("{other:?}"),
        Err(_) => false,
    };
    assert!(is_found().await);
    for _ in 0..2 {
        postgres.0.stop();
        postgres.start();
        assert!(is_found().await, "the connection is stale, and is made anew");
    }
    postgres.0.stop();
    assert!(!is_found().await);
    assert!(!is_found().await);
    postgres.start();
    assert!(is_found().await);
}

#[test]
fn the_server_asks_it() {
    let mut postgres = Postgres::new();
    let sections = format!(
        "[sql]\nurl = {:?}\npassword_file = {:?}\nca_file = {:?}\ntimeout_seconds = {TIMEOUT_SECONDS}\n\
         query = \"\"\"\nSELECT password -- :nobody\nFROM users WHERE name = :user\n\"\"\"\n",
        postgres.url(),
        postgres.0.file("password"),
        postgres.0.file("ca.pem"),
    );
    // It starts while the database is down.
    let server = Server::asking(&["sql", "users"], &sections, USERS);
    is_down(&server);
    postgres.start();
    let row = |(user, password): (&str, &str)| {
        format!("({}, {})", quoted(user), quoted(&format!("{{PLAIN}}{password}")))
    };
    postgres.sql(&format!(
        "CREATE TABLE users (name text, password text);\nINSERT INTO users VALUES {}, {};",
        row(ANN),
        row(JOERG)
    ));
    is_up(&server);
    next_is_asked(&server);
    postgres.0.stop();
    is_down(&server);
    next_is_not_asked(&server);
    let silence = postgres.0.silence();
    is_down(&server);
    drop(silence);
    postgres.start();
    is_up(&server);
    assert!(!server.log().contains(PASSWORD), "the database's password is in the log");
    assert!(!server.log().contains(ANN.1), "a password is in the log");
    server.stop();
}
