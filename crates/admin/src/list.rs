//! The list of sessions, and how it changes while somebody looks at it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::response::sse::Event;
use tokio::time::{Instant, sleep_until};

use crate::{
    Running,
    facts::{All, Change, Ended, Place, Session, Sums, millis},
    stream::{Pieces, event},
};

/// How often the list is looked at, where nothing is told.
const EVERY: Duration = Duration::from_secs(1);
/// How often at most.
const NOT_BEFORE: Duration = Duration::from_millis(250);

/// Everything, and how many sessions have ended.
pub(crate) fn all(running: &Running) -> (u64, All) {
    let (ended, ends) = running.hub.ended_since(0);
    let sessions = running.sessions();
    let all = All {
        now_ms: millis(SystemTime::now()),
        hostname: running.options.hostname.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listening: running.handle.listening().into_iter().map(Place::from).collect(),
        totals: Sums::from(running.handle.totals()),
        on: still_on(&sessions, &ended).cloned().collect(),
        ended,
    };
    (ends, all)
}

/// A session that has just ended is on no more, though the list may be a moment old.
fn still_on<'a>(sessions: &'a [Session], ended: &[Ended]) -> impl Iterator<Item = &'a Session> {
    let ended: HashSet<&str> = ended.iter().map(|ended| ended.session.session.as_str()).collect();
    let on: Vec<_> = sessions.iter().filter(|session| !ended.contains(session.session.as_str())).collect();
    on.into_iter()
}

/// Everything, and then what changes.
pub(crate) async fn changes(running: Arc<Running>, to: Pieces<Event>) {
    let _watching = running.hub.watch();
    let mut turned = running.hub.turned();
    let (mut ends, everything) = all(&running);
    let mut before = everything.on.iter().cloned().collect::<Arc<[Session]>>();
    if to.send(event("all", &everything)).await.is_err() {
        return;
    }
    drop(everything);
    loop {
        let looked = Instant::now();
        tokio::select! {
            () = sleep_until(looked + EVERY) => {}
            _ = turned.changed() => sleep_until(looked + NOT_BEFORE).await,
            () = to.closed() => return,
        }
        let (ended, now_ends) = running.hub.ended_since(ends);
        let sessions = running.sessions();
        let change = change(&running, &before, &sessions, ended);
        (before, ends) = (sessions, now_ends);
        if to.send(event("change", &change)).await.is_err() {
            return;
        }
    }
}

/// From one list to the next.
fn change(running: &Running, before: &[Session], sessions: &[Session], ended: Vec<Ended>) -> Change {
    let lately = running.hub.ended_since(0).0;
    let mut gone: HashMap<&str, &Session> =
        before.iter().map(|session| (session.session.as_str(), session)).collect();
    let mut on = Vec::new();
    for session in still_on(sessions, &lately) {
        if gone.remove(session.session.as_str()) != Some(session) {
            on.push(session.clone());
        }
    }
    Change {
        now_ms: millis(SystemTime::now()),
        totals: Sums::from(running.handle.totals()),
        on,
        gone: gone.into_keys().map(str::to_owned).collect(),
        ended,
    }
}
