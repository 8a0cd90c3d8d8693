//! The three databases: how each is reached, asked, and read.

use std::{future::poll_fn, io, path::PathBuf, pin::pin, str::FromStr as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures_core::Stream;
use restante_proto::{Secret, UserName};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Row as _, TypeInfo as _, ValueRef as _,
    encode::{Encode, IsNull},
    error::BoxDynError,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode},
    postgres::{
        PgArgumentBuffer, PgConnectOptions, PgConnection, PgRow, PgSslMode, PgTypeInfo, Postgres, types::Oid,
    },
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow},
    types::Type,
};

use super::{
    Dialect, SettingsError,
    query::{Parameter, Query},
    row::{COLUMNS, Field, Row},
    url::Url,
};
use crate::directory::trust::authorities;

/// The longest message of a database that is logged, in characters.
const MESSAGE_MAX_CHARS: usize = 300;

/// How a database is reached. It may hold a password: no format shows it.
#[derive(Clone)]
pub(super) enum Database {
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

/// A connection to one.
pub(super) enum Connection {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(SqliteConnection),
}

/// What was found.
pub(super) enum Rows {
    None,
    One(Row),
    /// More than one; the connection is in the middle of them.
    Several,
}

impl Database {
    /// Reads the settings, and the file of authorities. Blocking.
    pub(super) fn new(
        url: &Url<'_>,
        password: Option<&Secret<String>>,
        ca_file: Option<&PathBuf>,
        patience: Duration,
    ) -> Result<Self, SettingsError> {
        // Errors of the parsers name at most what stands in the parameters, where no password may be.
        let failed = |error: sqlx::Error| SettingsError::Url(plain(&error));
        let (verify, authorities) = match url.dialect {
            Dialect::Sqlite => (false, None),
            _ => (url.is_remote() && !url.has_tls_mode(), trusted(url, ca_file)?),
        };
        Ok(match url.dialect {
            Dialect::Postgres => {
                let mut options =
                    PgConnectOptions::from_str(url.text).map_err(failed)?.application_name("restante");
                if let Some(password) = password {
                    options = options.password(password.expose());
                }
                if verify {
                    options = options.ssl_mode(PgSslMode::VerifyFull);
                } else if !url.has_tls_mode() {
                    options = options.ssl_mode(PgSslMode::Prefer);
                }
                if let Some(authorities) = authorities {
                    options = options.ssl_root_cert_from_pem(authorities);
                }
                Self::Postgres(Box::new(options.disable_statement_logging()))
            }
            Dialect::MySql => {
                let mut options = MySqlConnectOptions::from_str(url.text).map_err(failed)?;
                if let Some(password) = password {
                    options = options.password(password.expose());
                }
                if verify {
                    options = options.ssl_mode(MySqlSslMode::VerifyIdentity);
                }
                if let Some(authorities) = authorities {
                    options = options.ssl_ca_from_pem(authorities);
                }
                Self::MySql(Box::new(options.disable_statement_logging()))
            }
            Dialect::Sqlite => {
                if password.is_some() || ca_file.is_some() {
                    return Err(SettingsError::NoServer);
                }
                let options = SqliteConnectOptions::from_str(url.text).map_err(failed)?;
                if !options.get_filename().is_absolute() {
                    return Err(SettingsError::RelativePath);
                }
                let options = options.read_only(true).busy_timeout(patience);
                Self::Sqlite(Box::new(options.disable_statement_logging()))
            }
        })
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::MySql(_) => Dialect::MySql,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// The file of an SQLite database that is not there. Blocking.
    pub(super) fn missing(&self) -> Option<PathBuf> {
        let Self::Sqlite(options) = self else { return None };
        let file = options.get_filename();
        matches!(file.try_exists(), Ok(false)).then(|| file.to_owned())
    }

    /// Makes a connection.
    pub(super) async fn connect(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Self::Postgres(options) => Connection::Postgres(PgConnection::connect_with(options).await?),
            Self::MySql(options) => Connection::MySql(MySqlConnection::connect_with(options).await?),
            Self::Sqlite(options) => Connection::Sqlite(SqliteConnection::connect_with(options).await?),
        })
    }
}

/// The authorities as PEM: those of `ca_file`, or the system's where the server has to be verified.
fn trusted(url: &Url<'_>, ca_file: Option<&PathBuf>) -> Result<Option<Vec<u8>>, SettingsError> {
    if ca_file.is_none() && !url.is_remote() && !url.has_tls_mode() {
        return Ok(None);
    }
    let mut text = Vec::new();
    for certificate in authorities(ca_file.map(PathBuf::as_path))? {
        text.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
        for line in BASE64.encode(&certificate).as_bytes().chunks(64) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(b"-----END CERTIFICATE-----\n");
    }
    Ok(Some(text))
}

/// A text for PostgreSQL whose type is left to the server, so that it is compared as the column is: citext without case.
struct Untyped(String);

impl Type<Postgres> for Untyped {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Untyped {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

impl Connection {
    /// Looks a user up. What an error means for the connection, [`super::failure`] knows.
    pub(super) async fn ask(&mut self, query: &Query, user: &UserName) -> Result<Rows, sqlx::Error> {
        let values = query.parameters.iter().map(|parameter| match parameter {
            Parameter::User => user.as_str().to_owned(),
            Parameter::Local => user.local().to_owned(),
            Parameter::Domain => user.domain().unwrap_or_default().to_owned(),
        });
        // Safe: the text is the operator's, and the values are bound.
        let text = AssertSqlSafe(query.text.clone());
        match self {
            Self::Postgres(connection) => {
                let asked = values.fold(sqlx::query(text), |query, value| query.bind(Untyped(value)));
                one(asked.fetch(connection), postgres).await
            }
            Self::MySql(connection) => {
                let asked = values.fold(sqlx::query(text), |query, value| query.bind(value));
                one(asked.fetch(connection), mysql).await
            }
            Self::Sqlite(connection) => {
                let asked = values.fold(sqlx::query(text), |query, value| query.bind(value));
                one(asked.fetch(connection), sqlite).await
            }
        }
    }
}

/// The only row; of several no more than the second is fetched.
async fn one<R>(
    rows: impl Stream<Item = Result<R, sqlx::Error>>,
    read: fn(&R) -> Result<Row, sqlx::Error>,
) -> Result<Rows, sqlx::Error> {
    let mut rows = pin!(rows);
    let mut next = async || poll_fn(|context| rows.as_mut().poll_next(context)).await.transpose();
    let Some(first) = next().await? else { return Ok(Rows::None) };
    let row = read(&first)?;
    Ok(if next().await?.is_some() { Rows::Several } else { Rows::One(row) })
}

/// The columns of a row that have a meaning; of two with one name the first.
fn columns<R: sqlx::Row>(
    row: &R,
    field: impl Fn(&R, usize) -> Result<Field, sqlx::Error>,
) -> Result<Row, sqlx::Error> {
    let mut fields: Vec<(&'static str, Field)> = Vec::new();
    for column in row.columns() {
        let known = COLUMNS.iter().find(|known| known.eq_ignore_ascii_case(column.name()));
        let Some(name) = known else { continue };
        if fields.iter().all(|(there, _)| there != name) {
            fields.push((name, field(row, column.ordinal())?));
        }
    }
    Ok(Row(fields))
}

fn postgres(row: &PgRow) -> Result<Row, sqlx::Error> {
    columns(row, |row, index| {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Field::Null);
        }
        Ok(match value.type_info().name() {
            "INT2" => Field::Number(row.try_get::<i16, _>(index)?.into()),
            "INT4" => Field::Number(row.try_get::<i32, _>(index)?.into()),
            "INT8" => Field::Number(row.try_get(index)?),
            // Texts, their domains and enumerations are sent as they are.
            _ => Field::Octets(Secret::new(value.as_bytes().map_err(sqlx::Error::Decode)?.to_vec())),
        })
    })
}

fn mysql(row: &MySqlRow) -> Result<Row, sqlx::Error> {
    columns(row, |row, index| {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Field::Null);
        }
        let name = value.type_info().name().to_owned();
        Ok(match name.as_str() {
            "BIGINT UNSIGNED" => {
                Field::Number(row.try_get_unchecked::<u64, _>(index)?.try_into().unwrap_or(i64::MAX))
            }
            name if name.ends_with("UNSIGNED") => {
                Field::Number(row.try_get_unchecked::<u32, _>(index)?.into())
            }
            "BOOLEAN" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
                Field::Number(row.try_get_unchecked(index)?)
            }
            _ => Field::Octets(Secret::new(row.try_get_unchecked(index)?)),
        })
    })
}

fn sqlite(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    columns(row, |row, index| {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(Field::Null);
        }
        let is_number = value.type_info().name() == "INTEGER";
        Ok(match is_number {
            true => Field::Number(row.try_get_unchecked(index)?),
            false => Field::Octets(Secret::new(row.try_get_unchecked(index)?)),
        })
    })
}

/// An error of a database for the log, without the name that was asked for, which might be somebody's password.
pub(super) fn told(error: &sqlx::Error, user: &UserName) -> io::Error {
    let kind = match error {
        sqlx::Error::Io(error) => error.kind(),
        _ => io::ErrorKind::Other,
    };
    let text = plain(error);
    let lower = text.to_lowercase();
    let name = user.as_str().to_lowercase();
    let shows = lower.contains(&name) || lower.contains(&user.local().to_lowercase());
    let text = match error.as_database_error().and_then(|error| error.code()) {
        Some(code) if shows => format!("the database's error {code}"),
        None if shows => "an error whose words show a name".to_owned(),
        _ => text,
    };
    io::Error::new(kind, text)
}

/// The words of an error, printable and of bounded length.
pub(super) fn plain(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Configuration(error) | sqlx::Error::Tls(error) => error.to_string(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} ({code})", error.message()),
            None => error.message().to_owned(),
        },
        other => other.to_string(),
    };
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(MESSAGE_MAX_CHARS).collect()
}
