//! `restante serve --demo`, with what its greeting tells a newcomer: where to call, who to be, what to trust.

use std::{
    fs,
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Origin, Security, canonical, poll, server};

/// The demo on free ports; it is ended when it is dropped.
#[derive(Debug)]
pub struct Demo {
    child: Child,
    folder: TempDir,
    pop3: u16,
    pop3s: u16,
    password: String,
    certificate: PathBuf,
}

impl Demo {
    /// Starts it and reads its greeting.
    pub fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("restante-interop-").tempdir().expect("a temporary folder");
        let output = File::create(folder.path().join("greeting")).expect("it is ours");
        let child = Command::new(server::binary())
            .args(["serve", "--demo", "--demo-pop3", "127.0.0.1:0", "--demo-pop3s", "127.0.0.1:0"])
            .args(["--demo-admin", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the demo starts");
        let mut demo =
            Self { child, folder, pop3: 0, pop3s: 0, password: String::new(), certificate: PathBuf::new() };
        let told = poll::until(|| {
            let greeting = demo.greeting();
            let address = fact(&greeting, "address")?;
            let (clear, tls) = address.split_once("(clear text, STLS),")?;
            demo.pop3 = port(clear)?;
            demo.pop3s = port(tls.strip_suffix("(TLS)")?)?;
            demo.password = fact(&greeting, "password")?;
            demo.certificate = fact(&greeting, "certificate")?.into();
            Some(())
        });
        assert!(told.is_some(), "the demo told nothing of use: {}", demo.greeting());
        assert_eq!(fact(&demo.greeting(), "user").as_deref(), Some("demo"));
        demo
    }

    /// What it has said so far.
    fn greeting(&self) -> String {
        fs::read_to_string(self.folder.path().join("greeting")).unwrap_or_default()
    }

    /// The sample mail as it is in the sources, in canonical form.
    pub fn sample() -> Vec<(&'static str, Vec<u8>)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/cli/src/commands/serve/sample");
        let entries = fs::read_dir(folder).expect("the sources are there");
        let read = |path: PathBuf| fs::read(path).expect("it can be read");
        entries.map(|entry| ("sample", canonical(&read(entry.expect("it is there").path())))).collect()
    }
}

impl Origin for Demo {
    fn user(&self) -> &'static str {
        "demo"
    }
    fn password(&self) -> &str {
        &self.password
    }
    fn pop3_port(&self, security: Security) -> u16 {
        if security == Security::Tls { self.pop3s } else { self.pop3 }
    }
    fn authority(&self) -> PathBuf {
        self.certificate.clone()
    }
    fn client_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).expect("a new folder");
        path
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        if !asked || poll::until(|| self.child.try_wait().ok()?).is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            eprintln!("--- what the demo said\n{}---", self.greeting());
        }
    }
}

/// What stands behind this word in the greeting's table.
fn fact(greeting: &str, name: &str) -> Option<String> {
    let line =
        greeting.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(name)?.strip_prefix("  "))?;
    Some(line.trim().to_owned())
}

fn port(address: &str) -> Option<u16> {
    address.trim().rsplit_once(':')?.1.parse().ok()
}
