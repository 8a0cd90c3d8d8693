//! An async POP3 client (RFC 1939, 2449, 2595, 5034, 8314).
//!
//! [`Client`] connects, logs in, lists, retrieves and deletes. Messages stream through it as octets: none is ever held in
//! memory, and memory does not grow with their size. Where the server offers PIPELINING, calls for many messages use it by
//! themselves; the result is the same where it does not.
//!
//! ```no_run
//! use restante_client::{Client, Credentials, Options, Url};
//!
//! # async fn example() -> Result<(), restante_client::Error> {
//! let url = Url::parse("pop3s://john@mail.example.org").expect("a URL");
//! let mut client = Client::connect(&url, &Options::default()).await?;
//! client.authenticate(&Credentials::new("john", b"abcxyz".to_vec())).await?;
//! let listing = client.listing().await?;
//! let mut messages = client.messages(listing.numbers());
//! while let Some(mut message) = messages.next().await? {
//!     while let Some(octets) = message.chunk().await? {
//!         // Write them somewhere.
//!     }
//! }
//! client.quit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The folder `examples/` has whole programs: fetching everything, headers only, deleting what is old, an own transport,
//! progress, and the session of `restante-proto` over a blocking socket.
//!
//! **Errors** say what can be done about them: after [`Error::Refused`] the session goes on, after most others it is over
//! ([`Error::is_fatal`]). **Cancelling** a call, by dropping its future at any await, leaves a connection that says so at the
//! next call ([`Error::Interrupted`]) rather than one out of step. **The server is a stranger**: counts, sizes, lines and
//! unique-ids are bounded and doubted ([`Doubt`]).

mod capabilities;
mod client;
mod connection;
mod error;
mod listing;
mod login;
mod messages;
mod options;
mod strength;
pub mod tls;
mod top;
mod transcript;
mod transport;
mod url;

pub use capabilities::{Capabilities, Offer};
pub use client::{Client, Stat};
pub use error::{Error, Refused, Waiting};
pub use listing::{Doubt, Entry, Listing};
pub use messages::{Message, Messages};
pub use options::{Options, Timeouts};
pub use restante_proto::{
    MessageNumber, Secret, UniqueId,
    capability::Capability,
    client::{Broken, WindowMax},
    reply::ResponseCode,
    verb::Verb,
};
pub use restante_sasl::{ClientError, CredentialKind, Credentials};
pub use strength::{NoStrength, Strength};
pub use transcript::Transcript;
pub use transport::{Peer, Transport};
pub use url::{Authority, Security, Url, UrlError, percent_decode};
