//! What the tests of Restante share; unpublished, and used from `tests/` and `benches/` folders only.

pub mod dialogue;
pub mod fuzz;
pub mod loops;
