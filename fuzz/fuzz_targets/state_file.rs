//! Fuzzes `state_file`: see `crates/testkit/src/fuzz/state_file.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("state_file", data));
