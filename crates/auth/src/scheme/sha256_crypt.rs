//! {SHA256-CRYPT}: crypt(3)'s `$5$`.

use std::sync::Arc;

use restante_proto::Secret;
use sha_crypt::{Sha256Params, sha256_crypt_b64};

use super::{
    CreateError, PasswordHash, Scheme,
    crypt_text::{self, CryptText},
};

/// The scheme, for the registry.
pub(super) const SCHEME: Scheme = Scheme {
    name: "SHA256-CRYPT",
    aliases: &[],
    crypt_prefix: Some(PREFIX),
    parse: |hash| Ok(Arc::new(Hash(CryptText::parse(hash, SCHEME.name, PREFIX, DIGEST_OCTETS)?))),
    create: Some(create),
};

const PREFIX: &str = "$5$";
const DIGEST_OCTETS: usize = 43;

struct Hash(CryptText);

impl PasswordHash for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        crypt_text::verify(&self.0, password, digest)
    }

    fn cost(&self) -> String {
        self.0.cost()
    }

    fn text(&self) -> Option<Secret<Vec<u8>>> {
        Some(self.0.text())
    }
}

/// `None` if the rounds are out of the library's bounds, which are wider than ours.
fn digest(password: &[u8], salt: &[u8], rounds: u32) -> Option<Secret<String>> {
    let params = Sha256Params::new(usize::try_from(rounds).ok()?).ok()?;
    sha256_crypt_b64(password, salt, &params).ok().map(Secret::new)
}

fn create(password: &[u8]) -> Result<Secret<String>, CreateError> {
    crypt_text::create(password, SCHEME.name, PREFIX, digest)
}
