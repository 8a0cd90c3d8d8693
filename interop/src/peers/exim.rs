//! Exim, to deliver to: it takes everything for the one user and writes it into a Maildir at once. It runs without root,
//! as the owner of the mail.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use super::{Kind, Place, Service, USER, packaged};

/// The program, installed or unpacked: Debian allows one MTA only.
fn program() -> PathBuf {
    packaged("exim4-daemon-light", "/usr/sbin/exim4")
}

/// Exim.
pub static EXIM: Kind = Kind {
    name: "Exim",
    packages: "exim4-daemon-light",
    programs: || vec![program()],
    services: &[Service::Smtp],
    privileged: false,
    user: USER,
    maildir: "home/Maildir",
    configure,
    command: |place| {
        let mut command = Command::new(place.file("exim4"));
        command.arg("-bdf").arg("-C").arg(place.file("exim.conf"));
        command
    },
    ways: &[],
    mechanisms: &[],
    lacks: "",
};

fn configure(place: &Place) {
    // Compiled in, and looked for in any case.
    let users = fs::read_to_string("/etc/passwd").expect("everybody may");
    assert!(
        users.lines().any(|line| line.starts_with("Debian-exim:")),
        "Debian's Exim wants a user «Debian-exim»\n  make it:  useradd --system --no-create-home Debian-exim"
    );
    place.make_folder("spool");
    // A copy that becomes nobody else, which the owner of the mail can reach.
    fs::copy(program(), place.file("exim4")).expect("it is there");
    fs::set_permissions(place.file("exim4"), fs::Permissions::from_mode(0o755)).expect("it is ours");
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
smtp_accept_queue_per_connection = 0
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
