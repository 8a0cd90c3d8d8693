//! {BLF-CRYPT}: bcrypt (N. Provos, D. Mazières, «A Future-Adaptable Password Scheme»), as crypt(3), Dovecot and PHP write
//! it: `$2y$05$`, 22 signs of salt, 31 of digest.

use std::sync::Arc;

use restante_proto::Secret;

use super::{CreateError, PasswordHash, Scheme, SchemeError};

/// The scheme, for the registry.
pub(super) const SCHEME: Scheme =
    Scheme { name: "BLF-CRYPT", aliases: &[], crypt_prefix: Some("$2"), parse, create: Some(create) };

/// The smallest cost that the scheme allows: 2⁴ rounds.
pub const BCRYPT_COST_MIN: u32 = 4;
/// The largest cost that a stored password may ask for: about three seconds.
pub const BCRYPT_COST_MAX: u32 = 15;
/// As many octets of a password count; what follows them, any password has right. Dovecot and crypt(3) let it pass, and
/// so does verifying here; new hashes are not made of longer ones.
pub const BCRYPT_PASSWORD_MAX_OCTETS: usize = 72;

/// For new passwords: about a third of a second.
const COST_NEW: u32 = 12;

/// All of a hash.
const HASH_OCTETS: usize = 60;
/// The same algorithm; `$2x$`, which repeats an old fault, is another one.
const PREFIXES: [&[u8]; 3] = [b"$2y$", b"$2b$", b"$2a$"];

struct Hash {
    cost: u32,
    text: Secret<String>,
}

impl PasswordHash for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        // crypt(3) ends a password at a NUL.
        let fits = ::bcrypt::verify(password, self.text.expose());
        fits.unwrap_or(false) && !password.contains(&0)
    }

    fn cost(&self) -> String {
        format!("cost={}", self.cost)
    }

    fn text(&self) -> Option<Secret<Vec<u8>>> {
        Some(Secret::new(self.text.expose().clone().into_bytes()))
    }
}

fn parse(hash: &[u8]) -> Result<Arc<dyn PasswordHash>, SchemeError> {
    let scheme = SCHEME.name;
    let malformed = SchemeError::Malformed { scheme };
    let text = std::str::from_utf8(hash).map_err(|_| malformed)?;
    if text.len() != HASH_OCTETS || !PREFIXES.iter().any(|prefix| hash.starts_with(prefix)) {
        return Err(malformed);
    }
    let parts: ::bcrypt::HashParts = text.parse().map_err(|_| malformed)?;
    let cost = parts.get_cost();
    if !(BCRYPT_COST_MIN..=BCRYPT_COST_MAX).contains(&cost) {
        return Err(SchemeError::Cost {
            scheme,
            parameter: "cost",
            min: BCRYPT_COST_MIN,
            max: BCRYPT_COST_MAX,
        });
    }
    Ok(Arc::new(Hash { cost, text: Secret::new(text.to_owned()) }))
}

fn create(password: &[u8]) -> Result<Secret<String>, CreateError> {
    let (scheme, max) = (SCHEME.name, BCRYPT_PASSWORD_MAX_OCTETS);
    if password.len() > max {
        return Err(CreateError::TooLongFor { scheme, max });
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(CreateError::Random)?;
    let hash =
        ::bcrypt::hash_with_salt(password, COST_NEW, salt).map_err(|_| CreateError::Failed { scheme })?;
    Ok(Secret::new(format!("{{{scheme}}}{}", hash.format_for_version(::bcrypt::Version::TwoY))))
}
