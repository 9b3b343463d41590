#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pgsvc_fuzz::targets::over_http(bytes));
