//! The machine that is measured: what is installed on it for that, what it is, and whether it is quiet enough.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::server::{self, Leaf};
use crate::{
    debian,
    run::{self, Failure},
};

/// A load average above this, and other work was measured with it.
const QUIET_LOAD: f64 = 0.3;

/// What people have to know about a machine to compare numbers.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) date: String,
    pub(super) facts: Vec<(&'static str, String)>,
    load_before: f64,
}

pub(super) fn is_root() -> bool {
    run::output(Command::new("id").arg("-u")).is_some_and(|id| id == "0")
}

impl Machine {
    /// Looks at it, and at the file system of a folder. Without a name it is called as its host.
    pub(super) fn look(folder: &Path, name: Option<&str>) -> Self {
        let output = |program: &str, arguments: &[&str]| {
            run::output(Command::new(program).args(arguments)).unwrap_or_else(|| "unknown".into())
        };
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
            line.trim_start_matches([' ', '\t', ':', '=']).trim_matches('"').to_owned()
        };
        let folder = folder.display().to_string();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let git =
            |arguments: &[&str]| run::output(Command::new("git").current_dir(run::root()).args(arguments));
        let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
        let changed =
            git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
        let load_before = load_average();
        Self {
            name: name.map_or_else(|| output("uname", &["-n"]), str::to_owned),
            date: output("date", &["+%Y-%m-%d"]),
            facts: vec![
                ("commit", if changed { format!("{commit}, with changes") } else { commit }),
                ("processors", format!("{processors} × {}", field("/proc/cpuinfo", "model name"))),
                ("memory", field("/proc/meminfo", "MemTotal")),
                ("kernel", output("uname", &["-sr"])),
                ("system", field("/etc/os-release", "PRETTY_NAME")),
                ("file system", output("findmnt", &["-n", "-o", "FSTYPE", "-T", &folder])),
                ("compiler", output("rustc", &["--version"])),
                ("load average before", format!("{load_before:.2}")),
            ],
            load_before,
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        if self.load_before <= QUIET_LOAD {
            return Vec::new();
        }
        vec![format!(
            "the machine was busy before the run (load average {:.2}): numbers of this run are not to be kept",
            self.load_before
        )]
    }

    pub(super) fn json(&self) -> Value {
        let facts: serde_json::Map<_, _> =
            self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({ "name": self.name, "date": self.date, "facts": facts })
    }
}

fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

/// Installs what the servers stand on, without starting anything, and unpacks their POP3 programs. Nothing that is
/// installed is removed for it.
pub(super) fn install(servers: &[String]) -> Result<(), Failure> {
    let kinds = server::kinds();
    let wanted = kinds.iter().filter(|kind| servers.iter().any(|name| name == kind.name()));
    let packages: Vec<&str> = wanted
        .clone()
        .flat_map(|kind| kind.packages().iter().copied())
        .filter(|package| server::package_version(package).is_none())
        .collect();
    let leaves: Vec<Leaf> =
        wanted.filter_map(|kind| kind.leaf()).filter(|leaf| leaf.version().is_none()).collect();
    if packages.is_empty() && leaves.is_empty() {
        return Ok(());
    }
    if run::output(Command::new("dpkg-query").arg("--version")).is_none() {
        println!("! this is no Debian: servers that are missing are left out");
        return Ok(());
    }
    let no_services = debian::NoServices::start()?;
    let mut update = Command::new("apt-get");
    run::run(update.args(["update", "-qq"]))?;
    if !packages.is_empty() {
        let mut install = Command::new("apt-get");
        install.env("DEBIAN_FRONTEND", "noninteractive");
        install.args(["install", "-y", "-qq", "--no-install-recommends", "--no-remove"]).args(packages);
        run::run(&mut install)?;
    }
    drop(no_services);
    leaves.iter().try_for_each(|leaf| debian::unpack(leaf.package, &leaf.unpacked()))
}
