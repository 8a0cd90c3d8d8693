//! SCRAM's four messages (RFC 5802 §7), read and written: letters with values between commas.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_proto::Secret;

use super::keys::SALT_MAX_OCTETS;
use crate::gs2;

/// The longest message that is read, in octets: a name with every octet escaped, nonces, and some extensions.
const MESSAGE_MAX_OCTETS: usize = 4096;
/// The longest nonce that is read, in octets.
const NONCE_MAX_OCTETS: usize = 512;
/// The shortest nonce that is used for one's own, in octets.
const NONCE_MIN_OCTETS: usize = 18;

/// The letters that have a meaning and a place (RFC 5802 §5.1): what stands behind as an extension has another.
const RESERVED: &str = "anmrcsipve";

/// client-first-message.
#[derive(Debug)]
pub(super) struct ClientFirst<'a> {
    pub(super) header: gs2::Header<'a>,
    /// The name, not prepared yet.
    pub(super) user: String,
    pub(super) nonce: &'a str,
    /// client-first-message-bare.
    pub(super) bare: &'a str,
}

/// server-first-message.
#[derive(Debug)]
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    /// As many as the server says; bounds are another question.
    pub(super) iterations: u64,
}

/// client-final-message.
#[derive(Debug)]
pub(super) struct ClientFinal<'a> {
    pub(super) binding: Vec<u8>,
    pub(super) nonce: &'a str,
    pub(super) proof: Secret<Vec<u8>>,
    /// client-final-message-without-proof.
    pub(super) without_proof: &'a str,
}

/// server-final-message.
#[derive(Debug)]
pub(super) enum ServerFinal<'a> {
    /// `v=`: the server's signature.
    Signature(Vec<u8>),
    /// `e=`: why it says no.
    Error(&'a str),
}

impl<'a> ClientFirst<'a> {
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let (header, bare) = gs2::read(text(message)?)?;
        let mut fields = bare.split(',');
        // `m=` may stand in front, and nobody knows what it means: it has to fail.
        let user = gs2::unescape(value(fields.next()?, 'n')?)?;
        let nonce = value(fields.next()?, 'r').filter(|nonce| is_nonce(nonce))?;
        fields.all(is_extension).then_some(Self { header, user, nonce, bare })
    }
}

impl<'a> ServerFirst<'a> {
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let mut fields = text(message)?.split(',');
        let nonce = value(fields.next()?, 'r').filter(|nonce| is_nonce(nonce))?;
        let salt = BASE64.decode(value(fields.next()?, 's')?).ok()?;
        let iterations = value(fields.next()?, 'i')?;
        let number = iterations.bytes().all(|octet| octet.is_ascii_digit()) && !iterations.starts_with('0');
        let sound = number && !iterations.is_empty() && matches!(salt.len(), 1..=SALT_MAX_OCTETS);
        // A number with more digits than fit is out of every bound.
        let iterations = iterations.parse().unwrap_or(u64::MAX);
        (sound && fields.all(is_extension)).then_some(Self { nonce, salt, iterations })
    }

    pub(super) fn write(nonce: &str, salt: &[u8], iterations: u32) -> String {
        let mut message = format!("r={nonce},s=");
        BASE64.encode_string(salt, &mut message);
        let _ = write!(message, ",i={iterations}");
        message
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let (without_proof, proof) = text(message)?.rsplit_once(',')?;
        let proof = Secret::new(BASE64.decode(value(proof, 'p')?).ok()?);
        let mut fields = without_proof.split(',');
        let binding = BASE64.decode(value(fields.next()?, 'c')?).ok()?;
        let nonce = value(fields.next()?, 'r')?;
        fields.all(is_extension).then_some(Self { binding, nonce, proof, without_proof })
    }
}

impl<'a> ServerFinal<'a> {
    pub(super) fn read(message: &'a [u8]) -> Option<Self> {
        let mut fields = text(message)?.split(',');
        let first = fields.next()?;
        let read = match value(first, 'v') {
            Some(signature) => Self::Signature(BASE64.decode(signature).ok()?),
            None => Self::Error(value(first, 'e')?),
        };
        fields.all(is_extension).then_some(read)
    }
}

/// AuthMessage of RFC 5802 §3.
pub(super) fn auth_message(bare: &str, server_first: &str, without_proof: &str) -> Secret<Vec<u8>> {
    Secret::new([bare, server_first, without_proof].join(",").into_bytes())
}

/// Whether a nonce of one's own can be used: long enough not to be guessed, and of legal octets.
pub(super) fn is_own_nonce(nonce: &str) -> bool {
    nonce.len() >= NONCE_MIN_OCTETS && is_nonce(nonce)
}

fn is_nonce(nonce: &str) -> bool {
    let printable = |octet| matches!(octet, b'!'..=b'~') && octet != b',';
    matches!(nonce.len(), 1..=NONCE_MAX_OCTETS) && nonce.bytes().all(printable)
}

fn text(message: &[u8]) -> Option<&str> {
    let fits = message.len() <= MESSAGE_MAX_OCTETS && !message.contains(&0);
    if fits { std::str::from_utf8(message).ok() } else { None }
}

fn value(field: &str, letter: char) -> Option<&str> {
    field.strip_prefix(letter)?.strip_prefix('=')
}

/// Whether a field is an extension, which those who do not know it pass over; `m=` is not, which has to be understood.
fn is_extension(field: &str) -> bool {
    let mut characters = field.chars();
    let letter = characters.next().is_some_and(|c| c.is_ascii_alphabetic() && !RESERVED.contains(c));
    letter && characters.next() == Some('=') && characters.next().is_some()
}
