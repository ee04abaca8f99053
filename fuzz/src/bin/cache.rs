//! The targets of `services/cache`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&cache::fuzz::TARGETS, data));
