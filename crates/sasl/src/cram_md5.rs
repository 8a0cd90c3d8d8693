//! CRAM-MD5 (RFC 2195): the server asks something that was never asked before, and the client answers with its HMAC-MD5 under
//! the password.
//!
//! It needs a secret that the server can read: passwords stored as {PLAIN}, so that whoever gets at the file has them all.
//! SCRAM does without; this is here for old clients, and only where somebody named it.

use hmac::{Hmac, Mac as _};
use md5::Md5;
use restante_proto::Secret;
use sha2::{Digest as _, Sha256};

use crate::{
    ClientError, ClientExchange, Credentials, Evidence, Mechanism, Needs, ServerContext, ServerExchange,
    Step, read_name,
};

/// CRAM-MD5, for the registry.
pub(crate) const MECHANISM: Mechanism = Mechanism {
    name: "CRAM-MD5",
    needs: Needs::Plaintext,
    cleartext: false,
    binding: false,
    by_name_only: true,
    server: |context| Box::new(Server::Start { challenge: challenge(context) }),
    client: |credentials, _| Box::new(Client { credentials, answered: false }),
};

/// The longest challenge that is answered, in octets.
const CHALLENGE_MAX_OCTETS: usize = 1024;

/// In the form of a message-id, `<digits.digits@hostname>` (RFC 2195 §2). The digits are the nonce's, which has other
/// characters too.
fn challenge(context: &ServerContext) -> Vec<u8> {
    let hash = Sha256::digest(&context.nonce);
    let mut numbers = hash
        .chunks_exact(8)
        .map(|octets| octets.iter().fold(0, |n: u64, &octet| (n << 8) | u64::from(octet)));
    let mut number = || numbers.next().unwrap_or_default();
    format!("<{}.{}@{}>", number(), number(), context.hostname).into_bytes()
}

/// Where the server's half is.
#[derive(Debug)]
enum Server {
    /// Nothing was said.
    Start { challenge: Vec<u8> },
    /// The challenge was sent.
    Asked { challenge: Vec<u8> },
    /// The exchange is over.
    Over,
}

impl ServerExchange for Server {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        let (next, step) = match (std::mem::replace(self, Self::Over), response) {
            (Self::Start { challenge }, None) => {
                (Self::Asked { challenge: challenge.clone() }, Step::Challenge(challenge))
            }
            (Self::Asked { challenge }, Some(response)) => {
                let evidence =
                    read(response).map(|(user, digest)| Evidence::Digest { user, challenge, digest });
                (Self::Over, evidence.map_or(Step::Malformed, Step::Verify))
            }
            // Also for an initial response: the server speaks first (RFC 5034 §4).
            _ => (Self::Over, Step::Malformed),
        };
        *self = next;
        step
    }
}

/// The name, a space, and 32 digits of the digest.
fn read(response: &[u8]) -> Option<(String, [u8; 16])> {
    let (user, digits) = std::str::from_utf8(response).ok()?.rsplit_once(' ')?;
    let mut digest = [0; 16];
    if digits.len() != 2 * digest.len() || !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return None;
    }
    for (octet, pair) in digest.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some((read_name(user.as_bytes())?.to_owned(), digest))
}

/// The client's half.
#[derive(Debug)]
struct Client {
    credentials: Credentials,
    answered: bool,
}

impl ClientExchange for Client {
    /// None: the server begins.
    fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        None
    }

    /// Only what has the form of a message-id is answered, so that nobody gets a digest of what he likes.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, ClientError> {
        let sound = matches!(challenge, [b'<', inner @ .., b'>'] if inner.iter().all(u8::is_ascii_graphic));
        if self.answered || !sound || challenge.len() > CHALLENGE_MAX_OCTETS {
            return Err(ClientError::Senseless);
        }
        self.answered = true;
        let Credentials { user, password, .. } = &self.credentials;
        if user.is_empty() || user.chars().any(|c| c.is_ascii_control()) {
            return Err(ClientError::Credentials);
        }
        // HMAC takes keys of any length, so that nothing can fail here.
        let mac = Hmac::<Md5>::new_from_slice(password.expose()).map_err(|_| ClientError::Credentials)?;
        let digest = mac.chain_update(challenge).finalize().into_bytes();
        let mut response = format!("{user} ");
        for octet in digest {
            response.push_str(&format!("{octet:02x}"));
        }
        Ok(Secret::new(response.into_bytes()))
    }
}
