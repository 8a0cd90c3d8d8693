//! What those get who are not there: the same for the same name, today and after a restart, and like what users have, so that
//! nobody learns from it who is a user (RFC 5802 §9 leaves that to the server).
//!
//! All of it is made of the name, in lower case, under the salt key; who does not know the key cannot tell it from what
//! users have.

use blake2::{Blake2sMac256, digest::Mac as _};
use restante_proto::Secret;
use restante_sasl::scram::{Hash, Keys};

use crate::directory::KeysLike;

/// The salt key.
#[derive(Clone, Debug)]
pub(crate) struct SaltKey(Secret<[u8; 32]>);

impl SaltKey {
    pub(crate) const fn new(key: Secret<[u8; 32]>) -> Self {
        Self(key)
    }

    /// Random octets; where there are none, the time makes them at least differ from start to start.
    pub(crate) fn random() -> Self {
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            key[..16].copy_from_slice(&now.as_nanos().to_be_bytes());
        }
        Self::new(Secret::new(key))
    }

    /// What stands for a name where one of several stand-ins is picked.
    pub(crate) fn mark(&self, user: &str) -> String {
        self.keyed(b"mark", user, b"").iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// By what keys are known again that were made of a password.
    pub(crate) fn derived(&self, user: &str, hash: Hash, password: &[u8]) -> [u8; 32] {
        let password = self.keyed(b"password", "", password);
        self.keyed(b"derived", user, &[hash.mechanism().as_bytes(), &password].concat())
    }

    fn keyed(&self, what: &[u8], user: &str, more: &[u8]) -> [u8; 32] {
        // A key of 32 octets is one that BLAKE2s takes (RFC 7693 §2.1).
        let mac = <Blake2sMac256 as blake2::digest::Mac>::new_from_slice(self.0.expose()).map(|mac| {
            let folded = user.to_ascii_lowercase();
            let parts = [what, &[0], folded.as_bytes(), &[0], more];
            parts.iter().fold(mac, |mac, part| mac.chain_update(part)).finalize().into_bytes().into()
        });
        mac.unwrap_or([0; 32])
    }
}

/// Keys that nobody's password fits.
pub(crate) fn keys(key: &SaltKey, user: &str, hash: Hash, like: KeysLike) -> Keys {
    let noise = key.keyed(b"keys", user, hash.mechanism().as_bytes());
    // As long as users have them, which is longer than a block at times.
    let block = |number: u8| key.keyed(b"salt", user, &[hash.mechanism().as_bytes(), &[0, number]].concat());
    let salt = (0..=u8::MAX).flat_map(block).take(like.salt_octets.max(1)).collect();
    Keys::stand_in(hash, &noise, salt, like.iterations)
}
