//! The targets of `services/sns`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&sns::fuzz::TARGETS, data));
