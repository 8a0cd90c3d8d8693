//! `restante user`: the accounts of a users file. What a line looks like, and how the file is replaced safely, is
//! `restante_auth::users`; here are the words.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use restante_auth::{
    Entry, UsersFile,
    scheme::{self, SCHEMES},
    users::edit::{self, Added, EditError, NewLogin},
};
use restante_proto::UserName;
use restante_sasl::{
    MECHANISMS, Needs,
    scram::{Hash, can_carry},
};
use serde_json::json;

use crate::{
    failure::Failure,
    output::{self, Label},
    password::PasswordArgs,
    settings::{self, DEFAULT_FILE},
};

/// Adds, changes, removes and lists accounts
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante user add john.doe@example.org
  restante user passwd john.doe@example.org --password-command 'pass show mail/john'
  restante user list --json")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    Add(Add),
    Passwd(Passwd),
    Remove(Remove),
    List(List),
}

/// Adds an account
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante user add john.doe@example.org
  printf '%s\\n' \"$password\" | restante user add john.doe@example.org --users ./users")]
struct Add {
    #[command(flatten)]
    new: NewPassword,
}

/// Gives an account a new password
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante user passwd john.doe@example.org
  restante user passwd john.doe@example.org --password-file ./secret")]
struct Passwd {
    #[command(flatten)]
    new: NewPassword,
}

/// Removes an account; its mail stays where it is
#[derive(clap::Args)]
#[command(after_help = "Example:
  restante user remove john.doe@example.org")]
struct Remove {
    /// The user's name
    #[arg(value_parser = UserName::new)]
    name: UserName,

    #[command(flatten)]
    place: Place,
}

/// Lists the accounts, how their passwords are stored, and the mechanisms that they can log in by
///
/// A mechanism is offered to all or to nobody, since a client does not try another: SCRAM where every account has keys or is
/// {PLAIN}, CRAM-MD5 and APOP where every account is {PLAIN} and the configuration asks for them.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante user list
  restante user list --json")]
struct List {
    /// Prints a JSON list of objects with name, scheme, mechanisms and line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
}

#[derive(clap::Args)]
struct NewPassword {
    /// The user's name
    #[arg(value_parser = UserName::new)]
    name: UserName,

    /// How the password is stored
    #[arg(long, ignore_case = true, default_value = SCHEMES[0].name, value_parser = schemes())]
    scheme: String,

    /// Makes no SCRAM keys beside the hash. Then SCRAM is offered to nobody, and TLS alone protects passwords on their way; but who
    /// steals the users file has to guess at the hash, which costs him far more for each guess than SCRAM keys do
    #[arg(long)]
    no_scram: bool,

    /// Makes no keys of SCRAM-SHA-1, which old clients know alone, and by which guesses at a stolen users file are the quickest
    #[arg(long)]
    no_scram_sha_1: bool,

    #[command(flatten)]
    password: PasswordArgs,

    #[command(flatten)]
    place: Place,
}

/// Which users file.
#[derive(clap::Args)]
#[group(multiple = false)]
struct Place {
    /// The configuration that names the users file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,

    /// The users file itself
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
}

/// The schemes that new passwords can be stored with.
fn schemes() -> PossibleValuesParser {
    SCHEMES.iter().filter(|scheme| scheme.create.is_some()).map(|scheme| scheme.name).into()
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Add(Add { new }) => {
            let file = new.place.file()?;
            // Before anybody is asked for a password; `add` looks again, under its lock.
            edit::check_name(&new.name).map_err(fail)?;
            if file.exists() && edit::list(&file).is_ok_and(|(users, _)| users.get(&new.name).is_some()) {
                return Err(fail(EditError::Exists(new.name)));
            }
            if edit::add(&file, &new.name, &new.login()?).map_err(fail)? == Added::ToNewFileOfRoot {
                let (file, colour) = (file.display(), output::stderr_takes_colour());
                let hint = format!(
                    "root alone can read the new file {file}; if the server's user is vmail: \
                     `chown root:vmail {file} && chmod 640 {file}`"
                );
                output::eprint(&Label::Hint.line(&hint, colour));
            }
            Ok(())
        }
        Action::Passwd(Passwd { new }) => {
            let file = new.place.file()?;
            edit::set_password(&file, &new.name, &new.login()?).map_err(fail)
        }
        Action::Remove(Remove { name, place }) => edit::remove(&place.file()?, &name).map_err(fail),
        Action::List(List { json, place }) => list(&place.file()?, json),
    }
}

impl Place {
    fn file(&self) -> Result<PathBuf, Failure> {
        if let Some(users) = &self.users {
            return Ok(users.clone());
        }
        let loaded =
            settings::load(&self.config).map_err(|e| e.hint("--users FILE names the users file itself"))?;
        if loaded.settings.users_file().is_none() {
            let warning =
                "the server does not ask the users file: [auth] directories does not name \"users\"";
            output::warn(&[warning.to_owned()]);
        }
        Ok(loaded.settings.auth.users)
    }
}

impl NewPassword {
    /// Asks for the password, and makes a hash and keys of it.
    fn login(&self) -> Result<NewLogin, Failure> {
        let password = self.password.read_new(&format!("New password of {}", self.name))?;
        let scheme = scheme::find(&self.scheme)
            .ok_or_else(|| Failure::usage(format!("there is no password scheme {}", self.scheme)))?;
        let wanted = |hash: &Hash| !(self.no_scram || self.no_scram_sha_1 && *hash == Hash::Sha1);
        let keys: Vec<_> = Hash::ALL.into_iter().filter(wanted).collect();
        let login =
            NewLogin::create(scheme, &password, &keys).map_err(|error| Failure::failed(error.to_string()))?;
        if !self.no_scram && !can_carry(password.expose()) {
            // Or one user's emoji would take SCRAM from all.
            return Err(Failure::failed("SCRAM cannot carry this password, which holds a control character or one that is newer than Unicode 3.2, such as an emoji")
                .hint("take another one; or, with --no-scram, SCRAM is offered to nobody while this user has no keys, and clients that remember it refuse to log in"));
        }
        Ok(login)
    }
}

fn list(file: &Path, as_json: bool) -> Result<(), Failure> {
    let (users, damaged) = edit::list(file).map_err(fail)?;
    let warnings: Vec<_> = damaged.iter().map(|error| format!("{}: {error}", file.display())).collect();
    output::warn(&warnings);
    let listed =
        || users.iter().map(|(name, stored, line)| (name, stored.scheme(), mechanisms(&users, name), line));
    if as_json {
        let object = |(name, scheme, mechanisms, line): (&UserName, _, Vec<_>, _)| json!({ "name": name.as_str(), "scheme": scheme, "mechanisms": mechanisms, "line": line });
        let list: Vec<_> = listed().map(object).collect();
        return output::print(&format!("{}\n", serde_json::Value::from(list)));
    }
    let widest = users.iter().map(|(name, ..)| name.as_str().chars().count()).max().unwrap_or(0);
    let scheme_widest = users.iter().map(|(_, stored, _)| stored.scheme().len()).max().unwrap_or(0);
    let line = |(name, scheme, mechanisms, _): (&UserName, &str, Vec<&str>, usize)| {
        // Who can log in by a mechanism can do so with its channel binding, too.
        let shown: Vec<_> = mechanisms.into_iter().filter(|name| !name.ends_with("-PLUS")).collect();
        format!("{:widest$}  {scheme:scheme_widest$}  {}\n", name.as_str(), shown.join(" "))
    };
    output::print(&listed().map(line).collect::<String>())
}

/// The mechanisms that a user's password is enough for, as far as it is stored; the one to prefer first.
fn mechanisms(users: &UsersFile, name: &UserName) -> Vec<&'static str> {
    let Some(entry) = users.entry(name) else { return Vec::new() };
    let by_password = MECHANISMS.iter().filter(|mechanism| mechanism.needs != Needs::Certificate);
    let sasl = by_password.filter(|mechanism| entry.can(mechanism.needs)).map(|mechanism| mechanism.name);
    sasl.chain(apop(&entry)).collect()
}

/// APOP is a command of its own (RFC 1939 §7).
fn apop(entry: &Entry) -> Option<&'static str> {
    entry.can(Needs::Plaintext).then_some("APOP")
}

fn fail(error: EditError) -> Failure {
    let failure = Failure::failed(error.to_string());
    match error {
        EditError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            failure.hint("the users file belongs to the server's user; run this as that user or as root")
        }
        EditError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            failure.hint("`restante user add` makes the file, but not the folder that it is in")
        }
        _ => failure,
    }
}
