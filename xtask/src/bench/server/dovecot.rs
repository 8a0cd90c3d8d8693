//! Dovecot 2.3 as an expert sets it up for speed: processes that are used again, no fsync, sizes from file names,
//! no flags written.

use std::process::Command;

use super::{Kind, Leaf, MAIL_ID, Place, Shape, Stored};
use crate::run::{self, Failure};

pub(super) struct Dovecot;

const DOVECOT: &str = "/usr/sbin/dovecot";

impl Kind for Dovecot {
    fn name(&self) -> &'static str {
        "dovecot"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["dovecot-core"]
    }

    fn leaf(&self) -> Option<Leaf> {
        Some(Leaf { package: "dovecot-pop3d", folder: "/usr/lib/dovecot", programs: &["pop3", "pop3-login"] })
    }

    fn configured(&self) -> &'static str {
        "processes used again (service_count=0, some kept ready), mail_fsync=never, pop3_fast_size_lookups, \
         pop3_no_flag_updates, maildir_very_dirty_syncs, passwords in a passwd-file, static userdb; \
         for idle sessions pop3 processes are shared (client_limit)"
    }

    fn configure(&self, place: &Place<'_>) -> Result<(), Failure> {
        let version = run::output(Command::new(DOVECOT).arg("--version"))
            .ok_or_else(|| Failure::Failed(format!("{DOVECOT} cannot be run")))?;
        if !version.starts_with("2.3.") {
            return Err(Failure::Failed(format!(
                "Dovecot {version} reads another configuration than that of 2.3, which this benchmark writes"
            )));
        }
        if let Some(leaf) = self.leaf() {
            leaf.copy(place)?;
        }
        let mut users = String::new();
        for (name, stored) in &place.common.users {
            let line = match stored {
                Stored::Cheap => format!("{name}:{{PLAIN}}{}\n", place.common.password),
                Stored::Sha512Crypt => format!("{name}:{{SHA512-CRYPT}}{}\n", place.common.sha512_crypt),
                Stored::Argon2 => format!("{name}:{{ARGON2ID}}{}\n", place.common.argon2),
            };
            users.push_str(&line);
        }
        let group = super::id_of("/etc/group", "dovecot").unwrap_or(0);
        place.write("users", &users, group)?;
        for folder in ["run", "state"] {
            place.folder(folder)?;
        }
        place.write("dovecot.conf", &configuration(place), group)
    }

    fn commands(&self, place: &Place<'_>) -> Vec<Vec<String>> {
        vec![[DOVECOT, "-F", "-c", &place.show("dovecot.conf")].map(str::to_owned).to_vec()]
    }
}

fn configuration(place: &Place<'_>) -> String {
    let (common, ports) = (place.common, place.ports);
    let (pop3_clients, pop3_ready) = match place.shape {
        Shape::Work => (1, 8),
        Shape::Idle => (1000, common.processors),
    };
    format!(
        r#"protocols = pop3
listen = 127.0.0.1
base_dir = {run}
state_dir = {state}
log_path = {log}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
auth_mechanisms = plain
default_client_limit = 30000
default_process_limit = 30000
default_vsz_limit = 0
mail_max_userip_connections = 0
passdb {{
  driver = passwd-file
  args = username_format=%u {users}
}}
userdb {{
  driver = static
  args = uid={id} gid={id} home={mail}/%u
}}
first_valid_uid = {id}
last_valid_uid = {id}
first_valid_gid = {id}
last_valid_gid = {id}
mail_location = maildir:{mail}/%u/Maildir
mail_fsync = never
maildir_very_dirty_syncs = yes
pop3_fast_size_lookups = yes
pop3_no_flag_updates = yes
service pop3-login {{
  executable = {folder}/pop3-login
  service_count = 0
  client_limit = 10000
  process_min_avail = {processors}
  inet_listener pop3 {{
    port = {plain}
  }}
  inet_listener pop3s {{
    port = {tls}
    ssl = yes
  }}
}}
service pop3 {{
  executable = {folder}/pop3
  service_count = 0
  client_limit = {pop3_clients}
  process_min_avail = {pop3_ready}
}}
"#,
        folder = place.folder.display(),
        run = place.show("run"),
        state = place.show("state"),
        log = place.show("log"),
        certificate = common.certificate.display(),
        key = common.key.display(),
        users = place.show("users"),
        id = MAIL_ID,
        mail = place.show("mail"),
        processors = common.processors,
        plain = ports.plain,
        tls = ports.tls,
    )
}
