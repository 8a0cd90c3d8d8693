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

/// New tokens of an account that could not be kept: those in the store are worth nothing any more, so these have to last as
/// long as the process does. All sources that it makes for the account share one of these.
#[derive(Clone, Debug, Default)]
pub struct Unsaved(Arc<Mutex<Option<New>>>);

#[derive(Clone, Debug)]
struct New {
    tokens: Tokens,
    /// What was in the store when these came; once something else is there, a person has signed in anew.
    stored: Tokens,
}

impl Unsaved {
    fn get(&self) -> Option<New> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, new: Option<New>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

/// Where an account's access tokens come from.
pub struct Source {
    provider: String,
    client: Client,
    http: Http,
    store: Store,
    /// Found when a token is replaced for the first time.
    found: OnceCell<Provider>,
    unsaved: Unsaved,
    trouble: Mutex<Option<String>>,
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
            unsaved: Unsaved::default(),
            trouble: Mutex::new(None),
            now: Arc::new(now),
        }
    }

    /// The same for an account of which other sources have left this.
    #[must_use]
    pub fn with_unsaved(self, unsaved: Unsaved) -> Self {
        Self { unsaved, ..self }
    }

    /// When a person signed in, in seconds since 1970, as far as is known.
    pub async fn signed_in_at(&self) -> Option<u64> {
        match self.unsaved.get() {
            Some(new) => new.tokens.signed_in_at,
            None => self.store.load().await.ok().flatten()?.signed_in_at,
        }
    }

    /// What a person should know though there was a token; told once.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        if self.unsaved.get().is_none() {
            let tokens = self.load().await?;
            if is_good(&tokens) {
                return Ok(tokens.access);
            }
        }
        let lock = self.store.lock().await;
        let unsaved = self.unsaved.get();
        let (tokens, stored) = match (unsaved, &lock) {
            (Some(new), Ok(_)) => self.settle(new).await?,
            (Some(New { tokens, stored }), Err(_)) => (tokens, stored),
            // Somebody else may have done it meanwhile.
            (None, Ok(_)) => self.load().await.map(|tokens| (tokens.clone(), tokens))?,
            (None, Err(error)) => return Err(error.clone()),
        };
        if is_good(&tokens) {
            return Ok(tokens.access);
        }
        let _lock = lock?;
        // The refresh token is spent only where the next one can be kept.
        let room = self.store.room(Some(&tokens)).await?;
        let new = self.refresh(&tokens).await?;
        let access = new.access.clone();
        match room.save(&new).await {
            Ok(()) => self.unsaved.set(None),
            Err(error) => {
                self.tell(&error);
                self.unsaved.set(Some(New { tokens: new, stored }));
            }
        }
        Ok(access)
    }

    /// Tries again to keep what could not be kept. What works now, and what is in the store.
    async fn settle(&self, new: New) -> Result<(Tokens, Tokens), OauthError> {
        match self.store.load().await {
            Ok(Some(stored)) if stored == new.stored => {}
            // Nobody can say what is there.
            Err(error) => {
                self.tell(&error);
                return Ok((new.tokens, new.stored));
            }
            // Somebody has signed in anew, or out.
            Ok(_) => {
                self.unsaved.set(None);
                return self.load().await.map(|tokens| (tokens.clone(), tokens));
            }
        }
        match self.store.save(&new.tokens).await {
            Ok(()) => {
                self.unsaved.set(None);
                Ok((new.tokens.clone(), new.tokens))
            }
            Err(error) => {
                self.tell(&error);
                Ok((new.tokens, new.stored))
            }
        }
    }

    fn tell(&self, error: &OauthError) {
        tracing::error!(%error, "a new token could not be kept; it is gone when this ends");
        let text = format!(
            "a new token could not be kept ({error}); it is tried again while this runs, and afterwards you may have to sign in again"
        );
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    async fn load(&self) -> Result<Tokens, OauthError> {
        let tokens = self.store.load().await?.ok_or(OauthError::SignIn("nobody has signed in"))?;
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
        new.signed_in_at = tokens.signed_in_at;
        // RFC 6749 §6: what is left out is as it was.
        new.refresh = new.refresh.or_else(|| tokens.refresh.clone());
        if new.scope.is_empty() {
            new.scope.clone_from(&tokens.scope);
        }
        Ok(new)
    }
}
