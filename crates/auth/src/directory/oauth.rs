//! Tokens of an authorization server as a directory: a bearer token (RFC 6750) that names its user.
//!
//! A JWT (RFC 7519, RFC 9068) is checked here against the server's keys, which are kept ([`keys`]); any other token is
//! shown to the server ([`introspection`]). What the claims must say is in [`claims`], how it is asked in [`http`]. There
//! are no passwords in it, and no list of users: whom a right token names, that user is there.

use std::{fmt, io, sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, Header, Validation, dangerous::insecure_decode_claims, decode, decode_header,
    errors::ErrorKind,
};
use restante_proto::{Secret, UserName};
use restante_sasl::{Needs, TOKEN_MAX_OCTETS};
use rustls::ClientConfig;
use serde_json::Value;

use self::{
    claims::Rules,
    http::Http,
    introspection::Introspection,
    keys::{Found, Keys},
};
use super::{Check, Directory, Kind, Lookup, LookupError, Task};
use crate::scheme::StoredPassword;

mod claims;
mod http;
mod introspection;
mod keys;

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
    /// What proves that we are.
    pub client_secret: Option<Secret<String>>,
    /// The claim that names the user; [`USER_CLAIM_DEFAULT`].
    pub user_claim: String,
    /// Words that must be in a token's scope.
    pub scope: String,
    /// How long the authorization server may take for an answer.
    pub timeout: Duration,
    /// Whom to trust.
    pub tls: ClientConfig,
}

/// What is wrong with [`OauthSettings`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
}

/// The users that an authorization server names.
pub struct OauthDirectory {
    rules: Rules,
    keys: Option<Keys>,
    introspection: Option<Introspection>,
}

/// Without the client's secret, and without what came from outside.
impl fmt::Debug for OauthDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthDirectory").field("issuer", &self.rules.issuer).finish_non_exhaustive()
    }
}

impl OauthDirectory {
    /// A directory; nobody is asked anything yet.
    ///
    /// # Errors
    /// If tokens could be read on their way, or if anybody's tokens would do.
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
        let http = Http::new(settings.tls, settings.timeout).map_err(|_| OauthError::Https)?;
        let introspection = settings.introspection_url.map(|url| {
            let secret = settings.client_secret.clone();
            Introspection::new(http.clone(), url, settings.client_id.clone(), secret)
        });
        let issuer = settings.issuer.clone();
        Ok(Self {
            rules: Rules {
                issuer: settings.issuer,
                audience: settings.audience,
                user_claim: settings.user_claim,
                scope: settings.scope.split_ascii_whitespace().map(str::to_owned).collect(),
            },
            keys: by_keys.then(|| Keys::new(http, issuer, settings.jwks_url)),
            introspection,
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
                None if ours => Ok(refused("it is not active")),
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
            return Ok(refused("it is signed by an algorithm that is not taken"));
        }
        // RFC 7515 §4.1.11: what is critical has to be understood.
        if header.crit.is_some() {
            return Ok(refused("it has a critical header that is not known"));
        }
        let key = match keys.find(header.kid.as_deref(), header.alg).await? {
            Found::Key(key) => key,
            Found::Nothing => return Ok(refused("the authorization server has no such key")),
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
            Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => Ok(expired()),
            Err(error) => Ok(refused(reason(&error))),
        }
    }

    fn judge(&self, claims: &Value, claimed: Option<&UserName>) -> Check {
        match self.rules.account(claims, claimed) {
            Ok(account) => Check::Right(Box::new(account)),
            Err(claims::Refusal::Issuer) => Check::Unknown,
            Err(claims::Refusal::Expired) => expired(),
            Err(refusal) => refused(refusal.words()),
        }
    }
}

/// The header of a token that is a signed JWT with an algorithm that has a name.
fn jwt(token: &str) -> Option<Header> {
    let parts = token.split('.').count();
    if parts == 3 { decode_header(token).ok() } else { None }
}

/// A token that is not taken. Why is in the log; the client learns nothing of it.
fn refused(why: &'static str) -> Check {
    tracing::info!(why, "a token was refused");
    Check::Wrong
}

/// A token that was good.
fn expired() -> Check {
    tracing::info!(why = claims::Refusal::Expired.words(), "a token was refused");
    Check::Expired
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
