//! `cargo xtask test`: sets the machine up and runs every check there is, in turn, up to the first that fails.
//! The steps are rows of [`STEPS`]; what they check lives in the crates, in `interop/` and in `xtask/freestanding/`.

use std::{fs, path::PathBuf, process::Command, time::Instant};

use crate::{
    packages,
    run::{self, Failure},
};

/// One step: its name on the command line, its headline, and what it does.
struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<(), Failure>,
}

/// Quick ones first, and what needs other people's programs last.
const STEPS: &[Step] = &[
    Step { name: "packages", about: "the programs that the interop tests drive", run: packages::run },
    Step { name: "fmt", about: "the code is formatted", run: fmt },
    Step { name: "clippy", about: "lints", run: clippy },
    Step { name: "unit", about: "cargo test: every crate, and the examples in the documentation", run: unit },
    Step { name: "doc", about: "the documentation builds without a warning", run: doc },
    Step { name: "freestanding", about: "proto without an operating system", run: freestanding },
    Step {
        name: "interop",
        about: "other people's mail clients against our server, and our client against their servers",
        run: interop,
    },
];

/// Targets without an operating system; each that this toolchain has is built for.
const BARE_TARGETS: &[&str] = &["x86_64-unknown-none", "aarch64-unknown-none", "thumbv7em-none-eabi"];

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if arguments.iter().any(|argument| argument == "-h" || argument == "--help") {
        print!("{}", help());
        return Ok(());
    }
    if let Some(unknown) = arguments.iter().find(|name| STEPS.iter().all(|step| step.name != *name)) {
        return Err(Failure::Usage(format!("there is no step «{unknown}»\n\n{}", help())));
    }
    let chosen =
        STEPS.iter().filter(|step| arguments.is_empty() || arguments.iter().any(|name| name == step.name));
    let start = Instant::now();
    let mut times = Vec::new();
    for step in chosen {
        println!("\n── {}: {}", step.name, step.about);
        let begun = Instant::now();
        (step.run)().map_err(|failure| {
            Failure::Failed(format!(
                "step {}: {failure}\n  once more:  cargo xtask test {}",
                step.name, step.name
            ))
        })?;
        let took = begun.elapsed().as_secs_f64();
        println!("── {}: done in {took:.1} s", step.name);
        times.push(format!("{} {took:.0} s", step.name));
    }
    println!("\nAll passed in {:.0} s ({}).", start.elapsed().as_secs_f64(), times.join(", "));
    Ok(())
}

fn help() -> String {
    let mut text = String::from(
        "Usage: cargo xtask test [STEP …]\n\nSets this machine up and runs every test, up to the first that fails. As root it installs the\nDebian packages that the interop tests need; otherwise it names them. Steps, in their order:\n\n",
    );
    for step in STEPS {
        text.push_str(&format!("  {:<13} {}\n", step.name, step.about));
    }
    text.push_str("\nExample: cargo xtask test clippy unit\n");
    text
}

fn fmt() -> Result<(), Failure> {
    run::run(&mut run::cargo(&["fmt", "--all", "--check"]))
}

fn clippy() -> Result<(), Failure> {
    run::run(&mut run::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        PAM,
        "--",
        "-D",
        "warnings",
    ]))
}

fn unit() -> Result<(), Failure> {
    let passed = run::tests(&mut run::cargo(&["test", "--features", PAM]))?
        + run::tests(&mut run::cargo(&["test", "--workspace", "--features", PAM, "--bin", "xtask"]))?;
    println!("{passed} tests passed.");
    Ok(())
}

fn doc() -> Result<(), Failure> {
    run::run(run::cargo(&["doc", "--no-deps", "--features", PAM]).env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// The check crate says how it works. It gets our own lock file, so that what it builds is what we ship.
fn freestanding() -> Result<(), Failure> {
    let folder = run::root().join("xtask").join("freestanding");
    let lock = "Cargo.lock";
    fs::copy(run::root().join(lock), folder.join(lock))
        .map_err(|error| Failure::Failed(format!("cannot copy {lock}: {error}")))?;
    let target = run::target().join("freestanding");
    run::run(run::cargo(&["build", "--quiet"]).arg("--target-dir").arg(&target).current_dir(folder))?;
    let sysroot = run::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(run::root()));
    for name in BARE_TARGETS {
        let library =
            sysroot.as_ref().map(|sysroot| PathBuf::from(sysroot).join("lib/rustlib").join(name).join("lib"));
        if library.is_some_and(|library| library.is_dir()) {
            run::run(&mut run::cargo(&["build", "--package", "restante-proto", "--target", name]))?;
        }
    }
    Ok(())
}

/// What is off by default, since it needs libpam to build.
const PAM: &str = "restante/pam";

/// Tests that mostly wait, since Courier lets nobody in again within ten seconds: more of them at a time than there are
/// processors.
const WAITING: &[&str] = &["fetch_courier"];

/// One run for each test file, so that none can be empty unnoticed; the server is built once, beforehand. All of it is
/// built as a part of the whole workspace: a package by itself would have other features of other people's crates
/// switched on, and those crates would be built a second time.
fn interop() -> Result<(), Failure> {
    packages::run()?;
    run::run(&mut run::cargo(&["build", "--workspace", "--bins", "--tests", "--features", PAM]))?;
    let binary = run::target().join("debug").join("restante");
    let folder = run::root().join("interop").join("tests");
    let entries =
        fs::read_dir(&folder).map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))?;
    let mut others: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    others.sort();
    let mut passed = 0;
    for other in &others {
        println!("\n─ {other}");
        let mut command = run::cargo(&["test", "--workspace", "--test", other, "--features", PAM]);
        if WAITING.contains(&other.as_str()) {
            command.env("RUST_TEST_THREADS", "6");
        }
        passed += run::tests(command.env("RESTANTE_BINARY", &binary))?;
    }
    println!("{passed} tests passed, in {} files.", others.len());
    Ok(())
}
