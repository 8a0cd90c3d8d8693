//! What can go wrong. No error holds a token, a code, or a client's secret.

use oauth2::{ErrorResponse, ErrorResponseType, RequestTokenError};

use crate::http::HttpError;

/// The longest text of a server that is shown, in characters.
const SHOWN_MAX_CHARS: usize = 300;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OauthError {
    /// The authorization server does not answer, or not sensibly. Trying again later may help.
    #[error("{0}")]
    Away(String),
    /// The authorization server says no.
    #[error("the authorization server says no: {0}")]
    Refused(String),
    /// What was kept is worth nothing any more, or there is nothing; only a person can help.
    #[error("{0}: sign in again")]
    SignIn(&'static str),
    /// The person said no.
    #[error("it was not allowed")]
    Denied,
    /// The person took too long.
    #[error("nobody answered in time")]
    TooLate,
    /// An answer that was not to our question: somebody else may have asked for it.
    #[error("an answer came that was not to this question; nothing was kept. Try again")]
    State,
    /// It cannot be done in this way.
    #[error("{0}")]
    Setup(String),
    /// The tokens cannot be kept, or read.
    #[error("{0}")]
    Store(String),
}

impl OauthError {
    /// Whether it may go better in a while without anybody doing anything.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Store(_))
    }
}

/// What the library says, in our words: its own hold the server's answer, where tokens may be.
pub(crate) fn told<T>(error: RequestTokenError<HttpError, T>, refresh: bool) -> OauthError
where
    T: ErrorResponse + OneError + 'static,
{
    match error {
        RequestTokenError::Request(error) => OauthError::Away(error.to_string()),
        RequestTokenError::ServerResponse(response) => match response.word().as_str() {
            "invalid_grant" if refresh => {
                OauthError::SignIn("the authorization server does not take the refresh token any more")
            }
            "access_denied" => OauthError::Denied,
            "expired_token" => OauthError::TooLate,
            "temporarily_unavailable" | "server_error" => {
                OauthError::Away("the authorization server is not available".into())
            }
            word => OauthError::Refused(match response.description() {
                Some(text) => format!("{} ({})", shown(word), shown(&text)),
                None => shown(word),
            }),
        },
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            OauthError::Away("the authorization server answered what makes no sense".into())
        }
    }
}

/// The word and the description of an error (RFC 6749 §5.2).
pub(crate) trait OneError {
    fn word(&self) -> String;
    fn description(&self) -> Option<String>;
}

impl<T: ErrorResponseType + 'static> OneError for oauth2::StandardErrorResponse<T>
where
    T: AsRef<str>,
{
    fn word(&self) -> String {
        self.error().as_ref().to_owned()
    }

    fn description(&self) -> Option<String> {
        self.error_description().cloned()
    }
}

/// A server's text, for a terminal: printable and short, and without words so long that they could be tokens.
pub(crate) fn shown(text: &str) -> String {
    const WORD_MAX_CHARS: usize = 60;
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let clean: String = text.chars().map(printable).take(SHOWN_MAX_CHARS).collect();
    let words = clean.split_whitespace().map(|word| match word.chars().count() {
        0..=WORD_MAX_CHARS => word,
        _ => "…",
    });
    words.collect::<Vec<_>>().join(" ")
}
