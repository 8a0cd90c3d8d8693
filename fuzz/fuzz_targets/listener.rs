//! Fuzzes `listener`: see `crates/testkit/src/fuzz/listener.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("listener", data));
