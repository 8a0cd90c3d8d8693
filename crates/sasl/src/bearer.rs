//! What the two mechanisms with bearer tokens (RFC 6750) share: fields between octets 1, and errors as JSON.

use restante_proto::Secret;

use crate::{ClientError, ClientExchange, Evidence, Step, TOKEN_MAX_OCTETS, refusal_text};

/// What ends a field (kvsep of RFC 7628 §3.1).
pub(crate) const SEPARATOR: &str = "\x01";

/// The longest error that is read, in octets.
const ERROR_MAX_OCTETS: usize = 4096;

/// The fields of a message: each has an end, and behind the last one stands one more.
pub(crate) fn fields(message: &str) -> Option<impl Iterator<Item = (&str, &str)> + Clone> {
    let fields = message.strip_suffix(SEPARATOR)?.strip_suffix(SEPARATOR)?.split(SEPARATOR);
    fields.clone().all(is_field).then(|| fields.filter_map(|field| field.split_once('=')))
}

/// RFC 7628 §3.1, kvpair.
fn is_field(field: &str) -> bool {
    let in_value = |octet| matches!(octet, b' '..=b'~' | b'\t' | b'\r' | b'\n' | 0x80..);
    field.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_alphabetic()) && value.bytes().all(in_value)
    })
}

/// The token in the value of `auth`, whose scheme is Bearer in any case of letters (RFC 6750 §2.1, RFC 9110 §11.1).
pub(crate) fn token(value: &str) -> Option<Secret<String>> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && is_token(token)).then(|| Secret::new(token.to_owned()))
}

/// Printable, without spaces: tokens are more than RFC 6750 says, as far as servers go that make them.
fn is_token(token: &str) -> bool {
    matches!(token.len(), 1..=TOKEN_MAX_OCTETS) && token.bytes().all(|octet| octet.is_ascii_graphic())
}

/// The token of credentials, if it can be sent.
pub(crate) fn sendable(token: &Secret<Vec<u8>>) -> Option<&str> {
    std::str::from_utf8(token.expose()).ok().filter(|token| is_token(token))
}

/// Where the server's half of either mechanism is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    /// Nothing was said.
    Start,
    /// The empty challenge was sent.
    Asked,
    /// The token was handed over.
    Judged,
    /// The exchange is over.
    Over,
}

impl Server {
    /// Goes on: `read` takes the one message apart, and `error` is what is said where there is no token in it.
    pub(crate) fn step(
        &mut self,
        response: Option<&[u8]>,
        read: impl Fn(&str) -> Option<Message>,
        error: &str,
    ) -> Step {
        let (next, step) = match (*self, response) {
            (Self::Start, None) => (Self::Asked, Step::Challenge(Vec::new())),
            (Self::Start | Self::Asked, Some(message)) => match std::str::from_utf8(message)
                .ok()
                .and_then(read)
            {
                Some(Message { user, token: Some(token) }) => {
                    (Self::Judged, Step::Verify(Evidence::Token { user, token }))
                }
                Some(Message { token: None, .. }) => (Self::Over, Step::Challenge(error.as_bytes().to_vec())),
                None => (Self::Over, Step::Malformed),
            },
            _ => (Self::Over, Step::Malformed),
        };
        *self = next;
        step
    }

    /// Hears the verdict; one that is no has a reason, which the client answers before the reply says no.
    pub(crate) fn verified(&mut self, accepted: bool, error: &str) -> Option<Vec<u8>> {
        let judged = matches!(std::mem::replace(self, Self::Over), Self::Judged);
        (judged && !accepted).then(|| error.as_bytes().to_vec())
    }
}

/// What a client's one message says.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) user: Option<String>,
    /// `None` where it only asks what it would need.
    pub(crate) token: Option<Secret<String>>,
}

/// The client's half of either mechanism.
#[derive(Debug)]
pub(crate) struct Client {
    message: Option<Secret<Vec<u8>>>,
    /// What it answers to an error, behind which the server says no.
    error_answer: &'static str,
    /// Whether an empty challenge was answered; a second one would be a server that lost its way.
    answered: bool,
    failed: bool,
    refusal: Option<String>,
}

impl Client {
    /// With its one message; `None` if the mechanism cannot carry the credentials.
    pub(crate) const fn new(message: Option<Secret<Vec<u8>>>, error_answer: &'static str) -> Self {
        Self { message, error_answer, answered: false, failed: false, refusal: None }
    }
}

impl ClientExchange for Client {
    fn initial(&mut self) -> Option<Secret<Vec<u8>>> {
        self.message.clone()
    }

    /// The message for an empty challenge, which also comes where a server ignores the initial response; what is not
    /// empty is an error.
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, ClientError> {
        if self.failed || (self.answered && challenge.is_empty()) {
            return Err(ClientError::Senseless);
        }
        if challenge.is_empty() {
            self.answered = true;
            return self.message.clone().ok_or(ClientError::Credentials);
        }
        self.failed = true;
        self.refusal = status(challenge);
        Ok(Secret::new(self.error_answer.as_bytes().to_vec()))
    }

    /// Behind an error there can be no yes.
    fn accepted(&mut self) -> Result<(), ClientError> {
        if self.failed { Err(ClientError::Senseless) } else { Ok(()) }
    }

    fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// The status that an error tells (RFC 7628 §3.2.2), as far as it can be shown.
pub(crate) fn status(error: &[u8]) -> Option<String> {
    if error.len() > ERROR_MAX_OCTETS {
        return None;
    }
    match serde_json::from_slice::<serde_json::Value>(error).ok()?.get("status")? {
        serde_json::Value::String(status) => refusal_text(status),
        serde_json::Value::Number(status) => refusal_text(&status.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_ends_and_the_message_one_more() {
        let read = |message| fields(message).map(Iterator::collect::<Vec<_>>);
        assert_eq!(read("a=b\x01c=d=e\x01\x01"), Some(vec![("a", "b"), ("c", "d=e")]));
        for bad in [
            "",
            "\x01",
            "\x01\x01",
            "a=b",
            "a=b\x01",
            "ab\x01\x01",
            "=b\x01\x01",
            "a1=b\x01\x01",
            "a=\0\x01\x01",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_status_is_printable_and_short() {
        assert_eq!(status(br#"{"status":"invalid_token","scope":"x"}"#).as_deref(), Some("invalid_token"));
        assert_eq!(status(br#"{"status":401}"#).as_deref(), Some("401"));
        assert_eq!(status(b"{\"status\":\"a\\u001bb\\n\xc3\xa4\"}").as_deref(), Some("a?b??"));
        let long = format!("{{\"status\":\"{}\"}}", "x".repeat(1000));
        assert_eq!(status(long.as_bytes()).unwrap().len(), crate::REFUSAL_MAX_OCTETS);
        let deep = "[".repeat(ERROR_MAX_OCTETS - 1);
        let longer = format!("{{\"status\":\"x\",\"y\":\"{}\"}}", "x".repeat(ERROR_MAX_OCTETS));
        for bad in ["", "x", "{}", "[]", "{\"status\":[]}", "{\"status\":\"\"}", &deep, &longer] {
            assert_eq!(status(bad.as_bytes()), None);
        }
    }
}
