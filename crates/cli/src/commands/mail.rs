//! `restante mail`: looks into one maildrop by hand. Nothing is deleted, or marked, unless that is asked for.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
    path::PathBuf,
};

use restante_client::{Client, Entry, Listing, MessageNumber};

use self::{delete::Consent, list::Form, save::Existing, session::SessionArgs};
use crate::{
    failure::Failure,
    runtime::{self, Threads},
};

mod delete;
mod header;
mod list;
mod mime;
mod save;
pub(super) mod session;
mod show;

/// The most numbers that one command line names.
const NUMBERS_MAX: u32 = 1_000_000;

/// Looks into a maildrop by hand: lists, shows, saves and deletes mail
#[derive(clap::Args)]
#[command(after_help = "Actions:
  list       number, size, date, sender and subject; the newest is last, as the server has it
  show N     the message to read, with the names of what is attached
  save N…    each into N.eml of the folder, or of --to; the octets as the server has them
  delete N…  shows what goes, asks, and tells what the server said

URLs:
  pop3s://user@host            TLS from the first byte
  pop3://user@host             STLS, required
  pop3://user@host?tls=none    no TLS: the password can be read by others

N is a number of the list, or a range: 3, 2-5. Numbers hold for one session: after a deletion list
again.

Examples:
  restante mail pop3s://john@mail.example.org --password-command 'pass show mail/john'
  restante mail pop3s://john@mail.example.org list --limit 20 --json
  restante mail pop3s://john@mail.example.org show 3
  restante mail pop3s://john@mail.example.org save 3 7-9 --to ~/letters
  restante mail pop3s://john@mail.example.org delete 3")]
pub(crate) struct Args {
    #[command(flatten)]
    session: SessionArgs,

    /// What to do
    #[arg(value_enum, default_value = "list", hide_possible_values = true)]
    action: Action,

    /// Which messages
    #[arg(value_name = "N", value_parser = numbers)]
    numbers: Vec<Numbers>,

    /// list: only the last messages, so many
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,

    /// list: prints JSON, an object for each message
    #[arg(long)]
    json: bool,

    /// show: the octets of the message as they are
    #[arg(long)]
    raw: bool,

    /// save: a folder, or the file of one message
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,

    /// save: replaces files that are there
    #[arg(long)]
    overwrite: bool,

    /// delete: does not ask
    #[arg(long)]
    yes: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    List,
    Show,
    Save,
    Delete,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Show => "show",
            Self::Save => "save",
            Self::Delete => "delete",
        }
    }
}

/// A number, or several in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    first: MessageNumber,
    last: MessageNumber,
}

fn numbers(text: &str) -> Result<Numbers, String> {
    let number = |text: &str| {
        let digits = text.bytes().all(|octet| octet.is_ascii_digit());
        text.parse().ok().filter(|_| digits).and_then(MessageNumber::new)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => {
            Err("the first number of a range is the lower one".into())
        }
        (Some(first), Some(last)) if last.get() - first.get() >= NUMBERS_MAX => {
            Err(format!("a range has no more than {NUMBERS_MAX} numbers"))
        }
        (Some(first), Some(last)) => Ok(Numbers { first, last }),
        _ => Err("write the number of a message, or a range: 3, 2-5".into()),
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    fits_together(&args)?;
    let url = args.session.url()?;
    let options = args.session.options(&url);
    let credentials = args.session.credentials(&url)?;
    runtime::block_on(Threads::One, async {
        let mut client = Client::connect(&url, &options).await?;
        args.session.log_in(&mut client, &credentials).await?;
        drop(credentials);
        act(&args, client).await
    })?
}

/// Whether each option belongs to the action, and the numbers do.
fn fits_together(args: &Args) -> Result<(), Failure> {
    let options = [
        ("--limit", args.limit.is_some(), Action::List),
        ("--json", args.json, Action::List),
        ("--raw", args.raw, Action::Show),
        ("--to", args.to.is_some(), Action::Save),
        ("--overwrite", args.overwrite, Action::Save),
        ("--yes", args.yes, Action::Delete),
    ];
    if let Some((option, _, action)) = options.iter().find(|(_, given, of)| *given && *of != args.action) {
        return Err(Failure::usage(format!("{option} belongs to `{}`", action.word())));
    }
    let one = matches!(args.numbers[..], [Numbers { first, last }] if first == last);
    match args.action {
        Action::List if !args.numbers.is_empty() => {
            Err(Failure::usage("`list` takes no numbers").hint("--limit lists the last messages only"))
        }
        Action::Show if !one => Err(Failure::usage("`show` takes the number of one message: show 3")),
        Action::Save | Action::Delete if args.numbers.is_empty() => {
            let word = args.action.word();
            Err(Failure::usage(format!("`{word}` takes the numbers of messages: {word} 3 7-9")))
        }
        Action::Delete if !args.yes && !io::stdin().is_terminal() => {
            Err(Failure::usage("there is nobody to ask whether the mail may be deleted")
                .hint("--yes deletes without asking"))
        }
        _ => Ok(()),
    }
}

async fn act(args: &Args, mut client: Client) -> Result<(), Failure> {
    match args.action {
        Action::List => {
            let form = if args.json { Form::Json } else { Form::Columns };
            list::list(&mut client, args.limit, form).await?;
        }
        Action::Show => {
            let Some(number) = args.numbers.first().map(|numbers| numbers.first) else { return Ok(()) };
            // What is said behind the login counts for the end of the session.
            client.refresh_capabilities().await?;
            match args.raw {
                true => show::raw(&mut client, number).await?,
                false => show::show(&mut client, number).await?,
            }
        }
        Action::Save => {
            let listing = client.listing().await?;
            let existing = if args.overwrite { Existing::Replace } else { Existing::Keep };
            let saving = chosen(&listing, &args.numbers)?;
            // Dropped on the way, a file that is not whole is removed.
            let refused = tokio::select! {
                saved = save::save(&mut client, &saving, args.to.as_deref(), existing) => saved?,
                _ = tokio::signal::ctrl_c() => return Err(Failure::failed("broken off")),
            };
            delete::quit_unchanged(client).await;
            return if refused.is_empty() { Ok(()) } else { Err(Failure::several(refused)) };
        }
        Action::Delete => {
            let listing = client.listing().await?;
            let consent = if args.yes { Consent::Given } else { Consent::Ask };
            return delete::delete(client, &chosen(&listing, &args.numbers)?, consent).await;
        }
    }
    delete::quit_unchanged(client).await;
    Ok(())
}

/// The messages of these numbers, each once, in order.
fn chosen<'l>(listing: &'l Listing, numbers: &[Numbers]) -> Result<Vec<&'l Entry>, Failure> {
    let entries = listing.entries();
    let mut places = BTreeSet::new();
    for numbers in numbers {
        for number in numbers.first.get()..=numbers.last.get() {
            match entries.binary_search_by_key(&number, |entry| entry.number.get()) {
                Ok(place) => places.insert(place),
                Err(_) => {
                    let there = header::count(entries.len(), None);
                    return Err(Failure::failed(format!(
                        "there is no message {number}; the server has {there}"
                    )));
                }
            };
        }
    }
    Ok(places.into_iter().filter_map(|place| entries.get(place)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_or_ranges() {
        let read = |text| numbers(text).map(|numbers| (numbers.first.get(), numbers.last.get()));
        assert_eq!(read("3"), Ok((3, 3)));
        assert_eq!(read("2-5"), Ok((2, 5)));
        for wrong in ["", "0", "-1", "+1", "5-2", "1-", "-", "x", "1-2-3", "99999999999", "1-4000000000"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
