//! The users file: `name:{SCHEME}hash`, one user a line; `#` comments; blank lines; of further fields, as Dovecot's
//! passwd-file has them, `extras.rs` knows some, and the others are ignored. The comment `#salt-key` is none: see
//! [`UsersFile::salt_key`].
//!
//! Reading is pure and lives here: a damaged line is reported, by its number and without its text, and the rest works.
//! Writing for `restante user` lives in [`edit`]; watching the file for changes lives in the directory.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry as Slot},
    fmt,
    sync::Arc,
};

use restante_proto::{Secret, UserName, user::InvalidUserName};
use restante_sasl::{
    Needs,
    scram::{Hash, Keys},
};

use crate::{
    directory::{Account, Entry, KeysLike, Shape},
    scheme::{SchemeError, StoredPassword},
};

pub mod edit;
mod extras;
pub mod reading;
#[cfg(test)]
mod tests;

use extras::Extras;
pub use extras::{FieldProblem, LOGIN_DELAY_MAX_SECONDS, read_salt_key};

/// The longest line, in octets.
pub const LINE_MAX_OCTETS: usize = 4096;
/// The largest file, in octets.
pub const FILE_MAX_OCTETS: u64 = 64 * 1024 * 1024;
/// The most users in one file; more belong into another kind of directory.
pub const USERS_MAX: usize = 1_000_000;
/// The most damaged lines that are reported one by one.
pub const LINE_ERRORS_MAX: usize = 100;

/// What some editors put in front of a file; where files were joined it stands further down, too.
const ENCODING_MARK: &[u8] = b"\xef\xbb\xbf";

/// The users of a file, and what they log in with.
#[derive(Default)]
pub struct UsersFile {
    /// In the order of the file.
    users: Vec<User>,
    /// Those whose password is damaged or locks them out.
    left_out: Vec<LeftOut>,
    by_name: HashMap<UserName, Place>,
    /// Whether some line was left out whose name is not known.
    names_are_missing: bool,
    salt_key: Option<Secret<[u8; 32]>>,
    /// How many users lack what a mechanism needs.
    lacks: Lacks,
    /// How many users' SCRAM keys are like this.
    shapes: BTreeMap<Shape, usize>,
}

/// How many users cannot log in by mechanisms that need this.
#[derive(Clone, Copy, Default)]
struct Lacks {
    sha256: usize,
    sha1: usize,
    plaintext: usize,
}

/// Where a name is: at this index of the users, or of those who were left out.
#[derive(Clone, Copy)]
enum Place {
    Sound(usize),
    LeftOut(usize),
}

struct LeftOut {
    line: usize,
    is_locked_out: bool,
    extras: Extras,
}

/// What a users file knows of a name. Who cannot log in may well be there, and have mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// A user who can log in.
    User,
    /// A user who is locked out by a `!` or `*` in front of the password.
    LockedOut,
    /// The name stands in this line, whose password is damaged or of an unsupported scheme.
    Damaged {
        /// The number of the line, from 1.
        line: usize,
    },
    /// Not seen; but some line's name could not be read, and it may be this one.
    Unclear,
    /// There is no such user.
    Stranger,
}

struct User {
    line: usize,
    password: StoredPassword,
    extras: Extras,
}

/// A line that was left out, and why. No text of the line is in it: a misplaced password must not reach a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: LineProblem,
}

impl LineError {
    /// Whether it only says that somebody was locked out by a `!` or `*` in front of the password.
    pub const fn is_locked_out(&self) -> bool {
        matches!(self.problem, LineProblem::Password(SchemeError::LockedOut { .. }))
    }

    /// Whether it is known whose line it is, or that it is nobody's.
    pub const fn has_name(&self) -> bool {
        matches!(
            self.problem,
            LineProblem::Password(_)
                | LineProblem::Duplicate { .. }
                | LineProblem::Field(_)
                | LineProblem::SaltKey
        )
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// It is longer than any user's line.
    #[error("longer than {LINE_MAX_OCTETS} octets")]
    TooLong,
    /// It has no colon.
    #[error("no colon; a line is name:{{SCHEME}}hash")]
    NoColon,
    /// The name is no text.
    #[error("the name is not UTF-8")]
    NameEncoding,
    /// The name is none.
    #[error("{}", name_problem(.0))]
    Name(InvalidUserName),
    /// The password is none.
    #[error(transparent)]
    Password(#[from] SchemeError),
    /// A further field is none; the user can log in all the same.
    #[error(transparent)]
    Field(#[from] FieldProblem),
    /// The salt key is none.
    #[error(
        "what follows #salt-key is not 32 octets in base64; remove the line, and the next `restante user passwd` makes a new one"
    )]
    SaltKey,
    /// The name was there before.
    #[error("the user stands in line {first} already, which is the line that counts")]
    Duplicate {
        /// The line that counts.
        first: usize,
    },
    /// This line and all after it were not read.
    #[error("more than {USERS_MAX} users; this line and all after it are left out")]
    TooManyUsers,
    /// This and more damaged lines were left out without being listed.
    #[error("this and {others} later lines are damaged, too")]
    AndOthers {
        /// How many more.
        others: usize,
    },
}

/// As `InvalidUserName` says it, but for the character: it might be one of a password.
fn name_problem(problem: &InvalidUserName) -> String {
    match problem {
        InvalidUserName::Character(_) => "the user name holds a character that is not allowed".to_owned(),
        other => other.to_string(),
    }
}

impl UsersFile {
    /// Reads a users file, whatever octets it is made of.
    ///
    /// ```
    /// use restante_auth::UsersFile;
    /// let (users, errors) = UsersFile::parse(b"# staff\nAnn@example.org:{PLAIN}abcxyz:1000:1000\nbob\n");
    /// assert_eq!(users.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["ann@example.org"]);
    /// assert_eq!(errors[0].to_string(), "line 3: no colon; a line is name:{SCHEME}hash");
    /// ```
    pub fn parse(text: &[u8]) -> (Self, Vec<LineError>) {
        let mut file = Self::default();
        let mut errors = Errors::default();
        for (index, line) in lines(text).enumerate() {
            let number = index + 1;
            if let Some(key) = extras::salt_key(line) {
                match key {
                    Some(key) if file.salt_key.is_none() => file.salt_key = Some(key),
                    Some(_) => {}
                    None => errors.push(number, LineProblem::SaltKey),
                }
                continue;
            }
            let fields = match Fields::of(line) {
                Ok(None) => continue,
                Ok(Some(fields)) => fields,
                Err(problem) => {
                    file.names_are_missing = true;
                    errors.push(number, problem);
                    continue;
                }
            };
            if file.by_name.len() == USERS_MAX {
                file.names_are_missing = true;
                errors.push(number, LineProblem::TooManyUsers);
                break;
            }
            let (extras, wrong) = Extras::of(fields.rest);
            if let Err(problem) = file.insert(number, fields.name, fields.password, extras) {
                errors.push(number, problem);
            } else if let Some(wrong) = wrong {
                errors.push(number, wrong.into());
            }
        }
        (file, errors.list)
    }

    /// Takes a line in. The first line of a name counts even if its password is damaged: somebody who was locked out
    /// by such a line is not let in by one that was forgotten further down.
    fn insert(
        &mut self,
        line: usize,
        name: UserName,
        password: &[u8],
        extras: Extras,
    ) -> Result<(), LineProblem> {
        let slot = match self.by_name.entry(name) {
            Slot::Vacant(slot) => slot,
            Slot::Occupied(slot) => {
                let first = match *slot.get() {
                    Place::Sound(index) => self.users.get(index).map(|user| user.line),
                    Place::LeftOut(index) => self.left_out.get(index).map(|left| left.line),
                };
                return Err(LineProblem::Duplicate { first: first.unwrap_or(0) });
            }
        };
        match StoredPassword::parse(password) {
            Ok(password) => {
                slot.insert(Place::Sound(self.users.len()));
                let user = User { line, password, extras };
                self.lacks.add(&user);
                let shape = user.shape();
                if shape.has_any() {
                    *self.shapes.entry(shape).or_default() += 1;
                }
                self.users.push(user);
                Ok(())
            }
            Err(error) => {
                slot.insert(Place::LeftOut(self.left_out.len()));
                let is_locked_out = matches!(error, SchemeError::LockedOut { .. });
                self.left_out.push(LeftOut { line, is_locked_out, extras });
                Err(error.into())
            }
        }
    }

    /// The password of a user.
    pub fn get(&self, user: &UserName) -> Option<&StoredPassword> {
        self.at(*self.by_name.get(user)?).map(|user| &user.password)
    }

    fn at(&self, place: Place) -> Option<&User> {
        match place {
            Place::Sound(index) => self.users.get(index),
            Place::LeftOut(_) => None,
        }
    }

    /// A user, and with what he logs in.
    pub fn entry(&self, user: &UserName) -> Option<Entry> {
        let found = self.at(*self.by_name.get(user)?)?;
        Some(Entry {
            account: found.extras.account(user),
            password: Some(found.password.clone()),
            keys: found.extras.keys.to_vec(),
        })
    }

    /// The account of somebody who stands there, be the password sound or not.
    pub fn account(&self, user: &UserName) -> Option<Account> {
        let extras = match *self.by_name.get(user)? {
            Place::Sound(index) => &self.users.get(index)?.extras,
            Place::LeftOut(index) => &self.left_out.get(index)?.extras,
        };
        Some(extras.account(user))
    }

    /// What the salts of those who are not there are made from: 32 octets in base64 in a line `#salt-key …`, which
    /// `restante user` writes. It has to stay, since the salts of users stay, too.
    pub const fn salt_key(&self) -> Option<&Secret<[u8; 32]>> {
        self.salt_key.as_ref()
    }

    /// How many users cannot log in by a mechanism that needs this.
    pub const fn lacking(&self, needs: Needs) -> usize {
        match needs {
            Needs::Password | Needs::Certificate => 0,
            Needs::Keys(Hash::Sha256) => self.lacks.sha256,
            Needs::Keys(Hash::Sha1) => self.lacks.sha1,
            Needs::Plaintext => self.lacks.plaintext,
            Needs::Token => self.users.len(),
        }
    }

    /// What the keys of a part of the users are like: `point` says how far into them, counted by what they are like, so
    /// that one user more or less moves few points. Of both hashes together, as one user has them; where that user has none
    /// of this hash, as another's of it.
    pub(crate) fn keys_like(&self, point: u64, hash: Hash) -> Option<KeysLike> {
        let at = |point: u64, may: &dyn Fn(&Shape) -> bool| {
            let those = || self.shapes.iter().filter(|(shape, _)| may(shape));
            let index = part_of(point, those().map(|(_, count)| count).sum());
            let mut before = 0;
            those().find_map(|(shape, count)| {
                before += count;
                (index < before).then_some(*shape)
            })
        };
        let like = at(point, &|_| true)?.of(hash);
        // Another point, since the first one tells what the keys of the other hash are like.
        like.or_else(|| at(point.rotate_left(32), &|shape| shape.of(hash).is_some())?.of(hash))
    }

    /// Whether a user has SCRAM keys, whose salt is what it is: those who are not there need a salt that stays, too.
    pub fn has_keys(&self) -> bool {
        self.shapes.keys().any(Shape::is_kept)
    }

    /// What the file knows of a name: whether it stands there, be the rest of its line sound or damaged.
    pub fn knows(&self, user: &UserName) -> Knowledge {
        match self.by_name.get(user) {
            Some(Place::Sound(_)) => Knowledge::User,
            Some(&Place::LeftOut(index)) => match self.left_out.get(index) {
                Some(&LeftOut { line, is_locked_out: false, .. }) => Knowledge::Damaged { line },
                _ => Knowledge::LockedOut,
            },
            None if self.names_are_missing => Knowledge::Unclear,
            None => Knowledge::Stranger,
        }
    }

    /// Every user in the order of the file, with the number of the line.
    pub fn iter(&self) -> impl Iterator<Item = (&UserName, &StoredPassword, usize)> {
        let sound = self.by_name.iter().filter_map(|(name, &place)| Some((self.at(place)?, name)));
        let mut users: Vec<_> = sound.collect();
        users.sort_unstable_by_key(|(user, _)| user.line);
        users.into_iter().map(|(user, name)| (name, &user.password, user.line))
    }

    /// How many users there are.
    pub const fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no user.
    pub const fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// One user's password: what [`crate::Directory::stand_in`] picks from. `point` says how far into the file.
    pub(crate) fn password_at(&self, point: u64) -> Option<&StoredPassword> {
        self.users.get(part_of(point, self.users.len())).map(|user| &user.password)
    }
}

/// `point`, a part of 2⁶⁴, as the same part of `whole`.
fn part_of(point: u64, whole: usize) -> usize {
    let part = (u128::from(point) * whole as u128) >> 64;
    usize::try_from(part).unwrap_or(0)
}

impl User {
    fn has_keys(&self, hash: Hash) -> bool {
        self.keys(hash).is_some()
    }

    fn keys(&self, hash: Hash) -> Option<&Arc<Keys>> {
        let first = self.password.keys().into_iter().chain(self.extras.keys.iter());
        first.into_iter().find(|keys| keys.hash() == hash)
    }

    fn shape(&self) -> Shape {
        Shape::new(self.password.plaintext().is_some(), |hash| self.keys(hash).map(|keys| &**keys))
    }
}

impl Lacks {
    fn add(&mut self, user: &User) {
        let is_plain = user.password.plaintext().is_some();
        self.sha256 += usize::from(!is_plain && !user.has_keys(Hash::Sha256));
        self.sha1 += usize::from(!is_plain && !user.has_keys(Hash::Sha1));
        self.plaintext += usize::from(!is_plain);
    }
}

impl fmt::Debug for UsersFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UsersFile({} users)", self.users.len())
    }
}

/// The two fields of a line that count, and where the rest begins.
struct Fields<'a> {
    name: UserName,
    password: &'a [u8],
    /// What follows the password: nothing, or a colon and more.
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Takes a line apart; `None` where it is blank or a comment.
    fn of(line: &'a [u8]) -> Result<Option<Self>, LineProblem> {
        let unmarked = line.strip_prefix(ENCODING_MARK).unwrap_or(line);
        let begin = unmarked.trim_ascii_start();
        if begin.is_empty() || begin.starts_with(b"#") {
            return Ok(None);
        }
        if line.len() > LINE_MAX_OCTETS {
            return Err(LineProblem::TooLong);
        }
        let line = unmarked;
        let colon = line.iter().position(|&octet| octet == b':').ok_or(LineProblem::NoColon)?;
        let name = std::str::from_utf8(&line[..colon]).map_err(|_| LineProblem::NameEncoding)?;
        let name = UserName::new(name).map_err(LineProblem::Name)?;
        let fields = &line[colon + 1..];
        let end = fields.iter().position(|&octet| octet == b':').unwrap_or(fields.len());
        let (password, rest) = fields.split_at(end);
        Ok(Some(Self { name, password, rest }))
    }
}

/// The lines of a file without their ends (LF or CRLF).
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&octet| octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The errors of a file, of which a broken file may have millions.
#[derive(Default)]
struct Errors {
    list: Vec<LineError>,
}

impl Errors {
    fn push(&mut self, line: usize, problem: LineProblem) {
        if self.list.len() < LINE_ERRORS_MAX {
            self.list.push(LineError { line, problem });
            return;
        }
        match self.list.last_mut() {
            Some(LineError { problem: LineProblem::AndOthers { others }, .. }) => *others += 1,
            Some(last) => last.problem = LineProblem::AndOthers { others: 1 },
            None => {}
        }
    }
}
