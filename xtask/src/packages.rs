//! The programs that the interop tests drive, and the Debian packages that bring them: installed as root, named to
//! anybody else. What the tests do with them lives in `interop/`.

use std::process::Command;

use crate::run::{self, Failure};

/// A program that a test drives, and the Debian package (bookworm and trixie) that it comes in.
const PROGRAMS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("fetchmail", "fetchmail"),
    ("getmail", "getmail6"),
    ("mpop", "mpop"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("strace", "strace"),
];

/// Packages without a program of their own: the folder of trusted certificates that some of the clients expect.
const OTHERS: &[&str] = &["ca-certificates"];

/// Sees to it that every program is there.
pub(crate) fn run() -> Result<(), Failure> {
    if run::output(Command::new("dpkg-query").arg("--version")).is_none() {
        return elsewhere();
    }
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .map(|(_, package)| *package)
        .chain(OTHERS.iter().copied())
        .filter(|package| !installed(package))
        .collect();
    if missing.is_empty() {
        println!("All {} packages are installed.", PROGRAMS.len() + OTHERS.len());
        return Ok(());
    }
    if !root() {
        let names = missing.join(" ");
        return Err(Failure::Failed(format!(
            "these Debian packages are missing: {names}\n  install them:  sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}\n  or run other steps:  cargo xtask test --help"
        )));
    }
    run::run(&mut apt(&["update", "-qq"]))?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&missing);
    run::run(&mut apt(&arguments))?;
    match missing.iter().find(|package| !installed(package)) {
        None => Ok(()),
        Some(package) => Err(Failure::Failed(format!("apt-get succeeded, but {package} is not installed"))),
    }
}

/// Sees to it that a program is there that only one chore needs.
pub(crate) fn need(program: &str, package: &str) -> Result<(), Failure> {
    if on_path(program) {
        return Ok(());
    }
    let debian = run::output(Command::new("dpkg-query").arg("--version")).is_some();
    if !debian || !root() {
        return Err(Failure::Failed(format!(
            "{program} is missing\n  install it; on Debian:  sudo apt-get install -y --no-install-recommends {package}"
        )));
    }
    run::run(&mut apt(&["update", "-qq"]))?;
    run::run(&mut apt(&["install", "-y", "-qq", "--no-install-recommends", package]))?;
    if on_path(program) {
        return Ok(());
    }
    Err(Failure::Failed(format!("apt-get succeeded, but {program} is not there")))
}

/// A system without Debian's packages: the programs are looked for on the path.
fn elsewhere() -> Result<(), Failure> {
    let missing: Vec<&str> =
        PROGRAMS.iter().map(|(program, _)| *program).filter(|program| !on_path(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "these programs are missing, and this is no Debian: {}\n  install them in this system's own way",
        missing.join(" ")
    )))
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn installed(package: &str) -> bool {
    run::output(Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]))
        .is_some_and(|status| status == "installed")
}

fn root() -> bool {
    run::output(Command::new("id").arg("-u")).is_some_and(|id| id == "0")
}

/// `apt-get` that asks no question.
fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}
