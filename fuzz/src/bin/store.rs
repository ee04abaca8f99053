//! The targets of `store`.
#![no_main]

const TARGETS: [(&str, zerocloud_fuzz::Target); 6] = [
    ("batches", store::fuzz::batches),
    ("extents", store::fuzz::extents),
    ("headers", store::fuzz::headers),
    ("log", store::fuzz::log),
    ("packed", store::fuzz::packed),
    ("records", store::fuzz::records),
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerocloud_fuzz::run(&TARGETS, data));
