//! Connections to LDAP servers: which of several, TLS, and the three things that are asked.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchOptions};
use restante_proto::Secret;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::SettingsError;
use crate::directory::trust::authorities;

/// How many referrals a search may come with before it is given up; none is followed.
const REFERRALS_MAX: usize = 64;

/// The servers, of which any one will do.
pub(super) struct Servers {
    urls: Vec<String>,
    /// The one that answered last.
    first: AtomicUsize,
    settings: LdapConnSettings,
    /// How long each of them may take to be reached.
    patience: Duration,
}

/// invalidCredentials (RFC 4511 §4.1.9).
const WRONG: u32 = 49;

/// What a search found.
pub(super) enum Entries {
    None,
    One(SearchEntry),
    Several,
}

/// What a bind was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Yes,
    /// Not this user, for the reason that this result tells.
    No(u32),
    /// There is no such entry.
    Gone,
    /// A result that says nothing of the user.
    Odd(u32),
}

impl Bound {
    /// The result, where it is worth telling.
    pub(super) const fn told(self) -> Option<u32> {
        match self {
            Self::No(WRONG) | Self::Yes | Self::Gone | Self::Odd(_) => None,
            Self::No(code) => Some(code),
        }
    }
}

impl Servers {
    /// Reads the settings, and the file of authorities. Blocking.
    pub(super) fn new(settings: &super::Settings) -> Result<Self, SettingsError> {
        if settings.urls.is_empty() {
            return Err(SettingsError::NoUrl);
        }
        settings.urls.iter().try_for_each(|url| super::check_url(url))?;
        let is_local = |url: &String| url.starts_with("ldapi://");
        let is_clear = |url: &String| is_local(url) || (!settings.tls && url.starts_with("ldap://"));
        let mut connection = LdapConnSettings::new().set_starttls(settings.tls);
        if !settings.urls.iter().all(is_clear) {
            connection = connection.set_config(Arc::new(tls(settings)?));
        }
        let count = u32::try_from(settings.urls.len()).unwrap_or(1);
        Ok(Self {
            urls: settings.urls.clone(),
            first: AtomicUsize::new(0),
            settings: connection,
            patience: settings.patience / count,
        })
    }

    /// A connection to the first that answers, beginning with the one that did last.
    pub(super) async fn connect(&self) -> io::Result<Ldap> {
        let first = self.first.load(Ordering::Relaxed);
        let mut failure = io::Error::other("no server is named");
        for step in 0..self.urls.len() {
            let index = (first + step) % self.urls.len();
            let Some(url) = self.urls.get(index) else { continue };
            match timeout(self.patience, LdapConnAsync::with_settings(self.settings.clone(), url)).await {
                Ok(Ok((connection, ldap))) => {
                    self.first.store(index, Ordering::Relaxed);
                    // It ends with the last handle.
                    tokio::spawn(async move {
                        if let Err(error) = connection.drive().await {
                            tracing::debug!(%error, "a connection to an LDAP server ended");
                        }
                    });
                    return Ok(ldap);
                }
                Ok(Err(error)) => failure = io::Error::other(format!("{url}: {error}")),
                Err(_) => {
                    let text = format!("{url} did not answer within {} ms", self.patience.as_millis());
                    failure = io::Error::new(io::ErrorKind::TimedOut, text);
                }
            }
        }
        Err(failure)
    }
}

fn tls(settings: &super::Settings) -> Result<ClientConfig, SettingsError> {
    let mut roots = RootCertStore::empty();
    let (_, _) = roots.add_parsable_certificates(authorities(settings.ca_file.as_deref())?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| SettingsError::Tls(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Binds. The caller has seen to it that the password is not empty: that would be a bind of nobody, which succeeds
/// (RFC 4513 §5.1.2).
pub(super) async fn bind(ldap: &mut Ldap, dn: &str, password: &Secret<String>) -> io::Result<Bound> {
    if dn.is_empty() || password.expose().is_empty() {
        return Ok(Bound::No(WRONG));
    }
    let result = ldap.simple_bind(dn, password.expose()).await.map_err(|error| told(&error))?;
    Ok(bound(result.rc))
}

/// What the result of a bind means (RFC 4511, appendix A).
const fn bound(code: u32) -> Bound {
    match code {
        0 => Bound::Yes,
        // Of this user: wrong, none, locked, not allowed. Not 53: the server takes no binds now, whosever password it is.
        code @ (19 | 48 | WRONG | 50) => Bound::No(code),
        32 => Bound::Gone,
        code => Bound::Odd(code),
    }
}

/// Searches for the one entry.
pub(super) async fn search(
    ldap: &mut Ldap,
    base: &str,
    filter: &str,
    attributes: Vec<String>,
    patience: Duration,
) -> io::Result<Entries> {
    let seconds = i32::try_from(patience.as_secs()).unwrap_or(0).max(1);
    let options = SearchOptions::new().sizelimit(2).timelimit(seconds);
    let search = ldap.with_search_options(options).streaming_search(base, Scope::Subtree, filter, attributes);
    let mut stream = search.await.map_err(|error| told(&error))?;
    let (mut found, mut others) = (None, 0);
    while let Some(entry) = stream.next().await.map_err(|error| told(&error))? {
        if entry.is_ref() || entry.is_intermediate() {
            others += 1;
            if others > REFERRALS_MAX {
                return Err(io::Error::other("a search was answered with too many referrals"));
            }
            continue;
        }
        if found.is_some() {
            return Ok(Entries::Several);
        }
        // The library panics where an entry is malformed.
        let read = catch_unwind(AssertUnwindSafe(|| SearchEntry::construct(entry)));
        found = Some(read.map_err(|_| io::Error::other("a search was answered with a malformed entry"))?);
    }
    match (stream.finish().await.rc, found) {
        (0, Some(entry)) => Ok(Entries::One(entry)),
        (0, None) => Ok(Entries::None),
        (4, _) => Ok(Entries::Several),
        (32, _) => Err(io::Error::other("the base is not there")),
        (10, _) => Err(io::Error::other("the server refers to another one, which is not asked")),
        (code, _) => Err(io::Error::other(format!("a search was answered with the result {code}"))),
    }
}

fn told(error: &LdapError) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_unwilling_says_nothing_of_the_password() {
        assert_eq!([0, 19, 32].map(bound), [Bound::Yes, Bound::No(19), Bound::Gone]);
        assert_eq!(bound(WRONG), Bound::No(WRONG));
        // Busy, unavailable, unwilling to perform, other.
        assert_eq!([51, 52, 53, 80].map(bound), [51, 52, 53, 80].map(Bound::Odd));
    }
}
