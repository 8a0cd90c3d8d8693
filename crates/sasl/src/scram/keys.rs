//! What a server keeps of a password (RFC 5802 §3), and its text in a directory, which is Dovecot's:
//! `iterations,salt,StoredKey,ServerKey`, all but the first in base64.

use std::{fmt, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac as _};
use restante_proto::Secret;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::saslprep;

/// The fewest iterations that either side accepts (RFC 7677 §4).
pub const ITERATIONS_MIN: u32 = 4096;
/// The most iterations that either side accepts: about half a second of one core.
pub const ITERATIONS_MAX: u32 = 1_000_000;
/// The iterations of new keys that are kept: as many as a client does in some tens of milliseconds, since each login costs
/// it as much as a guess costs somebody who has stolen the keys.
pub const ITERATIONS_DEFAULT: u32 = 100_000;

/// The longest salt that is taken, in octets.
pub(super) const SALT_MAX_OCTETS: usize = 256;

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// SCRAM-SHA-1.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
}

impl Hash {
    /// Both of them, the better one first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha1];

    /// The mechanism's name, which is also the scheme's in a directory.
    pub const fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    /// The length of a digest in octets.
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// H of RFC 5802 §2.2.
    pub(super) fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
        }
    }

    /// HMAC of RFC 5802 §2.2.
    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length, so that nothing can fail here.
        match self {
            Self::Sha1 => Hmac::<Sha1>::new_from_slice(key)
                .map_or_else(|_| Vec::new(), |mac| mac.chain_update(data).finalize().into_bytes().to_vec()),
            Self::Sha256 => Hmac::<Sha256>::new_from_slice(key)
                .map_or_else(|_| Vec::new(), |mac| mac.chain_update(data).finalize().into_bytes().to_vec()),
        }
    }

    /// SaltedPassword (RFC 5802 §3). Slow on purpose. The password is prepared already.
    pub(super) fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Secret<Vec<u8>> {
        let mut salted = vec![0; self.octets()];
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
        }
        Secret::new(salted)
    }
}

/// What a server keeps of a password. Who has it can pretend to be the server, and guess, but not log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    hash: Hash,
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Secret<Vec<u8>>,
    server_key: Secret<Vec<u8>>,
}

/// Why a text is no SCRAM keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// It is not made of four fields of the right lengths.
    #[error("what follows is not iterations,salt,StoredKey,ServerKey")]
    Malformed,
    /// The number of iterations is out of bounds.
    #[error("{0} iterations, and {ITERATIONS_MIN} to {ITERATIONS_MAX} are accepted")]
    Iterations(u32),
}

/// Whether SCRAM can carry this password at all: UTF-8 that can be prepared (RFC 4013), which is without control characters and
/// without what is newer than Unicode 3.2, such as emoji.
///
/// ```
/// use restante_sasl::scram::can_carry;
/// assert!(can_carry("p\u{e4}ssword".as_bytes()) && !can_carry("caf\u{1f600}".as_bytes()));
/// ```
pub fn can_carry(password: &[u8]) -> bool {
    std::str::from_utf8(password).ok().and_then(saslprep::prepare).is_some()
}

impl Keys {
    /// The keys of a password. Slow on purpose; `None` where the iterations are out of bounds, the salt is empty or too long,
    /// or the password cannot be prepared (RFC 4013).
    pub fn derive(hash: Hash, password: &[u8], salt: &[u8], iterations: u32) -> Option<Self> {
        let fits = (ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations)
            && matches!(salt.len(), 1..=SALT_MAX_OCTETS);
        if !fits {
            return None;
        }
        let password = saslprep::prepare(std::str::from_utf8(password).ok()?)?;
        let salted = hash.salted_password(password.expose().as_bytes(), salt, iterations);
        let client_key = Secret::new(hash.hmac(salted.expose(), b"Client Key"));
        Some(Self {
            hash,
            iterations,
            salt: salt.to_vec(),
            stored_key: Secret::new(hash.digest(client_key.expose())),
            server_key: Secret::new(hash.hmac(salted.expose(), b"Server Key")),
        })
    }

    /// Keys from their parts, for those whom nobody's password fits: 32 octets of `noise` are as good as keys.
    pub fn stand_in(hash: Hash, noise: &[u8; 32], salt: Vec<u8>, iterations: u32) -> Self {
        let key = |word: &[u8]| Secret::new(hash.hmac(noise, word));
        Self {
            hash,
            iterations: iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX),
            salt,
            stored_key: key(b"Stored Key"),
            server_key: key(b"Server Key"),
        }
    }

    /// Reads `iterations,salt,StoredKey,ServerKey`.
    pub fn parse(hash: Hash, text: &[u8]) -> Result<Self, KeysError> {
        let text = std::str::from_utf8(text).map_err(|_| KeysError::Malformed)?;
        let mut fields = text.split(',');
        let mut next = || fields.next().ok_or(KeysError::Malformed);
        let (iterations, salt, stored_key, server_key) = (next()?, next()?, next()?, next()?);
        if fields.next().is_some() {
            return Err(KeysError::Malformed);
        }
        let number = !iterations.is_empty() && iterations.bytes().all(|octet| octet.is_ascii_digit());
        let iterations: u32 =
            number.then(|| iterations.parse().ok()).flatten().ok_or(KeysError::Malformed)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(KeysError::Iterations(iterations));
        }
        let decode = |text: &str| BASE64.decode(text).map_err(|_| KeysError::Malformed);
        let salt = decode(salt)?;
        let (stored_key, server_key) = (Secret::new(decode(stored_key)?), Secret::new(decode(server_key)?));
        let sound = matches!(salt.len(), 1..=SALT_MAX_OCTETS)
            && stored_key.expose().len() == hash.octets()
            && server_key.expose().len() == hash.octets();
        sound.then_some(Self { hash, iterations, salt, stored_key, server_key }).ok_or(KeysError::Malformed)
    }

    /// The text that [`Self::parse`] reads.
    pub fn text(&self) -> Secret<String> {
        let mut text = format!("{},", self.iterations);
        BASE64.encode_string(&self.salt, &mut text);
        for key in [&self.stored_key, &self.server_key] {
            let _ = text.write_char(',');
            BASE64.encode_string(key.expose(), &mut text);
        }
        Secret::new(text)
    }

    /// Of which hash they are.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// How often the password was hashed.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// StoredKey of RFC 5802 §3.
    pub(super) const fn stored_key(&self) -> &Secret<Vec<u8>> {
        &self.stored_key
    }

    /// ServerKey of RFC 5802 §3.
    pub(super) const fn server_key(&self) -> &Secret<Vec<u8>> {
        &self.server_key
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, {} iterations, …)", self.hash.mechanism(), self.iterations)
    }
}
