//! Maildirs: how a letter comes into one, and how what a client or a server delivered is taken out again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Letter;

/// Delivers as an MTA does: written in tmp/, then moved. The file is where it ends up.
pub(crate) fn deliver(maildir: &Path, letter: &Letter) -> PathBuf {
    let file = maildir.join("tmp").join(&letter.id);
    fs::write(&file, &letter.stored).expect("it is ours");
    let name = if letter.seen { format!("cur/{}:2,S", letter.id) } else { format!("new/{}", letter.id) };
    let place = maildir.join(name);
    fs::rename(file, &place).expect("it is ours");
    place
}

/// Takes every message out of new/, in the order of the names.
pub fn take(maildir: &Path) -> Vec<Vec<u8>> {
    let mut files = listed(&maildir.join("new"));
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let octets = fs::read(&file).expect("it can be read");
            fs::remove_file(file).expect("it is ours");
            octets
        })
        .collect()
}

/// The files of all messages in new/ and cur/; none if there is no such Maildir yet.
pub fn files(maildir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for part in ["new", "cur"] {
        let folder = maildir.join(part);
        if folder.is_dir() {
            files.extend(listed(&folder));
        }
    }
    files.sort();
    files
}

/// Every message in new/ and cur/, left where it is.
pub fn read(maildir: &Path) -> Vec<Vec<u8>> {
    files(maildir).into_iter().map(|file| fs::read(file).expect("it can be read")).collect()
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is there");
    entries.map(|entry| entry.expect("it is ours").path()).collect()
}
