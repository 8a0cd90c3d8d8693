//! `restante deliver`: each exit status that an MTA may see, and what is in the Maildir afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

mod binary;

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\n.first\r\nno end";

/// A folder with mail, users and a configuration.
struct World {
    folder: TempDir,
    config: String,
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    /// A world whose configuration has more in it.
    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("mail")).unwrap();
        let users = path.join("users");
        write_settled(&users, "ann@example.org:{PLAIN}abcxyz\nroot:{PLAIN}abcxyz\n");
        let config = path.join("restante.toml");
        let text = format!(
            "[auth]\nusers = \"{0}/users\"\n[store]\nmaildir = \"{0}/mail/{{domain}}/{{local}}\"\n{more}",
            path.display()
        );
        fs::write(&config, text).unwrap();
        Self { config: config.to_str().unwrap().to_owned(), folder }
    }

    fn command(&self, user: &str) -> Command {
        binary::command(&["deliver", "--config", &self.config, "--user", user])
    }

    fn deliver(&self, user: &str, message: &[u8]) -> binary::Ran {
        binary::feed(self.command(user), message)
    }

    /// As [`Self::deliver`], under a limit that the shell's `ulimit` sets.
    fn deliver_under(&self, ulimit: &str, message: &[u8]) -> binary::Ran {
        let mut shell = Command::new("sh");
        let line = format!(
            "ulimit {ulimit} && exec '{}' deliver --config '{}' --user ann@example.org",
            env!("CARGO_BIN_EXE_restante"),
            self.config
        );
        shell.args(["-c", &line]);
        binary::feed(shell, message)
    }

    fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail/example.org/ann")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files in every folder of the Maildir.
    fn files(&self) -> Vec<PathBuf> {
        let in_folder = |name: &str| files(&self.maildir().join(name));
        ["new", "cur", "tmp"].into_iter().flat_map(in_folder).collect()
    }
}

/// Writes a file as if it had last been changed an hour ago.
fn write_settled(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{}: {error}", folder.display()),
    }
}

#[test]
fn help() {
    binary::help(&["deliver"]);
}

#[test]
fn a_message_is_stored_with_line_ends_of_the_system_and_its_sizes_in_the_name() {
    let world = World::new();
    assert_eq!(world.deliver("Ann@Example.ORG", MESSAGE).ok(), "");
    let files = world.files();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].parent().unwrap().file_name().unwrap(), "new");
    assert_eq!(fs::read(&files[0]).unwrap(), b"Subject: hello\n\n.first\nno end\n");
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(name.contains(",S=30") && name.contains(",W=34"), "{name}");
}

#[test]
fn memory_is_bounded_whatever_the_length_of_the_message() {
    let world = World::new();
    let message = [b"Subject: long\n\n", &[b'x'; 96 << 20][..]].concat();
    // Kilobytes of address space: less than the message, more than the program, all its libraries and their threads.
    let ran = world.deliver_under("-v 81920", &message);
    assert_eq!(ran.status(), 0, "{}", ran.stderr());
    assert_eq!(fs::metadata(&world.files()[0]).unwrap().len(), message.len() as u64 + 1);
}

#[test]
fn status_67_there_is_no_such_user() {
    let world = World::new();
    for user in ["bob@example.org", "ann", "../../etc", "", "a b", "-bob@example.org", "--help"] {
        let told = world.deliver(user, MESSAGE).fails(67);
        assert!(told.contains("there is no user"), "{told}");
    }
    assert_eq!(files(&world.path("mail")), Vec::<PathBuf>::new());
}

#[test]
fn status_65_the_message_is_too_long() {
    let world = World::with("[limits]\nmessage_octets = 2048\n");
    assert!(world.deliver("ann@example.org", &[b'x'; 2049]).fails(65).contains("2048"));
    // More than a pipe holds: the sender is not cut off.
    world.deliver("ann@example.org", &vec![b'x'; 4 << 20]).fails(65);
    assert_eq!(world.files(), Vec::<PathBuf>::new());
    world.deliver("ann@example.org", &[b'x'; 2048]).ok();
    assert_eq!(world.files().len(), 1);
}

#[test]
fn status_75_wrong_usage() {
    for args in [
        &["deliver"][..],
        &["deliver", "--user"],
        &["deliver", "--user", "ann", "--nonsense"],
        &["deliver", "ann"],
        &["--nonsense", "deliver", "--user", "ann"],
    ] {
        let told = binary::restante(args).fails(75);
        assert!(told.contains("--help"), "{told}");
    }
}

#[test]
fn status_75_a_configuration_that_is_missing_or_broken() {
    let args = ["deliver", "--user", "ann@example.org", "--config", "/nowhere/restante.toml"];
    assert!(binary::restante(&args).fails(75).contains("/nowhere/restante.toml"));
    let world = World::with("[limits]\nmessage_octet = 7\n");
    let told = world.deliver("ann@example.org", MESSAGE).fails(75);
    assert!(told.contains(":6:1: unknown key \"message_octet\""), "{told}");
    let world = World::new();
    let text = format!("[auth]\nusers = \"{}\"\n[store]\nmemory = true\n", world.path("users").display());
    fs::write(&world.config, text).unwrap();
    assert!(world.deliver("ann@example.org", MESSAGE).fails(75).contains("memory"));
}

#[test]
fn status_75_a_users_file_that_is_missing_or_damaged() {
    let world = World::new();
    fs::write(world.path("users"), "ann@example.org {PLAIN}abcxyz\n").unwrap();
    let told = world.deliver("ann@example.org", MESSAGE).fails(75);
    assert!(told.contains("line 1") && !told.contains("abcxyz"), "{told}");
    fs::remove_file(world.path("users")).unwrap();
    world.deliver("ann@example.org", MESSAGE).fails(75);
}

/// An editor between truncating and writing: mail must not bounce for good meanwhile.
#[test]
fn status_75_a_users_file_that_is_being_rewritten() {
    for half in [
        "",
        "root:{PLAIN}abcxyz\nann@examp",
        "root:{PLAIN}abcxyz\nann@example.org:{PLAIN}abcxyz\nbob:{PLAIN}x",
    ] {
        let world = World::new();
        write_settled(&world.path("users"), half);
        let told = world.deliver("carl@example.org", MESSAGE).fails(75);
        assert!(told.contains("no line for") || told.contains("no sound line for"), "{told}");
    }
    // Once it stands still, a fresh file is believed.
    let world = World::new();
    fs::write(world.path("users"), "root:{PLAIN}abcxyz\n").unwrap();
    world.deliver("carl@example.org", MESSAGE).fails(67);
}

/// The rest of the file is written while we wait.
#[test]
fn a_user_who_comes_while_the_file_is_rewritten_gets_the_mail() {
    let world = World::new();
    fs::write(world.path("users"), "").unwrap();
    std::thread::scope(|scope| {
        let delivery = scope.spawn(|| world.deliver("ann@example.org", MESSAGE));
        fs::write(world.path("users"), "ann@example.org:{PLAIN}abcxyz\n").unwrap();
        delivery.join().unwrap().ok();
    });
    assert_eq!(world.files().len(), 1);
}

#[test]
fn one_damaged_line_does_not_keep_others_mail_from_bouncing() {
    let world = World::new();
    let sound = "root:{PLAIN}abcxyz\nann@example.org:!{PLAIN}abcxyz\ncarl@example.org:{SSHA}abcxyz\n";
    write_settled(&world.path("users"), sound);
    world.deliver("ann@example.org", MESSAGE).ok();
    assert_eq!(world.files().len(), 1, "who is locked out has mail all the same");
    let told = world.deliver("carl@example.org", MESSAGE).fails(75);
    assert!(told.contains("line 3") && !told.contains("abcxyz"), "{told}");
    world.deliver("eve@example.org", MESSAGE).fails(67);
    write_settled(&world.path("users"), &format!("{sound}eve {{PLAIN}}abcxyz\n"));
    let told = world.deliver("eve@example.org", MESSAGE).fails(75);
    assert!(told.contains("line 4") && !told.contains("abcxyz"), "{told}");
}

#[test]
fn status_75_a_place_that_cannot_be_had() {
    let world = World::new();
    world.deliver("root", MESSAGE).fails(75); // the path needs a domain
    fs::write(world.path("mail/example.org"), "not a folder").unwrap();
    world.deliver("ann@example.org", MESSAGE).fails(75);
    fs::remove_dir_all(world.path("mail")).unwrap();
    world.deliver("ann@example.org", MESSAGE).fails(75);
    assert!(!world.path("mail").exists(), "a disk that is not mounted is not made up");
}

#[test]
fn status_75_no_room_for_the_message() {
    let world = World::new();
    // Files of eight blocks at most; the write that crosses it fails as on a full disk.
    let told = world.deliver_under("-f 8", &vec![b'x'; 1 << 20]).fails(75);
    assert!(told.starts_with("error: "), "{told}");
    assert_eq!(world.files(), Vec::<PathBuf>::new(), "nothing is left behind");
}

#[test]
fn status_75_a_message_that_cannot_be_read() {
    let world = World::new();
    let mut command = world.command("ann@example.org");
    let folder = File::open(world.folder.path()).unwrap();
    let output = command.stdin(folder).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert_eq!(world.files(), Vec::<PathBuf>::new());
}

#[test]
fn help_is_no_delivery_and_no_failure() {
    assert!(binary::restante(&["deliver", "--help"]).ok().contains("75"));
}

/// Where a user's line names another place, the mail goes there.
#[test]
fn mail_goes_where_the_users_line_says() {
    let world = World::new();
    let (place, users) = (world.path("elsewhere"), world.path("users"));
    let line = |user: &str, place: &Path| format!("{user}:{{PLAIN}}abcxyz:maildir={}\n", place.display());
    write_settled(
        &users,
        &(line("ann@example.org", &place.join("ann")) + &line("root", Path::new("elsewhere"))),
    );
    // The folder that it is in has to be there: it may be a disk that is not mounted.
    world.deliver("ann@example.org", MESSAGE).fails(75);
    fs::create_dir(&place).unwrap();
    world.deliver("ann@example.org", MESSAGE).ok();
    assert_eq!(files(&place.join("ann/new")).len(), 1);
    assert!(world.files().is_empty());
    let told = world.deliver("root", MESSAGE).fails(75);
    assert!(told.contains("no absolute path"), "{told}");
}
