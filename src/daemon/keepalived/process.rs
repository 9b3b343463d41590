//! keepalived's processes, by /proc: the master, its children, and how it was started. Signals nobody.

use std::path::{Path, PathBuf};

use crate::host::System;

/// keepalived's own name for its processes, unless `process_names` makes it longer.
const NAME: &str = "keepalived";
/// SIGUSR1's bit in /proc/PID/status.
const USR1: u64 = 1 << 9;

/// Whether a process lives and is keepalived: one that nobody has reaped yet does not.
pub(super) fn lives(sys: &dyn System, pid: u32) -> bool {
    stat(sys, pid).is_some()
}

/// The process's parent, if it is a keepalived that lives.
fn stat(sys: &dyn System, pid: u32) -> Option<u32> {
    let bytes = sys.read(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // `PID (name) state parent …`: the name may hold anything.
    let (before, after) = text.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    let mut fields = after.split_ascii_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?);
    (name.starts_with(NAME) && !["Z", "X"].contains(&state)).then(|| parent.parse().ok())?
}

/// The processes that do the master's work; sorted. The scripts that they run are not among them.
pub(super) fn children(sys: &dyn System, master: u32) -> Vec<u32> {
    let all = sys.list(Path::new("/proc")).unwrap_or_default();
    let pids = all.iter().filter_map(|name| name.parse::<u32>().ok());
    let mut found: Vec<u32> = pids.filter(|pid| stat(sys, *pid) == Some(master)).collect();
    found.sort_unstable();
    found
}

/// Whether SIGUSR1 is waited for: a process that has only just started would be killed by it.
pub(super) fn takes_usr1(sys: &dyn System, pid: u32) -> bool {
    let bytes = sys.read(Path::new(&format!("/proc/{pid}/status"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mask = |key: &str| {
        let value = text.lines().find_map(|l| l.strip_prefix(key))?;
        u64::from_str_radix(value.trim(), 16).ok()
    };
    // Blocked is how keepalived waits for signals (signalfd).
    ["SigBlk:", "SigCgt:"].iter().filter_map(|key| mask(key)).any(|m| m & USR1 != 0)
}

/// The configuration file of the command line; `None` where keepalived's default is read.
pub(super) fn config(sys: &dyn System, pid: u32) -> Option<PathBuf> {
    let bytes = sys.read(Path::new(&format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    let args: Vec<String> =
        bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    let mut found = None;
    for (arg, next) in args.iter().zip(args.iter().skip(1).chain([&String::new()])) {
        let value = match arg.as_str() {
            "-f" | "--use-file" => Some(next.as_str()),
            _ => arg.strip_prefix("--use-file=").or_else(|| arg.strip_prefix("-f")),
        };
        // The last one counts (getopt(3)).
        found = value.map(PathBuf::from).or(found);
    }
    found
}

/// Where a process puts its dumps, seen from here: it may have a /tmp of its own (systemd's PrivateTmp), and from 2.2.5
/// on it follows TMPDIR.
pub(super) fn dump_dir(sys: &dyn System, pid: u32) -> PathBuf {
    let bytes = sys.read(Path::new(&format!("/proc/{pid}/environ"))).unwrap_or_default();
    let set = bytes.split(|b| *b == 0).find_map(|v| v.strip_prefix(b"TMPDIR="));
    let dir = set.map(|d| String::from_utf8_lossy(d).into_owned()).filter(|d| d.starts_with('/'));
    let dir = dir.unwrap_or_else(|| "/tmp".to_owned());
    PathBuf::from(format!("/proc/{pid}/root{dir}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::{FakeFile, FakeSystem};

    fn put(sys: &FakeSystem, path: &str, text: &str) {
        sys.put(path, FakeFile { bytes: text.into(), ..FakeFile::default() });
    }

    #[test]
    fn children_are_told_from_scripts_strangers_and_the_dead() {
        let sys = FakeSystem::default();
        put(&sys, "/proc/10/stat", "10 (keepalived) S 1 10 10 0");
        put(&sys, "/proc/11/stat", "11 (keepalived_vrrp) S 10 10 10 0");
        put(&sys, "/proc/12/stat", "12 (pgsvc) S 10 10 10 0");
        put(&sys, "/proc/13/stat", "13 (keepalived) Z 10 10 10 0");
        put(&sys, "/proc/14/stat", "14 (a) S 10 (keepalived) S 10 10 10 0");
        put(&sys, "/proc/9/stat", "9 (keepalived) S 10 10 10 0");
        assert_eq!(children(&sys, 10), [9, 11]);
        assert!(lives(&sys, 10) && !lives(&sys, 13) && !lives(&sys, 12) && !lives(&sys, 99));
    }

    #[test]
    fn the_last_file_of_a_command_line_is_the_one_it_reads() {
        let sys = FakeSystem::default();
        for (line, wanted) in [
            ("keepalived\0--dont-fork\0-f\0/a\0", Some("/a")),
            ("keepalived\0--use-file=/a\0-f/b\0", Some("/b")),
            ("keepalived\0--use-file\0/c\0-D\0", Some("/c")),
            ("keepalived\0-D\0", None),
            ("", None),
        ] {
            put(&sys, "/proc/5/cmdline", line);
            assert_eq!(config(&sys, 5), wanted.map(PathBuf::from), "{line:?}");
        }
    }

    #[test]
    fn only_a_process_that_waits_for_the_signal_is_asked() {
        let sys = FakeSystem::default();
        for (status, wanted) in [
            ("SigBlk:\t4000000800014a03\nSigCgt:\t0000000000000000\n", true),
            ("SigBlk:\t0000000000000000\nSigCgt:\t0000000000000200\n", true),
            ("SigBlk:\t0000000000000000\nSigCgt:\t0000000000000000\n", false),
            ("SigBlk: nonsense\n", false),
        ] {
            put(&sys, "/proc/5/status", status);
            assert_eq!(takes_usr1(&sys, 5), wanted, "{status}");
        }
        assert_eq!(dump_dir(&sys, 5), Path::new("/proc/5/root/tmp"));
        put(&sys, "/proc/5/environ", "A=b\0TMPDIR=/run/x\0");
        assert_eq!(dump_dir(&sys, 5), Path::new("/proc/5/root/run/x"));
    }
}
