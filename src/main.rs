//! Picks the edge and sets the exit code; nothing else may live here.

#[cfg(all(not(debug_assertions), not(target_feature = "crt-static")))]
compile_error!(
    "a release of pgsvc is static: build with -C target-feature=+crt-static (see .cargo/config.toml)"
);

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let code = match pgsvc::ansible::arguments_file(&args) {
        Some(path) => pgsvc::ansible::main(&path),
        None => pgsvc::cli::main(args),
    };
    ExitCode::from(code)
}
