//! Signing in with OAuth 2.0 (RFC 6749): how a person lets a mail client in without giving it a password, and how the token
//! that comes of it is kept, and replaced before it expires.
