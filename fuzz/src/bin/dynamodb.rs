//! The targets of `services/dynamodb`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&dynamodb::fuzz::TARGETS, data));
