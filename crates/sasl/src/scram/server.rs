//! The server's half: it never sees the password, and hashes nothing that takes time.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use restante_proto::Secret;
use subtle::ConstantTimeEq as _;

use super::{
    Hash, Keys,
    message::{ClientFinal, ClientFirst, ServerFirst, auth_message, is_own_nonce},
    xor,
};
use crate::{ChannelBindings, Evidence, ServerContext, ServerExchange, Step, gs2::Flag, read_name, saslprep};

/// One exchange.
pub(super) struct Server {
    hash: Hash,
    /// Whether the mechanism is bound to the channel.
    plus: bool,
    /// The server's part of the nonce.
    nonce: String,
    bindings: ChannelBindings,
    plus_offered: bool,
    state: State,
}

enum State {
    /// Nothing was said.
    Start,
    /// The empty challenge was sent.
    Asked,
    /// The user's keys were asked for.
    Keys(Begun),
    /// server-first-message was sent.
    Challenged { begun: Begun, server_first: String, keys: Keys },
    /// The proof was looked at; what proves the server waits for the verdict.
    Judged { server_final: Secret<Vec<u8>> },
    /// The exchange is over.
    Over,
}

/// What stays of the client's first message.
struct Begun {
    /// client-first-message-bare.
    bare: String,
    /// Both parts of the nonce.
    nonce: String,
    /// What `c=` has to be: the message's head, and the data of the binding (RFC 5802 §7, cbind-input).
    binding: Vec<u8>,
}

impl Server {
    pub(super) fn new(hash: Hash, plus: bool, context: &ServerContext) -> Self {
        Self {
            hash,
            plus,
            nonce: context.nonce.clone(),
            bindings: context.bindings.clone(),
            plus_offered: context.plus_offered,
            state: State::Start,
        }
    }

    fn first(&self, message: &[u8]) -> Option<(Begun, String)> {
        let first = ClientFirst::read(message).filter(|_| is_own_nonce(&self.nonce))?;
        let mut binding = first.header.text.as_bytes().to_vec();
        match (first.header.flag, self.plus) {
            (Flag::Used(name), true) => binding.extend_from_slice(self.bindings.get(name)?),
            (Flag::No, false) => {}
            // RFC 5802 §6: somebody took the -PLUS mechanisms out of what the client has seen.
            (Flag::NotOffered, false) if !self.plus_offered => {}
            _ => return None,
        }
        let user = saslprep::prepare(&first.user)?;
        read_name(user.expose().as_bytes())?;
        if let Some(authzid) = &first.header.authzid {
            // Names compare with ASCII case folded, here as everywhere.
            let authzid = saslprep::prepare(authzid)?;
            if !authzid.expose().eq_ignore_ascii_case(user.expose()) {
                return None;
            }
        }
        let nonce = format!("{}{}", first.nonce, self.nonce);
        Some((Begun { bare: first.bare.to_owned(), nonce, binding }, user.expose().clone()))
    }

    /// Whether the client knew the password, and what proves the server to a client that did. A binding of another
    /// connection is told in no other words than a wrong password.
    fn last(
        hash: Hash,
        begun: &Begun,
        server_first: &str,
        keys: &Keys,
        message: &[u8],
    ) -> Option<(bool, State)> {
        let last = ClientFinal::read(message)?;
        if last.nonce != begun.nonce || last.proof.expose().len() != hash.octets() {
            return None;
        }
        let auth_message = auth_message(&begun.bare, server_first, last.without_proof);
        let signed = |key: &Secret<Vec<u8>>| Secret::new(hash.hmac(key.expose(), auth_message.expose()));
        let client_key = xor(&last.proof, &signed(keys.stored_key()));
        let stored_key = Secret::new(hash.digest(client_key.expose()));
        let proven = stored_key.expose().ct_eq(keys.stored_key().expose());
        let bound = last.binding.as_slice().ct_eq(&begun.binding);
        let signature = BASE64.encode(signed(keys.server_key()).expose());
        let server_final = Secret::new(format!("v={signature}").into_bytes());
        Some(((proven & bound).into(), State::Judged { server_final }))
    }
}

impl ServerExchange for Server {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        let (next, step) = match (state, response) {
            (State::Start, None) => (State::Asked, Step::Challenge(Vec::new())),
            (State::Start | State::Asked, Some(message)) => match self.first(message) {
                Some((begun, user)) => (State::Keys(begun), Step::Keys { user, hash: self.hash }),
                None => (State::Over, Step::Malformed),
            },
            (State::Challenged { begun, server_first, keys }, Some(message)) => {
                match Self::last(self.hash, &begun, &server_first, &keys, message) {
                    Some((right, next)) => (next, Step::Verify(Evidence::Proof { right })),
                    None => (State::Over, Step::Malformed),
                }
            }
            _ => (State::Over, Step::Malformed),
        };
        self.state = next;
        step
    }

    fn keys(&mut self, keys: &Keys) -> Step {
        let State::Keys(begun) = std::mem::replace(&mut self.state, State::Over) else {
            return Step::Malformed;
        };
        if keys.hash() != self.hash {
            return Step::Malformed;
        }
        let server_first = ServerFirst::write(&begun.nonce, keys.salt(), keys.iterations());
        let challenge = server_first.clone().into_bytes();
        self.state = State::Challenged { begun, server_first, keys: keys.clone() };
        Step::Challenge(challenge)
    }

    /// The server's signature for a client that is let in. For another one the reply says all that it is told.
    fn verified(&mut self, accepted: bool) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Judged { server_final } if accepted => Some(server_final.expose().clone()),
            _ => None,
        }
    }
}

/// No nonce and no key.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hash, plus, .. } = self;
        f.debug_struct("Server").field("hash", hash).field("plus", plus).finish_non_exhaustive()
    }
}
