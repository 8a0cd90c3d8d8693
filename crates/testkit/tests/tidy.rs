//! The rules of the house that a machine can check: length and head of files, banned calls, where the octets of a
//! reply may be written, what no tracked file may say, and that the tests named in `docs/rfc/` exist.
//!
//! A rule is a function from a file to its faults, one row of [`RULES`], and one row of the test that proves that it
//! can fail. Which crate may use which is in `crates.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

/// The longest file, with its tests.
const MAX_LINES: usize = 800;

/// Who may sleep in a test, and why: to wait between two looks at something that only another program can change.
const MAY_SLEEP: &[(&str, &str)] = &[(
    "interop/src/poll.rs",
    "other people's programs give no signal when they are ready: look, wait, look again",
)];

/// Folders that hold nothing of ours, or nothing that is written by hand.
const SKIPPED: &[&str] = &[".git", "target", "corpus", "artifacts"];

/// A file of the project: its path from the root, with `/`, and what it says.
struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A file of tests only.
    fn is_test(&self) -> bool {
        self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.starts_with("crates/testkit/")
            || self.path.starts_with("interop/")
            || self.path.starts_with("fuzz/")
    }

    /// The lines of code with their numbers, without comments: all, or those above or below the mark of the tests.
    fn code(&self, part: Code) -> impl Iterator<Item = (usize, &str)> {
        let tests_from = if self.is_test() {
            0
        } else {
            // The module at the bottom, not a mark on `mod tests;` or on one line.
            let lines: Vec<&str> = self.text.lines().collect();
            let opens = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with("{");
            lines.windows(2).position(opens).unwrap_or(usize::MAX)
        };
        let lines = self.text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        lines
            .filter(move |(at, _)| part == Code::All || (part == Code::Tests) == (*at >= tests_from))
            .map(|(at, line)| (at + 1, line))
    }

    fn fault(&self, line: usize, text: &str) -> String {
        format!("{}:{line}: {text}", self.path)
    }
}

/// A part of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    All,
    Product,
    Tests,
}

type Rule = fn(&File) -> Vec<String>;

const RULES: &[Rule] = &[
    is_not_too_long,
    opens_with_its_purpose,
    leaves_nothing_undone,
    ignores_no_test_without_a_reason,
    sleeps_in_no_test,
    has_no_drawer_for_odds_and_ends,
    writes_replies_in_one_place,
    speaks_of_no_registry_and_no_machine,
];

fn is_not_too_long(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if file.is_rust() && lines > MAX_LINES {
        return vec![file.fault(lines, &format!("{MAX_LINES} lines at most: split it by idea"))];
    }
    Vec::new()
}

fn opens_with_its_purpose(file: &File) -> Vec<String> {
    let first = file.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if file.is_rust() && !first.is_some_and(|line| line.starts_with("//!")) {
        return vec![
            file.fault(1, "a module opens with `//!`: what lives here, what does not, which RFC section"),
        ];
    }
    Vec::new()
}

fn leaves_nothing_undone(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    // Taken apart, so that this file passes its own rule.
    for word in [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")] {
        let said = |line: &str| {
            line.match_indices(word)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        };
        let lines = file.code(Code::All).filter(|(_, line)| file.is_rust() && said(line));
        faults.extend(lines.map(|(at, _)| file.fault(at, &format!("`{word}` is for drafts"))));
    }
    for word in [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("TO", "DO:")] {
        let lines = file.text.lines().enumerate().filter(|(_, line)| line.contains(word));
        faults.extend(lines.map(|(at, _)| file.fault(at + 1, &format!("`{word}` belongs into an issue"))));
    }
    faults
}

fn ignores_no_test_without_a_reason(file: &File) -> Vec<String> {
    let ignored = file.code(Code::All).filter(|(_, line)| file.is_rust() && line.trim() == "#[ignore]");
    ignored
        .map(|(at, _)| file.fault(at, "`#[ignore = \"why\"]`: a test that does not run says why"))
        .collect()
}

fn sleeps_in_no_test(file: &File) -> Vec<String> {
    let sleep = concat!("thread::", "sleep");
    if !file.is_rust() || MAY_SLEEP.iter().any(|(path, _)| *path == file.path) {
        return Vec::new();
    }
    file.code(Code::Tests)
        .filter(|(_, line)| line.contains(sleep))
        .map(|(at, _)| file.fault(at, "no sleeping: wait for what you wait for, up to a deadline"))
        .collect()
}

fn has_no_drawer_for_odds_and_ends(file: &File) -> Vec<String> {
    let drawers = ["utils", "util", "common", "helpers", "misc"];
    let mut faults = Vec::new();
    for name in drawers {
        let file_of = [format!("/{name}.rs"), format!("/{name}/mod.rs")];
        if file.is_rust() && file_of.iter().any(|end| file.path.ends_with(end.as_str())) {
            faults.push(file.fault(1, &format!("`{name}` says nothing: name the module by its idea")));
        }
        let inline = format!("mod {name} {{");
        let lines =
            file.code(Code::All).filter(|(_, line)| file.is_rust() && line.trim_start().ends_with(&inline));
        faults.extend(lines.map(|(at, _)| file.fault(at, "name the module by its idea")));
    }
    faults
}

fn writes_replies_in_one_place(file: &File) -> Vec<String> {
    if !file.is_rust() || file.path == "crates/proto/src/reply.rs" {
        return Vec::new();
    }
    // To look at what a peer has said is everybody's right.
    let reads = ["starts_with(b\"", "Some(b\"", "== b\"", "\".len()"];
    file.code(Code::Product)
        .filter(|(_, line)| line.contains("b\"+OK") || line.contains("b\"-ERR"))
        .filter(|(_, line)| !reads.iter().any(|read| line.contains(read)))
        .map(|(at, _)| file.fault(at, "the octets of replies are written in crates/proto/src/reply.rs only"))
        .collect()
}

fn speaks_of_no_registry_and_no_machine(file: &File) -> Vec<String> {
    // Cargo itself writes where crates come from into its lock file. The rest is taken apart, as above.
    if file.path.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let hosts = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("python", "hosted.org"),
        concat!("npm", "js.org"),
        concat!("npm", "js.com"),
        concat!("deb.", "debian.org"),
        concat!("proxy.", "golang.org"),
    ];
    let mut faults = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        if let Some(host) = hosts.iter().find(|host| line.contains(**host)) {
            faults.push(file.fault(at + 1, &format!("names the package registry {host}")));
        }
        // The start of an absolute path, not the middle of another one.
        let starts = |folder: &str| {
            line.match_indices(folder)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}>*/".contains(c)))
        };
        if [concat!("/wo", "rk/"), concat!("/ro", "ot/")].iter().any(|folder| starts(folder)) {
            faults.push(file.fault(at + 1, "names a path of somebody's machine"));
        }
    }
    faults
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every text file of the project, read from the tree, so that the tests pass without git too.
fn files() -> Vec<File> {
    fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = entry.file_name();
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                walk(root, &path, files);
            } else if kind.is_file() {
                // A file may vanish while an editor replaces it; what is no UTF-8 is no text.
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.push(File { path, text });
            }
        }
    }
    let root = root();
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

#[test]
fn the_house_is_tidy() {
    let files = files();
    assert!(files.iter().filter(|file| file.is_rust()).count() > 30, "where is the code?");
    let faults: Vec<String> =
        files.iter().flat_map(|file| RULES.iter().flat_map(|rule| rule(file))).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn who_may_sleep_exists() {
    for (path, _) in MAY_SLEEP {
        assert!(root().join(path).is_file(), "{path} is gone: take it off the list");
    }
}

#[test]
fn every_rule_can_fail() {
    let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
    let source = |text: &str| file("crates/proto/src/a.rs", text);
    let faults: &[(Rule, File)] = &[
        (is_not_too_long, source(&"//! a\n".repeat(MAX_LINES + 1))),
        (opens_with_its_purpose, source("#![allow(dead_code)]\nuse core::fmt;\n")),
        (leaves_nothing_undone, source(concat!("fn a() { to", "do!() }"))),
        (leaves_nothing_undone, source(concat!("    db", "g!(a);"))),
        (leaves_nothing_undone, file("docs/a.md", concat!("FIX", "ME: write this"))),
        (ignores_no_test_without_a_reason, source("    #[ignore]\n")),
        (sleeps_in_no_test, file("crates/proto/tests/a.rs", concat!("std::thread::", "sleep(second)"))),
        (sleeps_in_no_test, source(concat!("#[cfg(test)]\nmod tests {\n    thread::", "sleep(second)"))),
        (writes_replies_in_one_place, source("#[cfg(test)]\nmod tests;\nout.extend(b\"+OK \");")),
        (has_no_drawer_for_odds_and_ends, file("crates/proto/src/utils.rs", "//! a")),
        (has_no_drawer_for_odds_and_ends, source("pub mod helpers {")),
        (writes_replies_in_one_place, source("out.extend(b\"-ERR no\");")),
        (speaks_of_no_registry_and_no_machine, file("README.md", concat!("see crates", ".io"))),
        (speaks_of_no_registry_and_no_machine, file("README.md", concat!("in `/wo", "rk/main`"))),
    ];
    for (rule, file) in faults {
        assert_eq!(rule(file).len(), 1, "{}: {}", file.path, file.text);
    }
    for rule in RULES {
        assert!(
            faults.iter().any(|(tested, _)| std::ptr::fn_addr_eq(*tested, *rule)),
            "a rule without its proof"
        );
    }
    let fine = [
        source(
            "//! a\n// b\"+OK\"\n#[ignore = \"slow\"]\nline.starts_with(b\"+OK\")\n#[cfg(test)]\nmod tests {\nb\"+OK\"",
        ),
        file("crates/proto/src/reply.rs", "//! a\nb\"+OK \""),
        file("crates/proto/tests/a.rs", "#![allow(unused)]\n\n//! a\nb\"+OK \""),
        file("docs/a.md", "the path ../work/file and var/root/x"),
    ];
    for file in &fine {
        let faults: Vec<String> = RULES.iter().flat_map(|rule| rule(file)).collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

/// How a reason begins, so that the kinds of gaps can be told apart; `docs/rfc/README.md` says what each means.
const REASONS: &[&str] = &["Client: ", "Operator: ", "Deferred: ", "Not used: ", "Departure: "];

/// What is wrong with a list of an RFC's sections: each names the test that proves it, or says why there is none.
/// `find` gives the text of a file of the project, if it exists.
fn faults_of_coverage(path: &str, text: &str, find: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![format!("{path}: {error}")],
    };
    let Some(sections) =
        table.get("section").and_then(Value::as_array).filter(|sections| !sections.is_empty())
    else {
        return vec![format!("{path}: no [[section]]")];
    };
    let mut faults = Vec::new();
    for key in table.keys().filter(|key| !["rfc", "title", "section"].contains(&key.as_str())) {
        faults.push(format!("{path}: `{key}` is not understood"));
    }
    let number = table.get("rfc").and_then(Value::as_integer);
    if number.is_none_or(|number| !path.ends_with(&format!("rfc{number}.toml")))
        || table.get("title").and_then(Value::as_str).is_none()
    {
        faults.push(format!("{path}: it needs the number in its name (`rfc`), and a `title`"));
    }
    let mut seen = Vec::new();
    for section in sections {
        let said =
            |key: &str| section.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let id = said("id").unwrap_or("?");
        let mut fault = |text: String| faults.push(format!("{path}: section {id}: {text}"));
        for (key, value) in section.as_table().into_iter().flatten() {
            if !["id", "paraphrase", "test", "reason"].contains(&key.as_str()) || !value.is_str() {
                fault(format!("`{key}` is not understood"));
            }
        }
        if said("id").is_none() || said("paraphrase").is_none() {
            fault("it needs an id and a paraphrase".into());
        }
        if seen.contains(&id) {
            fault("it is there twice".into());
        }
        seen.push(id);
        match (said("test"), said("reason")) {
            (Some(test), None) => {
                if let Err(text) = exists(test, find) {
                    fault(text);
                }
            }
            (None, Some(reason)) => {
                if !REASONS.iter().any(|kind| reason.starts_with(kind)) {
                    fault(format!("a reason begins with one of {REASONS:?}"));
                }
            }
            _ => fault("it needs a test or a reason, one of both".into()),
        }
    }
    faults
}

/// Whether a named test exists: `FILE.pop3`, or `FILE.rs::NAME` where the suffix may be left out (`crates/a/tests/b::c`).
fn exists(test: &str, find: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    if test.ends_with(".pop3") {
        return find(test).map(|_| ()).ok_or_else(|| format!("there is no dialogue {test}"));
    }
    let (file, name) =
        test.rsplit_once("::").ok_or_else(|| format!("{test} is neither FILE.pop3 nor FILE::TEST"))?;
    // Modules within a file (`src/a.rs::tests::b`) are left out: the file is what is looked into.
    let file = file.split("::").next().unwrap_or(file);
    let text = find(file)
        .or_else(|| find(&format!("{file}.rs")))
        .ok_or_else(|| format!("there is no file {file}"))?;
    // A law of back ends is a test where its suite runs it.
    let is_law = file.ends_with("/conformance.rs") && text.contains(&format!("    {name}(fixture).await;"));
    if is_law || is_test(&text, name) { Ok(()) } else { Err(format!("{file} has no test {name}")) }
}

/// Whether this source has a test of this name: a function with an attribute that ends in `test`, with or without
/// arguments.
fn is_test(text: &str, name: &str) -> bool {
    text.match_indices(&format!("fn {name}(")).any(|(at, _)| {
        let mut above = text[..at].rsplit('\n');
        // What stands before `fn` in its own line: nothing, or `async`.
        let front = above.next().unwrap_or_default();
        let attribute = above.find(|line| !line.trim_start().starts_with("//")).unwrap_or_default().trim();
        ["", "async"].contains(&front.trim())
            && (attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test"))
    })
}

/// The overview's row for a list: how much of it a test proves, and what kinds of reasons the rest has.
fn overview_of_coverage(table: &Table) -> String {
    let sections: Vec<&Value> =
        table.get("section").and_then(Value::as_array).into_iter().flatten().collect();
    let texts: Vec<&str> =
        sections.iter().filter_map(|section| section.get("reason").and_then(Value::as_str)).collect();
    let reasons = |kind: &str| texts.iter().filter(|text| text.starts_with(kind)).count();
    let number = table.get("rfc").and_then(Value::as_integer).unwrap_or_default();
    let title = table.get("title").and_then(Value::as_str).unwrap_or_default();
    let tested = sections.iter().filter(|section| section.get("test").is_some()).count();
    let mut row = format!("| [RFC {number}](rfc{number}.toml) | {title} | {} | {tested} |", sections.len());
    REASONS.iter().for_each(|kind| row += &format!(" {} |", reasons(kind)));
    row
}

#[test]
fn the_tests_that_the_rfc_lists_name_exist() {
    let root = root();
    let find = |path: &str| fs::read_to_string(root.join(path)).ok();
    let mut faults = Vec::new();
    for file in
        files().iter().filter(|file| file.path.starts_with("docs/rfc/") && file.path.ends_with(".toml"))
    {
        faults.extend(faults_of_coverage(&file.path, &file.text, &find));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_overview_of_the_rfc_lists_is_fresh() {
    let overview = fs::read_to_string(root().join("docs/rfc/README.md")).unwrap();
    let mut rows = Vec::new();
    for file in
        files().iter().filter(|file| file.path.starts_with("docs/rfc/") && file.path.ends_with(".toml"))
    {
        rows.push(overview_of_coverage(&file.text.parse().unwrap()));
    }
    let there: Vec<&str> = overview.lines().filter(|line| line.starts_with("| [RFC ")).collect();
    assert_eq!(there, rows, "docs/rfc/README.md is to have these rows:\n{}\n", rows.join("\n"));
    for kind in REASONS {
        assert!(
            overview.contains(&format!("| `{}` |", kind.trim_end())),
            "it does not say what {kind:?} means"
        );
    }
}

#[test]
fn a_hole_in_an_rfc_list_is_found() {
    let find = |path: &str| match path {
        "crates/a/tests/b.rs" => {
            Some("#[test]\nfn c() {}\n#[tokio::test]\n// why\nasync fn f() {}\nfn helper() {}".to_owned())
        }
        "crates/a/src/conformance.rs" => Some("    law(fixture).await;\nfn law() {}\nfn no() {}".to_owned()),
        "crates/a/tests/d.pop3" => Some("C: QUIT".to_owned()),
        _ => None,
    };
    let faults = |body: &str| {
        let text = format!(
            "rfc = 1939\ntitle = \"POP3\"\n[[section]]\nid = \"3\"\nparaphrase = \"Lines end in CRLF.\"\n{body}"
        );
        faults_of_coverage("rfc1939.toml", &text, &find)
    };
    for fine in [
        "test = \"crates/a/tests/b.rs::c\"",
        "test = \"crates/a/tests/b::c\"",
        "test = \"crates/a/tests/b.rs::tests::c\"",
        "test = \"crates/a/tests/b.rs::f\"",
        "test = \"crates/a/src/conformance.rs::law\"",
        "test = \"crates/a/tests/d.pop3\"",
        "reason = \"Client: nothing is asked of the server.\"",
    ] {
        assert_eq!(faults(fine), Vec::<String>::new());
    }
    for (hole, told) in [
        ("", "it needs a test or a reason"),
        ("reason = \"\"", "it needs a test or a reason"),
        ("reason = \"For clients.\"", "a reason begins with"),
        ("test = \"crates/a/tests/b.rs::e\"", "has no test e"),
        ("test = \"crates/a/tests/b.rs::helper\"", "has no test helper"),
        ("test = \"crates/a/src/conformance.rs::no\"", "has no test no"),
        ("test = \"crates/a/tests/x.rs::c\"", "there is no file"),
        ("test = \"crates/a/tests/x.pop3\"", "there is no dialogue"),
        ("test = \"somewhere\"", "is neither"),
        ("tests = \"crates/a/tests/b.rs::c\"\nreason = \"Client: x\"", "`tests` is not understood"),
        ("test = \"crates/a/tests/b.rs::c\"\nreason = \"x\"", "one of both"),
        (
            "reason = \"Client: x\"\n[[section]]\nid = \"3\"\nparaphrase = \"y\"\nreason = \"Client: y\"",
            "it is there twice",
        ),
        ("reason = \"Client: x\"\n[other]\n", "`other` is not understood"),
        ("reason = \"Client: x\"\nreason = \"Client: y\"", "duplicate key"),
    ] {
        let found = faults(hole);
        assert!(found.len() == 1 && found[0].contains(told), "{hole}: {found:?}");
    }
    assert_eq!(faults_of_coverage("rfc1939.toml", "", &find), ["rfc1939.toml: no [[section]]"]);
    let other =
        "rfc = 2449\ntitle = \"\"\n[[section]]\nid = \"3\"\nparaphrase = \"x\"\nreason = \"Client: x\"";
    assert!(faults_of_coverage("rfc1939.toml", other, &find)[0].contains("the number in its name"));
}
