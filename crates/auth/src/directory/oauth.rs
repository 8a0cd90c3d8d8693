//! Tokens of an authorization server as a directory: a bearer token (RFC 6750) that names its user.
//!
//! A JWT (RFC 7519, RFC 9068) is checked here against the server's keys, which are kept ([`keys`]); any other token is
//! shown to the server ([`introspection`]). What the claims must say is in [`claims`], how it is asked in [`http`]. There
//! are no passwords in it, and no list of users: whom a right token names, that user is there.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, Header, Validation, dangerous::insecure_decode_claims, decode, decode_header,
    errors::ErrorKind,
};
use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, TOKEN_MAX_OCTETS};
use serde_json::Value;
use tokio::task::spawn_blocking;

use self::{
    claims::Rules,
    http::Http,
    introspection::Introspection,
    keys::{Found, Keys},
    refusals::Refusals,
};
use super::{Check, Directory, Kind, Lookup, LookupError, SecretError, SecretText, Task, TrustError};
use crate::scheme::StoredPassword;

mod claims;
mod http;
mod introspection;
mod keys;
mod refusals;

/// Tokens, for the registry.
pub(super) const KIND: Kind = Kind { name: "oauth", doc: "tokens of an authorization server (OAuth 2.0)" };

/// By what a token may be signed: public keys alone. With HMAC the public key would be the secret, and with `none` there
/// is no signature.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// How far the clocks of two machines may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 60;

/// How long the authorization server may take for an answer, if nobody says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The claim that names the user, if nobody says otherwise. It is one that people cannot choose for themselves:
/// `preferred_username`, they often can.
pub const USER_CLAIM_DEFAULT: &str = "email";

/// What a token must say of its address, where the claim `email` names the user (OpenID Connect Core §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmailVerified {
    /// `email_verified` has to be there, and true.
    #[default]
    Required,
    /// It may be missing: the authorization server verifies all addresses and does not say so.
    Trusted,
}

/// Which tokens are taken.
#[derive(Clone, Debug)]
pub struct OauthSettings {
    /// The authorization server (`iss`), an `https:` URL.
    pub issuer: String,
    /// Whom tokens must be meant for (`aud`): one of these.
    pub audience: Vec<String>,
    /// Where its keys are; found by its metadata where neither this nor `introspection_url` is there.
    pub jwks_url: Option<String>,
    /// Where it can be asked about a token (RFC 7662).
    pub introspection_url: Option<String>,
    /// What we are called there.
    pub client_id: String,
    /// What proves that we are. A file is read again by [`Directory::reload`].
    pub client_secret: Option<SecretText>,
    /// The claim that names the user; [`USER_CLAIM_DEFAULT`].
    pub user_claim: String,
    /// Whether an address has to be verified.
    pub email_verified: EmailVerified,
    /// Words that must be in a token's scope.
    pub scope: String,
    /// How long the authorization server may take for an answer.
    pub timeout: Duration,
    /// The file of those who are trusted, or the system's; likewise read again.
    pub ca_file: Option<PathBuf>,
}

/// What is wrong with [`OauthSettings`].
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// A URL that a token could be read on the way to.
    #[error("{key} must be an https: URL (http: for 127.0.0.1, [::1] and localhost only)")]
    Url {
        /// Of which setting.
        key: &'static str,
    },
    /// Any token of the authorization server would do.
    #[error(
        "audience is missing: the name by which the authorization server knows this mail server; \
             without it any application's tokens would log in here"
    )]
    Audience,
    /// HTTPS cannot be set up.
    #[error("HTTPS cannot be set up")]
    Https,
    /// The client's secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody would be trusted.
    #[error(transparent)]
    Trust(TrustError),
}

/// The users that an authorization server names.
pub struct OauthDirectory {
    rules: Rules,
    files: Files,
    http: Arc<Http>,
    refusals: Refusals,
    keys: Option<Keys>,
    introspection: Option<Introspection>,
}

/// What is read at the start, and again when it may have changed.
#[derive(Clone)]
struct Files {
    client_secret: Option<SecretText>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

impl Files {
    /// Blocking.
    fn read(&self) -> Result<(reqwest::Client, Option<Secret<String>>), OauthError> {
        let secret = self.client_secret.as_ref().map(SecretText::read).transpose()?;
        Ok((http::client(self.ca_file.as_deref(), self.timeout)?, secret))
    }
}

/// Without the client's secret, and without what came from outside.
impl fmt::Debug for OauthDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthDirectory").field("issuer", &self.rules.issuer).finish_non_exhaustive()
    }
}

impl OauthDirectory {
    /// A directory; files are read, and nobody is asked anything yet. Blocking.
    ///
    /// # Errors
    /// If tokens could be read on their way, if anybody's tokens would do, or if a file cannot be used.
    pub fn new(settings: OauthSettings) -> Result<Self, OauthError> {
        let urls = [
            ("issuer", Some(&settings.issuer)),
            ("jwks_url", settings.jwks_url.as_ref()),
            ("introspection_url", settings.introspection_url.as_ref()),
        ];
        for (key, url) in urls {
            if url.is_some_and(|url| !http::is_safe(url)) {
                return Err(OauthError::Url { key });
            }
        }
        let by_keys = settings.jwks_url.is_some() || settings.introspection_url.is_none();
        if settings.audience.is_empty() && (by_keys || settings.scope.trim().is_empty()) {
            return Err(OauthError::Audience);
        }
        let files = Files {
            client_secret: settings.client_secret,
            ca_file: settings.ca_file,
            timeout: settings.timeout,
        };
        let (client, secret) = files.read()?;
        let http = Arc::new(Http::new(client));
        let introspection = settings
            .introspection_url
            .map(|url| Introspection::new(Arc::clone(&http), url, settings.client_id.clone(), secret));
        let issuer = settings.issuer.clone();
        Ok(Self {
            rules: Rules {
                issuer: settings.issuer,
                audience: settings.audience,
                user_claim: settings.user_claim,
                email_verified: settings.email_verified,
                scope: settings.scope.split_ascii_whitespace().map(str::to_owned).collect(),
            },
            keys: by_keys.then(|| Keys::new(Arc::clone(&http), issuer, settings.jwks_url, settings.timeout)),
            introspection,
            files,
            http,
            refusals: Refusals::default(),
        })
    }

    async fn verdict(&self, claimed: Option<&UserName>, token: &str) -> Result<Check, LookupError> {
        // RFC 6750 §2.1: b64token.
        let legal = |octet: &u8| octet.is_ascii_alphanumeric() || b"-._~+/=".contains(octet);
        if token.is_empty() || token.len() > TOKEN_MAX_OCTETS || !token.as_bytes().iter().all(legal) {
            return Ok(Check::Unknown);
        }
        let header = jwt(token);
        let ours = header.is_some() && self.is_ours(token);
        match (&self.keys, header, &self.introspection) {
            (Some(keys), Some(header), _) if ours => self.signed(keys, &header, claimed, token).await,
            // Whose it is said to be is no proof, but enough to leave it to others.
            (_, Some(_), _) if !ours => Ok(Check::Unknown),
            (_, _, Some(introspection)) => match introspection.ask(token).await? {
                Some(claims) => Ok(self.judge(&claims, claimed)),
                None if ours => Ok(self.refused("it is not active")),
                None => Ok(Check::Unknown),
            },
            _ => Ok(Check::Unknown),
        }
    }

    /// Whether a JWT says that it is of this authorization server.
    fn is_ours(&self, token: &str) -> bool {
        insecure_decode_claims::<Value>(token)
            .is_ok_and(|claims| claims.get("iss").and_then(Value::as_str) == Some(&self.rules.issuer))
    }

    /// A JWT of this authorization server.
    async fn signed(
        &self,
        keys: &Keys,
        header: &Header,
        claimed: Option<&UserName>,
        token: &str,
    ) -> Result<Check, LookupError> {
        if !ALGORITHMS.contains(&header.alg) {
            return Ok(self.refused("it is signed by an algorithm that is not taken"));
        }
        // RFC 7515 §4.1.11: what is critical has to be understood.
        if header.crit.is_some() {
            return Ok(self.refused("it has a critical header that is not known"));
        }
        let key = match keys.find(header.kid.as_deref(), header.alg).await? {
            Found::Key(key) => key,
            Found::Nothing => return Ok(self.refused("the authorization server has no such key")),
        };
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&self.rules.audience);
        match decode::<Value>(token, &key, &validation) {
            Ok(token) => Ok(self.judge(&token.claims, claimed)),
            // The signature was looked at first.
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Ok(self.expired()),
            Err(error) => Ok(self.refused(reason(&error))),
        }
    }

    fn judge(&self, claims: &Value, claimed: Option<&UserName>) -> Check {
        match self.rules.account(claims, claimed) {
            Ok(account) => Check::Right(Box::new(account)),
            Err(claims::Refusal::Issuer) => Check::Unknown,
            Err(claims::Refusal::Expired) => self.expired(),
            Err(refusal) => {
                if refusal == claims::Refusal::NotSaidVerified
                    && let Some(times) = self.refusals.count("email_verified")
                {
                    tracing::warn!(
                        times,
                        "tokens without email_verified are refused: if the authorization server verifies all addresses, \
                         set [oauth] email_verified = \"trusted\"; else have it say so, or take another user_claim"
                    );
                }
                self.refused(refusal.words())
            }
        }
    }

    /// A token that is not taken. Why is in the log; the client learns nothing of it.
    fn refused(&self, why: &'static str) -> Check {
        if let Some(times) = self.refusals.count(why) {
            tracing::debug!(why, times, "tokens were refused");
        }
        Check::Wrong
    }

    /// A token that was good once.
    fn expired(&self) -> Check {
        self.refused(claims::Refusal::Expired.words());
        Check::Expired
    }
}

/// The header of a token that is a signed JWT with an algorithm that has a name.
fn jwt(token: &str) -> Option<Header> {
    let parts = token.split('.').count();
    if parts == 3 { decode_header(token).ok() } else { None }
}

/// In words of our own: the library's may hold a part of the token.
fn reason(error: &jsonwebtoken::errors::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAudience => "it is meant for somebody else (aud)",
        ErrorKind::InvalidIssuer => "it is of another authorization server (iss)",
        ErrorKind::InvalidSignature => "its signature is wrong",
        ErrorKind::MissingRequiredClaim(_) => "exp, iss or aud is missing",
        _ => "it is malformed",
    }
}

/// An error for the log.
fn broken(context: impl Into<String>, why: impl Into<String>) -> LookupError {
    LookupError::Broken { context: context.into(), source: io::Error::other(why.into()) }
}

impl Directory for OauthDirectory {
    fn lookup<'a>(&'a self, _user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        Box::pin(async { Ok(Lookup::Unknown) })
    }

    fn token<'a>(
        &'a self,
        claimed: Option<&'a UserName>,
        token: &'a Secret<String>,
    ) -> Task<'a, Result<Check, LookupError>> {
        Box::pin(self.verdict(claimed, token.expose()))
    }

    fn can(&self, needs: Needs) -> bool {
        needs == Needs::Token
    }

    fn stand_in(&self, _name: &str) -> Option<StoredPassword> {
        None
    }

    fn reload(&self) -> Task<'_, ()> {
        Box::pin(async {
            let files = self.files.clone();
            match spawn_blocking(move || files.read()).await {
                Ok(Ok((client, secret))) => {
                    self.http.replace(client);
                    if let Some(introspection) = &self.introspection {
                        introspection.replace(secret);
                    }
                }
                Ok(Err(error)) => tracing::warn!("[oauth] stays as it was: {error}"),
                Err(error) => tracing::error!(%error, "[oauth] was not read again"),
            }
            if let Some(keys) = &self.keys
                && let Err(error) = keys.renew().await
            {
                tracing::warn!(%error, "the keys of the authorization server were not read again");
            }
        })
    }
}

/// For those who share it.
impl From<OauthDirectory> for Arc<dyn Directory> {
    fn from(directory: OauthDirectory) -> Self {
        Arc::new(directory)
    }
}
