//! Standard output and standard error: what is written where, and when it may be coloured.
//!
//! A reader that has seen enough (`restante … | head`) is no failure: a broken pipe ends the program quietly.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;

/// Writes `text` to standard output, all of it, now.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::from_output)
}

/// Writes `text` to standard error. There is nobody left to tell when that fails.
pub(crate) fn eprint(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

/// Whether standard error may be coloured: it is a terminal, and neither `NO_COLOR` nor a dumb terminal forbids it.
pub(crate) fn stderr_takes_colour() -> bool {
    io::stderr().is_terminal() && !colour_is_forbidden()
}

fn colour_is_forbidden() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}
