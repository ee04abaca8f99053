//! The targets of `services/s3`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&s3::fuzz::TARGETS, data));
