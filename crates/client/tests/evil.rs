//! What our client shows of every misbehaviour that the testkit knows: the same session against each, with pipelining and
//! without. What each row must show stands in `evil/rows.rs`, which does not compile without a row for each.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

#[path = "harness/mod.rs"]
mod harness;
#[path = "evil/rows.rs"]
mod rows;

use std::{sync::Mutex, thread};

use harness::{LONG, SHORT, credentials, pem, runtime, told, url, within};
use restante_client::{Client, Error, MessageNumber, Options, Security};
use restante_testkit::evil::{EvilServer, Mail, Misbehaviour, PASSWORD, Script};
use rows::{Row, row};

/// The longest message that a session takes here, in octets.
const MESSAGE_MAX_OCTETS: u64 = 1024 * 1024;

/// What happened in a session, a line each: only what a session with a good server would not show, and how it ended.
type Story = Vec<String>;

/// How many run at a time: most of them wait.
const THREADS: usize = 8;

#[test]
fn every_misbehaviour_is_shown_as_it_must_be() {
    let jobs: Vec<(Misbehaviour, bool)> =
        Misbehaviour::ALL.iter().flat_map(|&evil| [(evil, true), (evil, false)]).collect();
    let (jobs, faults) = (Mutex::new(jobs.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some((evil, pipelining)) = jobs.lock().unwrap().next() else { break };
                    if let Err(fault) = check(evil, pipelining) {
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} rows\n{}", faults.len(), faults.join("\n"));
}

/// Runs a session, and compares it with its row.
fn check(evil: Misbehaviour, pipelining: bool) -> Result<(), String> {
    let row = row(evil, pipelining);
    let server = EvilServer::start(Script::from(evil).at_message(row.message), Mail::few());
    let trusted = pem(&[&server.certificate()]);
    let mut options = harness::options((row.security != Security::None).then_some(&trusted));
    options.timeouts = within(if row.waits() { SHORT } else { LONG });
    options.pipelining = pipelining;
    let story = runtime().block_on(session(&server, &row, &options));
    let name = format!("{evil:?}, {}", if pipelining { "pipelined" } else { "one by one" });
    let same = story.len() == row.story.len()
        && story.iter().zip(&row.story).all(|(line, start)| line.starts_with(start));
    if !same {
        return Err(format!("{name}:\n    is       {story:#?}\n    and not  {:#?}", row.story));
    }
    for line in &story {
        if line.chars().any(char::is_control) || line.chars().count() > 500 {
            return Err(format!("{name}: nothing for a terminal: {line:?}"));
        }
    }
    laws(&server, &story).map_err(|fault| format!("{name}: {fault}"))
}

/// What holds whatever a server does.
fn laws(server: &EvilServer, story: &Story) -> Result<(), String> {
    for record in server.sessions() {
        let unheard = String::from_utf8_lossy(&record.unheard).into_owned();
        let secret = record.commands.iter().chain([&unheard]).any(|said| said.contains(PASSWORD));
        if secret && story.iter().any(|line| line.starts_with("connect: ")) {
            return Err("a password was said before the connection was good".into());
        }
        for command in &record.commands {
            let mut words = command.split(' ');
            let (verb, number) = (words.next().unwrap_or_default(), words.next());
            if matches!(verb, "RETR" | "TOP" | "DELE")
                && !number
                    .and_then(|number| number.parse().ok())
                    .is_some_and(|number| (1..=5).contains(&number))
            {
                return Err(format!("{command} names no message that STAT counts"));
            }
        }
    }
    let retrieved = server.retrieved();
    match server.deleted().iter().find(|id| !retrieved.contains(id)) {
        Some(id) => Err(format!("{id} was deleted and not fetched")),
        None => Ok(()),
    }
}

/// The session: connect, log in, list, fetch, read headers, delete what was fetched, quit.
async fn session(server: &EvilServer, row: &Row, options: &Options) -> Story {
    let mut story = Vec::new();
    let mut client = match Client::connect(&url(server, row.security), options).await {
        Ok(client) => client,
        Err(error) => return vec![format!("connect: {}", told(&error))],
    };
    let done = talk(&mut client, server, row, &mut story).await;
    match done {
        Ok(()) => story.push(match client.quit().await {
            Ok(()) => "good-bye".to_owned(),
            Err(error) => format!("quit: {}", told(&error)),
        }),
        Err((at, error)) => {
            story.push(format!("{at}: {}", told(&error)));
            let next = client.noop().await;
            match (error.is_fatal(), next) {
                (true, Err(Error::Interrupted(_))) => {}
                // The login failed: NOOP is for later.
                (false, Err(Error::NotNow(_)) | Ok(())) => {}
                (_, next) => story.push(format!("and then: {next:?}")),
            }
        }
    }
    story
}

async fn talk(
    client: &mut Client,
    server: &EvilServer,
    row: &Row,
    story: &mut Story,
) -> Result<(), (&'static str, Error)> {
    let login = match row.way {
        None => client.authenticate(&credentials()).await,
        Some(way) => client.authenticate_with(way, &credentials()).await,
    };
    login.map_err(|error| ("login", error))?;
    let listing = client.listing().await.map_err(|error| ("listing", error))?;
    story.extend(listing.doubts.iter().map(|doubt| format!("doubt: {doubt}")));
    if !listing.has_unique_ids {
        story.push("no unique-ids".into());
    }
    let mut fetched: Vec<MessageNumber> = Vec::new();
    let mut messages = client.messages(listing.numbers());
    loop {
        let Some(mut message) = messages.next().await.map_err(|error| ("fetch", error))? else { break };
        let number = message.number();
        let mut octets = Vec::new();
        let ended = loop {
            match message.chunk().await {
                Ok(Some(chunk)) => octets.extend_from_slice(chunk),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if octets.len() as u64 > MESSAGE_MAX_OCTETS {
                story.push(format!("message {number}: over its limit"));
                return Err(("fetch", Error::Interrupted("by ourselves")));
            }
        };
        match ended {
            Ok(()) => fetched.push(number),
            Err(error) if error.is_fatal() => return Err(("fetch", error)),
            Err(error) => {
                story.push(format!("message {number}: {}", told(&error)));
                continue;
            }
        }
        let right = &*server.mail().messages()[number.get() as usize - 1].octets;
        if octets != right {
            story.push(format!("message {number}: other octets ({} for {})", octets.len(), right.len()));
        }
    }
    for number in 1..=5 {
        if !listing.numbers().any(|listed| listed.get() == number) {
            story.push(format!("message {number}: not listed"));
        }
    }
    tops(client, &fetched, story).await.map_err(|error| ("top", error))?;
    let deleted = client.delete_all(fetched).await.map_err(|error| ("delete", error))?;
    for (number, done) in deleted {
        if let Err(refused) = done {
            story.push(format!("delete {number}: {}", told(&refused.into())));
        }
    }
    if row.resets {
        client.reset().await.map_err(|error| ("reset", error))?;
    }
    Ok(())
}

/// The headers: a server whose TOP is the whole message shows here too.
async fn tops(client: &mut Client, numbers: &[MessageNumber], story: &mut Story) -> Result<(), Error> {
    let mut tops = client.tops(numbers.iter().copied(), 0);
    while let Some(mut top) = tops.next().await? {
        let number = top.number();
        match top.read_to_end(64 * 1024).await {
            Ok(Some(header)) if header.ends_with(b"\r\n\r\n") => {}
            Ok(Some(_)) => story.push(format!("top {number}: more than a header")),
            Ok(None) => story.push(format!("top {number}: long")),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => story.push(format!("top {number}: {}", told(&error))),
        }
    }
    Ok(())
}
