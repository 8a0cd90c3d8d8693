//! The one huge drop of a run of the benchmark. Its files take long to make, so they are made once, and the Maildir is
//! renamed to be another user's, or another server's. To whom it comes it is new: nothing is remembered of it there.

use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use super::{
    cells::Users,
    corpus::{self, Contents},
    server::{MAIL_ID, Server},
};

/// The drop, and where it is now.
#[derive(Debug)]
pub(super) struct Moving {
    at: PathBuf,
    pub(super) contents: Contents,
    /// The last number of the users that had it.
    turn: u32,
}

impl Moving {
    /// Makes it in a folder of its own.
    pub(super) fn make(folder: &Path, users: &Users) -> io::Result<Self> {
        let at = folder.join("moving/Maildir");
        let contents = corpus::make(&at, &users.drop, &folder.join("contents"))?;
        Ok(Self { at, contents, turn: 0 })
    }

    /// Gives it to the next user, without what the server of the last one left in it; says to whom.
    pub(super) fn give(&mut self, server: &Server<'_>, users: &Users) -> io::Result<String> {
        self.turn = self.turn % users.count + 1;
        let user = users.user(self.turn);
        let to = server.maildir(&user);
        if let Some(home) = to.parent() {
            fs::create_dir_all(home)?;
            chown(home, Some(MAIL_ID), Some(MAIL_ID))?;
        }
        corpus::forget(&self.at)?;
        // A server may have made an empty one for a user who had none.
        match fs::remove_dir_all(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) | Ok(()) => fs::rename(&self.at, &to)?,
        }
        self.at = to;
        Ok(user)
    }

    /// Where it is.
    pub(super) fn at(&self) -> &Path {
        &self.at
    }
}
