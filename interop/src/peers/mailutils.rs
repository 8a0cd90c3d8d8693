//! GNU Mailutils' pop3d: user, password and Maildir from a file of one virtual domain. It changes to the group of mail
//! at its start, which takes root; where the test is not root it cannot be started.

use std::{path::PathBuf, process::Command};

use super::{Kind, Place, Security, Service, USER, crypted};

/// The program, where Debian has it.
const PROGRAM: &str = "/usr/sbin/pop3d";

/// GNU Mailutils.
pub static MAILUTILS: Kind = Kind {
    name: "GNU Mailutils",
    packages: "mailutils-pop3d",
    programs: || vec![PathBuf::from(PROGRAM)],
    services: &[Service::Pop3, Service::Pop3Stls, Service::Pop3s],
    privileged: true,
    user: "john@example.org",
    maildir: "home/INBOX",
    configure,
    command: |place| {
        let mut command = Command::new(PROGRAM);
        command.arg(format!("--config-file={}", place.show("pop3d.conf")));
        command
    },
    ways: &Security::ALL,
    mechanisms: &["USER"],
    lacks: "PLAIN",
};

fn configure(place: &Place) {
    place.make_folder("domains");
    let (uid, gid, home) = (place.owner.uid, place.owner.gid, place.show("home"));
    let user = format!("{USER}:{}:{uid}:{gid}:John:{home}:/bin/sh\n", crypted());
    place.write("domains/example.org", &user);
    let server = |service, mode| {
        format!(
            "server 127.0.0.1:{} {{ tls-mode {mode}; tls {{ ssl-certificate-file \"{}\"; ssl-key-file \"{}\"; }} }}\n",
            place.port(service),
            place.show("certificate.pem"),
            place.show("key.pem")
        )
    };
    let text = format!(
        r#"mode daemon;
foreground yes;
transcript yes;
logging {{ syslog no; severity debug; }}
auth {{
  authentication clear; authentication "generic:virtdomain";
  authorization clear; authorization virtdomain;
}}
virtdomain {{ passwd-dir "{}"; }}
mailbox {{ mailbox-type maildir; }}
mandatory-locking {{ enable no; }}
tcp-wrappers {{ enable no; }}
{}{}{}"#,
        place.show("domains"),
        server(Service::Pop3, "no"),
        server(Service::Pop3Stls, "ondemand"),
        server(Service::Pop3s, "connection"),
    );
    place.write("pop3d.conf", &text);
}
