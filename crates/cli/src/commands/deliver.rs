//! `restante deliver`: one message from standard input into a user's maildrop, called by a mail transfer agent.
//!
//! The MTA knows us by our exit status: 0 delivered; 67 no such user and 65 too long, which it bounces; 75 for all
//! else, also for wrong usage, a broken configuration, a full disk or a panic, so that it keeps the mail and tries again.

use std::{
    ffi::OsString,
    io::{self, Read},
    mem::replace,
    panic::{self, UnwindSafe},
    path::{Path, PathBuf},
    thread,
};

use restante_auth::{
    Account, Directories,
    directory::Lookup,
    users::{
        Knowledge, LineError,
        reading::{Reading, SETTLES_AFTER},
    },
};
use restante_proto::UserName;
use restante_sasl::Needs;
use restante_store::{
    DeliverError, MaildirStore, Store as _,
    maildir::{Options, Template},
};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    directories::{self, USERS},
    failure::{Failure, Kind},
    logging,
    settings::{self, DEFAULT_FILE, Loaded, Settings, Store, document::Places},
};

/// How much is read at a time, in octets.
const PIECE_OCTETS: usize = 64 * 1024;

/// How much of a message that is refused is still read, in octets, so that its sender meets our exit status and not a
/// broken pipe.
const REFUSED_MAX_OCTETS: u64 = 1 << 30;

/// Delivers one message from standard input
#[derive(clap::Args)]
#[command(after_help = "Exit status:
  0   delivered
  65  the message is longer than the limit
  67  there is no such user
  75  all else, wrong usage included: the mail transfer agent keeps the mail and tries again

Examples:
  restante deliver --user john.doe@example.org < message
  Postfix, master.cf:
    restante unix - n n - - pipe flags=DRX user=vmail
      argv=/usr/bin/restante deliver --user ${recipient}
  and main.cf, since each call delivers to one user (without it, mail to two is deferred for ever):
    restante_destination_recipient_limit = 1")]
pub(crate) struct Args {
    // A recipient may begin with a hyphen, and is unknown then, not wrong usage.
    /// Whose maildrop
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    user: String,

    /// The configuration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
}

/// Whether the command line calls this subcommand, be the rest of it right or wrong.
pub(crate) fn is_called(arguments: &[OsString]) -> bool {
    let named = arguments.iter().skip(1).find(|argument| !argument.as_encoded_bytes().starts_with(b"-"));
    named.is_some_and(|name| name == "deliver")
}

/// Does `work` for an MTA: whatever goes wrong, and be it a panic, it is told to try again, unless the mail itself or
/// its address is at fault.
pub(crate) fn for_an_mta(work: impl FnOnce() -> Result<(), Failure> + UnwindSafe) -> Result<(), Failure> {
    match panic::catch_unwind(work) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(match failure.kind() {
            Kind::NoUser | Kind::TooLong | Kind::TryAgain => failure,
            Kind::Hangup | Kind::Failed | Kind::Usage => failure.with_kind(Kind::TryAgain),
        }),
        Err(_) => {
            Err(Failure::failed("restante has a fault; the mail was not delivered").with_kind(Kind::TryAgain))
        }
    }
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    outlive_the_file_size_limit()?;
    let Loaded { settings, places } = settings::load(&args.config)?;
    logging::start(&settings.log);
    // What is no user name is nobody's name.
    let user = UserName::new(&args.user).map_err(|_| unknown(&args.user))?;
    let account = account(&user, &settings, &places)?;
    match settings.store() {
        Store::Maildir(template) => deliver(&account, template, settings.limits.message_octets),
        Store::Memory => {
            Err(Failure::failed("the store is in the server's memory, which no other program can reach")
                .hint("set maildir in [store]"))
        }
    }
}

fn unknown(name: &str) -> Failure {
    Failure::failed(format!("there is no user {name:?}")).with_kind(Kind::NoUser)
}

/// Whose mail it is, and where it goes.
fn account(user: &UserName, settings: &Settings, places: &Places) -> Result<Account, Failure> {
    let fail = |error: io::Error| Failure::failed(format!("cannot ask the directories: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    let _runtime = runtime.enter();
    let directories = directories::for_delivery(settings, places)?;
    runtime.block_on(whose(user, &directories, || in_users_file(user, &settings.auth.users)))
}

/// Asks the directories in their order, as a login does. Mail bounces only if each of them knows that there is no such user.
/// Where one cannot tell without a password or token, the mail is delivered: to whom mail may come at all is for the mail
/// transfer agent to know there. One that fails makes it try again.
async fn whose(
    user: &UserName,
    directories: &Directories,
    in_users_file: impl Fn() -> Result<Option<Account>, Failure>,
) -> Result<Account, Failure> {
    let mut can_tell = true;
    for route in directories.routes_of(user.as_str()) {
        if route.name == USERS {
            if let Some(account) = in_users_file()? {
                return Ok(account);
            }
            continue;
        }
        if !route.directory.can(Needs::Password) {
            can_tell = false;
            continue;
        }
        match route.lookup(user).await {
            Ok(Lookup::Known(entry)) => return Ok(entry.account),
            // Who is locked out has mail all the same.
            Ok(Lookup::LockedOut(account)) => return Ok(*account),
            Ok(Lookup::Unknown) => {}
            Ok(Lookup::Ask) => can_tell = false,
            Err(error) => {
                let name = route.name;
                return Err(Failure::failed(format!("{user} could not be looked up in [{name}]: {error}")));
            }
        }
    }
    if can_tell { Err(unknown(user.as_str())) } else { Ok(Account::new(user.clone())) }
}

/// The account, if the users file has it; `None` only if it certainly lacks the name.
fn in_users_file(user: &UserName, file: &Path) -> Result<Option<Account>, Failure> {
    let read = || Reading::of(file).map_err(|error| Failure::failed(error.to_string()));
    let mut reading = read()?;
    let mut settled = reading.is_settled();
    // Somebody may be writing the file just now, and the name may still come.
    if !settled && reading.users.knows(user) == Knowledge::Stranger {
        thread::sleep(SETTLES_AFTER);
        let earlier = replace(&mut reading, read()?);
        settled = reading.is_settled_since(&earlier);
    }
    let path = file.display();
    match reading.users.knows(user) {
        // Who is locked out has mail all the same.
        Knowledge::User | Knowledge::LockedOut => Ok(reading.users.account(user)),
        Knowledge::Damaged { line } => {
            Err(Failure::failed(format!("no sound line for {user} in {path}: line {line} is damaged"))
                .hint("`restante user list` says what is wrong with it"))
        }
        // The damaged line may be this user's: mail must not bounce for a slip of the pen.
        Knowledge::Unclear => {
            let damaged = reading.damaged.iter().find(|error| !error.has_name());
            let damaged = damaged.map_or_else(|| "damaged lines".to_owned(), LineError::to_string);
            Err(Failure::failed(format!("no sound line for {user} in {path}: {damaged}")))
        }
        Knowledge::Stranger if settled => Ok(None),
        Knowledge::Stranger => {
            let why =
                if reading.is_whole() { "is being changed" } else { "is empty, or its last line has no end" };
            Err(Failure::failed(format!("no line for {user} in {path}, which {why}")))
        }
    }
}

fn deliver(account: &Account, template: Template, limit_octets: u64) -> Result<(), Failure> {
    let options = Options { message_limit_octets: Some(limit_octets), ..Options::default() };
    let store = MaildirStore::new(template, options);
    let mut delivery = store.deliver_at(&account.name, account.maildrop.as_deref()).map_err(fail)?;
    let mut input = io::stdin().lock();
    let mut piece = vec![0; PIECE_OCTETS];
    loop {
        let octets = match input.read(&mut piece) {
            Ok(0) => break,
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::failed(format!("cannot read the message: {error}"))),
        };
        if let Err(error) = delivery.write(&piece[..octets]) {
            drop(delivery);
            // Read off; what is read or not makes no difference to the failure that is told.
            drop(io::copy(&mut input.take(REFUSED_MAX_OCTETS), &mut io::sink()));
            return Err(fail(error));
        }
    }
    delivery.commit().map_err(fail)
}

fn fail(error: DeliverError) -> Failure {
    let failure = Failure::failed(error.to_string());
    match error {
        DeliverError::TooLong { .. } => failure.with_kind(Kind::TooLong),
        DeliverError::NoPlace | DeliverError::Broken { .. } => failure.with_kind(Kind::TryAgain),
    }
}

/// An MTA may run us under a limit of the size of files (Postfix does, by `mailbox_size_limit`). Crossing it raises a
/// signal that ends the process; where the signal is handled, the write fails instead, as on a full disk.
fn outlive_the_file_size_limit() -> Result<(), Failure> {
    let fail = |error: io::Error| Failure::failed(format!("cannot handle signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(fail)?;
    let _runtime = runtime.enter();
    // The handler stays when the runtime is gone; nobody waits for the signal.
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop).map_err(fail)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use restante_auth::{
        Directory, Entry, MemoryDirectory, Route, StoredPassword,
        directory::{LookupError, Task},
    };

    use super::*;

    #[test]
    fn every_failure_but_two_means_try_again() {
        let kind = |failure: Failure| for_an_mta(|| Err(failure)).unwrap_err().kind();
        assert_eq!(kind(Failure::failed("")), Kind::TryAgain);
        assert_eq!(kind(Failure::usage("")), Kind::TryAgain);
        assert_eq!(kind(Failure::silent(Kind::Hangup)), Kind::TryAgain);
        assert_eq!(kind(Failure::failed("").with_kind(Kind::NoUser)), Kind::NoUser);
        assert_eq!(kind(Failure::failed("").with_kind(Kind::TooLong)), Kind::TooLong);
        assert_eq!(for_an_mta(|| Ok(())), Ok(()));
    }

    /// Says the same of every name.
    #[derive(Debug)]
    struct Saying(Option<Lookup>, bool);

    impl Directory for Saying {
        fn lookup<'a>(&'a self, _: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
            let broken = || LookupError::Broken {
                context: "asking".to_owned(),
                source: io::ErrorKind::TimedOut.into(),
            };
            let said = self.0.clone().ok_or_else(broken);
            Box::pin(async { said })
        }

        fn can(&self, needs: Needs) -> bool {
            if self.1 { needs == Needs::Password } else { needs == Needs::Token }
        }

        fn stand_in(&self, _: &str) -> Option<StoredPassword> {
            None
        }
    }

    fn at(place: &str) -> Account {
        Account { maildrop: Some(place.to_owned()), ..Account::new(UserName::new("ann").unwrap()) }
    }

    /// Where mail for ann goes, with the users file first and then directories that say this.
    fn goes(
        file: impl Fn() -> Result<Option<Account>, Failure>,
        said: Vec<Saying>,
    ) -> Result<Option<String>, Kind> {
        let route = |saying| Route::new("said", Arc::new(saying) as Arc<dyn Directory>);
        let users = Route::new(USERS, Arc::new(MemoryDirectory::default()) as Arc<dyn Directory>);
        let routes = [users].into_iter().chain(said.into_iter().map(route)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (user, directories) = (UserName::new("ann").unwrap(), Directories::new(routes));
        let found = runtime.block_on(whose(&user, &directories, file));
        found.map(|account| account.maildrop).map_err(|failure| failure.kind())
    }

    #[test]
    fn mail_bounces_only_if_every_directory_knows_that_there_is_no_such_user() {
        let known =
            |place| Lookup::Known(Box::new(Entry { account: at(place), password: None, keys: Vec::new() }));
        let says = |lookup| Saying(Some(lookup), true);
        assert_eq!(goes(|| Ok(None), vec![]), Err(Kind::NoUser));
        assert_eq!(goes(|| Ok(None), vec![says(Lookup::Unknown)]), Err(Kind::NoUser));
        assert_eq!(goes(|| Ok(Some(at("/a"))), vec![Saying(None, true)]), Ok(Some("/a".to_owned())));
        let second = vec![says(Lookup::Unknown), says(known("/b")), says(known("/c"))];
        assert_eq!(goes(|| Ok(None), second), Ok(Some("/b".to_owned())), "the first that knows");
        let locked_out = vec![says(Lookup::LockedOut(Box::new(at("/d"))))];
        assert_eq!(goes(|| Ok(None), locked_out), Ok(Some("/d".to_owned())));
        // One that fails may know the user, whatever others say.
        assert_eq!(goes(|| Ok(None), vec![Saying(None, true), says(Lookup::Unknown)]), Err(Kind::Failed));
        assert_eq!(goes(|| Err(Failure::failed("")), vec![says(known("/b"))]), Err(Kind::Failed));
        // Only a password tells, or a token.
        assert_eq!(goes(|| Ok(None), vec![says(Lookup::Ask), says(Lookup::Unknown)]), Ok(None));
        assert_eq!(goes(|| Ok(None), vec![Saying(Some(Lookup::Unknown), false)]), Ok(None));
    }

    #[test]
    fn a_panic_means_try_again() {
        let failure = for_an_mta(|| panic!("a fault, on purpose")).unwrap_err();
        assert_eq!(failure.kind(), Kind::TryAgain);
    }

    #[test]
    fn the_subcommand_is_known_by_its_name_alone() {
        let called = |line: &str| is_called(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(called("restante deliver") && called("restante --nonsense deliver --user"));
        assert!(!called("restante") && !called("restante user deliver"));
    }

    #[test]
    fn what_the_store_says_becomes_a_status() {
        assert_eq!(fail(DeliverError::TooLong { limit_octets: 1 }).kind(), Kind::TooLong);
        assert_eq!(fail(DeliverError::NoPlace).kind(), Kind::TryAgain);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(
            fail(DeliverError::Broken { context: String::new(), source: full }).kind(),
            Kind::TryAgain
        );
    }
}
