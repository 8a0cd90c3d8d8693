//! Users of PAM: the modules of a service check a name and a password, and whether the account may be used.
//!
//! PAM's calls block, and a module may take as long as it likes, or hang: they run on a bounded number of threads, and
//! nobody waits for them longer than he has to.
//!
//! Before it says no, PAM sleeps for as long as its modules ask for (2 s and more of `pam_unix`), on our thread. An
//! application could say what is to be done instead (`PAM_FAIL_DELAY`), but only by a C function, which safe code cannot
//! hand over. So many wrong passwords can be answered in a second as there are threads, divided by that delay; `nodelay`
//! takes it away.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStringExt as _,
    time::Duration,
};

use nonstick::{AuthnFlags, ConversationAdapter, ErrorCode, Transaction as _, TransactionBuilder};
use restante_proto::{Secret, UserName};
use restante_sasl::Needs;
use tokio::time::timeout;

use super::{Account, Check, Directory, Kind, Lookup, LookupError, PATIENCE_DEFAULT, Task};
use crate::{
    pool::{Pool, PoolError},
    scheme::StoredPassword,
};

/// PAM, for the registry.
pub(super) const KIND: Kind = Kind { name: "pam", doc: "the modules of PAM" };

/// How many modules are asked at once, if nobody says otherwise.
pub const THREADS_DEFAULT: usize = 16;

/// How many logins may wait for each thread.
const QUEUE_PER_THREAD: usize = 16;

/// The longest name of a service, in octets.
const SERVICE_MAX_OCTETS: usize = 64;

/// Which modules are asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The service: the name of a file in `/etc/pam.d`.
    pub service: String,
    /// How many modules may be asked at once.
    pub threads: usize,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Settings {
    /// Settings with the usual bounds.
    pub fn new(service: &str) -> Self {
        Self { service: service.to_owned(), threads: THREADS_DEFAULT, patience: PATIENCE_DEFAULT }
    }
}

/// A name that no service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no PAM service has this name: small letters, digits, - and _, {SERVICE_MAX_OCTETS} at most")]
pub struct InvalidService;

/// Whether a service can have this name, which is a file's.
pub fn check_service(name: &str) -> Result<(), InvalidService> {
    let is_good =
        |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'-' | b'_');
    let fits = matches!(name.len(), 1..=SERVICE_MAX_OCTETS) && name.bytes().all(is_good);
    if fits { Ok(()) } else { Err(InvalidService) }
}

/// Users of PAM.
#[derive(Debug)]
pub struct PamDirectory {
    settings: Settings,
    pool: Pool,
}

impl PamDirectory {
    /// Reads the settings. Whether there is the service shows with the first login: without one, PAM takes the service
    /// `other`, which denies.
    pub fn new(settings: &Settings) -> Result<Self, InvalidService> {
        check_service(&settings.service)?;
        let pool = Pool::new(settings.threads, settings.threads.saturating_mul(QUEUE_PER_THREAD));
        Ok(Self { settings: settings.clone(), pool })
    }

    async fn ask(&self, user: &UserName, password: &Secret<Vec<u8>>) -> Result<Check, LookupError> {
        // The next directory may take it for what it is; a module might let it pass.
        if password.expose().is_empty() || password.expose().contains(&0) {
            return Ok(Check::Unknown);
        }
        let (service, name, password) = (self.settings.service.clone(), user.clone(), password.clone());
        let asked = self.pool.run(move || authenticate(&service, &name, password));
        let broken =
            |text: String| LookupError::Broken { context: "PAM".to_owned(), source: io::Error::other(text) };
        match timeout(self.settings.patience, asked).await {
            Ok(Ok(Ok(()))) => Ok(Check::Right(Box::new(Account::new(user.clone())))),
            Ok(Ok(Err(error))) => verdict(error).ok_or_else(|| broken(error.to_string())),
            Ok(Err(error @ (PoolError::Full | PoolError::Broken))) => Err(broken(error.to_string())),
            Err(_) => Err(LookupError::Hangs { directory: KIND.name, patience: self.settings.patience }),
        }
    }
}

/// The modules' answer. Blocking.
fn authenticate(service: &str, user: &UserName, password: Secret<Vec<u8>>) -> nonstick::Result<()> {
    let conversation = Answers { password }.into_conversation();
    let builder = TransactionBuilder::new_with_service(service).username(user.as_str());
    let mut transaction = builder.build(conversation)?;
    let flags = AuthnFlags::SILENT | AuthnFlags::DISALLOW_NULL_AUTHTOK;
    transaction.authenticate(flags)?;
    transaction.account_management(flags)
}

/// What a failure says of the user; `None` where it says nothing, since something is broken.
fn verdict(error: ErrorCode) -> Option<Check> {
    match error {
        ErrorCode::UserUnknown => Some(Check::Unknown),
        // The password; or it was right, and the account is closed to him (pam_acct_mgmt).
        ErrorCode::AuthenticationError
        | ErrorCode::MaxTries
        | ErrorCode::PermissionDenied
        | ErrorCode::NewAuthTokRequired
        | ErrorCode::AccountExpired
        | ErrorCode::AuthTokExpired
        | ErrorCode::CredentialsExpired => Some(Check::Wrong),
        _ => None,
    }
}

/// Answers the question for the password, and no other.
struct Answers {
    password: Secret<Vec<u8>>,
}

impl ConversationAdapter for Answers {
    fn prompt(&self, _request: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Err(ErrorCode::ConversationError)
    }

    fn masked_prompt(&self, _request: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Ok(OsString::from_vec(self.password.expose().clone()))
    }

    fn error_msg(&self, _message: impl AsRef<OsStr>) {}

    fn info_msg(&self, _message: impl AsRef<OsStr>) {}
}

impl Directory for PamDirectory {
    fn lookup<'a>(&'a self, _user: &'a UserName) -> Task<'a, Result<Lookup, LookupError>> {
        Box::pin(async { Ok(Lookup::Ask) })
    }

    fn check<'a>(
        &'a self,
        user: &'a UserName,
        password: &'a Secret<Vec<u8>>,
    ) -> Task<'a, Result<Check, LookupError>> {
        Box::pin(self.ask(user, password))
    }

    fn can(&self, needs: Needs) -> bool {
        needs == Needs::Password
    }

    fn stand_in(&self, _name: &str) -> Option<StoredPassword> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_the_name_of_a_file() {
        for good in ["restante", "pop3", "my-mail_2"] {
            assert_eq!(check_service(good), Ok(()), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a b", "Restante", "a\0", &"x".repeat(65)] {
            assert_eq!(check_service(bad), Err(InvalidService), "{bad}");
        }
    }

    #[test]
    fn what_is_of_the_user_and_what_is_broken() {
        assert!(matches!(verdict(ErrorCode::UserUnknown), Some(Check::Unknown)));
        for wrong in
            [ErrorCode::AuthenticationError, ErrorCode::AccountExpired, ErrorCode::NewAuthTokRequired]
        {
            assert!(matches!(verdict(wrong), Some(Check::Wrong)), "{wrong:?}");
        }
        for broken in [
            ErrorCode::SystemError,
            ErrorCode::ServiceError,
            ErrorCode::AuthInfoUnavailable,
            ErrorCode::ConversationError,
            ErrorCode::Abort,
            ErrorCode::OpenError,
        ] {
            assert!(verdict(broken).is_none(), "{broken:?}");
        }
    }
}
