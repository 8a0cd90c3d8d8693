//! The login: which way is taken, and the exchange of octets for each.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use restante_proto::{Secret, client::Broken, command::Command, verb::Verb};
use restante_sasl::{
    ClientContext, ClientError, ClientExchange, CredentialKind, Credentials, MECHANISMS, Mechanism, Needs,
};

use crate::{
    capabilities::Offer,
    client::Client,
    connection::{Step, answer},
    error::{Error, Refused, Waiting, printable},
    strength::Strength,
};

/// The longest AUTH line with an initial response, in octets, its line end included (RFC 5034 §4).
const INITIAL_LINE_MAX_OCTETS: usize = 255;

/// The length of a nonce in octets, before its base64.
const NONCE_OCTETS: usize = 18;

/// A way to log in.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// AUTH with this mechanism.
    Sasl(&'static Mechanism),
    /// USER and PASS.
    User,
    /// APOP.
    Apop,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Sasl(mechanism) => mechanism.name,
            Self::User => "USER",
            Self::Apop => "APOP",
        }
    }

    const fn takes(self, kind: CredentialKind) -> bool {
        match self {
            Self::Sasl(mechanism) => mechanism.takes(kind),
            Self::User | Self::Apop => matches!(kind, CredentialKind::Password),
        }
    }

    const fn strength(self) -> Option<Strength> {
        match self {
            Self::Sasl(mechanism) => Strength::of(mechanism),
            Self::User => Some(Strength::Password),
            Self::Apop => None,
        }
    }
}

impl Client {
    /// Logs in by the strongest way that the server offers: AUTH with a mechanism, or USER and PASS. A password is never sent
    /// in clear over a connection that is not encrypted, unless the options allow it; and where the strongest way is refused,
    /// no weaker one is tried.
    ///
    /// Fails with [`Error::Refused`] where the server does not like it; [`crate::ResponseCode::Auth`] says that the
    /// credentials are to blame.
    pub async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), Error> {
        self.authenticate_at_least(credentials, None).await.map(drop)
    }

    /// As [`Self::authenticate`], but a password is sent or proven in no weaker way than this: who stands between can strip what
    /// the server offers, and a client that knows better is not fooled. Says how strong the login was, to be remembered;
    /// `None` where no password was used.
    ///
    /// Fails with [`Error::TooWeak`] where nothing as strong is offered.
    ///
    /// ```no_run
    /// # use restante_client::{Client, Credentials, Error, Strength};
    /// # async fn example(client: &mut Client, john: &Credentials, known: Option<Strength>) -> Result<(), Error> {
    /// let strength = client.authenticate_at_least(john, known).await?;
    /// // To be kept for the next time.
    /// let known = strength.max(known);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn authenticate_at_least(
        &mut self,
        credentials: &Credentials,
        minimum: Option<Strength>,
    ) -> Result<Option<Strength>, Error> {
        let way = self.strongest(credentials.kind, minimum)?;
        let entered = self.login(way, credentials).await;
        match &entered {
            // Some servers offer AUTH and do not have it. A wrong password is not tried twice, and what would have been proven is
            // not sent instead.
            Err(Error::Refused(refused))
                if is_not_understood(refused)
                    && matches!(way, Way::Sasl(_))
                    && way.strength() == Way::User.strength()
                    && self.capabilities().user() == Offer::Yes =>
            {
                self.login(Way::User, credentials).await.map(|()| Way::User.strength())
            }
            _ => entered.map(|()| way.strength()),
        }
    }

    /// Logs in this way, and no other: a SASL mechanism by its name, `USER`, or `APOP`, which has to be asked for since it
    /// rests on MD5.
    pub async fn authenticate_with(&mut self, way: &str, credentials: &Credentials) -> Result<(), Error> {
        let way = match way.to_ascii_uppercase().as_str() {
            "USER" => Way::User,
            "APOP" => Way::Apop,
            name => match restante_sasl::find(name) {
                None => return Err(Error::NotOffered(format!("{name}, which this client does not know"))),
                Some(mechanism) => {
                    let offered = self.capabilities().mechanisms().any(|name| name == mechanism.name);
                    if self.capabilities().are_known() && !offered {
                        let text = format!("AUTH {}{}", mechanism.name, self.offers());
                        return Err(Error::NotOffered(text));
                    }
                    Way::Sasl(mechanism)
                }
            },
        };
        self.login(way, credentials).await
    }

    /// The ways that [`Self::authenticate_with`] knows.
    pub fn ways_to_log_in() -> impl Iterator<Item = &'static str> {
        MECHANISMS.iter().map(|mechanism| mechanism.name).chain(["USER", "APOP"])
    }

    /// How strong a login by this way is ([`Self::authenticate_with`]); `None` for ways that are no password's, or are never
    /// chosen unless they are named.
    pub fn strength_of(way: &str) -> Option<Strength> {
        match way {
            user if user.eq_ignore_ascii_case("USER") => Way::User.strength(),
            name => restante_sasl::find(name).and_then(Strength::of),
        }
    }

    /// The strongest way that takes credentials of this kind, and is strong enough.
    fn strongest(&self, kind: CredentialKind, minimum: Option<Strength>) -> Result<Way, Error> {
        let bound = !self.connection.bindings.is_empty();
        let usable = |mechanism: &&Mechanism| {
            mechanism.takes(kind)
                && !mechanism.by_name_only
                && (bound || !mechanism.binding)
                && self.capabilities().mechanisms().any(|name| name == mechanism.name)
        };
        // Of those that are alike the last one counts, which is the first of the list.
        let best = MECHANISMS.iter().rev().filter(usable).max_by_key(|mechanism| Strength::of(mechanism));
        if kind != CredentialKind::Password {
            return best.map(Way::Sasl).ok_or_else(|| {
                let names: Vec<&str> = MECHANISMS
                    .iter()
                    .filter(|mechanism| mechanism.takes(kind))
                    .map(|mechanism| mechanism.name)
                    .collect();
                Error::NotOffered(format!("AUTH {}{}", names.join(" or "), self.offers()))
            });
        }
        let way = match (best, self.capabilities().user()) {
            (Some(mechanism), _) if mechanism.name != "LOGIN" => Way::Sasl(mechanism),
            // LOGIN is USER and PASS in other words, and asks for one more round trip.
            (Some(mechanism), Offer::No) => Way::Sasl(mechanism),
            // Some servers forget to say that they know USER.
            (_, Offer::Yes | Offer::Unknown) | (None, Offer::No) => Way::User,
        };
        match minimum {
            Some(minimum) if way.strength() < Some(minimum) => {
                let offered: Vec<&str> = self.capabilities().mechanisms().collect();
                let offers = match (self.capabilities().are_known(), offered.is_empty()) {
                    (false, _) => "it does not say what it offers (CAPA)".to_owned(),
                    (true, true) => "it offers no AUTH at all".to_owned(),
                    (true, false) => format!("it offers {}", printable(&offered.join(", "))),
                };
                Err(Error::TooWeak { minimum, offers })
            }
            _ => Ok(way),
        }
    }

    /// What the server offers instead, behind a semicolon; nothing where that is nothing.
    fn offers(&self) -> String {
        let offered: Vec<&str> = self.capabilities().mechanisms().collect();
        match offered.is_empty() {
            true => String::new(),
            false => format!("; it offers {}", printable(&offered.join(", "))),
        }
    }

    async fn login(&mut self, way: Way, credentials: &Credentials) -> Result<(), Error> {
        if !way.takes(credentials.kind) {
            return Err(Error::Unsuitable(way.name()));
        }
        let cleartext = match way {
            Way::Sasl(mechanism) => mechanism.cleartext,
            Way::User => true,
            Way::Apop => false,
        };
        if cleartext && !self.may_show_passwords() {
            return Err(Error::Cleartext);
        }
        self.connection.begin()?;
        let done = match way {
            Way::Sasl(mechanism) => self.sasl(mechanism, credentials).await,
            Way::User => self.user_and_pass(credentials).await,
            Way::Apop => self.apop(credentials).await,
        };
        if matches!(done, Err(Error::Impostor)) {
            // It hears no more of us.
            self.connection.close().await;
        }
        self.connection.finish(done.map_err(|error| conceal(error, credentials)))
    }

    async fn user_and_pass(&mut self, credentials: &Credentials) -> Result<(), Error> {
        let (user, password) = (credentials.user.as_str(), credentials.password.expose());
        let name = !user.is_empty() && !user.bytes().any(|octet| octet <= b' ' || octet == 0x7f);
        if !name || password.is_empty() || password.iter().any(|octet| matches!(octet, 0 | b'\r' | b'\n')) {
            return Err(Error::Credentials("USER and PASS"));
        }
        let pass = Command::Pass(credentials.password.clone());
        self.connection.send(&Command::User(user)).await?;
        if self.pipelines() {
            // Both answers are taken before either counts, so that the session stays in step.
            self.connection.send(&pass).await?;
            let user = self.connection.reply(Waiting::Answer(Verb::User)).await?;
            let pass = self.connection.reply(Waiting::Answer(Verb::Pass)).await?;
            user?;
            pass?;
        } else {
            self.connection.reply(Waiting::Answer(Verb::User)).await??;
            self.connection.send(&pass).await?;
            self.connection.reply(Waiting::Answer(Verb::Pass)).await??;
        }
        Ok(())
    }

    async fn apop(&mut self, credentials: &Credentials) -> Result<(), Error> {
        let user = credentials.user.as_str();
        if user.is_empty() || user.bytes().any(|octet| octet <= b' ' || octet == 0x7f) {
            return Err(Error::Credentials("APOP"));
        }
        let Some(stamp) = self.stamp() else {
            let why = match self.is_stamp_in_clear() {
                true => "the time stamp of its greeting came before TLS, so that anybody may have written it",
                false => "its greeting has no time stamp",
            };
            return Err(Error::NotOffered(format!("APOP: {why}")));
        };
        let digest = Md5::new().chain_update(stamp).chain_update(credentials.password.expose()).finalize();
        self.connection.send(&Command::Apop(user, digest.into())).await?;
        self.connection.reply(Waiting::Answer(Verb::Apop)).await??;
        Ok(())
    }

    /// What the client's half of an exchange is told of the world.
    fn context(&self) -> Result<ClientContext, Error> {
        let mut nonce = [0; NONCE_OCTETS];
        getrandom::fill(&mut nonce).map_err(|error| Error::Lost(format!("no randomness: {error}")))?;
        let (host, port) = self.place();
        let offered = |name: &str| restante_sasl::find(name).is_some_and(|mechanism| mechanism.binding);
        Ok(ClientContext {
            nonce: BASE64.encode(nonce),
            host: host.to_owned(),
            port,
            bindings: self.connection.bindings.clone(),
            plus_offered: self.capabilities().mechanisms().any(offered),
        })
    }

    async fn sasl(&mut self, mechanism: &Mechanism, credentials: &Credentials) -> Result<(), Error> {
        // No mechanism can carry these; whose a token or a certificate is, it says itself.
        let named = !credentials.user.is_empty() || credentials.kind != CredentialKind::Password;
        if !named || credentials.user.contains('\0') || credentials.password.expose().contains(&0) {
            return Err(Error::Credentials(mechanism.name));
        }
        if mechanism.binding && self.connection.bindings.is_empty() {
            return Err(Error::Exchange { mechanism: mechanism.name, why: ClientError::NoBinding });
        }
        let mut exchange = (mechanism.client)(credentials.clone(), &self.context()?);
        let initial = exchange.initial().map(|initial| encode(&initial));
        let fits = |initial: &Secret<String>| {
            "AUTH  \r\n".len() + mechanism.name.len() + initial.expose().len() <= INITIAL_LINE_MAX_OCTETS
        };
        // A longer one waits for the challenge, which is empty then; so does one for a server that has not announced SASL
        // (RFC 5034 §3).
        let announced = self.capabilities().are_known() && self.sends_initial_responses();
        let sent = initial.as_ref().filter(|initial| announced && fits(initial));
        let begun = Command::Auth(mechanism.name, sent.map(|initial| initial.expose().as_bytes()));
        self.connection.send(&begun).await?;
        let hashes = matches!(mechanism.needs, Needs::Keys(_));
        let mut cancelled = None;
        loop {
            match self.connection.next(Waiting::Answer(Verb::Auth)).await? {
                Step::Challenge(_) if cancelled.is_some() => self.connection.respond(None)?,
                Step::Challenge(challenge) => {
                    let response;
                    (exchange, response) = respond(exchange, challenge, hashes).await?;
                    match response {
                        // Not even that it was found out is said to it.
                        Err(ClientError::Impostor) => return Err(Error::Impostor),
                        Err(why) => {
                            cancelled = Some(why);
                            self.connection.respond(None)?;
                        }
                        Ok(response) => self.connection.respond(Some(&response))?,
                    }
                }
                Step::Reply { asked, status } => {
                    // Whatever it says: a server that challenges so is not the one that was meant.
                    match cancelled {
                        None => {}
                        Some(ClientError::Senseless) => {
                            return Err(Error::Protocol(Broken::SenselessChallenge));
                        }
                        Some(ClientError::Credentials) => return Err(Error::Credentials(mechanism.name)),
                        Some(why) => return Err(Error::Exchange { mechanism: mechanism.name, why }),
                    }
                    return match answer(asked, status) {
                        Ok(_) => exchange.accepted().map_err(|why| match why {
                            ClientError::Impostor => Error::Impostor,
                            _ => Error::Protocol(Broken::SenselessChallenge),
                        }),
                        Err(refused) => Err(refused_because(refused, exchange.refusal()).into()),
                    };
                }
                _ => return Err(Error::Interrupted("answers are out of step")),
            }
        }
    }
}

/// The response to a challenge; where that is much hashing, beside the tasks of the runtime.
async fn respond(
    mut exchange: Box<dyn ClientExchange>,
    challenge: Vec<u8>,
    hashes: bool,
) -> Result<(Box<dyn ClientExchange>, Result<Secret<Vec<u8>>, ClientError>), Error> {
    let work = move || {
        let response = exchange.respond(&challenge);
        (exchange, response)
    };
    match hashes {
        false => Ok(work()),
        // The runtime ends, or the mechanism panicked.
        true => tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| Error::Lost("the login was broken off".into())),
    }
}

/// A refusal with the reason that the server told within the exchange (RFC 7628 §3.2.2).
fn refused_because(refused: Refused, reason: Option<&str>) -> Refused {
    let Some(reason) = reason.filter(|reason| !reason.is_empty()) else { return refused };
    let text = match refused.text.is_empty() {
        true => reason.to_owned(),
        false => format!("{} ({reason})", refused.text),
    };
    Refused::new(refused.verb, refused.code, &text)
}

/// Whether a server says that it does not know AUTH, rather than that the credentials are wrong.
fn is_not_understood(refused: &Refused) -> bool {
    const WORDS: [&str; 9] = [
        "unknown",
        "unrecogni",
        "not recogni",
        "unsupported",
        "not supported",
        "implement",
        "syntax",
        "invalid command",
        "bad command",
    ];
    let text = refused.text.to_ascii_lowercase();
    refused.code.is_none() && WORDS.iter().any(|word| text.contains(word))
}

/// How much of a secret gives it away, in octets: a server may repeat a command and cut it off.
const GIVEN_AWAY_OCTETS: usize = 12;

/// A password that is shorter is not looked for in what a server says.
const GIVEN_AWAY_MIN_OCTETS: usize = 4;

/// The error without what the server repeats of the password or token: some say which command they did not understand.
fn conceal(error: Error, credentials: &Credentials) -> Error {
    let (user, password) = (credentials.user.as_bytes(), credentials.password.expose().as_slice());
    let plain = Secret::new([b"\0", user, b"\0", password].concat());
    let mut secrets = vec![
        Secret::new(String::from_utf8_lossy(password).into_owned()),
        Secret::new(BASE64.encode(password)),
        Secret::new({
            // What stands in front of the password in PLAIN is no secret, but its base64 may begin with the name and end in it.
            let known = BASE64.encode([b"\0", user, b"\0"].concat()).len().saturating_sub(4);
            BASE64.encode(plain.expose()).split_off(known)
        }),
    ];
    // Within a longer response, as a token is: what is in front of it shifts it by one octet or two.
    for shift in 1..3 {
        let shifted = Secret::new([&[0; 2][..shift], password].concat());
        let mut text = BASE64.encode(shifted.expose());
        text.truncate(shifted.expose().len() * 8 / 6);
        let hides_nothing = (shift * 8).div_ceil(6).min(text.len());
        secrets.push(Secret::new(text.split_off(hides_nothing)));
    }
    let said = Secret::new(error.to_string());
    let repeats = secrets.iter().any(|secret| {
        let secret = secret.expose();
        let start =
            secret.char_indices().nth(GIVEN_AWAY_OCTETS).map_or(secret.as_str(), |(end, _)| &secret[..end]);
        // A shorter one would be found in every text.
        start.len() >= GIVEN_AWAY_MIN_OCTETS && said.expose().contains(start)
    });
    match error {
        error if !repeats => error,
        Error::Refused(Refused { verb, code, .. }) => {
            Error::Refused(Refused::new(verb, code, "(its answer repeats what is secret)"))
        }
        _ => Error::Lost("the server repeats what is secret, and the session is over".into()),
    }
}

/// In base64, an empty response as `=` (RFC 5034 §4).
fn encode(response: &Secret<Vec<u8>>) -> Secret<String> {
    if response.expose().is_empty() {
        return Secret::new("=".into());
    }
    let mut text = String::with_capacity(response.expose().len().div_ceil(3) * 4);
    BASE64.encode_string(response.expose(), &mut text);
    Secret::new(text)
}
