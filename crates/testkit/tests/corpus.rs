//! The corpora of the fuzz targets, replayed: what was found once is found again, without a fuzzer.
//!
//! `docs/fuzzing.md` says how a corpus grows. A target without files under `fuzz/` fails here, and files without a
//! target too.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use restante_testkit::fuzz::TARGETS;

/// The longest file of a corpus, in octets.
const FILE_MAX_OCTETS: u64 = 4096;
/// The most files of a corpus.
const FILES_MAX: usize = 160;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").canonicalize().unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn targets() -> BTreeSet<String> {
    TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn every_file_of_every_corpus_is_replayed() {
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let files = names(&folder);
        assert!(!files.is_empty(), "{target} has no corpus");
        assert!(files.len() <= FILES_MAX, "{target}: minimise the corpus, it has {} files", files.len());
        for file in files {
            let data = fs::read(folder.join(&file)).unwrap();
            assert!(data.len() as u64 <= FILE_MAX_OCTETS, "{target}/{file} is too long for a corpus");
            // The panic's own words were printed already.
            if catch_unwind(|| run(&data)).is_err() {
                failed.push(format!("fuzz/corpus/{target}/{file}"));
            }
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn targets_and_their_files_belong_together() {
    let fuzz = fuzz();
    assert_eq!(names(&fuzz.join("corpus")), targets(), "fuzz/corpus");
    let files: BTreeSet<String> = targets().iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names(&fuzz.join("fuzz_targets")), files, "fuzz/fuzz_targets");
    let manifest: toml::Table = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap().parse().unwrap();
    let binaries = manifest["bin"].as_array().unwrap().iter();
    let binaries: BTreeSet<String> =
        binaries.map(|binary| binary["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(binaries, targets(), "fuzz/Cargo.toml");
    for target in targets() {
        let text = fs::read_to_string(fuzz.join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(text.contains(&format!("run(\"{target}\", data)")), "{target}.rs runs another target");
    }
}
