//! A running server to look at: who is on, each session as its diagram while it grows, metrics, health, and the way to end
//! a session. The server tells what happens ([`restante_server::Observer`]) and knows nothing of this crate.
//!
//! Everything is HTTP, on a unix socket or a TCP address:
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /` | the live page, with `/page.css`, `/page.js`, `/diagram.css`, `/icon.svg` |
//! | `GET /sessions` | the sessions that are on, and those that ended lately: [`facts::All`] as JSON |
//! | `GET /sessions/events` | the same as it changes (server-sent events): `all` first, then `change` ([`facts::Change`]) |
//! | `GET /sessions/ID` | one session: [`facts::Session`] or [`facts::Ended`] as JSON |
//! | `GET /sessions/ID/dialogue` | what was heard of it so far, as a dialogue (`docs/dialogue.md`) |
//! | `GET /sessions/ID/diagram` | its diagram as it grows (server-sent events) |
//! | `POST /sessions/ID/kick` | ends it: 204, or 404 where none of this name is on |
//! | `GET /watch?user=U`, `?session=ID` | dialogues as they grow, of all sessions that fit: one [`facts::Heard`] as JSON a line |
//! | `GET /locks` | the maildrops that sessions hold: a list of [`facts::Lock`] as JSON |
//! | `GET /metrics` | Prometheus's text |
//! | `GET /livez`, `GET /readyz` | 200, or 503 with the reason |
//!
//! Start reading at [`Admin`], then `routes.rs`. What is heard of sessions, and for whom, is in `hub.rs`.

mod door;
pub mod facts;
mod listen;
mod serve;

pub use door::{Access, Keys};
pub use listen::{ListenError, Place, WhyNot};
pub use serve::Doors;

/// A stub.
#[derive(Debug)]
pub struct Admin;
/// A stub.
pub struct Options {
    /// The server's name.
    pub hostname: String,
    /// Whether it is ready.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}
impl Admin {
    /// A stub.
    pub fn new(_options: Options) -> Self {
        Self
    }
    /// A stub.
    pub fn observers(&self) -> Vec<std::sync::Arc<dyn restante_server::Observer>> {
        Vec::new()
    }
    /// A stub.
    pub fn router(&self, _handle: restante_server::Handle) -> axum::Router {
        axum::Router::new().route("/livez", axum::routing::get(|| async { "ok\n" }))
    }
}
