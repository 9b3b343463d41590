//! Files: created exclusively, synced, never through a symbolic link at the last component. Paths are already placed.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use xattr::FileExt;

use crate::host::{Kind, Lock, Stat};

/// Bound to a file's content by the kernel: copied to other content they would make it unreadable.
const CONTENT_BOUND: [&str; 2] = ["security.ima", "security.evm"];
/// How often a busy lock is tried again.
const LOCK_POLL: Duration = Duration::from_millis(20);

pub(super) fn stat(path: &Path) -> io::Result<Option<Stat>> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    let kind = match meta.file_type() {
        t if t.is_file() => Kind::File,
        t if t.is_dir() => Kind::Directory,
        t if t.is_symlink() => Kind::Symlink,
        _ => Kind::Other,
    };
    Ok(Some(Stat { kind, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid(), size: meta.size() }))
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

pub(super) fn create(path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> io::Result<()> {
    fresh(path, |file| {
        file.write_all(bytes)?;
        own(file, mode, owner)?;
        file.sync_all()
    })
}

/// Compared piece by piece: the binary compares itself on every run, and memory for all of it costs more than the look.
pub(super) fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut mine, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let size = one.read(&mut mine)?;
        let (Some(a), Some(b)) = (mine.get(..size), theirs.get_mut(..size)) else { return Ok(false) };
        match other.read_exact(b) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            done => done?,
        }
        if a != b {
            return Ok(false);
        }
        if size == 0 {
            return Ok(true);
        }
    }
}

pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = open(from)?;
    let meta = source.metadata()?;
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes)?;
    fresh(to, |file| {
        file.write_all(&bytes)?;
        own(file, meta.mode() & 0o7777, (meta.uid(), meta.gid()))?;
        attributes(&source, file, &[])?;
        // An ACL rewrites the group's bits.
        file.set_permissions(Permissions::from_mode(meta.mode() & 0o7777))?;
        file.sync_all()
    })
}

pub(super) fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let target = open(to)?;
    let mode = target.metadata()?.mode() & 0o7777;
    attributes(&open(from)?, &target, &CONTENT_BOUND)?;
    target.set_permissions(Permissions::from_mode(mode))?;
    target.sync_all()
}

/// Fills a file that did not exist; takes it away again when that fails.
fn fresh(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    fill(&mut file).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Owner before mode: a change of owner clears bits of the mode.
fn own(file: &File, mode: u32, (uid, gid): (u32, u32)) -> io::Result<()> {
    let meta = file.metadata()?;
    if (meta.uid(), meta.gid()) != (uid, gid) {
        fchown(file, Some(uid), Some(gid))?;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Gives `to` the attributes of `from`, and no others.
fn attributes(from: &File, to: &File, except: &[&str]) -> io::Result<()> {
    let names = |file: &File| -> io::Result<Vec<_>> {
        match file.list_xattr() {
            Ok(names) => Ok(names.filter(|n| !except.iter().any(|e| n == e)).collect()),
            Err(e) if e.raw_os_error() == Some(libc::ENOTSUP) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    };
    let wanted = names(from)?;
    for name in names(to)? {
        // A label can be changed but never taken away.
        if !wanted.contains(&name) && name != "security.selinux" {
            to.remove_xattr(&name)?;
        }
    }
    for name in wanted {
        if let Some(value) = from.get_xattr(&name)?
            && to.get_xattr(&name)?.as_ref() != Some(&value)
        {
            to.set_xattr(&name, &value)?;
        }
    }
    Ok(())
}

pub(super) fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    let mut missing = Vec::new();
    for dir in path.ancestors() {
        // Followed: a parent may be a link, as /var/lib is on some nodes.
        match std::fs::metadata(dir) {
            Ok(meta) if meta.is_dir() => break,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::NotADirectory, dir.display().to_string())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push(dir),
            Err(e) => return Err(e),
        }
    }
    for dir in missing.into_iter().rev() {
        std::fs::create_dir(dir)?;
        // Not left to the umask.
        std::fs::set_permissions(dir, Permissions::from_mode(mode))?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent)?;
        }
    }
    Ok(())
}

pub(super) fn remove_dir_all(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

struct Held {
    _file: Flock<File>,
}

impl Lock for Held {}

pub(super) fn lock(path: &Path, wait: Duration) -> io::Result<Box<dyn Lock>> {
    let start = Instant::now();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                // For whoever waits in vain: who holds it.
                held.set_len(0)?;
                write!(held, "{}", std::process::id())?;
                return Ok(Box::new(Held { _file: held }));
            }
            Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
            Err((_, e)) => return Err(e.into()),
        }
        if start.elapsed() >= wait {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("held by {}", holder(path))));
        }
        std::thread::sleep(LOCK_POLL.min(wait));
    }
}

/// `process 4711 (pgsvc apply)`, as far as it can be known.
fn holder(lock: &Path) -> String {
    let Some(pid) = std::fs::read_to_string(lock).ok().and_then(|s| s.trim().parse::<u32>().ok()) else {
        return "another process".to_owned();
    };
    let command = std::fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
    let words: Vec<_> =
        command.split(|b| *b == 0).filter(|w| !w.is_empty()).take(3).map(String::from_utf8_lossy).collect();
    // Who held it before, where a program has it that does not say so.
    if words.is_empty() {
        "another process".to_owned()
    } else {
        format!("process {pid} ({})", words.join(" "))
    }
}

#[cfg(test)]
mod tests;
