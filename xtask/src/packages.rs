//! The programs that the interop tests drive, and the Debian packages that bring them: installed as root, named to
//! anybody else. What the tests do with them lives in `interop/`.

use std::{path::PathBuf, process::Command};

use crate::{
    debian,
    run::{self, Failure},
};

/// A program that a test drives, and the Debian package (bookworm and trixie) that it comes in.
const PROGRAMS: &[(&str, &str)] = &[
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("dbus-run-session", "dbus-daemon"),
    ("fail2ban-regex", "fail2ban"),
    ("fetchmail", "fetchmail"),
    ("getmail", "getmail6"),
    ("gnome-keyring-daemon", "gnome-keyring"),
    ("haproxy", "haproxy"),
    ("mpop", "mpop"),
    ("mutt", "mutt"),
    ("nginx", "nginx"),
    ("openssl", "openssl"),
    ("pdftotext", "poppler-utils"),
    ("promtool", "prometheus"),
    ("python3", "python3"),
    ("strace", "strace"),
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
];

/// Packages that bring no client: the folder of trusted certificates that some of the clients expect, and the servers
/// that our own client calls at.
const OTHERS: &[&str] = &[
    "ca-certificates",
    "courier-authlib-userdb",
    "courier-base",
    "dovecot-imapd",
    "dovecot-lmtpd",
    "dovecot-pop3d",
    "libgsasl18",
    "libnginx-mod-mail",
    "libnginx-mod-stream",
    "libpam0g-dev",
    "mailutils-pop3d",
    "mariadb-server",
    "postgresql",
    "python3-openssl",
    "python3-twisted",
    "slapd",
];

/// Servers that Debian does not allow beside another of their kind: unpacked for the tests where the machine has that
/// other one.
const LONERS: &[&str] = &["courier-pop", "exim4-daemon-light"];

/// Sees to it that every program is there.
pub(crate) fn run() -> Result<(), Failure> {
    if !debian::here() {
        return elsewhere();
    }
    let packages = PROGRAMS.iter().map(|(_, package)| *package).chain(OTHERS.iter().copied());
    let missing: Vec<&str> = packages.filter(|package| !installed(package)).collect();
    let loners: Vec<&str> =
        LONERS.iter().copied().filter(|package| !installed(package) && !unpacked(package).is_dir()).collect();
    if missing.is_empty() && loners.is_empty() {
        println!("All {} packages are installed.", PROGRAMS.len() + OTHERS.len() + LONERS.len());
        return Ok(());
    }
    if !missing.is_empty() && !root() {
        let names = missing.join(" ");
        return Err(Failure::Failed(format!(
            "these Debian packages are missing: {names}\n  install them:  sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}\n  or run other steps:  cargo xtask test --help"
        )));
    }
    if root() {
        run::run(&mut apt(&["update", "-qq"]))?;
    }
    if !missing.is_empty() {
        install(&missing)?;
    }
    for package in loners {
        // Not by force: the machine keeps what it has.
        if !root() || install(&[package]).is_err() {
            println!("{package} is unpacked, and not installed beside another of its kind.");
            debian::unpack(package, &unpacked(package))?;
        }
    }
    Ok(())
}

/// Installs packages as root. None of them starts its service, and none that is there is removed for them.
fn install(packages: &[&str]) -> Result<(), Failure> {
    let no_services = debian::NoServices::start()?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    run::run(&mut apt(&arguments))?;
    drop(no_services);
    match packages.iter().find(|package| !installed(package)) {
        None => Ok(()),
        Some(package) => Err(Failure::Failed(format!("apt-get succeeded, but {package} is not installed"))),
    }
}

/// Where a package is unpacked; the interop tests look there.
fn unpacked(package: &str) -> PathBuf {
    run::target().join("interop/packages").join(package)
}

/// Sees to it that a program is there that only one chore needs.
pub(crate) fn need(program: &str, package: &str) -> Result<(), Failure> {
    if on_path(program) {
        return Ok(());
    }
    if !debian::here() || !root() {
        return Err(Failure::Failed(format!(
            "{program} is missing\n  install it; on Debian:  sudo apt-get install -y --no-install-recommends {package}"
        )));
    }
    run::run(&mut apt(&["update", "-qq"]))?;
    install(&[package])?;
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
