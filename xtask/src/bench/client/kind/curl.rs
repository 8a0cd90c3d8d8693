//! curl: told the number of each message, all in one process, each into a file of its own. It is no mail client: it
//! remembers nothing and does not wait for the disk. It shows what one command at a time costs.

use std::{fmt::Write, fs, io};

use super::{Arrived, Job, Kind, own, words};

pub(super) struct Curl;

impl Kind for Curl {
    fn name(&self) -> &'static str {
        "curl"
    }

    fn package(&self) -> Option<(&'static str, &'static str)> {
        Some(("curl", "curl"))
    }

    fn configured(&self) -> &'static str {
        "one process with the URL of each message, each into a file; it has no memory of what it fetched; no fsync"
    }

    fn durable(&self) -> bool {
        false
    }

    fn remembers(&self) -> bool {
        false
    }

    fn prepare(&self, job: &Job<'_>) -> io::Result<()> {
        let mail = job.file("mail");
        fs::create_dir(&mail)?;
        own(&mail)?;
        let mut text = format!("user = \"{}:{}\"\n", job.user, job.password);
        for number in 1..=job.messages {
            let (port, mail) = (job.port, mail.display());
            writeln!(text, "url = \"pop3://127.0.0.1:{port}/{number}\"\noutput = \"{mail}/{number}\"")
                .unwrap_or_default();
        }
        job.write("curlrc", &text)
    }

    fn command(&self, job: &Job<'_>) -> Vec<String> {
        let mut command = words(["curl", "--disable", "--silent", "--show-error", "--config"]);
        command.push(job.show("curlrc"));
        command
    }

    fn arrived(&self, job: &Job<'_>) -> Arrived {
        Arrived::Wire(job.file("mail"))
    }
}
