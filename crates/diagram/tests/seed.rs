//! The pictures of the documentation are what is drawn from `docs/seed.pcap`, a real capture of the session that Restante
//! grew from. `UPDATE_SNAPSHOTS=1` draws them anew; `cargo xtask pictures` captures it anew as well.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{fs, path::Path};

use restante_diagram::{
    drawing::{Drawing, Options},
    format::{self, Style},
};

#[test]
fn the_pictures_of_the_documentation_are_fresh() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let capture = fs::read(docs.join("seed.pcap")).unwrap();
    for (format, extension) in [("text", "txt"), ("svg", "svg"), ("html", "html")] {
        let format = format::by_name(format).unwrap();
        let mut drawing = Drawing::new(Options::default(), format, &Style::default());
        let mut drawn = Vec::new();
        drawing.push(&capture, &mut drawn).unwrap();
        drawing.end(&mut drawn).unwrap();
        let path = docs.join("seed").with_extension(extension);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&path, &drawn).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_default();
        assert!(kept == drawn, "{} is stale: draw it anew with cargo xtask pictures", path.display());
    }
}
