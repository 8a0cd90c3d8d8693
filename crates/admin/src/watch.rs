//! Dialogues of several sessions as they grow, one piece after another.

use std::{sync::Arc, time::Duration};

use restante_proto::UserName;
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    Running,
    facts::Heard,
    routes::Which,
    stream::Pieces,
    tape::{Found, Place, Tape},
};

/// How often tapes are read at most.
const NOT_BEFORE: Duration = Duration::from_millis(50);
/// How often something is sent at least: an empty line where there is nothing to say, so that it is known who is there.
const EVERY: Duration = Duration::from_secs(10);
/// How much text of a session is sent at a time, in octets.
const PIECE_MAX_OCTETS: usize = 64 << 10;

/// After so many sessions others have their turn.
const SESSIONS_AT_ONCE: usize = 256;

/// Sends what is heard of these sessions, as lines of [`Heard`], until it is not taken any more, or the one session is over.
pub(crate) async fn dialogues(running: Arc<Running>, which: Which, to: Pieces<String>) {
    let _watching = running.hub.watch();
    let mut said = running.hub.said();
    let user = which.user.as_deref().map(UserName::new);
    let wanted =
        Wanted { session: which.session.as_deref(), user: user.as_ref().map(|user| user.as_ref().ok()) };
    for session in running.handle.sessions() {
        if wanted.may_be(&session.session, session.user.as_ref()) {
            // Those that are heard already have a tape.
            running.attach(&session.session);
        }
    }
    // Those of whom it is not known yet whether they are wanted, and those that are.
    let (mut undecided, mut followed) = (Vec::new(), Vec::new());
    let (mut begins, mut spoke) = (0, Instant::now());
    loop {
        let looked = Instant::now();
        said.borrow_and_update();
        let (tapes, now_begins) = running.hub.tapes_since(begins);
        begins = now_begins;
        undecided.extend(tapes.into_iter().filter(|tape| wanted.may_be(tape.session(), tape.user())));
        undecided.retain(|tape| {
            let decided = wanted.user.is_none() || tape.user().is_some();
            if decided && wanted.may_be(tape.session(), tape.user()) {
                followed.push(Followed::new(tape));
            }
            !decided && !tape.is_over()
        });
        for at in 0..followed.len() {
            if at % SESSIONS_AT_ONCE == SESSIONS_AT_ONCE - 1 {
                yield_now().await;
            }
            if let Some(one) = followed.get_mut(at) {
                match one.send(&to).await {
                    Ok(true) => spoke = Instant::now(),
                    Ok(false) => {}
                    Err(Gone) => return,
                }
            }
        }
        followed.retain(|one| !one.over);
        if let Some(session) = wanted.session
            && followed.is_empty()
            && undecided.is_empty()
            && running.handle.session(session).is_none()
        {
            return;
        }
        if spoke.elapsed() >= EVERY {
            if to.send("\n".into()).await.is_err() {
                return;
            }
            spoke = Instant::now();
        }
        tokio::select! {
            // Whatever is heard of others: this is looked at in time.
            _ = timeout_at(spoke + EVERY, said.changed()) => sleep_until(looked + NOT_BEFORE).await,
            () = to.closed() => return,
        }
    }
}

/// Which sessions are wanted.
struct Wanted<'a> {
    session: Option<&'a str>,
    /// Nobody, if the name is none.
    user: Option<Option<&'a UserName>>,
}

impl Wanted<'_> {
    /// Whether it may be this session, which this user has, or nobody yet.
    fn may_be(&self, session: &str, user: Option<&UserName>) -> bool {
        self.session.is_none_or(|wanted| wanted == session)
            && self.user.is_none_or(|wanted| wanted.is_some() && user.is_none_or(|user| Some(user) == wanted))
    }
}

/// A session whose text is sent.
struct Followed {
    tape: Arc<Tape>,
    place: Place,
    /// The tape's changes when it was read.
    seen: Option<u64>,
    over: bool,
}

/// Nobody takes what is sent.
struct Gone;

impl Followed {
    fn new(tape: &Arc<Tape>) -> Self {
        Self { tape: Arc::clone(tape), place: Place::default(), seen: None, over: false }
    }

    /// Sends what is new; whether there was anything.
    async fn send(&mut self, to: &Pieces<String>) -> Result<bool, Gone> {
        let changes = Some(self.tape.changes());
        let mut sent = false;
        if self.seen == changes {
            return Ok(sent);
        }
        self.seen = changes;
        while !self.over {
            let session = self.tape.session().to_owned();
            let heard = match self.tape.read(&mut self.place, PIECE_MAX_OCTETS) {
                Found::Nothing => break,
                Found::Text(text) => Heard { session, text, ended: None },
                Found::Over(why) => {
                    self.over = true;
                    Heard { session, text: String::new(), ended: Some(why) }
                }
            };
            to.send(line(&heard)).await.map_err(|_| Gone)?;
            sent = true;
        }
        Ok(sent)
    }
}

fn line(heard: &Heard) -> String {
    let mut line = serde_json::to_string(heard).unwrap_or_default();
    line.push('\n');
    line
}
