//! What the tests of Restante share; unpublished, and used from `tests/` folders only.

pub mod dialogue;
pub mod fuzz;
