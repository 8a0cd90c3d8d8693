//! What files have in common: the age of what is left behind, and errors in words that say whose fault it is.

use std::{io, path::Path, time::Duration};

use restante_store::DeliverError;
use rustix::fs::Access;

use super::{Fate, Fault, SpecError, spec::above};

/// From this age on, what is gone may have been cleaned away: other programs remove files from tmp/ after 36 hours, and
/// so do we. The rest is for clocks that differ.
const SURE_MAX: Duration = Duration::from_secs(30 * 60 * 60);

/// What a staged file that is gone means. It was published, unless it is so old that somebody may have cleaned it away:
/// then only the published one proves it.
pub(super) fn gone(age: Duration, published: impl FnOnce() -> Result<bool, Fault>) -> Result<Fate, Fault> {
    if age < SURE_MAX || published()? {
        return Ok(Fate::Delivered);
    }
    Ok(Fate::Unknown(
        "the crash was more than a day ago: the message may have been delivered and removed since, or its temporary file \
         may have been cleaned away"
            .into(),
    ))
}

/// The token is none that this destination made.
pub(super) fn foreign() -> Fate {
    Fate::Unknown("the journal has it under a name that this destination did not give".into())
}

/// A failed call as a fault: of the message if it is too large for any file, else of the destination.
pub(super) fn fault(context: &str, path: &Path, error: &io::Error) -> Fault {
    let text = explain(context, path, error);
    if error.kind() == io::ErrorKind::FileTooLarge { Fault::Message(text) } else { Fault::Destination(text) }
}

/// An error of the store as a fault.
pub(super) fn delivery_fault(path: &Path, error: DeliverError) -> Fault {
    match error {
        DeliverError::Broken { context, source } => fault(&context, path, &source),
        DeliverError::NoPlace => Fault::Destination(error.to_string()),
        DeliverError::TooLong { .. } => Fault::Message(error.to_string()),
    }
}

/// An error in words, with what can be done about it.
pub(super) fn explain(context: &str, path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            let me = rustix::process::geteuid().as_raw();
            let seen = path.ancestors().find_map(|place| Some((place, rustix::fs::stat(place).ok()?.st_uid)));
            let owner = seen.map(|(place, uid)| format!("; {} belongs to uid {uid}", place.display()));
            format!("{context}: permission denied{}, and this is uid {me}", owner.unwrap_or_default())
        }
        io::ErrorKind::NotFound => format!("{context}: it is not there; is a disk not mounted?"),
        io::ErrorKind::StorageFull => format!("{context}: the disk is full"),
        io::ErrorKind::QuotaExceeded => format!("{context}: the quota is used up"),
        _ => format!("{context}: {error}"),
    }
}

/// Whether entries may be created in the folder at `path`.
pub(super) fn check_writable(path: &Path) -> Result<(), SpecError> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(rustix::fs::CWD, path, access, rustix::fs::AtFlags::EACCESS).map_err(|errno| {
        SpecError::Place(explain(&format!("writing into {}", path.display()), path, &errno.into()))
    })
}

/// Whether a folder could be created at `path`, where nothing is: what it stands in is not created, since where that is
/// missing, a disk may not be mounted.
pub(super) fn check_creatable(path: &Path) -> Result<(), SpecError> {
    let above = above(path);
    if !above.is_dir() {
        return Err(SpecError::Place(format!(
            "{}: the folder {} is missing, and is not created, since it may be on a disk that is not mounted",
            path.display(),
            above.display()
        )));
    }
    check_writable(above)
}
