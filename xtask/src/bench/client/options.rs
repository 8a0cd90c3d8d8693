//! What `cargo xtask bench client` can be told.

use std::{path::PathBuf, time::Duration};

use crate::{
    bench::options::{machine, number},
    run::Failure,
};

/// Most runs of a client in a cell.
const RUNS_MAX: u32 = 100;
/// Most messages of a drop.
const MESSAGES_MAX: u32 = 1_000_000;
/// The longest that a client may be given for a cell, in seconds.
const LIMIT_SECONDS_MAX: u32 = 3600;

/// The names of the clients, ours first.
pub(super) const CLIENTS: &[&str] = &["restante", "mpop", "fetchmail", "getmail6", "curl"];
/// The servers that all of them may fetch from.
const SERVERS: &[&str] = &["restante", "dovecot"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) quick: bool,
    pub(super) runs: u32,
    /// How long a client may take for a cell, all its runs together, and for a run.
    pub(super) limit: Duration,
    /// Messages of the three drops: few and many small ones, and large ones.
    pub(super) few: u32,
    pub(super) many: u32,
    pub(super) large: u32,
    /// Beginnings of names of cells; none for all.
    pub(super) only: Vec<String>,
    pub(super) clients: Vec<String>,
    pub(super) server: String,
    pub(super) folder: PathBuf,
    pub(super) out: Option<PathBuf>,
    pub(super) machine: Option<String>,
    pub(super) install: bool,
}

impl Options {
    fn full() -> Self {
        Self {
            quick: false,
            runs: 5,
            limit: Duration::from_secs(60),
            few: 2000,
            many: 10_000,
            large: 50,
            only: Vec::new(),
            clients: CLIENTS.iter().map(|name| (*name).to_owned()).collect(),
            server: SERVERS[0].to_owned(),
            folder: std::env::temp_dir(),
            out: None,
            machine: None,
            install: true,
        }
    }

    fn quick() -> Self {
        Self {
            quick: true,
            runs: 1,
            limit: Duration::from_secs(6),
            few: 200,
            many: 1000,
            large: 5,
            ..Self::full()
        }
    }

    /// Reads the arguments; `None` where help is asked for.
    pub(super) fn parse(arguments: &[String]) -> Result<Option<Self>, Failure> {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut options = if quick { Self::quick() } else { Self::full() };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let mut value = || {
                rest.next().cloned().ok_or_else(|| Failure::Usage(format!("{name} takes a value\n\n{HELP}")))
            };
            match name.as_str() {
                "-h" | "--help" => return Ok(None),
                "--quick" => {}
                "--no-install" => options.install = false,
                "--runs" => options.runs = number(name, &value()?, 1, RUNS_MAX)?,
                "--limit" => options.limit = seconds(name, &value()?)?,
                "--few" => options.few = number(name, &value()?, 1, MESSAGES_MAX)?,
                "--many" => options.many = number(name, &value()?, 1, MESSAGES_MAX)?,
                "--large" => options.large = number(name, &value()?, 1, MESSAGES_MAX)?,
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--clients" => options.clients = chosen("client", CLIENTS, &value()?)?,
                "--server" => {
                    options.server = chosen("server", SERVERS, &value()?)?.pop().unwrap_or_default();
                }
                "--dir" => options.folder = PathBuf::from(value()?),
                "--out" => options.out = Some(PathBuf::from(value()?)),
                "--machine" => options.machine = Some(machine(value()?)?),
                other => return Err(Failure::Usage(format!("bench client takes no «{other}»\n\n{HELP}"))),
            }
        }
        Ok(Some(options))
    }

    /// Whether goals can be compared with what comes of it.
    pub(super) fn has_default_sizes(&self) -> bool {
        let full = Self::full();
        let sizes = |of: &Self| (of.few, of.many, of.large, of.quick);
        sizes(self) == sizes(&full)
    }

    /// Whether a cell of this name is to be measured.
    pub(super) fn takes(&self, cell: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| cell.starts_with(only.as_str()))
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, Failure> {
    let seconds = number(name, value.strip_suffix('s').unwrap_or(value), 1, LIMIT_SECONDS_MAX)?;
    Ok(Duration::from_secs(seconds.into()))
}

/// Always in the order of what there is.
fn chosen(what: &str, all: &[&str], list: &str) -> Result<Vec<String>, Failure> {
    let wanted: Vec<&str> = list.split(',').collect();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        return Err(Failure::Usage(format!("there is no {what} «{unknown}»; there are {}", all.join(", "))));
    }
    Ok(all.iter().filter(|name| wanted.contains(name)).map(|name| (*name).to_owned()).collect())
}

pub(super) const HELP: &str = "\
Usage: cargo xtask bench client [--quick] [OPTION …]

Measures «restante fetch» beside mpop, fetchmail, getmail6 and curl: the same mail, from the same
server, in turns; over loopback, and through a proxy that makes a round trip take 50 ms. Seconds, CPU
of the client, its memory; what arrived is compared with what was served. Needs root: the server and
the clients run as nobody. On Debian it installs the clients that are missing.
How it measures, and what the numbers cannot say: docs/benchmarks.md.

The result goes to bench/runs/DATE-MACHINE-client/ as a table (README.md) and raw numbers
(results.json); with --quick to target/bench/, since its numbers are no numbers to keep.

Options:
  --quick            small sizes and one run: under three minutes, shows that all works
  --only NAME,…      only cells whose names begin so, such as few or again-many-far
  --clients NAME,…   only these of restante, mpop, fetchmail, getmail6, curl
  --server NAME      who serves: restante or dovecot                    [restante]
  --runs N           runs of each client in a cell                      [5; quick 1]
  --limit SECONDS    a client has so long for all its runs in a cell: fewer runs where they take
                     long, and none where a single one takes longer     [60; quick 6]
  --few N            messages of 8 KiB in the smaller drop              [2000; quick 200]
  --many N           the same in the larger one                         [10000; quick 1000]
  --large N          messages of 5 MiB in the third                     [50; quick 5]
  --dir DIR          where the temporary folder is made: on a disk, since fsync is part of the matter
  --out DIR          where the result is written instead
  --machine NAME     the name of this machine in the result             [its host name]
  --no-install       installs nothing; a client that is missing is left out

RESTANTE_BINARY=FILE measures this program of ours instead of a fresh release build; DELAY_PROXY=FILE
takes this delaying proxy.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, Failure> {
        Options::parse(&line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_said_is_taken_wherever_quick_stands() {
        let expected =
            Options { runs: 3, only: vec!["few".into()], limit: Duration::from_secs(9), ..Options::quick() };
        assert_eq!(parse("--runs 3 --only few --limit 9s --quick"), Ok(Some(expected)));
        assert_eq!(parse(""), Ok(Some(Options::full())));
        assert_eq!(parse("--clients curl,mpop").unwrap().unwrap().clients, ["mpop", "curl"]);
        assert_eq!(parse("--server dovecot").unwrap().unwrap().server, "dovecot");
        assert_eq!(parse("--runs 2 --help"), Ok(None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["--runs", "--limit 0s", "--clients pine", "--server courier", "--machine ../x", "--fast"]
        {
            assert!(matches!(parse(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
