//! Bearer tokens to log in with: asked for at each login, since they live for an hour or so and a run may be longer. Who
//! makes them is not this crate's business.

use std::{fmt, future::Future, pin::Pin};

use restante_proto::Secret;

/// A token on its way.
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<Secret<Vec<u8>>, TokenError>> + Send + 'a>>;

/// When a person signed in, in seconds since 1970, on its way.
pub type SignedInFuture<'a> = Pin<Box<dyn Future<Output = Option<u64>> + Send + 'a>>;

/// Where the tokens of an account come from.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// A token that works, as far as is known. `refused` is one that the server has refused: then it is another one.
    fn token<'a>(&'a self, refused: Option<&'a Secret<Vec<u8>>>) -> TokenFuture<'a>;

    /// When a person signed in, in seconds since 1970, as far as is known.
    fn signed_in_at(&self) -> SignedInFuture<'_> {
        Box::pin(async { None })
    }

    /// What a person should know though there was a token; told once.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// In words.
    pub text: String,
    /// Whether it may go better in a while without anybody doing anything.
    pub is_temporary: bool,
}
