//! The same octets come out however the client's octets are cut: each dialogue at every cut, and octet by octet.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::path::Path;

use restante_testkit::dialogue::{Cutting, Script};

/// A dialogue with more octets of the client than this is cut at every so many of them only.
const EVERY_CUT_MAX_OCTETS: usize = 1500;
/// A prime, so that the cuts do not keep step with anything.
const STRIDE_OCTETS: usize = 89;

#[test]
fn no_cut_changes_what_the_server_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut cuts = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pop3") {
            continue;
        }
        let script = Script::read(&path).unwrap();
        let whole = script.play(Cutting::AsWritten).unwrap();
        let octets = script.client_octets();
        let stride = if octets > EVERY_CUT_MAX_OCTETS { STRIDE_OCTETS } else { 1 };
        let every = (1..octets).step_by(stride).map(Cutting::At).chain([Cutting::EveryOctet]);
        for cutting in every {
            assert_eq!(script.play(cutting).as_ref(), Ok(&whole), "{} {cutting:?}", path.display());
            cuts += 1;
        }
    }
    assert!(cuts > 1000, "only {cuts} cuts: the dialogues are not found");
}
