//! Small sessions while others work: how much longer the slowest hundredth of them takes then. What any server would
//! suffer, since processors are shared, is measured too: a third time the sessions run beside processes that burn as much
//! CPU as the work took, and have nothing to do with the server.
//!
//! The client whose times count is more urgent than all others (nice −10), the clients of the others are less so (10).

use std::{
    collections::BTreeMap,
    fs, io,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    cells::{CALM_LEAD_SECONDS, Disturbance, Users},
    corpus::{self, Contents},
    let_times_pass,
    load::{Aim, Link, Load, number},
    measure::{Ground, Run, session, settle},
    moving::Moving,
    pop3::Session,
    server::{Server, Shape},
    told,
};
use crate::run::{self, Failure};

/// How urgent the clients are: those whose times count, and those of the others.
const PROBE_NICENESS: i32 = -10;
const OTHERS_NICENESS: i32 = 10;
/// How long the others work before times count.
const LEAD: Duration = Duration::from_millis(700);
/// How often messages are deleted.
const DELETE_EVERY: Duration = Duration::from_secs(1);
/// The argument of this program that burns CPU.
pub(super) const BURN: &str = "--burn";
/// Burning is done in slices, as threads of a server work and wait.
const SLICE: Duration = Duration::from_millis(10);
/// The longest that anything is burnt.
const BURN_SECONDS_MAX: f64 = 700.0;

/// Times of small sessions.
struct Times {
    p50: f64,
    p99: f64,
    max: f64,
    /// Sessions that were not had, of all.
    failed: f64,
    seconds: f64,
    own_cpu: f64,
    raw: Value,
}

pub(super) fn calm(
    server: &mut Server<'_>,
    load: &Load,
    disturbance: &Disturbance,
    ground: &mut Ground<'_>,
) -> Result<Run, Failure> {
    let aim = Aim { ports: server.ports(), password: ground.password, niceness: PROBE_NICENESS };
    prepare(server, disturbance, ground)?;
    settle(server)?;
    let before = server.cpu_seconds()?;
    let alone = probe(load, &aim)?;
    let of_probe = (server.cpu_seconds()? - before) / alone.seconds;
    settle(server)?;

    let (own_before, begun) = (own_cpu_seconds()?, Instant::now());
    let (disturbed, server_share, did) = beside(server, load, &aim, disturbance, ground)?;
    let others = own_cpu_seconds()? - own_before - disturbed.own_cpu;
    let clients_share = (others / begun.elapsed().as_secs_f64()).max(0.0);
    settle(server)?;

    let server_share = (server_share - of_probe).max(0.0);
    let control = {
        let seconds = alone.seconds + LEAD.as_secs_f64() + 1.0;
        let _server = burn(ground.processors, server_share, seconds, 0)?;
        let _clients = burn(1, clients_share, seconds, OTHERS_NICENESS)?;
        thread::sleep(LEAD);
        probe(load, &aim)?
    };
    let mut further =
        BTreeMap::from([("did", did), ("server_share", server_share), ("clients_share", clients_share)]);
    let names = [
        (&alone, ["alone_p50", "alone_p99", "alone_max", "alone_failed"]),
        (&disturbed, ["beside_p50", "beside_p99", "beside_max", "beside_failed"]),
        (&control, ["control_p50", "control_p99", "control_max", "control_failed"]),
    ];
    for (times, names) in names {
        further.extend(names.into_iter().zip([times.p50, times.p99, times.max, times.failed]));
    }
    further.insert("ratio", disturbed.p99 / alone.p99);
    Ok(Run {
        value: disturbed.p99,
        cpu_seconds: server_share * disturbed.seconds,
        raw: json!({ "alone": alone.raw, "beside": disturbed.raw, "control": control.raw }),
        further,
        ..Run::default()
    })
}

/// What has to be there before the others begin.
fn prepare(server: &mut Server<'_>, disturbance: &Disturbance, ground: &Ground<'_>) -> Result<(), Failure> {
    match disturbance {
        Disturbance::Load { fresh: true, .. } => server.start(Shape::Work),
        Disturbance::Load { .. } | Disturbance::Cold { .. } => Ok(()),
        Disturbance::Delete { users } => {
            let users = ground.users(users)?;
            for number in 1..=users.count {
                let user = users.user(number);
                let maildir = server.maildir(&user);
                let made = corpus::make(&maildir, &users.drop, &server.contents());
                let contents: Contents = made.map_err(|error| told(&maildir, &error))?;
                // It is known to the server: opening is another cell's matter.
                session(server, &user, contents, ground.password)?;
            }
            let_times_pass();
            Ok(())
        }
    }
}

/// Times of small sessions beside the disturbance, the processors that the server took meanwhile, and how often
/// the others did what they do.
fn beside(
    server: &Server<'_>,
    load: &Load,
    aim: &Aim<'_>,
    disturbance: &Disturbance,
    ground: &mut Ground<'_>,
) -> Result<(Times, f64, f64), Failure> {
    let over = AtomicBool::new(false);
    let count = AtomicU64::new(0);
    let others = Aim { niceness: OTHERS_NICENESS, ..*aim };
    let watched = || {
        thread::sleep(LEAD);
        let before = server.cpu_seconds()?;
        let times = probe(load, aim)?;
        let share = (server.cpu_seconds()? - before) / times.seconds;
        Ok::<_, Failure>((times, share))
    };
    let users = ground.users(disturbance.users())?.clone();
    match disturbance {
        Disturbance::Load { load: other, .. } => {
            let running = other.begin(&others, &[])?;
            let (times, share) = watched()?;
            let told = running.finish()?;
            let done = number(&told, "/sessions/done").unwrap_or(0.0);
            if done == 0.0 {
                return Err(Failure::Failed("the others had no session".into()));
            }
            let refused = number(&told, "/sessions/failed").unwrap_or(0.0);
            println!("          others: {done} sessions done, {refused} refused");
            Ok((times, share, done))
        }
        Disturbance::Cold { .. } | Disturbance::Delete { .. } => thread::scope(|scope| {
            let moving = ground.moving.as_deref_mut();
            let work = || match disturbance {
                Disturbance::Delete { .. } => delete(server, &users, &others, &over, &count),
                _ => open_cold(server, &users, moving, &others, &over, &count),
            };
            let working = scope.spawn(work);
            let watched = watched();
            over.store(true, Ordering::Relaxed);
            let worked = working.join().map_err(|_| Failure::Failed("the others failed".into()));
            worked??;
            let (times, share) = watched?;
            Ok((times, share, count.load(Ordering::Relaxed) as f64))
        }),
    }
}

/// Opens the huge drop under one name after the other.
fn open_cold(
    server: &Server<'_>,
    users: &Users,
    moving: Option<&mut Moving>,
    aim: &Aim<'_>,
    over: &AtomicBool,
    count: &AtomicU64,
) -> Result<(), Failure> {
    let moving = moving.ok_or_else(|| Failure::Failed("there is no huge drop".into()))?;
    while !over.load(Ordering::Relaxed) {
        let given = moving.give(server, users);
        let user = given.map_err(|error| Failure::Failed(format!("the huge drop: {error}")))?;
        let load = Load {
            link: Link::Plain,
            mode: "list",
            users: user,
            arguments: ["--sessions", "1", "--clients", "1"].map(str::to_owned).into(),
        };
        super::load::check(&load.begin(aim, &[])?.finish()?)?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Each second deletes all messages of the next drop.
fn delete(
    server: &Server<'_>,
    users: &Users,
    aim: &Aim<'_>,
    over: &AtomicBool,
    count: &AtomicU64,
) -> Result<(), Failure> {
    // The number of this thread, for the one program that changes how urgent a thread is.
    let own = fs::read_link("/proc/thread-self").ok();
    let own = own.as_deref().and_then(|path| path.file_name()?.to_str());
    run::output(Command::new("renice").args(["-n", &aim.niceness.to_string(), "-p", own.unwrap_or("0")]))
        .ok_or_else(|| Failure::Failed("renice cannot be run".into()))?;
    let failed = |error: io::Error| Failure::Failed(format!("while messages are deleted: {error}"));
    for number in 1..=users.count {
        let begun = Instant::now();
        let mut session = Session::open(server.ports().plain).map_err(failed)?;
        let (messages, _) = session.login(&users.user(number), aim.password).map_err(failed)?;
        session.delete(messages).map_err(failed)?;
        session.quit().map_err(failed)?;
        count.fetch_add(1, Ordering::Relaxed);
        while begun.elapsed() < DELETE_EVERY && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
        if over.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Err(Failure::Failed(format!(
        "all drops were deleted before the end: calm-seconds and {CALM_LEAD_SECONDS} are too few"
    )))
}

/// Small sessions at a rate, each time counted from when the session was due. What is refused is told, not hidden.
fn probe(load: &Load, aim: &Aim<'_>) -> Result<Times, Failure> {
    let told = load.begin(aim, &[])?.finish()?;
    let of = |pointer: &str| {
        number(&told, pointer).ok_or_else(|| Failure::Failed(format!("no small session was had ({pointer})")))
    };
    let errors = told["errors"].as_array().into_iter().flatten();
    let failed = errors.filter_map(|error| error["count"].as_f64()).sum();
    Ok(Times {
        p50: of("/steps/due/p50_ms")?,
        p99: of("/steps/due/p99_ms")?,
        max: of("/steps/due/max_ms")?,
        failed,
        seconds: of("/seconds")?,
        own_cpu: of("/own_cpu_seconds")?,
        raw: told.clone(),
    })
}

/// CPU of this program and of all that it started and that has ended; servers that still run are not in it.
fn own_cpu_seconds() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = text.rsplit_once(')').map_or(0.0, |(_, fields)| {
        let fields = fields.split_ascii_whitespace().skip(11).take(4);
        fields.filter_map(|field| field.parse::<f64>().ok()).sum()
    });
    let per_second = run::output(Command::new("getconf").arg("CLK_TCK")).and_then(|ticks| ticks.parse().ok());
    per_second
        .map(|per_second: f64| ticks / per_second)
        .ok_or_else(|| Failure::Failed("getconf fails".into()))
}

/// A process that burns CPU, until it is dropped.
struct Burning(Child);

impl Drop for Burning {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Burns so many processors' time on so many threads.
fn burn(threads: usize, share: f64, seconds: f64, niceness: i32) -> Result<Burning, Failure> {
    let failed = |error: io::Error| Failure::Failed(format!("nothing can be burnt: {error}"));
    let this = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "nice", "-n", &niceness.to_string()]).arg(this);
    command.args(["bench", BURN, &threads.to_string(), &share.to_string(), &seconds.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().map(Burning).map_err(failed)
}

/// The process of [`burn`].
pub(super) fn burning(arguments: &[String]) -> Result<(), Failure> {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<f64>().ok());
    let (Some(threads), Some(share), Some(seconds)) = (number(0), number(1), number(2)) else {
        return Err(Failure::Usage(format!("bench {BURN} takes threads, processors and seconds")));
    };
    let each = SLICE.mul_f64((share / threads.max(1.0)).clamp(0.0, 1.0));
    let end = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, BURN_SECONDS_MAX));
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1.0, 64.0) as u32 {
            scope.spawn(|| {
                while Instant::now() < end {
                    let begun = Instant::now();
                    while begun.elapsed() < each {
                        std::hint::spin_loop();
                    }
                    thread::sleep(SLICE.saturating_sub(begun.elapsed()));
                }
            });
        }
    });
    Ok(())
}
