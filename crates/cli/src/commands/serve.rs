//! `restante serve`: the server in the foreground, its signals, and its reload.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args as ClapArgs;
use restante_admin::Doors;
use restante_auth::Verifier;
use restante_server::{
    Cleartext, Config, Handle, Limits, Observer, Port, Server, Settings as ServerSettings, Transcripts,
};
use restante_store::{MaildirStore, MemoryStore, Store, maildir};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::{
    directories::Opened,
    failure::Failure,
    logging,
    settings::{self, Loaded, Settings, document::Places},
};

mod demo;
mod page;

use page::Page;

/// The POP3 server, in the foreground.
///
/// SIGTERM and SIGINT stop it in good order: nobody logs in any more, and sessions may reach QUIT for some seconds.
/// SIGHUP reads configuration and certificates again; sessions that are on go on with the old ones.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  restante serve --demo                    try it: sample mail, a password made for you
  restante serve                           serve as /etc/restante/restante.toml says
  restante serve --config restante.toml    serve as another file says
  kill -HUP $(pidof restante)              read configuration and certificates again")]
pub(crate) struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = settings::DEFAULT_FILE, conflicts_with = "demo")]
    config: PathBuf,
    /// Serve sample mail from memory on 127.0.0.1, with a generated password and a self-signed certificate.
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    places: demo::Places,
}

/// Serves until a signal stops it.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    if args.demo {
        return demo::run(&args.places);
    }
    let loaded = settings::load(&args.config)?;
    logging::start(&loaded.settings.log);
    let places = loaded.places.clone();
    let mut parts = Parts::new(loaded, None)?;
    parts.warn(&places);
    raise_file_limit(&parts.settings);
    let served = serve(
        parts.config.clone(),
        &Arc::clone(&parts.page),
        |_, _| Ok(()),
        async |handle| {
            // A configuration that is wrong changes nothing.
            match reload(handle, &args.config, &parts).await {
                Ok(fresh) => {
                    parts = fresh;
                    info!("configuration and certificates were read again");
                }
                Err(failure) => error!("the configuration stays as it was: {failure}"),
            }
        },
    );
    finish(parts.transcripts.as_ref());
    served
}

/// How long the end waits for transcripts to be written.
const TRANSCRIPTS_PATIENCE: Duration = Duration::from_secs(5);

/// Lets the transcripts of sessions that have just ended be written.
fn finish(transcripts: Option<&Transcripts>) {
    if transcripts.is_some_and(|transcripts| !transcripts.written(TRANSCRIPTS_PATIENCE)) {
        warn!("the last transcripts are not complete: writing them takes too long");
    }
}

/// Lets the process have as many files as it may.
fn raise_file_limit(settings: &Settings) {
    let files = getrlimit(Resource::Nofile);
    if files.current != files.maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
        if let Err(error) = raised {
            warn!(error = error.to_string().as_str(), "the limit of open files cannot be raised");
        }
    }
    let wanted = files_wanted(settings);
    if let Some(files) = getrlimit(Resource::Nofile).current.filter(|&files| files < wanted) {
        warn!(
            files,
            wanted,
            "limits.connections is more than the limit of open files allows (systemd: LimitNOFILE, shell: ulimit -n)"
        );
    }
}

/// How many files may be open at once: each connection is one, a maildrop that is open another, and a transcript a third;
/// then those who look at the server.
fn files_wanted(settings: &Settings) -> u64 {
    let each = 2 + u64::from(settings.log.transcripts.is_some());
    let doors = if settings.listen.admin.is_empty() { 0 } else { Doors::CONNECTIONS_MAX as u64 };
    each * u64::from(settings.limits.connections) + doors + 64
}

/// Reads the configuration again and gives it to the server.
async fn reload(handle: &Handle, file: &Path, parts: &Parts) -> Result<Parts, Failure> {
    let loaded = tokio::task::block_in_place(|| settings::load(file))?;
    let access = tokio::task::block_in_place(|| page::access(&loaded))?;
    let fresh = tokio::task::block_in_place(|| Parts::new(loaded.clone(), Some(parts)))?;
    handle.reload(fresh.config.clone()).await.map_err(|error| Failure::failed(error.to_string()))?;
    fresh.directories.reload().await;
    fresh.warn(&loaded.places);
    fresh.page.reload(loaded, access);
    Ok(fresh)
}

/// How many threads may wait for disks at once, or read and remove large maildrops; what comes beyond waits its turn.
const STORE_THREADS_MAX: usize = 128;

/// Runs a server and its page until SIGTERM or SIGINT; a second one does not wait for sessions. `ready` hears where they
/// listen, `hangup` is called at each SIGHUP.
fn serve(
    config: Config,
    page: &Page,
    ready: impl FnOnce(&[(SocketAddr, Port)], &Doors) -> Result<(), Failure>,
    mut hangup: impl AsyncFnMut(&Handle),
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(STORE_THREADS_MAX)
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    let served = runtime.block_on(async {
        let hear =
            |kind| signal(kind).map_err(|error| Failure::failed(format!("signals cannot be heard: {error}")));
        let (mut terminate, mut interrupt) = (hear(SignalKind::terminate())?, hear(SignalKind::interrupt())?);
        let mut hung_up = hear(SignalKind::hangup())?;
        let server = Server::bind(config).map_err(|error| Failure::failed(error.to_string()))?;
        let addresses = server.addresses();
        for (address, port) in &addresses {
            info!("listening on {address} ({port})");
        }
        let doors = page.open()?;
        ready(&addresses, &doors)?;
        let handle = server.handle();
        let shown = page.show(doors, handle.clone());
        let mut serving = tokio::spawn(server.run());
        let ended = loop {
            tokio::select! {
                _ = terminate.recv() => handle.stop().await,
                _ = interrupt.recv() => handle.stop().await,
                _ = hung_up.recv() => hangup(&handle).await,
                ended = &mut serving => break ended,
            }
        };
        // Who watches sees the last sessions end, and does not keep the process.
        shown.end().await;
        ended.map_err(|error| Failure::failed(format!("the server failed: {error}")))
    });
    // What was committed is durable; a read that hangs in the store is not waited for.
    runtime.shutdown_background();
    served
}

/// A server's parts, and the settings that they were made from.
struct Parts {
    settings: Settings,
    config: Config,
    directories: Opened,
    /// What the verifier was made with.
    verification: restante_auth::Settings,
    page: Arc<Page>,
    /// What writes transcripts, or did before a reload.
    transcripts: Option<Transcripts>,
}

impl Parts {
    /// Makes the parts; what the settings name is read, and must be there. A store and a directory whose settings are
    /// what they were stay: mail in memory, and the memory of who guessed passwords, outlive a reload.
    fn new(loaded: Loaded, before: Option<&Self>) -> Result<Self, Failure> {
        let page = match before {
            Some(before) => Arc::clone(&before.page),
            None => Arc::new(Page::of_settings(&loaded)?),
        };
        let Loaded { settings, places } = loaded;
        let tls = settings::check::tls(&settings, &places)
            .map_err(|problem| settings::fail(&places, &[problem]))?;
        for problem in settings::check::roots(&settings, &places) {
            // It may be mounted yet; until then opening a maildrop is told as a failure.
            warn!("{}", places.tell(&problem));
        }
        for problem in settings::check::risks(&settings, &places) {
            warn!("{}", places.tell(&problem));
        }
        if let Some(problem) = settings::check::transcripts(&settings, &places) {
            return Err(settings::fail(&places, &[problem]));
        }
        let writer = before.and_then(|before| before.transcripts.as_ref());
        let transcripts = match (&settings.log.transcripts, writer) {
            (Some(folder), Some(writer)) => Some(writer.moved(folder)),
            (Some(folder), None) => Some(transcripts(folder)?),
            (None, writer) => writer.cloned(),
        };
        let written_down = transcripts.clone().filter(|_| settings.log.transcripts.is_some());
        let limits = &settings.limits;
        let same_store = |before: &&Self| {
            before.settings.store() == settings.store()
                && before.settings.limits.message_octets == limits.message_octets
                && before.settings.limits.index_octets == limits.index_octets
        };
        let store = match before.filter(same_store) {
            Some(before) => Arc::clone(&before.config.store),
            None => store(&settings),
        };
        let opened = before.map(|before| (&before.settings, &before.directories));
        let directories = Opened::new(&settings, &places, opened)?;
        let salt_key = settings::salt_key::read(&settings, &places)
            .map_err(|problem| settings::fail(&places, &[problem]))?;
        let verification = restante_auth::Settings { salt_key, ..verification(&settings) };
        let same_users =
            |before: &&Self| before.directories.is_same(&directories) && before.verification == verification;
        let verifier = match before.filter(same_users) {
            Some(before) => Arc::clone(&before.config.verifier),
            None => Arc::new(Verifier::of(directories.all(), &verification)),
        };
        let config = Config {
            settings: ServerSettings {
                hostname: settings.hostname(),
                pop3: settings.listen.pop3.clone(),
                pop3s: settings.pop3s(),
                proxied_pop3: settings.listen.proxied_pop3.clone(),
                proxied_pop3s: settings.listen.proxied_pop3s.clone(),
                proxies: settings.listen.proxies.clone(),
                cleartext: match settings.auth.cleartext {
                    settings::Cleartext::Never => Cleartext::Never,
                    settings::Cleartext::Loopback => Cleartext::Loopback,
                    settings::Cleartext::Always => Cleartext::Always,
                },
                apop: settings.auth.apop,
                mechanisms: settings.auth.mechanisms.clone(),
                limits: bounds(limits),
            },
            tls,
            store,
            verifier,
            observers: observers(written_down, &page),
        };
        Ok(Self { settings, config, directories, verification, page, transcripts })
    }

    /// Tells what works and should be known of the directories, as they are now.
    fn warn(&self, places: &Places) {
        if let Some(problem) = self.directories.salts_betray(&self.settings, places) {
            warn!("{}", places.tell(&problem));
        }
    }
}

fn transcripts(folder: &Path) -> Result<Transcripts, Failure> {
    Transcripts::in_folder(folder)
        .map_err(|error| Failure::failed(format!("cannot start the thread that writes transcripts: {error}")))
}

/// Who hears of sessions.
fn observers(transcripts: Option<Transcripts>, page: &Page) -> Vec<Arc<dyn Observer>> {
    let transcripts = transcripts.map(|transcripts| Arc::new(transcripts) as Arc<dyn Observer>);
    transcripts.into_iter().chain(page.observers()).collect()
}

fn store(settings: &Settings) -> Arc<dyn Store> {
    let limits = &settings.limits;
    match settings.store() {
        settings::Store::Memory => Arc::new(MemoryStore::with_message_limit(limits.message_octets)),
        settings::Store::Maildir(template) => {
            let options = maildir::Options {
                message_limit_octets: Some(limits.message_octets),
                index_max_octets: limits.index_octets,
            };
            Arc::new(MaildirStore::new(template, options))
        }
    }
}

fn verification(settings: &Settings) -> restante_auth::Settings {
    let limits = &settings.limits;
    restante_auth::Settings {
        threads: limits.verification_threads(),
        queue: limits.verification_queue,
        failure_delay_first: seconds(limits.failure_delay_seconds),
        failure_delay_max: seconds(limits.failure_delay_max_seconds),
        failures_forgotten_after: seconds(limits.failure_memory_seconds),
        waiting_per_address: limits.delayed_answers_per_address,
        logins_per_minute_per_address: limits.logins_per_minute_per_address,
        failed_logins_per_minute_per_user: limits.failed_logins_per_minute_per_user,
        logins_per_second: limits.logins_per_second,
        cache: seconds(settings.auth.cache_seconds),
        salt_key: None,
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn bounds(limits: &settings::Limits) -> Limits {
    Limits {
        connections: limits.connections as usize,
        connections_per_address: limits.connections_per_address as usize,
        login: seconds(limits.login_seconds),
        idle: seconds(limits.idle_seconds),
        tls_handshake: seconds(limits.tls_handshake_seconds),
        write: seconds(limits.write_seconds),
        drain: seconds(limits.drain_seconds),
        takeover_idle: limits.takeover_idle_seconds().map_or(Duration::ZERO, seconds),
        login_delay: seconds(limits.login_delay_seconds),
        login_failures: limits.login_failures,
        bad_commands: limits.bad_commands,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_look_at_the_server_have_files_too() {
        let mut settings = Settings::default();
        let with_doors = files_wanted(&settings);
        assert!(!settings.listen.admin.is_empty());
        settings.listen.admin.clear();
        assert_eq!(with_doors, files_wanted(&settings) + 512);
        assert_eq!(files_wanted(&settings), 2 * u64::from(settings.limits.connections) + 64);
    }
}
