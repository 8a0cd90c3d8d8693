//! One run of a program: how long it takes, the CPU of it and of what it starts, and its memory; with an end to it. What
//! is run is the caller's matter.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{
        process::{self, Accounting},
        server::MAIL_ID,
    },
    run::Failure,
};

/// How often is looked whether the program has ended.
const LOOK: Duration = Duration::from_millis(1);
/// How often its memory is read: with each so many looks.
const LOOKS_BETWEEN: u32 = 4;
/// How long the kernel may take to let go of a group.
const GROUP_MAX: Duration = Duration::from_secs(5);
/// The last so many octets of what it said are told.
const SAID_OCTETS: usize = 300;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) wall_seconds: f64,
    pub(super) cpu_seconds: f64,
    /// The most that a process of it had at a time; 0 where it ended before anybody looked.
    pub(super) peak_kib: u64,
}

#[derive(Debug)]
pub(super) enum Ended {
    /// With an exit status, and its last words.
    Itself(Run, ExitStatus, String),
    /// It took too long and was ended.
    Late,
}

/// Starts a program as the user who owns the mail, in a folder that is its home, and waits until it has ended.
pub(super) fn run(
    words: &[String],
    folder: &Path,
    accounting: &Accounting,
    limit: Duration,
) -> Result<Ended, Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("cannot run {}: {error}", words.join(" ")));
    let log = folder.join("output");
    let out = fs::File::create(&log).map_err(failed)?;
    let group = Group::make(accounting).map_err(failed)?;
    let before = children_ticks();
    let id = MAIL_ID.to_string();
    let mut command = Command::new("sh");
    // The shell enters the group and becomes the program. It hears SIGTERM when this process dies, however that happens.
    command.args(["-c", "if [ -n \"$0\" ]; then echo $$ > \"$0/cgroup.procs\" || exit 1; fi; exec \"$@\""]);
    command.arg(group.0.as_deref().unwrap_or_else(|| Path::new("")));
    command.args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--pdeathsig", "TERM"]);
    command.args(words).current_dir(folder).env("HOME", folder).env("LC_ALL", "C.UTF-8");
    command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME");
    command.stdin(Stdio::null()).stdout(out.try_clone().map_err(failed)?).stderr(out);
    let begun = Instant::now();
    let mut child = command.spawn().map_err(failed)?;
    let mut peak_kib = 0;
    let mut looks = 0u32;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if begun.elapsed() > limit {
            group.end(&mut child);
            return Ok(Ended::Late);
        }
        if looks.is_multiple_of(LOOKS_BETWEEN) {
            peak_kib = group.members(&child).filter_map(high_water_kib).fold(peak_kib, u64::max);
        }
        looks = looks.wrapping_add(1);
        thread::sleep(LOOK);
    };
    let wall_seconds = begun.elapsed().as_secs_f64();
    let cpu_seconds = match (&group.0, accounting) {
        (Some(group), _) => process::usage_micros(group).map_err(failed)? as f64 / 1e6,
        (None, Accounting::Proc { ticks_per_second }) => {
            children_ticks().saturating_sub(before) as f64 / *ticks_per_second as f64
        }
        (None, Accounting::Group(_)) => f64::NAN,
    };
    // Whoever left something behind does not work on beside the next one.
    group.end(&mut child);
    Ok(Ended::Itself(Run { wall_seconds, cpu_seconds, peak_kib }, status, last_words(&log)))
}

/// A control group of a run, where the machine has them.
struct Group(Option<PathBuf>);

impl Group {
    fn make(accounting: &Accounting) -> io::Result<Self> {
        let Accounting::Group(folder) = accounting else { return Ok(Self(None)) };
        let group = folder.join(format!("restante-bench-{}-client", std::process::id()));
        fs::create_dir(&group)?;
        Ok(Self(Some(group)))
    }

    /// Its living processes; without a group, the program alone.
    fn members(&self, child: &Child) -> impl Iterator<Item = u32> + use<> {
        let listed = self.0.as_ref().map(|group| {
            let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        });
        listed.unwrap_or_else(|| vec![child.id()]).into_iter()
    }

    /// Ends what is still there, the program first. All of it was started by the run.
    fn end(&self, child: &mut Child) {
        drop(child.kill());
        drop(child.wait());
        let Some(group) = &self.0 else { return };
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in text.lines().filter_map(|line| line.parse().ok()) {
            process::signal("KILL", pid);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(group) = &self.0 else { return };
        let end = Instant::now() + GROUP_MAX;
        while fs::remove_dir(group).is_err() && Instant::now() < end {
            thread::sleep(LOOK);
        }
    }
}

/// proc(5): the most memory that a process had at a time.
fn high_water_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The CPU of all children of this process that were waited for, and theirs, in clock ticks.
fn children_ticks() -> u64 {
    ticks_of_children(&fs::read_to_string("/proc/self/stat").unwrap_or_default()).unwrap_or(0)
}

fn ticks_of_children(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(13);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn last_words(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(SAID_OCTETS);
    let lines: Vec<String> =
        String::from_utf8_lossy(&text[from..]).lines().map(|line| line.trim().to_owned()).collect();
    lines.join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticks_of_children_stand_behind_those_of_the_process() {
        let text = "7 (a) S 1 (b)) S 3 7 7 0 -1 4194560 5 6 0 0 10 20 300 4000 20 0 1 0 99 1 1\n";
        assert_eq!(ticks_of_children(text), Some(4300));
        assert_eq!(ticks_of_children("7 (a) S 3"), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(high_water_kib(std::process::id()).is_some_and(|kib| kib > 0));
        assert_eq!(high_water_kib(0), None);
    }
}
