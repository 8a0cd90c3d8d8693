//! `restante admin`: a running server, over its unix socket. What is asked and answered is the crate `restante-admin`'s
//! business; here are words and columns.

use std::{
    fs::File,
    future::Future,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use restante_admin::{
    Place,
    client::{Client, ClientError},
    facts::{All, Session},
};
use restante_proto::UserName;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    failure::{Failure, Kind},
    output,
    runtime::{self, Threads},
    settings::{self, DEFAULT_FILE, admin::DEFAULT_SOCKET},
    terminal::{harmless_line, harmless_text},
};

mod table;
mod watch;

/// A running server: who is on, sessions drawn as they run, locks, metrics, health
#[derive(clap::Args)]
#[command(after_help = "Only root and the user who runs the server may ask it.

Exit status:
  0  done
  1  failed, or who was asked for is not there
  2  wrong usage

Examples:
  restante admin who
  restante admin watch --user john.doe@example.org
  restante admin kick 6b0afa0a-17
  restante admin health")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    /// The server's unix socket; else the one that the configuration names, or /run/restante/admin.sock
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,

    /// The server's configuration, which names the socket [default: /etc/restante/restante.toml]
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "socket")]
    config: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Action {
    Who(Who),
    Kick(Kicked),
    Watch(watch::Args),
    Locks(Locks),
    Metrics(Metrics),
    Health(Health),
}

/// Lists the sessions that are on: user, address, what they do and for how long
#[derive(clap::Args)]
#[command(after_help = "Columns (narrow terminals have fewer of them):
  USER           who logged in; with ?, whose login failed, and how often
  STATE          of RFC 1939: AUTHORIZATION (AUTH), TRANSACTION (TRANS), UPDATE
  DOES, FOR      the command that is answered, and for how long
  RETR, DELE     messages that were retrieved, and that are marked as deleted or removed
  IN, OUT        octets from and to the client
  ON             for how long the session is on

Examples:
  restante admin who
  restante admin who john.doe@example.org
  restante admin who 192.0.2.7
  restante admin who --json | jq -r .user")]
struct Who {
    /// Only this user's, or those from this address; exit status 1 where there is none
    #[arg(value_name = "USER|ADDRESS")]
    whose: Option<String>,

    /// Prints JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Ends sessions at once; what was marked as deleted in them stays
#[derive(clap::Args)]
#[command(override_usage = "restante admin kick [OPTIONS] <SESSION...|ADDRESS|--user <USER>>")]
#[command(after_help = "`restante admin who` lists the sessions that are on.

Examples:
  restante admin kick 6b0afa0a-17
  restante admin kick 192.0.2.7
  restante admin kick --user john.doe@example.org")]
struct Kicked {
    /// Sessions by their names, as `who` and the log tell them, or an address that all of them come from
    #[arg(value_name = "SESSION", required_unless_present = "user", conflicts_with = "user")]
    sessions: Vec<String>,

    /// All sessions of this user
    #[arg(long, value_name = "USER")]
    user: Option<String>,
}

/// Lists the maildrops that sessions hold, for how long, and how long those are idle
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante admin locks
  restante admin locks --json")]
struct Locks {
    /// Prints JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Prints the metrics, in the text form of Prometheus
#[derive(clap::Args)]
#[command(after_help = "Example:
  restante admin metrics | grep restante_")]
struct Metrics;

/// Says whether users can log in and find their mail, or why not
#[derive(clap::Args)]
#[command(after_help = "Example:
  restante admin health || systemctl status restante")]
struct Health;

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let server = Server::find(args.socket.as_deref(), args.config.as_deref())?;
    match args.action {
        Action::Who(who) => who.run(&server),
        Action::Kick(kick) => kick.run(&server),
        Action::Watch(args) => watch::run(&server, &args),
        Action::Locks(Locks { json }) => locks(&server, json),
        Action::Metrics(Metrics) => {
            let text = server.ask(server.client.get_text("/metrics"))?;
            output::print(&harmless_text(&text))
        }
        Action::Health(Health) => {
            let text = server.ask(server.client.get_text("/readyz"))?;
            output::print(&harmless_text(&text))
        }
    }
}

/// The server that is asked.
struct Server {
    client: Client,
    /// Where its socket was named.
    named: String,
}

impl Server {
    fn find(socket: Option<&Path>, config: Option<&Path>) -> Result<Self, Failure> {
        if let Some(socket) = socket {
            return Ok(Self { client: Client::new(socket), named: "--socket".into() });
        }
        // Whoever asks need not be able to read the configuration, nor need there be one.
        let file = config.or_else(|| File::open(DEFAULT_FILE).is_ok().then_some(Path::new(DEFAULT_FILE)));
        let Some(file) = file else {
            let named =
                format!("--socket PATH, or by [listen] admin in {DEFAULT_FILE}, which cannot be read");
            return Ok(Self { client: Client::new(Path::new(DEFAULT_SOCKET)), named });
        };
        let settings = settings::load(file)?.settings;
        let socket = settings.listen.admin.iter().find_map(|place| match place {
            Place::Unix(path) => Some(path),
            Place::Tcp(_) => None,
        });
        let named = format!("[listen] admin in {}", file.display());
        match socket {
            Some(socket) => Ok(Self { client: Client::new(socket), named }),
            None => Err(Failure::failed(format!("{named} names no unix socket"))
                .hint(format!("add one, such as \"{DEFAULT_SOCKET}\""))),
        }
    }

    /// Waits for an answer.
    fn ask<T>(&self, asking: impl Future<Output = Result<T, ClientError>>) -> Result<T, Failure> {
        runtime::block_on(Threads::One, asking)?.map_err(|error| self.told(&error))
    }

    /// What went wrong, with what to do about it.
    fn told(&self, error: &ClientError) -> Failure {
        let failure = Failure::failed(harmless_line(&error.to_string()));
        match error {
            ClientError::NoSocket(_) | ClientError::NobodyListens(_) => {
                failure.hint(format!("is the server running? Its socket is named by {}", self.named))
            }
            ClientError::Hangs(_) | ClientError::Silent | ClientError::Quiet => failure
                .hint("it hangs: `ss -lxp` names its process; `systemctl restart restante` starts it anew"),
            ClientError::Denied(_) => failure.hint("try it as one of them: `sudo restante admin …`"),
            _ => failure,
        }
    }
}

/// What else is told of a session, by servers that know it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct More {
    marked: u64,
    tried: Option<String>,
    failed_logins: u64,
}

/// Whom sessions are asked for: a user, or an address that they come from.
struct Whose(String);

impl Whose {
    fn is(&self, session: &Session) -> bool {
        if let Ok(address) = self.0.parse::<IpAddr>() {
            let client: Option<SocketAddr> = session.client.parse().ok();
            return client.is_some_and(|client| client.ip().to_canonical() == address.to_canonical());
        }
        session.user.as_deref().is_some_and(|user| folded(user) == folded(&self.0))
    }
}

/// A user's name as the server has it.
fn folded(user: &str) -> String {
    UserName::new(user).map_or_else(|_| user.to_owned(), |name| name.as_str().to_owned())
}

impl Who {
    fn run(&self, server: &Server) -> Result<(), Failure> {
        let told: Value = server.ask(server.client.get("/sessions"))?;
        let on = told.get("on").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        // What servers of other versions do not tell is taken as none.
        let more: Vec<More> =
            on.iter().map(|one| serde_json::from_value(one.clone()).unwrap_or_default()).collect();
        let all: All = serde_json::from_value(told).map_err(|e| server.told(&ClientError::Malformed(e)))?;
        let whose = self.whose.clone().map(Whose);
        let fits = |session: &Session| whose.as_ref().is_none_or(|whose| whose.is(session));
        let on: Vec<_> = all.on.iter().zip(&more).filter(|(session, _)| fits(session)).collect();
        if let (Some(Whose(whose)), true) = (&whose, on.is_empty()) {
            return Err(Failure::failed(format!("no session of {} is on", harmless_line(whose))));
        }
        if self.json {
            return table::as_json(&on.iter().map(|(session, _)| *session).collect::<Vec<_>>());
        }
        if on.is_empty() {
            return output::print("nobody is on\n");
        }
        table::sessions(&on, all.now_ms)
    }
}

impl Kicked {
    fn run(&self, server: &Server) -> Result<(), Failure> {
        let address = self.sessions.iter().find(|name| name.parse::<IpAddr>().is_ok());
        let sessions = match self.user.as_ref().or_else(|| address.filter(|_| self.sessions.len() == 1)) {
            None => self.sessions.clone(),
            Some(whose) => {
                let all: All = server.ask(server.client.get("/sessions"))?;
                let wanted = Whose(whose.clone());
                let theirs = all.on.into_iter().filter(|session| wanted.is(session));
                let theirs: Vec<_> = theirs.map(|session| session.session).collect();
                if theirs.is_empty() {
                    let told = format!("no session of {} is on", harmless_line(whose));
                    return Err(Failure::failed(told).hint("`restante admin who` lists those that are on"));
                }
                theirs
            }
        };
        let (mut ended, mut absent) = (0, Vec::new());
        for session in &sessions {
            let shown = harmless_line(session);
            let told = match is_name(session) {
                true => server.ask(async {
                    match server.client.post(&format!("/sessions/{session}/kick")).await {
                        Err(ClientError::Refused { status: 404, .. }) => Ok(false),
                        other => other.map(|()| true),
                    }
                })?,
                false => false,
            };
            match told {
                true => output::print(&format!("{shown} is ended\n"))?,
                false => absent.push(format!("no session {shown} is on")),
            }
            ended += usize::from(told);
        }
        match ended {
            0 => Err(Failure::several(absent).hint("`restante admin who` lists those that are on")),
            _ => {
                output::warn(&absent);
                Ok(())
            }
        }
    }
}

fn locks(server: &Server, json: bool) -> Result<(), Failure> {
    let (locks, now_ms) = server.ask(async {
        let locks: Vec<restante_admin::facts::Lock> = server.client.get("/locks").await?;
        Ok((locks, table::now_ms()))
    })?;
    let locks: Vec<_> = locks.iter().collect();
    match (json, locks.is_empty()) {
        (true, _) => table::as_json(&locks),
        (false, true) => output::print("no maildrop is held\n"),
        (false, false) => table::locks(&locks, now_ms),
    }
}

/// Whether it can be the name of a session: letters, digits and hyphens.
fn is_name(session: &str) -> bool {
    !session.is_empty() && session.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

/// A text as it stands in an address (RFC 3986 §2.1).
fn escaped(text: &str) -> String {
    let octet = |c: u8| match c {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(c).to_string(),
        c => format!("%{c:02X}"),
    };
    text.bytes().map(octet).collect()
}

/// It is not there; all has been said.
const fn absent() -> Failure {
    Failure::silent(Kind::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_hold_what_they_may() {
        assert!(
            is_name("6b0afa0a-17") && !is_name("") && !is_name("a/b") && !is_name("a b") && !is_name("ä")
        );
        assert_eq!(escaped("john.doe@x y&ä"), "john.doe%40x%20y%26%C3%A4");
    }
}
