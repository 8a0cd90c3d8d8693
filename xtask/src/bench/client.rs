//! `cargo xtask bench client`: `restante fetch` beside mpop, fetchmail, getmail6 and curl, with the same mail, from the
//! same server, in turns. What is measured is `client/cells.rs`; how the clients are set up, `client/kind/`; how it is
//! done in words, and its caveats, `docs/benchmarks.md`.

use std::{fs, path::PathBuf, process::Command, time::Instant};

use self::{
    cells::{Cell, DELAY_MS, What},
    kind::{Job, Kind, floor},
    options::{HELP, Options},
    proxy::Proxy,
    report::{Outcome, Row, Subject},
    watch::{Ended, Run},
};
use super::{
    BINARY_VARIABLE, Folder, PASSWORD, common, corpus,
    machine::{self, Machine},
    server::{self, Common, Server, Shape, restante_binary},
    told,
};
use crate::{
    packages,
    run::{self, Failure},
};

mod arrived;
mod cells;
mod kind;
mod options;
mod proxy;
mod report;
mod watch;

/// The first argument of `cargo xtask bench` that means this.
pub(super) const NAME: &str = "client";

/// Why a client has nothing to remember.
const NEVER_ALL: &str = "it does not fetch everything within the limit, which must come before";

/// File systems that are memory: waiting for the disk costs nothing there.
const MEMORY: &[&str] = &["tmpfs", "ramfs"];

pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some((floor::ARGUMENT, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return floor::fetching(rest);
    }
    let Some(options) = Options::parse(arguments)? else {
        print!("{HELP}");
        return Ok(());
    };
    if !machine::is_root() {
        return Err(Failure::Failed(
            "the benchmark starts a mail server and mail clients under another user: run it as root\n  sudo env \
             PATH=\"$PATH\" cargo xtask bench client"
                .into(),
        ));
    }
    let cells = cells::cells(&options);
    if cells.is_empty() {
        return Err(Failure::Usage("--only names no cell".into()));
    }
    on_a_disk(&options)?;
    let begun = Instant::now();
    // Before the build, which is no load of somebody else's.
    let machine = Machine::look(&options.folder, options.machine.as_deref());
    for warning in machine.warnings() {
        println!("! {warning}");
    }
    if options.install {
        install(&options)?;
    }
    if std::env::var_os(BINARY_VARIABLE).is_none() {
        run::run(&mut run::cargo(&["build", "--release", "--package", "restante"]))?;
    }
    if cells.iter().any(|cell| cell.far) {
        proxy::build()?;
    }
    let folder = Folder::make(&options.folder)?;
    let users = cells::all_users(&options).map(|users| (users.user(1), users.stored));
    let common = common(&folder.0, users.to_vec())?;
    let mut bench = Bench::new(&options, &common, &cells)?;
    let mut rows = Vec::new();
    for cell in cells {
        let outcomes = bench.cell(&cell, &rows)?;
        rows.push(Row { cell, outcomes });
    }
    let subjects = bench.subjects();
    drop(bench);
    let took = begun.elapsed();
    let out = report::write(&options, &machine, &common.accounting, &subjects, &rows, took)?;
    println!("\nDone in {:.0} s: {}", took.as_secs_f64(), out.display());
    let ours = subjects.iter().position(|subject| subject.name == options::CLIENTS[0]);
    let failed = |row: &Row| ours.is_some_and(|at| matches!(row.outcomes.get(at), Some(Outcome::Cannot(_))));
    if rows.iter().any(failed) {
        return Err(Failure::Failed("a cell of ours could not be measured; the table says why".into()));
    }
    Ok(())
}

/// Refuses a folder that is memory.
fn on_a_disk(options: &Options) -> Result<(), Failure> {
    let mut find = Command::new("findmnt");
    let kind = run::output(find.args(["-n", "-o", "FSTYPE", "-T"]).arg(&options.folder)).unwrap_or_default();
    if MEMORY.contains(&kind.as_str()) {
        let folder = options.folder.display();
        return Err(Failure::Usage(format!(
            "{folder} is memory ({kind}), where waiting for the disk costs nothing: name a folder on a disk with --dir"
        )));
    }
    Ok(())
}

/// Installs the clients that are missing, and the server if it is another's. A client that cannot be had is left out.
fn install(options: &Options) -> Result<(), Failure> {
    machine::install(std::slice::from_ref(&options.server))?;
    for kind in kind::kinds().iter().filter(|kind| options.clients.iter().any(|name| name == kind.name())) {
        if let Some((program, package)) = kind.package()
            && let Err(failure) = packages::need(program, package)
        {
            println!("! {failure}");
        }
    }
    Ok(())
}

/// One client in the benchmark, or why it is none.
struct Contender {
    kind: &'static dyn Kind,
    usable: Result<(), String>,
}

struct Bench<'a> {
    options: &'a Options,
    common: &'a Common,
    server: Server<'a>,
    /// The clients in their order, ours first and the floor last.
    contenders: Vec<Contender>,
    /// Programs of ours that every user can reach.
    programs: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, common: &'a Common, cells: &[Cell]) -> Result<Self, Failure> {
        let kinds = server::kinds();
        let kind = kinds.into_iter().find(|kind| kind.name() == options.server);
        let kind = kind.filter(|kind| kind.version().is_some());
        let kind = kind.ok_or_else(|| Failure::Failed(format!("{} is not installed", options.server)))?;
        println!("\n── {}: drops and start", kind.name());
        let mut server = Server::new(kind, common)?;
        for users in cells::all_users(options) {
            if !cells.iter().any(|cell| cell.users.name == users.name) {
                continue;
            }
            let maildir = server.maildir(&users.user(1));
            corpus::make(&maildir, &users.drop, &server.contents())
                .map_err(|error| told(&maildir, &error))?;
        }
        server.start(Shape::Work)?;
        let programs = common.folder.join("programs");
        fs::create_dir(&programs).map_err(|error| told(&programs, &error))?;
        let this = std::env::current_exe().map_err(|error| told(&programs, &error))?;
        for (from, name) in [(restante_binary(), "restante"), (this, floor::PROGRAM)] {
            fs::copy(&from, programs.join(name)).map_err(|error| told(&from, &error))?;
        }
        let mut contenders = Vec::new();
        for &kind in
            kind::kinds().iter().filter(|kind| options.clients.iter().any(|name| name == kind.name()))
        {
            let usable = match (kind.version(), kind.package()) {
                (Some(_), _) => Ok(()),
                (None, Some(_)) => Err("not installed".to_owned()),
                (None, None) => Err("this build cannot fetch: «restante fetch --help» fails".to_owned()),
            };
            if let Err(why) = &usable {
                println!("! {} is left out: {why}", kind.name());
            }
            contenders.push(Contender { kind, usable });
        }
        contenders.push(Contender { kind: floor::FLOOR, usable: Ok(()) });
        Ok(Self { options, common, server, contenders, programs })
    }

    /// Runs a cell: each client in turn, and who begins changes from round to round.
    fn cell(&mut self, cell: &Cell, before: &[Row]) -> Result<Vec<Outcome>, Failure> {
        println!("\n── {}: {}", cell.name, cell.about());
        self.server.ensure(Shape::Work)?;
        let part = before.iter().find(|row| Some(row.cell.name) == cell.includes);
        let mut outcomes: Vec<Outcome> = (0..self.contenders.len())
            .map(|at| match (&self.contenders[at].usable, part.map(|row| &row.outcomes[at])) {
                (Err(why), _) => Outcome::Cannot(why.clone()),
                (Ok(()), _) if cell.what == What::Nothing && !self.contenders[at].kind.remembers() => {
                    Outcome::Cannot("it remembers nothing, so that everything is new to it".into())
                }
                (Ok(()), Some(Outcome::Late(_))) if cell.what == What::Nothing => {
                    Outcome::Cannot(NEVER_ALL.into())
                }
                (Ok(()), Some(late @ Outcome::Late(_))) => late.clone(),
                (Ok(()), _) => Outcome::Runs(Vec::new()),
            })
            .collect();
        let port = self.server.ports().plain;
        // What a client remembers is about a server at a port: it is fetched from the same port before, but faster.
        let mut proxy = match (cell.far, cell.what) {
            (false, _) => None,
            (true, What::All) => Some(Proxy::start(0, port, DELAY_MS)?),
            (true, What::Nothing) => Some(Proxy::start(0, port, 0)?),
        };
        let at = proxy.as_ref().map_or(port, |proxy| proxy.port);
        // The server is to know the drop, and to have read it.
        self.measure(floor::FLOOR, &Cell { what: What::All, ..cell.clone() }, at, true)?;
        if cell.what == What::Nothing {
            for (contender, outcome) in self.contenders.iter().zip(&mut outcomes) {
                if matches!(outcome, Outcome::Runs(_)) {
                    self.fetch_before(contender.kind, cell, at, outcome);
                }
            }
            if let Some(fast) = proxy.take() {
                drop(fast);
                proxy = Some(Proxy::start(at, port, DELAY_MS)?);
            }
        }
        let limit = self.options.limit.as_secs_f64();
        for round in 0..self.options.runs as usize {
            for turn in 0..self.contenders.len() {
                let which = (turn + round) % self.contenders.len();
                let Outcome::Runs(runs) = &mut outcomes[which] else { continue };
                let (spent, last) = (
                    runs.iter().map(|run| run.wall_seconds).sum::<f64>(),
                    runs.last().map_or(0.0, |run: &Run| run.wall_seconds),
                );
                if !runs.is_empty() && spent + last > limit {
                    continue;
                }
                let kind = self.contenders[which].kind;
                match self.measure(kind, cell, at, cell.what == What::All) {
                    Ok(Some(run)) => {
                        println!(
                            "{:<10}{:>10.3} s {:>10.3} CPU-s {:>8.1} MiB",
                            kind.name(),
                            run.wall_seconds,
                            run.cpu_seconds,
                            run.peak_mib(),
                        );
                        runs.push(run);
                    }
                    Ok(None) => {
                        println!("{:<10} takes more than {limit:.0} s", kind.name());
                        outcomes[which] = match std::mem::take(runs) {
                            none if none.is_empty() => Outcome::Late(limit),
                            some => Outcome::Stalled(some, limit),
                        };
                    }
                    Err(failure) => {
                        println!("{:<10} cannot: {failure}", kind.name());
                        outcomes[which] = Outcome::Cannot(failure.to_string());
                    }
                }
            }
        }
        drop(proxy);
        for contender in &self.contenders {
            self.empty(contender.kind)?;
        }
        Ok(outcomes)
    }

    /// Lets a client fetch everything, so that nothing is new to it later. It is not counted.
    fn fetch_before(&self, kind: &dyn Kind, cell: &Cell, port: u16, outcome: &mut Outcome) {
        match self.measure(kind, &Cell { what: What::All, ..cell.clone() }, port, true) {
            Ok(Some(_)) => {}
            Ok(None) => *outcome = Outcome::Cannot(NEVER_ALL.into()),
            Err(failure) => *outcome = Outcome::Cannot(failure.to_string()),
        }
        if let Outcome::Cannot(why) = outcome {
            println!("{:<10} cannot: {why}", kind.name());
        }
    }

    fn folder(&self, kind: &dyn Kind) -> PathBuf {
        self.common.folder.join(format!("client-{}", kind.name()))
    }

    /// Removes a client's folder with all it fetched, and waits until the disk has nothing left to do for it.
    fn empty(&self, kind: &dyn Kind) -> Result<(), Failure> {
        let folder = self.folder(kind);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| told(&folder, &error))?;
        }
        Ok(())
    }

    /// Runs a client once; `None` where it takes too long. What arrived is compared with what was served, or with what
    /// was there before.
    fn measure(&self, kind: &dyn Kind, cell: &Cell, port: u16, anew: bool) -> Result<Option<Run>, Failure> {
        let (folder, user) = (self.folder(kind), cell.users.user(1));
        let job = Job {
            folder: &folder,
            programs: &self.programs,
            port,
            user: &user,
            password: PASSWORD,
            messages: cell.messages(),
            what: cell.what,
        };
        let failed = |error| told(&folder, &error);
        if anew {
            self.empty(kind)?;
            fs::create_dir(&folder).and_then(|()| kind::own(&folder)).map_err(failed)?;
            kind.prepare(&job).map_err(failed)?;
        }
        let arrived = kind.arrived(&job);
        let before = if anew { 0 } else { arrived.amount().map_err(failed)? };
        // What the one before left to be written is not to be waited for by this one.
        run::output(Command::new("sync").arg("-f").arg(&self.common.folder));
        let ended = watch::run(&kind.command(&job), &folder, &self.common.accounting, self.options.limit)?;
        let Ended::Itself(run, status, said) = ended else { return Ok(None) };
        let expected = if cell.what == What::Nothing { kind.nothing_new() } else { 0 };
        if status.code() != Some(expected) {
            return Err(Failure::Failed(format!("it ended with {status}: {said}")));
        }
        match cell.what {
            What::All => arrived.check(&cell.users.drop).map_err(Failure::Failed)?,
            What::Nothing if arrived.amount().map_err(failed)? != before => {
                return Err(Failure::Failed("it fetched something though nothing was new".into()));
            }
            What::Nothing => {}
        }
        Ok(Some(run))
    }

    fn subjects(&self) -> Vec<Subject> {
        let subject = |contender: &Contender| Subject {
            name: contender.kind.name(),
            version: contender.kind.version(),
            configured: contender.kind.configured(),
            durable: contender.kind.durable(),
            remembers: contender.kind.remembers(),
        };
        self.contenders.iter().map(subject).collect()
    }
}
