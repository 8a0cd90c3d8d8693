//! What the tests of Restante share; unpublished, and used from `tests/` and `benches/` folders only.

pub mod authorization_server;
pub mod dialogue;
pub mod evil;
pub mod fuzz;
mod loopback;
pub mod loops;
pub mod proxy;
