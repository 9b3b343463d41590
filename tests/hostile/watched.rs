//! The binary under watch: how long it took, and how much memory it had at most. What is asked of it is the tests' matter.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub struct Ran {
    pub code: i32,
    pub took: Duration,
    /// The most memory that the program itself held at once, KB (proc(5), `VmHWM`).
    pub peak_kb: u64,
    pub said: String,
}

/// Runs a command to its end. What runs in the end must be pgsvc: wrappers are to replace themselves by it.
pub fn run(command: &mut Command) -> Ran {
    for name in ["PGSVC_USER", "PGPASSWORD", "PGSVC_DATABASE", "NO_COLOR"] {
        command.env_remove(name);
    }
    let began = Instant::now();
    let output = tempfile::tempfile().unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut peak_kb = 0;
    let status = loop {
        peak_kb = peak_kb.max(peak(child.id()));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > Duration::from_secs(120) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_micros(300));
    };
    let said = read_again(output);
    // One that is gone within some milliseconds has had no time to take much.
    if began.elapsed() > Duration::from_millis(50) {
        assert!(peak_kb > 0, "{command:?} was never seen: {said}");
    }
    let code = status.code().unwrap_or_else(|| panic!("{command:?} was ended: {status}: {said}"));
    assert!(!said.contains("panicked"), "{said}");
    Ran { code, took: began.elapsed(), peak_kb, said }
}

/// 0 where the process is not pgsvc yet, or no longer there.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |key: &str| status.lines().find_map(|l| l.strip_prefix(key)).map(str::trim);
    if of("Name:") != Some("pgsvc") {
        return 0;
    }
    of("VmHWM:").and_then(|v| v.split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn read_again(mut file: std::fs::File) -> String {
    use std::io::{Read, Seek};
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pgsvc"))
}
