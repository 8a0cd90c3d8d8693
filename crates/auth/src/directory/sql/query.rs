//! The operator's query: its named parameters become those of the database. What stands in quotes or comments is left
//! as it is, and a name is never spliced into the text.

use super::Dialect;

/// The longest query, in octets.
pub const QUERY_MAX_OCTETS: usize = 64 * 1024;

/// What a query can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// `:user`, the whole name.
    User,
    /// `:local`, what stands before the last `@`.
    Local,
    /// `:domain`, what stands after it; empty where there is none.
    Domain,
}

const PARAMETERS: [(&str, Parameter); 3] =
    [("user", Parameter::User), ("local", Parameter::Local), ("domain", Parameter::Domain)];

/// A query as the database takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// With the database's own parameters.
    pub(super) text: String,
    /// What they are, in their order.
    pub(super) parameters: Vec<Parameter>,
    /// The words outside quotes and comments, and the quoted names, in lower case: by them columns are known.
    words: Vec<String>,
    /// Whether a `*` stands there, so that columns come which have no name here.
    has_star: bool,
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Nothing is asked.
    #[error("the query is empty")]
    Empty,
    /// More than anybody writes.
    #[error("the query has more than {QUERY_MAX_OCTETS} octets")]
    TooLong,
    /// A quote or a comment is never closed.
    #[error("the {0} in the query is never closed")]
    Unclosed(&'static str),
    /// A parameter that nobody knows.
    #[error("the query knows :user, :local and :domain, and no :{0}")]
    Unknown(String),
    /// The database's own sign of a parameter, of which nobody would know what it is.
    #[error("{0:?} is no parameter here; write :user, :local or :domain")]
    Foreign(char),
    /// It would find the same for everybody.
    #[error("the query asks for nobody: compare a column with :user, or with :local and :domain")]
    NoUser,
    /// More than one statement.
    #[error("the query is more than one statement; remove what stands after the ;")]
    Several,
    /// It finds no row.
    #[error("the query is no SELECT (nor a WITH with one), and finds nobody")]
    NoSelect,
    /// Its rows can have no password.
    #[error("the query has no column named password; write it so: SELECT hash AS password")]
    NoPassword,
}

impl Query {
    /// Reads the operator's query.
    pub(super) fn new(text: &str, dialect: Dialect) -> Result<Self, QueryError> {
        if text.trim().is_empty() {
            return Err(QueryError::Empty);
        }
        if text.len() > QUERY_MAX_OCTETS {
            return Err(QueryError::TooLong);
        }
        let mut scanner = Scanner { rest: text, dialect, query: Self::empty(), before: None, ended: false };
        while !scanner.rest.is_empty() {
            scanner.piece()?;
        }
        let query = scanner.query;
        if !query.parameters.iter().any(|parameter| *parameter != Parameter::Domain) {
            return Err(QueryError::NoUser);
        }
        Ok(query)
    }

    const fn empty() -> Self {
        Self { text: String::new(), parameters: Vec::new(), words: Vec::new(), has_star: false }
    }

    /// Whether it can find anybody, as far as its words tell.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        if !self.words.first().is_some_and(|word| matches!(word.as_str(), "select" | "with")) {
            return Err(QueryError::NoSelect);
        }
        if !self.has_star && !self.names("password") {
            return Err(QueryError::NoPassword);
        }
        Ok(())
    }

    /// Whether the query names this column.
    pub(super) fn names(&self, column: &str) -> bool {
        self.words.iter().any(|word| word == column)
    }
}

/// Goes through a query piece by piece.
struct Scanner<'a> {
    rest: &'a str,
    dialect: Dialect,
    query: Query,
    /// The character before what is left.
    before: Option<char>,
    /// Behind a semicolon.
    ended: bool,
}

impl<'a> Scanner<'a> {
    /// Takes the next piece: a quoted text, a comment, a parameter, a word, or a character.
    fn piece(&mut self) -> Result<(), QueryError> {
        use Dialect::{MySql, Postgres, Sqlite};
        let mut characters = self.rest.chars();
        let Some(first) = characters.next() else { return Ok(()) };
        let second = characters.next();
        let my = self.dialect == MySql;
        match (first, second) {
            ('-', Some('-')) if !my || is_comment_of_mysql(self.rest) => self.rest_of_line(),
            ('#', _) if my => self.rest_of_line(),
            ('/', Some('*')) => self.comment()?,
            _ if first.is_whitespace() => self.copy(first.len_utf8()),
            _ if self.ended => return Err(QueryError::Several),
            (';', _) => {
                // Not handed on: some take a statement without it only.
                self.rest = self.rest.get(1..).unwrap_or_default();
                self.ended = true;
            }
            ('\'', _) => {
                let escapes = my || (self.dialect == Postgres && self.is_escape_string());
                self.quoted('\'', escapes, "quote '")?;
            }
            ('"', _) => self.quoted('"', my, "quote \"")?,
            ('`', _) if self.dialect != Postgres => self.quoted('`', false, "quote `")?,
            ('[', _) if self.dialect == Sqlite => self.quoted(']', false, "bracket [")?,
            ('$', _) if self.dialect == Postgres => self.dollar()?,
            ('?', _) if self.dialect != Postgres => return Err(QueryError::Foreign('?')),
            ('@' | '$', Some(next)) if self.dialect == Sqlite && is_word(next) => {
                return Err(QueryError::Foreign(first));
            }
            (':', Some(':')) => self.copy(2),
            (':', Some(next)) if is_word_start(next) => self.parameter()?,
            _ if is_word_start(first) => {
                let word = self.word();
                self.query.words.push(word.to_lowercase());
                self.copy(word.len());
            }
            _ if first.is_ascii_digit() => {
                let word = self.word();
                self.copy(word.len());
            }
            _ => {
                self.query.has_star |= first == '*';
                self.copy(first.len_utf8());
            }
        }
        Ok(())
    }

    /// Hands so many octets on.
    fn copy(&mut self, octets: usize) {
        let (piece, rest) = self.rest.split_at_checked(octets).unwrap_or((self.rest, ""));
        self.query.text.push_str(piece);
        self.before = piece.chars().next_back().or(self.before);
        self.rest = rest;
    }

    fn word(&self) -> &'a str {
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        self.rest.get(..end).unwrap_or_default()
    }

    fn rest_of_line(&mut self) {
        self.copy(self.rest.find('\n').unwrap_or(self.rest.len()));
    }

    /// A comment between `/*` and `*/`, which PostgreSQL nests.
    fn comment(&mut self) -> Result<(), QueryError> {
        let (mut depth, mut at) = (0_usize, 0);
        while let Some(found) =
            self.rest.get(at..).and_then(|rest| rest.find(['/', '*']).map(|index| at + index))
        {
            let ahead = self.rest.get(found..).unwrap_or_default();
            if ahead.starts_with("/*") && (depth == 0 || self.dialect == Dialect::Postgres) {
                depth += 1;
                at = found + 2;
            } else if ahead.starts_with("*/") {
                depth -= 1;
                at = found + 2;
                if depth == 0 {
                    self.copy(at);
                    return Ok(());
                }
            } else {
                at = found + 1;
            }
        }
        Err(QueryError::Unclosed("comment /*"))
    }

    /// A quoted text, its closing mark doubled or, with `escapes`, behind a backslash where it does not close.
    fn quoted(&mut self, close: char, escapes: bool, what: &'static str) -> Result<(), QueryError> {
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            if escapes && character == '\\' {
                characters.next();
            } else if character == close {
                if close != ']' && characters.next_if(|&(_, next)| next == close).is_some() {
                    continue;
                }
                let inside = self.rest.get(1..at).unwrap_or_default().to_lowercase();
                if close != '\'' {
                    self.query.words.push(inside);
                }
                self.copy(at + character.len_utf8());
                return Ok(());
            }
        }
        Err(QueryError::Unclosed(what))
    }

    /// Whether the quote that is next belongs to PostgreSQL's `E'…'`.
    fn is_escape_string(&self) -> bool {
        matches!(self.before, Some('e' | 'E')) && self.query.words.last().is_some_and(|word| word == "e")
    }

    /// PostgreSQL's `$tag$ … $tag$`; `$1` is a parameter.
    fn dollar(&mut self) -> Result<(), QueryError> {
        let after = self.rest.get(1..).unwrap_or_default();
        if after.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(QueryError::Foreign('$'));
        }
        let tag = after
            .find(|c: char| !is_word(c))
            .filter(|&end| after.get(end..).is_some_and(|rest| rest.starts_with('$')));
        let Some(tag) = tag.and_then(|end| self.rest.get(..end + 2)) else {
            self.copy(1);
            return Ok(());
        };
        let inside = self.rest.get(tag.len()..).unwrap_or_default();
        let end = inside.find(tag).ok_or(QueryError::Unclosed("$quote$"))?;
        self.copy(tag.len() * 2 + end);
        Ok(())
    }

    fn parameter(&mut self) -> Result<(), QueryError> {
        self.rest = self.rest.get(1..).unwrap_or_default();
        let name = self.word();
        self.rest = self.rest.get(name.len()..).unwrap_or_default();
        let known = PARAMETERS.iter().find(|(known, _)| *known == name);
        let (_, parameter) = known.ok_or_else(|| QueryError::Unknown(name.to_owned()))?;
        let mark = match self.dialect {
            Dialect::MySql => {
                self.query.parameters.push(*parameter);
                "?".to_owned()
            }
            dialect => {
                let mut parameters = self.query.parameters.iter();
                let number = parameters.position(|known| known == parameter).unwrap_or_else(|| {
                    self.query.parameters.push(*parameter);
                    self.query.parameters.len() - 1
                });
                let sign = if dialect == Dialect::Postgres { '$' } else { '?' };
                format!("{sign}{}", number + 1)
            }
        };
        self.query.text.push_str(&mark);
        self.before = None;
        Ok(())
    }
}

/// MySQL's `--` begins a comment only before white space.
fn is_comment_of_mysql(rest: &str) -> bool {
    rest.chars().nth(2).is_none_or(|c| c.is_whitespace() || c.is_control())
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use Parameter::{Domain, Local, User};

    use super::*;

    fn query(text: &str, dialect: Dialect) -> Query {
        Query::new(text, dialect).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn parameters_become_the_databases_own() {
        let text = "SELECT p FROM u WHERE (l = :local AND d = :domain) OR m = :user OR n=:local";
        let made = query(text, Dialect::Postgres);
        assert_eq!(made.text, "SELECT p FROM u WHERE (l = $1 AND d = $2) OR m = $3 OR n=$1");
        assert_eq!(made.parameters, [Local, Domain, User]);
        let made = query(text, Dialect::Sqlite);
        assert_eq!(made.text, "SELECT p FROM u WHERE (l = ?1 AND d = ?2) OR m = ?3 OR n=?1");
        let made = query(text, Dialect::MySql);
        assert_eq!(made.text, "SELECT p FROM u WHERE (l = ? AND d = ?) OR m = ? OR n=?");
        assert_eq!(made.parameters, [Local, Domain, User, Local]);
    }

    /// Each with a `:user` that stays, and `:user` behind it that does not.
    #[test]
    fn what_is_quoted_stays() {
        use Dialect::{MySql, Postgres, Sqlite};
        let all = &[Postgres, MySql, Sqlite][..];
        for (dialects, quoted) in [
            (all, "':user'"),
            (all, "'it''s :user'"),
            (all, "\":user\""),
            (all, "\"a\"\":user\""),
            (all, "/* :user */"),
            (all, "/* ' :user */"),
            (all, "-- :user '\n"),
            (all, "'-- ' || ':user'"),
            (all, "'ö:user'"),
            (&[Postgres], "/* /* */ :user */"),
            (&[Postgres], "$$ :user ' $$"),
            (&[Postgres], "$a$ :user $$ $a$"),
            (&[Postgres], "E'\\' :user'"),
            (&[Postgres], "'\\' || ' :user'"),
            (&[Postgres], "a -> 'b' ? ':user'"),
            (&[Postgres], "'x'::text::varchar"),
            (&[Postgres], "a[1:2]"),
            (&[MySql], "'\\' :user'"),
            (&[MySql], "\"\\\" :user\""),
            (&[MySql], "# :user '\n"),
            (&[MySql, Sqlite], "`:user`"),
            (&[MySql, Sqlite], "`a``:user`"),
            (&[Sqlite], "[:user']"),
            (&[Sqlite], "'\\' || ' :user'"),
        ] {
            for &dialect in dialects {
                let mark = match dialect {
                    Postgres => "$1",
                    MySql => "?",
                    Sqlite => "?1",
                };
                let made = query(&format!("SELECT {quoted}, x WHERE n=:user"), dialect);
                assert_eq!(made.text, format!("SELECT {quoted}, x WHERE n={mark}"), "{dialect:?}");
                assert_eq!(made.parameters, [User], "{dialect:?} {quoted}");
            }
        }
    }

    #[test]
    fn a_cast_is_no_parameter_and_a_parameter_can_be_cast() {
        let made = query("SELECT :user::text, a::user WHERE n = :user", Dialect::Postgres);
        assert_eq!(made.text, "SELECT $1::text, a::user WHERE n = $1");
    }

    #[test]
    fn dashes_of_mysql_need_a_space() {
        let made = query("SELECT 5--:user", Dialect::MySql);
        assert_eq!(made.text, "SELECT 5--?");
        assert!(Query::new("SELECT 5--:user", Dialect::Sqlite).is_err(), "it is a comment there");
    }

    #[test]
    fn one_statement_may_end_with_a_semicolon() {
        let made = query("SELECT :user ; -- that is all\n", Dialect::Postgres);
        assert_eq!(made.text, "SELECT $1  -- that is all\n");
        let made = query("SELECT ';', :user", Dialect::Postgres);
        assert_eq!(made.text, "SELECT ';', $1");
        assert_eq!(Query::new("SELECT :user; DROP TABLE u", Dialect::MySql), Err(QueryError::Several));
    }

    #[test]
    fn what_is_wrong_is_said() {
        use Dialect::{MySql, Postgres, Sqlite};
        for (text, dialect, error) in [
            ("", Sqlite, QueryError::Empty),
            (" \n", Sqlite, QueryError::Empty),
            ("SELECT 1", Sqlite, QueryError::NoUser),
            ("SELECT ':user'", Sqlite, QueryError::NoUser),
            ("SELECT 1 WHERE d = :domain", Sqlite, QueryError::NoUser),
            ("SELECT :usr", Sqlite, QueryError::Unknown("usr".to_owned())),
            ("SELECT :users", Sqlite, QueryError::Unknown("users".to_owned())),
            ("SELECT :User", Sqlite, QueryError::Unknown("User".to_owned())),
            ("SELECT :user = ?", MySql, QueryError::Foreign('?')),
            ("SELECT :user = ?1", Sqlite, QueryError::Foreign('?')),
            ("SELECT :user = $user", Sqlite, QueryError::Foreign('$')),
            ("SELECT :user = @user", Sqlite, QueryError::Foreign('@')),
            ("SELECT :user = $1", Postgres, QueryError::Foreign('$')),
            ("SELECT :user'", Sqlite, QueryError::Unclosed("quote '")),
            ("SELECT :user /* ", Sqlite, QueryError::Unclosed("comment /*")),
            ("SELECT :user /*/", Sqlite, QueryError::Unclosed("comment /*")),
            ("SELECT :user $a$", Postgres, QueryError::Unclosed("$quote$")),
            ("SELECT :user [", Sqlite, QueryError::Unclosed("bracket [")),
            ("SELECT :user '\\'", MySql, QueryError::Unclosed("quote '")),
        ] {
            assert_eq!(Query::new(text, dialect), Err(error), "{text}");
        }
        let long = format!("SELECT :user {}", " ".repeat(QUERY_MAX_OCTETS));
        assert_eq!(Query::new(&long, Sqlite), Err(QueryError::TooLong));
    }

    #[test]
    fn columns_are_known_by_name() {
        let made = query(
            "SELECT password, scram AS \"SCRAM_SHA_256\", 'maildir' -- login_delay\n FROM u WHERE n = :user",
            Dialect::Postgres,
        );
        assert!(made.names("password") && made.names("scram_sha_256"));
        assert!(!made.names("maildir") && !made.names("login_delay") && !made.names("scram_sha_1"));
    }

    #[test]
    fn a_query_that_can_find_nobody_is_told() {
        let check = |text: &str| query(text, Dialect::Sqlite).check();
        for good in [
            "SELECT password FROM u WHERE n = :user",
            "-- users\n(select hash AS \"Password\" FROM u WHERE n = :user)",
            "SELECT u.* FROM u WHERE n = :user",
            "WITH u AS (SELECT * FROM v) SELECT n FROM u WHERE n = :user",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for wrong in ["DELETE FROM u WHERE n = :user", "UPDATE u SET password = 1 WHERE n = :user", ":user"] {
            assert_eq!(check(wrong), Err(QueryError::NoSelect), "{wrong}");
        }
        for wrong in [
            "SELECT hash FROM u WHERE n = :user",
            "SELECT 'password', /* password * */ hash FROM u WHERE n = :user",
        ] {
            assert_eq!(check(wrong), Err(QueryError::NoPassword), "{wrong}");
        }
    }
}
