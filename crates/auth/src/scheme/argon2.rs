//! {ARGON2ID}, the default, and {ARGON2I}, which older directories hold (RFC 9106), as PHC strings:
//! `$argon2id$v=19$m=19456,t=2,p=1$salt$digest`.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHash as Phc, PasswordHasher as _, SaltString},
};
use restante_proto::Secret;
use subtle::ConstantTimeEq as _;

use super::{CreateError, PasswordHash, Scheme, SchemeError};

/// The default for new passwords: 19 MiB, two passes, one lane.
pub(super) const ARGON2ID: Scheme = Scheme {
    name: "ARGON2ID",
    aliases: &[],
    crypt_prefix: None,
    parse: |hash| parse(hash, Algorithm::Argon2id, "ARGON2ID"),
    create: Some(create),
};

/// For verifying only.
pub(super) const ARGON2I: Scheme = Scheme {
    name: "ARGON2I",
    aliases: &[],
    crypt_prefix: None,
    parse: |hash| parse(hash, Algorithm::Argon2i, "ARGON2I"),
    create: None,
};

/// The most memory that a stored password may ask for, in KiB: 256 MiB for each thread of the pool.
pub const ARGON2_MEMORY_MAX_KIB: u32 = 256 * 1024;
/// The most passes that a stored password may ask for.
pub const ARGON2_PASSES_MAX: u32 = 16;
/// The most lanes that a stored password may ask for.
pub const ARGON2_PARALLELISM_MAX: u32 = 16;

const SALT_OCTETS: usize = 16;

struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    digest: Secret<Vec<u8>>,
}

impl PasswordHash for Argon2Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let mut found = vec![0; self.digest.expose().len()];
        let hasher = Argon2::new(self.algorithm, self.version, self.params.clone());
        let result = hasher.hash_password_into(password, &self.salt, &mut found);
        let found = Secret::new(found);
        match result {
            Ok(()) => found.expose().ct_eq(self.digest.expose()).into(),
            // The parameters were checked when the hash was read, so nothing is left that could fail.
            Err(error) => {
                tracing::error!(%error, "a password could not be hashed");
                false
            }
        }
    }

    fn cost(&self) -> String {
        let Self { params, .. } = self;
        format!("m={},t={},p={}", params.m_cost(), params.t_cost(), params.p_cost())
    }

    fn text(&self) -> Option<Secret<Vec<u8>>> {
        let (salt, digest) = (&self.salt, self.digest.expose());
        let head = format!("v={},{},{},{}$", self.version as u32, self.cost(), salt.len(), digest.len());
        Some(Secret::new([head.as_bytes(), salt, digest].concat()))
    }
}

fn parse(
    hash: &[u8],
    algorithm: Algorithm,
    scheme: &'static str,
) -> Result<Arc<dyn PasswordHash>, SchemeError> {
    let malformed = SchemeError::Malformed { scheme };
    let text = std::str::from_utf8(hash).map_err(|_| malformed)?;
    let phc = Phc::new(text).map_err(|_| malformed)?;
    if phc.algorithm != algorithm.ident()
        || phc.params.iter().any(|(name, _)| !matches!(name.as_str(), "m" | "t" | "p"))
    {
        return Err(malformed);
    }
    // Without `v=` it is the version before the number was written.
    let version = match phc.version {
        None => Version::V0x10,
        Some(version) => Version::try_from(version).map_err(|_| malformed)?,
    };
    let parameter = |name, parameter, min, max| {
        let value = phc.params.get_decimal(name).ok_or(malformed)?;
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(SchemeError::Cost { scheme, parameter, min, max })
        }
    };
    let lanes = parameter("p", "parallelism p", Params::MIN_P_COST, ARGON2_PARALLELISM_MAX)?;
    let memory = parameter("m", "memory m (KiB)", lanes * 8, ARGON2_MEMORY_MAX_KIB)?;
    let passes = parameter("t", "passes t", Params::MIN_T_COST, ARGON2_PASSES_MAX)?;
    let mut salt = [0; 64];
    let salt = phc.salt.ok_or(malformed)?.decode_b64(&mut salt).map_err(|_| malformed)?;
    if salt.len() < argon2::MIN_SALT_LEN {
        return Err(malformed);
    }
    let digest = phc.hash.ok_or(malformed)?;
    let params = Params::new(memory, passes, lanes, Some(digest.len())).map_err(|_| malformed)?;
    let digest = Secret::new(digest.as_bytes().to_vec());
    Ok(Arc::new(Argon2Hash { algorithm, version, params, salt: salt.to_vec(), digest }))
}

fn create(password: &[u8]) -> Result<Secret<String>, CreateError> {
    let failed = CreateError::Failed { scheme: ARGON2ID.name };
    let mut salt = [0; SALT_OCTETS];
    getrandom::fill(&mut salt).map_err(CreateError::Random)?;
    let Ok(salt) = SaltString::encode_b64(&salt) else { return Err(failed) };
    match hasher().hash_password(password, &salt) {
        Ok(hash) => Ok(Secret::new(format!("{{{}}}{hash}", ARGON2ID.name))),
        Err(_) => Err(failed),
    }
}

/// A hash that no password has, at the cost of a new one.
pub(super) fn stand_in() -> Arc<dyn PasswordHash> {
    Arc::new(Argon2Hash {
        algorithm: Algorithm::Argon2id,
        version: Version::V0x13,
        params: Params::DEFAULT,
        salt: vec![0; SALT_OCTETS],
        digest: Secret::new(vec![0; Params::DEFAULT_OUTPUT_LEN]),
    })
}

/// The library's defaults are the house's; a test holds them together.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}
