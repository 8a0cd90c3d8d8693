//! The text that both SHA-crypt schemes share: `$6$rounds=100000$salt$digest`, with the rounds left out for 5,000
//! (U. Drepper, «Unix crypt using SHA-256 and SHA-512»).

use restante_proto::Secret;
use subtle::ConstantTimeEq as _;

use super::{CreateError, SchemeError};

/// The fewest rounds that the scheme allows.
pub const CRYPT_ROUNDS_MIN: u32 = 1_000;
/// The most rounds that a stored password may ask for: about a second.
pub const CRYPT_ROUNDS_MAX: u32 = 1_000_000;

/// The longest password that is hashed so, in octets: each round hashes the password as well, so that a long one would
/// multiply the cost. RFC 4616 §4 asks for 255.
pub const CRYPT_PASSWORD_MAX_OCTETS: usize = 256;

/// What a text without `rounds=` means.
const ROUNDS_UNSAID: u32 = 5_000;
/// For new passwords: the 5,000 of 2007 are too few today.
const ROUNDS_NEW: u32 = 100_000;

const SALT_MAX_OCTETS: usize = 16;
/// The alphabet of salts and digests, in which 64 signs make each of them six fair bits.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A scheme's hash of a password, a salt and so many rounds; `None` if the rounds are out of the library's bounds,
/// which are wider than ours.
pub(super) type Digest = fn(&[u8], &[u8], u32) -> Option<Secret<String>>;

/// A hash taken apart.
pub(super) struct CryptText {
    pub(super) rounds: u32,
    pub(super) salt: Vec<u8>,
    /// As it is written, which is how it is compared.
    pub(super) digest: Secret<Vec<u8>>,
}

impl CryptText {
    /// Reads a hash that begins with `prefix` and ends in a digest of `digest_octets` signs.
    pub(super) fn parse(
        hash: &[u8],
        scheme: &'static str,
        prefix: &str,
        digest_octets: usize,
    ) -> Result<Self, SchemeError> {
        let malformed = SchemeError::Malformed { scheme };
        let mut rest = hash.strip_prefix(prefix.as_bytes()).ok_or(malformed)?;
        let mut rounds = ROUNDS_UNSAID;
        if let Some(counted) = rest.strip_prefix(b"rounds=") {
            let end = counted.iter().position(|&octet| octet == b'$').ok_or(malformed)?;
            rounds = read_rounds(&counted[..end], scheme)?;
            rest = &counted[end + 1..];
        }
        let end = rest.iter().position(|&octet| octet == b'$').ok_or(malformed)?;
        let (salt, digest) = (&rest[..end], &rest[end + 1..]);
        let legal = salt.len() <= SALT_MAX_OCTETS
            && salt.iter().all(u8::is_ascii_graphic)
            && digest.len() == digest_octets
            && digest.iter().all(|octet| ALPHABET.contains(octet));
        if !legal {
            return Err(malformed);
        }
        Ok(Self { rounds, salt: salt.to_vec(), digest: Secret::new(digest.to_vec()) })
    }

    /// What verifying costs. The salt's length belongs to it, by a little.
    pub(super) fn cost(&self) -> String {
        format!("rounds={}", self.rounds)
    }

    /// Rounds, salt and digest; no salt has a `$` in it.
    pub(super) fn text(&self) -> Secret<Vec<u8>> {
        let rounds = self.rounds.to_string();
        Secret::new([rounds.as_bytes(), b"$", &self.salt, b"$", self.digest.expose()].concat())
    }
}

fn read_rounds(digits: &[u8], scheme: &'static str) -> Result<u32, SchemeError> {
    let legal = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| legal).ok_or(SchemeError::Malformed { scheme })?;
    let cost =
        SchemeError::Cost { scheme, parameter: "rounds", min: CRYPT_ROUNDS_MIN, max: CRYPT_ROUNDS_MAX };
    // Too many digits for a number are too many rounds.
    let rounds = text.parse().unwrap_or(u32::MAX);
    if (CRYPT_ROUNDS_MIN..=CRYPT_ROUNDS_MAX).contains(&rounds) { Ok(rounds) } else { Err(cost) }
}

/// Verifies by a scheme's hash. A password that is too long is never right, and costs what the longest one does.
pub(super) fn verify(text: &CryptText, password: &[u8], digest: Digest) -> bool {
    let hashed = &password[..password.len().min(CRYPT_PASSWORD_MAX_OCTETS)];
    let fits = |found: &Secret<String>| found.expose().as_bytes().ct_eq(text.digest.expose()).into();
    digest(hashed, &text.salt, text.rounds).as_ref().is_some_and(fits) && hashed.len() == password.len()
}

/// Makes a new `{SCHEME}hash`.
pub(super) fn create(
    password: &[u8],
    scheme: &'static str,
    prefix: &str,
    digest: Digest,
) -> Result<Secret<String>, CreateError> {
    if password.len() > CRYPT_PASSWORD_MAX_OCTETS {
        return Err(CreateError::TooLongFor { scheme, max: CRYPT_PASSWORD_MAX_OCTETS });
    }
    let salt = new_salt()?;
    let digest = digest(password, salt.as_bytes(), ROUNDS_NEW).ok_or(CreateError::Failed { scheme })?;
    Ok(Secret::new(format!("{{{scheme}}}{prefix}rounds={ROUNDS_NEW}${salt}${}", digest.expose())))
}

/// A new salt.
fn new_salt() -> Result<String, CreateError> {
    let mut random = [0; SALT_MAX_OCTETS];
    getrandom::fill(&mut random).map_err(CreateError::Random)?;
    Ok(random.iter().map(|octet| char::from(ALPHABET[usize::from(octet % 64)])).collect())
}
