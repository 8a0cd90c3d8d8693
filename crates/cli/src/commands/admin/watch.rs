//! `restante admin watch`: sessions of a running server drawn in the terminal while they run. The server sends dialogues in
//! pieces; each session's is read by a source of its own, and all go into one drawing.

use std::{collections::HashMap, io::Write, time::Duration};

use restante_admin::{client::ClientError, facts::Heard};
use restante_diagram::{
    drawing::{DrawError, Drawing, Options},
    source::dialogue::Source,
};
use tokio::time::sleep;

use super::{Server, absent, escaped, is_name};
use crate::{
    commands::diagram,
    failure::Failure,
    output,
    runtime::{self, Threads},
    terminal::{self, harmless_line},
};

/// When nothing comes for so long, what is held back is drawn.
const SILENCE: Duration = Duration::from_millis(250);
/// So much of each message's beginning is kept to be shown, in octets; the server sends none of it.
const START_MAX_OCTETS: usize = 256;

/// Draws sessions as they run, each step explained; Ctrl-C ends it
#[derive(clap::Args)]
#[command(
    after_help = "Sessions that are on already are drawn from their next command. Passwords are taken out by the server.

Examples:
  restante admin watch
  restante admin watch --user john.doe@example.org
  restante admin watch --session 6b0afa0a-17"
)]
pub(super) struct Args {
    /// Only this user's sessions
    #[arg(long, value_name = "USER", conflicts_with = "session")]
    user: Option<String>,

    /// Only this session; it ends with it
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    /// Draws every step: long runs of the same commands are not folded into one row
    #[arg(long)]
    unfold: bool,

    /// Hides user names and addresses
    #[arg(long)]
    anonymous: bool,

    /// How many columns the text may have, 60 to 400; else the terminal's, $COLUMNS, or 100
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(60..=400))]
    width: Option<u16>,
}

pub(super) fn run(server: &Server, args: &Args) -> Result<(), Failure> {
    if let Some(session) = args.session.as_ref().filter(|session| !is_name(session)) {
        return Err(no_session(session));
    }
    runtime::block_on(Threads::One, watch(server, args))?
}

fn no_session(session: &str) -> Failure {
    Failure::failed(format!("no session {} is on", harmless_line(session)))
        .hint("`restante admin who` lists those that are on")
}

async fn watch(server: &Server, args: &Args) -> Result<(), Failure> {
    let path = match (&args.user, &args.session) {
        (Some(user), _) => format!("/watch?user={}", escaped(user)),
        (None, Some(session)) => format!("/watch?session={session}"),
        (None, None) => "/watch".to_owned(),
    };
    let mut lines = server.client.lines(&path).await.map_err(|error| match (&error, &args.session) {
        (ClientError::Refused { status: 404, .. }, Some(session)) => no_session(session),
        _ => server.told(&error),
    })?;
    let options = Options { fold: !args.unfold, hide_names: args.anonymous, ..Options::default() };
    let mut picture = Picture {
        drawing: Drawing::live(options, &diagram::live_style(args.width)),
        dialogues: HashMap::new(),
        begun: 0,
    };
    let mut out = Vec::new();
    let mut is_idle = false;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let ended = loop {
        let next = tokio::select! {
            next = lines.next() => Some(next),
            () = sleep(SILENCE), if !is_idle => None,
            _ = &mut interrupted => {
                // The terminal shows it in the line at hand.
                if terminal::columns().is_some() {
                    out.push(b'\n');
                }
                break Ok(());
            }
        };
        match next {
            None => {
                is_idle = true;
                picture.drawing.idle(&mut out);
            }
            Some(Ok(None)) if args.session.is_some() => break Ok(()),
            Some(Ok(None)) => break Err(server.told(&ClientError::Stopped)),
            // Lines are empty where there is nothing to tell.
            Some(Ok(Some(line))) if line.is_empty() => {}
            Some(Ok(Some(line))) => {
                is_idle = false;
                let heard = serde_json::from_slice(&line);
                let heard = heard.map_err(|error| server.told(&ClientError::Malformed(error)))?;
                picture.hear(heard, &mut out)?;
            }
            Some(Err(error)) => break Err(server.told(&error)),
        }
        print(&mut out)?;
    };
    picture.end(&mut out)?;
    print(&mut out)?;
    match (ended, picture.begun) {
        (Ok(()), 0) if args.session.is_some() => Err(absent()),
        (ended, _) => ended,
    }
}

fn print(out: &mut Vec<u8>) -> Result<(), Failure> {
    if out.is_empty() {
        return Ok(());
    }
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(out).and_then(|()| stdout.flush());
    out.clear();
    written.map_err(Failure::from_output)
}

/// What is drawn, and the dialogues that it is drawn from.
struct Picture {
    drawing: Drawing,
    /// By the session's name: its number in the drawing, and what reads it.
    dialogues: HashMap<String, (u32, Source)>,
    begun: u32,
}

impl Picture {
    fn hear(&mut self, heard: Heard, out: &mut Vec<u8>) -> Result<(), Failure> {
        let Heard { session, text, ended } = heard;
        let begun = &mut self.begun;
        let (number, source) = self.dialogues.entry(session.clone()).or_insert_with(|| {
            *begun = begun.saturating_add(1);
            (*begun, Source::new(START_MAX_OCTETS))
        });
        let mut pieces = Vec::new();
        let read = source.push(text.as_bytes(), &mut pieces);
        let read = match (&read, &ended) {
            (Ok(()), Some(_)) => source.end(&mut pieces),
            _ => read,
        };
        let number = *number;
        for piece in pieces {
            let piece = restante_diagram::heard::Heard { session: number, ..piece };
            self.drawing.hear(piece, out).map_err(|error| cannot(&error))?;
        }
        if let Err(error) = &read {
            output::warn(&[format!("session {}: {error}", harmless_line(&session))]);
        }
        if ended.is_some() {
            self.dialogues.remove(&session);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self.drawing.end(out) {
            Err(DrawError::NoSession) => Ok(()),
            ended => ended.map_err(|error| cannot(&error)),
        }
    }
}

fn cannot(error: &DrawError) -> Failure {
    Failure::failed(format!("cannot draw: {error}"))
}
