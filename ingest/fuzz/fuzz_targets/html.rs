#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lcl_ingest::fuzzed::html(bytes));
