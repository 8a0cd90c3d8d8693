//! What other people's directories say of a user beside the password: read, and doubted.

use std::time::Duration;

use restante_proto::UserName;

/// The longest path of a Maildir, in octets.
const MAILDIR_MAX_OCTETS: usize = 4096;

/// The longest delay between two logins: a week.
const LOGIN_DELAY_MAX_SECONDS: u64 = 7 * 86_400;

/// What is wrong with a value. It holds no text of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("no absolute path")]
    Maildir,
    #[error("no whole number of seconds up to {LOGIN_DELAY_MAX_SECONDS}")]
    LoginDelay,
    #[error("no user name: it is empty, too long, or holds what no name may hold")]
    Name,
}

/// The path of a Maildir: absolute, and leading nowhere else on its way.
pub(super) fn maildir(octets: &[u8]) -> Result<String, ValueError> {
    let path = std::str::from_utf8(octets).map_err(|_| ValueError::Maildir)?;
    let fits = path.starts_with('/')
        && path.len() <= MAILDIR_MAX_OCTETS
        && !path.contains('\0')
        && path.split('/').all(|part| part != "..");
    if fits { Ok(path.to_owned()) } else { Err(ValueError::Maildir) }
}

/// Seconds between two logins.
pub(super) fn login_delay(octets: &[u8]) -> Result<Duration, ValueError> {
    let seconds = std::str::from_utf8(octets).ok().and_then(|text| text.trim().parse().ok());
    let seconds = seconds.filter(|&seconds: &u64| seconds <= LOGIN_DELAY_MAX_SECONDS);
    seconds.map(Duration::from_secs).ok_or(ValueError::LoginDelay)
}

/// How a user is called from then on.
pub(super) fn name(octets: &[u8]) -> Result<UserName, ValueError> {
    let text = std::str::from_utf8(octets).map_err(|_| ValueError::Name)?;
    UserName::new(text).map_err(|_| ValueError::Name)
}
