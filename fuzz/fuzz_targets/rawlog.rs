//! Fuzzes `rawlog`: see `crates/testkit/src/fuzz/rawlog.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| restante_testkit::fuzz::run("rawlog", data));
