//! `restante bench`: a load generator for a server of one's own. Many clients at once on few threads, each step timed,
//! each octet counted, the server's CPU and memory beside it. It always stops by itself.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use restante_client::{Security, Url};
use restante_proto::{Secret, command::Command};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;

use self::{
    connection::Secured,
    load::{End, Run},
    plan::{Handshakes, Mode, Plan},
    process::Processes,
    report::{Report, Server},
    session::{Client, Failed},
    tally::Step,
};
use crate::{
    duration,
    failure::{Failure, Kind},
    output,
    password::PasswordArgs,
    trust::{self, TrustArgs},
};

mod connection;
mod idle;
mod load;
mod pace;
mod plan;
mod process;
mod report;
mod session;
mod tally;
mod users;

/// Clients, where there are as many users.
const CLIENTS_DEFAULT: usize = 8;

/// The same where sessions come at a rate: as many as may be late.
const CLIENTS_OF_A_RATE: usize = 256;

/// Sockets and files that are open beside those of the clients.
const FILES_BESIDE: u64 = 64;

/// How long a server's processes are given to end after the last session, before their time is read.
const SETTLE: Duration = Duration::from_millis(300);

/// Puts load on a POP3 server of yours, and measures it
#[derive(clap::Args)]
#[command(after_help = "Modes:
  sessions  USER PASS STAT UIDL LIST QUIT, with --retr K also RETR of the first K messages
  retr      USER PASS STAT, RETR of every message, QUIT
  list      USER PASS STAT UIDL LIST QUIT, on large drops
  idle      USER PASS, all sessions held at once for --duration, QUIT
  slow      USER PASS, RETR 1, read --sip octets a second, all held at once for --duration

URLs:
  pop3s://user@host            TLS from the first byte
  pop3://user@host             STLS, required
  pop3://user@host?tls=none    no TLS

Nothing is deleted. A session holds the lock of its drop: give as many --users as there are clients.
With --rate sessions begin at fixed times, however long others take; the step «due» is a session's
time from then. Without it each client begins the next one when one has ended.
Sessions that were due in time may begin until 2 s after --duration; the others are errors.
A run ends after --duration, or earlier after --sessions, when no session succeeds, or by Ctrl-C.
CPU of --pid has the kernel's clock ticks, so let a run take seconds. Children that were waited for
are counted in; memory is PSS, which other users' processes show to root only.
Exit status: 0 no error, 1 errors in the table or failed, 2 wrong usage.

Examples:
  restante bench 'pop3://127.0.0.1:1110?tls=none' --users 'user{1..8}' --password-file secret
  restante bench pop3s://john@localhost --mode retr --pipeline 16 --sessions 1 --password-env P
  restante bench pop3s://localhost --users 'u{1..5000}' --mode idle --duration 1m \\
      --pid \"$(pidof restante)\" --password-env P --json")]
pub(crate) struct Args {
    // Not parsed by clap, which would repeat it, and a password that stands in it, in its error.
    /// The server
    url: String,

    /// What each session does
    #[arg(long, value_enum, default_value = "sessions")]
    mode: Mode,

    /// The users, as a pattern: 'user{1..100}'; by default the one of the URL
    #[arg(long, value_name = "PATTERN")]
    users: Option<String>,

    #[command(flatten)]
    password: PasswordArgs,

    /// How many clients are at work at once; by default 8 (with --rate 256), but no more than users; in idle and slow all users
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    clients: Option<u32>,

    /// Lets more clients than users work, on a server that lets sessions share a drop
    #[arg(long)]
    share_drops: bool,

    /// Ends after so many sessions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    sessions: Option<u64>,

    /// Begins no session after this time: 10s, 500ms, 2m [default: 10s; with --sessions 60m]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    duration: Option<Duration>,

    /// Begins so many sessions a second, as long as a client is free
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,

    /// Connects from these addresses in turn, as a pattern: '127.0.0.{2..9}'
    #[arg(long, value_name = "PATTERN")]
    source: Option<String>,

    /// How many octets a session of the mode slow reads in a second
    #[arg(long, value_name = "OCTETS", default_value = "512", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sip: u32,

    /// How many messages a session of the mode sessions retrieves
    #[arg(long, value_name = "K", default_value = "0", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    retr: u32,

    /// How many RETRs are under way at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pipeline: u32,

    /// Uses session tickets instead of a full TLS handshake each time
    #[arg(long)]
    tls_resume: bool,

    #[command(flatten)]
    trust: TrustArgs,

    /// How long to wait for an answer: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,

    /// Reads CPU and memory of this process and its descendants; may be given more than once
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,

    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,

    /// Allows a server that is not on this machine: load on another's server is an attack
    #[arg(long)]
    i_own_this_server: bool,

    /// Prints the result as JSON instead of the table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let plan = plan(&args)?;
    let processes = match args.pid.as_slice() {
        [] => None,
        pids => Some(Processes::of(pids).map_err(Failure::usage)?),
    };
    make_room_for(plan.clients)?;
    let threads = usize::from(args.threads);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(bench(plan, processes, threads, args.json))
}

async fn bench(plan: Plan, processes: Option<Processes>, threads: usize, json: bool) -> Result<(), Failure> {
    let run = Run::new(plan);
    let secured = rehearse(&run).await?;
    let before = processes.as_ref().and_then(Processes::look);
    let own = process::own_cpu();
    let begun = Instant::now();
    let (end, held) = match run.plan.mode {
        Mode::Idle | Mode::Slow => {
            let held = idle::hold(&run, processes.as_ref()).await;
            (held.end, held.usage.map(|usage| (held.sessions, usage)))
        }
        Mode::Sessions | Mode::Retr | Mode::List => (load::work(&run).await, None),
    };
    let took = begun.elapsed();
    let own_cpu = process::own_cpu().zip(own).map(|(after, before)| after.saturating_sub(before));
    let mut server = None;
    if let Some(processes) = &processes {
        tokio::time::sleep(SETTLE).await;
        server = before.zip(processes.look()).map(|(before, after)| Server {
            pids: processes.roots.clone(),
            before,
            held,
            after,
        });
        if server.is_none() {
            output::warn(&["a process of --pid ended during the run: nothing is known of it".to_owned()]);
        }
    }
    let tally = run.tally();
    let report = Report { plan: &run.plan, threads, own_cpu, secured, took, end, tally: &tally, server };
    let text = if json { format!("{:#}\n", report.json()) } else { report.table() };
    output::print(&text)?;
    match tally.errors.count() {
        0 if end != End::Hopeless => Ok(()),
        _ if json => Err(Failure::silent(Kind::Failed)),
        1 => Err(Failure::failed("there was an error")),
        errors => Err(Failure::failed(format!("there were {errors} errors"))),
    }
}

/// One connection up to the greeting and TLS, before anything is measured: what is wrong with the address or the
/// certificate is told at once.
async fn rehearse(run: &Arc<Run>) -> Result<Option<Secured>, Failure> {
    let mut client = Client::new(run);
    let told = |(step, problem): Failed| {
        let failure = Failure::failed(format!("{}: {}: {}", step.name(), problem.kind, problem.told));
        match step {
            Step::Tls => failure.hint(trust::HINT),
            _ => failure,
        }
    };
    let (connection, secured) = client.open().await.map_err(told)?;
    client.quit(connection, Instant::now()).await.map_err(told)?;
    Ok(secured)
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    let url = Url::parse(&args.url)?;
    let users = match (&args.users, &url.user) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage("the users stand in the URL or behind --users, not in both"));
        }
        (Some(pattern), None) => users::expand(pattern).map_err(Failure::usage)?,
        (None, Some(user)) => vec![user.clone()],
        (None, None) => {
            return Err(Failure::usage("no user is named")
                .hint("name one in the URL: pop3s://user@host, or many: --users 'user{1..100}'"));
        }
    };
    let clients = match (args.clients, args.mode) {
        (Some(clients), _) => clients as usize,
        (None, Mode::Idle | Mode::Slow) => users.len(),
        (None, _) if args.rate.is_some() => users.len().min(CLIENTS_OF_A_RATE),
        (None, _) => users.len().min(CLIENTS_DEFAULT),
    };
    if clients > users.len() && !args.share_drops {
        return Err(Failure::usage(format!(
            "{clients} clients need as many users, and there are {}",
            users.len()
        ))
        .hint(
            "a session holds the lock of its drop: --users 'user{1..8}', or --share-drops where it does not",
        ));
    }
    if args.retr > 0 && args.mode != Mode::Sessions {
        return Err(Failure::usage("--retr belongs to --mode sessions; --mode retr retrieves every message"));
    }
    if (args.sessions.is_some() || args.rate.is_some()) && args.mode.holds() {
        return Err(Failure::usage(format!(
            "--mode {} holds --clients sessions for --duration; it takes no --sessions and no --rate",
            args.mode.name()
        )));
    }
    let address = address(&url, args.i_own_this_server)?;
    let sources = sources(args.source.as_deref(), address)?;
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| Failure::usage("the host's name cannot stand in a certificate"))?;
    let tls = match url.security {
        Security::None => None,
        Security::Implicit | Security::Stls => Some(args.trust.options().client_config()?),
    };
    Ok(Plan {
        address,
        name,
        tls,
        handshakes: if args.tls_resume { Handshakes::Resumed } else { Handshakes::Full },
        pass: pass(args)?,
        users: users.into_iter().map(Arc::from).collect(),
        mode: args.mode,
        clients,
        rate: args.rate.and_then(NonZeroU32::new),
        sources,
        sip_octets: args.sip as usize,
        sessions: args.sessions,
        duration: args.duration.unwrap_or(match args.sessions {
            Some(_) => Duration::from_secs(3600),
            None => Duration::from_secs(10),
        }),
        patience: args.timeout,
        retr: args.retr,
        pipeline: args.pipeline,
        url,
    })
}

/// Where connections come from, if that is asked for.
fn sources(pattern: Option<&str>, server: SocketAddr) -> Result<Vec<IpAddr>, Failure> {
    let Some(pattern) = pattern else { return Ok(Vec::new()) };
    let source = |text: String| match text.parse::<IpAddr>() {
        Ok(source) if source.is_ipv4() == server.is_ipv4() => Ok(source),
        Ok(source) => Err(Failure::usage(format!("nobody connects to {} from {source}", server.ip()))),
        Err(_) => Err(Failure::usage(format!("--source takes addresses, and «{text}» is none"))),
    };
    users::expand(pattern).map_err(Failure::usage)?.into_iter().map(source).collect()
}

/// The line of PASS.
fn pass(args: &Args) -> Result<Secret<Vec<u8>>, Failure> {
    let password = args.password.read_known("Password")?;
    if password.expose().iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
        return Err(Failure::failed("the password holds a line end, which no PASS can send"));
    }
    // All room at once: a vector that grows leaves copies of a password behind.
    let mut line = Vec::with_capacity(password.expose().len() + 16);
    Command::Pass(password).write(&mut line);
    Ok(Secret::new(line))
}

/// The first address of the host that takes a connection is found by trying; that all of them are this machine's own
/// is asked before.
fn address(url: &Url, owned: bool) -> Result<SocketAddr, Failure> {
    let addresses: Vec<SocketAddr> = (url.host.as_str(), url.port)
        .to_socket_addrs()
        .map_err(|error| Failure::failed(format!("cannot find {}: {error}", url.host)))?
        .collect();
    if let Some(outside) = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback())
        && !owned
    {
        return Err(Failure::usage(format!("{} is not on this machine", outside.ip()))
            .hint("load on another's server is an attack; --i-own-this-server says that it is yours"));
    }
    let answers = |address: &&SocketAddr| match addresses.len() {
        1 => true,
        _ => std::net::TcpStream::connect_timeout(address, Duration::from_secs(5)).is_ok(),
    };
    addresses
        .iter()
        .find(answers)
        .copied()
        .ok_or_else(|| Failure::failed(format!("cannot connect to {}:{}", url.host, url.port)))
}

/// Raises the limit of open files as far as it is needed and allowed.
fn make_room_for(clients: usize) -> Result<(), Failure> {
    let needed = clients as u64 + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let told = |why: &str| {
        Failure::failed(format!("{clients} clients need {needed} open files{why}"))
            .hint("raise the limit: ulimit -n, LimitNOFILE= of systemd")
    };
    // Root may raise the upper limit too.
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(|error| told(&format!(": {error}")))
}
