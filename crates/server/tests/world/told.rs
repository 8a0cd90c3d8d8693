//! Observers that write down what they hear of a server.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use restante_proto::{dialogue::Event, phase::Phase, verb::Verb};
use restante_server::{Begun, Happening, Observer, SessionFacts, Watch};
use tokio::time::timeout;

use super::{PATIENCE, Plan, Running};

/// Verb and status of commands, how many there were, and how long each took.
pub(crate) type Answers = (Option<Verb>, bool, u32, Duration);

/// Writes down what happens, and how long answers took.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) lines: Mutex<Vec<String>>,
    pub(crate) answers: Mutex<Vec<Answers>>,
    pub(crate) waits: Mutex<Vec<Duration>>,
    /// What was known of sessions when they ended.
    pub(crate) ends: Mutex<Vec<SessionFacts>>,
}

impl Observer for Told {
    fn begin(&self, _: &Begun<'_>) -> Option<Box<dyn Watch>> {
        None
    }

    fn happened(&self, happening: &Happening<'_>) {
        let line = match *happening {
            Happening::Connected { port } => format!("connected {port}"),
            Happening::Refused { limit } => format!("refused {limit}"),
            Happening::Secured { tls } => format!("secured {}", tls.version),
            Happening::NotSecured => "not secured".to_owned(),
            Happening::Login { mechanism, result } => format!("login {mechanism} {}", result.name()),
            Happening::Lock { result, waited } => {
                self.waits.lock().unwrap().push(waited);
                format!("lock {}", result.name())
            }
            Happening::Answered { verb, ok, commands, each } => {
                self.answers.lock().unwrap().push((verb, ok, commands, each));
                format!("{} {ok} {commands}", verb.map_or("none", Verb::word))
            }
            Happening::Ended { session, reason, why } => {
                self.ends.lock().unwrap().push(session.clone());
                format!("ended {}: {why}; {} commands", reason.name(), session.commands)
            }
            _ => format!("{happening:?}"),
        };
        self.lines.lock().unwrap().push(line);
    }
}

impl Told {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Those that begin so.
    pub(crate) fn of(&self, start: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.starts_with(start)).collect()
    }

    /// What is left to tell has been told once this is.
    pub(crate) async fn tells(&self, start: &str, times: usize) {
        until(&format!("{start} {times} times"), || self.of(start).len() >= times).await;
    }
}

pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let so = timeout(PATIENCE, async {
        while !is() {
            tokio::task::yield_now().await;
        }
    });
    assert!(so.await.is_ok(), "{what}");
}

pub(crate) fn told(mut plan: Plan) -> (Running, Arc<Told>) {
    let told = Arc::<Told>::default();
    plan.observers.push(Arc::clone(&told) as _);
    (plan.start(), told)
}

/// Hears sessions that it is attached to.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    pub(crate) text: Arc<Mutex<String>>,
    pub(crate) joined: Arc<Mutex<Vec<Option<Phase>>>>,
    /// So many events are heard and no more.
    pub(crate) enough: Option<usize>,
}

struct Ear {
    text: Arc<Mutex<String>>,
    left: Option<usize>,
}

impl Observer for Ears {
    fn begin(&self, session: &Begun<'_>) -> Option<Box<dyn Watch>> {
        self.joined.lock().unwrap().push(session.joined());
        Some(Box::new(Ear { text: Arc::clone(&self.text), left: self.enough }))
    }
}

impl Watch for Ear {
    fn events(&mut self, events: &[Event]) -> ControlFlow<()> {
        let mut text = self.text.lock().unwrap();
        for event in events {
            *text += &format!("{}\n", Event::new(event.kind.clone()));
        }
        match &mut self.left {
            Some(left) => {
                *left = left.saturating_sub(events.len());
                if *left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn ended(&mut self, why: &str) {
        *self.text.lock().unwrap() += &format!("ended: {why}\n");
    }
}

impl Ears {
    pub(crate) fn attach(self: &Arc<Self>, running: &Running) {
        let sessions = running.handle.sessions();
        assert!(running.handle.attach(&sessions[0].session, Arc::clone(self) as _));
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    pub(crate) async fn joined(&self) -> Option<Phase> {
        until("it is heard", || !self.joined.lock().unwrap().is_empty()).await;
        self.joined.lock().unwrap()[0]
    }

    pub(crate) async fn ended(&self) -> Vec<String> {
        until("its end is heard", || self.text().contains("ended: ")).await;
        self.text().lines().map(str::to_owned).collect()
    }
}
