//! Users in a database: PostgreSQL, MariaDB or MySQL, SQLite. The operator's query finds a row, whose columns say by
//! their names what they are.
//!
//! The name is always bound to the query as a value, never a part of its text. No connection is made before
//! somebody logs in, so that the server starts while the database is down; a failure is an answer at once, not an
//! unknown user.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, scram};
use tokio::{task::spawn_blocking, time::timeout};

mod database;
mod failure;
mod query;
mod row;
mod seen;
mod url;

pub use query::{QUERY_MAX_OCTETS, QueryError};

use self::{
    database::{Connection, Database, Rows, told},
    failure::Failure,
    query::Query,
    seen::Seen,
    url::Url,
};
use super::{
    Directory, KeysLike, Kind, Lookup, LookupError, PATIENCE_DEFAULT, SecretError, SecretText, Task,
    TrustError, connections::Connections,
};
use crate::scheme::StoredPassword;

/// A database, for the registry.
pub(super) const KIND: Kind = Kind { name: "sql", doc: "a database: PostgreSQL, MariaDB or MySQL, SQLite" };

/// How many connections there are at most, if nobody says otherwise.
pub const CONNECTIONS_DEFAULT: usize = 4;

/// Where users are looked up, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database, as `postgres://`, `mysql://`, `mariadb://` or `sqlite://`. It may hold a password.
    pub url: SecretText,
    /// The password, where it is not in the URL.
    pub password: Option<SecretText>,
    /// A file of certificates, in PEM, of those who may vouch for the database; else the system's.
    pub ca_file: Option<PathBuf>,
    /// The query, with `:user`, `:local` and `:domain` in it.
    pub query: String,
    /// Whether every user's password is stored as {PLAIN}.
    pub plaintext: bool,
    /// How many connections there may be at once.
    pub connections: usize,
    /// How long an answer may take, connecting included.
    pub patience: Duration,
}

impl Settings {
    /// Settings with the usual bounds.
    pub fn new(url: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            url: SecretText::Here(Secret::new(url.into())),
            password: None,
            ca_file: None,
            query: query.into(),
            plaintext: false,
            connections: CONNECTIONS_DEFAULT,
            patience: PATIENCE_DEFAULT,
        }
    }
}

/// What works, and should be known all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Caution {
    /// The database is on another machine, and the URL does without TLS.
    #[error(
        "users' names and hashes pass in clear between this machine and the database's, or may; remove sslmode from the URL, \
         so that the certificate is verified"
    )]
    Clear,
    /// There is no such SQLite file.
    #[error("there is no {}; until it is there, logins fail with [SYS/TEMP]", .0.display())]
    NoFile(PathBuf),
}

impl Settings {
    /// What should be known about them; what is wrong is [`SqlDirectory::new`]'s to say. Blocking.
    pub fn cautions(&self) -> Vec<Caution> {
        let Ok(text) = self.url.read() else { return Vec::new() };
        let Ok(url) = Url::new(text.expose()) else { return Vec::new() };
        let clear = url.is_in_clear().then_some(Caution::Clear);
        let is_file = url.dialect == Dialect::Sqlite;
        let database = is_file.then(|| Database::new(&url, None, None, self.patience)).and_then(Result::ok);
        let missing = database.and_then(|database| database.missing());
        clear.into_iter().chain(missing.map(Caution::NoFile)).collect()
    }
}

/// What is wrong with settings. No text of the URL is in it that could be a password.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No URL of a database.
    #[error("the URL begins with none of postgres://, mysql://, mariadb://, sqlite://")]
    Scheme,
    /// The URL cannot be read.
    #[error("the URL cannot be read: {0}")]
    Url(String),
    /// A parameter in the URL that nobody knows.
    #[error("the URL has an unknown parameter behind its ?; the known ones are {}", known.join(", "))]
    Parameter {
        /// Those that are known.
        known: &'static [&'static str],
    },
    /// Passwords do not stand there.
    #[error("the URL has a password behind its ?; put it into password_file")]
    PasswordParameter,
    /// The file of authorities has a key of its own.
    #[error("the URL names a file of authorities; name it as ca_file")]
    AuthorityInUrl,
    /// SQLite has no server.
    #[error("SQLite is a file: it has neither a password nor a certificate")]
    NoServer,
    /// A path that depends on where the server was started.
    #[error("the path of the SQLite file is not absolute; write sqlite:///path/to/it")]
    RelativePath,
    /// The query is wrong.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The file of the URL or of the password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody can be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// The databases, as far as their SQL differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Postgres,
    MySql,
    Sqlite,
}

/// Whether a URL holds a password, which no configuration file should.
pub fn has_password(url: &str) -> bool {
    Url::new(url).is_ok_and(|url| url.has_password())
}

/// What is wrong with a URL, as far as it shows before the database's own parser reads it.
pub fn check_url(url: &str) -> Result<(), SettingsError> {
    Url::new(url).map(|_| ())
}

/// What is wrong with a query for this database.
pub fn check_query(url: &str, query: &str) -> Result<(), SettingsError> {
    Ok(Query::new(query, Url::new(url)?.dialect)?.check()?)
}

/// Users in a database.
pub struct SqlDirectory {
    settings: Settings,
    place: RwLock<Arc<Place>>,
    seen: Seen,
}

/// A database, the query in its words, and the connections to it.
struct Place {
    database: Database,
    query: Query,
    connections: Connections<Connection>,
}

impl Place {
    fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let text = settings.url.read()?;
        let url = Url::new(text.expose())?;
        let query = Query::new(&settings.query, url.dialect)?;
        query.check()?;
        let password = settings.password.as_ref().map(SecretText::read).transpose()?;
        let database = Database::new(&url, password.as_ref(), settings.ca_file.as_ref(), settings.patience)?;
        Ok(Self { database, query, connections: Connections::new(settings.connections) })
    }
}

impl SqlDirectory {
    /// Reads the settings, and the files that they name; the database is asked nothing yet. Blocking.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let place = RwLock::new(Arc::new(Place::new(settings)?));
        Ok(Self { settings: settings.clone(), place, seen: Seen::default() })
    }

    fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn find(&self, user: &UserName) -> Result<Lookup, LookupError> {
        let found = timeout(self.settings.patience, self.rows(user)).await;
        let hangs = |_| LookupError::Hangs { directory: KIND.name, patience: self.settings.patience };
        let broken = |source| LookupError::Broken { context: "the database".to_owned(), source };
        let row = match found.map_err(hangs)?.map_err(|error| broken(told(&error, user)))? {
            Rows::None => return Ok(Lookup::Unknown),
            Rows::One(row) => row,
            Rows::Several => {
                return Err(broken(io::Error::other("the query finds more than one row for one name")));
            }
        };
        let lookup = row.entry(user).map_err(|error| {
            broken(io::Error::new(io::ErrorKind::InvalidData, format!("the row of {user}: {error}")))
        })?;
        if let Lookup::Known(entry) = &lookup {
            self.seen.remember(entry);
        }
        Ok(lookup)
    }

    /// Asks by a connection that is there, or by a new one. One that has gone stale is found out by its failure; a
    /// SELECT can be asked twice. Where the statement alone failed, the connection stays, since anybody might bring that
    /// about by a name.
    async fn rows(&self, user: &UserName) -> Result<Rows, sqlx::Error> {
        let there = self.place();
        let Some(place) = there.connections.place().await else { return Err(sqlx::Error::PoolClosed) };
        if let Some(mut connection) = place.take() {
            let answer = connection.ask(&there.query, user).await;
            match Failure::of(&answer, user) {
                Some(Failure::Connection) => place.forget_others(),
                failure => return settled(answer, failure, || place.give_back(connection)),
            }
        }
        let mut connection = there.database.connect().await?;
        let answer = connection.ask(&there.query, user).await;
        let failure = Failure::of(&answer, user);
        settled(answer, failure, || place.give_back(connection))
    }
}

/// The answer, after what it means for the connection.
fn settled(
    answer: Result<Rows, sqlx::Error>,
    failure: Option<Failure>,
    give_back: impl FnOnce(),
) -> Result<Rows, sqlx::Error> {
    let is_sound = !matches!(answer, Ok(Rows::Several)) && failure != Some(Failure::Connection);
    if is_sound {
        give_back();
    }
    match failure {
        // No row has a name that no row can have.
        Some(Failure::Name) => Ok(Rows::None),
        _ => answer,
    }
}

impl Directory for SqlDirectory {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        Box::pin(self.find(user))
    }

    /// The files of secrets and certificates are read again.
    fn reload(&self) -> Task<'_, ()> {
        Box::pin(async {
            let settings = self.settings.clone();
            match spawn_blocking(move || Place::new(&settings)).await {
                Ok(Ok(place)) => {
                    *self.place.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(place);
                }
                Ok(Err(error)) => tracing::warn!("[sql] stays as it was: {error}"),
                Err(error) => tracing::error!(%error, "[sql] was not read again"),
            }
        })
    }

    /// Keys are there where the query names their column, whose values it promises for all users.
    fn can(&self, needs: Needs) -> bool {
        let plaintext = self.settings.plaintext;
        match needs {
            Needs::Password | Needs::Certificate => true,
            Needs::Keys(scram::Hash::Sha256) => plaintext || self.place().query.names("scram_sha_256"),
            Needs::Keys(scram::Hash::Sha1) => plaintext || self.place().query.names("scram_sha_1"),
            Needs::Plaintext => plaintext,
            Needs::Token => false,
        }
    }

    fn stand_in(&self, name: &str) -> Option<StoredPassword> {
        Some(self.seen.stand_in(name))
    }

    fn stand_in_keys(&self, name: &str, hash: scram::Hash) -> KeysLike {
        self.seen.stand_in_keys(name, hash)
    }

    fn keeps_keys(&self) -> bool {
        let place = self.place();
        ["scram_sha_256", "scram_sha_1"].iter().any(|column| place.query.names(column))
    }
}

impl fmt::Debug for SqlDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlDirectory")
            .field("dialect", &self.place().database.dialect())
            .field("connections", &self.place().connections)
            .finish_non_exhaustive()
    }
}
