//! Tables to unwind the stack by are a tenth of the program, and a release's panic aborts: they are left out of it.

fn main() {
    println!("cargo:rerun-if-changed=release.ld");
    let of = |name: &str| std::env::var(name).unwrap_or_default();
    if of("PROFILE") == "release" && of("TARGET") == "x86_64-unknown-linux-gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        // From the package's directory, where cargo has the linker started: a path in full would outlive a move of it.
        println!("cargo:rustc-link-arg-bins=-Wl,-T,release.ld");
    }
}
