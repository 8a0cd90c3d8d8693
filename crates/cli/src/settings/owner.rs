//! Whose a file is, for somebody who may not read it.

use std::{fs, io::Read, os::unix::fs::MetadataExt, path::Path};

/// The largest list of the machine's users that is read, in octets.
const PASSWD_MAX_OCTETS: u64 = 1 << 20;

/// Whose file it is, or whose folder hides it, and as whom to try again.
pub(super) fn permission(path: &Path) -> String {
    let me = me();
    for place in path.ancestors() {
        let Ok(found) = fs::metadata(place) else { continue };
        let owner = user_name(found.uid());
        let what = if found.is_dir() { "the folder " } else { "" };
        return format!(
            "{what}{} is {owner}'s (mode {:o}), and this is {me}; try it as {owner}: `sudo -u {owner} restante …`",
            place.display(),
            found.mode() & 0o7777
        );
    }
    format!("this is {me}; try it as the owner")
}

/// The name of the user that this is.
pub(super) fn me() -> String {
    user_name(rustix::process::geteuid().as_raw())
}

/// The name of a user of this machine, as far as `/etc/passwd` knows it.
fn user_name(id: u32) -> String {
    let mut text = String::new();
    let read =
        fs::File::open("/etc/passwd").and_then(|file| file.take(PASSWD_MAX_OCTETS).read_to_string(&mut text));
    let name = match read {
        Ok(_) => name_in(&text, id),
        Err(_) => None,
    };
    name.map_or_else(|| format!("#{id}"), str::to_owned)
}

fn name_in(passwd: &str, id: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\nvmail:x:5000:5000::/var/vmail:/bin/false\n";
        assert_eq!((name_in(passwd, 5000), name_in(passwd, 0)), (Some("vmail"), Some("root")));
        assert_eq!(name_in(passwd, 1), None);
    }

    #[test]
    fn what_cannot_be_seen_is_told_by_the_folder_above() {
        let folder = tempfile::tempdir().unwrap();
        let told = permission(&folder.path().join("a/b"));
        assert!(told.starts_with(&format!("the folder {} is ", folder.path().display())), "{told}");
    }
}
