//! Fuzzes `sasl`: see `crates/testkit/src/fuzz/sasl.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("sasl", data));
