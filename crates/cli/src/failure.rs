//! What a subcommand fails with: what happened, what to do about it, and the exit status.
//!
//! Statuses: 0 done, 1 failed, 2 wrong usage. `deliver` alone speaks to a mail transfer agent, which bounces the mail
//! on most numbers; its kinds stand for the numbers of `sysexits.h` that an MTA knows.

use std::{fmt, io, process::ExitCode};

use crate::output;

/// A failure of a subcommand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    kind: Kind,
    /// Each is a line of its own; a configuration can be wrong in more than one place.
    messages: Vec<String>,
    hints: Vec<String>,
}

/// Whose fault it is, as far as the exit status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The reader of our output went away. Nothing is said, and it is no failure.
    Hangup,
    /// It was tried, and it failed.
    Failed,
    /// The command line was wrong.
    Usage,
    /// The message is longer than the limit (`EX_DATAERR`).
    TooLong,
    /// There is no such user (`EX_NOUSER`).
    NoUser,
    /// The mail should be kept and tried again (`EX_TEMPFAIL`).
    TryAgain,
}

impl Kind {
    const fn status(self) -> u8 {
        match self {
            Self::Hangup => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::TooLong => 65,
            Self::NoUser => 67,
            Self::TryAgain => 75,
        }
    }
}

impl Failure {
    /// It was tried, and it failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, vec![message.into()])
    }

    /// The command line was wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, vec![message.into()])
    }

    /// As [`Self::failed`], with a line for each of several things that are wrong.
    pub(crate) fn several(messages: Vec<String>) -> Self {
        Self::new(Kind::Failed, messages)
    }

    /// Writing to standard output failed.
    pub(crate) fn from_output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(Kind::Hangup);
        }
        Self::failed(format!("cannot write to standard output: {error}"))
    }

    /// All has been said already.
    pub(crate) const fn silent(kind: Kind) -> Self {
        Self::new(kind, Vec::new())
    }

    const fn new(kind: Kind, messages: Vec<String>) -> Self {
        Self { kind, messages, hints: Vec::new() }
    }

    /// Adds what the user can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With the name of what it is about in front: one of several accounts.
    pub(crate) fn of(mut self, name: &str) -> Self {
        self.messages.iter_mut().for_each(|message| *message = format!("{name}: {message}"));
        self
    }

    /// What [`Self::report`] would tell.
    pub(crate) fn render_now(&self) -> String {
        self.render(output::stderr_takes_colour())
    }

    /// What happened, for output that a program reads.
    pub(crate) fn messages(&self) -> &[String] {
        &self.messages
    }

    /// What the exit status stands for.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The same words under another exit status.
    pub(crate) const fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Tells the user, and gives the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        output::eprint(&self.render_now());
        ExitCode::from(self.kind.status())
    }

    fn render(&self, colour: bool) -> String {
        let lines = |label: output::Label, texts: &[String]| -> String {
            texts.iter().map(|text| label.line(text, colour)).collect()
        };
        lines(output::Label::Error, &self.messages) + &lines(output::Label::Hint, &self.hints)
    }
}

/// For a log: one line without labels.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.messages.iter().chain(&self.hints).map(String::as_str).collect();
        f.write_str(&texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_before_hints_and_colour_is_asked_for() {
        let failure = Failure::usage("no such key").hint("see `restante config explain`");
        assert_eq!(failure.render(false), "error: no such key\nhint: see `restante config explain`\n");
        assert!(failure.render(true).starts_with("\x1b[1;31merror:\x1b[0m no such key\n"));
        assert_eq!((failure.kind(), failure.kind().status()), (Kind::Usage, 2));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::from_output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.kind().status(), failure.render(false)), (0, String::new()));
        assert_eq!(Failure::from_output(io::ErrorKind::StorageFull.into()).kind(), Kind::Failed);
    }
}
