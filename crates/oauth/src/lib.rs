//! Signing in with OAuth 2.0 (RFC 6749): how a person lets a mail client in without giving it a password, and how the token
//! that comes of it is kept, and replaced before it expires.
//!
//! Whom one signs in with is a line in [`PROVIDERS`], or an address that tells the rest ([`Provider::discover`]). How one
//! signs in is [`device`] or [`browser`]; where tokens are kept, [`Store`]; who wants a token that works asks a
//! [`Source`]. No client is registered for us anywhere: each person or organisation registers one, and names it in the
//! configuration.

pub mod browser;
pub mod device;
mod error;
mod http;
mod provider;
mod source;
mod store;
mod tokens;

pub use browser::Browser;
pub use error::OauthError;
pub use http::{Http, HttpError, is_safe};
pub use provider::{Client, Flow, Known, PROVIDERS, Provider};
pub use source::{Source, Unsaved};
pub use store::{Lock, Place, Room, Store};
pub use tokens::Tokens;
