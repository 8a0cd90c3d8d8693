//! Fuzzes `capture`: see `crates/testkit/src/fuzz/capture.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("capture", data));
