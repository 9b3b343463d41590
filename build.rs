//! Tables to unwind the stack by are a tenth of the program, and a release's panic aborts: they are left out of it. And
//! what the program is made of, as a word that another program does not have (`PGSVC_BUILD`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=release.ld");
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    if of("PROFILE") == "release" && of("TARGET") == "x86_64-unknown-linux-gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        // From the package's directory, where cargo has the linker started: a path in full would outlive a move of it.
        println!("cargo:rustc-link-arg-bins=-Wl,-T,release.ld");
    }
    println!("cargo:rustc-env=PGSVC_BUILD={:016x}", sources());
}

/// A hash of every source and of the packages they are built with, the same wherever they lie.
fn sources() -> u64 {
    let mut all = vec![PathBuf::from("Cargo.lock"), PathBuf::from("Cargo.toml")];
    collect(Path::new("src"), &mut all);
    all.sort();
    let mut hasher = DefaultHasher::new();
    for path in all {
        println!("cargo:rerun-if-changed={}", path.display());
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path, bytes).hash(&mut hasher);
    }
    hasher.finish()
}

fn collect(dir: &Path, all: &mut Vec<PathBuf>) {
    // A file that comes changes the directory.
    println!("cargo:rerun-if-changed={}", dir.display());
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for path in entries.map(|e| e.unwrap_or_else(|e| panic!("{}: {e}", dir.display())).path()) {
        if path.is_dir() {
            collect(&path, all);
        } else {
            all.push(path);
        }
    }
}
