//! Whom one signs in with: the large ones by name, as data, and any other by its address, which tells the rest.

use restante_proto::Secret;
use serde_json::Value;

use crate::{
    error::{OauthError, shown},
    http::{Http, is_safe},
};

/// A way to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// A code that a person types into a browser on any device (RFC 8628).
    Device,
    /// A browser on this machine (RFC 8252).
    Browser,
}

/// An authorization server that is known by name.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Where a person is asked.
    pub authorization: &'static str,
    /// Where tokens are given out.
    pub token: &'static str,
    /// Where the device flow begins, where it may be used for mail.
    pub device: Option<&'static str>,
    /// What is asked for.
    pub scope: &'static str,
    /// Further parameters of the question.
    pub parameters: &'static [(&'static str, &'static str)],
    /// How this machine is called in the address that the browser comes back to.
    pub loopback: &'static str,
    /// What a person has to do once.
    pub hint: &'static str,
}

/// All that are known by name.
pub const PROVIDERS: &[Known] = &[
    Known {
        name: "google",
        authorization: "https://accounts.google.com/o/oauth2/v2/auth",
        token: "https://oauth2.googleapis.com/token",
        // Google's device flow does not give out the scope of mail.
        device: None,
        scope: "https://mail.google.com/",
        // Without these Google gives a refresh token the first time only, or none.
        parameters: &[("access_type", "offline"), ("prompt", "consent")],
        loopback: "127.0.0.1",
        hint: "make an OAuth client of the type «desktop app» at https://console.cloud.google.com/apis/credentials; client_id and client_secret_file are what it gives you",
    },
    Known {
        name: "microsoft",
        authorization: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        token: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        device: Some("https://login.microsoftonline.com/common/oauth2/v2.0/devicecode"),
        scope: "https://outlook.office.com/POP.AccessAsUser.All offline_access",
        parameters: &[],
        // The port is left open for this name alone.
        loopback: "localhost",
        hint: "register an application at https://entra.microsoft.com (App registrations), with «mobile and desktop applications», the redirect URI http://localhost and public client flows allowed; client_id is its application id",
    },
    Known {
        name: "yahoo",
        authorization: "https://api.login.yahoo.com/oauth2/request_auth",
        token: "https://api.login.yahoo.com/oauth2/get_token",
        device: None,
        scope: "mail-r",
        parameters: &[],
        loopback: "localhost",
        hint: "make an application at https://developer.yahoo.com/apps/; Yahoo gives the scope of mail only to those that it has approved",
    },
];

/// An authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Its name: a word, or its URL.
    pub name: String,
    /// What it calls itself in its answers (RFC 9207), where that is known.
    pub issuer: Option<String>,
    /// Where a person is asked.
    pub authorization: Option<String>,
    /// Where tokens are given out.
    pub token: String,
    /// Where the device flow begins.
    pub device: Option<String>,
    /// What is asked for.
    pub scope: String,
    /// Further parameters of the question.
    pub parameters: Vec<(String, String)>,
    /// How this machine is called in the address that the browser comes back to.
    pub loopback: String,
}

/// What we are called at an authorization server.
#[derive(Clone, Debug)]
pub struct Client {
    /// The name that it was registered under.
    pub id: String,
    /// What proves it, where the server wants that of programs which everybody can read.
    pub secret: Option<Secret<String>>,
}

impl From<&Known> for Provider {
    fn from(known: &Known) -> Self {
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            name: known.name.to_owned(),
            issuer: None,
            authorization: Some(known.authorization.to_owned()),
            token: known.token.to_owned(),
            device: known.device.map(str::to_owned),
            scope: known.scope.to_owned(),
            parameters: known.parameters.iter().map(pair).collect(),
            loopback: known.loopback.to_owned(),
        }
    }
}

impl Provider {
    /// The one of this name, if it is one of [`PROVIDERS`].
    pub fn known(name: &str) -> Option<&'static Known> {
        PROVIDERS.iter().find(|known| known.name == name)
    }

    /// The one of this name, or at this URL.
    ///
    /// # Errors
    /// If there is no such name, or the server there does not tell who it is.
    pub async fn find(name: &str, http: &Http) -> Result<Self, OauthError> {
        match Self::known(name) {
            Some(known) => Ok(known.into()),
            None => Self::discover(name, http).await,
        }
    }

    /// Asks a server for its metadata (OpenID Connect Discovery §4, RFC 8414 §3).
    ///
    /// # Errors
    /// If it does not answer, is not who it should be, or its addresses are not safe.
    pub async fn discover(issuer: &str, http: &Http) -> Result<Self, OauthError> {
        if !is_safe(issuer) {
            let names: Vec<&str> = PROVIDERS.iter().map(|known| known.name).collect();
            return Err(OauthError::Setup(format!(
                "oauth is {}, or the https: URL of an authorization server",
                names.join(", ")
            )));
        }
        let bare = issuer.trim_end_matches('/');
        let metadata = match http.get(&format!("{bare}/.well-known/openid-configuration")).await {
            Ok(metadata) => metadata,
            Err(error) => http.get(&well_known(issuer)).await.map_err(|_| error)?,
        };
        let text = |name: &str| metadata.get(name).and_then(Value::as_str);
        let named = text("issuer").unwrap_or_default();
        if named.trim_end_matches('/') != bare {
            return Err(OauthError::Setup(format!("{issuer} says that it is «{}»", shown(named))));
        }
        let address = |name: &str| match text(name) {
            Some(url) if !is_safe(url) => {
                Err(OauthError::Setup(format!("the {name} of {issuer} is no https: URL")))
            }
            url => Ok(url.map(str::to_owned)),
        };
        let missing = || OauthError::Setup(format!("{issuer} has no token_endpoint"));
        Ok(Self {
            name: issuer.to_owned(),
            issuer: Some(named.to_owned()),
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?.ok_or_else(missing)?,
            device: address("device_authorization_endpoint")?,
            scope: "openid email offline_access".to_owned(),
            parameters: Vec::new(),
            loopback: "127.0.0.1".to_owned(),
        })
    }

    /// In which ways one can sign in there.
    pub fn flows(&self) -> Vec<Flow> {
        let device = self.device.as_ref().map(|_| Flow::Device);
        let browser = self.authorization.as_ref().map(|_| Flow::Browser);
        device.into_iter().chain(browser).collect()
    }
}

/// RFC 8414 §3.1: the word goes between host and path.
fn well_known(issuer: &str) -> String {
    match reqwest::Url::parse(issuer) {
        Ok(mut url) => {
            let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
            url.set_path(&path);
            url.into()
        }
        Err(_) => issuer.to_owned(),
    }
}
