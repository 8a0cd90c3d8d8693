//! The sections of directories that are asked over a connection or by a library: their keys, their values, and what is
//! wrong with them together. Opening them is `crate::directories`.

use std::{net::IpAddr, path::PathBuf};

#[cfg(feature = "pam")]
use restante_auth::directory::pam;
use restante_auth::directory::{ldap, sql};
use serde::Deserialize;

use super::{
    Settings,
    document::Places,
    keys::{Fallback, Key, PATH, Section, Takes, host_name, number},
};

/// The domains that a directory has, a key of each section.
const DOMAINS: Key = Key {
    name: "domains",
    takes: Takes::List { what: "domains", check: host_name },
    default: Fallback::Value("[]"),
    doc: "The domains whose users are here: for names in them no other directory is asked, but those that have the domain too. []: the users of all domains that no directory has for itself.",
};

const TIMEOUT_SECONDS: Key = number(
    "timeout_seconds",
    1,
    600,
    "10",
    "How long an answer may take, connecting included; then the login fails with [SYS/TEMP].",
);

/// `[sql]`.
pub(super) const SQL: Section = Section {
    name: "sql",
    doc: "Users in a database, where [auth] directories has \"sql\": PostgreSQL, MariaDB or MySQL, SQLite.",
    keys: &[
        Key {
            name: "url",
            takes: Takes::Text { what: "a database's URL without a password", check: sql_url },
            default: Fallback::Words {
                words: "that of url_file",
                example: "\"postgres://restante@db.example.org/mail\"",
            },
            doc: "The database: postgres://user@host/database, mysql:// or mariadb:// likewise, sqlite:///path/to/file. TLS is as its sslmode says; without one, the certificate of a server on another machine is verified.",
        },
        Key {
            name: "url_file",
            takes: PATH,
            default: Fallback::Words {
                words: "the URL stands here, as url",
                example: "\"/etc/restante/sql-url\"",
            },
            doc: "A file with the URL in its first line instead; it may hold the password, and others must have no rights to it (mode 0640 or less).",
        },
        Key {
            name: "password_file",
            takes: PATH,
            default: Fallback::Words {
                words: "no password but that of url_file",
                example: "\"/etc/restante/sql-password\"",
            },
            doc: "A file with the database's password in its first line, likewise. It is read again at SIGHUP.",
        },
        Key {
            name: "ca_file",
            takes: PATH,
            default: Fallback::Words {
                words: "those that the system trusts",
                example: "\"/etc/restante/sql-ca.pem\"",
            },
            doc: "A PEM file with the authorities that may vouch for the database.",
        },
        Key {
            name: "query",
            takes: Takes::Text { what: "a SELECT with :user in it", check: not_empty },
            default: Fallback::Words {
                words: "none: it has to be written",
                example: "\"SELECT password FROM users WHERE name = :user\"",
            },
            doc: "Finds a user's row. :user is the name in lower case, :local and :domain what stands before and after its last @; they are bound as values. Columns: password ({SCHEME}hash as in the users file; NULL is nobody), and if there, scram_sha_256 and scram_sha_1 (keys; who names them says that every user has them), maildir, login_delay (seconds), name (how the user is called from then on).",
        },
        Key {
            name: "plaintext",
            takes: Takes::Switch,
            default: Fallback::Value("false"),
            doc: "Says that every password is stored as {PLAIN}, so that all mechanisms can be offered.",
        },
        number(
            "connections",
            1,
            1000,
            "4",
            "Connections at the same time; they are made when they are needed.",
        ),
        DOMAINS,
        TIMEOUT_SECONDS,
    ],
};

/// `[sql]` as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sql {
    pub(crate) url: Option<String>,
    pub(crate) url_file: Option<PathBuf>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) query: Option<String>,
    pub(crate) plaintext: bool,
    pub(crate) connections: usize,
    pub(crate) domains: Vec<String>,
    pub(crate) timeout_seconds: u32,
}

impl Default for Sql {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            password_file: None,
            ca_file: None,
            query: None,
            plaintext: false,
            connections: sql::CONNECTIONS_DEFAULT,
            domains: Vec::new(),
            timeout_seconds: 10,
        }
    }
}

/// `[ldap]`.
pub(super) const LDAP: Section = Section {
    name: "ldap",
    doc: "Users in an LDAP directory, where [auth] directories has \"ldap\": a search finds the entry, a bind as that entry checks the password.",
    keys: &[
        Key {
            name: "urls",
            takes: Takes::List { what: "servers' URLs", check: ldap_url },
            default: Fallback::Words {
                words: "none: they have to be written",
                example: "[\"ldap://ldap.example.org\"]",
            },
            doc: "The servers, tried one after the other: ldap://host, ldaps://host, or ldapi://%2Fpath%2Fto%2Fsocket.",
        },
        Key {
            name: "tls",
            takes: Takes::Word(&["required", "none"]),
            default: Fallback::Value("\"required\""),
            doc: "Whether ldap:// begins with StartTLS. none: passwords pass in clear, which is for this machine alone.",
        },
        Key {
            name: "ca_file",
            takes: PATH,
            default: Fallback::Words {
                words: "those that the system trusts",
                example: "\"/etc/restante/ldap-ca.pem\"",
            },
            doc: "A PEM file with the authorities that may vouch for the servers.",
        },
        Key {
            name: "bind_dn",
            takes: Takes::Text { what: "a distinguished name", check: not_empty },
            default: Fallback::Words {
                words: "the search is made as nobody",
                example: "\"cn=restante,dc=example,dc=org\"",
            },
            doc: "As whom users are searched for; needs bind_password_file.",
        },
        Key {
            name: "bind_password_file",
            takes: PATH,
            default: Fallback::Words {
                words: "the search is made as nobody",
                example: "\"/etc/restante/ldap-password\"",
            },
            doc: "A file with the password of bind_dn in its first line; others must have no rights to it (mode 0640 or less). It is read again at SIGHUP.",
        },
        Key {
            name: "base",
            takes: Takes::Text { what: "a distinguished name", check: not_empty },
            default: Fallback::Words {
                words: "none: it has to be written",
                example: "\"ou=people,dc=example,dc=org\"",
            },
            doc: "The entry below which users are.",
        },
        Key {
            name: "filter",
            takes: Takes::Text { what: "a filter with {user} or {local} in it", check: ldap_filter },
            default: Fallback::Value("\"(mail={user})\""),
            doc: "Which entry is a user's (RFC 4515): {user} is the name in lower case, {local} and {domain} what stands before and after its last @, escaped. It must find one entry at most.",
        },
        Key {
            name: "name_attribute",
            takes: Takes::Text { what: "an attribute", check: not_empty },
            default: Fallback::Words { words: "the name that was logged in with", example: "\"mail\"" },
            doc: "The attribute with the name by which a user is known from then on.",
        },
        Key {
            name: "maildir_attribute",
            takes: Takes::Text { what: "an attribute", check: not_empty },
            default: Fallback::Words { words: "the path of [store] maildir", example: "\"homeDirectory\"" },
            doc: "The attribute with the absolute path of a user's Maildir.",
        },
        Key {
            name: "login_delay_attribute",
            takes: Takes::Text { what: "an attribute", check: not_empty },
            default: Fallback::Words { words: "as long as others", example: "\"employeeNumber\"" },
            doc: "The attribute with the seconds between two logins of a user.",
        },
        Key {
            name: "certificates",
            takes: Takes::Switch,
            default: Fallback::Value("false"),
            doc: "Whether users log in by certificate, where [tls] client_ca lets them. No bind is made then that a locked user would be refused: the filter has to leave such users out.",
        },
        number(
            "connections",
            1,
            1000,
            "4",
            "Connections at the same time, for searches and for binds each; they are made when they are needed.",
        ),
        DOMAINS,
        TIMEOUT_SECONDS,
    ],
};

/// `[ldap]` as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ldap {
    pub(crate) urls: Vec<String>,
    pub(crate) tls: LdapTls,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) bind_dn: Option<String>,
    pub(crate) bind_password_file: Option<PathBuf>,
    pub(crate) base: Option<String>,
    pub(crate) filter: String,
    pub(crate) name_attribute: Option<String>,
    pub(crate) maildir_attribute: Option<String>,
    pub(crate) login_delay_attribute: Option<String>,
    pub(crate) certificates: bool,
    pub(crate) connections: usize,
    pub(crate) domains: Vec<String>,
    pub(crate) timeout_seconds: u32,
}

/// Whether `ldap://` begins with StartTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LdapTls {
    Required,
    None,
}

impl Default for Ldap {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            tls: LdapTls::Required,
            ca_file: None,
            bind_dn: None,
            bind_password_file: None,
            base: None,
            filter: "(mail={user})".to_owned(),
            name_attribute: None,
            maildir_attribute: None,
            login_delay_attribute: None,
            certificates: false,
            connections: ldap::CONNECTIONS_DEFAULT,
            domains: Vec::new(),
            timeout_seconds: 10,
        }
    }
}

/// `[pam]`.
#[cfg(feature = "pam")]
pub(super) const PAM: Section = Section {
    name: "pam",
    doc: "Users of PAM, where [auth] directories has \"pam\": the modules of a service check name and password.",
    keys: &[
        Key {
            name: "service",
            takes: Takes::Text { what: "the name of a PAM service", check: pam_service },
            default: Fallback::Value("\"restante\""),
            doc: "The service, whose modules are listed in /etc/pam.d/SERVICE: its auth and account lines are asked.",
        },
        number(
            "threads",
            1,
            256,
            "16",
            "Modules that may be asked at the same time. One that hangs keeps its thread, and so does each wrong password for the seconds that PAM waits before it says no, unless the modules are told nodelay.",
        ),
        DOMAINS,
        TIMEOUT_SECONDS,
    ],
};

/// `[pam]` as it was written.
#[cfg(feature = "pam")]
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Pam {
    pub(crate) service: String,
    pub(crate) threads: usize,
    pub(crate) domains: Vec<String>,
    pub(crate) timeout_seconds: u32,
}

#[cfg(feature = "pam")]
impl Default for Pam {
    fn default() -> Self {
        Self {
            service: "restante".to_owned(),
            threads: pam::THREADS_DEFAULT,
            domains: Vec::new(),
            timeout_seconds: 10,
        }
    }
}

#[cfg(feature = "pam")]
fn pam_service(text: &str) -> Result<(), String> {
    pam::check_service(text).map_err(|problem| problem.to_string())
}

/// What contradicts, or is missing. A section of a directory that is not asked is not looked at.
pub(super) fn together(settings: &Settings, places: &Places, found: &mut impl FnMut(&str, &str)) {
    let asked = |name: &str| settings.auth.directories.iter().any(|asked| asked == name);
    if asked("sql") {
        sql_together(&settings.sql, places, found);
    }
    if asked("ldap") {
        ldap_together(&settings.ldap, places, found);
    }
}

fn ldap_together(ldap: &Ldap, places: &Places, found: &mut impl FnMut(&str, &str)) {
    let section = if places.has("ldap") { "ldap" } else { "auth.directories" };
    if ldap.urls.is_empty() {
        found(section, "[ldap] needs urls, the servers'");
    }
    if ldap.tls == LdapTls::None
        && let Some(url) = ldap.urls.iter().find(|url| is_clear_elsewhere(url))
    {
        found(
            "ldap.tls",
            &format!(
                "passwords would pass in clear to {url}, another machine; write \"required\", or ldaps:// in urls"
            ),
        );
    }
    if ldap.base.is_none() {
        found(section, "[ldap] needs base, the entry below which users are");
    }
    match (&ldap.bind_dn, &ldap.bind_password_file) {
        (Some(_), None) => found("ldap.bind_dn", "bind_password_file, its password, is missing in [ldap]"),
        (None, Some(_)) => {
            found("ldap.bind_password_file", "bind_dn, whose password it is, is missing in [ldap]");
        }
        _ => {}
    }
}

/// Whether the URL is one that is spoken in clear without StartTLS, with a machine that is not this one.
fn is_clear_elsewhere(url: &str) -> bool {
    let Some(place) = url.strip_prefix("ldap://") else { return false };
    let place = place.trim_end_matches('/');
    let host = match place.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => place.split(':').next().unwrap_or_default(),
    };
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    !is_loopback
}

fn sql_together(sql: &Sql, places: &Places, found: &mut impl FnMut(&str, &str)) {
    let section = if places.has("sql") { "sql" } else { "auth.directories" };
    match (&sql.url, &sql.url_file) {
        (None, None) => found(section, "[sql] needs url, the database's, or url_file"),
        (Some(_), Some(_)) => {
            found("sql.url_file", "there is one database, and url is set too; remove one of the two");
        }
        _ => {}
    }
    match (&sql.url, &sql.query) {
        (_, None) => found(section, "[sql] needs query, a SELECT that finds a user's row"),
        (Some(url), Some(query)) => {
            if let Err(problem) = sql::check_query(url, query) {
                found("sql.query", &problem.to_string());
            }
        }
        (None, Some(_)) => {}
    }
}

fn sql_url(text: &str) -> Result<(), String> {
    if sql::has_password(text) {
        return Err("a password stands in the URL, where others may read it; write it into password_file, or the whole URL into url_file".to_owned());
    }
    sql::check_url(text).map_err(|problem| problem.to_string())
}

fn ldap_url(text: &str) -> Result<(), String> {
    ldap::check_url(text).map_err(|problem| problem.to_string())
}

fn ldap_filter(text: &str) -> Result<(), String> {
    ldap::check_filter(text).map_err(|problem| problem.to_string())
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(()) }
}
