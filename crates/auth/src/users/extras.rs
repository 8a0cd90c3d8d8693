//! The further fields of a users file's line: SCRAM keys, as `{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey`;
//! `maildir=/absolute/path`; `login_delay=SECONDS`. And the salt key, which stands in a comment.
//!
//! A field that is none is left out and reported; the user can log in without it. But a place of mail that is none stays: mail
//! is not looked for where the configuration says, or clients would forget what they have.

use std::{
    path::{Component, Path},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_proto::{Secret, UserName};
use restante_sasl::scram::{Hash, Keys, KeysError};

use crate::directory::Account;

/// The longest time between two logins that a field may ask for, in seconds: a day.
pub const LOGIN_DELAY_MAX_SECONDS: u32 = 24 * 60 * 60;

/// What stands before the salt key.
pub(super) const SALT_KEY: &str = "#salt-key ";
/// What SCRAM keys begin with.
const KEYS: &[u8] = b"{SCRAM-";
const MAILDIR: &[u8] = b"maildir=";
const LOGIN_DELAY: &[u8] = b"login_delay=";

/// What the further fields say of a user.
#[derive(Default)]
pub(super) struct Extras {
    /// One of a hash at most.
    pub(super) keys: Box<[Arc<Keys>]>,
    maildrop: Option<Box<str>>,
    login_delay_seconds: Option<u32>,
}

/// What is wrong with a further field. No text of the field is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// The keys are none.
    #[error(
        "the SCRAM keys are damaged and left out; the password works, and `restante user passwd` makes new keys with it ({0})"
    )]
    Keys(KeysError),
    /// SCRAM with another hash.
    #[error("SCRAM keys are of SHA-1 or SHA-256; others are left out")]
    Hash,
    /// The place of the mail is none.
    #[error(
        "maildir= is no absolute path without \"..\"; until that is mended, the user's mail cannot be read"
    )]
    Maildir,
    /// The time between logins is none.
    #[error("login_delay= is no number of seconds up to {LOGIN_DELAY_MAX_SECONDS}, and is left out")]
    LoginDelay,
}

impl Extras {
    /// Reads what follows the password: nothing, or a colon and more. Of several problems the first is told.
    pub(super) fn of(rest: &[u8]) -> (Self, Option<FieldProblem>) {
        let (mut extras, mut keys, mut wrong) = (Self::default(), Vec::new(), None);
        for field in rest.split(|&octet| octet == b':').skip(1) {
            let problem = if is_keys(field) {
                take_keys(field, &mut keys).err()
            } else if let Some(place) = field.strip_prefix(MAILDIR) {
                let text = String::from_utf8_lossy(place);
                let is_sound = std::str::from_utf8(place).is_ok_and(is_place);
                extras.maildrop = Some(text.into());
                (!is_sound).then_some(FieldProblem::Maildir)
            } else if let Some(digits) = field.strip_prefix(LOGIN_DELAY) {
                extras.login_delay_seconds = seconds(digits);
                extras.login_delay_seconds.is_none().then_some(FieldProblem::LoginDelay)
            } else {
                None
            };
            wrong = wrong.or(problem);
        }
        extras.keys = keys.into_boxed_slice();
        (extras, wrong)
    }

    pub(super) fn account(&self, name: &UserName) -> Account {
        Account {
            name: name.clone(),
            maildrop: self.maildrop.as_deref().map(str::to_owned),
            login_delay: self.login_delay_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        }
    }
}

/// Whether a further field is SCRAM keys, sound or not.
pub(super) fn is_keys(field: &[u8]) -> bool {
    field.get(..KEYS.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(KEYS))
}

/// Takes keys in; of two of the same hash the first count.
fn take_keys(field: &[u8], keys: &mut Vec<Arc<Keys>>) -> Result<(), FieldProblem> {
    let close = field.iter().position(|&octet| octet == b'}').ok_or(FieldProblem::Hash)?;
    let (name, text) = (field.get(1..close).unwrap_or_default(), field.get(close + 1..).unwrap_or_default());
    let is_of = |hash: &Hash| name.eq_ignore_ascii_case(hash.mechanism().as_bytes());
    let hash = Hash::ALL.into_iter().find(is_of).ok_or(FieldProblem::Hash)?;
    let parsed = Keys::parse(hash, text).map_err(FieldProblem::Keys)?;
    if keys.iter().all(|known| known.hash() != hash) {
        keys.push(Arc::new(parsed));
    }
    Ok(())
}

fn is_place(text: &str) -> bool {
    let path = Path::new(text);
    path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && path.parent().is_some()
        && !text.contains('\0')
}

fn seconds(digits: &[u8]) -> Option<u32> {
    let legal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let seconds = std::str::from_utf8(digits).ok().filter(|_| legal)?.parse().ok()?;
    (seconds <= LOGIN_DELAY_MAX_SECONDS).then_some(seconds)
}

/// The salt key, where the line is for it; `None` within where it is damaged.
pub(super) fn salt_key(line: &[u8]) -> Option<Option<Secret<[u8; 32]>>> {
    line.strip_prefix(SALT_KEY.as_bytes()).map(read_salt_key)
}

/// Reads a salt key: 32 octets in base64.
pub fn read_salt_key(text: &[u8]) -> Option<Secret<[u8; 32]>> {
    let octets = BASE64.decode(text.trim_ascii()).map(Secret::new).ok()?;
    <[u8; 32]>::try_from(octets.expose().as_slice()).ok().map(Secret::new)
}

/// The line of a salt key, without its end.
pub(super) fn salt_key_line(key: &Secret<[u8; 32]>) -> String {
    format!("{SALT_KEY}{}", BASE64.encode(key.expose()))
}
