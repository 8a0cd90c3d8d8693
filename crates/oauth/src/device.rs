//! The device flow (RFC 8628): a person types a code into a browser on any device, while we ask whether that is done.

use std::{pin::Pin, time::Duration};

use oauth2::{
    AuthType, ClientId, ClientSecret, DeviceAuthorizationUrl, Scope, StandardDeviceAuthorizationResponse,
    TokenUrl, basic::BasicClient,
};
use tokio::time::timeout;

use crate::{
    error::{OauthError, shown, told},
    http::{Http, is_safe},
    provider::{Client, Provider},
    tokens::{Tokens, now},
};

/// How long a person has, at most.
const PERSON_MAX: Duration = Duration::from_secs(30 * 60);

/// The longest code that a person is asked to type, in characters.
const CODE_MAX_CHARS: usize = 64;

/// How to wait between two questions.
pub type Wait = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a person is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instructions {
    /// Where to go.
    pub url: String,
    /// What to type there.
    pub code: String,
    /// Where the code is typed in already.
    pub complete_url: Option<String>,
    /// How long the code is good.
    pub expires_in: Duration,
}

/// Waits by the clock.
pub fn wait(time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(time))
}

/// Signs in; `tell` tells the person what to do.
///
/// # Errors
/// If the server has no such way, the person says no or nothing, or the server does not work.
pub async fn sign_in(
    provider: &Provider,
    client: &Client,
    scope: &str,
    http: &Http,
    wait: Wait,
    tell: impl FnOnce(&Instructions),
) -> Result<Tokens, OauthError> {
    let Some(device) = &provider.device else {
        return Err(OauthError::Setup(format!("{} cannot be signed in with by a code", provider.name)));
    };
    let invalid = |_| OauthError::Setup("the authorization server's addresses are no URLs".into());
    let mut oauth = BasicClient::new(ClientId::new(client.id.clone()))
        .set_auth_type(AuthType::RequestBody)
        .set_device_authorization_url(DeviceAuthorizationUrl::new(device.clone()).map_err(invalid)?)
        .set_token_uri(TokenUrl::new(provider.token.clone()).map_err(invalid)?);
    if let Some(secret) = &client.secret {
        oauth = oauth.set_client_secret(ClientSecret::new(secret.expose().clone()));
    }
    let scopes = scope.split_ascii_whitespace().map(|word| Scope::new(word.to_owned()));
    let asked = oauth.exchange_device_code().add_scopes(scopes).request_async(http).await;
    let details: StandardDeviceAuthorizationResponse = asked.map_err(|error| told(error, false))?;
    let url = details.verification_uri().as_str();
    let code = details.user_code().secret();
    let complete = details.verification_uri_complete().map(|url| url.secret().as_str());
    let fits = code.chars().count() <= CODE_MAX_CHARS && !code.chars().any(char::is_control);
    if !is_safe(url) || !fits {
        return Err(OauthError::Away("the authorization server asks for what makes no sense".into()));
    }
    let expires_in = details.expires_in().min(PERSON_MAX);
    tell(&Instructions {
        url: shown(url),
        code: code.clone(),
        complete_url: complete.filter(|url| is_safe(url)).map(str::to_owned),
        expires_in,
    });
    let asking = oauth.exchange_device_access_token(&details).request_async(http, wait, Some(expires_in));
    let response = timeout(expires_in, asking).await.map_err(|_| OauthError::TooLate)?;
    let response = response.map_err(|error| told(error, false))?;
    Tokens::of(&response, &Tokens::owner(&provider.name, &client.id), now())
}
