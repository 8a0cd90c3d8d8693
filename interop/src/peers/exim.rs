//! Exim, to deliver to: it takes everything for the one user and writes it into a Maildir at once. It runs without root,
//! as the owner of the mail.

use std::{path::PathBuf, process::Command};

use super::{Kind, Place, Service, USER};

/// The program, where Debian has it.
const PROGRAM: &str = "/usr/sbin/exim4";

/// Exim.
pub static EXIM: Kind = Kind {
    name: "Exim",
    packages: "exim4-daemon-light",
    programs: || vec![PathBuf::from(PROGRAM)],
    services: &[Service::Smtp],
    privileged: false,
    user: USER,
    maildir: "home/Maildir",
    configure,
    command: |place| {
        let mut command = Command::new(PROGRAM);
        command.arg("-bdf").arg("-C").arg(place.file("exim.conf"));
        command
    },
    ways: &[],
    mechanisms: &[],
    lacks: "",
};

fn configure(place: &Place) {
    place.make_folder("spool");
    let folder = place.folder.path().display();
    let text = format!(
        r#"primary_hostname = mail.example.org
domainlist local = example.org
exim_user = {user}
exim_group = {group}
never_users =
keep_environment =
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
host_lookup =
rfc1413_query_timeout = 0s
deliver_drop_privilege = true
return_path_remove = false
acl_smtp_rcpt = to_us
acl_smtp_data = accept
begin acl
to_us:
  accept local_parts = {USER}
         domains = +local
  deny message = no such user here
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {folder}/home/Maildir
  maildir_format
  user = {user}
  group = {group}
"#,
        user = place.owner.user,
        group = place.owner.group,
        port = place.port(Service::Smtp),
    );
    place.write("exim.conf", &text);
}
