//! Programs: no shell, a deadline, bounded output. What is run is the callers' matter.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{self, SigSet, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::host::{Command, Output, Signal, Stream, Woken};

/// Output beyond this is read and dropped.
const MAX_OUTPUT: usize = 4 << 20;
/// Searched after PATH: an Ansible task's PATH often lacks them.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A command that names no deadline gets this one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a dead program's children are listened to once they are silent, and all in all.
const DRAIN: Duration = Duration::from_millis(200);
const DRAIN_ALL: Duration = Duration::from_secs(1);

pub(super) fn run(command: &Command) -> io::Result<Output> {
    let Some((program, args)) = command.argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program given"));
    };
    let path = if program.contains('/') { Some(PathBuf::from(program)) } else { find(program) };
    let path =
        path.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{program} is not installed")))?;
    let mut child = std::process::Command::new(&path)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;

    feed(&mut child, command.stdin.clone());
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let timeout = if command.timeout.is_zero() { DEFAULT_TIMEOUT } else { command.timeout };
    let status = wait(&mut child, timeout)?;
    let Some(status) = status else {
        let what = format!("{program} did not end within {} s and was killed", timeout.as_secs_f32());
        return Err(io::Error::new(io::ErrorKind::TimedOut, what));
    };
    let code = status.code().unwrap_or_else(|| 128_i32.saturating_add(status.signal().unwrap_or(0)));
    let end = Instant::now() + DRAIN_ALL;
    let collect = |pipe: Option<Receiver<Vec<u8>>>| pipe.map(|p| collect(&p, end)).unwrap_or_default();
    Ok(Output { code, stdout: collect(stdout), stderr: collect(stderr) })
}

/// Waits for the end or the deadline; at the deadline the whole process group goes.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= timeout {
            let group = i32::try_from(child.id()).map_err(io::Error::other)?;
            let _ = killpg(Pid::from_raw(group), signal::Signal::SIGKILL);
            // A program may have left its group.
            let _ = child.kill();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = pause.saturating_mul(2).min(Duration::from_millis(10));
    }
}

/// By a thread: a program that never reads must not stop us.
fn feed(child: &mut Child, input: Vec<u8>) {
    let Some(mut stdin) = child.stdin.take() else { return };
    if !input.is_empty() {
        std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
    }
}

/// By a thread: a full pipe stops the program, and a daemon's child may hold it open for ever.
fn drain(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (send, receive): (Sender<Vec<u8>>, _) = channel();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 16 << 10];
        let mut room = MAX_OUTPUT;
        while let Ok(n) = pipe.read(&mut buffer) {
            if n == 0 {
                break;
            }
            // Read on when there is no room or no listener: the program must not die of a closed pipe.
            let kept = n.min(room);
            room = room.saturating_sub(kept);
            // Nothing is sent when there is no room: notes of nothing would fill the memory just as well.
            if kept > 0 {
                let _ = send.send(buffer.get(..kept).unwrap_or_default().to_vec());
            }
        }
    });
    receive
}

/// What was said, and what a child that still has the pipe says until `end`.
fn collect(pipe: &Receiver<Vec<u8>>, end: Instant) -> Vec<u8> {
    let mut all = Vec::new();
    pipe.try_iter().for_each(|part| all.extend_from_slice(&part));
    loop {
        let left = end.saturating_duration_since(Instant::now()).min(DRAIN);
        match pipe.recv_timeout(left) {
            Ok(part) if !left.is_zero() => all.extend_from_slice(&part),
            Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return all,
        }
    }
}

/// Sleeps until SIGTERM or SIGINT comes or one of the connections ends or is spoken on, at most for `time`. Programs that
/// are run later start with no signal blocked.
pub(super) fn pause(time: Duration, wires: &[&dyn Stream]) -> io::Result<Woken> {
    let mut ends = SigSet::empty();
    ends.add(signal::Signal::SIGTERM);
    ends.add(signal::Signal::SIGINT);
    ends.thread_block()?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let wait = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    let heard: Vec<(usize, BorrowedFd<'_>)> =
        wires.iter().enumerate().filter_map(|(n, wire)| Some((n, wire.descriptor()?))).collect();
    let all = std::iter::once(signals.as_fd()).chain(heard.iter().map(|(_, fd)| *fd));
    let mut polled: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    poll(&mut polled, wait)?;
    let spoke = heard.iter().zip(polled.iter().skip(1)).filter(|(_, fd)| fd.any().unwrap_or(true));
    Ok(Woken { spoke: spoke.map(|((n, _), _)| *n).collect(), signalled: signals.read_signal()?.is_some() })
}

pub(super) fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().filter(|p| *p > 1);
    // 0 and negative numbers are groups, 1 is init: never meant here.
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no process of a daemon"))?;
    let signal = match signal {
        Signal::Hup => signal::Signal::SIGHUP,
        Signal::Term => signal::Signal::SIGTERM,
        Signal::Kill => signal::Signal::SIGKILL,
        Signal::Usr1 => signal::Signal::SIGUSR1,
        Signal::Usr2 => signal::Signal::SIGUSR2,
    };
    Ok(kill(Pid::from_raw(pid), signal)?)
}

pub(super) fn find(program: &str) -> Option<PathBuf> {
    let mut paths = std::env::var_os("PATH").unwrap_or_default();
    if !paths.is_empty() {
        paths.push(":");
    }
    paths.push(SYSTEM_PATH);
    which::WhichConfig::new_with_sys(Lookup)
        .binary_name(OsString::from(program))
        .custom_path_list(paths)
        .first_result()
        .ok()
}

/// The file system as `which` asks for it; its own layer would ask libc for a home.
struct Lookup;

impl which::sys::Sys for Lookup {
    type ReadDirEntry = std::fs::DirEntry;
    type Metadata = std::fs::Metadata;

    fn is_windows(&self) -> bool {
        false
    }
    fn current_dir(&self) -> io::Result<PathBuf> {
        std::env::current_dir()
    }
    fn home_dir(&self) -> Option<PathBuf> {
        None
    }
    fn env_split_paths(&self, paths: &OsStr) -> Vec<PathBuf> {
        // A relative entry of PATH would find what lies in the current directory.
        std::env::split_paths(paths).filter(|p| p.is_absolute()).collect()
    }
    fn env_path(&self) -> Option<OsString> {
        std::env::var_os("PATH")
    }
    fn env_path_ext(&self) -> Option<OsString> {
        None
    }
    fn env_windows_path_ext(&self) -> Cow<'static, [String]> {
        Cow::Borrowed(&[])
    }
    fn metadata(&self, path: &Path) -> io::Result<Self::Metadata> {
        std::fs::metadata(path)
    }
    fn symlink_metadata(&self, path: &Path) -> io::Result<Self::Metadata> {
        std::fs::symlink_metadata(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Box<dyn Iterator<Item = io::Result<Self::ReadDirEntry>>>> {
        Ok(Box::new(std::fs::read_dir(path)?))
    }
    fn is_valid_executable(&self, path: &Path) -> io::Result<bool> {
        let meta = std::fs::metadata(path)?;
        Ok(meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration) -> io::Result<Output> {
        run(&Command { argv: vec!["sh".into(), "-c".into(), script.into()], stdin: b"in".to_vec(), timeout })
    }

    #[test]
    fn output_and_exit_code_come_back() {
        let out = sh("cat; echo err >&2; exit 3", Duration::from_secs(5)).unwrap();
        assert_eq!((out.code, &out.stdout[..], &out.stderr[..]), (3, &b"in"[..], &b"err\n"[..]));
        assert_eq!(sh("kill -9 $$", Duration::from_secs(5)).unwrap().code, 137);
        assert_eq!(
            run(&Command { argv: vec!["no-such-program".into()], ..Command::default() }).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let start = Instant::now();
        let e = sh("sleep 60 & sleep 60", Duration::from_millis(200)).unwrap_err();
        assert_eq!(e.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_does_not_hold_us() {
        let start = Instant::now();
        let out = sh("setsid sleep 3 & echo started", Duration::from_secs(30)).unwrap();
        assert_eq!(out.stdout, b"started\n");
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn endless_output_is_bounded() {
        let out = sh("head -c 20000000 /dev/zero", Duration::from_secs(30)).unwrap();
        assert!(out.stdout.len() <= MAX_OUTPUT);
    }

    #[test]
    fn what_is_dropped_leaves_nothing_behind() {
        let pipe = drain(io::repeat(b'x').take(1 << 30));
        let parts: Vec<Vec<u8>> = pipe.iter().collect();
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), MAX_OUTPUT);
        assert!(parts.len() <= MAX_OUTPUT / (16 << 10) + 1, "{} parts", parts.len());
    }

    #[test]
    fn a_child_that_goes_on_talking_does_not_hold_us() {
        for child in ["yes", "sh -c 'while :; do echo x; echo x >&2; sleep 0.05; done'"] {
            let start = Instant::now();
            let out =
                sh(&format!("echo first; setsid {child} & sleep 0.1"), Duration::from_secs(30)).unwrap();
            assert!(out.stdout.starts_with(b"first\n"), "{child}");
            assert!(start.elapsed() < Duration::from_secs(4), "{child}: {:?}", start.elapsed());
        }
    }

    #[test]
    fn groups_and_init_are_never_signalled() {
        assert!(signal(0, Signal::Term).is_err());
        assert!(signal(1, Signal::Term).is_err());
        assert!(signal(u32::MAX, Signal::Term).is_err());
    }
}
