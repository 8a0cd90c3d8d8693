//! Tokens that work: what is kept, or a new one in its place once that is about to end, or was refused.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use oauth2::{AuthType, ClientId, ClientSecret, RefreshToken, TokenUrl, basic::BasicClient};
use restante_proto::Secret;
use tokio::sync::OnceCell;

use crate::{
    error::{OauthError, told},
    http::Http,
    provider::{Client, Provider},
    store::Store,
    tokens::{Tokens, now},
};

/// Where an account's access tokens come from.
pub struct Source {
    provider: String,
    client: Client,
    http: Http,
    store: Store,
    /// Found when a token is replaced for the first time.
    found: OnceCell<Provider>,
    /// What could not be kept: a refresh token that was used up is worth nothing any more.
    unsaved: Mutex<Option<Tokens>>,
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Without secrets, of which it holds some.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("provider", &self.provider)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Of this provider, a name or a URL as [`Provider::find`] takes it.
    pub fn new(provider: &str, client: Client, http: Http, store: Store) -> Self {
        Self {
            provider: provider.to_owned(),
            client,
            http,
            store,
            found: OnceCell::new(),
            unsaved: Mutex::new(None),
            now: Arc::new(now),
        }
    }

    /// The same by another clock, in seconds since 1970.
    #[must_use]
    pub fn with_clock(self, now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now), ..self }
    }

    /// A token that works, as far as can be known here. `refused` is one that a mail server has refused: then it is another
    /// one.
    ///
    /// # Errors
    /// If nobody has signed in, if that is over, or if the authorization server does not answer.
    pub async fn access(&self, refused: Option<&Secret<String>>) -> Result<Secret<String>, OauthError> {
        let is_good = |tokens: &Tokens| match refused {
            Some(refused) => tokens.access != *refused && tokens.is_fresh((self.now)()),
            None => tokens.is_fresh((self.now)()),
        };
        let tokens = self.load().await?;
        if is_good(&tokens) {
            return Ok(tokens.access.clone());
        }
        let _lock = self.store.lock().await?;
        // Somebody else may have done it meanwhile.
        let tokens = self.load().await?;
        if is_good(&tokens) {
            return Ok(tokens.access.clone());
        }
        let new = self.refresh(&tokens).await?;
        let access = new.access.clone();
        if let Err(error) = self.store.save(&new).await {
            tracing::error!(%error, "a new token could not be kept; it is gone when this ends");
            *self.unsaved.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
        }
        Ok(access)
    }

    async fn load(&self) -> Result<Tokens, OauthError> {
        let unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tokens = match unsaved {
            Some(tokens) => Some(tokens),
            None => self.store.load().await?,
        };
        let tokens = tokens.ok_or(OauthError::SignIn("nobody has signed in"))?;
        // The configuration may name another server by now: it gets no tokens of the old one.
        if tokens.owner != Tokens::owner(&self.provider, &self.client.id) {
            return Err(OauthError::SignIn("the tokens are those of another client"));
        }
        Ok(tokens)
    }

    async fn refresh(&self, tokens: &Tokens) -> Result<Tokens, OauthError> {
        let Some(refresh) = &tokens.refresh else {
            return Err(OauthError::SignIn(
                "the access token does not work any more, and there is no refresh token",
            ));
        };
        let provider = self.found.get_or_try_init(|| Provider::find(&self.provider, &self.http)).await?;
        let invalid = |_| OauthError::Setup("the authorization server's addresses are no URLs".into());
        let mut oauth = BasicClient::new(ClientId::new(self.client.id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::new(provider.token.clone()).map_err(invalid)?);
        if let Some(secret) = &self.client.secret {
            oauth = oauth.set_client_secret(ClientSecret::new(secret.expose().clone()));
        }
        let refresh_token = RefreshToken::new(refresh.expose().clone());
        let asked = oauth.exchange_refresh_token(&refresh_token).request_async(&self.http).await;
        let response = asked.map_err(|error| told(error, true))?;
        let mut new = Tokens::of(&response, &tokens.owner, (self.now)())?;
        // RFC 6749 §6: what is left out is as it was.
        new.refresh = new.refresh.or_else(|| tokens.refresh.clone());
        if new.scope.is_empty() {
            new.scope.clone_from(&tokens.scope);
        }
        Ok(new)
    }
}
