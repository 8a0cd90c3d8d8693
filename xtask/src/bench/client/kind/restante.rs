//! Our own client: the release build of this workspace, with its defaults.

use std::{io, process::Command};

use super::{Arrived, Job, Kind, words};
use crate::{bench::server::restante_binary, run};

pub(super) struct Restante;

impl Kind for Restante {
    fn name(&self) -> &'static str {
        "restante"
    }

    fn package(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// None where the program cannot fetch.
    fn version(&self) -> Option<String> {
        run::output(Command::new(restante_binary()).args(["fetch", "--help"]))?;
        run::output(Command::new(restante_binary()).arg("--version"))
    }

    fn configured(&self) -> &'static str {
        "the defaults: a Maildir, mail kept, what was fetched remembered"
    }

    fn durable(&self) -> bool {
        true
    }

    fn prepare(&self, job: &Job<'_>) -> io::Result<()> {
        job.maildir("mail")?;
        job.write("password", job.password)
    }

    fn command(&self, job: &Job<'_>) -> Vec<String> {
        let url = format!("pop3://{}@127.0.0.1:{}?tls=none", job.user, job.port);
        let mut command = vec![job.programs.join("restante").display().to_string(), "fetch".into(), url];
        command.extend(["--to".into(), format!("maildir:{}", job.show("mail"))]);
        command.extend(["--state".into(), job.show("state"), "--password-file".into(), job.show("password")]);
        command.extend(words(["--keep", "true", "--quiet"]));
        command
    }

    fn arrived(&self, job: &Job<'_>) -> Arrived {
        Arrived::Maildir(job.file("mail"))
    }
}
