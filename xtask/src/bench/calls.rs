//! System calls of a session: all processes of a server are traced with strace(1), which counts them. It slows them
//! down, so nothing else is measured meanwhile.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    load::{Aim, Load, check, number},
    measure::{Run, settle},
    process::signal,
    server::Server,
};
use crate::run::Failure;

/// How long strace may take to find all processes, or to write down what it counted.
const STRACE_MAX: Duration = Duration::from_secs(20);

pub(super) fn calls(server: &Server<'_>, load: &Load, password: &str) -> Result<Run, Failure> {
    settle(server)?;
    let failed = |error: std::io::Error| Failure::Failed(format!("strace cannot be run: {error}"));
    let counted = server.contents().with_extension("strace");
    let processes = server.processes()?;
    let mut strace = Command::new("setpriv");
    strace.args(["--pdeathsig", "TERM", "strace", "-f", "-c", "-U", "calls,name", "-o"]).arg(&counted);
    for pid in &processes {
        strace.args(["-p", &pid.to_string()]);
    }
    let mut strace = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let attached = strace.stderr.take().map(|errors| attached(errors, processes.len()));
    let told = match attached {
        Some(Ok(())) => {
            let aim = Aim { ports: server.ports(), password, niceness: 0 };
            load.begin(&aim, &[]).and_then(super::load::Running::finish)
        }
        Some(Err(failure)) => Err(failure),
        None => Err(Failure::Failed("strace has no standard error".into())),
    };
    settle(server)?;
    // It writes its table and lets the processes go.
    signal("INT", strace.id());
    let end = Instant::now() + STRACE_MAX;
    while strace.try_wait().map_err(failed)?.is_none() && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    drop(strace.kill());
    strace.wait().map_err(failed)?;
    let told = told?;
    check(&told)?;
    let text = fs::read_to_string(&counted)
        .map_err(|error| Failure::Failed(format!("{}: {error}", counted.display())))?;
    let sessions = number(&told, "/sessions/done").unwrap_or(0.0).max(1.0);
    let counts: BTreeMap<String, f64> =
        read(&text).into_iter().map(|(call, count)| (call, count / sessions)).collect();
    if counts.is_empty() {
        return Err(Failure::Failed("strace counted nothing".into()));
    }
    Ok(Run { value: counts.values().sum(), raw: json!({ "load": told }), counts, ..Run::default() })
}

/// Waits until strace has said of so many processes that it is attached, and reads on until it ends.
fn attached(errors: impl std::io::Read + Send + 'static, processes: usize) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            // Nobody listens any more when all are attached.
            drop(sender.send(line));
        }
    });
    let (end, mut found, mut last) = (Instant::now() + STRACE_MAX, 0, String::new());
    while found < processes {
        let line = receiver.recv_timeout(end.saturating_duration_since(Instant::now()));
        let Ok(line) = line else {
            return Err(Failure::Failed(format!("strace attached to {found} of {processes}: {last}")));
        };
        found += usize::from(line.contains(" attached"));
        last = line;
    }
    Ok(())
}

/// The lines of the table: how often, and which call. The last one is their sum.
fn read(table: &str) -> BTreeMap<String, f64> {
    let line = |line: &str| {
        let (count, call) = line.trim().split_once(' ')?;
        Some((call.trim().to_owned(), count.parse().ok()?))
    };
    table.lines().filter_map(line).filter(|(call, _)| call != "total").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_calls_is_read() {
        let table = "    calls syscall\n--------- ----------------\n       12 read\n        3 epoll_wait\n\
                     --------- ----------------\n       15 total\n";
        assert_eq!(read(table), BTreeMap::from([("read".to_owned(), 12.0), ("epoll_wait".to_owned(), 3.0)]));
    }
}
