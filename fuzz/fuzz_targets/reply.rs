//! Fuzzes `reply`: see `crates/testkit/src/fuzz/reply.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("reply", data));
