//! The targets of `http`.
#![no_main]

const TARGETS: [(&str, zerocloud_fuzz::Target); 3] =
    [("chunked", http::fuzz::chunked), ("connection", http::fuzz::connection), ("head", http::fuzz::head)];

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&TARGETS, data));
