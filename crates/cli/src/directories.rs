//! The directories that the configuration names, opened in its order. A kind is a line in [`OPENERS`] and its functions.
//!
//! What a directory does is `restante_auth`; the words of its section are in `settings`.

use std::sync::Arc;

use restante_auth::{Directories, Directory, MemoryDirectory, Route, UsersFileDirectory};

use crate::{
    failure::Failure,
    settings::{
        self, Settings, Store, check,
        document::{Places, Problem},
    },
};

mod ldap;
#[cfg(feature = "pam")]
mod pam;
mod sql;

/// How a kind of directory is opened.
struct Opener {
    /// A word of `[auth] directories`.
    name: &'static str,
    /// Opens it. Blocking; called before the runtime is there, so that what needs one begins with the first question.
    open: fn(&Settings, &Places) -> Result<Route, Failure>,
    /// Whether nothing has changed that it was opened with, so that it stays over a reload.
    is_same: fn(&Settings, &Settings) -> bool,
    /// What is wrong with it, as far as that can be seen without a server running: for `restante config check`.
    check: fn(&Settings, &Places) -> Vec<Problem>,
}

/// The users file.
pub(crate) const USERS: &str = "users";

/// All kinds; a test holds them and `restante_auth::directory::KINDS` together.
const OPENERS: &[Opener] = &[
    Opener {
        name: USERS,
        open: users,
        is_same: |before, now| before.auth.users == now.auth.users,
        check: check::users_file,
    },
    sql::OPENER,
    ldap::OPENER,
    #[cfg(feature = "pam")]
    pam::OPENER,
    Opener {
        name: "oauth",
        open: oauth,
        is_same: |before, now| before.oauth == now.oauth,
        check: settings::oauth::check,
    },
];

/// Those that the settings name, in order.
fn openers(settings: &Settings) -> impl Iterator<Item = &'static Opener> {
    let named = settings.auth.directories.iter();
    named.filter_map(|name| OPENERS.iter().find(|opener| opener.name == name.as_str()))
}

/// What is wrong with the directories that the settings name.
pub(crate) fn check(settings: &Settings, places: &Places) -> Vec<Problem> {
    openers(settings).flat_map(|opener| (opener.check)(settings, places)).collect()
}

/// What should be known of those that the settings name; `None` also where they cannot be opened, which is told elsewhere.
pub(crate) fn warning(settings: &Settings, places: &Places) -> Option<Problem> {
    Opened::new(settings, places, None).ok()?.salts_betray(settings, places)
}

/// What works, and should be known all the same: told by `restante config check`, and when a server starts.
pub(crate) fn cautions(settings: &Settings, places: &Places) -> Vec<Problem> {
    let is_asked = |name: &str| openers(settings).any(|opener| opener.name == name);
    let mut found = Vec::new();
    if is_asked("sql") {
        found.extend(sql::cautions(settings, places));
    }
    for (name, domains) in without_lists(settings) {
        if is_asked(name) && domains.is_empty() && settings.store() != Store::Memory {
            let text = format!(
                "{name:?} cannot tell who its users are, and has no domains: `restante deliver` takes mail for every name that no \
                 other directory's domains cover, and the mail transfer agent has to refuse unknown recipients itself; write \
                 domains = [\"example.org\"] into [{name}], and give the agent a list of its recipients"
            );
            found.push(places.problem("auth.directories", text));
        }
    }
    found
}

/// The directories that know their users by their passwords or tokens alone, and their domains.
fn without_lists(settings: &Settings) -> Vec<(&'static str, &[String])> {
    vec![
        ("oauth", settings.oauth.domains.as_slice()),
        #[cfg(feature = "pam")]
        ("pam", settings.pam.domains.as_slice()),
    ]
}

/// For delivering: all but the users file, in whose place nobody stands, since it is read there with more care.
pub(crate) fn for_delivery(settings: &Settings, places: &Places) -> Result<Directories, Failure> {
    let open = |opener: &Opener| match opener.name {
        USERS => Ok(Route::new(USERS, Arc::new(MemoryDirectory::default()) as Arc<dyn Directory>)),
        _ => (opener.open)(settings, places),
    };
    Ok(Directories::new(openers(settings).map(open).collect::<Result<_, _>>()?))
}

/// The directories of a server.
#[derive(Debug)]
pub(crate) struct Opened {
    routes: Vec<Route>,
}

impl Opened {
    /// Opens them. One that was open `before`, and whose settings are what they were, stays.
    pub(crate) fn new(
        settings: &Settings,
        places: &Places,
        before: Option<(&Settings, &Self)>,
    ) -> Result<Self, Failure> {
        let kept = |opener: &Opener| {
            let (_, opened) = before.filter(|(then, _)| (opener.is_same)(then, settings))?;
            let is_kind = |route: &&Route| route.name == opener.name;
            opened.routes.iter().find(is_kind).cloned()
        };
        let open = |opener: &'static Opener| match kept(opener) {
            Some(route) => Ok(route),
            None => (opener.open)(settings, places),
        };
        Ok(Self { routes: openers(settings).map(open).collect::<Result<_, _>>()? })
    }

    /// For a verifier.
    pub(crate) fn all(&self) -> Directories {
        Directories::new(self.routes.clone())
    }

    /// Whether these are the same ones, in the same order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&Route, &Route)| Arc::ptr_eq(&one.directory, &other.directory);
        self.routes.len() == other.routes.len() && self.routes.iter().zip(&other.routes).all(same)
    }

    /// Where somebody's keys are kept, and no key for the salts of those who are not there: what follows from that.
    pub(crate) fn salts_betray(&self, settings: &Settings, places: &Places) -> Option<Problem> {
        let offers = |names: &Vec<String>| names.iter().any(|name| name.starts_with("SCRAM-"));
        let is_offered = settings.auth.mechanisms.as_ref().is_none_or(offers);
        let has_key = settings.auth.salt_key_file.is_some()
            || self.routes.iter().any(|route| route.directory.salt_key().is_some());
        if has_key || !is_offered {
            return None;
        }
        let route = self.routes.iter().find(|route| route.directory.keeps_keys())?;
        let (key, more) = match route.name {
            USERS => ("auth.users", "`restante user passwd NAME` writes a salt key into the users file, or "),
            name => (name, ""),
        };
        Some(places.problem(
            key,
            format!(
                "SCRAM's salts tell who is a user: those of users stay, those for names that nobody has are new at each start; \
                 {more}name a file with a salt key as [auth] salt_key_file (`restante config explain salt_key_file`)"
            ),
        ))
    }

    /// Has each of them look again at what it knows, after SIGHUP.
    pub(crate) async fn reload(&self) {
        for route in &self.routes {
            route.directory.reload().await;
        }
    }
}

/// Domains, as names are compared with them.
fn lower_case(domains: &[String]) -> Vec<String> {
    domains.iter().map(|domain| domain.to_ascii_lowercase()).collect()
}

fn users(settings: &Settings, places: &Places) -> Result<Route, Failure> {
    let directory = UsersFileDirectory::open(&settings.auth.users).map_err(|error| {
        settings::fail(places, &[places.problem("auth.users", error.to_string())])
            .hint("`restante user add NAME` makes the users file")
    })?;
    Ok(Route::new(USERS, Arc::new(directory) as Arc<dyn Directory>))
}

fn oauth(settings: &Settings, places: &Places) -> Result<Route, Failure> {
    let directory =
        settings::oauth::directory(settings, places).map_err(|problem| settings::fail(places, &[problem]))?;
    Ok(Route {
        domains: lower_case(&settings.oauth.domains),
        patience: settings.oauth.patience(),
        ..Route::new("oauth", Arc::new(directory) as Arc<dyn Directory>)
    })
}

#[cfg(test)]
mod tests {
    use restante_auth::directory::KINDS;

    use super::*;

    #[test]
    fn each_kind_can_be_opened() {
        let kinds: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(OPENERS.iter().map(|opener| opener.name).collect::<Vec<_>>(), kinds);
    }

    #[test]
    fn what_has_not_changed_stays_over_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        let settings = |file: &str| {
            let path = folder.path().join(file);
            std::fs::write(&path, "").unwrap();
            settings::parse("t.toml", &format!("[auth]\nusers = {path:?}\n")).unwrap()
        };
        let (one, other) = (settings("one"), settings("other"));
        let first = Opened::new(&one.settings, &one.places, None).unwrap();
        let same = Opened::new(&one.settings, &one.places, Some((&one.settings, &first))).unwrap();
        assert!(first.is_same(&same));
        let moved = Opened::new(&other.settings, &other.places, Some((&one.settings, &first))).unwrap();
        assert!(!first.is_same(&moved));
    }
}
