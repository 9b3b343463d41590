//! The real keepalived's word on files. What they should say is the tests' matter.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;

use pgsvc::daemon::systemd::STABLE_BINARY;
use pgsvc::plan::RenderedFile;

/// An interface that is there: VRRP takes any but the loopback.
pub fn interface() -> String {
    let names = std::fs::read_dir("/sys/class/net").unwrap().flatten();
    let mut names: Vec<String> = names.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|n| n != "lo" && n != "bonding_masters");
    names.sort();
    names.into_iter().next().unwrap_or_else(|| panic!("these tests need a network interface beside lo"))
}

/// What `keepalived -t` says of files, laid below a directory of the test's.
pub fn check(files: &[RenderedFile], foreign: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display().to_string();
    std::fs::create_dir(dir.path().join("pgsvc.d")).unwrap();
    std::fs::write(dir.path().join("keepalived.conf"), foreign).unwrap();
    for f in files {
        let text = f.content.replace("/etc/keepalived", &root).replace(STABLE_BINARY, "/bin/true");
        std::fs::write(f.path.display().to_string().replace("/etc/keepalived", &root), text).unwrap();
    }
    // keepalived before 2.2.8 takes its caller for a dead parent while it tests scripts of another user, and ends itself.
    // In a process namespace of its own it has none.
    let mut command = Command::new("unshare");
    command.args(["--fork", "--pid", "keepalived", "-t", "-f"]).arg(dir.path().join("pgsvc.conf"));
    let out = command.output().unwrap_or_else(|e| panic!("unshare: {e}"));
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_ne!(
        out.status.code(),
        Some(127),
        "these tests need a real keepalived: apt-get install keepalived: {said}"
    );
    assert!(!said.contains("Operation not permitted"), "these tests need root: {said}");
    if out.status.success() && said.is_empty() { Ok(()) } else { Err(format!("{}: {said}", out.status)) }
}
