//! Fuzzes `password_scheme`: see `crates/testkit/src/fuzz/password_scheme.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("password_scheme", data));
