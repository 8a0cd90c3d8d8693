//! Who may see the live page: the token's file, read as secret files are, and what to know about places that others reach.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use restante_admin::{Access, Place};
use restante_proto::Secret;
use zeroize::Zeroizing;

use super::{
    Settings,
    document::{Places, Problem},
    owner,
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
    let cannot = |error: std::io::Error| {
        let what = match error.kind() {
            std::io::ErrorKind::NotFound => make(),
            std::io::ErrorKind::PermissionDenied => owner::permission(path),
            _ => String::from("name a file with the token in its first line"),
        };
        format!("cannot read the token of the live page, {shown}: {error}; {what}")
    };
    let file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "others than its owner can open the token of the live page, {shown} (mode {:o}); `chmod go= {shown}`, and write \
             a new one if they may have read it",
            mode & 0o7777
        ));
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(TOKEN_MAX_OCTETS as usize + 1));
    file.take(TOKEN_MAX_OCTETS + 1).read_to_end(&mut octets).map_err(cannot)?;
    let line = octets.split(|c| *c == b'\n').next().unwrap_or_default().trim_ascii();
    if line.len() < TOKEN_MIN_OCTETS || line.len() as u64 > TOKEN_MAX_OCTETS {
        return Err(format!(
            "the token in {shown} must have {TOKEN_MIN_OCTETS} to {TOKEN_MAX_OCTETS} characters; {}",
            make()
        ));
    }
    match line.iter().all(u8::is_ascii_graphic) {
        true => Ok(Secret::new(line.to_vec())),
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
