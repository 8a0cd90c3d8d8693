//! The configuration of the server: read from a TOML file, checked as a whole, and given out as plain values.
//!
//! `keys.rs` is the table of all keys, `document.rs` the file with its places, `check.rs` what only several values
//! together, or the machine, can show to be wrong, `render.rs` the keys for people. What a setting does is the
//! business of the crate that it is handed to.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
};

use restante_admin::Place;
use restante_server::Network;
use restante_store::maildir::Template;
use serde::{Deserialize, Deserializer, de};

use crate::{directories::USERS, failure::Failure};

pub(crate) mod admin;
pub(crate) mod check;
pub(crate) mod directories;
pub(crate) mod document;
pub(crate) mod keys;
pub(crate) mod oauth;
mod owner;
pub(crate) mod render;
pub(crate) mod salt_key;
mod secret_file;
#[cfg(test)]
mod tests;
mod warnings;

use document::{Places, Problem};

/// Where the configuration is, if nobody says.
pub(crate) const DEFAULT_FILE: &str = "/etc/restante/restante.toml";

/// The longest configuration that is read, in octets.
const FILE_MAX_OCTETS: u64 = 1 << 20;

/// The whole configuration. The meaning of each value is in the table of `keys.rs`, under the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    hostname: Option<String>,
    pub(crate) listen: Listen,
    pub(crate) admin: Admin,
    /// Without it there is no TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) auth: Auth,
    pub(crate) sql: directories::Sql,
    pub(crate) ldap: directories::Ldap,
    #[cfg(feature = "pam")]
    pub(crate) pam: directories::Pam,
    pub(crate) oauth: oauth::Oauth,
    store: StoreKeys,
    pub(crate) limits: Limits,
    pub(crate) log: Log,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) pop3: Vec<SocketAddr>,
    pop3s: Option<Vec<SocketAddr>>,
    pub(crate) proxied_pop3: Vec<SocketAddr>,
    pub(crate) proxied_pop3s: Vec<SocketAddr>,
    #[serde(deserialize_with = "all_parsed")]
    pub(crate) proxies: Vec<Network>,
    #[serde(deserialize_with = "one_or_list")]
    pub(crate) admin: Vec<Place>,
}

/// Who may see the live page over TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Admin {
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) metrics_token_file: Option<PathBuf>,
    pub(crate) hosts: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
    #[serde(default)]
    pub(crate) client_certificates: ClientCertificates,
}

/// Whether clients have to show a certificate, where an authority for that is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCertificates {
    #[default]
    Optional,
    Required,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Auth {
    pub(crate) users: PathBuf,
    /// Words of `restante_auth::directory::KINDS`, each once at the most.
    pub(crate) directories: Vec<String>,
    /// Without it the key is the users file's.
    pub(crate) salt_key_file: Option<PathBuf>,
    pub(crate) cleartext: Cleartext,
    pub(crate) apop: bool,
    pub(crate) mechanisms: Option<Vec<String>>,
    pub(crate) cache_seconds: u32,
}

/// Where a password may come without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cleartext {
    Never,
    Loopback,
    Always,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreKeys {
    #[serde(deserialize_with = "parsed")]
    maildir: Template,
    memory: bool,
    unique_ids: Ids,
}

/// Where the mail is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// In Maildirs, at the path that the template gives for each user.
    Maildir(Template),
    /// In memory.
    Memory,
}

/// Which unique-ids are shown. There is one answer until others are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ids {
    Own,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) connections_per_address: u32,
    pub(crate) login_seconds: u32,
    pub(crate) idle_seconds: u32,
    pub(crate) tls_handshake_seconds: u32,
    pub(crate) write_seconds: u32,
    pub(crate) drain_seconds: u32,
    pub(crate) bad_commands: u8,
    pub(crate) login_failures: u8,
    pub(crate) failure_delay_seconds: u32,
    pub(crate) failure_delay_max_seconds: u32,
    pub(crate) failure_memory_seconds: u32,
    pub(crate) delayed_answers_per_address: usize,
    pub(crate) logins_per_minute_per_address: u32,
    pub(crate) failed_logins_per_minute_per_user: u32,
    pub(crate) logins_per_second: u32,
    pub(crate) login_delay_seconds: u32,
    takeover_idle_seconds: u32,
    verification_threads: Option<NonZeroUsize>,
    pub(crate) verification_queue: usize,
    pub(crate) message_octets: u64,
    pub(crate) index_octets: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) level: Level,
    pub(crate) format: LogFormat,
    /// Without it no session is written down.
    pub(crate) transcripts: Option<PathBuf>,
}

/// The least important messages that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            pop3: vec![SocketAddr::from(([0; 8], 110))],
            pop3s: None,
            proxied_pop3: Vec::new(),
            proxied_pop3s: Vec::new(),
            proxies: Vec::new(),
            admin: vec![Place::Unix(admin::DEFAULT_SOCKET.into())],
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            users: PathBuf::from("/etc/restante/users"),
            directories: vec!["users".to_owned()],
            salt_key_file: None,
            cleartext: Cleartext::Loopback,
            apop: false,
            mechanisms: None,
            cache_seconds: 300,
        }
    }
}

impl Default for StoreKeys {
    #[allow(clippy::expect_used)] // the text is a constant, and every test that reads a configuration runs this line
    fn default() -> Self {
        let maildir = "/var/vmail/{domain}/{local}".parse().expect("a template");
        Self { maildir, memory: false, unique_ids: Ids::Own }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 100,
            login_seconds: 180,
            idle_seconds: 600,
            tls_handshake_seconds: 30,
            write_seconds: 300,
            drain_seconds: 10,
            bad_commands: 20,
            login_failures: 3,
            failure_delay_seconds: 1,
            failure_delay_max_seconds: 15,
            failure_memory_seconds: 600,
            delayed_answers_per_address: 16,
            logins_per_minute_per_address: 300,
            failed_logins_per_minute_per_user: 60,
            logins_per_second: 2000,
            login_delay_seconds: 0,
            takeover_idle_seconds: 60,
            verification_threads: None,
            verification_queue: 64,
            message_octets: 100 << 20,
            index_octets: restante_store::maildir::INDEX_USUAL_OCTETS,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text, transcripts: None }
    }
}

impl Settings {
    /// The server's name: what the file says, else the machine's name, else `localhost`.
    pub(crate) fn hostname(&self) -> String {
        let machine = || {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            keys::host_name(&name).is_ok().then_some(name)
        };
        self.hostname.clone().or_else(machine).unwrap_or_else(|| "localhost".to_owned())
    }

    /// Where TLS from the first byte is listened for: the standard port if nobody says, and nowhere without TLS.
    pub(crate) fn pop3s(&self) -> Vec<SocketAddr> {
        match (&self.listen.pop3s, &self.tls) {
            (Some(addresses), _) => addresses.clone(),
            (None, Some(_)) => vec![SocketAddr::from(([0; 8], 995))],
            (None, None) => Vec::new(),
        }
    }

    /// The users file, if it is one of the directories.
    pub(crate) fn users_file(&self) -> Option<&Path> {
        let is_asked = self.auth.directories.iter().any(|name| name == USERS);
        is_asked.then_some(&self.auth.users)
    }

    /// Where the mail is.
    pub(crate) fn store(&self) -> Store {
        match self.store.memory {
            true => Store::Memory,
            false => Store::Maildir(self.store.maildir.clone()),
        }
    }
}

impl Limits {
    /// After how many idle seconds a session may be taken over; `None`: never.
    pub(crate) fn takeover_idle_seconds(&self) -> Option<u32> {
        Some(self.takeover_idle_seconds).filter(|&seconds| seconds > 0)
    }

    /// How many threads verify passwords.
    pub(crate) fn verification_threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().ok();
        self.verification_threads.or_else(processors).map_or(1, NonZeroUsize::get)
    }
}

/// A configuration that was read and found sound, with the places of its values for errors that come later.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) places: Places,
}

/// Reads and checks a configuration: all that its text can show to be wrong. Files that it names are not touched.
pub(crate) fn load(file: &Path) -> Result<Loaded, Failure> {
    let text = read_text(file)?;
    parse(&file.display().to_string(), &text).map_err(|(places, problems)| fail(&places, &problems))
}

/// The problems of a configuration as a failure, one line each.
pub(crate) fn fail(places: &Places, problems: &[Problem]) -> Failure {
    Failure::several(problems.iter().map(|problem| places.tell(problem)).collect())
}

/// The text of a configuration file.
pub(crate) fn read_text(file: &Path) -> Result<String, Failure> {
    let name = file.display();
    let open = |error: std::io::Error| {
        let failure = Failure::failed(format!("cannot read {name}: {error}"));
        match error.kind() {
            ErrorKind::IsADirectory => {
                failure.hint(format!("name the file in it: {}", file.join("restante.toml").display()))
            }
            ErrorKind::PermissionDenied => failure.hint(owner::permission(file)),
            _ => failure.hint(
                "`restante config default` prints a configuration to begin with; --config FILE names another place",
            ),
        }
    };
    let mut octets = Vec::new();
    File::open(file)
        .and_then(|file| file.take(FILE_MAX_OCTETS + 1).read_to_end(&mut octets))
        .map_err(open)?;
    if octets.len() as u64 > FILE_MAX_OCTETS {
        return Err(Failure::failed(format!(
            "{name} has more than {FILE_MAX_OCTETS} octets; is it a configuration?"
        )));
    }
    String::from_utf8(octets).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
        let position = document::position(&text, good);
        Failure::failed(format!("{name}:{position}: this is not UTF-8; save the file as UTF-8"))
    })
}

/// Reads and checks the text of a configuration; all errors that it has, in the order of the file.
pub(crate) fn parse(file: &str, text: &str) -> Result<Loaded, (Places, Vec<Problem>)> {
    let (places, mut problems) = document::read(file, text);
    if !problems.is_empty() {
        return Err((places, problems));
    }
    check::missing(&places, &mut problems);
    match toml::from_str::<Settings>(text) {
        Ok(settings) => {
            check::together(&settings, &places, &mut problems);
            match problems.is_empty() {
                true => Ok(Loaded { settings, places }),
                false => Err((places, sorted(problems))),
            }
        }
        Err(error) => {
            // The table let pass what the structs refuse: only a missing key of a section can do that.
            if problems.is_empty() {
                let position = error.span().map(|span| document::position(text, span.start));
                problems.push(Problem::new(position, error.message().to_owned()));
            }
            Err((places, sorted(problems)))
        }
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems
}

/// A value that is read from its text form.
fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

/// A list of such values.
fn all_parsed<'de, D: Deserializer<'de>, T: FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

/// One value, or a list of them.
fn one_or_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written<T> {
        One(T),
        List(Vec<T>),
    }
    Ok(match Written::deserialize(from)? {
        Written::One(one) => vec![one],
        Written::List(list) => list,
    })
}
