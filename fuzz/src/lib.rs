//! The fuzz targets as a library: each program of fuzz_targets/ is one line.

pub mod targets;
