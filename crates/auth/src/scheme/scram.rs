//! {SCRAM-SHA-256} and {SCRAM-SHA-1}: the keys that SCRAM needs (RFC 5802 §3), as Dovecot writes them. A password can be
//! compared with them as well, so that they serve every mechanism but those that need the password itself.

use std::sync::Arc;

use restante_proto::Secret;
use restante_sasl::scram::{Hash, ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, Keys, KeysError};
use subtle::ConstantTimeEq as _;

use super::{CreateError, PasswordHash, Scheme, SchemeError};

/// The better one.
pub(super) const SHA256: Scheme = Scheme {
    name: "SCRAM-SHA-256",
    aliases: &[],
    crypt_prefix: None,
    parse: |text| parse(Hash::Sha256, text),
    create: Some(|password| create(Hash::Sha256, password)),
};

/// For clients that know no other.
pub(super) const SHA1: Scheme = Scheme {
    name: "SCRAM-SHA-1",
    aliases: &[],
    crypt_prefix: None,
    parse: |text| parse(Hash::Sha1, text),
    create: Some(|password| create(Hash::Sha1, password)),
};

/// The length of a new salt, in octets; Dovecot's is as long.
pub(crate) const SALT_OCTETS: usize = 16;

struct Scram(Arc<Keys>);

impl PasswordHash for Scram {
    fn verify(&self, password: &[u8]) -> bool {
        let keys = &self.0;
        let derive = |password| Keys::derive(keys.hash(), password, keys.salt(), keys.iterations());
        match derive(password) {
            Some(found) => found.text().expose().as_bytes().ct_eq(keys.text().expose().as_bytes()).into(),
            // A password that SCRAM cannot carry is never right, and costs the same.
            None => {
                let _cost = derive(b"x");
                false
            }
        }
    }

    fn cost(&self) -> String {
        format!("iterations={}", self.0.iterations())
    }

    fn keys(&self) -> Option<&Arc<Keys>> {
        Some(&self.0)
    }

    fn text(&self) -> Option<Secret<Vec<u8>>> {
        Some(Secret::new(self.0.text().expose().clone().into_bytes()))
    }
}

fn parse(hash: Hash, text: &[u8]) -> Result<Arc<dyn PasswordHash>, SchemeError> {
    let scheme = hash.mechanism();
    match Keys::parse(hash, text) {
        Ok(keys) => Ok(Arc::new(Scram(Arc::new(keys)))),
        Err(KeysError::Iterations(_)) => Err(SchemeError::Cost {
            scheme,
            parameter: "iterations",
            min: ITERATIONS_MIN,
            max: ITERATIONS_MAX,
        }),
        Err(_) => Err(SchemeError::Malformed { scheme }),
    }
}

fn create(hash: Hash, password: &[u8]) -> Result<Secret<String>, CreateError> {
    let mut salt = [0; SALT_OCTETS];
    getrandom::fill(&mut salt).map_err(CreateError::Random)?;
    let scheme = hash.mechanism();
    let keys = Keys::derive(hash, password, &salt, ITERATIONS_DEFAULT);
    let keys = keys.ok_or(CreateError::Unprepared { scheme })?;
    Ok(Secret::new(format!("{{{scheme}}}{}", keys.text().expose())))
}
