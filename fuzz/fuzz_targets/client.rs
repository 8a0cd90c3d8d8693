//! Fuzzes `client`: see `crates/testkit/src/fuzz/client.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("client", data));
