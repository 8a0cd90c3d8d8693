//! Users in an LDAP directory (RFC 4511): a search finds the entry, a bind as that entry tells whether the password is
//! right. No password of a user is ever read.
//!
//! Searches and binds have connections of their own, so that a search never runs with a user's rights. Referrals are
//! not followed: they would take passwords to whom nobody named.
//!
//! For somebody who is not there a bind is made all the same, as an entry that nobody has, so that an answer takes no less
//! time. What remains visible is what the server itself does with passwords: where it stores slow hashes, it computes them
//! for its users alone.

use std::{
    collections::VecDeque,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use ldap3::{Ldap, SearchEntry};
use restante_proto::{Secret, UserName};
use restante_sasl::Needs;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout},
};

mod filter;
mod server;

pub use filter::FilterError;

use self::{
    filter::Filter,
    server::{Bound, Entries, Servers, bind, search},
};
use super::{
    Account, Check, Directory, Entry, Kind, Lookup, LookupError, PATIENCE_DEFAULT, SecretError, SecretText,
    Task, TrustError, connections::Connections, values,
};
use crate::{scheme::StoredPassword, stranger::SaltKey};

/// An LDAP directory, for the registry.
pub(super) const KIND: Kind = Kind { name: "ldap", doc: "an LDAP directory" };

/// How many connections of either kind there are at most, if nobody says otherwise.
pub const CONNECTIONS_DEFAULT: usize = 4;

/// For how long an entry that a lookup found serves the check of its password.
const FOUND_LASTS: Duration = Duration::from_secs(5);

/// How many entries are kept for that.
const FOUND_MAX: usize = 256;

/// Where users are looked up, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers: `ldap://`, `ldaps://` or `ldapi://` with a percent-encoded path.
    pub urls: Vec<String>,
    /// Whether `ldap://` goes on only after StartTLS (RFC 4511 §4.14).
    pub tls: bool,
    /// A file of certificates, in PEM, of those who may vouch for the servers; else the system's.
    pub ca_file: Option<PathBuf>,
    /// As whom the search is made; as nobody where it is `None`.
    pub bind_dn: Option<String>,
    /// The password of that.
    pub bind_password: Option<SecretText>,
    /// Below which entry users are.
    pub base: String,
    /// Which entry is a user's, with `{user}`, `{local}` and `{domain}` in it.
    pub filter: String,
    /// The attribute that says where the mail is.
    pub maildir_attribute: Option<String>,
    /// The attribute that says how many seconds are between two logins.
    pub login_delay_attribute: Option<String>,
    /// The attribute that says how the user is called from then on.
    pub name_attribute: Option<String>,
    /// Whether the filter leaves out users who are locked, so that a certificate in a user's name may do without a bind.
    pub certificates: bool,
    /// How many connections there may be at once, for searches and for binds each.
    pub connections: usize,
    /// How long an answer may take, connecting included.
    pub patience: Duration,
}

impl Settings {
    /// Settings with the usual bounds, a search as nobody, and TLS.
    pub fn new(urls: &[&str], base: &str, filter: &str) -> Self {
        Self {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            tls: true,
            ca_file: None,
            bind_dn: None,
            bind_password: None,
            base: base.to_owned(),
            filter: filter.to_owned(),
            maildir_attribute: None,
            login_delay_attribute: None,
            name_attribute: None,
            certificates: false,
            connections: CONNECTIONS_DEFAULT,
            patience: PATIENCE_DEFAULT,
        }
    }
}

/// What is wrong with settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No server.
    #[error("no server is named")]
    NoUrl,
    /// No URL of a server.
    #[error("{0:?} is no server; write ldap://host, ldaps://host:port, or ldapi://%2Fpath%2Fto%2Fsocket")]
    Url(String),
    /// One without the other.
    #[error("bind_dn and bind_password_file come together")]
    HalfBind,
    /// The filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The file of the password cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody can be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// TLS cannot be had.
    #[error("TLS: {0}")]
    Tls(String),
}

/// What is wrong with the URL of a server.
pub fn check_url(url: &str) -> Result<(), SettingsError> {
    let rest = ["ldap://", "ldaps://", "ldapi://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let host = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    match host {
        Some(host)
            if !host.is_empty()
                && !host.contains('@')
                && rest.is_some_and(|rest| rest.trim_end_matches('/') == host) =>
        {
            Ok(())
        }
        _ => Err(SettingsError::Url(url.to_owned())),
    }
}

/// What is wrong with a filter.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    Filter::new(filter).map(|_| ())
}

/// Users in an LDAP directory.
pub struct LdapDirectory {
    settings: Settings,
    place: RwLock<Arc<Place>>,
    /// What lookups found a moment ago, or that there is nobody, so that checks need not search once more.
    found: Mutex<VecDeque<(UserName, Option<Found>, Instant)>>,
    /// As whom those bind who are not there.
    nobody: String,
}

/// The servers, and the connections to them.
struct Place {
    servers: Servers,
    filter: Filter,
    bind_password: Option<Secret<String>>,
    searches: Connections<Ldap>,
    binds: Connections<Ldap>,
}

/// A user's entry.
#[derive(Clone)]
struct Found {
    dn: String,
    account: Account,
}

impl Place {
    fn new(settings: &Settings) -> Result<Self, SettingsError> {
        if settings.bind_dn.is_some() != settings.bind_password.is_some() {
            return Err(SettingsError::HalfBind);
        }
        Ok(Self {
            servers: Servers::new(settings)?,
            filter: Filter::new(&settings.filter)?,
            bind_password: settings.bind_password.as_ref().map(SecretText::read).transpose()?,
            searches: Connections::new(settings.connections),
            binds: Connections::new(settings.connections),
        })
    }

    /// A connection for searches.
    async fn connect(&self, settings: &Settings) -> io::Result<Ldap> {
        let mut ldap = self.servers.connect().await?;
        if let (Some(dn), Some(password)) = (&settings.bind_dn, &self.bind_password)
            && bind(&mut ldap, dn, password).await? != Bound::Yes
        {
            return Err(io::Error::other("the server refuses the bind of bind_dn"));
        }
        Ok(ldap)
    }
}

impl LdapDirectory {
    /// Reads the settings, and the files that they name; no server is asked yet. Blocking.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let place = RwLock::new(Arc::new(Place::new(settings)?));
        // Hexadecimal digits, which mean nothing in a distinguished name (RFC 4514 §2.4).
        let nobody = format!("cn={:.32},{}", SaltKey::random().mark(""), settings.base);
        Ok(Self { settings: settings.clone(), place, found: Mutex::default(), nobody })
    }

    fn place(&self) -> Arc<Place> {
        Arc::clone(&self.place.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn bounded<T>(&self, task: impl Future<Output = io::Result<T>>) -> Result<T, LookupError> {
        let hangs = |_| LookupError::Hangs { directory: KIND.name, patience: self.settings.patience };
        let broken = |source| LookupError::Broken { context: "the LDAP server".to_owned(), source };
        timeout(self.settings.patience, task).await.map_err(hangs)?.map_err(broken)
    }

    /// Looks for the entry, by a connection that is there or by a new one.
    async fn find(&self, user: &UserName) -> io::Result<Option<Found>> {
        let there = self.place();
        let Some(place) = there.searches.place().await else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let filter = there.filter.of(user);
        let (base, patience) = (&self.settings.base, self.settings.patience);
        let mut answer = None;
        if let Some(mut ldap) = place.take() {
            match search(&mut ldap, base, &filter, self.attributes(), patience).await {
                Ok(entries) => answer = Some((ldap, entries)),
                Err(_) => place.forget_others(),
            }
        }
        let (ldap, entries) = match answer {
            Some(answer) => answer,
            None => {
                let mut ldap = there.connect(&self.settings).await?;
                let entries = search(&mut ldap, base, &filter, self.attributes(), patience).await?;
                (ldap, entries)
            }
        };
        match entries {
            Entries::None => {
                place.give_back(ldap);
                Ok(None)
            }
            Entries::One(entry) => {
                place.give_back(ldap);
                self.read(user, &entry).map(Some)
            }
            Entries::Several => Err(io::Error::other("the filter finds more than one entry for one name")),
        }
    }

    fn attributes(&self) -> Vec<String> {
        let Settings { maildir_attribute, login_delay_attribute, name_attribute, .. } = &self.settings;
        let named: Vec<_> = [maildir_attribute, login_delay_attribute, name_attribute]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        // "1.1" is no attribute at all (RFC 4511 §4.5.1.8), and nothing would be all of them.
        if named.is_empty() { vec!["1.1".to_owned()] } else { named }
    }

    /// What an entry says. Attributes are compared without case.
    fn read(&self, user: &UserName, entry: &SearchEntry) -> io::Result<Found> {
        if entry.dn.is_empty() {
            return Err(io::Error::other("a search was answered with an entry that has no name"));
        }
        let value = |attribute: &Option<String>| {
            let attribute = attribute.as_ref()?;
            let texts = entry.attrs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
            texts.flat_map(|(_, values)| values).next().filter(|value| !value.is_empty())
        };
        let wrong = |attribute: &Option<String>, problem: values::ValueError| {
            let attribute = attribute.as_deref().unwrap_or_default();
            let text = format!("the entry of {user}: the attribute {attribute} holds {problem}");
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let Settings { maildir_attribute, login_delay_attribute, name_attribute, .. } = &self.settings;
        let maildrop = value(maildir_attribute).map(|text| values::maildir(text.as_bytes())).transpose();
        let delay = value(login_delay_attribute).map(|text| values::login_delay(text.as_bytes())).transpose();
        let name = value(name_attribute).map(|text| values::name(text.as_bytes())).transpose();
        let account = Account {
            name: name.map_err(|problem| wrong(name_attribute, problem))?.unwrap_or_else(|| user.clone()),
            maildrop: maildrop.map_err(|problem| wrong(maildir_attribute, problem))?,
            login_delay: delay.map_err(|problem| wrong(login_delay_attribute, problem))?,
        };
        Ok(Found { dn: entry.dn.clone(), account })
    }

    fn keep(&self, user: &UserName, found: Option<Found>) {
        let now = Instant::now();
        let mut kept = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(name, _, since)| name != user && now.duration_since(*since) < FOUND_LASTS);
        if kept.len() >= FOUND_MAX {
            kept.pop_front();
        }
        kept.push_back((user.clone(), found, now));
    }

    fn kept(&self, user: &UserName) -> Option<Option<Found>> {
        let now = Instant::now();
        let mut kept = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, _, since)| now.duration_since(*since) < FOUND_LASTS);
        let at = kept.iter().position(|(name, ..)| name == user)?;
        kept.remove(at).map(|(_, found, _)| found)
    }

    /// Whether a bind with this password succeeds.
    async fn compare(&self, user: &UserName, password: &Secret<Vec<u8>>) -> io::Result<Check> {
        let found = match self.kept(user) {
            Some(found) => found,
            None => self.find(user).await?,
        };
        let dn = found.as_ref().map_or(&self.nobody, |found| &found.dn);
        // A bind without a password is one of nobody, and succeeds (RFC 4513 §5.1.2): it is never tried. What is no
        // UTF-8, or has a NUL, which some servers take for its end, is nobody's password either (RFC 4513 §5.1.3).
        let Some(password) = std::str::from_utf8(password.expose())
            .ok()
            .filter(|password| !password.is_empty() && !password.contains('\0'))
        else {
            return Ok(if found.is_some() { Check::Wrong } else { Check::Unknown });
        };
        // What nobody binds with is not the given password: that may be right in another directory.
        let password = match found {
            Some(_) => password.to_owned(),
            None => "-".repeat(password.len()),
        };
        let password = Secret::new(password);
        let there = self.place();
        let Some(place) = there.binds.place().await else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut bound = None;
        if let Some(mut ldap) = place.take() {
            match bind(&mut ldap, dn, &password).await {
                Ok(answer) => bound = Some((ldap, answer)),
                Err(_) => place.forget_others(),
            }
        }
        let (ldap, bound) = match bound {
            Some(bound) => bound,
            None => {
                let mut ldap = there.servers.connect().await?;
                let bound = bind(&mut ldap, dn, &password).await?;
                (ldap, bound)
            }
        };
        place.give_back(ldap);
        let Some(found) = found else { return Ok(Check::Unknown) };
        if let Some(code) = bound.told() {
            let dn = &found.dn;
            tracing::info!(dn, code, "the LDAP server refuses a bind for another reason than the password");
        }
        match bound {
            Bound::Yes => Ok(Check::Right(Box::new(found.account))),
            Bound::No(_) => Ok(Check::Wrong),
            Bound::Gone => Ok(Check::Unknown),
            Bound::Odd(code) => Err(io::Error::other(format!("a bind was answered with the result {code}"))),
        }
    }
}

impl Directory for LdapDirectory {
    fn lookup<'a>(&'a self, user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        Box::pin(async {
            let found = self.bounded(self.find(user)).await?;
            let account = found.as_ref().map(|found| found.account.clone());
            self.keep(user, found);
            Ok(account.map_or(Lookup::Unknown, |account| {
                Lookup::Known(Box::new(Entry { account, password: None, keys: Vec::new() }))
            }))
        })
    }

    fn check<'a>(
        &'a self,
        user: &'a UserName,
        password: &'a Secret<Vec<u8>>,
    ) -> Task<'a, Result<Check, LookupError>> {
        Box::pin(self.bounded(self.compare(user, password)))
    }

    fn can(&self, needs: Needs) -> bool {
        match needs {
            Needs::Password => true,
            // A server that locks a user refuses the bind, which nobody makes then.
            Needs::Certificate => self.settings.certificates,
            _ => false,
        }
    }

    fn stand_in(&self, _name: &str) -> Option<StoredPassword> {
        None
    }

    /// The files of secrets and certificates are read again.
    fn reload(&self) -> Task<'_, ()> {
        Box::pin(async {
            let settings = self.settings.clone();
            match spawn_blocking(move || Place::new(&settings)).await {
                Ok(Ok(place)) => {
                    *self.place.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(place);
                }
                Ok(Err(error)) => tracing::warn!("[ldap] stays as it was: {error}"),
                Err(error) => tracing::error!(%error, "[ldap] was not read again"),
            }
        })
    }
}

impl fmt::Debug for LdapDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapDirectory").field("urls", &self.settings.urls).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_taken_only_where_the_filter_leaves_locked_users_out() {
        let settings = Settings { tls: false, ..Settings::new(&["ldap://localhost"], "o=a", "(uid={user})") };
        let can = |settings: &Settings| {
            let directory = LdapDirectory::new(settings).unwrap();
            [Needs::Password, Needs::Certificate, Needs::Plaintext].map(|needs| directory.can(needs))
        };
        assert_eq!(can(&settings), [true, false, false]);
        assert_eq!(can(&Settings { certificates: true, ..settings }), [true, true, false]);
    }

    #[test]
    fn nobodys_entry_is_below_the_base_and_cannot_be_guessed() {
        let settings = Settings { tls: false, ..Settings::new(&["ldap://localhost"], "o=a", "(uid={user})") };
        let nobody = || LdapDirectory::new(&settings).unwrap().nobody;
        let (one, other) = (nobody(), nobody());
        assert_ne!(one, other);
        let digits = one.strip_prefix("cn=").and_then(|rest| rest.strip_suffix(",o=a")).unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|octet| octet.is_ascii_hexdigit()), "{one}");
    }

    #[tokio::test]
    async fn what_a_lookup_found_serves_one_check() {
        let settings = Settings { tls: false, ..Settings::new(&["ldap://localhost"], "o=a", "(uid={user})") };
        let directory = LdapDirectory::new(&settings).unwrap();
        let ann = UserName::new("ann").unwrap();
        let found = Found { dn: "uid=ann,o=a".to_owned(), account: Account::new(ann.clone()) };
        directory.keep(&ann, None);
        directory.keep(&ann, Some(found));
        assert!(matches!(directory.kept(&ann), Some(Some(_))), "the last lookup counts");
        assert!(directory.kept(&ann).is_none());
        directory.keep(&ann, None);
        assert!(matches!(directory.kept(&ann), Some(None)));
    }
}
