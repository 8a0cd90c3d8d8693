//! fetchmail, writing one file of batched SMTP: its fastest way of keeping mail. To a command or over SMTP it starts a
//! process, or speaks to a mail server, for each message. It does not wait for the disk.

use std::io;

use super::{Arrived, Job, Kind, words};

pub(super) struct Fetchmail;

impl Kind for Fetchmail {
    fn name(&self) -> &'static str {
        "fetchmail"
    }

    fn package(&self) -> Option<(&'static str, &'static str)> {
        Some(("fetchmail", "fetchmail"))
    }

    fn configured(&self) -> &'static str {
        "into one file of batched SMTP (bsmtp), its fastest way; mail kept, uidl, no rewriting, no Received field; no fsync"
    }

    fn durable(&self) -> bool {
        false
    }

    /// «There was no mail awaiting retrieval.»
    fn nothing_new(&self) -> i32 {
        1
    }

    fn prepare(&self, job: &Job<'_>) -> io::Result<()> {
        let text = format!(
            "set no bouncemail\nset idfile \"{ids}\"\nset pidfile \"{pid}\"\nset invisible\n\
             poll 127.0.0.1 service {port} protocol pop3 uidl no dns\n  user \"{user}\" password \"{password}\" is \
             \"nobody\" here\n  keep no rewrite no mimedecode no dropstatus no dropdelivered pass8bits sslproto \"\"\n  \
             bsmtp \"{bsmtp}\"\n",
            ids = job.show("ids"),
            pid = job.show("pid"),
            port = job.port,
            user = job.user,
            password = job.password,
            bsmtp = job.show("bsmtp"),
        );
        job.write("fetchmailrc", &text)
    }

    fn command(&self, job: &Job<'_>) -> Vec<String> {
        let mut command =
            words(["env", "fetchmail", "--nosyslog", "--nodetach", "--silent", "--fetchmailrc"]);
        command.insert(1, format!("FETCHMAILHOME={}", job.folder.display()));
        command.push(job.show("fetchmailrc"));
        command
    }

    fn arrived(&self, job: &Job<'_>) -> Arrived {
        Arrived::Bsmtp(job.file("bsmtp"))
    }
}
