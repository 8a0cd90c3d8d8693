//! What `cargo xtask bench` can be told: sizes, how often, which servers and cells, where the result goes.

use std::path::PathBuf;

use crate::run::Failure;

/// Most runs of a cell.
const RUNS_MAX: u32 = 100;
/// Most messages of a drop, and most idle sessions.
const COUNT_MAX: u32 = 2_000_000;

/// Files that a server, or the load generator, has open beside those of its sessions.
const FILES_BESIDE: u32 = 500;

/// The names of the servers, ours first.
pub(super) const SERVERS: &[&str] = &["restante", "dovecot", "courier"];

/// What is measured, how often, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) quick: bool,
    /// Measured runs of each cell; one before them is not counted.
    pub(super) runs: u32,
    /// Sessions of a run of the session cells.
    pub(super) sessions: u32,
    /// MiB that each client retrieves in a run of the RETR cells.
    pub(super) retr_mib: u32,
    /// The longest that a run may put load on a server.
    pub(super) run_seconds: u32,
    /// Messages of the drops that are called small, large and huge; without huge ones their cells are left out.
    pub(super) small_drop: u32,
    pub(super) large_drop: u32,
    pub(super) huge_drop: u32,
    /// Idle sessions that are held, and many of them, where the number itself is the matter.
    pub(super) idle: u32,
    pub(super) many: u32,
    /// The same of those that read slowly.
    pub(super) slow: u32,
    /// How long small sessions are watched while others work.
    pub(super) calm_seconds: u32,
    /// Beginnings of names of cells; none for all.
    pub(super) only: Vec<String>,
    pub(super) servers: Vec<String>,
    /// Where the drops are made; a folder of its own is made in it, and removed.
    pub(super) folder: PathBuf,
    /// Where the result is written; by default it depends on `quick`.
    pub(super) out: Option<PathBuf>,
    pub(super) machine: Option<String>,
    pub(super) install: bool,
}

impl Options {
    fn full() -> Self {
        Self {
            quick: false,
            runs: 5,
            sessions: 2000,
            retr_mib: 200,
            run_seconds: 15,
            small_drop: 10_000,
            large_drop: 100_000,
            huge_drop: 1_000_000,
            idle: 2000,
            many: 10_000,
            slow: 10_000,
            calm_seconds: 6,
            only: Vec::new(),
            servers: SERVERS.iter().map(|name| (*name).to_owned()).collect(),
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
            sessions: 200,
            retr_mib: 50,
            run_seconds: 2,
            small_drop: 1000,
            large_drop: 5000,
            huge_drop: 20_000,
            idle: 100,
            many: 200,
            slow: 200,
            calm_seconds: 1,
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
                "--sessions" => options.sessions = number(name, &value()?, 1, COUNT_MAX)?,
                "--retr-mib" => options.retr_mib = number(name, &value()?, 50, 100_000)?,
                "--run-seconds" => options.run_seconds = number(name, &value()?, 1, 600)?,
                "--small-drop" => options.small_drop = number(name, &value()?, 10, COUNT_MAX)?,
                "--large-drop" => options.large_drop = number(name, &value()?, 10, COUNT_MAX)?,
                "--huge-drop" => options.huge_drop = number(name, &value()?, 0, COUNT_MAX)?,
                "--many" => {
                    options.many = number(name, &value()?, 1, 20_000)?;
                    options.slow = options.many;
                }
                "--calm-seconds" => options.calm_seconds = number(name, &value()?, 1, 600)?,
                "--idle" => options.idle = number(name, &value()?, 1, 20_000)?,
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--servers" => options.servers = servers(&value()?)?,
                "--dir" => options.folder = PathBuf::from(value()?),
                "--out" => options.out = Some(PathBuf::from(value()?)),
                "--machine" => options.machine = Some(machine(value()?)?),
                other => return Err(Failure::Usage(format!("bench takes no «{other}»\n\n{HELP}"))),
            }
        }
        Ok(Some(options))
    }

    /// Asks for no more sessions than a server can hold that has two files open for each, socket and lock, and a third
    /// one while it sends a message; says whether they became fewer.
    pub(super) fn fit(&mut self, files: u32) -> bool {
        let asked = (self.many, self.slow);
        let files = files.saturating_sub(FILES_BESIDE);
        self.many = self.many.min(files / 2);
        self.slow = self.slow.min(files / 3);
        (self.many, self.slow) != asked
    }

    /// Whether goals can be compared with what comes of it.
    pub(super) fn has_default_sizes(&self) -> bool {
        let full = Self::full();
        let sizes = |of: &Self| (of.small_drop, of.large_drop, of.huge_drop, of.idle, of.quick);
        sizes(self) == sizes(&full)
    }

    /// Whether a cell of this name is to be measured.
    pub(super) fn takes(&self, cell: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| cell.starts_with(only.as_str()))
    }
}

pub(super) fn number(name: &str, value: &str, least: u32, most: u32) -> Result<u32, Failure> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| Failure::Usage(format!("{name} takes a number from {least} to {most}")))
}

/// Always in the order of [`SERVERS`], ours among them: without it there is nothing to compare.
fn servers(list: &str) -> Result<Vec<String>, Failure> {
    let wanted: Vec<&str> = list.split(',').collect();
    if let Some(unknown) = wanted.iter().find(|name| !SERVERS.contains(name)) {
        let known = SERVERS.join(", ");
        return Err(Failure::Usage(format!("there is no server «{unknown}»; the servers are {known}")));
    }
    Ok(SERVERS
        .iter()
        .filter(|name| **name == SERVERS[0] || wanted.contains(name))
        .map(|name| (*name).to_owned())
        .collect())
}

/// It becomes part of a file name.
pub(super) fn machine(name: String) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Failure::Usage("--machine takes letters, digits, - and _".into()));
    }
    Ok(name)
}

pub(super) const HELP: &str = "\
Usage: cargo xtask bench [--quick] [OPTION …]

Measures this server beside Dovecot and Courier, on this machine, over loopback: CPU of all the
server's processes for a session, a GiB, a listing; memory of idle sessions. Needs root. On Debian it
installs dovecot-core, courier-base and courier-authlib-userdb if they are missing, without starting
a service, and unpacks dovecot-pop3d and courier-pop, which Debian does not allow side by side, under
target/bench/. Nothing is removed. Each server runs with a configuration and drops of its own in a
temporary folder, which is removed; the settings of installed servers stay untouched.
How it measures, and what the numbers cannot say: docs/benchmarks.md.
«cargo xtask bench client» measures our client: see its --help.

The result goes to bench/runs/DATE-MACHINE/ as a table (README.md) and raw numbers (results.json);
with --quick to target/bench/, since its numbers are no numbers to keep.

Options:
  --quick            small sizes and one run: under ten minutes, shows that all works
  --only NAME,…      only cells whose names begin so, such as session or retr-50k
  --servers NAME,…   beside ours only these of dovecot, courier
  --runs N           measured runs of each cell                        [5; quick 1]
  --sessions N       sessions of a run in the session cells            [2000; quick 200]
  --retr-mib N       MiB a client retrieves in a run of a RETR cell    [200; quick 50]
  --run-seconds N    the longest that one run puts load on a server    [15; quick 2]
  --small-drop N     messages of the smaller of the large drops        [10000; quick 1000]
  --large-drop N     messages of the large drop                        [100000; quick 5000]
  --huge-drop N      messages of the huge drop, which is made once for all; 0: none  [1000000; quick 20000]
  --idle N           idle sessions that are held                       [2000; quick 100]
  --many N           sessions that are held, idle or reading slowly    [10000; quick 200]
  --calm-seconds N   how long small sessions are watched while others work  [6; quick 1]
  --dir DIR          where the temporary folder is made: on the file system to be measured
  --out DIR          where the result is written instead
  --machine NAME     the name of this machine in the result            [its host name]
  --no-install       installs nothing; a server that is missing is left out

RESTANTE_BINARY=FILE measures this program of ours instead of a fresh release build.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, Failure> {
        Options::parse(&line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_said_is_taken_wherever_quick_stands() {
        let expected = Options { runs: 3, only: vec!["retr".into(), "idle".into()], ..Options::quick() };
        assert_eq!(parse("--runs 3 --only retr,idle --quick"), Ok(Some(expected)));
        assert_eq!(parse(""), Ok(Some(Options::full())));
        assert_eq!(parse("--servers courier").unwrap().unwrap().servers, ["restante", "courier"]);
        assert_eq!(parse("--runs 2 --help"), Ok(None));
    }

    #[test]
    fn sessions_fit_the_limit_of_open_files() {
        let mut options = Options::full();
        assert_eq!((options.fit(65_536), options.many, options.slow), (false, 10_000, 10_000));
        assert_eq!((options.fit(20_000), options.many, options.slow), (true, 9750, 6500));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for line in ["--runs", "--runs 0", "--runs x", "--servers postfix", "--machine ../x", "--fast"] {
            assert!(matches!(parse(line), Err(Failure::Usage(_))), "{line}");
        }
    }

    #[test]
    fn cells_are_chosen_by_the_beginning_of_their_names() {
        let options = parse("--only session-tls,idle").unwrap().unwrap();
        assert!(
            options.takes("session-tls-0")
                && options.takes("idle-plain")
                && !options.takes("session-plain-0")
        );
        assert!(Options::full().takes("anything"));
    }
}
