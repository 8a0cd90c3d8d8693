//! Cells in which more than one thing happens at once: small sessions while others work, very many sessions, sessions
//! beside others; and the one in which system calls are counted.

use super::{
    Cell, Drop, Drops, FIVE_MIB, Link, Names, Options, SESSION_CLIENTS, SMALL_DROP_MESSAGES, SMALL_OCTETS,
    Stored, Unit, Users, Work, named, words,
};
use crate::bench::load::Load;

/// Small sessions that begin in a second while others work: little enough for two processors and every server.
const CALM_RATE: u32 = 50;
const CALM_USERS: u32 = 64;
/// Seconds for which others work longer than small sessions are watched.
pub(in crate::bench) const CALM_LEAD_SECONDS: u32 = 2;
/// Clients that download messages of 5 MiB.
const DOWNLOADS: u32 = 50;
/// Logins with Argon2 that are offered in a second, from so many addresses: one address alone would be slowed down.
const LOGINS_RATE: u32 = 200;
const LOGINS_SOURCES: &str = "127.0.1.{1..50}";
/// Names under which the one huge drop is opened, each time another one.
const HUGE_USERS: u32 = 400;
/// Newcomers in a second, and for how long, while sessions are held.
const NEWCOMERS_RATE: u32 = 50;
/// Sessions while system calls are counted.
const CALLS_SESSIONS: u32 = 100;
/// Files of a huge drop: few enough to be made quickly, and no file may have more than 65,000 names on ext4.
const HUGE_FILES: u32 = 64;

/// What others do while small sessions are watched.
#[derive(Clone, Debug)]
pub(in crate::bench) enum Disturbance {
    /// The huge drop is opened cold, again and again.
    Cold { users: &'static str },
    /// The load generator runs; refusals are part of it. Whether the server is started anew before.
    Load { load: Load, users: &'static str, fresh: bool },
    /// Each second the messages of another drop are deleted in one QUIT.
    Delete { users: &'static str },
}

impl Disturbance {
    pub(in crate::bench) const fn users(&self) -> &'static str {
        match self {
            Self::Cold { users } | Self::Load { users, .. } | Self::Delete { users } => users,
        }
    }
}

/// The users of these cells.
pub(super) fn users(options: &Options) -> Vec<Users> {
    let small = Drop { messages: 1, octets: SMALL_OCTETS, names: Names::Sized, linked: None };
    let of = |name, count, drop| Users {
        name,
        count,
        drop,
        stored: Stored::Cheap,
        compared: false,
        drops: Drops::Each,
    };
    let five = Drop { octets: (FIVE_MIB, FIVE_MIB), ..small };
    let seconds = options.calm_seconds + CALM_LEAD_SECONDS;
    vec![
        of("calm", CALM_USERS, Drop { messages: SMALL_DROP_MESSAGES, ..small }),
        of("download", DOWNLOADS, five),
        of("many", options.many, Drop { linked: Some(1), ..five }),
        Users { stored: Stored::Argon2, ..of("argon", LOGINS_RATE * seconds, small) },
        Users {
            drops: Drops::Later,
            ..of("victim", seconds, Drop { messages: options.small_drop, octets: (500, 500), ..small })
        },
        Users {
            drops: Drops::Moving,
            ..of("huge", HUGE_USERS, Drop { messages: options.huge_drop, linked: Some(HUGE_FILES), ..small })
        },
    ]
}

/// All cells of this file.
pub(super) fn cells(options: &Options) -> Vec<Cell> {
    let mut cells = calm(options);
    cells.extend(crowds(options));
    cells.extend(calls());
    cells
}

/// Small sessions at a rate, from users of their own.
fn small_sessions(link: Link, rate: u32, seconds: u32) -> Load {
    Load {
        link,
        mode: "sessions",
        users: named("calm", CALM_USERS),
        arguments: words(&[
            ("--clients", CALM_USERS.to_string()),
            ("--rate", rate.to_string()),
            ("--duration", format!("{seconds}s")),
        ]),
    }
}

fn calm(options: &Options) -> Vec<Cell> {
    let seconds = options.calm_seconds;
    let others = format!("{}s", seconds + CALM_LEAD_SECONDS);
    let download = Load {
        link: Link::Plain,
        mode: "retr",
        users: named("download", DOWNLOADS),
        arguments: words(&[("--clients", DOWNLOADS.to_string()), ("--duration", others.clone())]),
    };
    let logins = Load {
        link: Link::Plain,
        mode: "sessions",
        users: named("argon", LOGINS_RATE * (seconds + CALM_LEAD_SECONDS)),
        arguments: words(&[
            ("--rate", LOGINS_RATE.to_string()),
            ("--source", LOGINS_SOURCES.into()),
            ("--duration", others),
        ]),
    };
    // Names that nobody has: what is hashed in their stead takes as long.
    let guessers = LOGINS_RATE * (seconds + CALM_LEAD_SECONDS);
    let guesses = Load {
        users: named("nobody", guessers),
        // Each waits for its delayed answer, and others come meanwhile.
        arguments: [logins.arguments.clone(), words(&[("--clients", guessers.to_string())])].concat(),
        ..logins
    };
    let cell = |name: &str, what: String, disturbance| Cell {
        name: format!("calm-{name}"),
        about: format!("small sessions, {CALM_RATE}/s, while {what}"),
        unit: Unit::MsHigh,
        work: Work::Calm { probe: small_sessions(Link::Plain, CALM_RATE, seconds), disturbance },
    };
    let mut cells = vec![
        cell(
            "download",
            format!("{DOWNLOADS} clients download messages of 5 MiB"),
            Disturbance::Load { load: download, users: "download", fresh: false },
        ),
        cell(
            "logins",
            format!("{LOGINS_RATE} logins a second with Argon2 are offered"),
            Disturbance::Load { load: logins, users: "argon", fresh: true },
        ),
        cell(
            "guesses",
            format!("{LOGINS_RATE} wrong logins a second come from fifty other addresses"),
            Disturbance::Load { load: guesses, users: "argon", fresh: true },
        ),
        cell(
            "delete",
            format!("{} messages are deleted in one QUIT, each second", options.small_drop),
            Disturbance::Delete { users: "victim" },
        ),
    ];
    if options.huge_drop > 0 {
        let what = format!("a drop of {} messages is opened cold, again and again", options.huge_drop);
        cells.insert(0, cell("cold", what, Disturbance::Cold { users: "huge" }));
    }
    cells
}

fn crowds(options: &Options) -> Vec<Cell> {
    let seconds = if options.quick { 2 } else { 5 };
    let crowd = |name: String, mode: &'static str, link: Link, count: u32, about: String| {
        Cell {
            name,
            about,
            unit: Unit::KibSession,
            work: Work::Crowd {
                held: Load {
                    link,
                    mode,
                    users: named("many", count),
                    arguments: words(&[
                        // Until the newcomers have come and gone, and a little longer.
                        ("--duration", format!("{}s", seconds + 3)),
                        ("--source", "127.0.2.{1..10}".into()),
                    ]),
                },
                newcomers: small_sessions(Link::Plain, NEWCOMERS_RATE, seconds),
            },
        }
    };
    let mut cells = Vec::new();
    for count in [1, 100] {
        if count < options.many {
            let about = format!("memory of {count} idle sessions, plain");
            cells.push(crowd(format!("crowd-{count}"), "idle", Link::Plain, count, about));
        }
    }
    let slow = "sessions that read 512 octets a second";
    for (mode, how, count) in [("idle", "idle sessions", options.many), ("slow", slow, options.slow)] {
        for (link, name, words_of_link) in [(Link::Plain, "plain", "plain"), (Link::Tls, "tls", "TLS")] {
            let about = format!("memory of {count} {how}, {words_of_link}");
            cells.push(crowd(format!("many-{mode}-{name}"), mode, link, count, about));
        }
    }
    cells
}

fn calls() -> Vec<Cell> {
    let cell = |retr: u32| Cell {
        name: format!("calls-{retr}"),
        about: format!("session on {SMALL_DROP_MESSAGES} messages, {retr} RETR, plain: system calls"),
        unit: Unit::Calls,
        work: Work::Calls(Load {
            link: Link::Plain,
            mode: "sessions",
            users: named("small", 2 * SESSION_CLIENTS),
            arguments: words(&[
                ("--clients", "1".into()),
                ("--sessions", CALLS_SESSIONS.to_string()),
                ("--retr", retr.to_string()),
            ]),
        }),
    };
    [0, 5].map(cell).into()
}
