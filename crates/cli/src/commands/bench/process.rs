//! CPU and memory of a server's processes, as `/proc` has them: all that descend from the ones named, with what their
//! children that ended have used.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    time::Duration,
};

/// The processes of a server.
pub(super) struct Processes {
    pub(super) roots: Vec<u32>,
    ticks_per_second: u64,
}

/// What they have used, and use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) processes: usize,
    /// CPU time since they began, exited children included.
    pub(super) cpu: Duration,
    /// Proportional set size; `None` where it may not be read.
    pub(super) pss_kib: Option<u64>,
}

/// What `/proc/PID/stat` says of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// utime + stime + cutime + cstime.
    ticks: u64,
}

impl Processes {
    /// The trees of these processes, which have to be there.
    pub(super) fn of(roots: &[u32]) -> Result<Self, String> {
        if let Some(gone) = roots.iter().find(|pid| stat(**pid).is_none()) {
            return Err(format!("there is no process {gone}"));
        }
        Ok(Self { roots: roots.to_vec(), ticks_per_second: rustix::param::clock_ticks_per_second() })
    }

    /// What they have used; `None` where one of those named is gone.
    pub(super) fn look(&self) -> Option<Usage> {
        let all = all().ok()?;
        if !self.roots.iter().all(|root| all.contains_key(root)) {
            return None;
        }
        let tree = tree(&self.roots, &all);
        let ticks: u64 = tree.iter().filter_map(|pid| all.get(pid)).map(|stat| stat.ticks).sum();
        Some(Usage {
            processes: tree.len(),
            cpu: time(ticks, self.ticks_per_second),
            pss_kib: tree.iter().map(|pid| pss_kib(*pid)).sum(),
        })
    }
}

/// The CPU time of this process: a load generator that is busy all the time measures itself.
pub(super) fn own_cpu() -> Option<Duration> {
    stat(std::process::id()).map(|stat| time(stat.ticks, rustix::param::clock_ticks_per_second()))
}

fn time(ticks: u64, ticks_per_second: u64) -> Duration {
    Duration::from_micros(ticks.saturating_mul(1_000_000) / ticks_per_second.max(1))
}

fn all() -> io::Result<HashMap<u32, Stat>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        if let Some(stat) = stat(pid) {
            found.insert(pid, stat);
        }
    }
    Ok(found)
}

fn stat(pid: u32) -> Option<Stat> {
    read_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields of `proc_pid_stat(5)`. The name, which may hold anything, ends at the last parenthesis.
fn read_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // The first field behind the name is the third of the manual page.
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

/// These processes and all that descend from them, each once.
fn tree(roots: &[u32], all: &HashMap<u32, Stat>) -> BTreeSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in all {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let (mut tree, mut next) = (BTreeSet::new(), roots.to_vec());
    while let Some(pid) = next.pop() {
        if tree.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    tree
}

/// `None` where it may not be read; a process that has ended, or has no memory of its own, has none.
fn pss_kib(pid: u32) -> Option<u64> {
    match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) => Some(read_pss(&text)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(_) => Some(0),
    }
}

fn read_pss(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_field() {
        let text = "7 (a) S 1 (b)) S 3 7 7 0 -1 4194560 5 6 0 0 10 20 300 4000 20 0 1 0 99 1 1\n";
        assert_eq!(read_stat(text), Some(Stat { parent: 3, ticks: 4330 }));
        assert_eq!(read_stat("7 (a) S 3"), None);
        assert_eq!(read_stat(""), None);
    }

    #[test]
    fn a_tree_is_all_that_descend_each_once() {
        let stat = |parent| Stat { parent, ticks: 1 };
        let all = HashMap::from([(1, stat(0)), (5, stat(1)), (6, stat(5)), (7, stat(6)), (8, stat(1))]);
        assert_eq!(tree(&[5, 7], &all), BTreeSet::from([5, 6, 7]));
    }

    #[test]
    fn the_proportional_size_is_read() {
        assert_eq!(
            read_pss("55 ---p 00000000 [rollup]\nRss:  20 kB\nPss:   1234 kB\nPss_Dirty: 9 kB\n"),
            1234
        );
        assert_eq!(read_pss(""), 0);
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let processes = Processes::of(&[std::process::id()]).unwrap();
        let usage = processes.look().unwrap();
        assert!(usage.processes >= 1 && usage.pss_kib.is_some_and(|kib| kib > 0), "{usage:?}");
        assert!(Processes::of(&[u32::MAX]).is_err());
    }
}
