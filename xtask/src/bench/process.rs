//! The processes of one server: started in a control group of their own where the machine has them, their CPU time
//! and memory, and their end. Every process that is started is stopped here, by its id or by its group.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::run::{self, Failure};

/// How long a server may take to end in good order.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How long what it started may take to end after it.
const CHILDREN_MAX: Duration = Duration::from_secs(2);
/// How often what is waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Allows as many open files as the machine does, up to 65,536.
const RAISE: &str = "ulimit -n 65536 2>/dev/null || ulimit -n \"$(ulimit -H -n)\"";

/// How many files a server may open.
pub(super) fn files() -> u32 {
    let files = run::output(Command::new("sh").args(["-c", &format!("{RAISE}; ulimit -n")]));
    files.and_then(|files| files.parse().ok()).unwrap_or(1024)
}

/// How the CPU time of a server's processes is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Accounting {
    /// A control group (v2) below this one, which counts for all processes that ever were in it, to the microsecond.
    Group(PathBuf),
    /// `/proc`: what the living processes used, and the children that they waited for; in ticks of a clock.
    Proc { ticks_per_second: u64 },
}

impl Accounting {
    /// The better one that this machine has.
    pub(super) fn find() -> Self {
        if let Some(folder) = group_folder() {
            let probe = folder.join(format!("restante-bench-{}-probe", std::process::id()));
            if fs::create_dir(&probe).is_ok() {
                let counts = usage_micros(&probe).is_ok();
                if fs::remove_dir(&probe).is_ok() && counts {
                    return Self::Group(folder);
                }
            }
        }
        let ticks = run::output(Command::new("getconf").arg("CLK_TCK"));
        Self::Proc { ticks_per_second: ticks.and_then(|ticks| ticks.parse().ok()).unwrap_or(100) }
    }

    pub(super) const fn words(&self) -> &'static str {
        match self {
            Self::Group(_) => {
                "a control group (v2) for each server: every process that ever was in it, in µs"
            }
            Self::Proc { .. } => {
                "/proc: living processes and the children that they waited for, in clock ticks; a process whose parent \
                 ended first is missed"
            }
        }
    }
}

/// Where this process may make groups: that of its own, or the root where that is a plain folder.
fn group_folder() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = mount.join(own);
    Some(if folder.is_dir() { folder } else { mount })
}

/// The CPU time of all that ever ran in a group.
pub(super) fn usage_micros(group: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(group.join("cpu.stat"))?;
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok());
    usage.ok_or_else(|| io::Error::other("cpu.stat has no usage_usec"))
}

/// The processes of one server.
#[derive(Debug)]
pub(super) struct Processes {
    roots: Vec<Child>,
    group: Option<PathBuf>,
    ticks_per_second: u64,
}

impl Processes {
    /// None yet.
    pub(super) fn new(accounting: &Accounting, server: &str) -> Result<Self, Failure> {
        let (group, ticks_per_second) = match accounting {
            Accounting::Group(folder) => {
                let group = folder.join(format!("restante-bench-{}-{server}", std::process::id()));
                fs::create_dir(&group)
                    .map_err(|error| Failure::Failed(format!("{}: {error}", group.display())))?;
                (Some(group), 0)
            }
            Accounting::Proc { ticks_per_second } => (None, *ticks_per_second),
        };
        Ok(Self { roots: Vec::new(), group, ticks_per_second })
    }

    /// Starts a program that stays in the foreground. It hears SIGTERM when this process dies, however that happens.
    pub(super) fn start(&mut self, words: &[String], log: &Path) -> Result<(), Failure> {
        let told = |error: io::Error| Failure::Failed(format!("cannot start {}: {error}", words.join(" ")));
        let out = fs::File::options().create(true).append(true).open(log).map_err(told)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "sh", "-c"]);
        command.arg(format!(
            "{RAISE}; if [ -n \"$0\" ]; then echo $$ > \"$0/cgroup.procs\" || exit 1; fi; exec \"$@\""
        ));
        command.arg(self.group.as_deref().unwrap_or_else(|| Path::new(""))).args(words);
        command.stdin(Stdio::null()).stdout(out.try_clone().map_err(told)?).stderr(out);
        println!("$ {}", words.join(" "));
        self.roots.push(command.spawn().map_err(told)?);
        Ok(())
    }

    /// The processes that were started, without those that they started.
    pub(super) fn roots(&self) -> Vec<u32> {
        self.roots.iter().map(Child::id).collect()
    }

    /// All of them at this moment.
    pub(super) fn all(&self) -> Vec<u32> {
        self.left(&self.members())
    }

    /// Says which of them has ended, if one has.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        for child in &mut self.roots {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Failure::Failed(format!("process {} ended early ({status})", child.id())));
            }
        }
        Ok(())
    }

    /// CPU seconds of all of them up to now.
    pub(super) fn cpu_seconds(&self) -> Result<f64, Failure> {
        match &self.group {
            Some(group) => match usage_micros(group) {
                Ok(micros) => Ok(micros as f64 / 1e6),
                Err(error) => Err(Failure::Failed(format!("{}: {error}", group.display()))),
            },
            None => {
                let all = stats();
                let ticks: u64 =
                    tree(&self.roots(), &all).iter().filter_map(|pid| Some(all.get(pid)?.ticks)).sum();
                Ok(ticks as f64 / self.ticks_per_second as f64)
            }
        }
    }

    /// Stops them: in good order, and what is left after a while by force.
    pub(super) fn stop(&mut self) {
        if self.roots.is_empty() {
            return;
        }
        let members = self.members();
        for root in self.roots() {
            signal("TERM", root);
        }
        let roots_end = Instant::now() + STOP_MAX;
        while Instant::now() < roots_end
            && !self.roots.iter_mut().all(|root| matches!(root.try_wait(), Ok(Some(_))))
        {
            thread::sleep(LOOK);
        }
        // Children end after their parents, as a rule.
        let children_end = Instant::now() + CHILDREN_MAX;
        while Instant::now() < children_end && !self.left(&members).is_empty() {
            thread::sleep(LOOK);
        }
        for pid in self.left(&members) {
            signal("KILL", pid);
        }
        // On a busy machine that takes effect a little later.
        let killed_end = Instant::now() + CHILDREN_MAX;
        while Instant::now() < killed_end && !self.left(&members).is_empty() {
            // A root that has ended stays until it is asked for.
            drop(self.roots.iter_mut().try_for_each(|root| root.try_wait().map(|_| ())));
            thread::sleep(LOOK);
        }
        for root in &mut self.roots {
            drop(root.kill());
            drop(root.wait());
        }
        self.roots.clear();
    }

    /// The tree of processes as it is, each with the time of its start: a number may be given to another one.
    fn members(&self) -> BTreeMap<u32, u64> {
        let all = stats();
        tree(&self.roots(), &all).into_iter().filter_map(|pid| Some((pid, all.get(&pid)?.started))).collect()
    }

    /// The processes that are still there: those of the group, or those of the tree as it was.
    fn left(&self, members: &BTreeMap<u32, u64>) -> Vec<u32> {
        let all = stats();
        let alive = |pid: &u32| all.get(pid).is_some_and(|stat| !stat.ended);
        let same = |pid: &u32, started: &u64| all.get(pid).is_some_and(|stat| stat.started == *started);
        match &self.group {
            Some(group) => {
                let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
                text.lines().filter_map(|line| line.parse().ok()).filter(alive).collect()
            }
            None => {
                let same = members.iter().filter(|(pid, started)| same(pid, started));
                same.map(|(pid, _)| *pid).filter(alive).collect()
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop();
        if let Some(group) = &self.group {
            // The kernel lets go of a group a little after its last process.
            let end = Instant::now() + Duration::from_secs(2);
            while fs::remove_dir(group).is_err() && Instant::now() < end {
                thread::sleep(LOOK);
            }
        }
    }
}

/// There is no call for it in the standard library. A process that is gone is no error.
pub(super) fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()]);
    run::output(&mut kill);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Of itself and of its children that were waited for.
    ticks: u64,
    ended: bool,
    /// In ticks since the machine started.
    started: u64,
}

fn stats() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stat = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, read_stat(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
    };
    entries.filter_map(stat).collect()
}

/// proc(5): the name stands in parentheses and may hold some; behind it come the state, the parent, …
fn read_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Stat {
        parent: fields[1].parse().ok()?,
        ticks,
        ended: matches!(fields[0], "Z" | "X"),
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The processes and all that descend from them.
fn tree(roots: &[u32], all: &HashMap<u32, Stat>) -> BTreeSet<u32> {
    let (mut tree, mut next) = (BTreeSet::new(), roots.to_vec());
    while let Some(pid) = next.pop() {
        if tree.insert(pid) {
            next.extend(all.iter().filter(|(_, stat)| stat.parent == pid).map(|(child, _)| *child));
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let text = "7 (a) S 1 (b)) S 3 7 7 0 -1 4194560 5 6 0 0 10 20 300 4000 20 0 1 0 99 1 1\n";
        assert_eq!(read_stat(text), Some(Stat { parent: 3, ticks: 4330, ended: false, started: 99 }));
        assert_eq!(read_stat("7 (a) S 3"), None);
    }

    #[test]
    fn what_is_started_is_stopped_with_what_it_started() {
        let mut processes = Processes { roots: Vec::new(), group: None, ticks_per_second: 100 };
        let log = std::env::temp_dir().join(format!("restante-xtask-{}", std::process::id()));
        let words = ["sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait"].map(str::to_owned);
        processes.start(&words, &log).expect("setpriv of util-linux starts it");
        let end = Instant::now() + Duration::from_secs(10);
        let members = loop {
            let members = processes.members();
            if members.len() >= 2 || Instant::now() > end {
                break members;
            }
            thread::yield_now();
        };
        assert!(members.len() >= 2, "{members:?}");
        // The child outlives its parent's good order, and is ended by its id.
        let started = Instant::now();
        processes.stop();
        assert!(processes.left(&members).is_empty() && started.elapsed() < STOP_MAX + Duration::from_secs(5));
        drop(fs::remove_file(log));
    }
}
