//! Password schemes: how a password is stored, and how one is compared with it.
//!
//! A scheme is a file, a constant [`Scheme`], and one line in [`SCHEMES`]. The spellings are Dovecot's:
//! `{SCHEME}hash`, the name without case, with `.b64` or `.hex` behind it where the hash is encoded once more. What a
//! file may demand of the machine (memory, rounds) is bounded here, when it is read.

use std::{fmt, sync::Arc};

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use restante_proto::Secret;
use restante_sasl::{PASSWORD_MAX_OCTETS, scram::Keys};

mod argon2;
mod bcrypt;
mod crypt_text;
mod pbkdf2;
mod plain;
pub(crate) mod scram;
mod sha256_crypt;
mod sha512_crypt;
#[cfg(test)]
mod tests;

pub use argon2::{ARGON2_MEMORY_MAX_KIB, ARGON2_PARALLELISM_MAX, ARGON2_PASSES_MAX};
pub use bcrypt::{BCRYPT_COST_MAX, BCRYPT_COST_MIN, BCRYPT_PASSWORD_MAX_OCTETS};
pub use crypt_text::{CRYPT_PASSWORD_MAX_OCTETS, CRYPT_ROUNDS_MAX, CRYPT_ROUNDS_MIN};
pub use pbkdf2::PBKDF2_ROUNDS_MAX;

/// Every scheme there is, the default for new passwords first.
pub const SCHEMES: &[Scheme] = &[
    argon2::ARGON2ID,
    argon2::ARGON2I,
    bcrypt::SCHEME,
    sha512_crypt::SCHEME,
    sha256_crypt::SCHEME,
    pbkdf2::SCHEME,
    scram::SHA256,
    scram::SHA1,
    plain::SCHEME,
];

/// The longest stored password, in octets: longer than any of ours, shorter than a users file's line.
pub const STORED_MAX_OCTETS: usize = 4096;

/// Dovecot's other schemes: known by name, so that an error can say which one it was. No other text out of a damaged
/// field is ever shown, since it might be a password.
const UNSUPPORTED: &[&str] = &[
    "MD5-CRYPT",
    "DES-CRYPT",
    "SSHA512",
    "SSHA256",
    "SSHA",
    "SHA512",
    "SHA256",
    "SHA1",
    "SHA",
    "SMD5",
    "LDAP-MD5",
    "PLAIN-MD5",
    "PLAIN-MD4",
    "PLAIN-TRUNC",
    "MD5",
    "CRAM-MD5",
    "HMAC-MD5",
    "DIGEST-MD5",
    "NTLM",
    "LANMAN",
    "OTP",
    "SKEY",
    "RPA",
];

/// One password scheme.
#[derive(Clone, Copy, Debug)]
pub struct Scheme {
    /// Its name, in capitals.
    pub name: &'static str,
    /// Other names for the same thing.
    pub aliases: &'static [&'static str],
    /// How its hashes begin, where `{CRYPT}` may mean it.
    pub crypt_prefix: Option<&'static str>,
    /// Reads what stands behind `{SCHEME}`.
    pub parse: Parse,
    /// Makes a new `{SCHEME}hash` of a password that [`create`] has checked; `None` where no new ones are made.
    pub create: Option<Create>,
}

/// How a scheme reads a hash.
pub type Parse = fn(&[u8]) -> Result<Arc<dyn PasswordHash>, SchemeError>;

/// How a scheme makes `{SCHEME}hash`.
pub type Create = fn(&[u8]) -> Result<Secret<String>, CreateError>;

/// A stored password that a given one can be compared with.
pub trait PasswordHash: Send + Sync {
    /// Whether this is the password. Takes the same time for every password of the same length.
    fn verify(&self, password: &[u8]) -> bool;

    /// What verifying costs, such as `m=19456,t=2,p=1`; two hashes of one scheme and one cost take the same time.
    fn cost(&self) -> String;

    /// The password itself, where the scheme keeps it (APOP needs it). Verifying is quick then.
    fn plaintext(&self) -> Option<&Secret<Vec<u8>>> {
        None
    }

    /// The SCRAM keys, where the scheme is made of them.
    fn keys(&self) -> Option<&Arc<Keys>> {
        None
    }

    /// All that a right password depends on, parameters, salt and digest, unambiguously: by this a success is known
    /// again. `None` where none is to be remembered, since verifying is quick, or the directory does it by itself.
    fn text(&self) -> Option<Secret<Vec<u8>>> {
        None
    }
}

/// A user's password as a directory has it. No format shows any of it but the scheme.
#[derive(Clone)]
pub struct StoredPassword {
    scheme: &'static str,
    hash: Arc<dyn PasswordHash>,
}

/// Why a field of a directory is no stored password. No text of the field is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// Nothing stands there.
    #[error("the password is empty; set one with `restante user passwd`")]
    Empty,
    /// It is longer than any hash.
    #[error("the password field has more than {STORED_MAX_OCTETS} octets")]
    TooLong,
    /// It does not begin with a scheme.
    #[error(
        "no {{SCHEME}} stands before the password; write {{{suggestion}}} in front of it, or set a new one with `restante user passwd`"
    )]
    NoScheme {
        /// The scheme that it looks like.
        suggestion: &'static str,
    },
    /// It begins with `!` or `*`, as people lock somebody out.
    #[error("the user is locked out by the {mark:?} in front of the password")]
    LockedOut {
        /// The sign.
        mark: char,
    },
    /// The brace is never closed.
    #[error("the scheme's {{ has no }}")]
    Unclosed,
    /// A scheme that others have.
    #[error("the scheme {{{name}}} is not supported; set a new password with `restante user passwd`")]
    Unsupported {
        /// Its name.
        name: &'static str,
    },
    /// A scheme that nobody has.
    #[error("unknown scheme; the schemes are {}", names())]
    Unknown,
    /// A crypt(3) hash of a kind that is not supported.
    #[error(
        "this kind of {{CRYPT}} is not supported, only $2$ (bcrypt), $5$ and $6$; set a new password with `restante user passwd`"
    )]
    UnsupportedCrypt,
    /// What follows is no hash of the scheme.
    #[error("what follows is no {{{scheme}}} hash")]
    Malformed {
        /// The scheme's name.
        scheme: &'static str,
    },
    /// `.b64` or `.hex` was promised and is not there.
    #[error("what follows the scheme is not encoded as its suffix says")]
    Encoding,
    /// Verifying it would cost more than this server spends, or less than the scheme allows.
    #[error(
        "{{{scheme}}} with {parameter} outside {min} to {max}; set a new password with `restante user passwd`"
    )]
    Cost {
        /// The scheme's name.
        scheme: &'static str,
        /// What is out of bounds.
        parameter: &'static str,
        /// The least that is accepted.
        min: u32,
        /// The most that is accepted.
        max: u32,
    },
}

/// Why no hash could be made of a password.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// An empty password never logs in.
    #[error("the password is empty")]
    Empty,
    /// Longer than any that is accepted at login.
    #[error("the password has more than {PASSWORD_MAX_OCTETS} octets")]
    TooLong,
    /// Longer than any that the scheme takes.
    #[error("{{{scheme}}} takes passwords of up to {max} octets")]
    TooLongFor {
        /// The scheme's name.
        scheme: &'static str,
        /// The most octets that it takes.
        max: usize,
    },
    /// SCRAM cannot carry it: RFC 4013, by which it is prepared, forbids a character in it.
    #[error(
        "{{{scheme}}} takes no password with such characters: it must be UTF-8, without control characters (RFC 4013)"
    )]
    Unprepared {
        /// The scheme's name.
        scheme: &'static str,
    },
    /// No protocol could carry it.
    #[error("the password holds a NUL, a CR or an LF, which no client can send")]
    Unsendable,
    /// The scheme is for verifying only.
    #[error("no new passwords are made with {{{scheme}}}; take {{{}}}", SCHEMES[0].name)]
    VerifyOnly {
        /// The scheme's name.
        scheme: &'static str,
    },
    /// The machine gave no randomness for the salt.
    #[error("no randomness for a salt: {0}")]
    Random(getrandom::Error),
    /// The hash function refused its own default parameters, or lacked memory.
    #[error("{{{scheme}}} failed")]
    Failed {
        /// The scheme's name.
        scheme: &'static str,
    },
}

impl StoredPassword {
    /// Reads `{SCHEME}hash`, whatever octets it is made of.
    ///
    /// ```
    /// use restante_auth::StoredPassword;
    /// let stored = StoredPassword::parse(b"{plain}abcxyz")?;
    /// assert!(stored.verify(b"abcxyz") && !stored.verify(b"abcxy"));
    /// assert!(StoredPassword::parse(b"abcxyz").unwrap_err().to_string().contains("write {PLAIN} in front"));
    /// # Ok::<(), restante_auth::scheme::SchemeError>(())
    /// ```
    pub fn parse(field: &[u8]) -> Result<Self, SchemeError> {
        if field.is_empty() {
            return Err(SchemeError::Empty);
        }
        if field.len() > STORED_MAX_OCTETS {
            return Err(SchemeError::TooLong);
        }
        let rest = match field {
            [b'{', rest @ ..] => rest,
            [mark @ (b'!' | b'*'), ..] => return Err(SchemeError::LockedOut { mark: char::from(*mark) }),
            _ => return Err(SchemeError::NoScheme { suggestion: suggestion(field) }),
        };
        let close = rest.iter().position(|&octet| octet == b'}').ok_or(SchemeError::Unclosed)?;
        let (name, hash) = (&rest[..close], &rest[close + 1..]);
        let (name, decoded) = match split_suffix(name) {
            (name, None) => (name, None),
            (name, Some(suffix)) => (name, Some(suffix.decode(hash).ok_or(SchemeError::Encoding)?)),
        };
        let hash = decoded.as_ref().map_or(hash, |decoded| decoded.expose().as_slice());
        let scheme = find_for(name, hash)?;
        if hash.is_empty() {
            return Err(SchemeError::Empty);
        }
        Ok(Self { scheme: scheme.name, hash: (scheme.parse)(hash)? })
    }

    /// A password that is compared in some other way: of a directory that hashes by itself, or of a test that counts.
    pub fn custom(scheme: &'static str, hash: Arc<dyn PasswordHash>) -> Self {
        Self { scheme, hash }
    }

    /// What nobody's password fits, at the cost of a new password of the default scheme: the stand-in where a
    /// directory has no users.
    pub fn stand_in() -> Self {
        Self { scheme: SCHEMES[0].name, hash: argon2::stand_in() }
    }

    /// Whether this is the password. Blocking and slow on purpose: see [`crate::pool`].
    pub fn verify(&self, password: &[u8]) -> bool {
        self.hash.verify(password)
    }

    /// The name of the scheme.
    pub const fn scheme(&self) -> &'static str {
        self.scheme
    }

    /// What verifying costs: see [`PasswordHash::cost`].
    pub fn cost(&self) -> String {
        self.hash.cost()
    }

    /// The password itself, where the scheme keeps it.
    pub fn plaintext(&self) -> Option<&Secret<Vec<u8>>> {
        self.hash.plaintext()
    }

    /// The SCRAM keys, where the scheme is made of them.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        self.hash.keys()
    }

    /// All that a right password depends on, within its scheme: see [`PasswordHash::text`].
    pub fn text(&self) -> Option<Secret<Vec<u8>>> {
        self.hash.text()
    }
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredPassword({{{}}}…)", self.scheme)
    }
}

/// The scheme of this name, which is compared without case.
pub fn find(name: &str) -> Option<&'static Scheme> {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    SCHEMES.iter().find(|scheme| is(&scheme.name) || scheme.aliases.iter().any(is))
}

/// Makes `{SCHEME}hash` of a new password. Blocking and slow on purpose.
pub fn create(scheme: &Scheme, password: &Secret<Vec<u8>>) -> Result<Secret<String>, CreateError> {
    let password = password.expose();
    if password.is_empty() {
        return Err(CreateError::Empty);
    }
    if password.len() > PASSWORD_MAX_OCTETS {
        return Err(CreateError::TooLong);
    }
    if password.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
        return Err(CreateError::Unsendable);
    }
    let create = scheme.create.ok_or(CreateError::VerifyOnly { scheme: scheme.name })?;
    create(password)
}

/// The scheme of a name out of a directory, where `CRYPT` goes by how the hash begins.
fn find_for(name: &[u8], hash: &[u8]) -> Result<&'static Scheme, SchemeError> {
    if name.eq_ignore_ascii_case(b"CRYPT") {
        let begins =
            |scheme: &&Scheme| scheme.crypt_prefix.is_some_and(|prefix| hash.starts_with(prefix.as_bytes()));
        return SCHEMES.iter().find(begins).ok_or(SchemeError::UnsupportedCrypt);
    }
    if let Some(scheme) = std::str::from_utf8(name).ok().and_then(find) {
        return Ok(scheme);
    }
    let unsupported = UNSUPPORTED.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    Err(unsupported.map_or(SchemeError::Unknown, |name| SchemeError::Unsupported { name }))
}

/// What a field without a scheme looks like.
fn suggestion(field: &[u8]) -> &'static str {
    let crypt = SCHEMES
        .iter()
        .find(|scheme| scheme.crypt_prefix.is_some_and(|prefix| field.starts_with(prefix.as_bytes())));
    match crypt {
        Some(scheme) => scheme.name,
        None if field.starts_with(b"$argon2id$") => "ARGON2ID",
        None if field.starts_with(b"$argon2i$") => "ARGON2I",
        None if field.starts_with(b"$") => "CRYPT",
        None => "PLAIN",
    }
}

/// The names of all schemes, for people.
fn names() -> String {
    SCHEMES.iter().map(|scheme| format!("{{{}}}", scheme.name)).collect::<Vec<_>>().join(", ")
}

/// How the hash is encoded once more (Dovecot's `.b64` and `.hex`).
#[derive(Clone, Copy)]
enum Suffix {
    Base64,
    Hex,
}

fn split_suffix(name: &[u8]) -> (&[u8], Option<Suffix>) {
    for (text, suffix) in
        [(&b".b64"[..], Suffix::Base64), (b".base64", Suffix::Base64), (b".hex", Suffix::Hex)]
    {
        if let Some(at) = name.len().checked_sub(text.len())
            && name[at..].eq_ignore_ascii_case(text)
        {
            return (&name[..at], Some(suffix));
        }
    }
    (name, None)
}

impl Suffix {
    fn decode(self, hash: &[u8]) -> Option<Secret<Vec<u8>>> {
        match self {
            Self::Base64 => {
                let config =
                    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
                GeneralPurpose::new(&base64::alphabet::STANDARD, config).decode(hash).ok().map(Secret::new)
            }
            Self::Hex => {
                let digit =
                    |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let pair = |pair: &[u8]| match *pair {
                    [high, low] => Some(digit(high)? << 4 | digit(low)?),
                    _ => None,
                };
                hash.chunks(2).map(pair).collect::<Option<Vec<u8>>>().map(Secret::new)
            }
        }
    }
}
