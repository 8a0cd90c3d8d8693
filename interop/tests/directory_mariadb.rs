//! Users in MariaDB, reached by TCP with TLS and a password, and by its unix socket. What is special there: a collation
//! may take names for the same that differ in case and accents; the query says how the user is called.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
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

const PASSWORD: &str = "of the d@tabase/";

const QUERY: &str = "SELECT name, password, scram_sha_256, scram_sha_1, maildir, login_delay FROM users \
                     WHERE name = :user";

struct MariaDb(Daemon);

impl MariaDb {
    fn new() -> Self {
        let daemon = Daemon::new("MariaDB", "mariadb-server");
        daemon.make_folder("tmp");
        let (data, tmp) =
            (format!("--datadir={}", daemon.show("data")), format!("--tmpdir={}", daemon.show("tmp")));
        let words = [
            "mariadb-install-db",
            "--no-defaults",
            &data,
            &tmp,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ];
        daemon.run(&words, &[], "");
        Self(daemon)
    }

    fn start(&mut self) {
        let option = |name: &str, value: String| format!("--{name}={value}");
        let words = [
            "mariadbd".to_owned(),
            "--no-defaults".to_owned(),
            option("datadir", self.0.show("data")),
            option("tmpdir", self.0.show("tmp")),
            option("socket", self.0.show("socket")),
            option("pid-file", self.0.show("pid")),
            option("port", self.0.port().to_string()),
            option("bind-address", "127.0.0.1".to_owned()),
            option("ssl-cert", self.0.show("certificate.pem")),
            option("ssl-key", self.0.show("key.pem")),
            option("ssl-ca", self.0.show("ca.pem")),
            "--innodb-flush-log-at-trx-commit=0".to_owned(),
            "--innodb-buffer-pool-size=16M".to_owned(),
            "--character-set-server=utf8mb4".to_owned(),
        ];
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        self.0.start(&words, |daemon| daemon.file("socket").exists());
    }

    fn sql(&self, text: &str) -> String {
        let socket = format!("--socket={}", self.0.show("socket"));
        let words = ["mariadb", "--no-defaults", "--user=root", "--default-character-set=utf8mb4", &socket];
        self.0.run(&words, &[], text)
    }

    /// How many connections were made to it, this question's included.
    fn connections(&self) -> u64 {
        let answer = self.sql("SHOW GLOBAL STATUS LIKE 'Connections'");
        answer.split_whitespace().last().unwrap().parse().unwrap()
    }

    /// A database, and a user who may read it by TLS alone.
    fn make(&self) {
        self.sql(&format!(
            "CREATE DATABASE mail;\nCREATE USER restante@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL;\n\
             CREATE USER local@localhost IDENTIFIED BY '{PASSWORD}';\n\
             GRANT SELECT ON mail.* TO restante@'%';\nGRANT SELECT ON mail.* TO local@localhost;"
        ));
    }

    fn url(&self) -> String {
        format!("mariadb://restante@localhost:{}/mail?sslmode=verify_identity", self.0.port())
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
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn table(name: &str, users: &[User]) -> String {
    let mut text = format!(
        "USE mail;\nCREATE TABLE {name} (name varchar(255) PRIMARY KEY, password varchar(255), scram_sha_256 text, \
         scram_sha_1 blob, maildir varbinary(500), login_delay int unsigned) COLLATE utf8mb4_unicode_ci;\n"
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
    mariadb: Mutex<MariaDb>,
    made: AtomicUsize,
}

impl Fixture for Law {
    fn style(&self) -> Style {
        Style::Stores
    }

    fn directory<'a>(&'a self, users: &'a [User]) -> Task<'a, Arc<dyn Directory>> {
        let name = format!("users{}", self.made.fetch_add(1, Ordering::Relaxed));
        let mariadb = self.mariadb.lock().unwrap();
        mariadb.sql(&table(&name, users));
        let directory = mariadb.directory(&QUERY.replace("users", &name));
        Box::pin(async { Arc::new(directory) as Arc<dyn Directory> })
    }

    fn broken(&self) -> Task<'_, Option<Arc<dyn Directory>>> {
        let url = format!("mysql://restante@127.0.0.1:{}/mail", closed_port());
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
    let mut mariadb = MariaDb::new();
    mariadb.start();
    mariadb.make();
    conformance::check(&Law { mariadb: Mutex::new(mariadb), made: AtomicUsize::new(0) }).await;
}

#[tokio::test]
async fn it_is_found_again_after_a_restart_and_by_its_socket() {
    let mut mariadb = MariaDb::new();
    mariadb.start();
    mariadb.make();
    mariadb.sql(
        "USE mail;\nCREATE TABLE users (name varchar(99), password text, login_delay tinyint(1));\n\
         INSERT INTO users VALUES ('ann@example.org', '{PLAIN}x', 1);",
    );
    let query = "SELECT `password`, login_delay, '\\':user' # :user\n FROM users WHERE name = :user";
    let ann = UserName::new("ann@example.org").unwrap();
    let is_found = async |directory: &SqlDirectory| match directory.lookup(&ann).await {
        Ok(Lookup::Known(entry)) => {
            assert!(entry.password.unwrap().verify(b"x"));
            assert_eq!(entry.account.login_delay.unwrap().as_secs(), 1);
            true
        }
        Ok(other) => panic!("{other:?}"),
        Err(_) => false,
    };
    let directory = mariadb.directory(query);
    assert!(is_found(&directory).await);
    mariadb.0.stop();
    mariadb.start();
    assert!(is_found(&directory).await, "the connection is stale, and is made anew");
    mariadb.0.stop();
    assert!(!is_found(&directory).await);
    mariadb.start();
    assert!(is_found(&directory).await);
    let by_socket = SqlDirectory::new(&Settings {
        password: Some(SecretText::File(mariadb.0.write("password", PASSWORD))),
        ..Settings::new(format!("mariadb://local@localhost/mail?socket={}", mariadb.0.show("socket")), query)
    });
    assert!(is_found(&by_socket.unwrap()).await);
}

#[test]
fn the_server_asks_it() {
    let mut mariadb = MariaDb::new();
    mariadb.start();
    mariadb.make();
    let row = |(user, password): (&str, &str)| {
        format!("({}, {})", quoted(user), quoted(&format!("{{PLAIN}}{password}")))
    };
    mariadb.sql(&format!(
        "USE mail;\nCREATE TABLE users (name varchar(255), password text) COLLATE utf8mb4_bin;\n\
         INSERT INTO users VALUES {}, {};",
        row(ANN),
        row(JOERG)
    ));
    mariadb.0.stop();
    let password = percent_encoded(PASSWORD);
    let url = mariadb.url().replace("restante@", &format!("restante:{password}@"));
    let sections = format!(
        "[sql]\nurl_file = {:?}\nca_file = {:?}\ntimeout_seconds = {TIMEOUT_SECONDS}\n\
         query = \"SELECT name, password FROM users WHERE name = :user\"\n",
        mariadb.0.write("url", &url),
        mariadb.0.file("ca.pem"),
    );
    // It starts while the database is down.
    let server = Server::asking(&["sql", "users"], &sections, USERS);
    is_down(&server);
    mariadb.start();
    is_up(&server);
    next_is_asked(&server);
    mariadb.0.stop();
    is_down(&server);
    next_is_not_asked(&server);
    let silence = mariadb.0.silence();
    is_down(&server);
    drop(silence);
    mariadb.start();
    is_up(&server);
    for secret in [PASSWORD, &password, ANN.1] {
        assert!(!server.log().contains(secret), "a password is in the log");
    }
    server.stop();
}

/// A column of utf8mb3 cannot be compared with such a name. It costs no connection, or whoever asks for it would take them
/// from others.
#[tokio::test]
async fn a_name_that_no_column_can_hold_is_nobodys_and_a_failing_query_keeps_its_connection() {
    let mut mariadb = MariaDb::new();
    mariadb.start();
    mariadb.make();
    mariadb.sql(
        "USE mail;\nCREATE TABLE old (name varchar(99), password text) CHARACTER SET utf8mb3;\n\
         INSERT INTO old VALUES ('ann', '{PLAIN}x');\nCREATE TABLE ascii (name varchar(99) CHARACTER SET ascii, \
         password text);\nINSERT INTO ascii VALUES ('ann', '{PLAIN}x');",
    );
    let ann = UserName::new("ann").unwrap();
    for table in ["old", "ascii"] {
        let directory = mariadb.directory(&format!("SELECT password FROM {table} WHERE name = :user"));
        assert!(matches!(directory.lookup(&ann).await, Ok(Lookup::Known(_))), "{table}");
        let before = mariadb.connections();
        for name in ["\u{1f600}", "j\u{f6}rg", "\u{1f600}", "\u{1f600}@example.org"] {
            let found = directory.lookup(&UserName::new(name).unwrap()).await;
            assert!(matches!(found, Ok(Lookup::Unknown)), "{table}, {name}: {found:?}");
        }
        assert!(matches!(directory.lookup(&ann).await, Ok(Lookup::Known(_))), "{table}");
        assert_eq!(mariadb.connections(), before + 1, "the one that counts them");
    }
    // An error of the query itself.
    let directory =
        mariadb.directory("SELECT password FROM old WHERE name = :user AND exp(length(:user) * 9999) > 1");
    for _ in 0..2 {
        assert!(directory.lookup(&ann).await.is_err());
    }
    let before = mariadb.connections();
    for _ in 0..9 {
        assert!(directory.lookup(&ann).await.is_err());
    }
    assert_eq!(mariadb.connections(), before + 1);
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}
