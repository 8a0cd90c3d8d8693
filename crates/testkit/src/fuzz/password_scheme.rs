//! `StoredPassword::parse`: what a directory may demand of the machine is bounded, and no text of a field is shown.
//! Nothing is hashed here, since that is slow on purpose.

use restante_auth::{
    StoredPassword,
    scheme::{
        ARGON2_MEMORY_MAX_KIB, ARGON2_PARALLELISM_MAX, ARGON2_PASSES_MAX, BCRYPT_COST_MAX, BCRYPT_COST_MIN,
        CRYPT_ROUNDS_MAX, SCHEMES, STORED_MAX_OCTETS, SchemeError,
    },
};

use restante_sasl::scram::{ITERATIONS_MAX, ITERATIONS_MIN};

pub(super) fn run(field: &[u8]) {
    let stored = match StoredPassword::parse(field) {
        Ok(stored) => stored,
        Err(error) => return shows_nothing(field, &error),
    };
    assert!(field.len() <= STORED_MAX_OCTETS);
    let scheme = SCHEMES.iter().find(|scheme| scheme.name == stored.scheme()).expect("a known scheme");
    assert_eq!(format!("{stored:?}"), format!("StoredPassword({{{}}}…)", scheme.name));
    let cost = stored.cost();
    for (name, min, max) in [
        ("m", 8, ARGON2_MEMORY_MAX_KIB),
        ("t", 1, ARGON2_PASSES_MAX),
        ("p", 1, ARGON2_PARALLELISM_MAX),
        // PBKDF2 has no least.
        ("rounds", 1, CRYPT_ROUNDS_MAX),
        ("cost", BCRYPT_COST_MIN, BCRYPT_COST_MAX),
        ("iterations", ITERATIONS_MIN, ITERATIONS_MAX),
    ] {
        if let Some(value) = parameter(&cost, name) {
            assert!((min..=max).contains(&value), "{cost}");
        }
    }
    if let Some(keys) = stored.keys() {
        assert_eq!(scheme.name, keys.hash().mechanism());
    }
    if let Some(password) = stored.plaintext() {
        let password = password.expose().as_slice();
        assert!(!password.is_empty() && password.len() <= field.len());
        assert!(stored.verify(password));
        assert!(!stored.verify(&[password, b"x"].concat()) && !stored.verify(&password[1..]));
        assert!(!stored.verify(b""), "an empty password never fits");
    }
}

/// An error says which scheme it was only where that is the name of a known one.
pub(super) fn shows_nothing(field: &[u8], error: &SchemeError) {
    let text = error.to_string();
    assert!(text.len() < 300 && text.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{text}");
    match error {
        SchemeError::LockedOut { mark } => assert!(matches!(mark, '!' | '*')),
        SchemeError::Unsupported { name } => {
            assert!(
                name.bytes().all(|octet| octet.is_ascii_uppercase() || matches!(octet, b'0'..=b'9' | b'-'))
            );
            assert!(field[1..].to_ascii_uppercase().starts_with(name.as_bytes()));
        }
        _ => {}
    }
}

/// The number of `name=` in a text such as `m=19456,t=2,p=1`.
fn parameter(cost: &str, name: &str) -> Option<u32> {
    let value = cost.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.parse().unwrap())
}
