//! `cargo xtask bench`: this server beside Dovecot and Courier, with the same mail, the same questions and the same
//! load generator, in one go. What is measured is `bench/cells.rs`; how the servers are set up, `bench/server/`; how
//! it is done in words, and its caveats, `docs/benchmarks.md`. `cargo xtask bench client` measures our client: `bench/client.rs`.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use self::{
    cells::{Cell, Drops, Users},
    corpus::Contents,
    machine::Machine,
    measure::Ground,
    moving::Moving,
    options::{HELP, Options},
    process::Accounting,
    report::{Outcome, Row, Subject},
    server::{BINARY_VARIABLE, Common, Kind, MAIL_ID, Server, Shape, Stored, restante_binary},
};
use crate::run::{self, Failure};

mod calls;
mod calm;
mod cells;
mod client;
mod corpus;
mod crowd;
mod load;
mod machine;
mod measure;
mod moving;
mod options;
mod pop3;
mod process;
mod report;
mod server;
mod visit;

/// Everybody's password, where nobody else can connect to.
const PASSWORD: &str = "benchmark";

/// Rounds of SHA512-CRYPT that take about as long as Argon2id with our defaults.
const ARGON2_AS_ROUNDS: u32 = 50_000;

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some((calm::BURN, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return calm::burning(rest);
    }
    if let Some((client::NAME, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return client::run(rest);
    }
    let Some(mut options) = Options::parse(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    if !machine::is_root() {
        return Err(Failure::Failed(
            "the benchmark starts mail servers under other users, and installs them: run it as root\n  sudo \
             env PATH=\"$PATH\" cargo xtask bench"
                .into(),
        ));
    }
    let files = process::files();
    if options.fit(files) {
        let (many, slow) = (options.many, options.slow);
        println!(
            "! {files} files may be open here (ulimit -Hn): {many} idle and {slow} slow sessions are held at most"
        );
    }
    let begun = Instant::now();
    // Before the build, which is no load of somebody else's.
    let machine = Machine::look(&options.folder, options.machine.as_deref());
    for warning in machine.warnings() {
        println!("! {warning}");
    }
    if options.install {
        machine::install(&options.servers)?;
    }
    if std::env::var_os(BINARY_VARIABLE).is_none() {
        run::run(&mut run::cargo(&["build", "--release", "--package", "restante"]))?;
    }
    let folder = Folder::make(&options.folder)?;
    let of =
        |users: Users| (1..=users.count).map(|number| (users.user(number), users.stored)).collect::<Vec<_>>();
    let users = cells::users(&options).into_iter().flat_map(of).collect();
    let common = common(&folder.0, users)?;
    let cells = cells::cells(&options);
    if cells.is_empty() {
        return Err(Failure::Usage("--only names no cell".into()));
    }
    let mut bench = Bench::new(&options, &common)?;
    let mut rows: Vec<Row> = Vec::new();
    let (idle, work): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(Cell::holds);
    bench.compare();
    for cell in work {
        let outcomes = bench.cell(&cell);
        rows.extend(Row::all(cell, outcomes));
    }
    bench.stop();
    for cell in idle {
        let outcomes = bench.idle(&cell);
        rows.extend(Row::all(cell, outcomes));
    }
    let subjects = bench.subjects();
    drop(bench);
    let took = begun.elapsed();
    let out = report::write(&options, &machine, &common.accounting, &subjects, &rows, took)?;
    println!("\nDone in {:.0} s: {}", took.as_secs_f64(), out.display());
    let failed = rows.iter().any(|row| matches!(row.outcomes.first(), Some(Outcome::Cannot(_))));
    if failed {
        return Err(Failure::Failed("a cell of ours could not be measured; the table says why".into()));
    }
    Ok(())
}

/// The folder of the run, which is removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn make(parent: &Path) -> Result<Self, Failure> {
        let parent = fs::canonicalize(parent).map_err(|error| told(parent, &error))?;
        let path = parent.join(format!("restante-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| told(&path, &error))?;
        let folder = Self(path);
        // The servers reach their parts of it as users of their own.
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755))
            .map_err(|error| told(&folder.0, &error))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

fn told(path: &Path, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

/// The certificate, the users, the passwords: the same for all servers.
fn common(folder: &Path, users: Vec<(String, Stored)>) -> Result<Common, Failure> {
    let (certificate, key, pair) =
        (folder.join("certificate.pem"), folder.join("key.pem"), folder.join("pair.pem"));
    let mut request = Command::new("openssl");
    request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    request.args(["-days", "30", "-subj", "/CN=localhost"]);
    request.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    request.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let made =
        request.output().map_err(|error| Failure::Failed(format!("openssl cannot be run: {error}")))?;
    if !made.status.success() {
        let error = String::from_utf8_lossy(&made.stderr).into_owned();
        return Err(Failure::Failed(format!("openssl makes no certificate: {error}")));
    }
    chown(&key, Some(0), Some(MAIL_ID)).map_err(|error| told(&key, &error))?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).map_err(|error| told(&key, &error))?;
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| told(path, &error));
    fs::write(&pair, read(&certificate)? + &read(&key)?).map_err(|error| told(&pair, &error))?;
    fs::set_permissions(&pair, fs::Permissions::from_mode(0o600)).map_err(|error| told(&pair, &error))?;
    let sha512_crypt = run::output(Command::new("openssl").args(["passwd", "-6", PASSWORD]))
        .ok_or_else(|| Failure::Failed("openssl makes no SHA512-CRYPT".into()))?;
    let slow_salt = format!("rounds={ARGON2_AS_ROUNDS}$restantebench");
    let sha512_crypt_slow =
        run::output(Command::new("openssl").args(["passwd", "-6", "-salt", &slow_salt, PASSWORD]))
            .filter(|stored| stored.starts_with("$6$rounds="))
            .ok_or_else(|| Failure::Failed("openssl makes no SHA512-CRYPT with rounds".into()))?;
    Ok(Common {
        folder: folder.to_owned(),
        certificate,
        key,
        pair,
        users,
        password: PASSWORD.to_owned(),
        sha512_crypt,
        argon2: argon2(folder)?,
        sha512_crypt_slow,
        accounting: Accounting::find(),
        processors: thread::available_parallelism().map_or(1, usize::from),
    })
}

/// How our own server stores a password if nobody says otherwise.
fn argon2(folder: &Path) -> Result<String, Failure> {
    let users = folder.join("argon2");
    let mut add = Command::new(restante_binary());
    add.args(["user", "add", "john", "--password-env", "PASSWORD", "--users"]).arg(&users);
    let stored = run::output(add.env("PASSWORD", PASSWORD)).and_then(|_| fs::read_to_string(&users).ok());
    let stored = stored.as_deref().and_then(|line| line.trim().strip_prefix("john:{ARGON2ID}"));
    let stored = stored.and_then(|line| line.split(':').next());
    stored.map(str::to_owned).ok_or_else(|| Failure::Failed("restante user add stores no Argon2id".into()))
}

/// One server in the benchmark, or why it is none.
struct Contender<'a> {
    kind: &'static dyn Kind,
    server: Result<Server<'a>, String>,
    /// What its drops hold, by user.
    contents: HashMap<String, Contents>,
}

/// The servers in their order, ours first.
struct Bench<'a> {
    options: &'a Options,
    all_users: Vec<Users>,
    contenders: Vec<Contender<'a>>,
    /// The drop that there is once for all.
    moving: Option<Moving>,
    processors: usize,
}

impl<'a> Bench<'a> {
    /// Makes the drops of each server, and starts it. What goes wrong with one of the others leaves it out.
    fn new(options: &'a Options, common: &'a Common) -> Result<Self, Failure> {
        let all_users = cells::users(options);
        let mut contenders = Vec::new();
        let kinds = server::kinds();
        let wanted = |kind: &&&'static dyn Kind| options.servers.iter().any(|name| name == kind.name());
        for &kind in kinds.iter().filter(wanted) {
            let mut contents = HashMap::new();
            let server = match kind.version() {
                None => Err("not installed".to_owned()),
                Some(_) => {
                    println!("\n── {}: drops and start", kind.name());
                    start(kind, common, &all_users, &mut contents).map_err(|failure| failure.to_string())
                }
            };
            if let Err(why) = &server {
                println!("! {} is left out: {why}", kind.name());
            }
            contenders.push(Contender { kind, server, contents });
        }
        if contenders.iter().all(|contender| contender.server.is_err()) {
            return Err(Failure::Failed("no server could be started".into()));
        }
        let moving = all_users.iter().find(|users| users.drops == Drops::Moving);
        let moving = moving.map(|users| {
            println!("\n── one drop of {} messages for all", users.drop.messages);
            Moving::make(&common.folder, users).map_err(|error| told(&common.folder, &error))
        });
        let (moving, processors) = (moving.transpose()?, common.processors);
        Ok(Self { options, all_users, contenders, moving, processors })
    }

    /// Compares messages octet by octet; a server that changes them is left out.
    fn compare(&mut self) {
        for contender in &mut self.contenders {
            let Ok(server) = &contender.server else { continue };
            let users = self.all_users.iter().filter(|users| users.compared);
            let compared = users.clone().try_for_each(|users| measure::compare(server, users, PASSWORD));
            match compared {
                Ok(()) if users.count() > 0 => {
                    println!("{}: the messages are what they were", contender.kind.name());
                }
                Ok(()) => {}
                Err(failure) => {
                    println!("! {} is left out: {failure}", contender.kind.name());
                    contender.server = Err(failure.to_string());
                }
            }
        }
    }

    /// Runs a cell: once on each server without counting (a quick run counts it), then so many times on each in turn.
    fn cell(&mut self, cell: &Cell) -> Vec<Outcome> {
        println!("\n── {}: {}", cell.name, cell.about);
        let mut outcomes: Vec<Outcome> = self.contenders.iter().map(|_| Outcome::Runs(Vec::new())).collect();
        let (runs, rehearsed) = cell.runs(self.options);
        for turn in u32::from(!rehearsed)..=runs {
            for (contender, outcome) in self.contenders.iter_mut().zip(&mut outcomes) {
                let Outcome::Runs(runs) = outcome else { continue };
                match contender.measure(
                    cell,
                    Shape::Work,
                    &self.all_users,
                    self.moving.as_mut(),
                    self.processors,
                ) {
                    Ok(_) if turn == 0 => {}
                    Ok(run) => {
                        println!("{:<10}{:>12.4} {}", contender.kind.name(), run.value, cell.unit.words());
                        runs.push(run);
                    }
                    Err(failure) => {
                        println!("{:<10} cannot: {failure}", contender.kind.name());
                        *outcome = Outcome::Cannot(failure.to_string());
                    }
                }
            }
        }
        outcomes
    }

    /// Runs a cell of idle sessions: each server alone and started anew for each run, since memory is shared.
    fn idle(&mut self, cell: &Cell) -> Vec<Outcome> {
        println!("\n── {}: {}", cell.name, cell.about);
        let mut outcomes = Vec::new();
        for contender in &mut self.contenders {
            let mut runs = Vec::new();
            let all = (0..cell.runs(self.options).0).try_for_each(|_| {
                let run = contender.measure(cell, Shape::Idle, &self.all_users, None, self.processors);
                if let Ok(server) = &mut contender.server {
                    server.stop();
                }
                let run = run?;
                println!("{:<10}{:>12.4} {}", contender.kind.name(), run.value, cell.unit.words());
                runs.push(run);
                Ok::<_, Failure>(())
            });
            outcomes.push(match all {
                Ok(()) => Outcome::Runs(runs),
                Err(failure) => {
                    println!("{:<10} cannot: {failure}", contender.kind.name());
                    Outcome::Cannot(failure.to_string())
                }
            });
        }
        outcomes
    }

    fn stop(&mut self) {
        for contender in &mut self.contenders {
            if let Ok(server) = &mut contender.server {
                server.stop();
            }
        }
    }

    fn subjects(&self) -> Vec<Subject> {
        let subject = |contender: &Contender<'_>| Subject {
            name: contender.kind.name(),
            version: contender.kind.version(),
            configured: contender.kind.configured(),
            durable: contender.kind.durable(),
        };
        self.contenders.iter().map(subject).collect()
    }
}

fn start<'a>(
    kind: &'static dyn Kind,
    common: &'a Common,
    all_users: &[Users],
    contents: &mut HashMap<String, Contents>,
) -> Result<Server<'a>, Failure> {
    let mut server = Server::new(kind, common)?;
    for users in all_users.iter().filter(|users| users.drops == Drops::Each) {
        for number in 1..=users.count {
            let user = users.user(number);
            let maildir = server.maildir(&user);
            let made = corpus::make(&maildir, &users.drop, &server.contents())
                .map_err(|error| told(&maildir, &error))?;
            contents.insert(user, made);
        }
    }
    server.start(Shape::Work)?;
    Ok(server)
}

impl Contender<'_> {
    fn measure(
        &mut self,
        cell: &Cell,
        shape: Shape,
        all_users: &[Users],
        moving: Option<&mut Moving>,
        processors: usize,
    ) -> Result<measure::Run, Failure> {
        let server = self.server.as_mut().map_err(|why| Failure::Failed(why.clone()))?;
        server.ensure(shape)?;
        let contents = &mut self.contents;
        let mut ground = Ground { all_users, contents, moving, password: PASSWORD, processors };
        measure::measure(server, cell, &mut ground)
    }
}

/// Waits a little longer than file times are coarse: a server may trust what it knows of a folder only then.
fn let_times_pass() {
    thread::sleep(Duration::from_millis(2200));
}
