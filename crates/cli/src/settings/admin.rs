//! Who may see the live page: the token's file, read as secret files are, and what to know about places that others reach.

use std::path::{Path, PathBuf};

use restante_admin::{Access, Place};
use restante_proto::Secret;

use super::{
    Settings,
    document::{Places, Problem},
    secret_file,
};

/// The shortest token, in octets: what nobody guesses.
const TOKEN_MIN_OCTETS: usize = 16;
/// The longest, in octets.
const TOKEN_MAX_OCTETS: u64 = 1024;

/// The unix socket if nobody says: what systemd's `RuntimeDirectory=restante` makes room for.
pub(crate) const DEFAULT_SOCKET: &str = "/run/restante/admin.sock";

/// Who may come in; the token is read where there is a file for it.
pub(crate) fn access(settings: &Settings, places: &Places) -> Result<Access, Problem> {
    let read = |file: &Option<PathBuf>, key: &str| {
        let token = file.as_deref().map(token).transpose();
        token.map_err(|wrong| places.problem_of_value(key, wrong))
    };
    let admin = &settings.admin;
    Ok(Access {
        token: read(&admin.token_file, "admin.token_file")?,
        metrics_token: read(&admin.metrics_token_file, "admin.metrics_token_file")?,
        hosts: admin.hosts.clone(),
    })
}

fn token(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    let shown = path.display();
    let make = || {
        format!("`(umask 077; openssl rand -hex 24 > {shown})` makes it, for the user who runs the server")
    };
    let line = secret_file::first_line(path, "the token of the live page", TOKEN_MAX_OCTETS, &make)?;
    let line = line.expose();
    if line.len() < TOKEN_MIN_OCTETS {
        return Err(format!(
            "the token in {shown} must have {TOKEN_MIN_OCTETS} to {TOKEN_MAX_OCTETS} characters; {}",
            make()
        ));
    }
    match line.iter().all(u8::is_ascii_graphic) {
        true => Ok(Secret::new(line.clone())),
        false => Err(format!(
            "the token in {shown} has characters that no request can carry; write letters and digits"
        )),
    }
}

/// Places that need a token, and have none.
pub(super) fn together(settings: &Settings, found: &mut impl FnMut(&str, &str)) {
    let has_tcp = settings.listen.admin.iter().any(|place| matches!(place, Place::Tcp(_)));
    if has_tcp && settings.admin.token_file.is_none() {
        found(
            "listen.admin",
            "a TCP address needs a token; add [admin] token_file = \"/etc/restante/admin-token\", or use a unix socket",
        );
    }
}

/// What should be known.
pub(crate) fn warnings(settings: &Settings, places: &Places) -> Vec<Problem> {
    let open = settings.listen.admin.iter().filter_map(|place| match place {
        Place::Tcp(address) if !address.ip().is_loopback() => Some(address),
        Place::Tcp(_) | Place::Unix(_) => None,
    });
    open.map(|address| {
        places.problem(
            "listen.admin",
            format!(
                "{address} can be reached from outside, and the token passes unencrypted; listen on 127.0.0.1 and put a \
                 proxy with TLS in front, or reach a unix socket by `ssh -L`"
            ),
        )
    })
    .collect()
}
