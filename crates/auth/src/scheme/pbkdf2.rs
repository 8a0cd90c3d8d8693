//! {PBKDF2}: RFC 8018 §5.2 with HMAC-SHA-1, as Dovecot writes it: `$1$salt$rounds$digest`, the digest in hexadecimal.
//! For verifying only: what it costs a guesser with the right hardware is little.

use std::sync::Arc;

use restante_proto::Secret;
use subtle::ConstantTimeEq as _;

use super::{PasswordHash, Scheme, SchemeError, Suffix};

/// The scheme, for the registry.
pub(super) const SCHEME: Scheme =
    Scheme { name: "PBKDF2", aliases: &[], crypt_prefix: None, parse, create: None };

/// The most rounds that a stored password may ask for: about half a second.
pub const PBKDF2_ROUNDS_MAX: u32 = 1_000_000;

const SALT_MAX_OCTETS: usize = 64;
const DIGEST_OCTETS: usize = 20;

struct Hash {
    salt: Vec<u8>,
    rounds: u32,
    digest: Secret<Vec<u8>>,
}

impl PasswordHash for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let mut found = vec![0; DIGEST_OCTETS];
        ::pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, &self.salt, self.rounds, &mut found);
        let found = Secret::new(found);
        found.expose().as_slice().ct_eq(self.digest.expose()).into()
    }

    fn cost(&self) -> String {
        format!("rounds={}", self.rounds)
    }

    fn text(&self) -> Option<Secret<Vec<u8>>> {
        let head = format!("{}${}$", self.rounds, self.salt.len());
        Some(Secret::new([head.as_bytes(), &self.salt, self.digest.expose()].concat()))
    }
}

fn parse(hash: &[u8]) -> Result<Arc<dyn PasswordHash>, SchemeError> {
    let scheme = SCHEME.name;
    let malformed = SchemeError::Malformed { scheme };
    let fields: Vec<_> = hash.split(|&octet| octet == b'$').collect();
    let [b"", b"1", salt, rounds, digest] = fields[..] else { return Err(malformed) };
    let digits = !rounds.is_empty() && rounds.iter().all(u8::is_ascii_digit);
    let rounds = std::str::from_utf8(rounds).ok().filter(|_| digits).ok_or(malformed)?;
    // Too many digits for a number are too many rounds.
    let rounds = rounds.parse().unwrap_or(u32::MAX);
    if !(1..=PBKDF2_ROUNDS_MAX).contains(&rounds) {
        return Err(SchemeError::Cost { scheme, parameter: "rounds", min: 1, max: PBKDF2_ROUNDS_MAX });
    }
    let digest = Suffix::Hex.decode(digest).filter(|digest| digest.expose().len() == DIGEST_OCTETS);
    let sound = salt.len() <= SALT_MAX_OCTETS && salt.iter().all(u8::is_ascii_graphic);
    let digest = digest.filter(|_| sound).ok_or(malformed)?;
    Ok(Arc::new(Hash { salt: salt.to_vec(), rounds, digest }))
}
