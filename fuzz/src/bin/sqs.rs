//! The targets of `services/sqs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&sqs::fuzz::TARGETS, data));
