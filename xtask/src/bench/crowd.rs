//! Very many sessions at once: what they need of memory, and how newcomers fare beside them.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use serde_json::json;

use super::{
    load::{Aim, Load, check, number},
    measure::{Run, settle},
    server::Server,
};
use crate::run::{self, Failure};

/// How long sessions are held before newcomers come.
const REST: Duration = Duration::from_secs(1);

pub(super) fn crowd(
    server: &Server<'_>,
    held: &Load,
    newcomers: &Load,
    password: &str,
) -> Result<Run, Failure> {
    let count = held.users_count();
    if count > server.kind.held_max() {
        return Err(Failure::Failed(format!(
            "it starts processes for each session, and {count} are not tried"
        )));
    }
    settle(server)?;
    let pages_before = socket_pages();
    let aim = Aim { ports: server.ports(), password, niceness: 0 };
    let mut running = held.begin(&aim, &server.roots()?)?;
    running.wait_held()?;
    let pages = socket_pages();
    thread::sleep(REST);
    let before = server.cpu_seconds()?;
    let newcomers = newcomers.begin(&aim, &[])?.finish()?;
    let cpu_seconds = server.cpu_seconds()? - before;
    let told = running.finish()?;
    check(&told)?;
    check(&newcomers)?;
    let of = |told, pointer: &str| {
        number(told, pointer).ok_or_else(|| Failure::Failed(format!("the load generator has no {pointer}")))
    };
    let sessions = of(&told, "/processes/held_sessions")?;
    if sessions != of(&told, "/clients")? {
        return Err(Failure::Failed(format!("{sessions} sessions were held, and not {count}")));
    }
    let page_kib = run::output(std::process::Command::new("getconf").arg("PAGE_SIZE"))
        .and_then(|octets| octets.parse::<f64>().ok())
        .map_or(4.0, |octets| octets / 1024.0);
    let socket_kib =
        pages.zip(pages_before).map(|(pages, before)| (pages - before).max(0.0) * page_kib / sessions);
    let done = of(&newcomers, "/sessions/done")?.max(1.0);
    let mut further = BTreeMap::from([
        ("sessions", sessions),
        ("newcomer_ms", cpu_seconds * 1000.0 / done),
        ("newcomer_p50_ms", of(&newcomers, "/steps/due/p50_ms")?),
        ("newcomer_p99_ms", of(&newcomers, "/steps/due/p99_ms")?),
        ("newcomer_max_ms", of(&newcomers, "/steps/due/max_ms")?),
        ("added_kib", of(&told, "/processes/pss_kib_added_per_session")?),
        ("login_p99_ms", of(&told, "/steps/login/p99_ms")?),
    ]);
    further.extend(socket_kib.map(|kib| ("socket_kib", kib)));
    Ok(Run {
        value: of(&told, "/processes/pss_kib_per_session")?,
        cpu_seconds,
        raw: json!({ "held": told, "newcomers": newcomers }),
        further,
        ..Run::default()
    })
}

/// Pages that the system holds for all TCP sockets: on loopback those of both ends.
fn socket_pages() -> Option<f64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    line.split_once("mem ")?.1.trim().parse().ok()
}
