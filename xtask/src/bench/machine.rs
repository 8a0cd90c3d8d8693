//! The machine that is measured: what is installed on it for that, what it is, and whether it is quiet enough.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::{options::Options, server};
use crate::run::{self, Failure};

/// The script that Debian's packages ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
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
    pub(super) fn look(options: &Options) -> Self {
        let output = |program: &str, arguments: &[&str]| {
            run::output(Command::new(program).args(arguments)).unwrap_or_else(|| "unknown".into())
        };
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unknown");
            line.trim_start_matches([' ', '\t', ':', '=']).trim_matches('"').to_owned()
        };
        let folder = options.folder.display().to_string();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let git =
            |arguments: &[&str]| run::output(Command::new("git").current_dir(run::root()).args(arguments));
        let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
        let changed =
            git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
        let load_before = load_average();
        Self {
            name: options.machine.clone().unwrap_or_else(|| output("uname", &["-n"])),
            date: output("date", &["+%Y-%m-%d"]),
            facts: vec![
                ("commit", if changed { format!("{commit}, with changes") } else { commit }),
                ("processors", format!("{processors} × {}", field("/proc/cpuinfo", "model name"))),
                ("memory", field("/proc/meminfo", "MemTotal")),
                ("kernel", output("uname", &["-sr"])),
                ("system", field("/etc/os-release", "PRETTY_NAME")),
                ("file system", output("stat", &["-f", "-c", "%T", &folder])),
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

/// Installs the servers that are missing, without starting them.
pub(super) fn install(options: &Options) -> Result<(), Failure> {
    let kinds = server::kinds();
    let wanted = kinds.iter().filter(|kind| options.servers.iter().any(|name| name == kind.name()));
    let missing: Vec<&str> = wanted
        .filter(|kind| kind.version().is_none())
        .flat_map(|kind| kind.packages().iter().copied())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if run::output(Command::new("dpkg-query").arg("--version")).is_none() {
        println!("! this is no Debian: servers that are missing are left out");
        return Ok(());
    }
    let _policy = Policy::forbid().map_err(|error| Failure::Failed(format!("{POLICY}: {error}")))?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        run::run(&mut command)
    };
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&missing);
    apt(&arguments)
}

/// While it lives no package starts a service: invoke-rc.d asks the script, and 101 forbids. A script that is there
/// already is moved aside and put back.
struct Policy {
    aside: Option<PathBuf>,
}

impl Policy {
    fn forbid() -> io::Result<Self> {
        let policy = Path::new(POLICY);
        let aside = policy.with_extension("d.restante-bench");
        let aside = policy.exists().then_some(aside);
        if let Some(aside) = &aside {
            fs::rename(policy, aside)?;
        }
        let forbidding = Self { aside };
        fs::write(policy, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(forbidding)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let put_back = match &self.aside {
            Some(aside) => fs::rename(aside, POLICY),
            None => fs::remove_file(POLICY),
        };
        if let Err(error) = put_back {
            eprintln!("{POLICY} could not be put back: {error}");
        }
    }
}
