//! Files with a secret in their first line: nobody but their owner may have rights to them.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use restante_proto::Secret;
use zeroize::Zeroizing;

use super::owner;

/// The first line, without white space around it and of `max_octets` at most. `what` it is, and how to `make` it, is for
/// errors.
pub(super) fn first_line(
    path: &Path,
    what: &str,
    max_octets: u64,
    make: &dyn Fn() -> String,
) -> Result<Secret<Vec<u8>>, String> {
    let shown = path.display();
    let cannot = |error: io::Error| {
        let mend = match error.kind() {
            io::ErrorKind::NotFound => make(),
            io::ErrorKind::PermissionDenied => owner::permission(path),
            _ => format!("name a file with {what} in its first line"),
        };
        format!("cannot read {what}, {shown}: {error}; {mend}")
    };
    let file = File::open(path).map_err(cannot)?;
    let mode = file.metadata().map_err(cannot)?.mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "others than its owner can open {what}, {shown} (mode {:o}); `chmod go= {shown}`, and write a new one if they may \
             have read it",
            mode & 0o7777
        ));
    }
    let mut octets = Zeroizing::new(Vec::new());
    file.take(max_octets + 1).read_to_end(&mut octets).map_err(cannot)?;
    let line = octets.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii();
    match u64::try_from(line.len()) {
        Ok(length) if length <= max_octets => Ok(Secret::new(line.to_vec())),
        _ => Err(format!("the first line of {shown} has more than {max_octets} octets, and is not {what}")),
    }
}
