//! Delivery into a Maildir, one message at a time: tmp/, fsync, a rename that replaces nothing, fsync of new/.
//!
//! The steps themselves are in `staging.rs`.

use std::{io, path::Path, sync::Arc};

use super::{
    MaildirStore, Place,
    dir::{Fault, Missing, open_below},
    staging::{Folders, Staged},
};
use crate::{DeliverError, Delivery, crash};

/// A message on its way.
pub(super) struct MaildirDelivery {
    folders: Arc<Folders>,
    staged: Staged,
    received_octets: u64,
    limit_octets: Option<u64>,
}

impl MaildirDelivery {
    pub(super) fn begin(store: &MaildirStore, place: &Place) -> Result<Self, DeliverError> {
        let folders = Arc::new(prepare(&place.root, &place.path)?);
        let staged = folders.begin()?;
        folders.clean();
        Ok(Self { folders, staged, received_octets: 0, limit_octets: store.options.message_limit_octets })
    }
}

impl Delivery for MaildirDelivery {
    fn write(&mut self, octets: &[u8]) -> Result<(), DeliverError> {
        self.received_octets += octets.len() as u64;
        if let Some(limit_octets) = self.limit_octets.filter(|&limit| self.received_octets > limit) {
            return Err(DeliverError::TooLong { limit_octets });
        }
        self.staged.write(octets)
    }

    fn commit(mut self: Box<Self>) -> Result<(), DeliverError> {
        self.staged.finish()?;
        self.staged.sync()?;
        let published = self.staged.publish()?;
        if let Err(error) = self.folders.sync_published() {
            // The sender is told to try again, so the message should not be here twice.
            published.take_back();
            return Err(error);
        }
        crash::point("deliver: durable");
        self.folders.count(self.staged.stored_octets());
        Ok(())
    }
}

/// Opens the user's Maildir and creates what is missing of its path, but not the root that all users share: where that
/// is missing, a disk is not mounted.
fn prepare(root: &Path, path: &Path) -> Result<Folders, Fault> {
    let maildir = open_below(root, path, Missing::Create)?
        .ok_or_else(|| Fault::new("opening", path, io::ErrorKind::NotFound))?;
    Folders::within(maildir, path.to_owned())
}

#[cfg(test)]
mod tests {
    use restante_proto::UserName;

    use super::*;
    use crate::Store as _;

    #[test]
    fn a_delivery_is_durable_before_it_is_seen_and_seen_before_it_is_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let template = format!("{}/{{user}}", folder.path().display()).parse().unwrap();
        let store = MaildirStore::new(template, super::super::Options::default());
        let mut calls = Vec::new();
        for _ in 0..2 {
            crash::take_noted();
            let mut delivery = store.deliver(&UserName::new("john").unwrap()).unwrap();
            delivery.write(b"Subject: a\r\n").unwrap();
            delivery.commit().unwrap();
            calls.push(crash::take_noted());
        }
        let message = ["write message", "fsync message", "rename message", "fsync new"];
        assert_eq!(calls[1], message);
        // The Maildir itself, tmp/, new/ and cur/.
        let folders = ["make folder", "fsync its parent"].repeat(4);
        assert_eq!(calls[0], [&folders[..], &message].concat());
    }
}
