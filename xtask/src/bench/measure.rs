//! One run of one cell on one server: what is done before, what is counted, what is checked.

use std::{
    collections::{BTreeMap, HashMap},
    io, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    calls, calm,
    cells::{Before, Cell, Unit, Users, Work},
    corpus::{self, Contents},
    crowd, let_times_pass,
    load::{Load, Loaded},
    moving::Moving,
    pop3::Session,
    server::{Server, Shape},
    told, visit,
};
use crate::run::Failure;

/// How long a server is watched, to see whether it is at rest.
const WATCH: Duration = Duration::from_millis(250);
/// How often it is watched before its unrest is taken for granted.
const WATCHES_MAX: u32 = 20;
/// A server that spends less CPU while it is watched is at rest.
const REST_SECONDS: f64 = 0.000_5;
const GIB: f64 = 1_073_741_824.0;

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// In the unit of the cell.
    pub(super) value: f64,
    pub(super) cpu_seconds: f64,
    /// Further numbers, by their names.
    pub(super) further: BTreeMap<&'static str, f64>,
    /// Further counts, by names that a server decides on.
    pub(super) counts: BTreeMap<String, f64>,
    /// Median and 99th percentile of a whole session as the client sees it, in milliseconds.
    pub(super) session_ms: Option<(f64, f64)>,
    /// All that is known.
    pub(super) raw: Value,
}

/// What a run stands on, beside its server.
pub(super) struct Ground<'g> {
    pub(super) all_users: &'g [Users],
    /// What the drops of the server hold, by user.
    pub(super) contents: &'g mut HashMap<String, Contents>,
    /// The one drop that is moved, where there is one.
    pub(super) moving: Option<&'g mut Moving>,
    pub(super) password: &'g str,
    pub(super) processors: usize,
}

impl Ground<'_> {
    pub(super) fn users(&self, name: &str) -> Result<&Users, Failure> {
        let found = self.all_users.iter().find(|users| users.name == name);
        found.ok_or_else(|| Failure::Failed(format!("no drop was made for {name}")))
    }
}

pub(super) fn measure(server: &mut Server<'_>, cell: &Cell, ground: &mut Ground<'_>) -> Result<Run, Failure> {
    let password = ground.password;
    match &cell.work {
        Work::Load(load) => loaded(load.run(server, password)?, cell.unit),
        Work::LoadFresh(load) => {
            server.start(Shape::Work)?;
            settle(server)?;
            loaded(load.run(server, password)?, cell.unit)
        }
        Work::Idle(load) => idle(load, server, password),
        Work::Listing { users, before } => {
            let users = ground.users(users)?.clone();
            listing(server, &users, *before, ground.contents, password)
        }
        Work::Delete { users } => delete(server, ground.users(users)?, password),
        Work::Crowd { held, newcomers } => crowd::crowd(server, held, newcomers, password),
        Work::Visit { users, warm } => visit::visit(server, users, *warm, ground),
        Work::Calm { probe, disturbance } => calm::calm(server, probe, disturbance, ground),
        Work::Calls(load) => calls::calls(server, load, password),
    }
}

fn loaded(loaded: Loaded, unit: Unit) -> Result<Run, Failure> {
    let (count, per) = match unit {
        Unit::SecondsGib => ("/messages/octets", GIB),
        _ => ("/sessions/done", 1000.0),
    };
    let count = loaded.number(count).filter(|count| *count > 0.0);
    let count = count.ok_or_else(|| Failure::Failed("nothing was done in the time of the run".into()))?;
    let session_ms = loaded.number("/steps/session/p50_ms").zip(loaded.number("/steps/session/p99_ms"));
    Ok(Run {
        value: loaded.cpu_seconds * per / count,
        cpu_seconds: loaded.cpu_seconds,
        session_ms,
        raw: json!({ "cpu_seconds": loaded.cpu_seconds, "load": loaded.told }),
        ..Run::default()
    })
}

fn idle(load: &Load, server: &Server<'_>, password: &str) -> Result<Run, Failure> {
    let loaded = load.run(server, password)?;
    let value = loaded.number("/processes/pss_kib_per_session");
    let value = value.ok_or_else(|| Failure::Failed("the memory of the server cannot be read".into()))?;
    let (held, asked) = (loaded.number("/processes/held_sessions"), loaded.number("/clients"));
    if held != asked {
        return Err(Failure::Failed(format!("{held:?} sessions were held instead of {asked:?}")));
    }
    Ok(Run {
        value,
        cpu_seconds: loaded.cpu_seconds,
        raw: json!({ "cpu_seconds": loaded.cpu_seconds, "load": loaded.told }),
        ..Run::default()
    })
}

/// Waits until the server has nothing left to do, such as starting processes.
pub(super) fn settle(server: &Server<'_>) -> Result<(), Failure> {
    let mut before = server.cpu_seconds()?;
    for _ in 0..WATCHES_MAX {
        thread::sleep(WATCH);
        let now = server.cpu_seconds()?;
        if now - before < REST_SECONDS {
            break;
        }
        before = now;
    }
    Ok(())
}

fn listing(
    server: &mut Server<'_>,
    users: &Users,
    before: Before,
    contents: &mut HashMap<String, Contents>,
    password: &str,
) -> Result<Run, Failure> {
    let user = users.user(1);
    let maildir = server.maildir(&user);
    let failed = |error: io::Error| told(&maildir, &error);
    let expected = contents.entry(user.clone()).or_default();
    if before == Before::Cold {
        server.stop();
        corpus::forget(&maildir).map_err(failed)?;
        let_times_pass();
        server.start(Shape::Work)?;
    } else {
        // A session before, as in a client's life: what the last change brought is known.
        session(server, &user, *expected, password)?;
        if before == Before::OneNew {
            let number = u32::try_from(expected.messages).unwrap_or(u32::MAX);
            expected.octets += corpus::deliver(&maildir, &users.drop, number).map_err(failed)?;
            expected.messages += 1;
        } else {
            corpus::flag(&maildir).map_err(failed)?;
        }
        let_times_pass();
    }
    settle(server)?;
    let cpu_before = server.cpu_seconds()?;
    session(server, &user, *expected, password)?;
    settle(server)?;
    Ok(step(server.cpu_seconds()? - cpu_before))
}

/// A run that is one step.
fn step(cpu_seconds: f64) -> Run {
    Run {
        value: cpu_seconds * 1000.0,
        cpu_seconds,
        raw: json!({ "cpu_seconds": cpu_seconds }),
        ..Run::default()
    }
}

/// Greeting, USER, PASS, STAT, UIDL, LIST, QUIT, and whether the numbers are right.
pub(super) fn session(
    server: &Server<'_>,
    user: &str,
    expected: Contents,
    password: &str,
) -> Result<(), Failure> {
    let said = (|| {
        let mut session = Session::open(server.ports().plain)?;
        let (messages, octets) = session.login(user, password)?;
        let lines = |block: Vec<u8>| block.iter().filter(|octet| **octet == b'\n').count() as u64;
        let (uidl, list) = (lines(session.block("UIDL")?), lines(session.block("LIST")?));
        session.quit()?;
        Ok((Contents { messages, octets }, uidl, list))
    })();
    let (found, uidl, list) = said.map_err(|error: io::Error| Failure::Failed(error.to_string()))?;
    if (found, uidl, list) != (expected, expected.messages, expected.messages) {
        return Err(Failure::Failed(format!(
            "{user} has {expected:?}, and the server says {found:?}, {uidl} lines of UIDL, {list} of LIST"
        )));
    }
    Ok(())
}

fn delete(server: &Server<'_>, users: &Users, password: &str) -> Result<Run, Failure> {
    let user = users.user(1);
    let maildir = server.maildir(&user);
    let contents =
        corpus::make(&maildir, &users.drop, &server.contents()).map_err(|error| told(&maildir, &error))?;
    // The drop is known to the server: opening it is another cell's matter.
    session(server, &user, contents, password)?;
    let_times_pass();
    settle(server)?;
    let failed = |error: io::Error| Failure::Failed(error.to_string());
    let mut session = Session::open(server.ports().plain).map_err(failed)?;
    session.login(&user, password).map_err(failed)?;
    settle(server)?;
    let before = server.cpu_seconds()?;
    session.delete(contents.messages).map_err(failed)?;
    settle(server)?;
    let marked = server.cpu_seconds()?;
    let begun = Instant::now();
    session.quit().map_err(failed)?;
    let quit_wall_ms = begun.elapsed().as_secs_f64() * 1000.0;
    settle(server)?;
    let gone = server.cpu_seconds()?;
    let left = std::fs::read_dir(maildir.join("cur")).map_err(failed)?.count();
    if left > 0 {
        return Err(Failure::Failed(format!("{left} messages are left after QUIT")));
    }
    let further = BTreeMap::from([("quit_ms", (gone - marked) * 1000.0), ("quit_wall_ms", quit_wall_ms)]);
    Ok(Run { further, ..step(marked - before) })
}

/// Retrieves all messages of the first user, and compares them with what was stored. In which order a server counts
/// its messages is its own matter.
pub(super) fn compare(server: &Server<'_>, users: &Users, password: &str) -> Result<(), Failure> {
    let user = users.user(1);
    let retrieved = (|| {
        let mut session = Session::open(server.ports().plain)?;
        let (messages, _) = session.login(&user, password)?;
        let retrieved: io::Result<Vec<Vec<u8>>> =
            (1..=messages).map(|number| session.block(&format!("RETR {number}"))).collect();
        session.quit()?;
        retrieved
    })();
    let mut retrieved = retrieved.map_err(|error| Failure::Failed(format!("{user}: {error}")))?;
    let mut expected: Vec<Vec<u8>> =
        (0..users.drop.messages).map(|number| corpus::wire(&corpus::message(&users.drop, number))).collect();
    retrieved.sort_unstable();
    expected.sort_unstable();
    if retrieved == expected {
        return Ok(());
    }
    Err(Failure::Failed(format!("messages of {user} come out otherwise than they were stored")))
}
