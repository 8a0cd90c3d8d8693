//! Fuzzes `stuffing`: see `crates/testkit/src/fuzz/stuffing.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("stuffing", data));
