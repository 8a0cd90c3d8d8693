//! What the error of a database means: for the connection, and for the name that was asked for.

use restante_proto::UserName;
use sqlx::{
    error::DatabaseError,
    mysql::MySqlDatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use super::database::Rows;

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection, or what it knows of the query; another one may do.
    Connection,
    /// The name: it has characters that the column cannot hold.
    Name,
    /// The statement; another connection will not help.
    Statement,
}

impl Failure {
    /// What an answer about a user says.
    pub(super) fn of(answer: &Result<Rows, sqlx::Error>, user: &UserName) -> Option<Self> {
        let Err(error) = answer else { return None };
        // Every column can be compared with ASCII: there, the query itself is wrong.
        let is_ascii = user.as_str().is_ascii();
        Some(match error {
            sqlx::Error::Database(error) => Self::of_database(error.as_ref(), is_ascii),
            // Of values that were read, when the answer was here.
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Statement,
            _ => Self::Connection,
        })
    }

    fn of_database(error: &dyn DatabaseError, is_ascii: bool) -> Self {
        if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
            let is_fatal = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
            return if is_fatal { Self::Connection } else { Self::of_postgres(error.code(), is_ascii) };
        }
        match error.try_downcast_ref::<MySqlDatabaseError>() {
            Some(error) => Self::of_mysql(error.number(), error.code(), is_ascii),
            // SQLite's file may be another one by now, and opening it is cheap.
            None => Self::Connection,
        }
    }

    /// By the SQLSTATE (PostgreSQL, appendix A).
    fn of_postgres(code: &str, is_ascii: bool) -> Self {
        match code {
            // character_not_in_repertoire, untranslatable_character.
            "22021" | "22P05" if !is_ascii => Self::Name,
            // The server ends; or a prepared statement is unknown, there twice, or for a table that was altered since.
            "57P01" | "57P02" | "57P03" | "26000" | "42P05" | "0A000" => Self::Connection,
            code if code.starts_with("08") => Self::Connection,
            _ => Self::Statement,
        }
    }

    /// By the number, whose SQLSTATE says less.
    fn of_mysql(number: u16, code: Option<&str>, is_ascii: bool) -> Self {
        match number {
            // ER_CANT_AGGREGATE_2COLLATIONS, _3COLLATIONS and _NCOLLATIONS, ER_INVALID_CHARACTER_STRING,
            // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, ER_CANNOT_CONVERT_CHARACTER (MariaDB), ER_CANNOT_CONVERT_STRING and
            // ER_IMPOSSIBLE_STRING_CONVERSION (MySQL).
            1267 | 1270 | 1271 | 1300 | 1366 | 1977 | 3854 | 3988 if !is_ascii => Self::Name,
            // ER_SERVER_SHUTDOWN, ER_CONNECTION_KILLED, ER_CLIENT_INTERACTION_TIMEOUT; ER_UNKNOWN_STMT_HANDLER,
            // ER_NEED_REPREPARE.
            1053 | 1927 | 4031 | 1243 | 1615 => Self::Connection,
            _ if code.is_some_and(|code| code.starts_with("08")) => Self::Connection,
            _ => Self::Statement,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_the_connection_broke_is_told_from_what_the_statement_did() {
        let ann = UserName::new("ann").unwrap();
        for broken in [
            sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()),
            sqlx::Error::Protocol("out of step".to_owned()),
            sqlx::Error::WorkerCrashed,
        ] {
            assert_eq!(Failure::of(&Err(broken), &ann), Some(Failure::Connection));
        }
        let decode = sqlx::Error::Decode("no number".into());
        assert_eq!(Failure::of(&Err(decode), &ann), Some(Failure::Statement));
        assert_eq!(Failure::of(&Ok(Rows::None), &ann), None);
        for (code, expected) in [
            ("08006", Failure::Connection),
            ("57P01", Failure::Connection),
            ("0A000", Failure::Connection),
            ("42P01", Failure::Statement),
            ("42501", Failure::Statement),
            ("57014", Failure::Statement),
        ] {
            assert_eq!(Failure::of_postgres(code, false), expected, "{code}");
        }
        for (number, code, expected) in [
            (1053, "08S01", Failure::Connection),
            (1159, "08S01", Failure::Connection),
            (1927, "70100", Failure::Connection),
            (1146, "42S02", Failure::Statement),
            (1142, "42000", Failure::Statement),
            (1317, "70100", Failure::Statement),
        ] {
            assert_eq!(Failure::of_mysql(number, Some(code), false), expected, "{number}");
        }
    }

    /// But for a name of ASCII the query is to blame, and nobody is to be told that the password was wrong.
    #[test]
    fn a_name_that_no_column_can_hold_is_nobodys() {
        for code in ["22021", "22P05"] {
            assert_eq!(Failure::of_postgres(code, false), Failure::Name);
            assert_eq!(Failure::of_postgres(code, true), Failure::Statement);
        }
        for number in [1267, 1270, 1271, 1300, 1366, 1977, 3854, 3988] {
            assert_eq!(Failure::of_mysql(number, Some("HY000"), false), Failure::Name);
            assert_eq!(Failure::of_mysql(number, Some("HY000"), true), Failure::Statement);
        }
    }
}
