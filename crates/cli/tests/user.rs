//! `restante user`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use restante_auth::users::edit;
use restante_proto::UserName;
use restante_sasl::{MECHANISMS, Needs, scram::Hash};
use rustix::{
    fs::{Mode, OFlags, open},
    termios::{LocalModes, tcgetattr},
};
use serde_json::json;
use tempfile::TempDir;

mod binary;

/// A folder with room for a users file.
struct World {
    folder: TempDir,
    users: String,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users").to_str().unwrap().to_owned();
        Self { folder, users }
    }

    /// `restante user ACTION … --users FILE`, with `input` on standard input.
    fn user(&self, args: &[&str], input: &str) -> binary::Ran {
        binary::feed(
            binary::command(&[&["user"], args, &["--users", &self.users]].concat()),
            input.as_bytes(),
        )
    }

    /// Whether the user's password is this.
    fn verifies(&self, name: &str, password: &str) -> bool {
        let (users, damaged) = edit::list(self.users.as_ref()).unwrap();
        assert_eq!(damaged, []);
        users.get(&UserName::new(name).unwrap()).is_some_and(|stored| stored.verify(password.as_bytes()))
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

#[test]
fn help() {
    for action in ["add", "passwd", "remove", "list"] {
        binary::help(&["user", action]);
    }
    binary::help(&["user"]);
}

#[test]
fn a_password_comes_from_where_the_options_say() {
    let world = World::new();
    world.user(&["add", "Stdin@Example.org"], "from stdin\nmore\n").ok();
    assert!(world.verifies("stdin@example.org", "from stdin"));
    world.user(&["add", "command", "--password-command", "printf 'from command\\nmore\\n'"], "no").ok();
    assert!(world.verifies("command", "from command"));
    let secret = world.write("secret", "from file\n");
    world.user(&["add", "file", "--password-file", &secret], "no").ok();
    assert!(world.verifies("file", "from file"));
    let args = ["user", "add", "env", "--password-env", "A_SECRET", "--users", &world.users];
    let mut command = binary::command(&args);
    command.env("A_SECRET", "from env");
    binary::feed(command, b"no").ok();
    assert!(world.verifies("env", "from env"));
    let mode = fs::metadata(&world.users).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "hashes are nobody else's business");
}

#[test]
fn a_password_that_cannot_be_had_is_a_failure_that_changes_nothing() {
    let world = World::new();
    for (args, input, why) in [
        (&["--password-command", "echo abc; exit 3"][..], "", "exit status: 3"),
        (&["--password-command", "true"], "", "empty"),
        (&["--password-env", "NO_SUCH_VARIABLE"], "", "NO_SUCH_VARIABLE"),
        (&["--password-file", "/nowhere/secret"], "", "/nowhere/secret"),
        (&[], "", "empty"),
        (&[], "\nabc\n", "empty"),
        (&[], "a\0b\n", "NUL"),
    ] {
        let told = world.user(&[&["add", "ann"], args].concat(), input).fails(1);
        assert!(told.contains(why), "{args:?}: {told}");
    }
    assert!(!fs::exists(&world.users).unwrap());
    let long = "x".repeat(10_000);
    assert!(!world.user(&["add", "ann"], &long).fails(1).contains("xxx"));
    world.user(&["add", "ann", "--password-env", "A", "--password-file", "b"], "").fails(2);
}

#[test]
fn each_scheme_can_be_asked_for() {
    let world = World::new();
    for (name, scheme) in [("a", "ARGON2ID"), ("b", "sha512-crypt"), ("c", "SHA256-CRYPT"), ("d", "plain")] {
        world.user(&["add", name, "--scheme", scheme], "abcxyz\n").ok();
        assert!(world.verifies(name, "abcxyz"), "{scheme}");
    }
    let listed = world.user(&["list"], "").ok();
    let schemes: Vec<_> = listed.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(schemes, ["ARGON2ID", "SHA512-CRYPT", "SHA256-CRYPT", "PLAIN"]);
    let told = world.user(&["add", "e", "--scheme", "MD5"], "abcxyz\n").fails(2);
    assert!(told.contains("ARGON2ID"), "the schemes that there are: {told}");
}

#[test]
fn an_account_is_changed_and_removed() {
    let world = World::new();
    world.user(&["add", "ann"], "one\n").ok();
    let told = world.user(&["add", "ANN"], "two\n").fails(1);
    assert!(told.contains("exists already"), "{told}");
    world.user(&["passwd", "ann"], "two\n").ok();
    assert!(world.verifies("ann", "two") && !world.verifies("ann", "one"));
    world.user(&["remove", "ann"], "").ok();
    assert!(!world.verifies("ann", "two"));
    assert!(world.user(&["remove", "ann"], "").fails(1).contains("no user ann"));
    assert!(world.user(&["passwd", "ann"], "x\n").fails(1).contains("no user ann"));
}

/// What stands in the file for a user, behind the name.
fn line(world: &World, name: &str) -> String {
    let text = fs::read_to_string(&world.users).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
}

#[test]
fn one_password_serves_all_mechanisms_but_those_that_read_it() {
    let world = World::new();
    world.user(&["add", "ann"], "one\n").ok();
    world.user(&["add", "bob", "--no-scram"], "two\n").ok();
    world.user(&["add", "carl", "--scheme", "PLAIN"], "three\n").ok();
    let (users, _) = edit::list(world.users.as_ref()).unwrap();
    let can = |name: &str, needs| users.entry(&UserName::new(name).unwrap()).unwrap().can(needs);
    let list: serde_json::Value = serde_json::from_str(&world.user(&["list", "--json"], "").ok()).unwrap();
    for (index, (name, keys, plain)) in
        [("ann", true, false), ("bob", false, false), ("carl", true, true)].into_iter().enumerate()
    {
        assert!(Hash::ALL.iter().all(|hash| can(name, Needs::Keys(*hash)) == keys), "{name}");
        let expected: Vec<_> = MECHANISMS
            .iter()
            .filter(|mechanism| match mechanism.needs {
                Needs::Password => true,
                Needs::Keys(_) => keys,
                Needs::Plaintext => plain,
                Needs::Token | Needs::Certificate => false,
            })
            .map(|mechanism| mechanism.name)
            .chain(plain.then_some("APOP"))
            .collect();
        assert_eq!(list[index]["mechanisms"], json!(expected), "{name}");
    }
    let text = world.user(&["list"], "").ok();
    assert!(text.starts_with("ann   ARGON2ID  ") && text.contains("PLAIN"), "{text}");
    let (ann, key) = (line(&world, "ann"), users.salt_key().cloned());
    assert!(key.is_some() && ann.contains(":{SCRAM-SHA-256}") && ann.contains(":{SCRAM-SHA-1}"), "{ann}");

    // Further fields stay where they are, keys go with their password, and the salt key stays.
    let text =
        fs::read_to_string(&world.users).unwrap().replace(&ann, &format!("{ann}:1000::maildir=/m/ann"));
    fs::write(&world.users, text).unwrap();
    world.user(&["passwd", "ann"], "new\n").ok();
    let changed = line(&world, "ann");
    assert!(
        changed.ends_with(":1000::maildir=/m/ann") && changed.matches("{SCRAM-").count() == 2,
        "{changed}"
    );
    assert!(changed.split(':').zip(ann.split(':')).take(3).all(|(new, old)| new != old), "{changed}");
    world.user(&["passwd", "ann", "--no-scram-sha-1"], "newer\n").ok();
    let changed = line(&world, "ann");
    assert!(changed.contains(":{SCRAM-SHA-256}100000,") && !changed.contains("{SCRAM-SHA-1}"), "{changed}");
    world.user(&["passwd", "ann", "--no-scram"], "newer\n").ok();
    let changed = line(&world, "ann");
    assert!(changed.ends_with(":1000::maildir=/m/ann") && !changed.contains("{SCRAM-"), "{changed}");
    assert!(world.verifies("ann", "newer"));
    assert_eq!(edit::list(world.users.as_ref()).unwrap().0.salt_key().cloned(), key);
}

/// Or one user's password would take SCRAM from all of them.
#[test]
fn a_password_that_scram_cannot_carry_needs_a_decision() {
    let world = World::new();
    for scheme in ["ARGON2ID", "PLAIN"] {
        let told = world.user(&["add", "eve", "--scheme", scheme], "caf\u{1f600}\n").fails(1);
        assert!(told.contains("SCRAM cannot carry") && told.contains("--no-scram"), "{told}");
    }
    assert!(!fs::exists(&world.users).unwrap());
    world.user(&["add", "eve", "--scheme", "PLAIN", "--no-scram"], "caf\u{1f600}\n").ok();
    let (users, _) = edit::list(world.users.as_ref()).unwrap();
    let eve = users.entry(&UserName::new("eve").unwrap()).unwrap();
    assert!(eve.can(Needs::Plaintext) && !Hash::ALL.iter().any(|hash| eve.can(Needs::Keys(*hash))));
}

#[test]
fn damaged_keys_are_a_warning_and_the_mending_is_told() {
    let world = World::new();
    fs::write(&world.users, "ann:{PLAIN}abcxyz:{SCRAM-SHA-256}hunter2\n").unwrap();
    let ran = world.user(&["list"], "");
    let told = ran.stderr();
    assert!(
        told.contains("line 1") && told.contains("restante user passwd") && !told.contains("hunter2"),
        "{told}"
    );
    assert!(ran.ok().starts_with("ann  PLAIN"));
}

#[test]
fn names_that_are_none_are_wrong_usage() {
    let world = World::new();
    for name in ["../etc", "a b", "", "a:b", ".hidden"] {
        world.user(&["add", name], "abc\n").fails(2);
    }
    world.user(&["remove", "a/b"], "").fails(2);
}

#[test]
fn a_name_that_would_be_a_comment_is_refused_and_makes_no_file() {
    let world = World::new();
    assert!(world.user(&["add", "#x"], "abc\n").fails(1).contains("comment"));
    assert!(!fs::exists(&world.users).unwrap());
}

#[test]
fn root_is_told_how_to_let_the_server_read_a_new_file() {
    let world = World::new();
    let folder = fs::metadata(world.folder.path()).unwrap();
    let is_told =
        |ran: &binary::Ran| ran.stderr().contains("chown root:vmail") && ran.stderr().contains("chmod 640");
    let first = world.user(&["add", "ann"], "abc\n");
    // Whoever is not root reads what they make; in a folder of another group, that group does.
    assert_eq!(is_told(&first), (folder.uid(), folder.gid()) == (0, 0), "{}", first.stderr());
    assert!(!is_told(&world.user(&["add", "bob"], "abc\n")));
}

#[test]
fn a_list_is_read_by_scripts_and_damaged_lines_are_warnings_without_their_text() {
    let world = World::new();
    fs::write(&world.users, "# staff\nann:{PLAIN}abcxyz\nhunter2\n").unwrap();
    let ran = world.user(&["list", "--json"], "");
    assert!(ran.stderr().starts_with("warning: ") && ran.stderr().contains("line 3"), "{}", ran.stderr());
    assert!(!ran.stderr().contains("hunter2"));
    let list: serde_json::Value = serde_json::from_str(&ran.ok()).unwrap();
    let mechanisms = list[0]["mechanisms"].clone();
    let expected = json!([{ "name": "ann", "scheme": "PLAIN", "mechanisms": mechanisms, "line": 2 }]);
    assert_eq!(list, expected);
    assert!(mechanisms.as_array().unwrap().contains(&json!("PLAIN")));
    fs::write(&world.users, "").unwrap();
    assert_eq!(world.user(&["list", "--json"], "").ok(), "[]\n");
    assert_eq!(world.user(&["list"], "").ok(), "");
}

#[test]
fn the_configuration_names_the_users_file() {
    let world = World::new();
    let config = world.write("restante.toml", &format!("[auth]\nusers = \"{}\"\n", world.users));
    let args = ["user", "add", "ann", "--config", &config];
    binary::feed(binary::command(&args), b"abcxyz\n").ok();
    assert!(world.verifies("ann", "abcxyz"));
    world.user(&["add", "bob", "--config", &config], "abcxyz\n").fails(2);
    let told = binary::restante(&["user", "list", "--config", "/nowhere/restante.toml"]).fails(1);
    assert!(told.contains("--users FILE"), "{told}");
    let told = binary::restante(&["user", "list", "--users", "/nowhere/users"]).fails(1);
    assert!(told.contains("/nowhere/users") && told.contains("hint:"), "{told}");
}

/// Answers prompts on a terminal that `script` (of bsdutils) makes, and gives status and screen.
fn on_a_terminal(world: &World, line: &str, answers: &[&str]) -> (i32, String) {
    let name = world.folder.path().join("tty");
    let mut child = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--command",
            &format!("tty > {} && {line}", name.display()),
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is installed");
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    let mut octet = [0];
    for answer in answers {
        let start = seen.len();
        while !seen[start..].ends_with(b": ") && screen.read(&mut octet).unwrap() > 0 {
            seen.push(octet[0]);
        }
        // No person types before the terminal has stopped to show it, a moment after the prompt.
        let path = fs::read_to_string(&name).unwrap();
        let tty = open(path.trim(), OFlags::RDONLY | OFlags::NOCTTY, Mode::empty()).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while tcgetattr(&tty).unwrap().local_modes.contains(LocalModes::ECHO) {
            assert!(Instant::now() < until, "what is typed would be shown");
            std::thread::yield_now();
        }
        keyboard.write_all(answer.as_bytes()).unwrap();
        keyboard.write_all(b"\n").unwrap();
        keyboard.flush().unwrap();
    }
    screen.read_to_end(&mut seen).unwrap();
    (child.wait().unwrap().code().unwrap(), String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn on_a_terminal_the_password_is_asked_for_twice_and_not_shown() {
    let world = World::new();
    let line = format!("{} user add ann --users {}", env!("CARGO_BIN_EXE_restante"), world.users);
    let (status, screen) = on_a_terminal(&world, &line, &["correct horse", "correct house"]);
    assert!(status == 1 && screen.contains("differ"), "{screen}");
    assert!(!fs::exists(&world.users).unwrap());
    let (status, screen) = on_a_terminal(&world, &line, &["correct horse", "correct horse"]);
    assert_eq!(status, 0, "{screen}");
    assert!(screen.contains("New password of ann") && !screen.contains("horse"), "{screen}");
    assert!(world.verifies("ann", "correct horse"));
}
