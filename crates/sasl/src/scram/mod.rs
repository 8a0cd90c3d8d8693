//! SCRAM (RFC 5802, RFC 7677): the client proves that it knows the password, and the server that it knows its keys; neither
//! shows the password to whoever listens. A server needs the keys of a user, or his password to make them of; with
//! `-PLUS` both ends show which TLS connection they mean (RFC 9266, RFC 5929), so that nobody can stand between them.
//!
//! It is code of our own: the well-kept library for SASL, rsasl, gives users who are not there a new salt each time, which
//! betrays them, takes as many iterations as a server asks for, and hashes where it stands instead of in a pool.

use restante_proto::Secret;

use crate::{Mechanism, Needs};

mod client;
mod keys;
mod message;
mod server;

use client::Client;
pub use keys::{Hash, ITERATIONS_DEFAULT, ITERATIONS_MAX, ITERATIONS_MIN, Keys, KeysError, can_carry};
use server::Server;

/// SCRAM-SHA-256-PLUS, for the registry.
pub(crate) const SHA_256_PLUS: Mechanism = Mechanism {
    name: "SCRAM-SHA-256-PLUS",
    needs: Needs::Keys(Hash::Sha256),
    binding: true,
    server: |context| Box::new(Server::new(Hash::Sha256, true, context)),
    client: |credentials, context| Box::new(Client::new(Hash::Sha256, true, &credentials, context)),
    ..SHA_1
};

/// SCRAM-SHA-1-PLUS, for the registry.
pub(crate) const SHA_1_PLUS: Mechanism = Mechanism {
    name: "SCRAM-SHA-1-PLUS",
    binding: true,
    server: |context| Box::new(Server::new(Hash::Sha1, true, context)),
    client: |credentials, context| Box::new(Client::new(Hash::Sha1, true, &credentials, context)),
    ..SHA_1
};

/// SCRAM-SHA-256, for the registry.
pub(crate) const SHA_256: Mechanism = Mechanism {
    name: "SCRAM-SHA-256",
    needs: Needs::Keys(Hash::Sha256),
    server: |context| Box::new(Server::new(Hash::Sha256, false, context)),
    client: |credentials, context| Box::new(Client::new(Hash::Sha256, false, &credentials, context)),
    ..SHA_1
};

/// SCRAM-SHA-1, for the registry.
pub(crate) const SHA_1: Mechanism = Mechanism {
    name: "SCRAM-SHA-1",
    needs: Needs::Keys(Hash::Sha1),
    cleartext: false,
    binding: false,
    by_name_only: false,
    server: |context| Box::new(Server::new(Hash::Sha1, false, context)),
    client: |credentials, context| Box::new(Client::new(Hash::Sha1, false, &credentials, context)),
};

/// XOR of RFC 5802 §2.2.
fn xor(one: &Secret<Vec<u8>>, other: &Secret<Vec<u8>>) -> Secret<Vec<u8>> {
    Secret::new(one.expose().iter().zip(other.expose()).map(|(one, other)| one ^ other).collect())
}
