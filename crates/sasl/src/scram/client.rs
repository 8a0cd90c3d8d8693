//! The client's half: it hashes the password as often as the server says, within bounds, and believes no server that does
//! not prove that it knows the result.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_proto::Secret;
use subtle::ConstantTimeEq as _;

use super::{
    Hash, ITERATIONS_MAX, ITERATIONS_MIN,
    message::{ServerFinal, ServerFirst, auth_message, is_own_nonce},
    xor,
};
use crate::{ClientContext, ClientError, ClientExchange, Credentials, gs2, refusal_text, saslprep};

/// One exchange.
pub(super) struct Client {
    hash: Hash,
    nonce: String,
    /// The head of the first message; `None` where there is no binding for a mechanism that needs one.
    header: Option<String>,
    /// What `c=` says.
    binding: Vec<u8>,
    /// Name and password, prepared; `None` where that cannot be done.
    user: Option<Secret<String>>,
    password: Option<Secret<String>>,
    /// An empty challenge was answered; a second one would be a server that lost its way.
    asked: bool,
    state: State,
    refusal: Option<String>,
}

enum State {
    /// The server has not answered the first message.
    Begun,
    /// The proof was sent; this is what the server has to show.
    Proven { signature: Secret<Vec<u8>> },
    /// The server has shown it.
    Verified,
    /// The exchange is over.
    Over,
}

impl Client {
    pub(super) fn new(hash: Hash, plus: bool, credentials: &Credentials, context: &ClientContext) -> Self {
        let bindings = &context.bindings;
        let (header, data) = match (plus, bindings.preferred()) {
            (true, None) => (None, None),
            (true, Some((name, data))) => (Some(format!("p={name},,")), Some(data)),
            // RFC 5802 §6: if the server has offered one, somebody took it out of the list, and the server says no.
            (false, Some(_)) if !context.plus_offered => (Some("y,,".into()), None),
            (false, _) => (Some("n,,".into()), None),
        };
        let mut binding = header.clone().unwrap_or_default().into_bytes();
        binding.extend_from_slice(data.unwrap_or_default());
        let password = std::str::from_utf8(credentials.password.expose()).ok();
        Self {
            hash,
            nonce: context.nonce.clone(),
            header,
            binding,
            user: saslprep::prepare(&credentials.user).filter(|user| !user.expose().contains('\0')),
            password: password.and_then(saslprep::prepare),
            asked: false,
            state: State::Begun,
            refusal: None,
        }
    }

    /// client-first-message-bare.
    fn bare(&self) -> Option<String> {
        let user = self.user.as_ref().filter(|_| is_own_nonce(&self.nonce))?;
        Some(format!("n={},r={}", gs2::escape(user.expose()), self.nonce))
    }

    fn first(&self) -> Result<Secret<Vec<u8>>, ClientError> {
        let header = self.header.as_ref().ok_or(ClientError::NoBinding)?;
        let bare = self.bare().filter(|_| self.password.is_some()).ok_or(ClientError::Credentials)?;
        Ok(Secret::new(format!("{header}{bare}").into_bytes()))
    }

    /// client-final-message, and the signature that the server has to show then.
    fn prove(&self, challenge: &[u8]) -> Result<(Secret<Vec<u8>>, State), ClientError> {
        let (bare, password) = self.bare().zip(self.password.as_ref()).ok_or(ClientError::Credentials)?;
        let server_first = std::str::from_utf8(challenge).map_err(|_| ClientError::Senseless)?;
        let first = ServerFirst::read(challenge).ok_or(ClientError::Senseless)?;
        let added = first.nonce.strip_prefix(self.nonce.as_str());
        if added.is_none_or(str::is_empty) {
            return Err(ClientError::Senseless);
        }
        let out_of_bounds = ClientError::Iterations(first.iterations);
        let iterations = u32::try_from(first.iterations)
            .ok()
            .filter(|iterations| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(iterations))
            .ok_or(out_of_bounds)?;
        let hash = self.hash;
        let salted = hash.salted_password(password.expose().as_bytes(), &first.salt, iterations);
        let hmac = |key: &Secret<Vec<u8>>, data: &[u8]| Secret::new(hash.hmac(key.expose(), data));
        let client_key = hmac(&salted, b"Client Key");
        let stored_key = Secret::new(hash.digest(client_key.expose()));
        let without_proof = format!("c={},r={}", BASE64.encode(&self.binding), first.nonce);
        let auth_message = auth_message(&bare, server_first, &without_proof);
        let proof = xor(&client_key, &hmac(&stored_key, auth_message.expose()));
        let signature = hmac(&hmac(&salted, b"Server Key"), auth_message.expose());
        let message = format!("{without_proof},p={}", BASE64.encode(proof.expose()));
        Ok((Secret::new(message.into_bytes()), State::Proven { signature }))
    }

    /// Looks for an error of the server's (RFC 5802 §7). The answer is empty, so that the server can say no.
    fn hears_refusal(&mut self, challenge: &[u8]) -> bool {
        let Some(ServerFinal::Error(error)) = ServerFinal::read(challenge) else { return false };
        self.refusal = refusal_text(error);
        true
    }
}

impl ClientExchange for Client {
    fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        self.first().ok()
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, ClientError> {
        let empty = || Secret::new(Vec::new());
        match std::mem::replace(&mut self.state, State::Over) {
            // It also comes after an initial response where a server ignores that.
            State::Begun if challenge.is_empty() && !self.asked => {
                self.asked = true;
                let first = self.first()?;
                self.state = State::Begun;
                Ok(first)
            }
            State::Begun | State::Proven { .. } if self.hears_refusal(challenge) => Ok(empty()),
            State::Begun => {
                let (proof, next) = self.prove(challenge)?;
                self.state = next;
                Ok(proof)
            }
            State::Proven { signature } => match ServerFinal::read(challenge) {
                Some(ServerFinal::Signature(shown)) if bool::from(shown.ct_eq(signature.expose())) => {
                    self.state = State::Verified;
                    Ok(empty())
                }
                Some(_) => Err(ClientError::Impostor),
                None => Err(ClientError::Senseless),
            },
            State::Verified | State::Over => Err(ClientError::Senseless),
        }
    }

    fn accepted(&mut self) -> Result<(), ClientError> {
        matches!(self.state, State::Verified).then_some(()).ok_or(ClientError::Impostor)
    }

    fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// No nonce and no password.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("hash", &self.hash).finish_non_exhaustive()
    }
}
