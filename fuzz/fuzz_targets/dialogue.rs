//! Fuzzes `dialogue`: see `crates/testkit/src/fuzz/dialogue.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("dialogue", data));
