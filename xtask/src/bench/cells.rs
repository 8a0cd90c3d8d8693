//! The cells of the table: what each asks of a server, in which unit it is told, and which drops there are for it.
//! How a cell is run on all servers is `bench.rs`; what is wanted of ours, `cells/goals.rs`; cells in which more than one
//! thing happens at once, `cells/together.rs`.

use super::{
    corpus::{Drop, Names},
    load::{Link, Load},
    options::Options,
    server::Stored,
};

pub(super) mod goals;
mod together;

pub(super) use together::{CALM_LEAD_SECONDS, Disturbance};

/// The users between whom the one huge drop moves.
pub(super) const MOVING: &str = "huge";

/// Clients of the session cells, as many as work at once.
const SESSION_CLIENTS: u32 = 8;
/// Clients of the RETR cells.
const RETR_CLIENTS: u32 = 4;
/// Users whose passwords are stored hashed: each logs in once before one logs in again.
const HASHED_USERS: u32 = 40;

/// A small message of a realistic length.
const SMALL_OCTETS: (usize, usize) = (900, 3500);
const FIFTY_KIB: usize = 50 << 10;
const FIVE_MIB: usize = 5 << 20;
const FIFTY_KIB_MESSAGES: u32 = 200;
const FIVE_MIB_MESSAGES: u32 = 10;
const SMALL_DROP_MESSAGES: u32 = 5;

/// Some users with a drop of one kind each.
#[derive(Clone, Debug)]
pub(super) struct Users {
    /// Named so, with a number from 1 on behind it.
    pub(super) name: &'static str,
    pub(super) count: u32,
    pub(super) drop: Drop,
    pub(super) stored: Stored,
    /// Whether their messages are compared octet by octet before anything is measured.
    pub(super) compared: bool,
    pub(super) drops: Drops,
}

/// How users come to their drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drops {
    /// Each has its own from the start.
    Each,
    /// A cell makes them.
    Later,
    /// There is one for all users of all servers, which moves from one to the next.
    Moving,
}

impl Users {
    pub(super) fn user(&self, number: u32) -> String {
        format!("{}{number}", self.name)
    }

    pub(super) fn pattern(&self) -> String {
        format!("{}{{1..{}}}", self.name, self.count)
    }
}

/// What a cell's number is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Server CPU for one session, in milliseconds.
    MsSession,
    /// Server CPU for a GiB of messages, in seconds.
    SecondsGib,
    /// Memory of all the server's processes for one session, in KiB of PSS.
    KibSession,
    /// Server CPU of one step, in milliseconds.
    MsStep,
    /// Time of one step as a client sees it.
    MsWall,
    /// The 99th percentile of the time of a session, from when it was due.
    MsHigh,
    /// System calls of all the server's processes for one session.
    Calls,
}

impl Unit {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::MsSession => "CPU-ms / session",
            Self::SecondsGib => "CPU-s / GiB",
            Self::KibSession => "KiB PSS / session",
            Self::MsStep => "CPU-ms",
            Self::MsWall => "ms",
            Self::MsHigh => "ms, p99",
            Self::Calls => "system calls / session",
        }
    }
}

/// What happens to a large drop before its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// One message comes.
    OneNew,
    /// Another program changes the flags of a message.
    Flagged,
    /// The server is started anew, and what it kept about the drop is gone.
    Cold,
}

/// What a cell does.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// The load generator runs.
    Load(Load),
    /// The server is started anew before each run; then the load generator runs. For logins that were not seen yet.
    LoadFresh(Load),
    /// One session on the first drop of these users: greeting to QUIT, with STAT, UIDL, LIST.
    Listing { users: &'static str, before: Before },
    /// All messages of a drop, made anew each time, are deleted: DELE of all in one batch, then QUIT.
    /// Further rows tell what QUIT needs, and how long it takes.
    Delete { users: &'static str },
    /// Sessions are held while the memory is looked at.
    Idle(Load),
    /// The same, while newcomers have sessions.
    Crowd { held: Load, newcomers: Load },
    /// The drop of a user is opened cold, again, and after one message came: a point of three curves.
    Visit { users: &'static str, warm: u32 },
    /// Small sessions at a fixed rate: alone, while others work, and while something else takes as much CPU.
    Calm { probe: Load, disturbance: Disturbance },
    /// The load generator runs while system calls are counted, which takes time itself.
    Calls(Load),
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) unit: Unit,
    pub(super) work: Work,
}

/// The users that some cell needs.
pub(super) fn users(options: &Options) -> Vec<Users> {
    let drop = |messages, octets, names| Drop { messages, octets, names, linked: None };
    let large = |name, messages, names| Users {
        name,
        count: 1,
        drop: drop(messages, SMALL_OCTETS, names),
        stored: Stored::Cheap,
        compared: false,
        drops: Drops::Each,
    };
    let few = |name, count, drop, stored, compared| Users {
        name,
        count,
        drop,
        stored,
        compared,
        drops: Drops::Each,
    };
    let small = drop(SMALL_DROP_MESSAGES, SMALL_OCTETS, Names::Sized);
    let mut all = vec![
        few("small", 2 * SESSION_CLIENTS, small, Stored::Cheap, true),
        few("hashed", HASHED_USERS, small, Stored::Sha512Crypt, false),
        few(
            "fifty",
            RETR_CLIENTS,
            drop(FIFTY_KIB_MESSAGES, (FIFTY_KIB, FIFTY_KIB), Names::Sized),
            Stored::Cheap,
            true,
        ),
        few(
            "five",
            RETR_CLIENTS,
            drop(FIVE_MIB_MESSAGES, (FIVE_MIB, FIVE_MIB), Names::Sized),
            Stored::Cheap,
            true,
        ),
        large("listed", options.small_drop, Names::Sized),
        large("bare", options.small_drop, Names::Bare),
        large("large", options.large_drop, Names::Sized),
        large("ten", 10, Names::Sized),
        large("thousand", 1000, Names::Sized),
        large("deleted", options.small_drop, Names::Sized),
        few("idle", options.idle, drop(1, SMALL_OCTETS, Names::Sized), Stored::Cheap, false),
    ];
    all.extend(together::users(options));
    let cells = cells(options);
    all.retain(|users| cells.iter().any(|cell| cell.needs(users.name)));
    all
}

impl Cell {
    /// The rows that further numbers of its runs make, each with the name of the number.
    pub(super) fn further(&self) -> Vec<(Self, &'static str)> {
        let row = |suffix: &str, about: String, unit, number| {
            (Self { name: format!("{}-{suffix}", self.name), about, unit, ..self.clone() }, number)
        };
        match self.work {
            Work::Delete { .. } => vec![
                row("quit", "QUIT after it: the messages are removed".into(), Unit::MsStep, "quit_ms"),
                row("quit-time", "how long that QUIT takes".into(), Unit::MsWall, "quit_wall_ms"),
            ],
            Work::Visit { .. } => {
                let about = |what| self.about.replacen("cold", what, 1);
                vec![
                    row("warm", about("warm"), Unit::MsSession, "warm_ms"),
                    row("new", about("one new message"), Unit::MsSession, "new_ms"),
                ]
            }
            Work::Crowd { .. } => vec![row(
                "newcomers",
                format!("small sessions beside {}", self.about.trim_start_matches("memory of ")),
                Unit::MsSession,
                "newcomer_ms",
            )],
            _ => Vec::new(),
        }
    }

    /// How many runs count, and whether one before them does not.
    pub(super) fn runs(&self, options: &Options) -> (u32, bool) {
        match &self.work {
            Work::Calm { .. } | Work::Visit { .. } => (options.runs.min(3), false),
            Work::Crowd { .. } | Work::Calls(_) => (1, false),
            Work::Idle(_) => (options.runs, false),
            _ => (options.runs, !options.quick),
        }
    }

    /// Whether each server is alone and started anew for it, shaped for many sessions.
    pub(super) const fn holds(&self) -> bool {
        matches!(self.work, Work::Idle(_) | Work::Crowd { .. })
    }

    pub(super) fn needs(&self, name: &str) -> bool {
        let of = |load: &Load| load.users.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', '1']));
        match &self.work {
            Work::Load(load) | Work::LoadFresh(load) | Work::Idle(load) | Work::Calls(load) => of(load),
            Work::Crowd { held, newcomers } => of(held) || of(newcomers),
            Work::Calm { probe, disturbance } => of(probe) || disturbance.users() == name,
            Work::Listing { users, .. } | Work::Delete { users } | Work::Visit { users, .. } => {
                *users == name
            }
        }
    }
}

/// All rows that the options ask for, in the order of the table.
pub(super) fn cells(options: &Options) -> Vec<Cell> {
    let mut cells = sessions(options);
    cells.extend(retrievals(options));
    cells.extend(listings(options));
    cells.extend(deletions(options));
    cells.extend(idle(options));
    cells.extend(together::cells(options));
    cells.retain(|cell| options.takes(&cell.name));
    cells
}

const LINKS: [(Link, &str, &str); 2] =
    [(Link::Plain, "plain", "plain"), (Link::Tls, "tls", "TLS, full handshake")];
/// TLS after a command costs a round trip more, which shows in short sessions only.
const STLS: (Link, &str, &str) = (Link::Stls, "stls", "STLS, full handshake");

fn words(words: &[(&str, String)]) -> Vec<String> {
    words.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]).collect()
}

fn named(all: &str, count: u32) -> String {
    let users = Users {
        name: "",
        count,
        drop: Drop { messages: 0, octets: (0, 0), names: Names::Bare, linked: None },
        stored: Stored::Cheap,
        compared: false,
        drops: Drops::Each,
    };
    format!("{all}{}", users.pattern())
}

fn sessions(options: &Options) -> Vec<Cell> {
    let load = |link, users: String, count: u32, retr: u32| Load {
        link,
        mode: "sessions",
        users,
        arguments: words(&[
            ("--clients", SESSION_CLIENTS.to_string()),
            ("--sessions", count.to_string()),
            ("--duration", format!("{}s", options.run_seconds)),
            ("--retr", retr.to_string()),
        ]),
    };
    let mut cells = Vec::new();
    for (link, name, words) in LINKS.into_iter().chain([STLS]) {
        for retr in [0, 5] {
            cells.push(Cell {
                name: format!("session-{name}-{retr}"),
                about: format!("session on {SMALL_DROP_MESSAGES} messages, {retr} RETR, {words}"),
                unit: Unit::MsSession,
                work: Work::Load(load(link, named("small", 2 * SESSION_CLIENTS), options.sessions, retr)),
            });
        }
    }
    let hashed = named("hashed", HASHED_USERS);
    cells.push(Cell {
        name: "login-sha512".into(),
        about: "session, SHA512-CRYPT password, first login of each user, plain".into(),
        unit: Unit::MsSession,
        work: Work::LoadFresh(load(Link::Plain, hashed.clone(), HASHED_USERS, 0)),
    });
    cells.push(Cell {
        name: "login-again".into(),
        about: "session, SHA512-CRYPT password, the same users again, plain".into(),
        unit: Unit::MsSession,
        work: Work::Load(load(Link::Plain, hashed, options.sessions.min(10 * HASHED_USERS), 0)),
    });
    cells
}

fn retrievals(options: &Options) -> Vec<Cell> {
    let mut cells = Vec::new();
    let kinds = [
        ("50k", "fifty", "50 KiB", FIFTY_KIB_MESSAGES as usize * FIFTY_KIB, &[1_u32, 16][..]),
        ("5m", "five", "5 MiB", FIVE_MIB_MESSAGES as usize * FIVE_MIB, &[1][..]),
    ];
    for (short, users, size, drop_octets, pipelines) in kinds {
        for (link, name, words_of_link) in LINKS {
            for pipeline in pipelines {
                let each = ((options.retr_mib as usize) << 20).div_ceil(drop_octets);
                let count = each * RETR_CLIENTS as usize;
                let (suffix, how) = match pipeline {
                    1 => (String::new(), "one at a time".to_owned()),
                    more => (format!("-pipelined-{more}"), format!("{more} under way")),
                };
                let words_of_link = words_of_link.trim_end_matches(", full handshake");
                cells.push(Cell {
                    name: format!("retr-{short}-{name}{suffix}"),
                    about: format!("RETR of {size} messages, {how}, {words_of_link}"),
                    unit: Unit::SecondsGib,
                    work: Work::Load(Load {
                        link,
                        mode: "retr",
                        users: named(users, RETR_CLIENTS),
                        arguments: words(&[
                            ("--clients", RETR_CLIENTS.to_string()),
                            ("--sessions", count.to_string()),
                            ("--duration", format!("{}s", options.run_seconds)),
                            ("--pipeline", pipeline.to_string()),
                        ]),
                    }),
                });
            }
        }
    }
    cells
}

fn listings(options: &Options) -> Vec<Cell> {
    let warm = |users: &str, sessions: u32| {
        Work::Load(Load {
            link: Link::Plain,
            mode: "list",
            users: format!("{users}1"),
            arguments: words(&[
                ("--clients", "1".into()),
                ("--sessions", sessions.to_string()),
                ("--duration", format!("{}s", options.run_seconds)),
            ]),
        })
    };
    let cell =
        |name: &str, about: String, work| Cell { name: name.into(), about, unit: Unit::MsSession, work };
    let once = |users, before| Work::Listing { users, before };
    let (small, large) = (options.small_drop, options.large_drop);
    let mut cells = vec![
        cell("list-small-warm", format!("PASS STAT UIDL LIST of {small} messages, warm"), warm("listed", 20)),
        cell(
            "list-small-cold",
            format!("PASS STAT UIDL LIST, cold, sizes in the names ({small} messages)"),
            once("listed", Before::Cold),
        ),
        cell(
            "list-small-cold-bare",
            format!("PASS STAT UIDL LIST, cold, no sizes in the names ({small} messages)"),
            once("bare", Before::Cold),
        ),
        cell("list-large-warm", format!("PASS STAT UIDL LIST of {large} messages, warm"), warm("large", 5)),
        cell(
            "list-large-new",
            format!("PASS STAT UIDL LIST, one new message ({large} messages)"),
            once("large", Before::OneNew),
        ),
        cell(
            "list-large-flagged",
            format!("PASS STAT UIDL LIST, cur/ changed by another program ({large} messages)"),
            once("large", Before::Flagged),
        ),
        cell(
            "list-large-cold",
            format!("PASS STAT UIDL LIST, cold, sizes in the names ({large} messages)"),
            once("large", Before::Cold),
        ),
    ];
    let visit = |name: &str, users, messages: u32, warm| {
        let about = format!("PASS STAT UIDL LIST of {messages} messages, cold");
        cell(name, about, Work::Visit { users, warm })
    };
    cells.push(visit("list-ten", "ten", 10, 50));
    if !options.quick {
        cells.push(visit("list-thousand", "thousand", 1000, 20));
    }
    if options.huge_drop > 0 {
        cells.push(visit("list-huge", "huge", options.huge_drop, 2));
    }
    cells
}

fn deletions(options: &Options) -> Vec<Cell> {
    vec![Cell {
        name: "delete".into(),
        about: format!("DELE of {} messages, pipelined", options.small_drop),
        unit: Unit::MsStep,
        work: Work::Delete { users: "deleted" },
    }]
}

fn idle(options: &Options) -> Vec<Cell> {
    let seconds = if options.quick { 1 } else { 5 };
    let cell = |(link, name, words_of_link): (Link, &str, &str)| Cell {
        name: format!("idle-{name}"),
        about: format!(
            "memory of {} idle sessions, logged in, {}",
            options.idle,
            words_of_link.trim_end_matches(", full handshake")
        ),
        unit: Unit::KibSession,
        work: Work::Idle(Load {
            link,
            mode: "idle",
            users: named("idle", options.idle),
            arguments: words(&[("--duration", format!("{seconds}s"))]),
        }),
    };
    LINKS.map(cell).into()
}
