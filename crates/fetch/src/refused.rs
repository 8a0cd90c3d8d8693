//! What it was that a server refused: a password that was corrected since, a new sign-in, or another way to log in is tried
//! at once, and only the same again has to wait.

use std::{fs, time::UNIX_EPOCH};

use restante_client::CredentialKind;
use sha2::{Digest as _, Sha256};

use crate::{
    journal::{MARK_OCTETS, Mark},
    run::Account,
};

/// How many octets of a mark are salt. The others are so few that nobody can find a password by them.
const SALT_OCTETS: usize = 8;

/// The mark of what this account logs in with now, with the salt of another mark, so that the two can be compared.
pub(crate) async fn mark(account: &Account, like: Option<Mark>) -> Mark {
    let mut mark = [0; MARK_OCTETS];
    let (salt, digest) = mark.split_at_mut(SALT_OCTETS);
    match like {
        Some(like) => salt.iter_mut().zip(like).for_each(|(to, from)| *to = from),
        // Without randomness it still tells one from another.
        None => getrandom::fill(salt).unwrap_or_default(),
    }
    let mut sum = Sha256::new();
    sum.update(&*salt);
    let credentials = &account.credentials;
    let way = account.way.as_deref().unwrap_or_default().to_ascii_uppercase();
    for field in [way.as_bytes(), credentials.user.as_bytes(), what(account).as_bytes()] {
        sum.update((field.len() as u64).to_be_bytes());
        sum.update(field);
    }
    match (&account.tokens, credentials.kind) {
        // They change all the time; what a person did counts.
        (Some(tokens), _) => sum.update(format!("{:?}", tokens.signed_in_at().await)),
        (None, CredentialKind::Certificate) => {
            let file = account.options.tls.identity.as_ref().map(|identity| &identity.certificate);
            let changed = file.and_then(|file| fs::metadata(file).ok()?.modified().ok());
            let since = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            sum.update(format!("{file:?} {since:?}"));
        }
        (None, _) => sum.update(credentials.password.expose()),
    }
    digest.iter_mut().zip(sum.finalize()).for_each(|(to, from)| *to = from);
    mark
}

/// What it is, in a word.
pub(crate) fn what(account: &Account) -> &'static str {
    match account.credentials.kind {
        CredentialKind::Token => "token",
        CredentialKind::Certificate => "certificate",
        CredentialKind::Password => "password",
    }
}
