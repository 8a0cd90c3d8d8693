//! `[oauth]`: which tokens are taken, and of whom. What a directory of tokens does is `restante_auth`'s.

use std::{path::PathBuf, time::Duration};

use restante_auth::directory::{
    EmailVerified, OauthDirectory, OauthError, OauthSettings, SecretText, USER_CLAIM_DEFAULT,
};
use serde::Deserialize;

use super::{
    Settings,
    document::{Places, Problem},
    keys::{Fallback, Key, PATH, Takes, host_name, number},
};

/// How much longer a login waits than the authorization server may take: what it did wrong is told, not that it did not answer.
const PATIENCE_BEYOND: Duration = Duration::from_secs(2);

/// Whether addresses have to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verified {
    Required,
    Trusted,
}

/// The values of the section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Oauth {
    issuer: Option<String>,
    #[serde(deserialize_with = "super::one_or_list")]
    audience: Vec<String>,
    jwks_url: Option<String>,
    introspection_url: Option<String>,
    client_id: Option<String>,
    client_secret_file: Option<PathBuf>,
    user_claim: String,
    email_verified: Verified,
    scope: String,
    ca_file: Option<PathBuf>,
    pub(crate) domains: Vec<String>,
    timeout_seconds: u32,
}

impl Oauth {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// How long a login waits for the directory.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout() + PATIENCE_BEYOND
    }
}

impl Default for Oauth {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: Vec::new(),
            jwks_url: None,
            introspection_url: None,
            client_id: None,
            client_secret_file: None,
            user_claim: USER_CLAIM_DEFAULT.to_owned(),
            email_verified: Verified::Required,
            scope: String::new(),
            ca_file: None,
            domains: Vec::new(),
            timeout_seconds: 5,
        }
    }
}

const URL: Takes = Takes::Text { what: "an https: URL", check: url };
const WORDS: Takes = Takes::Text { what: "words", check: words };

/// Its keys.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "issuer",
        takes: URL,
        default: Fallback::Words {
            words: "none: it must be there",
            example: "\"https://id.example.org/realms/mail\"",
        },
        doc: "The authorization server, exactly as its tokens name it (iss). Its keys are found by its metadata, unless jwks_url or introspection_url says more.",
    },
    Key {
        name: "audience",
        takes: Takes::OneOrList { what: "names", check: words },
        default: Fallback::Words {
            words: "none: it must be there, unless tokens are introspected and have a scope",
            example: "\"mail.example.org\"",
        },
        doc: "Whom tokens must be meant for (aud): the name of this mail server at the authorization server. Tokens for other applications are refused.",
    },
    Key {
        name: "jwks_url",
        takes: URL,
        default: Fallback::Words {
            words: "what the metadata of the issuer says",
            example: "\"https://id.example.org/keys\"",
        },
        doc: "Where the keys of the authorization server are (RFC 7517). They are kept, and read again each hour and when a token names a new one.",
    },
    Key {
        name: "introspection_url",
        takes: URL,
        default: Fallback::Words {
            words: "tokens are not introspected",
            example: "\"https://id.example.org/introspect\"",
        },
        doc: "Where the authorization server is asked about each token (RFC 7662): for tokens that are no JWTs, and for such that are withdrawn before their end. With jwks_url as well, JWTs are checked by keys.",
    },
    Key {
        name: "client_id",
        takes: WORDS,
        default: Fallback::Words { words: "none", example: "\"restante\"" },
        doc: "What this server is called where it introspects.",
    },
    Key {
        name: "client_secret_file",
        takes: PATH,
        default: Fallback::Words { words: "none", example: "\"/etc/restante/oauth-secret\"" },
        doc: "A file whose first line proves that it is this server that asks; others must have no rights to it (mode 0640 or less). It is read again at SIGHUP.",
    },
    Key {
        name: "user_claim",
        takes: WORDS,
        default: Fallback::Value("\"email\""),
        doc: "The claim that names the user. It must be one that people cannot choose for themselves; of email addresses only verified ones count.",
    },
    Key {
        name: "email_verified",
        takes: Takes::Word(&["required", "trusted"]),
        default: Fallback::Value("\"required\""),
        doc: "Where user_claim is email: \"required\" takes tokens that say that the address is verified (email_verified), \"trusted\" also those that do not say so, never those that deny it. Trust only an issuer that verifies every address. Microsoft's Entra ID does not: there each tenant sets addresses as it likes, so that somebody else's tenant can name your users.",
    },
    Key {
        name: "scope",
        takes: Takes::Text { what: "words", check: |_| Ok(()) },
        default: Fallback::Value("\"\""),
        doc: "Words that a token's scope must have.",
    },
    Key {
        name: "ca_file",
        takes: PATH,
        default: Fallback::Words {
            words: "the certificates that the system trusts",
            example: "\"/etc/restante/id-ca.pem\"",
        },
        doc: "A PEM file with the certificates that the authorization server is trusted by. It is read again at SIGHUP.",
    },
    Key {
        name: "domains",
        takes: Takes::List { what: "domains", check: host_name },
        default: Fallback::Value("[]"),
        doc: "The domains whose users this directory has; others' are looked up elsewhere. Empty: all that no other directory names.",
    },
    number("timeout_seconds", 1, 60, "5", "How long the authorization server may take for an answer."),
];

fn url(text: &str) -> Result<(), String> {
    match text.starts_with("https://") || text.starts_with("http://") {
        true if !text.contains(char::is_whitespace) => Ok(()),
        _ => Err(format!("{text:?} is no URL; write https://id.example.org")),
    }
}

fn words(text: &str) -> Result<(), String> {
    match text.trim().is_empty() {
        true => Err("an empty text says nothing; remove the key".to_owned()),
        false => Ok(()),
    }
}

/// The directory that the settings describe.
pub(crate) fn directory(settings: &Settings, places: &Places) -> Result<OauthDirectory, Problem> {
    let oauth = &settings.oauth;
    let Some(issuer) = oauth.issuer.clone() else {
        let text = "oauth is one of the directories, and [oauth] has no issuer; write issuer = \"https://id.example.org\"";
        return Err(places.problem("auth.directories", text));
    };
    OauthDirectory::new(OauthSettings {
        issuer,
        audience: oauth.audience.clone(),
        jwks_url: oauth.jwks_url.clone(),
        introspection_url: oauth.introspection_url.clone(),
        client_id: oauth.client_id.clone().unwrap_or_default(),
        client_secret: oauth.client_secret_file.clone().map(SecretText::File),
        user_claim: oauth.user_claim.clone(),
        email_verified: match oauth.email_verified {
            Verified::Required => EmailVerified::Required,
            Verified::Trusted => EmailVerified::Trusted,
        },
        scope: oauth.scope.clone(),
        timeout: oauth.timeout(),
        ca_file: oauth.ca_file.clone(),
    })
    .map_err(|error| {
        let key = match &error {
            OauthError::Secret(_) => "oauth.client_secret_file",
            OauthError::Trust(_) if oauth.ca_file.is_some() => "oauth.ca_file",
            _ => "oauth.issuer",
        };
        places.problem(key, error.to_string())
    })
}

/// What is wrong with the section, for `restante config check`.
pub(crate) fn check(settings: &Settings, places: &Places) -> Vec<Problem> {
    directory(settings, places).err().into_iter().collect()
}
