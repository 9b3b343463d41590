//! Tables to unwind the stack by are a tenth of the program, and a release's panic aborts: they are left out of it. And
//! what the program is made of, as a word that another program does not have (`PGSVC_BUILD`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=release.ld");
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    if of("PROFILE") == "release" && of("TARGET") == "x86_64-unknown-linux-gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        // From the package's directory, where cargo has the linker started: a path in full would outlive a move of it.
        println!("cargo:rustc-link-arg-bins=-Wl,-T,release.ld");
    }
    println!("cargo:rustc-env=PGSVC_BUILD={:016x}", sources()?);
    Ok(())
}

/// A hash of every source and of the packages they are built with, the same wherever they lie.
fn sources() -> Result<u64, String> {
    let mut all = vec![PathBuf::from("Cargo.lock"), PathBuf::from("Cargo.toml")];
    collect(Path::new("src"), &mut all)?;
    all.sort();
    let mut hasher = DefaultHasher::new();
    for path in all {
        println!("cargo:rerun-if-changed={}", path.display());
        let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        (path, bytes).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn collect(dir: &Path, all: &mut Vec<PathBuf>) -> Result<(), String> {
    // A file that comes changes the directory.
    println!("cargo:rerun-if-changed={}", dir.display());
    let failed = |e: std::io::Error| format!("{}: {e}", dir.display());
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(&path, all)?;
        } else {
            all.push(path);
        }
    }
    Ok(())
}
