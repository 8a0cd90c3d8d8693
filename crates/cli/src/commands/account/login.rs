//! `restante account login` and `logout`: a person lets an account in by OAuth, and takes that back.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use restante_fetch::plan::Span;
use restante_oauth::{Browser, Flow, OauthError, Place, Provider, Tokens, device};
use serde_json::{Value, json};

use crate::{
    accounts::{
        Accounts, Configured,
        oauth::{Oauth, told},
    },
    failure::Failure,
    output,
    runtime::{self, Threads},
    terminal::harmless_line,
};

/// The account.
#[derive(clap::Args)]
pub(super) struct One {
    /// An account of the file that has `oauth`
    #[arg(value_name = "ACCOUNT")]
    name: String,

    /// The accounts' file [default: ~/.config/restante/fetch.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where it is remembered what was fetched [default: ~/.local/state/restante]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,

    /// Keeps the tokens in a file that only you can read, though there is a keyring
    #[arg(long)]
    no_keyring: bool,
}

/// How to sign in.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    one: One,

    /// Prints a code, to be typed into a browser on any device
    #[arg(long, conflicts_with = "browser")]
    device: bool,

    /// Prints an address, to be opened in a browser on this machine
    #[arg(long)]
    browser: bool,

    /// Opens the browser, though there seems to be no desktop
    #[arg(long, conflicts_with = "device")]
    open: bool,
}

impl One {
    fn find(&self) -> Result<(Configured, Oauth), Failure> {
        let mut found = Accounts::read(self.config.as_deref(), self.state.as_deref())?
            .named(std::slice::from_ref(&self.name))?;
        let account = found.pop().ok_or_else(|| Failure::failed("there is no such account"))?;
        let Some(oauth) = account.oauth.clone() else {
            return Err(Failure::usage(format!("{} logs in by a password", self.name))
                .hint("oauth = \"google\" and client_id stand in the account to sign in without one"));
        };
        if self.no_keyring && oauth.wants_keyring() {
            return Err(Failure::usage("--no-keyring and tokens = \"keyring\" do not go together"));
        }
        Ok((account, oauth))
    }

    fn place(&self) -> Option<Place> {
        self.no_keyring.then_some(Place::File)
    }
}

pub(super) fn login(args: &Args) -> Result<(), Failure> {
    let (account, oauth) = args.one.find()?;
    let (client, http) = (oauth.client()?, oauth.http()?);
    let user = account.url.user.clone().unwrap_or_default();
    runtime::block_on(Threads::One, async {
        let fail = |error: OauthError| told(&account.name, &error);
        // Before a person takes the trouble: what comes of it can be kept.
        let store = oauth.store(args.one.place()).await;
        {
            let _lock = store.lock().await.map_err(fail)?;
            let before = match store.load().await {
                Err(error @ OauthError::Store(_)) if store.place() == Place::Keyring => {
                    return Err(fail(error));
                }
                // What is no use is replaced.
                before => before.unwrap_or_default(),
            };
            store.room(before.as_ref()).await.map_err(fail)?;
        }
        let provider = Provider::find(&oauth.provider, &http).await.map_err(fail)?;
        let scope = oauth.scope.as_deref().unwrap_or(&provider.scope);
        let tokens = match args.flow(&provider)? {
            Flow::Device => {
                let tell = |instructions: &device::Instructions| {
                    let text = steps(&user, instructions);
                    // If nobody reads it, nobody types the code either; that ends in time.
                    output::print(&text).unwrap_or_default();
                };
                device::sign_in(&provider, &client, scope, &http, device::wait, tell).await
            }
            Flow::Browser => {
                let browser = Browser::open(&provider, &client, scope).await.map_err(fail)?;
                output::print(&format!(
                    "Open this address in a browser on this machine, and sign in as {user}:\n\n  {}\n\nWaiting for the answer …\n",
                    browser.url()
                ))?;
                if args.open || has_desktop() {
                    open(browser.url());
                }
                browser.finish(&http).await
            }
        };
        let tokens = tokens.map_err(fail)?;
        {
            // A refresh that is under way would write its own tokens behind these.
            let _lock = store.lock().await.map_err(fail)?;
            store.save(&tokens).await.map_err(fail)?;
            let other = store.other();
            if (other.is_said_to_have_tokens() || other.answers().await) && other.forget().await.is_err() {
                output::warn(&[format!("older tokens are still in {}", other.shown())]);
            }
        }
        if tokens.refresh.is_none() {
            output::warn(&[format!(
                "{} gave no refresh token: sign in again when this one ends",
                harmless_line(&provider.name)
            )]);
        }
        output::print(&format!("Signed in. The tokens are kept in {}.\n", store.shown()))
    })?
}

pub(super) fn logout(one: &One) -> Result<(), Failure> {
    let (account, oauth) = one.find()?;
    runtime::block_on(Threads::One, async {
        let fail = |error: OauthError| told(&account.name, &error);
        let file = oauth.store(Some(Place::File)).await;
        let keyring = file.other();
        // A refresh that is under way would write its tokens back.
        let _lock = file.lock().await.map_err(fail)?;
        let mut had = Vec::new();
        if file.forget().await.map_err(fail)? {
            had.push(file.shown());
        }
        let mut unseen = "";
        if oauth.wants_keyring() || keyring.is_said_to_have_tokens() || keyring.answers().await {
            if keyring.forget().await.map_err(|error| {
                fail(error).hint("the tokens are still in the keyring: sign out where it is open")
            })? {
                had.push(keyring.shown());
            }
        } else {
            unseen = " The keyring does not answer; nobody said that there are tokens in it.";
        }
        let text = match had.is_empty() {
            false => format!(
                "Signed out: the tokens are gone from {}. The provider's page of your account takes back what was allowed.",
                had.join(" and from ")
            ),
            true => "There were no tokens.".to_owned(),
        };
        output::print(&format!("{text}{unseen}\n"))
    })?
}

/// Whether somebody is signed in, as JSON and for people; what is wrong with the tokens of one account stops no other.
pub(super) fn status(account: &Configured, now: u64) -> Result<Option<(Value, String)>, Failure> {
    let Some(oauth) = &account.oauth else { return Ok(None) };
    runtime::block_on(Threads::One, async {
        let store = oauth.store(None).await;
        Some(match store.load().await {
            Ok(tokens) => shown(oauth, tokens.as_ref(), &store.shown(), now),
            Err(error) => {
                let error = harmless_line(&error.to_string());
                (
                    json!({"provider": oauth.provider, "error": error}),
                    format!("  nobody knows who is signed in: {error}\n"),
                )
            }
        })
    })
}

fn shown(oauth: &Oauth, tokens: Option<&Tokens>, place: &str, now: u64) -> (Value, String) {
    let provider = harmless_line(&oauth.provider);
    let Some(tokens) = tokens else {
        return (
            json!({"provider": oauth.provider, "signed_in": false}),
            format!("  nobody has signed in with {provider}\n"),
        );
    };
    let until = match tokens.expires_at {
        Some(end) if end > now => format!("the token lasts {} more", Span(end - now)),
        Some(end) => format!("the token ended {} ago", Span(now - end)),
        None => "the token says not how long it lasts".to_owned(),
    };
    let renewed = if tokens.refresh.is_some() { "is replaced by itself" } else { "cannot be replaced" };
    let object = json!({
        "provider": oauth.provider, "signed_in": true, "expires_at": tokens.expires_at, "renewable": tokens.refresh.is_some(),
        "scope": tokens.scope, "place": place,
    });
    (object, format!("  signed in with {provider}, kept in {place}; {until}, and {renewed}\n"))
}

impl Args {
    /// The way that was asked for, else the one that fits the place where we are.
    fn flow(&self, provider: &Provider) -> Result<Flow, Failure> {
        let flows = provider.flows();
        let wanted = match (self.device, self.browser || self.open) {
            (true, _) => Flow::Device,
            (_, true) => Flow::Browser,
            _ if has_desktop() && flows.contains(&Flow::Browser) => Flow::Browser,
            _ => flows.first().copied().unwrap_or(Flow::Browser),
        };
        match flows.contains(&wanted) {
            true => Ok(wanted),
            false => Err(match wanted {
                Flow::Device => {
                    Failure::usage(format!("{} gives out no mail by a code", harmless_line(&provider.name)))
                        .hint("--browser signs in by a browser on this machine")
                }
                Flow::Browser => {
                    Failure::usage(format!("{} has no page to sign in", harmless_line(&provider.name)))
                }
            }),
        }
    }
}

fn steps(user: &str, instructions: &device::Instructions) -> String {
    let minutes = instructions.expires_in.as_secs().div_ceil(60);
    let mut text = format!(
        "1. Open {} in any browser.\n2. Type the code {}\n3. Sign in as {user}, and allow it.\n",
        harmless_line(&instructions.url),
        harmless_line(&instructions.code),
    );
    if let Some(url) = &instructions.complete_url {
        text.push_str(&format!("\nThe same in one step: {}\n", harmless_line(url)));
    }
    text + &format!("\nWaiting; the code is good for {minutes} minutes …\n")
}

fn has_desktop() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The address is printed too, so that nothing is lost where this does not work.
fn open(url: &str) {
    let quiet = Stdio::null;
    let opened = Command::new("xdg-open").arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    if let Ok(mut child) = opened {
        // It ends by itself; a thread takes note, so that it leaves nothing behind.
        std::thread::spawn(move || drop(child.wait()));
    }
}
