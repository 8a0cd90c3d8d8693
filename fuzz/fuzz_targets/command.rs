//! Fuzzes `command`: see `crates/testkit/src/fuzz/command.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("command", data));
