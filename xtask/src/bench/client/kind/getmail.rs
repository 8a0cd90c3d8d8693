//! getmail6, into a Maildir.

use std::io;

use super::{Arrived, Job, Kind, words};

pub(super) struct Getmail;

impl Kind for Getmail {
    fn name(&self) -> &'static str {
        "getmail6"
    }

    fn package(&self) -> Option<(&'static str, &'static str)> {
        Some(("getmail", "getmail6"))
    }

    fn configured(&self) -> &'static str {
        "a Maildir, mail kept, read_all off, no field added; fsync for each message, as always"
    }

    fn durable(&self) -> bool {
        true
    }

    fn prepare(&self, job: &Job<'_>) -> io::Result<()> {
        job.maildir("mail")?;
        let text = format!(
            "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {}\nusername = {}\npassword = {}\n\n\
             [destination]\ntype = Maildir\npath = {}/\n\n\
             [options]\nread_all = false\ndelete = false\ndelivered_to = false\nreceived = false\nverbose = 0\n",
            job.port,
            job.user,
            job.password,
            job.show("mail"),
        );
        job.write("getmailrc", &text)
    }

    fn command(&self, job: &Job<'_>) -> Vec<String> {
        let mut command = words(["getmail", "--getmaildir"]);
        command.extend([job.folder.display().to_string(), "--rcfile".into(), job.show("getmailrc")]);
        command
    }

    fn arrived(&self, job: &Job<'_>) -> Arrived {
        Arrived::Maildir(job.file("mail"))
    }
}
