//! Fuzzes `recorder`: see `crates/testkit/src/fuzz/recorder.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("recorder", data));
