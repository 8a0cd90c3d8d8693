//! Our own server: the release build of this workspace, with its defaults; only limits that would stop the benchmark
//! are raised.

use std::{path::PathBuf, process::Command};

use super::{Kind, Leaf, MAIL_ID, Place, Stored};
use crate::run::{self, Failure};

pub(super) struct Restante;

/// The variable that names another program than the release build, as for the interop tests.
pub(in crate::bench) const BINARY_VARIABLE: &str = "RESTANTE_BINARY";

/// The program that is measured, which is the load generator too.
pub(in crate::bench) fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os(BINARY_VARIABLE) {
        return PathBuf::from(named);
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from);
    target.join("release/restante")
}

impl Kind for Restante {
    fn name(&self) -> &'static str {
        "restante"
    }

    fn packages(&self) -> &'static [&'static str] {
        &[]
    }

    fn leaf(&self) -> Option<Leaf> {
        None
    }

    fn version(&self) -> Option<String> {
        run::output(Command::new(binary()).arg("--version"))
    }

    fn configured(&self) -> &'static str {
        "the defaults, with connection limits raised; changes are made durable with fsync, as always"
    }

    fn durable(&self) -> bool {
        true
    }

    fn configure(&self, place: &Place<'_>) -> Result<(), Failure> {
        place.copy(&binary(), "program")?;
        let mut users = String::new();
        for (name, stored) in &place.common.users {
            let line = match stored {
                Stored::Cheap => format!("{name}:{{PLAIN}}{}\n", place.common.password),
                Stored::Sha512Crypt => format!("{name}:{{SHA512-CRYPT}}{}\n", place.common.sha512_crypt),
                Stored::Argon2 => format!("{name}:{{ARGON2ID}}{}\n", place.common.argon2),
            };
            users.push_str(&line);
        }
        place.write("users", &users, MAIL_ID)?;
        let text = format!(
            r#"hostname = "localhost"

[listen]
pop3 = ["127.0.0.1:{plain}"]
pop3s = ["127.0.0.1:{tls}"]

[tls]
certificate = "{certificate}"
key = "{key}"

[auth]
users = "{users}"
cleartext = "loopback"

[store]
maildir = "{mail}/{{user}}/Maildir"

[limits]
connections = 50000
connections_per_address = 50000
logins_per_second = 0
"#,
            plain = place.ports.plain,
            tls = place.ports.tls,
            certificate = place.common.certificate.display(),
            key = place.common.key.display(),
            users = place.show("users"),
            mail = place.show("mail"),
        );
        place.write("restante.toml", &text, MAIL_ID)
    }

    fn commands(&self, place: &Place<'_>) -> Vec<Vec<String>> {
        // The change of user comes first, since it takes away the signal at the death of the parent.
        let id = MAIL_ID.to_string();
        let words = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--pdeathsig", "TERM"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.extend([place.show("program"), "serve".into(), "--config".into(), place.show("restante.toml")]);
        vec![words]
    }
}
