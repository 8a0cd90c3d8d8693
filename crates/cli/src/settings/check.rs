//! What only several values together, or the machine, can show to be wrong. Single values are checked by the table.

use std::{collections::BTreeSet, fs, io::ErrorKind, path::Path, sync::Arc};

use restante_auth::users::{
    LineError,
    edit::{self, EditError},
};
use restante_server::{ClientCertificates, TlsConfig, TlsError, server_config_with};
use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};

use restante_admin::Place;

use super::{
    Cleartext, Listen, Settings, Store, Tls,
    admin::DEFAULT_SOCKET,
    document::{Places, Problem},
    owner, salt_key,
};

pub(crate) use super::{
    admin::access,
    warnings::{risks, warnings},
};
use crate::directories;

/// Keys that must come in pairs: told here in words, because the structs cannot be made without both.
pub(super) fn missing(places: &Places, problems: &mut Vec<Problem>) {
    if places.has("tls") && !places.has("tls.certificate") && !places.has("tls.key") {
        problems
            .push(places.problem("tls", "[tls] needs certificate and key; without TLS remove the section"));
    }
    for (there, absent, what) in [
        ("tls.certificate", "tls.key", "key = \"/…/key.pem\", its private key,"),
        ("tls.key", "tls.certificate", "certificate = \"/…/cert.pem\""),
    ] {
        if places.has(there) && !places.has(absent) {
            problems.push(places.problem(there, format!("{what} is missing in [tls]")));
        }
    }
}

/// Values that contradict each other.
pub(super) fn together(settings: &Settings, places: &Places, problems: &mut Vec<Problem>) {
    let mut found = |key: &str, message: &str| problems.push(places.problem(key, message));
    let pop3s = settings.pop3s();
    if settings.tls.is_none() && !pop3s.is_empty() {
        let fix = "pop3s needs a certificate; add [tls] with certificate and key, or remove pop3s";
        found("listen.pop3s", fix);
    }
    if settings.tls.is_none() && settings.auth.cleartext == Cleartext::Never {
        let fix = "without TLS and without passwords in clear nobody could log in; add [tls] with certificate and key, \
                   or write cleartext = \"loopback\"";
        found("auth.cleartext", fix);
    }
    let Listen { pop3, proxied_pop3, proxied_pop3s, proxies, .. } = &settings.listen;
    if settings.tls.is_none() && !proxied_pop3s.is_empty() {
        let fix =
            "proxied_pop3s needs a certificate; add [tls] with certificate and key, or remove proxied_pop3s";
        found("listen.proxied_pop3s", fix);
    }
    for (key, list) in [("listen.proxied_pop3", proxied_pop3), ("listen.proxied_pop3s", proxied_pop3s)] {
        if !list.is_empty() && proxies.is_empty() {
            found(
                key,
                "nobody could come in here; write from where the proxies come: proxies = [\"127.0.0.1\"]",
            );
        }
    }
    if [pop3, &pop3s, proxied_pop3, proxied_pop3s].iter().all(|list| list.is_empty()) {
        found(
            "listen.pop3",
            "the server would listen nowhere; give pop3 or pop3s an address, such as \"[::]:110\"",
        );
    }
    super::admin::together(settings, &mut found);
    super::directories::together(settings, places, &mut found);
    let mut seen = BTreeSet::new();
    let lists = [
        ("listen.pop3", pop3),
        ("listen.pop3s", &pop3s),
        ("listen.proxied_pop3", proxied_pop3),
        ("listen.proxied_pop3s", proxied_pop3s),
    ];
    for (key, address) in lists.iter().flat_map(|(key, list)| list.iter().map(move |address| (key, address)))
    {
        // Port 0 is "any that is free", and may stand there twice.
        if address.port() != 0 && !seen.insert(address) {
            found(key, &format!("{address} is listed twice; remove one of them"));
        }
    }
    let directories = &settings.auth.directories;
    if directories.is_empty() {
        found(
            "auth.directories",
            "without a directory nobody can log in; write [\"users\"] for the users file",
        );
    }
    for (at, name) in directories.iter().enumerate() {
        if directories.iter().take(at).any(|earlier| earlier == name) {
            found("auth.directories", &format!("{name:?} is listed twice; remove one of them"));
        }
    }
    if places.has("store.maildir") && settings.store() == Store::Memory {
        found("store.memory", "there is one store, and maildir is set too; remove one of the two");
    }
    // The default of one may be more than a small value of the other: only where both were written are they wrong.
    let limits = &settings.limits;
    for (small, large, is_wrong) in [
        ("connections_per_address", "connections", limits.connections_per_address > limits.connections),
        (
            "failure_delay_seconds",
            "failure_delay_max_seconds",
            limits.failure_delay_seconds > limits.failure_delay_max_seconds,
        ),
    ] {
        let key = format!("limits.{small}");
        if is_wrong && places.has(&key) && places.has(&format!("limits.{large}")) {
            found(&key, &format!("{small} is more than {large}, its bound"));
        }
    }
}

/// The server's side of TLS, where there is one.
pub(crate) fn tls(settings: &Settings, places: &Places) -> Result<Option<Arc<TlsConfig>>, Problem> {
    let Some(Tls { certificate, key, client_ca, client_certificates }) = &settings.tls else {
        return Ok(None);
    };
    let clients = client_ca.as_ref().map(|authorities| ClientCertificates {
        authorities: authorities.clone(),
        required: *client_certificates == super::ClientCertificates::Required,
    });
    server_config_with(certificate, key, clients.as_ref()).map(Some).map_err(|error| {
        let at = match &error {
            TlsError::Pem { path, .. } | TlsError::Authority { path, .. }
                if Some(path) == client_ca.as_ref() =>
            {
                "tls.client_ca"
            }
            TlsError::Pem { path, .. } if path == key && path != certificate => "tls.key",
            TlsError::Pem { .. } => "tls.certificate",
            TlsError::Unusable { .. } => "tls.key",
            TlsError::Authority { .. } => "tls.client_ca",
        };
        places.problem(at, error.to_string())
    })
}

/// What is wrong with the files that the settings name, as this user sees them.
pub(crate) fn files(settings: &Settings, places: &Places) -> Vec<Problem> {
    let mut problems: Vec<Problem> = tls(settings, places).err().into_iter().collect();
    problems.extend(directories::check(settings, places));
    problems.extend(roots(settings, places));
    problems.extend(transcripts(settings, places));
    problems.extend(access(settings, places).err());
    problems.extend(salt_key::read(settings, places).err());
    problems.extend(sockets(settings, places));
    problems
}

/// What is wrong with the users file.
pub(crate) fn users_file(settings: &Settings, places: &Places) -> Vec<Problem> {
    let users = &settings.auth.users;
    match edit::list(users) {
        Ok((_, damaged)) => {
            let line = |error: LineError| Problem {
                elsewhere: Some((users.display().to_string(), error.line)),
                ..places.problem("auth.users", error.problem.to_string())
            };
            // Who is locked out on purpose is nobody's mistake.
            damaged.into_iter().filter(|error| !error.is_locked_out()).map(line).collect()
        }
        Err(error) => {
            let hint = match &error {
                EditError::Io { source, .. } => match source.kind() {
                    ErrorKind::NotFound => "; `restante user add NAME` makes the users file".to_owned(),
                    ErrorKind::PermissionDenied => format!("; {}", owner::permission(users)),
                    _ => String::new(),
                },
                _ => String::new(),
            };
            vec![places.problem_of_value("auth.users", format!("{error}{hint}"))]
        }
    }
}

/// What is wrong with the folders of admin sockets that were asked for; without the default's the server runs.
fn sockets(settings: &Settings, places: &Places) -> Vec<Problem> {
    let is_default = settings.listen.admin == [Place::Unix(DEFAULT_SOCKET.into())];
    let wrong = settings.listen.admin.iter().filter(|_| !is_default).filter_map(|place| {
        let Place::Unix(path) = place else { return None };
        let folder = path.parent()?;
        let shown = folder.display();
        match accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => None,
            Err(Errno::NOENT) => Some(format!(
                "the folder {shown} is not there (systemd: RuntimeDirectory=restante makes /run/restante; by hand: \
                 `install -d -m 0750 {shown}`)"
            )),
            Err(error) => Some(format!(
                "no socket can be made in {shown}: {error}; {}, or give it to the user who runs the server: `chown {} {shown}`",
                owner::permission(folder),
                owner::me()
            )),
        }
    });
    wrong.map(|message| places.problem("listen.admin", message)).collect()
}

/// What is wrong with the folder that holds all maildrops.
pub(crate) fn roots(settings: &Settings, places: &Places) -> Vec<Problem> {
    let Store::Maildir(template) = settings.store() else { return Vec::new() };
    let wrong = folder(template.root()).err();
    wrong.into_iter().map(|message| places.problem_of_value("store.maildir", message)).collect()
}

/// What is wrong with the folder that transcripts go into.
pub(crate) fn transcripts(settings: &Settings, places: &Places) -> Option<Problem> {
    let path = settings.log.transcripts.as_deref()?;
    let shown = path.display();
    let mend = || format!("`install -d -o vmail -m 0700 {shown}` makes it, for the user who runs the server");
    let wrong = match fs::metadata(path) {
        Ok(found) if !found.is_dir() => format!("{shown} is no directory; transcripts go into one"),
        Ok(_) => {
            let (may, as_who) = (Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
            let error = accessat(CWD, path, may, as_who).err()?;
            let mend = match error {
                Errno::ROFS => format!("mount it for writing (systemd: ReadWritePaths={shown})"),
                _ => {
                    let (whose, me) = (owner::permission(path), owner::me());
                    format!("{whose}, or give it to the user who runs the server: `chown {me} {shown}`")
                }
            };
            format!("transcripts cannot be written into {shown}: {error}; {mend}")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            format!("{shown}, where transcripts go, is not there; {}", mend())
        }
        Err(error) => {
            format!("cannot look into {shown}, where transcripts go: {error}; {}", owner::permission(path))
        }
    };
    Some(places.problem_of_value("log.transcripts", wrong))
}

fn folder(path: &Path) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(format!("{} is no directory", path.display())),
        Err(error) => {
            let (path, hint) = (
                path.display(),
                match error.kind() {
                    ErrorKind::NotFound => {
                        format!(
                            "; make it for the user who owns the mail: `install -d -o vmail {}`",
                            path.display()
                        )
                    }
                    ErrorKind::PermissionDenied => format!("; {}", owner::permission(path)),
                    _ => String::new(),
                },
            );
            Err(format!("cannot look into {path}, which holds all maildrops: {error}{hint}"))
        }
    }
}
