//! Draws samples, and compares them with what they looked like before.

use std::{fs, path::Path};

use restante_diagram::format::{FORMATS, Picture, Style};

use crate::sample::Sample;

/// A sample in this format.
pub(crate) fn drawn(format: &str, sample: &Sample, style: &Style) -> String {
    let format = FORMATS.iter().find(|known| known.name == format).expect("it is in the table");
    let mut draw = (format.new)(style);
    let mut out = Vec::new();
    draw.start(&mut out);
    for (summary, rows) in &sample.sessions {
        draw.session(Picture { summary, rows }, &mut out);
    }
    draw.finish(&mut out);
    String::from_utf8(out).expect("it is text")
}

/// Compares `text` with `tests/golden/NAME.EXTENSION`. With `UPDATE_SNAPSHOTS=1` in the environment the file is written
/// instead: look at the picture before you commit it.
#[track_caller]
pub(crate) fn golden(name: &str, extension: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.{extension}"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, text).expect("the golden file can be written");
        return;
    }
    let expected = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(text == expected, "{} differs; UPDATE_SNAPSHOTS=1 cargo test accepts it", file.display());
}
