//! The accounts of `fetch`: those of the configuration file, and the one that a URL on the command line is.
//!
//! What a run does with an account is `restante-fetch`'s business; here text becomes its values.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use restante_client::{
    Client, Credentials, Options, Security, Strength, Timeouts, Transcript, Url,
    tls::{Identity, Pin, TlsOptions, Trust, Version},
};
use restante_fetch::{Account, Keep, Policy, destination};
use restante_proto::Secret;
use serde::Deserialize;

use crate::{
    failure::Failure,
    netrc,
    password::{self, Source},
};

pub(crate) mod oauth;
pub(crate) mod octets;

/// The longest configuration that is read, in octets.
const FILE_MAX_OCTETS: u64 = 1 << 20;

/// The configuration of `fetch`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where the journals are.
    state: Option<PathBuf>,
    #[serde(default)]
    accounts: BTreeMap<String, AccountKeys>,
}

/// The keys of one account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AccountKeys {
    pub(crate) url: String,
    pub(crate) to: String,
    pub(crate) password_command: Option<String>,
    pub(crate) password_env: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) oauth: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret_command: Option<String>,
    pub(crate) client_secret_env: Option<String>,
    pub(crate) client_secret_file: Option<PathBuf>,
    pub(crate) scope: Option<String>,
    pub(crate) tokens: Option<String>,
    pub(crate) keep: KeepKey,
    pub(crate) max_size: Option<String>,
    pub(crate) every: Option<String>,
    pub(crate) mechanism: Option<String>,
    pub(crate) minimum: Option<String>,
    pub(crate) timeout: Option<String>,
    pub(crate) pipelining: Option<bool>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) pin: Vec<String>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) tls13: bool,
    pub(crate) to_password_command: Option<String>,
    pub(crate) to_password_env: Option<String>,
    pub(crate) to_password_file: Option<PathBuf>,
    pub(crate) to_ca_file: Option<PathBuf>,
}

/// `true`, `false`, or a time in quotation marks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "keep is true, false, or a time such as \"30d\"")]
pub(crate) enum KeepKey {
    Bool(bool),
    Text(String),
}

impl Default for KeepKey {
    /// Nothing is deleted unless somebody says so.
    fn default() -> Self {
        Self::Bool(true)
    }
}

/// An account before its password is read and its destination is opened.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) url: Url,
    pub(crate) to: String,
    pub(crate) policy: Policy,
    /// How often it is fetched, where that is said.
    pub(crate) every: Option<Duration>,
    pub(crate) journal: PathBuf,
    /// The journal of the runs that named the URL on the command line.
    former: Option<PathBuf>,
    mechanism: Option<String>,
    minimum: Option<Strength>,
    options: Options,
    password: Option<Source>,
    /// How it signs in, if not by a password.
    pub(crate) oauth: Option<oauth::Oauth>,
    to_password: Option<Source>,
    to_ca_file: Option<PathBuf>,
}

/// All accounts of the configuration file.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    file: PathBuf,
    list: Vec<Configured>,
}

impl Accounts {
    /// Reads the configuration: the file that is named, or `~/.config/restante/fetch.toml`.
    pub(crate) fn read(file: Option<&Path>, state: Option<&Path>) -> Result<Self, Failure> {
        let file = match file {
            Some(file) => file.to_owned(),
            None => folder_of("XDG_CONFIG_HOME", ".config")?.join("restante/fetch.toml"),
        };
        let shown = file.display();
        let text = read_file(&file)?;
        let parsed: File = toml::from_str(&text)
            .map_err(|error| Failure::failed(format!("{shown}: {}", error.to_string().trim_end())))?;
        if parsed.accounts.is_empty() {
            return Err(Failure::failed(format!("{shown} has no accounts")).hint(EXAMPLE));
        }
        let state = match (state, &parsed.state) {
            (Some(state), _) => state.to_owned(),
            (None, Some(state)) => at_home(state)?,
            (None, None) => state_folder()?,
        };
        let mut list = Vec::new();
        let mut problems = Vec::new();
        for (name, keys) in &parsed.accounts {
            match keys.configure(name, &state) {
                Ok(account) => list.push(account),
                Err(failure) => problems.push(format!("{shown}: accounts.{name}: {failure}")),
            }
        }
        if problems.is_empty() { Ok(Self { file, list }) } else { Err(Failure::several(problems)) }
    }

    /// Those of these names, or all of them.
    pub(crate) fn named(&self, names: &[String]) -> Result<Vec<Configured>, Failure> {
        if names.is_empty() {
            return Ok(self.list.clone());
        }
        let find = |name: &String| {
            self.list.iter().find(|account| account.name == *name).cloned().ok_or_else(|| {
                let known: Vec<&str> = self.list.iter().map(|account| account.name.as_str()).collect();
                let near = known
                    .iter()
                    .map(|known| (strsim::normalized_damerau_levenshtein(known, name), *known))
                    .max_by(|a, b| a.0.total_cmp(&b.0));
                let failure = Failure::usage(format!("{} has no account «{name}»", self.file.display()));
                match near {
                    Some((likeness, near)) if likeness > 0.6 => {
                        failure.hint(format!("did you mean «{near}»?"))
                    }
                    _ => failure.hint(format!("it has {}", known.join(", "))),
                }
            })
        };
        names.iter().map(find).collect()
    }
}

/// Whether this way to log in rests on the client certificate.
pub(crate) fn is_by_certificate(way: &str) -> bool {
    way.eq_ignore_ascii_case("EXTERNAL")
}

/// What a first account looks like.
pub(crate) const EXAMPLE: &str = "an account looks like this:\n
[accounts.gmx]
url = \"pop3s://john@pop.gmx.net\"
password_command = \"pass show mail/gmx\"
to = \"maildir:~/Mail\"
keep = \"30d\"              # true (the default), false, or a time behind the delivery
";

impl AccountKeys {
    /// The account that these keys make.
    pub(crate) fn configure(&self, name: &str, state: &Path) -> Result<Configured, Failure> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(legal) {
            return Err(Failure::failed("the name of an account has letters, digits and . - _ @ +"));
        }
        let mut account = self.configure_with(name.to_owned(), state.join(format!("{name}.journal")))?;
        account.check_certificate()?;
        account.former = Some(state.join(journal_of_url(&account.url, &account.to)));
        Ok(account)
    }

    fn configure_with(&self, name: String, journal: PathBuf) -> Result<Configured, Failure> {
        if self.url.is_empty() {
            return Err(Failure::failed(
                "url is missing: where the mail is, such as pop3s://john@pop.example.org",
            ));
        }
        if self.to.is_empty() {
            return Err(Failure::failed("to is missing: where the mail goes, such as maildir:~/Mail"));
        }
        let url = Url::parse(&self.url)?;
        if url.user.is_none() {
            return Err(Failure::usage("the URL names no user: pop3s://user@host"));
        }
        if holds_password(&self.to) {
            return Err(Failure::usage("a password never stands in a destination: others can read it")
                .hint("use to_password_command, to_password_env or to_password_file"));
        }
        let keep: Keep = match &self.keep {
            KeepKey::Bool(keep) => {
                if *keep {
                    Keep::Always
                } else {
                    Keep::No
                }
            }
            KeepKey::Text(text) => text.parse().map_err(|error| Failure::usage(format!("keep: {error}")))?,
        };
        let time = |key: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(crate::duration::parse_long).transpose();
            parsed.map_err(|error| Failure::usage(format!("{key}: {error}")))
        };
        let max_octets = self.max_size.as_deref().map(octets::parse).transpose();
        let max_octets = max_octets.map_err(|error| Failure::usage(format!("max_size: {error}")))?;
        let mut options = Options { tls: self.tls()?, ..Options::default() };
        // It was asked for in the URL.
        options.cleartext_passwords = url.security == Security::None;
        options.pipelining = self.pipelining.unwrap_or(true);
        if let Some(answer) = time("timeout", &self.timeout)? {
            options.timeouts = Timeouts { answer, ..options.timeouts };
        }
        if let Some(mechanism) = &self.mechanism
            && !Client::ways_to_log_in().any(|way| way.eq_ignore_ascii_case(mechanism))
        {
            let ways: Vec<&str> = Client::ways_to_log_in().collect();
            return Err(Failure::usage(format!(
                "mechanism: there is no «{mechanism}»; there are {}",
                ways.join(", ")
            )));
        }
        let minimum = self.minimum.as_deref().map(str::parse::<Strength>).transpose();
        let minimum = minimum.map_err(|error| Failure::usage(format!("minimum: {error}")))?;
        if let (Some(minimum), Some(mechanism)) = (minimum, &self.mechanism)
            && Client::strength_of(mechanism).is_some_and(|strength| strength < minimum)
        {
            return Err(Failure::usage(format!(
                "mechanism: {mechanism} is weaker than the minimum, {minimum}"
            )));
        }
        let oauth = oauth::Oauth::configure(self, &name, &journal, &options.tls)?;
        Ok(Configured {
            name,
            url,
            to: self.to.clone(),
            policy: Policy { keep, max_octets },
            every: time("every", &self.every)?,
            journal,
            former: None,
            mechanism: self.mechanism.clone(),
            minimum,
            options,
            password: one(
                "password",
                [&self.password_command, &self.password_env],
                self.password_file.as_deref(),
            )?,
            oauth,
            to_password: one(
                "to_password",
                [&self.to_password_command, &self.to_password_env],
                self.to_password_file.as_deref(),
            )?,
            to_ca_file: self.to_ca_file.as_deref().map(at_home).transpose()?,
        })
    }

    fn tls(&self) -> Result<TlsOptions, Failure> {
        let pins = self.pin.iter().map(|pin| pin.parse()).collect::<Result<Vec<Pin>, _>>()?;
        let trust = match (&self.ca_file, pins.is_empty()) {
            (Some(_), false) => return Err(Failure::usage("ca_file and pin do not go together")),
            (Some(file), true) => Trust::File(at_home(file)?),
            (None, false) => Trust::Pinned(pins),
            (None, true) => Trust::System,
        };
        let identity = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: at_home(certificate)?, key: at_home(key)? })
            }
            (None, None) => None,
            _ => return Err(Failure::usage("client_certificate and client_key go together")),
        };
        Ok(TlsOptions {
            trust,
            identity,
            min_version: if self.tls13 { Version::Tls13 } else { Version::Tls12 },
            max_version: None,
        })
    }
}

/// Where a password comes from: one place at most.
fn one(
    key: &str,
    [command, environment]: [&Option<String>; 2],
    file: Option<&Path>,
) -> Result<Option<Source>, Failure> {
    let command = command.clone().map(Source::Command);
    let environment = environment.clone().map(Source::Environment);
    let file = file.map(at_home).transpose()?.map(Source::File);
    let mut sources = command.into_iter().chain(environment).chain(file);
    match (sources.next(), sources.next()) {
        (source, None) => Ok(source),
        _ => Err(Failure::usage(format!("{key}_command, {key}_env and {key}_file do not go together"))),
    }
}

impl Configured {
    /// The account of a URL on the command line; its journal is named by server, user and destination.
    pub(crate) fn of_url(keys: &AccountKeys, tls: TlsOptions, state: Option<&Path>) -> Result<Self, Failure> {
        let state = match state {
            Some(state) => state.to_owned(),
            None => state_folder()?,
        };
        let url = Url::parse(&keys.url)?;
        let name = format!("{}@{}", url.user.as_deref().unwrap_or_default(), url.host);
        let journal = state.join(journal_of_url(&url, &keys.to));
        let mut account = keys.configure_with(name, journal)?;
        account.options.tls = tls;
        account.check_certificate()?;
        Ok(account)
    }

    /// The account itself: its password is read, its destination opened.
    pub(crate) fn open(&self, transcript: Option<&Transcript>) -> Result<Account, Failure> {
        // Before anybody is asked for a password.
        let destination = self.destination()?;
        self.adopt_journal()?;
        let user = self.url.user.clone().unwrap_or_default();
        let mut options = self.options.clone();
        options.transcript = transcript.cloned();
        if self.url.security != Security::None {
            // Made once, so that the sessions of all runs resume each other.
            options.tls_config = Some(Arc::new(options.tls.client_config()?));
        }
        Ok(Account {
            name: self.name.clone(),
            url: self.url.clone(),
            credentials: match &self.oauth {
                Some(_) => Credentials::token(user, Vec::new()),
                None if self.has_certificate() => Credentials::certificate(user),
                None => Credentials::new(user, self.password()?),
            },
            tokens: self.oauth.as_ref().map(oauth::Oauth::tokens).transpose()?,
            way: self.mechanism.clone(),
            minimum: self.minimum,
            options,
            policy: self.policy.clone(),
            destination,
            to: destination::Spec::parse(&self.to)
                .map_err(|error| Failure::usage(error.to_string()))?
                .canonical(),
            journal: self.journal.clone(),
        })
    }

    /// Whether a person may be asked for the password.
    pub(crate) fn asks_for_password(&self) -> bool {
        self.password.is_none() && self.oauth.is_none() && !self.has_certificate()
    }

    /// Whether the login is by the client certificate (SASL EXTERNAL), so that there is no password.
    fn has_certificate(&self) -> bool {
        self.mechanism.as_deref().is_some_and(is_by_certificate)
    }

    /// Whoever logs in by a certificate has one.
    fn check_certificate(&self) -> Result<(), Failure> {
        match self.has_certificate() && self.options.tls.identity.is_none() {
            true => Err(Failure::usage("mechanism: EXTERNAL goes with a client certificate")
                .hint("client_certificate and client_key name it, or --client-certificate and --client-key")),
            false => Ok(()),
        }
    }

    /// What was fetched by a URL on the command line is not fetched again when the account comes into the file.
    fn adopt_journal(&self) -> Result<(), Failure> {
        let Some(former) = self.former.as_ref().filter(|former| former.exists() && !self.journal.exists())
        else {
            return Ok(());
        };
        let fail = |error| Failure::failed(format!("cannot rename {}: {error}", former.display()));
        fs::rename(former, &self.journal).map_err(fail)
    }

    /// The password: from where the configuration says, else from `~/.netrc`, else from a prompt.
    fn password(&self) -> Result<Secret<Vec<u8>>, Failure> {
        if let Some(source) = &self.password {
            return source.read();
        }
        if let Some(file) = env::home_dir().map(|home| home.join(".netrc")) {
            let user = self.url.user.as_deref().unwrap_or_default();
            let found = netrc::password(&file, &self.url.host, user);
            let found =
                found.map_err(|error| Failure::failed(format!("cannot read {}: {error}", file.display())))?;
            if let Some(password) = found {
                return Ok(password);
            }
        }
        password::ask_known(&format!("Password for {}", self.name))
    }

    fn destination(&self) -> Result<Arc<dyn destination::Destination>, Failure> {
        let mut spec =
            destination::Spec::parse(&self.to).map_err(|error| Failure::usage(error.to_string()))?;
        spec.password = self.to_password.as_ref().map(Source::read).transpose()?;
        spec.ca_file = self.to_ca_file.clone();
        let opened = destination::open(&spec).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Arc::from(opened))
    }
}

fn read_file(file: &Path) -> Result<String, Failure> {
    let shown = file.display();
    match fs::metadata(file) {
        Ok(meta) if meta.len() > FILE_MAX_OCTETS => {
            Err(Failure::failed(format!("{shown} is larger than 1 MiB")))
        }
        Ok(_) => {
            fs::read_to_string(file).map_err(|error| Failure::failed(format!("cannot read {shown}: {error}")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::failed(format!("there is no {shown}"))
                .hint("without it: restante fetch pop3s://john@pop.example.org --to maildir:~/Mail")
                .hint(EXAMPLE))
        }
        Err(error) => Err(Failure::failed(format!("cannot read {shown}: {error}"))),
    }
}

/// What the journal of a URL on the command line is called: by user, server and destination. The usual ports are one
/// mailbox, by whatever way it is reached.
fn journal_of_url(url: &Url, to: &str) -> String {
    let user = url.user.as_deref().unwrap_or_default();
    let host = match url.port {
        110 | 995 => url.host.to_ascii_lowercase(),
        port => format!("{}:{port}", url.host.to_ascii_lowercase()),
    };
    let legal =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@') { c } else { '_' };
    let shown: String = format!("{user}@{host}").chars().map(legal).take(100).collect();
    // Names that are alike but for such letters differ in the number.
    let sum = twox_hash::XxHash3_64::oneshot(format!("{user}\0{host}\0{}", canonical(to)).as_bytes());
    format!("{shown}-{sum:016x}.journal")
}

/// Whether a destination such as `imaps://john:secret@host/` has a password in it.
fn holds_password(to: &str) -> bool {
    let rest = to.split_once("://").map_or("", |(_, rest)| rest.split('?').next().unwrap_or_default());
    rest.rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':') || user.to_ascii_lowercase().contains("%3a"))
}

/// The destination in a form that is the same however it is written.
fn canonical(to: &str) -> String {
    destination::Spec::parse(to).map_or_else(|_| to.to_owned(), |spec| spec.canonical())
}

/// `~/` at the start is the home directory.
fn at_home(path: &Path) -> Result<PathBuf, Failure> {
    match path.strip_prefix("~") {
        Ok(rest) => Ok(home()?.join(rest)),
        Err(_) => Ok(path.to_owned()),
    }
}

fn home() -> Result<PathBuf, Failure> {
    env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| Failure::failed("there is no home directory").hint("set HOME"))
}

/// A folder by the rules of XDG.
fn folder_of(variable: &str, usual: &str) -> Result<PathBuf, Failure> {
    match env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => Ok(path),
        None => Ok(home()?.join(usual)),
    }
}

/// Where journals are, if nobody says.
pub(crate) fn state_folder() -> Result<PathBuf, Failure> {
    Ok(folder_of("XDG_STATE_HOME", ".local/state")?.join("restante"))
}

/// Where sessions are written down: the first goes to the file, further ones to files beside it: `s.pop3`, `s.2.pop3`.
pub(crate) fn transcript(file: &Path) -> Transcript {
    Transcript::new(sessions(file))
}

/// The files of these sessions, one after the other.
pub(crate) fn sessions(
    file: &Path,
) -> impl Fn() -> io::Result<Box<dyn io::Write + Send>> + Send + Sync + use<> {
    let (file, sessions) = (file.to_owned(), AtomicU32::new(0));
    move || {
        let path = match sessions.fetch_add(1, Ordering::Relaxed) {
            0 => file.clone(),
            before => {
                let extension = file.extension().unwrap_or_default().to_string_lossy();
                file.with_extension(format!("{}.{extension}", before + 1).trim_end_matches('.'))
            }
        };
        fs::File::create(path).map(|file| Box::new(io::BufWriter::new(file)) as Box<dyn io::Write + Send>)
    }
}
