//! Fuzzes `session`: see `crates/testkit/src/fuzz/session.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("session", data));
