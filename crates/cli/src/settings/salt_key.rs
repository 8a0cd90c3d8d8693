//! The key that the salts of those who are not there are made from, out of a file of its own.

use restante_auth::users;
use restante_proto::Secret;

use super::{
    Settings,
    document::{Places, Problem},
    secret_file,
};

/// The longest first line, in octets.
const LINE_MAX_OCTETS: u64 = 256;

/// The key, where the settings name a file for it.
pub(crate) fn read(settings: &Settings, places: &Places) -> Result<Option<Secret<[u8; 32]>>, Problem> {
    let Some(path) = &settings.auth.salt_key_file else { return Ok(None) };
    let shown = path.display();
    let make = || {
        format!("`(umask 077; openssl rand -base64 32 > {shown})` makes it, for the user who runs the server")
    };
    let key = secret_file::first_line(path, "the salt key", LINE_MAX_OCTETS, &make).and_then(|line| {
        users::read_salt_key(line.expose())
            .ok_or_else(|| format!("the salt key in {shown} is not 32 octets in base64; {}", make()))
    });
    key.map(Some).map_err(|wrong| places.problem_of_value("auth.salt_key_file", wrong))
}
