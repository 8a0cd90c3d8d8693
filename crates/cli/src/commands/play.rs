//! `restante play`: a dialogue is played against a server, and its answers are compared with those that it expects. A
//! test tool, a conformance check, and a source of recordings and captures in one. The format is `docs/dialogue.md`.

use std::{path::PathBuf, time::Duration};

use restante_client::{Security, Url};
use restante_proto::dialogue::Slot;
use serde_json::json;

use self::{
    game::{Different, Game, Stop},
    report::{Print, Report},
    script::{Handshakes, Player, Script},
};
use crate::{
    duration,
    failure::{Failure, Kind},
    output,
    password::PasswordArgs,
    trust::TrustArgs,
};

mod connection;
mod game;
mod report;
mod script;

/// Plays a dialogue against a server and compares its answers
#[derive(clap::Args)]
#[command(after_help = "URLs:
  pop3s://user@host            TLS from the first byte
  pop3://user@host             STLS, required; said first where the dialogue does not say it
  pop3://user@host?tls=none    no TLS but what the dialogue says

In the dialogue {user} and {password} stand for the URL's user and the options' password, else for
those of the dialogue's head. Exit status: 0 the same, 1 different or failed, 2 wrong usage.

Examples:
  restante play seed.pop3 'pop3://127.0.0.1:1110?tls=none'
  restante play check.pop3 pop3s://john@mail.example.org --password-command 'pass show mail/john'
  restante play check.pop3 pop3s://john@mail.example.org --record session.pop3 --json")]
pub(crate) struct Args {
    /// The dialogue
    #[arg(value_name = "FILE.pop3")]
    file: PathBuf,

    // Not parsed by clap, which would repeat it, and a password that stands in it, in its error.
    /// The server
    url: String,

    #[command(flatten)]
    password: PasswordArgs,

    #[command(flatten)]
    trust: TrustArgs,

    /// How long to wait for an answer: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    timeout: Duration,

    /// Writes what happened to this file, with times and without secrets
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Prints the result as JSON instead of the dialogue
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let url = Url::parse(&args.url)?;
    let script = Script::read(&args.file)?;
    if script.handshakes() == Handshakes::AtOnce && url.security != Security::Implicit {
        return Err(Failure::usage("this dialogue begins with a TLS handshake, the URL does not")
            .hint("a URL that begins with pop3s:// is TLS from the first byte"));
    }
    if script.head.joined.is_some() {
        return Err(Failure::usage("this dialogue begins in the middle of a session, and cannot be played")
            .hint("`restante diagram` draws it; what can be played begins with the greeting, and has no `joined` in its head"));
    }
    let player = player(&args, &url, &script)?;
    let trust = args.trust.options();
    let print = match (args.json, output::stdout_takes_colour()) {
        (true, _) => Print::Nothing,
        (false, true) => Print::Coloured,
        (false, false) => Print::Plain,
    };
    let mut report = Report::new(print, args.record.as_deref())?;
    let mut seconds = 0.0;
    let played =
        Game::open((&script, &player), (&url, &trust, args.timeout), &mut report).and_then(|mut game| {
            let played = game.play();
            seconds = game.elapsed().as_secs_f64();
            game.finish()?;
            played
        });
    report.close()?;
    if args.json {
        return as_json(&args, &url, &script, seconds, played);
    }
    match played {
        Ok(()) => Ok(()),
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::Different(different)) => Err(Failure::failed(told(&args, &script, &different))),
    }
}

/// The user of the URL and the password of the options, else those of the head; asked for only where they are needed.
fn player(args: &Args, url: &Url, script: &Script) -> Result<Player, Failure> {
    let user = url.user.clone().or_else(|| script.head.user.as_ref().map(|user| user.as_str().to_owned()));
    if user.is_none() && script.needs(Slot::User) {
        return Err(
            Failure::usage("this dialogue needs a user").hint("name one in the URL: pop3s://user@host")
        );
    }
    let password = match script.needs(Slot::Password) {
        false => None,
        true => match args.password.read_named()? {
            Some(password) => Some(password),
            None => match script.head.password.clone() {
                Some(password) => Some(password),
                None => Some(args.password.read_known("Password")?),
            },
        },
    };
    Ok(Player { user, password })
}

/// A difference in words.
fn told(args: &Args, script: &Script, different: &Different) -> String {
    let place = format!("{}:{}", args.file.display(), script.line_of(different.place));
    match &different.difference {
        Some(difference) if different.is_nothing() => {
            format!("{place}: {}\nexpected  S: {}\nreceived  nothing", different.problem, difference.expected)
        }
        Some(difference) => format!("{place}: {}\n{difference}", different.problem),
        None => format!("{place}: {}", different.problem),
    }
}

fn as_json(
    args: &Args,
    url: &Url,
    script: &Script,
    seconds: f64,
    played: Result<(), Stop>,
) -> Result<(), Failure> {
    let mut result = json!({
        "file": args.file.display().to_string(),
        "server": url.to_string(),
        "same": played.is_ok(),
        "seconds": seconds,
    });
    match &played {
        Ok(()) => {}
        Err(Stop::Failed(failure)) => result["error"] = json!(failure.messages().join("\n")),
        Err(Stop::Different(different)) => {
            result["line"] = json!(script.line_of(different.place));
            result["error"] = json!(different.problem);
            if let Some(difference) = &different.difference {
                result["expected"] = json!(difference.expected);
                let received = Some(&difference.actual).filter(|_| !different.is_nothing());
                result["received"] = json!(received);
            }
        }
    }
    output::print(&format!("{result:#}\n"))?;
    if played.is_ok() { Ok(()) } else { Err(Failure::silent(Kind::Failed)) }
}
