//! The questions of a session, answered by the directory and the store; and which failure becomes which response code
//! (RFC 2449 §8.1, RFC 3206).

use std::{
    future::{Future, poll_fn},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use restante_auth::Account;
use restante_proto::{
    Marks, UserName,
    reply::{Refusal, ResponseCode},
    server::{Answer, Ask, LoginDelay, Transfer},
};
use restante_store::{Maildrop, OpenError, Source, StoreError};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use crate::{
    happening::{Happening, LockResult, LoginResult},
    login::Exchange,
    login_delay::{self, LoginDelays, Visit},
    registry::{Held, Registry},
    sessions::Presence,
    tls::Channel,
};

/// Answers one session's questions, and holds its maildrop.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) presence: Arc<Presence>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) login_delays: Arc<LoginDelays>,
    /// Set once a maildrop is open.
    pub(crate) logged_in: Arc<AtomicBool>,
    /// Held by whatever must end before the process does.
    pub(crate) alive: mpsc::Sender<()>,
    /// Who has logged in, and from the right password to the open maildrop, who is about to.
    pub(crate) account: Option<Account>,
    /// How the client logs in.
    pub(crate) mechanism: &'static str,
    pub(crate) exchange: Option<Exchange>,
    /// What SASL can use of the TLS connection.
    pub(crate) channel: Channel,
    pub(crate) open: Option<Open>,
}

/// A maildrop and its place in the table, dropped in this order.
#[derive(Debug)]
pub(crate) struct Open {
    /// First, so that who takes the session over finds it lost.
    visit: Option<Visit>,
    maildrop: Box<dyn Maildrop>,
    held: Held,
}

impl Asker {
    /// Finds the answer. It may be dropped at any await; a commit that has begun goes on all the same.
    pub(crate) async fn answer(&mut self, ask: Ask) -> Answer<Source> {
        match ask {
            Ask::Password { user, password } => {
                self.mechanism = "USER";
                self.password(&user, &password, "PASS").await
            }
            Ask::Apop { user, stamp, digest } => {
                self.mechanism = "APOP";
                let verdict =
                    self.presence.live.verifier.apop(&user, &stamp, &digest, self.presence.peer.ip()).await;
                self.verdict(verdict, &user, "APOP")
            }
            Ask::SaslStart { mechanism, initial } => self.begin_exchange(mechanism, initial.as_ref()).await,
            Ask::SaslStep(response) => self.exchange_step(Some(&response)).await,
            Ask::SaslCancel => {
                // A refusal that the client has heard the reason of was counted.
                if self.exchange.take().is_none_or(|exchange| !exchange.is_settled()) {
                    self.login(LoginResult::Cancelled);
                }
                Answer::Cancelled
            }
            Ask::Open => self.open().await,
            Ask::Sizes => match &mut self.open {
                Some(open) => {
                    let sizes = open.maildrop.sizes().await;
                    sizes.map_or_else(|error| self.failed(&error), Answer::Sizes)
                }
                None => self.not_open(),
            },
            Ask::UniqueIds { range } => match &mut self.open {
                Some(open) => {
                    let page = open.maildrop.unique_ids(range).await;
                    page.map_or_else(|error| self.failed(&error), Answer::UniqueIds)
                }
                None => self.not_open(),
            },
            Ask::Message { number, part } => match &mut self.open {
                Some(open) => match open.maildrop.message(number.index()).await {
                    Ok(message) => Answer::Message {
                        octets: message.octets,
                        transfer: Transfer {
                            source: message.source,
                            octets: 0..message.stored,
                            form: message.form,
                            part,
                        },
                    },
                    Err(StoreError::Gone) => Answer::Gone,
                    Err(error) => self.failed(&error),
                },
                None => self.not_open(),
            },
            Ask::Commit { deleted } => self.commit(deleted).await,
        }
    }

    /// The session waits for a command, and the client has received all that was sent.
    pub(crate) fn idle(&self) {
        if let Some(open) = &self.open {
            open.held.idle();
        }
    }

    /// The session is not idle; `false` if its maildrop is being taken over, so that it has to end.
    pub(crate) fn busy(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.held.busy())
    }

    async fn open(&mut self) -> Answer<Source> {
        let Some(account) = self.account.clone() else { return self.not_open() };
        let user = account.name.clone();
        let asked = Instant::now();
        let mut claim = self.registry.claim(&user, &self.presence);
        let mut lock = LockResult::Free;
        // Nobody ends a session of his own for a login that comes too soon.
        if let Err(holder) = &claim
            && self.login_delays.may_follow(&user, asked)
            && let Some(free) = holder
                .take_over(self.presence.peer.ip(), self.presence.live.settings.limits.takeover_idle)
                .await
        {
            claim = self.registry.claim(&user, &self.presence);
            lock = free;
        }
        let waited = asked.elapsed();
        let locked = |result| Happening::Lock { result, waited };
        let refusal = match claim {
            Err(holder) => {
                self.presence.live.tell(|| locked(LockResult::InUse));
                self.login(LoginResult::InUse);
                self.in_use(&user, holder.describe())
            }
            Ok(held) if let Some(wait) = self.login_delays.wait(&user, Instant::now()) => {
                drop(held);
                self.login(LoginResult::LoginDelay);
                self.too_soon(&user, wait)
            }
            Ok(held) => match self.presence.live.store.open_at(&user, account.maildrop.as_deref()).await {
                Ok(maildrop) => {
                    let (messages, sizes) = (maildrop.messages(), maildrop.known_sizes());
                    let changed = maildrop.changed_unique_ids();
                    if let Some(own) = account.login_delay {
                        self.login_delays.learn(own);
                    }
                    let visit = self.login_delays.entered(&user, self.login_delay(), Instant::now());
                    self.open = Some(Open { visit, maildrop, held });
                    self.presence.set_user(&user);
                    if changed > 0 {
                        self.presence.live.tell(|| Happening::UniqueIdsChanged { messages: changed });
                    }
                    self.presence.live.tell(|| locked(lock));
                    self.login(LoginResult::Accepted);
                    self.logged_in.store(true, Ordering::Relaxed);
                    return Answer::Opened { messages, sizes };
                }
                // Another program, a session of another name of this drop, or one that has just ended.
                Err(OpenError::Busy) => {
                    self.presence.live.tell(|| locked(LockResult::InUse));
                    self.login(LoginResult::InUse);
                    self.in_use(&user, "maildrop in use".into())
                }
                Err(error) => {
                    self.login(LoginResult::Maildrop);
                    let (user, error_text) = (user.as_str(), error.to_string());
                    warn!(session = %self.presence.id, user, error = error_text.as_str(), "the maildrop cannot be opened");
                    let code = match error {
                        OpenError::Broken { .. } => ResponseCode::SysTemp,
                        _ => ResponseCode::SysPerm,
                    };
                    Refusal::coded(code, "the maildrop cannot be opened")
                }
            },
        };
        // Nobody is logged in.
        self.account = None;
        Answer::Refused(refusal)
    }

    pub(crate) fn login(&self, result: LoginResult) {
        self.presence.login(self.mechanism, result);
    }

    /// How long the user who has logged in has to wait for his next login.
    fn login_delay(&self) -> Duration {
        let usual = self.presence.live.settings.limits.login_delay;
        self.account.as_ref().and_then(|account| account.login_delay).unwrap_or(usual)
    }

    /// What CAPA says of that.
    pub(crate) fn announced_delay(&self) -> Option<LoginDelay> {
        LoginDelays::exact(self.login_delay())
    }

    fn too_soon(&self, user: &UserName, wait: Duration) -> Refusal {
        let (user, seconds) = (user.as_str(), login_delay::seconds(wait));
        let (address, why) = (self.presence.peer.ip(), "too soon after the last login");
        info!(session = %self.presence.id, %address, user, seconds, why, "login refused");
        Refusal::coded(
            ResponseCode::LoginDelay,
            format!("too soon after the last login, try again in {seconds} s"),
        )
    }

    fn in_use(&self, user: &UserName, text: String) -> Refusal {
        let (address, user, why) = (self.presence.peer.ip(), user.as_str(), text.as_str());
        info!(session = %self.presence.id, %address, user, why, "login refused");
        Refusal::coded(ResponseCode::InUse, text)
    }

    /// UPDATE. What is not over at once goes on in a task of its own: no disconnect, kick or drain cuts it short. The
    /// lock is free before QUIT is answered.
    async fn commit(&mut self, deleted: Marks) -> Answer<Source> {
        let Some(Open { visit, maildrop, held }) = self.open.take() else { return self.not_open() };
        if let Some(visit) = visit {
            visit.quit();
        }
        let (session, count, alive) = (self.presence.id, deleted.count(), self.alive.clone());
        let user = self.account.as_ref().map(|account| account.name.as_str().to_owned());
        let (done, committed) = oneshot::channel();
        let mut commit = Box::pin(async move {
            let committed = maildrop.commit(deleted).await;
            drop(held);
            let user = user.as_deref();
            let removed = match &committed {
                Ok(()) => count,
                Err(error) => {
                    error!(%session, user, error = error.to_string().as_str(), "deleted messages could not be removed");
                    count.saturating_sub(error.remain)
                }
            };
            if done.send(committed).is_err() {
                info!(%session, user, removed, "messages were removed; the client did not wait for the answer to QUIT");
            }
            drop(alive);
        });
        // A panic there is the store's, as in a task of its own.
        let mut first =
            |context: &mut Context<'_>| catch_unwind(AssertUnwindSafe(|| commit.as_mut().poll(context)));
        match poll_fn(|context| Poll::Ready(first(context))).await {
            Ok(Poll::Pending) => drop(tokio::spawn(commit)),
            Ok(Poll::Ready(())) | Err(_) => drop(commit),
        }
        match committed.await {
            Ok(Ok(())) => {
                self.removed(count);
                Answer::Committed
            }
            Ok(Err(error)) => {
                self.removed(count.saturating_sub(error.remain));
                if is_permanent(&error.source) {
                    let text = format!("{} deleted messages may not be removed by the server", error.remain);
                    return Answer::Refused(Refusal::coded(ResponseCode::SysPerm, text));
                }
                Answer::Remain(error.remain)
            }
            // The store panicked: nothing is known of what is left.
            Err(_) => Answer::Remain(count),
        }
    }

    fn removed(&self, messages: u32) {
        self.presence.deleted.store(messages.into(), Ordering::Relaxed);
    }

    fn failed(&self, error: &StoreError) -> Answer<Source> {
        let user = self.account.as_ref().map(|account| account.name.as_str());
        if !matches!(error, StoreError::Encoded { .. }) {
            // The store has told that already.
            warn!(session = %self.presence.id, user, error = error.to_string().as_str(), "mail could not be read");
        }
        match error {
            StoreError::Denied { .. } => {
                Answer::Refused(Refusal::coded(ResponseCode::SysPerm, "the server may not read the message"))
            }
            StoreError::Encoded { .. } => Answer::Refused(Refusal::coded(
                ResponseCode::SysPerm,
                "the message is stored compressed or encrypted, and cannot be read",
            )),
            StoreError::Gone | StoreError::Broken { .. } => {
                temporary("the message or list cannot be read now")
            }
        }
    }

    fn not_open(&self) -> Answer<Source> {
        error!(session = %self.presence.id, "a question about a maildrop that is not open");
        temporary("internal error")
    }
}

/// Whether somebody has to mend it (RFC 3206 §4).
fn is_permanent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

pub(crate) fn temporary(text: &'static str) -> Answer<Source> {
    Answer::Refused(Refusal::coded(ResponseCode::SysTemp, text))
}
