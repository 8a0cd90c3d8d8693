//! `restante doctor`: what a server really does. It connects, asks, compares and times, and changes nothing there.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    time::Instant,
};

use restante_client::{Credentials, Options, Security, Url};

use self::{
    check::{Finding, Form, Report},
    door::{Closed, Door},
    mechanisms::Ear,
    session::Caller,
};
use super::mail::session::SessionArgs;
use crate::{
    failure::{Failure, Kind},
    runtime::{self, Threads},
};

mod certificate;
mod check;
mod door;
mod drop;
mod mechanisms;
mod raw;
mod session;

/// Examines a POP3 server: TLS, capabilities, unique-ids, sizes, latency, locking
#[derive(clap::Args)]
#[command(after_help = "URLs:
  pop3s://user@host            TLS from the first byte; with port 995, port 110 is looked at too
  pop3://user@host             STLS, required; with port 110, port 995 is looked at too
  pop3://user@host?tls=none    no TLS: the password can be read by others

Without a password only what comes before the login is examined. A password goes to the server of
the URL only, and only where its certificate is trusted, or where the URL says ?tls=none.

Nothing is deleted. A few short messages are retrieved, which some servers remember: --no-retr.
Each way to log in that is offered is tried once, unless --mechanism names one.
Verdicts: ok; note, good to know; warning, should be mended; fail. Exit status: 0 no check failed,
1 a check failed, 2 wrong usage.

Examples:
  restante doctor pop3s://mail.example.org
  restante doctor pop3s://john@mail.example.org --password-command 'pass show mail/john'
  restante doctor pop3s://john@mail.example.org --password-file secret --json")]
pub(crate) struct Args {
    #[command(flatten)]
    session: SessionArgs,

    /// Retrieves no message
    #[arg(long)]
    no_retr: bool,

    /// Prints a JSON list with id, verdict, detail, advice and seconds of each check
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let url = args.session.url()?;
    let ear = Ear::default();
    let options = Options {
        pipelining: false,
        transcript: Some(ear.transcript(args.session.transcript.as_deref())),
        ..args.session.options(&url)
    };
    let credentials = credentials(&args, &url)?;
    let mut report = Report::new(if args.json { Form::Json } else { Form::Table });
    let examined = examine((&args, &ear), (&url, &options, credentials.as_ref()), &mut report);
    runtime::block_on(Threads::One, examined)??;
    match report.close()? {
        true => Err(Failure::silent(Kind::Failed)),
        false => Ok(()),
    }
}

/// The password from where the options say, or from a person; without a user there is none.
fn credentials(args: &Args, url: &Url) -> Result<Option<Credentials>, Failure> {
    let named = args.session.password.read_named()?;
    let Some(user) = url.user.as_deref() else {
        return match named {
            Some(_) => Err(Failure::usage("the URL names no user").hint("name one: pop3s://user@host")),
            None => Ok(None),
        };
    };
    let password = match named {
        Some(password) => password,
        None if io::stdin().is_terminal() && !args.json => {
            let what = format!("Password of {user} (empty: only what comes before the login)");
            args.session.password.read_known(&what)?
        }
        None => return Ok(None),
    };
    let some = !password.expose().is_empty();
    Ok(some.then(|| Credentials::new(user, password.expose().clone())))
}

async fn examine(
    (args, ear): (&Args, &Ear),
    (url, options, credentials): (&Url, &Options, Option<&Credentials>),
    report: &mut Report,
) -> Result<(), Failure> {
    certificate::warm_up();
    let trust = options.tls.client_config().map(Arc::new);
    let trust = if url.security == Security::None { None } else { Some(trust?) };
    let door = |port, security, asked_for| Door {
        host: &url.host,
        port,
        security,
        asked_for,
        trust: trust.clone(),
        identity: options.tls.identity.as_ref(),
        wait: args.session.timeout,
    };
    let main = door(url.port, url.security, true);
    report.group(id(url.security), &format!("{url}: {}", about(url.security)))?;
    let open = main.examine(report).await?;
    // The other port that everybody knows; one that was chosen has no sister.
    let sister = match (url.security, url.port) {
        (Security::Implicit, 995) => Some((110, Security::Stls)),
        (Security::Stls, 110) => Some((995, Security::Implicit)),
        _ => None,
    };
    if let Some((port, security)) = sister {
        let sister = Url { user: None, host: url.host.clone(), port, security };
        report.group(id(security), &format!("{sister}: {}", about(security)))?;
        // No password goes there, so whether one may is of no matter.
        let _open = door(port, security, false).examine(report).await?;
    }
    report.group("session", &format!("{url}: behind the login"))?;
    let skipped = match (open, credentials) {
        (Err(Closed::NotTrusted), _) => "not tried: the certificate is not trusted, so no password is sent",
        (Err(Closed::NoTls), _) => "not tried: there is no TLS, so no password is sent",
        (Err(Closed::NoConnection | Closed::NoGreeting), _) => "not tried: there is no session to log in to",
        (Ok(()), None) => "not tried: no password was given",
        (Ok(()), Some(credentials)) => {
            let retrieves = !args.no_retr;
            let caller = Caller { args: &args.session, ear, url, options, credentials, retrieves };
            return caller.examine(report).await;
        }
    };
    report.tell("login", Instant::now(), &Finding::note(skipped))
}

const fn id(security: Security) -> &'static str {
    match security {
        Security::Implicit => "pop3s",
        Security::Stls | Security::None => "pop3",
    }
}

const fn about(security: Security) -> &'static str {
    match security {
        Security::Implicit => "TLS from the first byte",
        Security::Stls => "clear text, and TLS by STLS",
        Security::None => "clear text",
    }
}
