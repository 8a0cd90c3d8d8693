//! SCRAM (RFC 5802, RFC 7677): the client proves that it knows the password, and the server that it knows its keys; neither
//! shows the password to whoever listens.

mod keys;

pub use keys::{Hash, ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, Keys, KeysError};
