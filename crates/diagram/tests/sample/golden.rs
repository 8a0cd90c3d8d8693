//! Draws sessions, and compares what is drawn with what it looked like before.

use std::{fs, path::Path};

use restante_diagram::format::{Style, by_name};

use super::Session;

/// Sessions in the format of this name.
pub(crate) fn draw(format: &str, style: &Style, sessions: &[Session]) -> String {
    let (mut draw, mut out) = ((by_name(format).expect("it is in the table").new)(style), Vec::new());
    draw.start(&mut out);
    for session in sessions {
        draw.session(session.picture(), &mut out);
    }
    draw.finish(&mut out);
    String::from_utf8(out).expect("it is text")
}

/// Compares `text` with `tests/golden/NAME`. With `UPDATE_SNAPSHOTS=1` in the environment the file is written instead: look
/// at the difference before you commit it.
#[track_caller]
pub(crate) fn golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, text).expect("the golden file can be written");
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(text == expected, "{} differs; UPDATE_SNAPSHOTS=1 cargo test accepts it", file.display());
}
