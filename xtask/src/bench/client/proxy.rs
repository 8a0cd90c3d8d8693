//! The proxy that makes a server be far away: `delay-proxy` of the testkit, since not every kernel can delay packets.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::run::{self, Failure};

/// The variable that names another program than the release build.
pub(super) const VARIABLE: &str = "DELAY_PROXY";
/// How long it may take to end when its standard input is closed.
const STOP_MAX: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// A proxy that runs, and ends with this value or with this process.
#[derive(Debug)]
pub(super) struct Proxy {
    child: Child,
    pub(super) port: u16,
}

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return PathBuf::from(named);
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from);
    target.join("release/delay-proxy")
}

/// Builds it, unless another one is named.
pub(super) fn build() -> Result<(), Failure> {
    if std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    run::run(&mut run::cargo(&[
        "build",
        "--release",
        "--package",
        "restante-testkit",
        "--bin",
        "delay-proxy",
    ]))
}

impl Proxy {
    /// Listens on a port (0: any that is free), and passes everything on so much later, both ways.
    pub(super) fn start(listen: u16, to: u16, delay_ms: u32) -> Result<Self, Failure> {
        let program = binary();
        let failed = |what: &str| Failure::Failed(format!("{}: {what}", program.display()));
        let mut command = Command::new(&program);
        command.args(["--listen", &format!("{}:{listen}", Ipv4Addr::LOCALHOST)]);
        command.args(["--to", &format!("{}:{to}", Ipv4Addr::LOCALHOST), "--delay-ms", &delay_ms.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(&error.to_string()))?;
        let stdout = child.stdout.take();
        // It ends where it cannot be used.
        let mut proxy = Self { child, port: 0 };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| failed(&error.to_string()))?;
        }
        proxy.port =
            address(&line).ok_or_else(|| failed(&format!("it does not say where it listens: {line:?}")))?;
        Ok(proxy)
    }
}

/// The address at the end of its first line.
fn address(line: &str) -> Option<u16> {
    Some(line.split_ascii_whitespace().last()?.parse::<SocketAddr>().ok()?.port())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let end = Instant::now() + STOP_MAX;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(LOOK);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_address() {
        assert_eq!(address("127.0.0.1:4711\n"), Some(4711));
        assert_eq!(address("listening on 127.0.0.1:4711\n"), Some(4711));
        assert_eq!(address(""), None);
    }
}
