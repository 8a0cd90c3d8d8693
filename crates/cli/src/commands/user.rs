//! `restante user`: the accounts of a users file. What a line looks like, and how the file is replaced safely, is
//! `restante_auth::users`; here are the words.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use restante_auth::{
    scheme::{self, SCHEMES},
    users::edit::{self, Added, EditError},
};
use restante_proto::{Secret, UserName};
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

/// Lists the accounts and how their passwords are stored
#[derive(clap::Args)]
#[command(after_help = "Examples:
  restante user list
  restante user list --json")]
struct List {
    /// Prints a JSON list of objects with name, scheme and line
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
            if edit::add(&file, &new.name, &new.stored()?).map_err(fail)? == Added::ToNewFileOfRoot {
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
            edit::set_password(&file, &new.name, &new.stored()?).map_err(fail)
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
        let loaded = settings::load(&self.config);
        loaded
            .map(|loaded| loaded.settings.auth.users)
            .map_err(|e| e.hint("--users FILE names the users file itself"))
    }
}

impl NewPassword {
    /// Asks for the password and makes `{SCHEME}hash` of it.
    fn stored(&self) -> Result<Secret<String>, Failure> {
        let password = self.password.read_new(&format!("New password of {}", self.name))?;
        let scheme = scheme::find(&self.scheme)
            .ok_or_else(|| Failure::usage(format!("there is no password scheme {}", self.scheme)))?;
        scheme::create(scheme, &password).map_err(|error| Failure::failed(error.to_string()))
    }
}

fn list(file: &Path, as_json: bool) -> Result<(), Failure> {
    let (users, damaged) = edit::list(file).map_err(fail)?;
    let warnings: Vec<_> = damaged.iter().map(|error| format!("{}: {error}", file.display())).collect();
    output::warn(&warnings);
    if as_json {
        let object = |(name, stored, line): (&UserName, &restante_auth::StoredPassword, usize)| json!({ "name": name.as_str(), "scheme": stored.scheme(), "line": line });
        let list: Vec<_> = users.iter().map(object).collect();
        return output::print(&format!("{}\n", serde_json::Value::from(list)));
    }
    let widest = users.iter().map(|(name, ..)| name.as_str().chars().count()).max().unwrap_or(0);
    let lines =
        users.iter().map(|(name, stored, _)| format!("{:widest$}  {}\n", name.as_str(), stored.scheme()));
    output::print(&lines.collect::<String>())
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
