//! One run of one cell on one server: what is done before, what is counted, what is checked.

use std::{collections::HashMap, io, thread, time::Duration};

use serde_json::{Value, json};

use super::{
    cells::{Before, Cell, Unit, Users, Work},
    corpus::{self, Contents},
    let_times_pass,
    load::{Load, Loaded},
    pop3::Session,
    server::{Server, Shape},
    told,
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
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// In the unit of the cell.
    pub(super) value: f64,
    pub(super) cpu_seconds: f64,
    /// CPU of a second step, in seconds.
    pub(super) second: Option<f64>,
    /// Median and 99th percentile of a whole session as the client sees it, in milliseconds.
    pub(super) session_ms: Option<(f64, f64)>,
    /// All that is known.
    pub(super) raw: Value,
}

pub(super) fn measure(
    server: &mut Server<'_>,
    cell: &Cell,
    all_users: &[Users],
    contents: &mut HashMap<String, Contents>,
    password: &str,
) -> Result<Run, Failure> {
    match &cell.work {
        Work::Load(load) => loaded(load.run(server, password)?, cell.unit),
        Work::LoadFresh(load) => {
            server.start(Shape::Work)?;
            settle(server)?;
            loaded(load.run(server, password)?, cell.unit)
        }
        Work::Idle(load) => idle(load, server, password),
        Work::Listing { users, before } => {
            let users = find(all_users, users)?;
            listing(server, users, *before, contents, password)
        }
        Work::Delete { users } => delete(server, find(all_users, users)?, password),
    }
}

fn find<'u>(all_users: &'u [Users], name: &str) -> Result<&'u Users, Failure> {
    let found = all_users.iter().find(|users| users.name == name);
    found.ok_or_else(|| Failure::Failed(format!("no drop was made for {name}")))
}

fn loaded(loaded: Loaded, unit: Unit) -> Result<Run, Failure> {
    let (count, per) = match unit {
        Unit::SecondsGib => ("/messages/octets", GIB),
        Unit::MsSession | Unit::KibSession | Unit::MsStep => ("/sessions/done", 1000.0),
    };
    let count = loaded.number(count).filter(|count| *count > 0.0);
    let count = count.ok_or_else(|| Failure::Failed("nothing was done in the time of the run".into()))?;
    let session_ms = loaded.number("/steps/session/p50_ms").zip(loaded.number("/steps/session/p99_ms"));
    Ok(Run {
        value: loaded.cpu_seconds * per / count,
        cpu_seconds: loaded.cpu_seconds,
        second: None,
        session_ms,
        raw: json!({ "cpu_seconds": loaded.cpu_seconds, "load": loaded.told }),
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
        second: None,
        session_ms: None,
        raw: json!({ "cpu_seconds": loaded.cpu_seconds, "load": loaded.told }),
    })
}

/// Waits until the server has nothing left to do, such as starting processes.
fn settle(server: &Server<'_>) -> Result<(), Failure> {
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
pub(super) fn step(cpu_seconds: f64) -> Run {
    Run {
        value: cpu_seconds * 1000.0,
        cpu_seconds,
        second: None,
        session_ms: None,
        raw: json!({ "cpu_seconds": cpu_seconds }),
    }
}

/// Greeting, USER, PASS, STAT, UIDL, LIST, QUIT, and whether the numbers are right.
fn session(server: &Server<'_>, user: &str, expected: Contents, password: &str) -> Result<(), Failure> {
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
    let contents = corpus::make(&maildir, &users.drop).map_err(|error| told(&maildir, &error))?;
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
    session.quit().map_err(failed)?;
    settle(server)?;
    let gone = server.cpu_seconds()?;
    let left = std::fs::read_dir(maildir.join("cur")).map_err(failed)?.count();
    if left > 0 {
        return Err(Failure::Failed(format!("{left} messages are left after QUIT")));
    }
    Ok(Run { second: Some(gone - marked), ..step(marked - before) })
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
