//! The targets of `aws`.
#![no_main]

const TARGETS: [(&str, zerocloud_fuzz::Target); 9] = [
    ("authorization", aws::fuzz::authorization),
    ("canonical", aws::fuzz::canonical),
    ("captured", aws::fuzz::request),
    ("chunked", aws::fuzz::chunked),
    ("dates", aws::fuzz::dates),
    ("grants", aws::fuzz::grants),
    ("policy", aws::fuzz::policy),
    ("presigned", aws::fuzz::presigned),
    ("xml", aws::fuzz::xml),
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&TARGETS, data));
