//! One run of the load generator, `restante bench`, against one server: its JSON, and the CPU time that the server's
//! processes spent meanwhile. What is loaded with what is `cells.rs`.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::server::{Ports, Server, restante_binary};
use crate::run::Failure;

/// How long a server's processes are given to end after the last session, before their time is read.
const SETTLE: Duration = Duration::from_millis(400);

/// The environment variable that takes the password to the load generator.
const PASSWORD_VARIABLE: &str = "RESTANTE_BENCH_PASSWORD";

/// What protects the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Plain,
    Stls,
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
        number(&self.told, pointer)
    }
}

/// Where load is put, and how urgent it is: as for nice(1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim<'a> {
    pub(super) ports: Ports,
    pub(super) password: &'a str,
    pub(super) niceness: i32,
}

/// A run that is under way. It ends by itself; dropped earlier it is ended.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
}

impl Load {
    /// How many users its pattern stands for.
    pub(super) fn users_count(&self) -> u32 {
        let range = self.users.split_once("..").and_then(|(_, rest)| rest.strip_suffix('}'));
        range.and_then(|count| count.parse().ok()).unwrap_or(1)
    }

    /// Runs it to its end; a run with errors is a failure.
    pub(super) fn run(&self, server: &Server<'_>, password: &str) -> Result<Loaded, Failure> {
        let aim = Aim { ports: server.ports(), password, niceness: 0 };
        let before = server.cpu_seconds()?;
        let told = self.begin(&aim, &server.roots()?)?.finish()?;
        thread::sleep(SETTLE);
        let cpu_seconds = server.cpu_seconds()? - before;
        check(&told)?;
        Ok(Loaded { cpu_seconds, told })
    }

    /// Begins it, with a look at the server's processes where some are named.
    pub(super) fn begin(&self, aim: &Aim<'_>, pids: &[u32]) -> Result<Running, Failure> {
        let (plain, tls) = (aim.ports.plain, aim.ports.tls);
        let url = match self.link {
            Link::Plain => format!("pop3://127.0.0.1:{plain}?tls=none"),
            Link::Stls => format!("pop3://127.0.0.1:{plain}"),
            Link::Tls => format!("pop3s://127.0.0.1:{tls}"),
        };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "nice", "-n", &aim.niceness.to_string()]);
        command.arg(restante_binary());
        command.args(["bench", &url, "--mode", self.mode, "--users", &self.users, "--json"]);
        command.args(["--timeout", "60s", "--password-env", PASSWORD_VARIABLE]).args(&self.arguments);
        if self.link != Link::Plain {
            // Not our question here, and the same work for the load generator with each server.
            command.arg("--insecure");
        }
        for pid in pids {
            command.args(["--pid", &pid.to_string()]);
        }
        command.env(PASSWORD_VARIABLE, aim.password);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |why: String| Failure::Failed(format!("the load generator cannot be run: {why}"));
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let errors = child.stderr.take().ok_or_else(|| failed("it has no standard error".into()))?;
        Ok(Running { child, errors: BufReader::new(errors) })
    }
}

impl Running {
    /// Waits until all sessions of a run that holds them are held, or the run has ended.
    pub(super) fn wait_held(&mut self) -> Result<(), Failure> {
        let (mut line, mut said) = (String::new(), String::new());
        while matches!(self.errors.read_line(&mut line), Ok(1..)) {
            if line.trim_end().ends_with("sessions are held") {
                return Ok(());
            }
            said.push_str(&line);
            line.clear();
        }
        Err(Failure::Failed(format!("the load generator says: {}", said.trim())))
    }

    /// Waits for its end: what it tells, errors of the server included.
    pub(super) fn finish(mut self) -> Result<Value, Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("the load generator: {error}"));
        let mut told = Vec::new();
        if let Some(stdout) = self.child.stdout.as_mut() {
            stdout.read_to_end(&mut told).map_err(failed)?;
        }
        let mut said = String::new();
        self.errors.read_to_string(&mut said).map_err(failed)?;
        self.child.wait().map_err(failed)?;
        serde_json::from_slice(&told)
            .map_err(|_| Failure::Failed(format!("the load generator says: {}", said.trim())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A number of what a run told.
pub(super) fn number(told: &Value, pointer: &str) -> Option<f64> {
    told.pointer(pointer).and_then(Value::as_f64)
}

/// A run with errors, such as octets that are missing, measures something else than what was asked for.
pub(super) fn check(told: &Value) -> Result<(), Failure> {
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
