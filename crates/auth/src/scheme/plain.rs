//! {PLAIN}: the password itself. For tests, for throw-away accounts, and for APOP, which cannot do with less
//! (RFC 1939 §13).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use restante_proto::Secret;
use subtle::ConstantTimeEq as _;

use super::{CreateError, PasswordHash, Scheme, SchemeError};

/// The scheme, for the registry.
pub(super) const SCHEME: Scheme = Scheme {
    name: "PLAIN",
    aliases: &["CLEARTEXT", "CLEAR"],
    crypt_prefix: None,
    parse,
    create: Some(create),
};

struct Plain(Secret<Vec<u8>>);

impl PasswordHash for Plain {
    fn verify(&self, password: &[u8]) -> bool {
        self.0.expose().as_slice().ct_eq(password).into()
    }

    fn cost(&self) -> String {
        String::new()
    }

    fn plaintext(&self) -> Option<&Secret<Vec<u8>>> {
        Some(&self.0)
    }
}

fn parse(hash: &[u8]) -> Result<Arc<dyn PasswordHash>, SchemeError> {
    Ok(Arc::new(Plain(Secret::new(hash.to_vec()))))
}

/// As it is if a line of a users file can hold it, else in base64.
fn create(password: &[u8]) -> Result<Secret<String>, CreateError> {
    let fits = password.iter().all(|&octet| octet.is_ascii_graphic() && octet != b':');
    let field = match std::str::from_utf8(password) {
        Ok(text) if fits => format!("{{PLAIN}}{text}"),
        _ => format!("{{PLAIN.b64}}{}", STANDARD.encode(password)),
    };
    Ok(Secret::new(field))
}
