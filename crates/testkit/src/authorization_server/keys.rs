//! The keys of the authorization server, and tokens that they sign.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rcgen::KeyPair;
use serde_json::{Value, json};

/// By which key a token is signed, if by any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// RSA with SHA-256.
    Rs256,
    /// ECDSA on P-256.
    Es256,
    /// The key that [`Signature::Rs256`] names, but another one signed.
    Forged,
    /// HMAC, with the public key's modulus as its secret: the old trick.
    Hs256,
    /// `alg: none`.
    None,
    /// As [`Signature::Es256`], without the name of the key.
    NoKid,
}

/// A pair of keys.
pub(super) struct Keys {
    generation: u32,
    rsa: Pair,
    ec: Pair,
}

struct Pair {
    kid: String,
    key: EncodingKey,
    jwk: Value,
}

#[allow(clippy::expect_used)] // of a test: nothing can be done about it
impl Pair {
    fn rsa(kid: String) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("randomness");
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("we made it");
        Self::of(kid, key, Algorithm::RS256)
    }

    fn ec(kid: String) -> Self {
        let pair = KeyPair::generate().expect("randomness");
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("we made it");
        Self::of(kid, key, Algorithm::ES256)
    }

    fn of(kid: String, key: EncodingKey, algorithm: Algorithm) -> Self {
        let jwk = Jwk::from_encoding_key(&key, algorithm).expect("we made it");
        let mut jwk = serde_json::to_value(jwk).expect("it is data");
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        Self { kid, key, jwk }
    }
}

#[allow(clippy::expect_used)] // of a test: nothing can be done about it
impl Keys {
    pub(super) fn new() -> Self {
        Self::of(1)
    }

    fn of(generation: u32) -> Self {
        let name = |kind: &str| format!("{kind}-{generation}");
        Self { generation, rsa: Pair::rsa(name("rsa")), ec: Pair::ec(name("ec")) }
    }

    /// The ones that take their place.
    pub(super) fn next(&self) -> Self {
        Self::of(self.generation + 1)
    }

    /// What everybody may know of them, with one of a kind that nobody knows.
    pub(super) fn public(&self) -> Value {
        json!({"keys": [{"kty": "X-NEW", "kid": "new", "use": "sig"}, self.rsa.jwk, self.ec.jwk]})
    }

    pub(super) fn sign(&self, claims: &Value, signature: Signature) -> String {
        let signed = |algorithm, kid: Option<&str>, key: &EncodingKey| {
            let mut header = Header::new(algorithm);
            header.kid = kid.map(str::to_owned);
            encode(&header, claims, key).expect("a key that signs")
        };
        match signature {
            Signature::Rs256 => signed(Algorithm::RS256, Some(&self.rsa.kid), &self.rsa.key),
            Signature::Es256 => signed(Algorithm::ES256, Some(&self.ec.kid), &self.ec.key),
            Signature::NoKid => signed(Algorithm::ES256, None, &self.ec.key),
            Signature::Forged => {
                signed(Algorithm::RS256, Some(&self.rsa.kid), &Pair::rsa("other".into()).key)
            }
            Signature::Hs256 => {
                let modulus = self.rsa.jwk["n"].as_str().unwrap_or_default();
                let key = EncodingKey::from_secret(modulus.as_bytes()).expect("a secret");
                signed(Algorithm::HS256, Some(&self.rsa.kid), &key)
            }
            Signature::None => {
                use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
                let part = |value: &Value| BASE64.encode(value.to_string());
                format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
            }
        }
    }
}
