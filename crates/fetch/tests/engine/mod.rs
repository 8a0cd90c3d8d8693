//! Runs of the engine for tests: an account at a server on loopback, its journal, its destination, and what happened.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)] // tests: a panic is the report; each test uses a part

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use restante_client::{Credentials, Options, Timeouts, Url};
use restante_fetch::{
    Account, Event, Keep, Mode, Patience, Policy, RunError, Stop, Summary,
    destination::{Destination, Spec, conformance::Fixture as _},
    journal::{Journal, Stage, State},
};
use restante_testkit::evil::{EvilServer, Mail, PASSWORD, USER};
use tempfile::TempDir;

use crate::support::{Files, World, open_at, path};

/// An account, and all that it has on disk.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) account: Account,
}

/// How a run went, and what was told.
pub(crate) struct Ran {
    pub(crate) ended: Result<Summary, RunError>,
    pub(crate) events: Vec<Event>,
}

impl Ran {
    /// All that a person was told.
    pub(crate) fn told(&self) -> String {
        let mut told = String::new();
        for event in &self.events {
            match event {
                Event::Warning { text } => told += &format!("warning: {text}\n"),
                Event::Again { why } => told += &format!("again: {why}\n"),
                Event::SetAside { number, why, .. } => told += &format!("set aside: {number}: {why}\n"),
                _ => {}
            }
        }
        match &self.ended {
            Ok(Summary { not_deleted: Some(why), .. }) => told += &format!("not deleted: {why}\n"),
            Ok(_) => {}
            Err(error) => told += &format!("error: {error}\n"),
        }
        told
    }

    pub(crate) fn summary(&self) -> &Summary {
        self.ended.as_ref().unwrap_or_else(|error| panic!("{error}\n{}", self.told()))
    }
}

/// A folder where `fsync` costs nothing, if there is one: thousands of runs are made.
pub(crate) fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Desk {
    pub(crate) fn new(server: SocketAddr, files: Files, keep: Keep) -> Self {
        Self::at(server, World { folder: quick_folder(), files }, keep)
    }

    pub(crate) fn at(server: SocketAddr, world: World, keep: Keep) -> Self {
        let destination = Arc::from(open_at(world.folder.path(), world.files).unwrap());
        let account = account(server, destination, world.folder.path(), keep);
        Self { world, account }
    }

    /// The same with another server, as when it moves, or comes to be good.
    pub(crate) fn at_server(&mut self, server: SocketAddr) -> &mut Self {
        self.account.url = url(server);
        self
    }

    /// A run in a process that starts anew.
    pub(crate) fn run(&self) -> Ran {
        let destination = Arc::from(open_at(self.world.folder.path(), self.world.files).unwrap());
        run(&Account { destination, ..self.account.clone() })
    }

    pub(crate) fn state(&self) -> State {
        Journal::look(&self.account.journal).unwrap().unwrap_or_default()
    }

    /// How often each message is there, by what it holds.
    pub(crate) fn there(&self) -> BTreeMap<String, usize> {
        counted(self.world.messages())
    }

    /// How often each of these messages should be there: once for each time that it is among them.
    pub(crate) fn wanted(&self, mail: &Mail) -> BTreeMap<String, usize> {
        counted(mail.messages().iter().map(|message| self.world.form(&message.octets)).collect())
    }

    /// Each message is there once, octet for octet, and nothing is left of attempts.
    pub(crate) fn assert_exactly(&self, mail: &Mail, case: &str) {
        assert_eq!(self.there(), self.wanted(mail), "{case}: what is there");
        assert_eq!(self.leftovers(), Vec::<String>::new(), "{case}: left over");
    }

    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut left = self.world.leftovers();
        left.retain(|name| name != "journal" && name != "ca.pem");
        left
    }

    /// Whatever the server has removed is at the destination.
    pub(crate) fn assert_nothing_lost(&self, server: &EvilServer, case: &str) {
        let there = self.there();
        let committed = server.committed();
        for message in server.mail().messages() {
            let text = self.world.form(&message.octets).escape_ascii().to_string();
            let gone = committed.contains(&message.id);
            assert!(!gone || there.contains_key(&text), "{case}: {} is lost", message.id);
        }
    }

    /// The journal has no open intent, and as many delivered messages as this.
    pub(crate) fn assert_journal(&self, delivered: usize, case: &str) {
        let state = self.state();
        let open = state.iter().filter(|(_, known)| matches!(known.stage, Stage::Intent(_))).count();
        assert_eq!(open, 0, "{case}: intents without an end");
        let done = state.iter().filter(|(_, known)| matches!(known.stage, Stage::Delivered | Stage::Deleted));
        assert_eq!(done.count(), delivered, "{case}: what the journal knows as delivered");
    }
}

fn counted(messages: Vec<Vec<u8>>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for message in messages {
        *counted.entry(message.escape_ascii().to_string()).or_default() += 1;
    }
    counted
}

pub(crate) fn url(server: SocketAddr) -> Url {
    Url::parse(&format!("pop3://127.0.0.1:{}?tls=none", server.port())).unwrap()
}

pub(crate) fn account(
    server: SocketAddr,
    destination: Arc<dyn Destination>,
    folder: &Path,
    keep: Keep,
) -> Account {
    let timeouts = Timeouts { answer: Duration::from_millis(400), ..Timeouts::default() };
    Account {
        name: "mara".into(),
        url: url(server),
        credentials: Credentials::new(USER, PASSWORD.as_bytes().to_vec()),
        way: None,
        minimum: None,
        tokens: None,
        options: Options { cleartext_passwords: true, timeouts, ..Options::default() },
        policy: Policy { keep, max_octets: None },
        destination,
        to: "here".into(),
        journal: folder.join("journal"),
    }
}

pub(crate) fn destination(spec: &str) -> Arc<dyn Destination> {
    Arc::from(restante_fetch::destination::open(&Spec::parse(spec).unwrap()).unwrap())
}

/// A run that does not wait.
pub(crate) fn run(account: &Account) -> Ran {
    run_until(account, &Stop::default(), |_| {})
}

/// A run that may be told to stop, by what it tells.
pub(crate) fn run_until(
    account: &Account,
    stop: &Stop,
    watch: impl Fn(&Event) + Send + Sync + 'static,
) -> Ran {
    let patience = Patience { pauses: vec![Duration::ZERO; 3], retry_aside: true };
    run_with(account, Mode::FetchNow, &patience, stop, watch)
}

pub(crate) fn run_with(
    account: &Account,
    mode: Mode,
    patience: &Patience,
    stop: &Stop,
    watch: impl Fn(&Event) + Send + Sync + 'static,
) -> Ran {
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&events);
    let report = Arc::new(move |event: &Event| {
        kept.lock().unwrap().push(event.clone());
        watch(event);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(restante_fetch::run_with(account, mode, patience, report, stop));
    let events = std::mem::take(&mut *events.lock().unwrap());
    Ran { ended, events }
}

/// The destination's path.
pub(crate) fn place(desk: &Desk) -> std::path::PathBuf {
    path(desk.world.folder.path(), desk.world.files)
}
