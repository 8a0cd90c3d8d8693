//! Logins that are not hashed, for `cargo xtask instructions`: one that was right a short while ago, and one whose password
//! is stored as it is.
#![allow(clippy::unwrap_used, clippy::expect_used)] // what does not go as planned is to be seen

use std::{
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    sync::Arc,
};

use restante_auth::{MemoryDirectory, Settings, StoredPassword, Verdict, Verifier};
use restante_proto::{Secret, UserName};
use restante_testkit::loops::{self, Loop, Round};

const LOGINS: u64 = 100;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// «pässwörd» at the lowest cost that there is: it is hashed once.
const HASHED: &str = "{SHA256-CRYPT}$5$rounds=1000$./$/zG1pZJDc8/tkfvRQ6eOhfFGYPMJUkcR/kWe8AYrVZC";

const LOOPS: &[Loop] = &[
    Loop { name: "login-again", unit: "login", units: LOGINS, prepare: || logins(HASHED) },
    Loop {
        name: "login-plain",
        unit: "login",
        units: LOGINS,
        prepare: || logins("{PLAIN}p\u{e4}ssw\u{f6}rd"),
    },
];

fn main() -> ExitCode {
    loops::main(LOOPS)
}

fn logins(stored: &str) -> Round {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let user = UserName::new("ann@example.org").unwrap();
    let stored = StoredPassword::parse(stored.as_bytes()).unwrap();
    let directory = MemoryDirectory::new([(user.clone(), stored)]);
    let verifier = Verifier::new(Arc::new(directory), &Settings::default());
    let password = Secret::new("p\u{e4}ssw\u{f6}rd".as_bytes().to_vec());
    let login = move || {
        runtime.block_on(async {
            for _ in 0..LOGINS {
                let verdict = verifier.password("ann@example.org", &password, PEER).await;
                assert_eq!(verdict, Verdict::Accepted(restante_auth::Account::new(user.clone())));
            }
        });
    };
    // The first one is hashed.
    login();
    Box::new(login)
}
