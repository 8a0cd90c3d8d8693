//! Which crate may use which: the manifests are read, and every arrow that the house does not allow fails.
//!
//! Arrows point downwards only (ARCHITECTURE.md). The crates of the house are listed one by one; of other people's
//! crates those are listed that decide what a crate is: I/O, the runtime, TLS, the command line, logs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// What a crate may use.
struct Rule {
    package: &'static str,
    /// Crates of the house, on lower lines.
    house: &'static [&'static str],
    /// Other people's crates.
    others: Others,
}

enum Others {
    /// These and no more.
    Only(&'static [&'static str]),
    /// Any, but of [`MARKED`] these only.
    Marked(&'static [&'static str]),
}

/// Crates that give away what a crate does; each may be used only where a rule names it.
const MARKED: &[&str] = &[
    "clap",
    "clap_complete",
    "clap_mangen",
    "rcgen",
    "rpassword",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tokio-rustls",
    "toml",
    "tracing",
    "tracing-subscriber",
];

/// The one crate that may hold unsafe code, and has lints of its own.
const UNSAFE: &str = "restante-tcp";

const CRATES: &[Rule] = &[
    Rule { package: "restante-proto", house: &[], others: Others::Only(&["memchr", "base64", "zeroize"]) },
    // Pure: what a mechanism says, not how it travels.
    Rule { package: "restante-sasl", house: &["restante-proto"], others: Others::Marked(&[]) },
    // The verification pool stands on the runtime; no socket, no TLS.
    Rule {
        package: "restante-auth",
        house: &["restante-proto", "restante-sasl"],
        others: Others::Marked(&["rustls", "tokio", "tracing"]),
    },
    // Tokens for clients: HTTPS to authorization servers, and where tokens are kept.
    Rule {
        package: "restante-oauth",
        house: &["restante-proto"],
        others: Others::Marked(&["rustix", "rustls", "tokio", "tracing"]),
    },
    Rule {
        package: "restante-store",
        house: &["restante-proto"],
        others: Others::Marked(&["rustix", "tokio", "tracing"]),
    },
    Rule {
        package: "restante-server",
        house: &["restante-proto", "restante-sasl", "restante-auth", "restante-store", "restante-tcp"],
        others: Others::Marked(&["rustix", "rustls", "socket2", "tokio", "tokio-rustls", "tracing"]),
    },
    // The one crate with unsafe code: two system calls.
    Rule { package: "restante-tcp", house: &[], others: Others::Only(&["libc"]) },
    Rule {
        package: "restante-client",
        house: &["restante-proto", "restante-sasl"],
        others: Others::Marked(&["rustls", "socket2", "tokio", "tokio-rustls", "tracing"]),
    },
    Rule {
        package: "restante-fetch",
        // SASL and TLS: destinations log in at servers for IMAP and SMTP.
        house: &["restante-proto", "restante-sasl", "restante-client", "restante-store"],
        others: Others::Marked(&["rustix", "rustls", "tokio", "tracing"]),
    },
    Rule { package: "restante-diagram", house: &["restante-proto"], others: Others::Marked(&[]) },
    Rule {
        package: "restante-admin",
        house: &["restante-proto", "restante-server", "restante-diagram"],
        others: Others::Marked(&["rustix", "tokio", "tracing"]),
    },
    Rule {
        package: "restante",
        house: &[
            "restante-proto",
            "restante-sasl",
            "restante-auth",
            "restante-store",
            "restante-server",
            "restante-client",
            "restante-fetch",
            "restante-diagram",
            "restante-admin",
            "restante-oauth",
        ],
        others: Others::Marked(MARKED),
    },
    // A helper of tests, with everything at hand, but never a part of the product.
    Rule {
        package: TESTKIT,
        house: &[
            "restante-proto",
            "restante-sasl",
            "restante-auth",
            "restante-store",
            "restante-server",
            "restante-client",
            "restante-diagram",
        ],
        others: Others::Marked(MARKED),
    },
    // Outside the product: the server is driven from outside, as its users do it. Its tests alone put the law of
    // directories to real databases.
    Rule { package: "restante-interop", house: &["restante-auth"], others: Others::Marked(&["rustix"]) },
    Rule { package: "xtask", house: &[], others: Others::Only(&["serde_json"]) },
];

const TESTKIT: &str = "restante-testkit";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folders of all crates of the workspace.
fn folders() -> Vec<PathBuf> {
    let root = root();
    let mut folders = vec![root.join("xtask"), root.join("interop")];
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        folders.push(entry.unwrap().path());
    }
    folders.retain(|folder| folder.join("Cargo.toml").is_file());
    assert!(folders.len() >= 9, "where are the crates? {folders:?}");
    folders
}

fn manifest(folder: &Path) -> Table {
    fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

fn package(manifest: &Table) -> String {
    manifest["package"]["name"].as_str().unwrap().to_owned()
}

/// The crates that the manifest names in the sections of `kind`, those for one target too. A crate under another name
/// counts by its real one.
fn uses(manifest: &Table, kind: &str) -> BTreeSet<String> {
    let mut tables: Vec<&Table> = manifest.get(kind).and_then(Value::as_table).into_iter().collect();
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        tables.extend(targets.values().filter_map(|target| target.get(kind).and_then(Value::as_table)));
    }
    tables
        .into_iter()
        .flatten()
        .map(|(name, value)| value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned())
        .collect()
}

/// All crates of the house that one stands on, directly or not.
fn below(rule: &Rule) -> BTreeSet<&'static str> {
    let mut below: BTreeSet<_> = rule.house.iter().copied().collect();
    for name in rule.house {
        below.extend(CRATES.iter().filter(|rule| rule.package == *name).flat_map(self::below));
    }
    below
}

/// What is wrong with the manifest, in words.
fn faults(manifest: &Table) -> Vec<String> {
    let package = package(manifest);
    let Some(rule) = CRATES.iter().find(|rule| rule.package == package) else {
        return vec![format!("{package}: the table of crates does not know it")];
    };
    let mut faults = Vec::new();
    for name in uses(manifest, "dependencies").union(&uses(manifest, "build-dependencies")) {
        let name = name.as_str();
        let allowed = if name == TESTKIT {
            false
        } else if CRATES.iter().any(|rule| rule.package == name) {
            rule.house.contains(&name)
        } else {
            match rule.others {
                Others::Only(names) => names.contains(&name),
                Others::Marked(names) => !MARKED.contains(&name) || names.contains(&name),
            }
        };
        if !allowed {
            faults.push(format!("{package} may not use {name}"));
        }
    }
    // Tests of a lower crate that need a higher one belong to the higher one, or to testkit; what the crate stands on,
    // directly or not, they may use. Itself is for a feature that only its tests switch on.
    let below = below(rule);
    for name in uses(manifest, "dev-dependencies") {
        let house = CRATES.iter().any(|rule| rule.package == name);
        if house && name != TESTKIT && name != package && !below.contains(name.as_str()) {
            faults.push(format!("the tests of {package} may not use {name}"));
        }
    }
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
    if lints != Some(true) && package != UNSAFE {
        faults.push(format!(
            "{package} does not inherit the lints of the workspace (`forbid(unsafe_code)` among them)"
        ));
    }
    faults
}

#[test]
fn arrows_point_downwards_only() {
    let faults: Vec<String> = folders().iter().flat_map(|folder| faults(&manifest(folder))).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_table_itself_has_no_way_round() {
    // A crate may use only crates that stand below it; so nothing reaches itself.
    let below: BTreeMap<&str, &[&str]> = CRATES.iter().map(|rule| (rule.package, rule.house)).collect();
    for rule in CRATES {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = rule.house.to_vec();
        while let Some(name) = open.pop() {
            assert!(
                below.contains_key(name),
                "{} may use {name}, which the table does not know",
                rule.package
            );
            if reached.insert(name) {
                open.extend(below[name]);
            }
        }
        assert!(!reached.contains(rule.package), "{} reaches itself", rule.package);
    }
}

#[test]
fn unsafe_code_is_forbidden_in_all_but_one_of_them() {
    let manifest = manifest(&root());
    assert_eq!(manifest["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
}

#[test]
fn the_testkit_is_used_from_tests_folders_only() {
    // Inside src/ it would bring a second copy of the crate under test.
    fn search(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                search(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && fs::read_to_string(&path).unwrap().contains("restante_testkit")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders().iter().filter(|folder| !folder.ends_with("testkit")) {
        if folder.join("src").is_dir() {
            search(&folder.join("src"), &mut found);
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_forbidden_arrow_is_found() {
    let found = |text: &str| faults(&text.parse().unwrap());
    let head = |name: &str| format!("package.name = \"{name}\"\nlints.workspace = true\n");
    assert_eq!(found(&(head("restante-proto") + "dependencies.memchr = \"2\"")), Vec::<String>::new());
    assert_eq!(
        found(&(head("restante-proto") + "dependencies.tokio = \"1\"")),
        ["restante-proto may not use tokio"]
    );
    assert_eq!(
        found(&(head("restante-store") + "dependencies.restante-server.workspace = true")),
        ["restante-store may not use restante-server"]
    );
    assert_eq!(
        found(&(head("restante-sasl") + "dependencies.runtime = { package = \"tokio\", version = \"1\" }")),
        ["restante-sasl may not use tokio"]
    );
    assert_eq!(
        found(&(head("restante-sasl") + "target.'cfg(unix)'.dependencies.rustix = \"1\"")),
        ["restante-sasl may not use rustix"]
    );
    assert_eq!(
        found(&(head("restante-server") + "dependencies.restante-testkit.workspace = true")),
        ["restante-server may not use restante-testkit"]
    );
    assert_eq!(
        found(&(head("restante-store") + "dev-dependencies.restante-server.workspace = true")),
        ["the tests of restante-store may not use restante-server"]
    );
    assert_eq!(found("package.name = \"xtask\"").len(), 1);
    assert_eq!(found(&head("common")), ["common: the table of crates does not know it"]);
}
