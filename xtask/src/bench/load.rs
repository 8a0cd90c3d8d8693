//! One run of the load generator, `restante bench`, against one server: its JSON, and the CPU time that the server's
//! processes spent meanwhile. What is loaded with what is `cells.rs`.

use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::server::{Server, restante_binary};
use crate::run::Failure;

/// How long a server's processes are given to end after the last session, before their time is read.
const SETTLE: Duration = Duration::from_millis(400);

/// The environment variable that takes the password to the load generator.
const PASSWORD_VARIABLE: &str = "RESTANTE_BENCH_PASSWORD";

/// What protects the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Plain,
    Tls,
}

/// What a run puts on the server.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) link: Link,
    pub(super) mode: &'static str,
    /// A pattern of users.
    pub(super) users: String,
    /// Further arguments, such as `--sessions 100`.
    pub(super) arguments: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) cpu_seconds: f64,
    /// All that the load generator told.
    pub(super) told: Value,
}

impl Loaded {
    /// A number of the load generator's JSON, such as `/sessions/done`.
    pub(super) fn number(&self, pointer: &str) -> Option<f64> {
        self.told.pointer(pointer).and_then(Value::as_f64)
    }
}

impl Load {
    pub(super) fn run(&self, server: &Server<'_>, password: &str) -> Result<Loaded, Failure> {
        let url = match self.link {
            Link::Plain => format!("pop3://127.0.0.1:{}?tls=none", server.ports().plain),
            Link::Tls => format!("pop3s://127.0.0.1:{}", server.ports().tls),
        };
        let mut command = Command::new(restante_binary());
        command.args(["bench", &url, "--mode", self.mode, "--users", &self.users, "--json"]);
        command.args(["--timeout", "60s", "--password-env", PASSWORD_VARIABLE]).args(&self.arguments);
        if self.link == Link::Tls {
            // Not our question here, and the same work for the load generator with each server.
            command.arg("--insecure");
        }
        for pid in server.roots()? {
            command.args(["--pid", &pid.to_string()]);
        }
        let before = server.cpu_seconds()?;
        let output = command
            .env(PASSWORD_VARIABLE, password)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| Failure::Failed(format!("the load generator cannot be run: {error}")))?;
        thread::sleep(SETTLE);
        let cpu_seconds = server.cpu_seconds()? - before;
        let told: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let error = String::from_utf8_lossy(&output.stderr);
            Failure::Failed(format!("the load generator says: {}", error.trim()))
        })?;
        check(&told)?;
        Ok(Loaded { cpu_seconds, told })
    }
}

/// A run with errors, such as octets that are missing, measures something else than what was asked for.
fn check(told: &Value) -> Result<(), Failure> {
    let errors = told["errors"].as_array().ok_or_else(|| Failure::Failed("no list of errors".into()))?;
    match errors.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Failed(format!(
            "{} kinds of errors; the first, {} times: {}: {}: {}",
            errors.len(),
            first["count"],
            first["step"].as_str().unwrap_or_default(),
            first["kind"].as_str().unwrap_or_default(),
            first["example"].as_str().unwrap_or_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_with_errors_does_not_count() {
        assert_eq!(check(&json!({ "errors": [] })), Ok(()));
        let told =
            json!({ "errors": [{ "step": "retr", "kind": "octets differ", "count": 3, "example": "e" }] });
        let failure = check(&told).unwrap_err();
        assert_eq!(failure.to_string(), "1 kinds of errors; the first, 3 times: retr: octets differ: e");
        assert!(check(&json!({})).is_err());
    }
}
