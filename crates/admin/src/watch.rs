//! Dialogues of several sessions as they grow, one piece after another.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use restante_proto::UserName;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    Running,
    facts::Heard,
    routes::Which,
    stream::Pieces,
    tape::{Found, Place, Tape},
};

/// How often tapes are read at most.
const NOT_BEFORE: Duration = Duration::from_millis(50);
/// How often it is looked who has logged in, where nothing is heard; and an empty line is sent.
const EVERY: Duration = Duration::from_secs(10);
/// How much text of a session is sent at a time, in octets.
const PIECE_MAX_OCTETS: usize = 64 << 10;

/// Sends what is heard of these sessions, as lines of [`Heard`], until it is not taken any more, or the one session is over.
pub(crate) async fn dialogues(running: Arc<Running>, which: Which, to: Pieces<String>) {
    let _watching = running.hub.watch();
    let mut said = running.hub.said();
    let mut followed: HashMap<String, Followed> = HashMap::new();
    let mut done: HashSet<String> = HashSet::new();
    // Not by the list that is made for all who ask: who came since then would be heard by nobody.
    for session in running.handle.sessions() {
        if which.may_be(&session.session, session.user.as_ref().map(UserName::as_str)) {
            // Those that are heard already have a tape.
            running.attach(&session.session);
        }
    }
    loop {
        let looked = Instant::now();
        let tapes = running.hub.tapes();
        done.retain(|session| tapes.iter().any(|tape| tape.session() == session));
        for tape in tapes {
            let name = tape.session();
            if !done.contains(name) && !followed.contains_key(name) && which.is(&running, name) {
                followed.insert(name.to_owned(), Followed { tape, place: Place::default() });
            }
        }
        let mut over = Vec::new();
        for (session, one) in &mut followed {
            loop {
                let heard = match one.tape.read(&mut one.place, PIECE_MAX_OCTETS) {
                    Found::Nothing => break,
                    Found::Text(text) => Heard { session: session.clone(), text, ended: None },
                    Found::Over(why) => {
                        over.push(session.clone());
                        Heard { session: session.clone(), text: String::new(), ended: Some(why) }
                    }
                };
                let is_over = heard.ended.is_some();
                if to.send(line(&heard)).await.is_err() {
                    return;
                }
                if is_over {
                    break;
                }
            }
        }
        for session in over {
            followed.remove(&session);
            if which.session.as_ref() == Some(&session) {
                return;
            }
            done.insert(session);
        }
        if let Some(session) = &which.session
            && followed.is_empty()
            && running.handle.session(session).is_none()
        {
            return;
        }
        tokio::select! {
            heard = timeout_at(looked + EVERY, said.changed()) => {
                if heard.is_err() && to.send("\n".into()).await.is_err() {
                    return;
                }
                sleep_until(looked + NOT_BEFORE).await;
            }
            () = to.closed() => return,
        }
    }
}

struct Followed {
    tape: Arc<Tape>,
    place: Place,
}

impl Which {
    /// Whether it may be this session, which this user has, or nobody yet.
    fn may_be(&self, session: &str, user: Option<&str>) -> bool {
        self.session.as_deref().is_none_or(|wanted| wanted == session)
            && self.user.as_deref().is_none_or(|wanted| user.is_none_or(|user| user == wanted))
    }

    /// Whether it is this session.
    fn is(&self, running: &Running, session: &str) -> bool {
        if self.session.as_deref().is_some_and(|wanted| wanted != session) {
            return false;
        }
        let Some(wanted) = &self.user else { return true };
        match running.handle.session(session) {
            Some(facts) => facts.user.is_some_and(|user| user.as_str() == wanted),
            None => {
                running.hub.ended(session).is_some_and(|ended| ended.session.user.as_ref() == Some(wanted))
            }
        }
    }
}

fn line(heard: &Heard) -> String {
    let mut line = serde_json::to_string(heard).unwrap_or_default();
    line.push('\n');
    line
}
