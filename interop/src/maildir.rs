//! The Maildir that a client delivers to: what came in, taken out again.

use std::{fs, path::Path};

/// Takes every message out of new/, in the order of the names.
pub fn take(maildir: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(maildir.join("new"))
        .expect("it is there")
        .map(|entry| entry.expect("it is ours").path())
        .collect();
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
