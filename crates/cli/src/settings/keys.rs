//! Every key of the configuration file, once: its section, what it takes, its default, and what it means.
//!
//! The check of a file, `config explain`, `config default` and the errors for unknown keys are renderings of
//! [`SECTIONS`]. The structs that the values end in are in the parent module; a test holds the two together.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Component, Path},
};

use restante_admin::Place;
use restante_auth::directory::KINDS;
use restante_server::Network;
use restante_store::maildir::Template;

use super::document::similar;

/// A part of the file under one heading. The first has none.
pub(crate) struct Section {
    /// Its name, or "" for what stands above all headings.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) doc: &'static str,
    /// Its keys, in the order of the help.
    pub(crate) keys: &'static [Key],
}

/// One key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) default: Fallback,
    /// What it means, in whole sentences without line ends.
    pub(crate) doc: &'static str,
}

/// What is true where a key is missing.
pub(crate) enum Fallback {
    /// This value, as TOML.
    Value(&'static str),
    /// What these words say; `example` is a value as TOML.
    Words { words: &'static str, example: &'static str },
}

/// What a key takes.
#[derive(Clone, Copy)]
pub(crate) enum Takes {
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds.
    Number { least: u64, most: u64 },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text that the check accepts; it says what is wrong, and what to write.
    Text { what: &'static str, check: fn(&str) -> Result<(), String> },
    /// A list of such texts.
    List { what: &'static str, check: fn(&str) -> Result<(), String> },
    /// The same; one of them may stand without a list around it.
    OneOrList { what: &'static str, check: fn(&str) -> Result<(), String> },
}

pub(super) const PATH: Takes = Takes::Text { what: "an absolute path", check: absolute_path };
const ADDRESSES: Takes = Takes::List { what: "address:port", check: socket_address };

/// The whole file.
pub(crate) const SECTIONS: &[Section] = &[
    Section {
        name: "",
        doc: "The server as a whole.",
        keys: &[Key {
            name: "hostname",
            takes: Takes::Text { what: "a host name", check: host_name },
            default: Fallback::Words { words: "the machine's own name", example: "\"mail.example.org\"" },
            doc: "The name in the greeting and in APOP's time stamp.",
        }],
    },
    Section {
        name: "listen",
        doc: "Where clients reach the server. Each list may have several addresses, \"[::]:110\" or \"192.0.2.1:110\".",
        keys: &[
            Key {
                name: "pop3",
                takes: ADDRESSES,
                default: Fallback::Value("[\"[::]:110\"]"),
                doc: "Clear text that can be upgraded with STLS (RFC 2595).",
            },
            Key {
                name: "pop3s",
                takes: ADDRESSES,
                default: Fallback::Words {
                    words: "[\"[::]:995\"] if there is a certificate in [tls], else none",
                    example: "[\"[::]:995\"]",
                },
                doc: "TLS from the first byte (RFC 8314): the recommended one.",
            },
            Key {
                name: "proxied_pop3",
                takes: ADDRESSES,
                default: Fallback::Value("[]"),
                doc: "As pop3, for proxies that say by the PROXY protocol (version 1 or 2) who the client is: HAProxy's `send-proxy`, nginx's `proxy_protocol on`. Without such a header nobody is served here; elsewhere none is looked at.",
            },
            Key {
                name: "proxied_pop3s",
                takes: ADDRESSES,
                default: Fallback::Value("[]"),
                doc: "As pop3s, likewise; the header comes before TLS.",
            },
            Key {
                name: "proxies",
                takes: Takes::List { what: "addresses or networks", check: network },
                default: Fallback::Value("[]"),
                doc: "From where proxies come, such as \"127.0.0.1\" or \"10.0.0.0/8\": others are not let in at proxied_pop3 and proxied_pop3s, since whoever may send a header may say that he is anybody.",
            },
            Key {
                name: "admin",
                takes: Takes::OneOrList {
                    what: "a unix socket's absolute path or address:port",
                    check: admin_place,
                },
                default: Fallback::Value("\"/run/restante/admin.sock\""),
                doc: "The live page, metrics, and `restante admin`. A unix socket is for root and the server's user alone; an address needs [admin] token_file. Where the folder of the default is missing, the server runs without. [] turns it off. A change needs a restart.",
            },
        ],
    },
    Section {
        name: "admin",
        doc: "Who may see the live page by an address in `[listen] admin`.",
        keys: &[
            Key {
                name: "token_file",
                takes: PATH,
                default: Fallback::Words {
                    words: "none: the page is on unix sockets only",
                    example: "\"/etc/restante/admin-token\"",
                },
                doc: "A file with the token in its first line, 16 characters at least; its group and others must have no rights to it (mode 0400 or 0600). The page asks for it; programs send it as `Authorization: Bearer TOKEN`.",
            },
            Key {
                name: "metrics_token_file",
                takes: PATH,
                default: Fallback::Words {
                    words: "none: the metrics need the token of token_file",
                    example: "\"/etc/restante/metrics-token\"",
                },
                doc: "A file with another token, likewise, that opens /metrics and nothing else: for Prometheus, which need not be able to read dialogues or end sessions.",
            },
            Key {
                name: "hosts",
                takes: Takes::List { what: "host names", check: host_name },
                default: Fallback::Value("[]"),
                doc: "Further names under which browsers ask for the page, such as that of a proxy in front. The address itself and localhost are always known; all others are refused.",
            },
        ],
    },
    Section {
        name: "tls",
        doc: "The certificate. Without it there is neither STLS nor `pop3s`.",
        keys: &[
            Key {
                name: "certificate",
                takes: PATH,
                default: Fallback::Words { words: "no TLS", example: "\"/etc/restante/cert.pem\"" },
                doc: "A PEM file with the server's certificate and then those between it and the authority.",
            },
            Key {
                name: "key",
                takes: PATH,
                default: Fallback::Words { words: "no TLS", example: "\"/etc/restante/key.pem\"" },
                doc: "A PEM file with the certificate's private key.",
            },
            Key {
                name: "client_ca",
                takes: PATH,
                default: Fallback::Words {
                    words: "clients are not asked for certificates",
                    example: "\"/etc/restante/client-ca.pem\"",
                },
                doc: "A PEM file with the authorities that sign the certificates of users. Who shows one can log in by SASL EXTERNAL, as one of the mail addresses in it, or else as its common name.",
            },
            Key {
                name: "client_certificates",
                takes: Takes::Word(&["optional", "required"]),
                default: Fallback::Words { words: "\"optional\"", example: "\"required\"" },
                doc: "Whether a client without a certificate may go on, where there is a client_ca.",
            },
        ],
    },
    Section {
        name: "auth",
        doc: "Who may log in, and how.",
        keys: &[
            Key {
                name: "users",
                takes: PATH,
                default: Fallback::Value("\"/etc/restante/users\""),
                doc: "The users file: lines of name:{SCHEME}hash, written by `restante user`. It is read again when it changes.",
            },
            Key {
                name: "directories",
                takes: Takes::List { what: "directories", check: directory },
                default: Fallback::Value("[\"users\"]"),
                doc: "Where users are looked up, in this order: the first that knows a name decides, and one that fails is never passed over. \"users\" is the users file; the others have a section of the same name each.",
            },
            Key {
                name: "salt_key_file",
                takes: PATH,
                default: Fallback::Words {
                    words: "the key that `restante user` writes at the head of the users file; without one, a new key at each start",
                    example: "\"/etc/restante/salt-key\"",
                },
                doc: "A file with 32 octets in base64 in its first line; its group and others must have no rights to it (mode 0400 or 0600). From it SCRAM's salts for names that nobody has are made: they must not change while those of users stay, or they tell who is a user. Several servers for the same users need the same key.",
            },
            Key {
                name: "cleartext",
                takes: Takes::Word(&["never", "loopback", "always"]),
                default: Fallback::Value("\"loopback\""),
                doc: "Where passwords may come without TLS: never, from this machine only, or from everywhere.",
            },
            Key {
                name: "apop",
                takes: Takes::Switch,
                default: Fallback::Value("false"),
                doc: "Offers APOP (RFC 1939 §7). It is MD5, and works only for users whose password is stored as {PLAIN}.",
            },
            Key {
                name: "mechanisms",
                takes: Takes::List { what: "SASL mechanisms", check: mechanism },
                default: Fallback::Words {
                    words: "those by which every user can log in; CRAM-MD5 only if it is named here",
                    example: "[\"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-256\", \"PLAIN\"]",
                },
                doc: "The SASL mechanisms that are offered. A client takes the strongest that it knows and does not try another: name one only if all of your users can log in by it. CRAM-MD5 works only for users whose password is stored as {PLAIN}.",
            },
            number(
                "cache_seconds",
                0,
                3600,
                "300",
                "How long a password that was right is known again at the same address without being hashed anew; a changed line in the users file ends it at once. 0: every login is hashed.",
            ),
        ],
    },
    Section {
        name: "oauth",
        doc: "Tokens of an authorization server (OAuth 2.0), where `[auth] directories` has \"oauth\".",
        keys: super::oauth::KEYS,
    },
    Section {
        name: "store",
        doc: "Where the mail is: `maildir` or `memory`, not both.",
        keys: &[
            Key {
                name: "maildir",
                takes: Takes::Text {
                    what: "an absolute path with {user}, {local} or {domain} in it",
                    check: template,
                },
                default: Fallback::Value("\"/var/vmail/{domain}/{local}\""),
                doc: "The path of a user's Maildir. {user} is the whole name, {local} and {domain} are what stands before and after its last @.",
            },
            Key {
                name: "memory",
                takes: Takes::Switch,
                default: Fallback::Value("false"),
                doc: "Keeps the mail in memory instead: it is gone when the server ends. For trying things out.",
            },
            Key {
                name: "unique_ids",
                takes: Takes::Word(&["own"]),
                default: Fallback::Value("\"own\""),
                doc: "Which unique-ids UIDL shows; own: the Maildir's file name without flags and sizes.",
            },
        ],
    },
    super::directories::SQL,
    super::directories::LDAP,
    #[cfg(feature = "pam")]
    super::directories::PAM,
    Section { name: "limits", doc: "Every bound that the server keeps.", keys: LIMITS },
    Section {
        name: "log",
        doc: "What is written to standard error, and where sessions are written down.",
        keys: &[
            Key {
                name: "level",
                takes: Takes::Word(&["error", "warn", "info", "debug", "trace"]),
                default: Fallback::Value("\"info\""),
                doc: "The least important messages that are written.",
            },
            Key {
                name: "format",
                takes: Takes::Word(&["text", "json"]),
                default: Fallback::Value("\"text\""),
                doc: "Lines for people, or a JSON object a line.",
            },
            Key {
                name: "transcripts",
                takes: PATH,
                default: Fallback::Words {
                    words: "no session is written down",
                    example: "\"/var/lib/restante/transcripts\"",
                },
                doc: "A folder in which every session is written down as a dialogue, in a file of its own, without passwords and without what is in messages.",
            },
        ],
    },
];

pub(super) const fn number(
    name: &'static str,
    least: u64,
    most: u64,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, takes: Takes::Number { least, most }, default: Fallback::Value(default), doc }
}

const LIMITS: &[Key] = &[
    number("connections", 1, 1_000_000, "10000", "Connections at the same time, in all."),
    number(
        "connections_per_address",
        1,
        1_000_000,
        "100",
        "Connections at the same time from one address (IPv6: from one /64).",
    ),
    number("login_seconds", 10, 3600, "180", "How long a client may take to log in."),
    number(
        "idle_seconds",
        600,
        86_400,
        "600",
        "How long a session may be idle after login. RFC 1939 §3 asks for ten minutes at least.",
    ),
    number("tls_handshake_seconds", 1, 600, "30", "How long a TLS handshake may take."),
    number("write_seconds", 10, 3600, "300", "How long a client may take nothing of what is sent to it."),
    number("drain_seconds", 0, 3600, "10", "How long sessions may go on when the server is told to stop."),
    number("bad_commands", 1, 255, "20", "Commands in error, one after the other, that end a connection."),
    number("login_failures", 1, 255, "3", "Failed logins that end a connection."),
    number(
        "failure_delay_seconds",
        0,
        60,
        "1",
        "How long the answer to the second failed login of an address or a user waits; it doubles with each one more.",
    ),
    number("failure_delay_max_seconds", 0, 600, "15", "The longest that the answer to a failed login waits."),
    number(
        "failure_memory_seconds",
        1,
        86_400,
        "600",
        "After how long without another one the failed logins of an address or a user are forgotten.",
    ),
    number(
        "delayed_answers_per_address",
        1,
        100_000,
        "16",
        "Logins of one address that are verified or wait for a delayed answer at once; others there wait, and then are told to try again.",
    ),
    number(
        "logins_per_minute_per_address",
        0,
        1_000_000,
        "300",
        "Logins a minute of one address (IPv6: of one /64) that are wrong or under way; a right one does not count. More are told to try again, but for users who have logged in there within a day. 0: no limit.",
    ),
    number(
        "failed_logins_per_minute_per_user",
        0,
        1_000_000,
        "60",
        "Failed logins a minute of one user, from wherever. Beyond them his logins are told to try again where he has not logged in within a day, and wait some seconds where he has. 0: no limit.",
    ),
    number(
        "logins_per_second",
        0,
        1_000_000,
        "2000",
        "Logins a second in all, with five seconds' worth at once; more are told to try again, but for users who have logged in from the same address within a day. 0: no limit.",
    ),
    number(
        "login_delay_seconds",
        0,
        86_400,
        "0",
        "How long a user has to wait from one login to the next (RFC 2449 §6.5), where his directory says nothing else; 0: not at all.",
    ),
    number(
        "takeover_idle_seconds",
        0,
        86_400,
        "60",
        "A new login from the same address takes over a session of its own that has been idle for so long; 0: never.",
    ),
    Key {
        name: "verification_threads",
        takes: Takes::Number { least: 1, most: 1024 },
        default: Fallback::Words { words: "one for each processor", example: "4" },
        doc: "Threads that verify passwords.",
    },
    number(
        "verification_queue",
        1,
        1_000_000,
        "64",
        "Logins that may wait for such a thread; more are told to try again.",
    ),
    number(
        "message_octets",
        1024,
        1 << 40,
        "104857600",
        "The longest message that `restante deliver` takes.",
    ),
    number(
        "index_octets",
        0,
        1 << 40,
        "268435456",
        "Memory for what is known of Maildirs that nobody has open at the moment, in octets, about 120 for each message; a login that finds its own there reads no state file.",
    ),
];

/// The names of all sections, and of all keys with their section in front.
pub(crate) fn names() -> Vec<String> {
    let sections = SECTIONS.iter().map(|section| section.name.to_owned()).filter(|name| !name.is_empty());
    let keys =
        SECTIONS.iter().flat_map(|section| section.keys.iter().map(|key| path(section.name, key.name)));
    sections.chain(keys).collect()
}

/// The section of this name.
pub(crate) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

impl Section {
    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// How people call it.
    pub(crate) fn title(&self) -> String {
        match self.name {
            "" => "the top of the file".to_owned(),
            name => format!("[{name}]"),
        }
    }
}

/// The key with its section in front: `tls.key`.
pub(crate) fn path(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        _ => format!("{section}.{key}"),
    }
}

impl Takes {
    /// What has to be written, in words.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Number { least, most } => format!("a whole number from {least} to {most}"),
            Self::Word(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match &*quoted {
                    [one] => one.clone(),
                    several => format!("one of {}", several.join(", ")),
                }
            }
            Self::Text { what, .. } => format!("{what}, in quotes"),
            Self::List { what, .. } => format!("a list of {what}, each in quotes"),
            Self::OneOrList { what, .. } => format!("{what}, in quotes, or a list of them"),
        }
    }
}

/// The longest host name in octets (RFC 1035 §2.3.4, in its text form).
const HOST_NAME_MAX_OCTETS: usize = 253;

/// The name goes into the greeting and between the angle brackets of APOP's time stamp.
pub(super) fn host_name(text: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
    };
    match text.len() <= HOST_NAME_MAX_OCTETS && text.split('.').all(label) {
        true => Ok(()),
        false => Err(format!(
            "{text:?} is no host name; write letters, digits, hyphens and dots, such as \"mail.example.org\""
        )),
    }
}

fn absolute_path(text: &str) -> Result<(), String> {
    match Path::new(text).is_absolute() {
        true => Ok(()),
        false => {
            Err(format!("{text:?} is not an absolute path; write it from the root on, with a / in front"))
        }
    }
}

fn mechanism(text: &str) -> Result<(), String> {
    if restante_sasl::find(text).is_some() {
        return Ok(());
    }
    let names: Vec<_> = restante_sasl::MECHANISMS.iter().map(|mechanism| mechanism.name).collect();
    Err(format!("{text:?} is no mechanism that is known here; there are {}", names.join(", ")))
}

fn template(text: &str) -> Result<(), String> {
    let template = text.parse::<Template>().map_err(|error| error.to_string())?;
    if Path::new(text).components().any(|part| part == Component::ParentDir) {
        return Err(format!("{text:?} leads upwards; write the path without \"..\""));
    }
    absolute_path(&template.to_string())
}

fn directory(text: &str) -> Result<(), String> {
    let names = || KINDS.iter().map(|kind| kind.name);
    if names().any(|name| name == text) {
        return Ok(());
    }
    let hint = match similar(text, names()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("the directories are {}", names().collect::<Vec<_>>().join(", ")),
    };
    Err(format!("{text:?} is no directory; {hint}"))
}

fn admin_place(text: &str) -> Result<(), String> {
    text.parse::<Place>().map(|_| ())
}

fn network(text: &str) -> Result<(), String> {
    text.parse::<Network>().map(|_| ()).map_err(|error| format!("{text:?} is no network: {error}"))
}

fn socket_address(text: &str) -> Result<(), String> {
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    let fix = match (text.parse::<IpAddr>(), text.rsplit_once(':')) {
        (Ok(IpAddr::V4(_)), _) | (_, None) => "it has no port",
        (Ok(IpAddr::V6(_)), _) => "an IPv6 address stands in brackets, and its port behind them",
        (_, Some(("" | "*", _))) => "for all addresses write \"[::]:PORT\"",
        (_, Some((_, port))) if port.parse::<u16>().is_err() => "the port is a number up to 65535",
        _ => "names are not looked up",
    };
    Err(format!("{text:?} is not address:port, such as \"[::]:110\" or \"192.0.2.1:110\"; {fix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked_and_the_fix_is_told() {
        for good in ["[::]:110", "127.0.0.1:0", "[2001:db8::1]:995"] {
            assert_eq!(socket_address(good), Ok(()));
        }
        for (bad, fix) in [
            ("localhost:110", "names"),
            (":110", "all addresses"),
            ("::1:110", "brackets"),
            ("127.0.0.1", "no port"),
            ("110", "no port"),
            ("127.0.0.1:66000", "65535"),
        ] {
            assert!(socket_address(bad).unwrap_err().contains(fix), "{bad}: {:?}", socket_address(bad));
        }
        for bad in ["", ".", "a..b", "a b", "<x>", "a_b", &"a".repeat(64), &"a.".repeat(127)] {
            assert!(host_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(host_name("X1"), Ok(()));
        assert!(template("{user}/Maildir").is_err(), "relative");
        assert!(template("/m/../{user}").unwrap_err().contains("without \"..\""));
        assert!(template("/m/{domain}/../{local}").is_err());
        assert_eq!(template("/m/..{user}"), Ok(()), "a name with two dots leads nowhere");
        assert!(template("/m/{usr}").unwrap_err().contains("{usr}"));
        assert_eq!(template("/m/{user}"), Ok(()));
    }

    #[test]
    fn documentation_is_there_and_is_one_line() {
        for section in SECTIONS {
            for doc in section.keys.iter().map(|key| key.doc).chain([section.doc]) {
                assert!(doc.ends_with('.') && !doc.contains('\n'), "{doc}");
            }
        }
    }
}
