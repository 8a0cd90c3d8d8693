//! Fuzzes `users_file`: see `crates/testkit/src/fuzz/users_file.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("users_file", data));
