//! `restante fetch`: mail is fetched from POP3 servers, each message exactly once. How is `restante-fetch`'s business; here
//! are the options, who is told what, and when to try again.

use std::{path::PathBuf, sync::Arc, time::Duration};

use restante_client::UrlError;
use restante_fetch::{
    Mode, RunError, Stop, Summary,
    destination::{self, Promise},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{sync::Semaphore, task::JoinSet};

pub(super) use self::planned::counted;
use self::show::Show;
use crate::{
    accounts::{self, AccountKeys, Accounts, Configured, KeepKey},
    duration,
    failure::{Failure, Kind},
    password::{PasswordArgs, Source},
    runtime::{self, Threads},
    terminal::harmless_line,
    trust::TrustArgs,
};

mod every;
mod planned;
mod show;
mod signals;

/// How many accounts are fetched at a time.
const AT_ONCE_MAX: usize = 8;

/// Fetches mail from POP3 servers, each message exactly once
#[derive(clap::Args)]
#[command(after_help = after_help())]
pub(crate) struct Args {
    // Not parsed by clap, which would repeat it, and a password that stands in it, in its error.
    /// Accounts of the file, or one URL; all accounts where there are none
    #[arg(value_name = "ACCOUNT or URL")]
    what: Vec<String>,

    /// Fetches again and again, with this time in between (5m), or that of an account's `every`
    #[arg(long, value_name = "TIME", value_parser = duration::parse_long)]
    every: Option<Duration>,

    /// Shows what would be fetched and deleted, and why, and does nothing
    #[arg(long, conflicts_with = "every")]
    plan: bool,

    /// Logs in although the server refused the password lately
    #[arg(long)]
    retry_login: bool,

    /// Forgets how strong logins were so far: the server was changed, and offers less
    #[arg(long, conflicts_with = "plan")]
    forget_login: bool,

    /// The accounts' file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where it is remembered what was fetched [default: ~/.local/state/restante]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Writes the session to this file, with times and without secrets; further ones beside it
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,

    /// Prints what happens as JSON, one object a line
    #[arg(long)]
    json: bool,

    /// Says nothing but what goes wrong
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,

    /// Where the mail of a URL goes
    #[arg(long, value_name = "DESTINATION", help_heading = "With a URL")]
    to: Option<String>,

    /// What stays on the server: true, false (deleted once delivered), or a time behind the delivery [default: true]
    #[arg(long, value_name = "KEEP", help_heading = "With a URL")]
    keep: Option<String>,

    /// Leaves longer messages where they are: 50MiB
    #[arg(long, value_name = "SIZE", help_heading = "With a URL")]
    max_size: Option<String>,

    /// Logs in this way: a SASL mechanism, USER or APOP, instead of the strongest on offer
    #[arg(long, value_name = "NAME", help_heading = "With a URL")]
    mechanism: Option<String>,

    /// Logs in by nothing weaker: password, scram or scram-plus [default: as strong as the logins before]
    #[arg(long, value_name = "STRENGTH", help_heading = "With a URL")]
    minimum: Option<String>,

    /// How long to wait for an answer, or for more of it [default: 3m]
    #[arg(long, value_name = "TIME", help_heading = "With a URL")]
    timeout: Option<String>,

    /// Waits for each answer before the next command, even if the server allows otherwise
    #[arg(long, help_heading = "With a URL")]
    no_pipelining: bool,

    #[command(flatten, next_help_heading = "With a URL")]
    password: PasswordArgs,

    #[command(flatten, next_help_heading = "With a URL")]
    trust: TrustArgs,

    /// Takes the destination's password from the first line that this shell command prints
    #[arg(long, value_name = "CMD", help_heading = "With a URL", group = "to-password")]
    to_password_command: Option<String>,

    /// Takes the destination's password from this environment variable
    #[arg(long, value_name = "NAME", help_heading = "With a URL", group = "to-password")]
    to_password_env: Option<String>,

    /// Takes the destination's password from the first line of this file
    #[arg(long, value_name = "FILE", help_heading = "With a URL", group = "to-password")]
    to_password_file: Option<PathBuf>,

    /// Trusts the certificates of this file (PEM) for the destination
    #[arg(long, value_name = "FILE", help_heading = "With a URL")]
    to_ca_file: Option<PathBuf>,
}

/// The destinations are those of the registry, so that no new one can be forgotten here.
fn after_help() -> String {
    let mut text = String::from("Destinations (--to):\n");
    for kind in destination::KINDS {
        let promise = match kind.promise {
            Promise::ExactlyOnce => "exactly once",
            Promise::AtLeastOnce(_) => "at least once",
        };
        text.push_str(&format!("  {}\n      {}; {promise}\n", kind.example, kind.help));
    }
    text.push_str(
        "
Accounts stand in ~/.config/restante/fetch.toml:
  [accounts.gmx]
  url = \"pop3s://john@pop.gmx.net\"
  password_command = \"pass show mail/gmx\"
  to = \"maildir:~/Mail\"
  keep = \"30d\"

Exit status: 0 done, 1 something failed or is set aside, 2 wrong usage.

Examples:
  restante fetch pop3s://john@pop.example.org --to maildir:~/Mail
  restante fetch pop3s://john@pop.example.org --to maildir:~/Mail --keep 30d --plan
  restante fetch                      # all accounts of the file
  restante fetch gmx work --every 5m",
    );
    text
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let accounts = args.accounts()?;
    raise_file_limit();
    let transcript = args.transcript.as_deref().map(accounts::transcript);
    let show = Show::new(args.json, args.quiet, accounts.iter().map(|account| account.name.as_str()));
    // Passwords are asked for, and destinations opened, before anything begins.
    let mut opened = Vec::new();
    let mut failed = false;
    let alone = accounts.len() == 1 && args.every.is_none();
    for configured in accounts {
        match configured.open(transcript.as_ref()).map_err(|failure| failure.of(&configured.name)) {
            Ok(account) => opened.push((configured, Ok(account))),
            Err(failure) if alone => return Err(failure),
            // One account that cannot be opened stops no other; under --every it is tried again.
            Err(failure) => {
                show.eprint(&failure.render_now());
                failed = args.every.is_none();
                opened.push((configured, Err(failure)));
            }
        }
    }
    if args.forget_login {
        for account in opened.iter().filter_map(|(_, account)| account.as_ref().ok()) {
            let forgotten = runtime::block_on(Threads::One, restante_fetch::forget_login(account))?;
            forgotten.map_err(|error| told(&account.name, &error))?;
        }
    }
    let threads = if opened.len() > 1 { Threads::Many } else { Threads::One };
    let stop = Stop::default();
    let mode = if args.retry_login { Mode::FetchNow } else { Mode::Fetch };
    if args.plan {
        let planned = runtime::block_on(threads, async {
            tokio::spawn(signals::watch(stop.clone()));
            planned::show(&opened, &show, &stop).await
        })?;
        return planned.and(if failed { Err(Failure::silent(Kind::Failed)) } else { Ok(()) });
    }
    // The runs have ended when this has, so that nothing is on its way to a destination any more.
    failed |= runtime::block_on(threads, async {
        tokio::spawn(signals::watch(stop.clone()));
        let (mut runs, room) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE_MAX)));
        for (configured, account) in opened {
            let (show, stop, room) = (show.clone(), stop.clone(), Arc::clone(&room));
            // Each account has its own pace, if it says so.
            let every = args.every.map(|every| configured.every.unwrap_or(every));
            let transcript = transcript.clone();
            runs.spawn(async move {
                match (every, account) {
                    (Some(every), account) => {
                        let source = every::Source { configured, transcript, account: account.ok() };
                        every::fetch(source, every, mode, &show, &stop, &room).await
                    }
                    (None, Ok(account)) => once(&account, mode, &show, &stop, &room).await,
                    // It was told.
                    (None, Err(_)) => false,
                }
            });
        }
        let mut failed = false;
        while let Some(ended) = runs.join_next().await {
            failed |= !ended.unwrap_or(false);
        }
        failed
    })?;
    show.close()?;
    if failed { Err(Failure::silent(Kind::Failed)) } else { Ok(()) }
}

/// Lets the process have as many files as it may: each message on its way is one, and there may be some hundred of each
/// account. Where it may not, batches are smaller.
fn raise_file_limit() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap_or_default();
}

/// One run, told; whether all is well.
async fn once(
    account: &restante_fetch::Account,
    mode: Mode,
    show: &Show,
    stop: &Stop,
    room: &Semaphore,
) -> bool {
    // It is never closed.
    let _place = room.acquire().await;
    let ended = restante_fetch::run(account, mode, show.account(&account.name), stop).await;
    show.ended(&account.name, &ended);
    ended.is_ok_and(|summary| is_well(&summary))
}

const fn is_well(summary: &Summary) -> bool {
    summary.stuck == 0 && summary.not_deleted.is_none()
}

impl Args {
    /// The accounts that are meant.
    fn accounts(&self) -> Result<Vec<Configured>, Failure> {
        if self.forget_login && self.what.is_empty() {
            // One server that was changed is no reason to trust all the others less.
            return Err(Failure::usage("--forget-login goes with an account, or a URL")
                .hint("restante fetch --forget-login ACCOUNT"));
        }
        let url = |what: &&String| what.contains("://");
        if self.what.iter().any(|what| url(&what)) {
            let [what] = self.what.as_slice() else {
                return Err(Failure::usage("one URL at a time; several accounts stand in a file")
                    .hint(accounts::EXAMPLE));
            };
            return Ok(vec![Configured::of_url(
                &self.keys(what)?,
                self.trust.options(),
                self.state.as_deref(),
            )?]);
        }
        if let Some(option) = self.option_of_a_url() {
            return Err(match self.what.as_slice() {
                [] => Failure::usage(format!(
                    "{option} goes with a URL: restante fetch pop3s://user@host --to DESTINATION"
                )),
                _ => {
                    Failure::usage(format!("{option} goes with a URL; for an account it stands in the file"))
                }
            });
        }
        Accounts::read(self.config.as_deref(), self.state.as_deref())?.named(&self.what)
    }

    /// An option that means nothing for an account of the file.
    fn option_of_a_url(&self) -> Option<&'static str> {
        [
            ("--to", self.to.is_some()),
            ("--keep", self.keep.is_some()),
            ("--max-size", self.max_size.is_some()),
            ("--mechanism", self.mechanism.is_some()),
            ("--minimum", self.minimum.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--no-pipelining", self.no_pipelining),
            ("--password-command, --password-env or --password-file", self.password.source().is_some()),
            ("--ca-file, --pin, --insecure, --client-certificate or --tls13", self.trust.is_given()),
            ("--to-ca-file", self.to_ca_file.is_some()),
            ("--to-password-command", self.to_password_command.is_some()),
            ("--to-password-env", self.to_password_env.is_some()),
            ("--to-password-file", self.to_password_file.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }

    fn keys(&self, url: &str) -> Result<AccountKeys, Failure> {
        if self.config.is_some() {
            return Err(Failure::usage("--config goes with accounts, not with a URL"));
        }
        let (mut password_command, mut password_env, mut password_file) = (None, None, None);
        match self.password.source() {
            Some(Source::Command(command)) => password_command = Some(command),
            Some(Source::Environment(name)) => password_env = Some(name),
            Some(Source::File(file)) => password_file = Some(file),
            None => {}
        }
        if restante_client::Url::parse(url) == Err(UrlError::Password) {
            return Err(UrlError::Password.into());
        }
        Ok(AccountKeys {
            url: url.to_owned(),
            to: self.to.clone().ok_or_else(|| {
                Failure::usage("where does the mail go? --to is missing").hint("--to maildir:~/Mail")
            })?,
            password_command,
            password_env,
            password_file,
            keep: self.keep.clone().map_or_else(KeepKey::default, KeepKey::Text),
            max_size: self.max_size.clone(),
            mechanism: self.mechanism.clone(),
            minimum: self.minimum.clone(),
            timeout: self.timeout.clone(),
            pipelining: self.no_pipelining.then_some(false),
            to_password_command: self.to_password_command.clone(),
            to_password_env: self.to_password_env.clone(),
            to_password_file: self.to_password_file.clone(),
            to_ca_file: self.to_ca_file.clone(),
            ..AccountKeys::default()
        })
    }
}

/// What to say where a run failed, and what to do about it.
pub(super) fn told(name: &str, error: &RunError) -> Failure {
    let failure = match error {
        RunError::Client(error) => Failure::from_client(error),
        RunError::Credentials(error) => Failure::failed(harmless_line(&error.to_string()))
            .hint("is the password right? It is tried again later and later, or at once with --retry-login"),
        RunError::TokenRefused(error) => Failure::failed(harmless_line(&error.to_string())).hint(
            "the server does not take this account's tokens: is the user's name right, and is POP3 turned on for the account?",
        ),
        error @ RunError::Weaker { .. } => Failure::failed(harmless_line(&error.to_string())).hint(
            format!("nothing was sent. If the server was changed by those who run it, «restante fetch --forget-login {}»{} takes what it offers now", harmless_line(name), match name.contains('@') {
                // One of the command line is called so.
                true => ", or with its URL in place of the name,",
                false => "",
            }),
        ),
        // It says what to do.
        RunError::Token(error) => Failure::failed(harmless_line(&error.text)),
        error @ RunError::Held { .. } => Failure::failed(harmless_line(&error.to_string()))
            .hint("«restante account check» tries at once, and so does --retry-login"),
        error => Failure::failed(harmless_line(&error.to_string())),
    };
    failure.of(name)
}

#[cfg(test)]
mod tests {
    use restante_client::{Error, Strength};

    use super::*;

    #[test]
    fn one_account_is_forgotten_and_not_all() {
        let error = Error::TooWeak { minimum: Strength::Keys, offers: "it offers PLAIN".into() };
        let told = told("gmx", &RunError::Weaker { seconds: 60, error }).render_now();
        assert!(told.contains("«restante fetch --forget-login gmx»"), "{told}");
    }
}
