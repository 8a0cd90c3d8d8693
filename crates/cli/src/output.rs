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

/// What stands before a line on standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    Error,
    Warning,
    Hint,
}

impl Label {
    /// A line with this label.
    pub(crate) fn line(self, text: &str, colour: bool) -> String {
        let (label, code) = match self {
            Self::Error => ("error", "31"),
            Self::Warning => ("warning", "33"),
            Self::Hint => ("hint", "36"),
        };
        match colour {
            true => format!("\x1b[1;{code}m{label}:\x1b[0m {text}\n"),
            false => format!("{label}: {text}\n"),
        }
    }
}

/// Tells what works but should be known.
pub(crate) fn warn(texts: &[String]) {
    let colour = stderr_takes_colour();
    eprint(&texts.iter().map(|text| Label::Warning.line(text, colour)).collect::<String>());
}

/// Writes `text` to standard error. There is nobody left to tell when that fails.
pub(crate) fn eprint(text: &str) {
    io::stderr().lock().write_all(text.as_bytes()).unwrap_or_default();
}

/// Whether standard output may be coloured, by the same rule as standard error.
pub(crate) fn stdout_takes_colour() -> bool {
    io::stdout().is_terminal() && !colour_is_forbidden()
}

/// Whether standard error may be coloured: it is a terminal, and neither `NO_COLOR` nor a dumb terminal forbids it.
pub(crate) fn stderr_takes_colour() -> bool {
    io::stderr().is_terminal() && !colour_is_forbidden()
}

fn colour_is_forbidden() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}
