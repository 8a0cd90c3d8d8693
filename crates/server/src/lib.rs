//! The POP3 server: listeners, TLS, limits, and the driver that carries octets between sockets and
//! [`restante_proto::server::Session`].
//!
//! Start reading at [`Server`], then `drive.rs` (the loop of one connection) and `ask.rs` (its questions answered by
//! store and directory). No rule of the protocol lives here, and no page: what happens is told by
//! `tracing`, and what is said to an [`Observer`], such as [`Transcripts`].

mod ask;
mod connection;
mod drive;
mod gate;
mod happening;
mod listen;
mod login;
mod login_delay;
mod observe;
mod outcome;
mod pool;
mod proxy;
mod registry;
mod send;
mod server;
mod sessions;
mod settings;
mod tls;
mod transcripts;
mod wire;

pub use happening::{EndReason, Happening, LockResult, LoginResult};
pub use listen::{BindError, Port};
pub use observe::{Begun, Observer, Watch, Who};
pub use proxy::{Network, NetworkError};
pub use server::{Config, Handle, ReloadError, Server};
pub use sessions::{Doing, LockFacts, SessionFacts, Totals};
pub use settings::{Cleartext, Limits, Settings};
pub use tls::{
    ClientCertificates, PemKind, PemProblem, TlsConfig, TlsError, server_config, server_config_with,
};
pub use transcripts::{Bounds, Transcripts};
