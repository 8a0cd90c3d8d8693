//! What the URL of a database says that the settings depend on. Its parts are read by the databases' own parsers.

use std::net::IpAddr;

use super::{Dialect, SettingsError};

/// A URL, looked at.
pub(super) struct Url<'a> {
    pub(super) text: &'a str,
    pub(super) dialect: Dialect,
    host: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    has_password: bool,
}

/// The parameters that each database knows. An unknown one would be left out in silence, or logged with its value.
const POSTGRES: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "application_name",
    "options",
    "statement-cache-capacity",
];
const MYSQL: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "charset",
    "collation",
    "socket",
    "timezone",
    "time-zone",
    "statement-cache-capacity",
];
const SQLITE: &[&str] = &["mode", "cache", "immutable", "vfs"];

impl<'a> Url<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, SettingsError> {
        let (scheme, rest) = text.split_once(':').ok_or(SettingsError::Scheme)?;
        let (dialect, known) = match scheme {
            "postgres" | "postgresql" => (Dialect::Postgres, POSTGRES),
            "mysql" | "mariadb" => (Dialect::MySql, MYSQL),
            "sqlite" => (Dialect::Sqlite, SQLITE),
            _ => return Err(SettingsError::Scheme),
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let place = place.trim_start_matches('/');
        let authority = place.split(['/', '#']).next().unwrap_or_default();
        // The last @: a password may hold some that nobody wrote as %40.
        let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let query = query.split('#').next().unwrap_or_default();
        let parameters: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        let has_password = userinfo.contains(':') && dialect != Dialect::Sqlite;
        for (name, _) in &parameters {
            match *name {
                "sslrootcert" | "ssl-root-cert" | "sslca" | "ssl-ca" if dialect != Dialect::Sqlite => {
                    return Err(SettingsError::AuthorityInUrl);
                }
                name if name.to_lowercase().contains("pass") => return Err(SettingsError::PasswordParameter),
                name if known.contains(&name) => {}
                _ => return Err(SettingsError::Parameter { known }),
            }
        }
        Ok(Self { text, dialect, host, parameters, has_password })
    }

    /// Whether a password stands in it.
    pub(super) const fn has_password(&self) -> bool {
        self.has_password
    }

    /// Whether it says how TLS is used.
    pub(super) fn has_tls_mode(&self) -> bool {
        self.parameters.iter().any(|(name, _)| matches!(*name, "sslmode" | "ssl-mode"))
    }

    /// Whether what goes to the database may leave this machine in clear: another machine's database, and a mode that takes
    /// no TLS, or takes its absence.
    pub(super) fn is_in_clear(&self) -> bool {
        let keeps = |mode: &str| {
            ["require", "required", "verify-ca", "verify_ca", "verify-full", "verify_identity"]
                .contains(&mode.to_ascii_lowercase().as_str())
        };
        let mut modes = self.parameters.iter().filter(|(name, _)| matches!(*name, "sslmode" | "ssl-mode"));
        self.is_remote() && modes.any(|(_, mode)| !keeps(mode))
    }

    /// Whether what goes to the database leaves this machine.
    pub(super) fn is_remote(&self) -> bool {
        if self.dialect == Dialect::Sqlite || self.parameters.iter().any(|(name, _)| *name == "socket") {
            return false;
        }
        let named = self.parameters.iter().filter(|(name, _)| matches!(*name, "host" | "hostaddr"));
        let host = named.map(|(_, value)| *value).next_back().unwrap_or(self.host);
        let is_path = host.starts_with('/') || host.to_ascii_lowercase().starts_with("%2f");
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        !(host.is_empty() || is_path || is_loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_is_known() {
        for local in [
            "postgres://localhost/mail",
            "postgres://ann@127.0.0.1:5432/mail",
            "postgres:///mail?host=/run/postgresql",
            "postgres://%2Frun%2Fpostgresql/mail",
            "postgresql://[::1]/mail",
            "mysql://ann@localhost:3306/mail",
            "mariadb://ann@db.example.org/mail?socket=/run/mysqld/mysqld.sock",
            "sqlite:///var/lib/mail.db",
            "sqlite:/var/lib/mail.db",
        ] {
            assert!(
                !Url::new(local).unwrap_or_else(|error| panic!("{local}: {error}")).is_remote(),
                "{local}"
            );
        }
        for remote in [
            "postgres://db.example.org/mail",
            "postgres://ann:a@localhost@db.example.org:5432/mail",
            "postgres://[2001:db8::1]/mail",
            "postgres://localhost/mail?host=db.example.org",
            "mysql://10.0.0.1/mail",
            "postgres://localhost.example.org/mail",
        ] {
            assert!(Url::new(remote).unwrap().is_remote(), "{remote}");
        }
    }

    #[test]
    fn what_passes_in_clear_is_known() {
        for clear in [
            "postgres://db.example.org/mail?sslmode=disable",
            "postgres://db.example.org/mail?sslmode=prefer",
            "mysql://db.example.org/mail?ssl-mode=PREFERRED",
            "mysql://db.example.org/mail?sslmode=DISABLED",
        ] {
            assert!(Url::new(clear).unwrap().is_in_clear(), "{clear}");
        }
        for kept in [
            "postgres://db.example.org/mail",
            "postgres://db.example.org/mail?sslmode=verify-full",
            "mysql://db.example.org/mail?ssl-mode=VERIFY_IDENTITY",
            "postgres://localhost/mail?sslmode=disable",
            "postgres:///mail?host=/run/postgresql&sslmode=disable",
        ] {
            assert!(!Url::new(kept).unwrap().is_in_clear(), "{kept}");
        }
    }

    #[test]
    fn passwords_are_seen() {
        for with in ["postgres://ann:x@h/d", "mysql://ann:@h/d", "mysql://ann:x:y@h/d?sslmode=require"] {
            assert!(Url::new(with).unwrap().has_password(), "{with}");
        }
        for without in ["postgres://ann@h:5432/d", "postgres://h/d", "sqlite:///a:b@c"] {
            assert!(!Url::new(without).unwrap().has_password(), "{without}");
        }
        assert!(matches!(Url::new("postgres://h/d?password=x"), Err(SettingsError::PasswordParameter)));
    }

    #[test]
    fn what_is_wrong_shows_no_text_of_the_url() {
        for wrong in [
            "seekrit",
            "oracle://ann:seekrit@h/d",
            "postgres://h/d?seekrit=1",
            "postgres://h/d?passwd=seekrit",
            "mysql://h/d?ssl-ca=seekrit",
        ] {
            let Err(error) = Url::new(wrong) else { panic!("{wrong} passes") };
            assert!(!format!("{error} {error:?}").contains("seekrit"), "{error}");
        }
    }
}
