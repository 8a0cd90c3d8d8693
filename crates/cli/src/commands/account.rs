//! `restante account`: the accounts of `fetch`: what is configured, whether it works, what was moved and what is stuck, and
//! who is signed in.

use std::{path::PathBuf, sync::Arc};

use restante_fetch::{
    Event, Keep, Report, Stop,
    journal::{self, Journal, Key, Known, Stage, State},
    plan::{Action, Span},
};
use serde_json::{Value, json};

use crate::{
    accounts::{Accounts, Configured},
    failure::{Failure, Kind},
    output,
    runtime::{self, Threads},
    terminal::{harmless_json, harmless_line},
};

use super::fetch::{counted, told};

mod login;

/// The accounts of `fetch`: what is configured, whether it works, what is stuck
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante account list
  restante account check gmx
  restante account status --json")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: ActionArgs,
}

#[derive(clap::Subcommand)]
enum ActionArgs {
    /// Lists the accounts of the file
    #[command(after_help = "Example:\n  restante account list")]
    List(Which),
    /// Logs in everywhere, and says what is there; nothing is fetched or changed
    #[command(after_help = "Example:\n  restante account check gmx work")]
    Check(Which),
    /// Says what was moved, what is stuck and why, without asking any server
    #[command(after_help = "Example:\n  restante account status")]
    Status(Which),
    /// Signs in by OAuth, without a password: by a browser here, or by a code on another device
    #[command(
        after_help = "Examples:\n  restante account login gmail\n  restante account login work --device"
    )]
    Login(login::Args),
    /// Forgets the tokens of an account
    #[command(after_help = "Example:\n  restante account logout gmail")]
    Logout(login::One),
}

/// Which accounts.
#[derive(clap::Args)]
struct Which {
    /// Accounts of the file; all where there are none
    #[arg(value_name = "ACCOUNT")]
    names: Vec<String>,

    /// The accounts' file [default: ~/.config/restante/fetch.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where it is remembered what was fetched [default: ~/.local/state/restante]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Prints JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Which {
    fn accounts(&self) -> Result<Vec<Configured>, Failure> {
        Accounts::read(self.config.as_deref(), self.state.as_deref())?.named(&self.names)
    }

    /// Prints an object, or the text for people.
    fn print(&self, object: &Value, text: &str) -> Result<(), Failure> {
        if self.json {
            output::print(&(harmless_json(&object.to_string()) + "\n"))
        } else {
            output::print(text)
        }
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        ActionArgs::List(which) => list(&which),
        ActionArgs::Check(which) => check(&which),
        ActionArgs::Status(which) => status(&which),
        ActionArgs::Login(args) => login::login(&args),
        ActionArgs::Logout(one) => login::logout(&one),
    }
}

fn list(which: &Which) -> Result<(), Failure> {
    let accounts = which.accounts()?;
    let width = accounts.iter().map(|account| account.name.len()).max().unwrap_or(0);
    for Configured { name, url, to, policy, every, .. } in &accounts {
        let user = url.user.as_deref().unwrap_or_default();
        let object = json!({
            "account": name,
            "server": url.to_string(),
            "user": user,
            "to": to,
            "keep": policy.keep.to_string(),
            "max_octets": policy.max_octets,
            "every_seconds": every.map(|every| every.as_secs()),
        });
        let text = format!("{name:<width$}  {user} at {url}  →  {to}  (keep {})\n", policy.keep);
        which.print(&object, &text)?;
    }
    Ok(())
}

/// Tells warnings, and notes what the connection is like.
#[derive(Default)]
struct Listener {
    tls: std::sync::Mutex<Option<String>>,
    warnings: std::sync::Mutex<Vec<String>>,
}

impl Report for Listener {
    fn event(&self, event: &Event) {
        use std::sync::PoisonError;
        match event {
            Event::Connected { tls, .. } => {
                self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone_from(tls);
            }
            Event::Warning { text } => {
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text.clone());
            }
            _ => {}
        }
    }
}

impl Listener {
    fn told(&self) -> (Option<String>, Vec<String>) {
        use std::sync::PoisonError;
        let tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (tls, self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn check(which: &Which) -> Result<(), Failure> {
    let mut failed = false;
    for configured in which.accounts()? {
        let name = &configured.name;
        let listener = Arc::new(Listener::default());
        let checked = configured.open(None).map_err(|failure| failure.of(name)).and_then(|account| {
            let report = Arc::clone(&listener) as Arc<dyn Report>;
            let stop = Stop::default();
            let plan = runtime::block_on(Threads::One, restante_fetch::check(&account, report, &stop))?;
            plan.map_err(|error| told(name, &error))
        });
        match checked {
            Ok(plan) => {
                let (tls, warnings) = listener.told();
                let fetch = plan.steps.iter().filter(|step| matches!(step.action, Action::Fetch(_))).count();
                let (messages, delete) = (plan.steps.len(), plan.to_delete().count());
                let mut object = json!({
                    "account": name, "ok": true, "tls": tls, "messages": messages, "new": fetch, "to_delete": delete,
                    "then_delete": fetch > 0 && configured.policy.keep == Keep::No,
                    "warnings": warnings,
                });
                let secured = tls.unwrap_or_else(|| "not encrypted".to_owned());
                let counted = counted([fetch, delete, messages - fetch - delete], configured.policy.keep);
                let mut text = format!("{name}: ok, {secured}; {messages} messages, {counted}\n");
                // Which is the token that has just done it.
                if let Some((signed_in, line)) = login::status(&configured, journal::now())? {
                    object["oauth"] = signed_in;
                    text.push_str(&line);
                }
                which.print(&object, &text)?;
                if !which.json {
                    let warnings: Vec<String> =
                        warnings.iter().map(|text| harmless_line(&format!("{name}: {text}"))).collect();
                    output::warn(&warnings);
                }
            }
            Err(failure) => {
                failed = true;
                match which.json {
                    true => {
                        let why = failure.messages().join("; ");
                        which.print(&json!({"account": name, "ok": false, "why": why}), "")?;
                    }
                    false => output::eprint(&failure.render_now()),
                }
            }
        }
    }
    if failed { Err(Failure::silent(Kind::Failed)) } else { Ok(()) }
}

fn status(which: &Which) -> Result<(), Failure> {
    let now = journal::now();
    for account in which.accounts()? {
        let Configured { name, journal: path, .. } = &account;
        let state = Journal::look(path).map_err(|error| Failure::failed(error.to_string()).of(name))?;
        let (mut object, mut text) = match &state {
            None => (json!({"account": name, "runs": false}), format!("{name}: was never fetched\n")),
            Some(state) => shown(&account, state, now),
        };
        if let Some((signed_in, line)) = login::status(&account, now)? {
            object["oauth"] = signed_in;
            text.push_str(&line);
        }
        which.print(&object, &text)?;
    }
    Ok(())
}

/// What a journal says, as JSON and for people.
fn shown(account: &Configured, state: &State, now: u64) -> (Value, String) {
    let name = &account.name;
    let ago = |at: u64| format!("{} ago", Span(now.saturating_sub(at)));
    let count = |fits: &dyn Fn(&Known) -> bool| state.iter().filter(|(_, known)| fits(known)).count();
    let here = count(&|known| known.stage == Stage::Delivered && known.gone.is_none());
    let deleted = count(&|known| {
        known.stage == Stage::Deleted || (known.stage == Stage::Delivered && known.gone.is_some())
    });
    let open = count(&|known| matches!(known.stage, Stage::Intent(_)));
    let last =
        state.iter().filter(|(_, known)| known.stage == Stage::Delivered).map(|(_, known)| known.at).max();
    let mut stuck: Vec<(&Key, &Known)> = state
        .iter()
        .filter(|(_, known)| matches!(known.stage, Stage::Aside(_)) && known.gone.is_none())
        .collect();
    stuck.sort_by_key(|(_, known)| known.at);
    let mut text = format!("{name}: ");
    text.push_str(&match state.login {
        Some(at) => format!("last login {}", ago(at)),
        None => "no login yet".to_owned(),
    });
    text.push_str(&format!("; delivered: {here} still on the server, {deleted} gone from it"));
    if let Some(at) = last {
        text.push_str(&format!("; the last one {}", ago(at)));
    }
    text.push('\n');
    if let Some((at, times)) = state.refused {
        let what = if account.oauth.is_some() { "token" } else { "password" };
        text.push_str(&format!("  the server refused the {what} {times} times in a row, last {}\n", ago(at)));
    }
    if let Some((strength, at)) = state.strength {
        text.push_str(&format!(
            "  logins are as strong as {strength} since {}, and none weaker is accepted\n",
            ago(at)
        ));
    }
    if open > 0 {
        text.push_str(&format!("  {open} messages were on their way when the last run ended; the next one finds out what became of them\n"));
    }
    let mut stuck_json = Vec::new();
    for (key, known) in stuck {
        let Stage::Aside(aside) = &known.stage else { continue };
        text.push_str(&format!(
            "  stuck: {}, tried {} times, last {}: {}\n",
            harmless_line(key.shown()),
            aside.attempts,
            ago(known.at),
            harmless_line(&aside.why)
        ));
        stuck_json
            .push(json!({"id": key.id(), "attempts": aside.attempts, "at": known.at, "why": aside.why}));
    }
    let object = json!({
        "account": name, "runs": true, "login": state.login, "delivered_last": last, "on_server": here, "gone": deleted, "open": open,
        "strength": state.strength.map(|(strength, at)| json!({"word": strength.word(), "at": at})),
        "refused": state.refused.map(|(at, times)| json!({"at": at, "times": times})),
        "stuck": stuck_json,
    });
    (object, text)
}
