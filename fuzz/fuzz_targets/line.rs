//! Fuzzes `line`: see `crates/testkit/src/fuzz/line.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("line", data));
