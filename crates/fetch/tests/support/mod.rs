//! Destinations for tests: a throw-away folder, and what is read back from it.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)] // tests: a panic is the report; each test uses a part

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use restante_fetch::destination::{
    self, Destination, Spec,
    conformance::{self, Fixture},
};
use restante_store::conformance::canonical;
use tempfile::TempDir;

/// A kind that is made of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    Maildir,
    Eml,
    Mbox,
}

/// A destination of files in a throw-away folder.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) files: Files,
}

impl World {
    pub(crate) fn new(files: Files) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), files }
    }

    pub(crate) fn path(&self) -> PathBuf {
        path(self.folder.path(), self.files)
    }
}

/// Where the destination is below a folder.
pub(crate) fn path(root: &Path, files: Files) -> PathBuf {
    root.join(match files {
        Files::Maildir => "Mail",
        Files::Eml => "eml",
        Files::Mbox => "box",
    })
}

/// Opens a destination below a folder.
pub(crate) fn open_at(root: &Path, files: Files) -> Result<Box<dyn Destination>, destination::SpecError> {
    let kind = match files {
        Files::Maildir => "maildir",
        Files::Eml => "eml",
        Files::Mbox => "mbox",
    };
    destination::open(&Spec::parse(&format!("{kind}:{}", path(root, files).display())).unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

impl Fixture for World {
    fn open(&self) -> Box<dyn Destination> {
        open_at(self.folder.path(), self.files).unwrap()
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        let path = self.path();
        let read = |folder: &Path, name: &String| fs::read(folder.join(name)).unwrap();
        match self.files {
            Files::Maildir => ["new", "cur"]
                .iter()
                .flat_map(|folder| {
                    let folder = path.join(folder);
                    names(&folder).iter().map(|name| canonical(&read(&folder, name))).collect::<Vec<_>>()
                })
                .collect(),
            Files::Eml => {
                let names = names(&path).into_iter().filter(|name| name.ends_with(".eml"));
                names.map(|name| read(&path, &name)).collect()
            }
            Files::Mbox => mbox(&fs::read(path).unwrap_or_default()),
        }
    }

    fn form(&self, message: &[u8]) -> Vec<u8> {
        if self.files == Files::Eml { message.to_vec() } else { canonical(message) }
    }

    fn leftovers(&self) -> Vec<String> {
        match self.files {
            Files::Maildir => names(&self.path().join("tmp")),
            Files::Eml => names(&self.path()).into_iter().filter(|name| !name.ends_with(".eml")).collect(),
            Files::Mbox => names(self.folder.path()).into_iter().filter(|name| name != "box").collect(),
        }
    }
}

/// The messages of an mboxrd, read by its definition and not by our code.
pub(crate) fn mbox(text: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut after_blank = true;
    for line in text.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b"From ") {
            assert!(after_blank, "a separator without a blank line before it: {}", line.escape_ascii());
            messages.push(Vec::new());
        } else {
            let quoted = line.iter().skip_while(|&&octet| octet == b'>').copied().collect::<Vec<_>>();
            let is_quoted = line[0] == b'>' && quoted.starts_with(b"From ");
            let message = messages.last_mut().expect("the first line is a separator");
            message.extend_from_slice(if is_quoted { &line[1..] } else { line });
        }
        after_blank = line == b"\n";
    }
    let whole = |message: Vec<u8>| canonical(message.strip_suffix(b"\n").expect("a blank line at the end"));
    messages.into_iter().map(whole).collect()
}

// --- other processes -----------------------------------------------------------------------------------------------

/// Tells a child where its part happens; without it, the tests of the child's part have nothing to do.
pub(crate) const ROOT: &str = "RESTANTE_TEST_ROOT";

const NOBODY: u32 = 65534;

pub(crate) fn the_childs_root() -> Option<PathBuf> {
    Some(std::env::var_os(ROOT)?.into())
}

pub(crate) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The test `part` of this binary as a process of its own.
pub(crate) fn child(part: &str, root: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", part, "--nocapture", "--test-threads=1"]).env(ROOT, root).current_dir("/");
    child
}

/// Runs the test `part` in a process that may write no file beyond so many blocks of 512 octets: as on a disk that
/// becomes full, a write ends in the middle.
pub(crate) fn with_small_files(part: &str, root: &Path, blocks: u32) -> Output {
    limited(part, root, &format!("trap '' XFSZ; ulimit -f {blocks}"))
}

/// Runs the test `many_messages` in a process that may have 30 files open, and looks whether all are there.
pub(crate) fn with_few_descriptors(files: Files) {
    let world = World::new(files);
    limited("many_messages", world.folder.path(), "ulimit -n 30");
    assert_eq!(world.messages().len(), MANY);
    assert_eq!(world.leftovers(), Vec::<String>::new());
}

const MANY: usize = 100;

/// The part of that process: one batch.
pub(crate) fn many_messages(root: &Path, files: Files) {
    let messages: Vec<_> = (0..MANY).map(conformance::message).collect();
    conformance::deliver(&*open_at(root, files).unwrap(), &messages);
}

fn limited(part: &str, root: &Path, limit: &str) -> Output {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{limit}; exec \"$0\" --exact {part} --nocapture")]);
    shell.arg(std::env::current_exe().unwrap()).env(ROOT, root).current_dir("/");
    passed(shell)
}

/// Runs the test `part` as a user who may not everything.
pub(crate) fn as_somebody_else(part: &str, root: &Path) -> Output {
    // Nobody must be able to run the binary, wherever the build put it.
    let place = tempfile::tempdir().unwrap();
    mode(place.path(), 0o755);
    let copy = place.path().join("the-test");
    // By another program, so that no process that a test forks meanwhile holds it open for writing.
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status().unwrap().success());
    mode(&copy, 0o755);
    let mut child = Command::new(&copy);
    child.args(["--exact", part, "--nocapture"]).env(ROOT, root).current_dir("/");
    if rustix::process::geteuid().is_root() {
        child.uid(NOBODY).gid(NOBODY);
    }
    passed(child)
}

fn passed(mut child: Command) -> Output {
    let output = child.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    output
}

// --- killed --------------------------------------------------------------------------------------------------------

/// How many messages the process delivers that is killed.
pub(crate) const KILLED_MESSAGES: usize = 3;

/// More steps than there are.
const STEPS_MAX: u64 = 200;

/// Longer than what is copied at a time.
pub(crate) fn killed_message(n: usize) -> Vec<u8> {
    let line = format!("From line {n}\r\n");
    format!("Subject: {n}\r\n\r\n{}", line.repeat(12_000)).into_bytes()
}

/// The part of the process that is killed: it delivers as the engine does, and has a journal.
pub(crate) fn deliver_with_journal(root: &Path, files: Files) {
    use std::io::Write as _;
    let destination = open_at(root, files).unwrap();
    let mut batch = destination.batch().unwrap();
    for n in 0..KILLED_MESSAGES {
        batch.begin().unwrap();
        killed_message(n).chunks(10_000).for_each(|piece| batch.write(piece).unwrap());
        batch.finish().unwrap();
    }
    let tokens = batch.sync();
    let mut journal = fs::File::create(root.join("journal")).unwrap();
    for token in tokens {
        writeln!(journal, "{}", token.unwrap().as_str()).unwrap();
    }
    (0..KILLED_MESSAGES).for_each(|place| batch.publish(place).unwrap());
    batch.settle().unwrap();
    drop(batch);
    writeln!(journal, "end").unwrap();
}

/// Kills that process at each of its steps, lets another program do something (it gives what it delivered), and delivers
/// again what is not there.
pub(crate) fn killed_at_each_step(
    files: Files,
    part: &str,
    kills_wanted: u64,
    meanwhile: impl Fn(&World) -> Option<Vec<u8>>,
) {
    use std::os::unix::process::ExitStatusExt as _;
    let mut kills = 0;
    for step in 1..STEPS_MAX {
        let case = format!("killed at step {step}");
        let world = World::new(files);
        let mut process = child(part, world.folder.path());
        let output = process.env("RESTANTE_CRASH_AT", step.to_string()).output().unwrap();
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
        kills += u64::from(killed);
        let journal = fs::read_to_string(world.folder.path().join("journal")).unwrap_or_default();
        let tokens: Vec<&str> = journal.lines().filter(|line| *line != "end").collect();
        // The journal is no part of the destination.
        let _gone = fs::remove_file(world.folder.path().join("journal"));
        let others = meanwhile(&world);
        let destination = world.open();
        let mut missing = Vec::new();
        for n in 0..KILLED_MESSAGES {
            let delivered = tokens.get(n).is_some_and(|token| {
                let token = destination::Token::new(*token).unwrap();
                let intent = conformance::intent(token, &killed_message(n));
                let fate = destination.resolve(&intent).unwrap();
                assert_eq!(destination.resolve(&intent).unwrap(), fate, "{case}");
                fate == destination::Fate::Delivered
            });
            if !delivered {
                missing.push(killed_message(n));
            }
        }
        conformance::deliver(&*destination, &missing);
        conformance::deliver(&*destination, &[conformance::message(0)]);
        let mut there = world.messages();
        for n in 0..KILLED_MESSAGES {
            let expected = world.form(&killed_message(n));
            let times = there.iter().filter(|message| **message == expected).count();
            assert_eq!(times, 1, "{case}: message {n} is there {times} times");
            there.retain(|message| *message != expected);
        }
        let rest: Vec<_> = others.into_iter().chain([conformance::message(0)]).collect();
        let mut left: Vec<_> = there.iter().map(|message| message.escape_ascii().to_string()).collect();
        for message in rest {
            let text = message.escape_ascii().to_string();
            let at = left.iter().position(|left| *left == text);
            left.remove(at.unwrap_or_else(|| panic!("{case}: {text} is lost: {left:?}")));
        }
        assert_eq!(left, Vec::<String>::new(), "{case}: what is that?");
        if !killed {
            assert!(kills >= kills_wanted, "only {kills} steps");
            return;
        }
    }
    panic!("there are more steps than {STEPS_MAX}");
}

/// The part of a process that may write small files only.
pub(crate) fn a_large_one_between_two_small_ones(root: &Path, files: Files) {
    let destination = open_at(root, files).unwrap();
    let mut batch = destination.batch().unwrap();
    let mut faults = Vec::new();
    for body in [conformance::message(0), vec![b'x'; 1024 * 1024], conformance::message(2)] {
        batch.begin().unwrap();
        let staged =
            body.chunks(10_000).try_for_each(|piece| batch.write(piece)).and_then(|()| batch.finish());
        if let Err(fault) = staged {
            batch.abandon();
            faults.push(fault);
        }
    }
    assert!(matches!(&*faults, [destination::Fault::Message(_)]), "{faults:?}");
    let tokens = batch.sync();
    assert_eq!(tokens.len(), 2);
    tokens.into_iter().enumerate().for_each(|(place, token)| {
        token.unwrap();
        batch.publish(place).unwrap();
    });
    batch.settle().unwrap();
}
