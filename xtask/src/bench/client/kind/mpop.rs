//! mpop: the only other one that pipelines. It delivers into a Maildir, and waits for the disk with each message.

use std::io;

use super::{Arrived, Job, Kind, words};

pub(super) struct Mpop;

impl Kind for Mpop {
    fn name(&self) -> &'static str {
        "mpop"
    }

    fn package(&self) -> Option<(&'static str, &'static str)> {
        Some(("mpop", "mpop"))
    }

    fn configured(&self) -> &'static str {
        "a Maildir, pipelining on, mail kept, uidls_file, no Received field added; fsync for each message, as by default"
    }

    fn durable(&self) -> bool {
        true
    }

    fn prepare(&self, job: &Job<'_>) -> io::Result<()> {
        job.maildir("mail")?;
        let text = format!(
            "defaults\ntls off\nauth user\naccount default\nhost 127.0.0.1\nport {}\nuser {}\npassword \"{}\"\n\
             uidls_file {}\ndelivery maildir {}\nreceived_header off\nkeep on\npipelining on\n",
            job.port,
            job.user,
            job.password,
            job.show("uidls"),
            job.show("mail"),
        );
        job.write("mpoprc", &text)
    }

    fn command(&self, job: &Job<'_>) -> Vec<String> {
        let mut command = words(["mpop", "--quiet", "--file"]);
        command.push(job.show("mpoprc"));
        command
    }

    fn arrived(&self, job: &Job<'_>) -> Arrived {
        Arrived::Maildir(job.file("mail"))
    }
}
