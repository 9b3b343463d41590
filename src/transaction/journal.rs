//! What is being done, on disk before it is done. No file of the node is touched here but the journal itself.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::beside::Beside;
use super::links::real_directory;
use crate::error::Error;
use crate::host::{Kind, System};
use crate::plan::{FileChange, Plan, RenderedFile};

/// Journals of another version are not guessed at.
const VERSION: u32 = 1;

/// Where a transaction keeps its own files; all of it for root only.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    state: PathBuf,
}

impl Layout {
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned() }
    }
    pub fn state(&self) -> &Path {
        &self.state
    }
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }
    /// The candidate tree, for the daemon's check.
    pub fn stage(&self) -> PathBuf {
        self.state.join("stage")
    }
    /// The running transaction.
    pub fn tx(&self) -> PathBuf {
        self.state.join("tx")
    }
    pub fn journal(&self) -> PathBuf {
        self.tx().join("journal.json")
    }
    /// The journal of a kept transaction: what the generation beside it consists of.
    pub fn manifest(&self) -> PathBuf {
        self.tx().join("manifest.json")
    }
    /// The files of the old set.
    pub fn old(&self) -> PathBuf {
        self.tx().join("old")
    }
    /// What others wrote where a set had to be made whole.
    pub fn set_aside(&self) -> PathBuf {
        self.state.join("set-aside")
    }
    /// The generation before the installed one.
    pub fn previous(&self) -> PathBuf {
        self.state.join("previous")
    }

    /// What goes with the set.
    pub fn beside(&self) -> Beside {
        Beside::new(&self.state)
    }

    /// Makes the state directory.
    pub fn make(&self, sys: &dyn System) -> Result<(), Error> {
        // A link would not be made, but followed.
        real_directory(sys, &self.state)?;
        sys.create_dir(&self.state, 0o700).map_err(|e| failed("make", &self.state, &e))?;
        let lock = self.lock();
        let stat = sys.stat(&lock).map_err(|e| failed("look at", &lock, &e))?;
        if stat.is_some_and(|s| s.kind != Kind::File) {
            return Err(Error::new(place(&lock), "is no regular file").hint("remove it"));
        }
        Ok(())
    }

    /// Refuses links among our own directories, through which another could choose what is restored.
    pub fn real(&self, sys: &dyn System) -> Result<(), Error> {
        let beside = self.beside();
        let own = [&self.state, &self.tx(), &self.old(), &self.previous(), &self.previous().join("old")];
        let kept = [&beside.now, &beside.next, &beside.previous, &self.set_aside()];
        let others = [&self.state.join("original"), &self.state.join("waiting")];
        own.into_iter().chain(others).chain(kept).try_for_each(|dir| real_directory(sys, dir))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Backups and hidden new files are being written.
    Prepare,
    /// The set is a mix.
    Swap,
    /// The new set is whole.
    Activate,
    /// The new set serves.
    Proven,
    /// The old set is being restored.
    Undo,
    /// The old set is whole again.
    Undone,
}

impl Phase {
    /// Whether the files may be a mix of two sets.
    pub fn mixed(self) -> bool {
        matches!(self, Self::Swap | Self::Undo)
    }
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Print {
    pub sha256: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Print {
    pub fn new(bytes: &[u8], mode: u32, uid: u32, gid: u32) -> Self {
        let sha256 = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        Self { sha256, mode, uid, gid }
    }

    /// Of what is at a path now; `None` when there is nothing.
    pub fn of(sys: &dyn System, path: &Path) -> Result<Option<Self>, Error> {
        let fail = |e| failed("look at", path, &e);
        let Some(stat) = sys.stat(path).map_err(fail)? else { return Ok(None) };
        if stat.kind != Kind::File {
            return Err(
                Error::new(place(path), "is no regular file").hint("pgsvc replaces regular files only")
            );
        }
        Ok(Some(Self::new(&sys.read(path).map_err(fail)?, stat.mode, stat.uid, stat.gid)))
    }
}

/// One file of the set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub path: PathBuf,
    /// The old version, kept below `old/` by this name; `None`: there was no file.
    pub before: Option<(String, Print)>,
    /// The new version; `None`: the file goes.
    pub after: Option<Print>,
}

impl Entry {
    /// The new version until the swap. HAProxy and systemd skip hidden names.
    pub fn hidden(&self) -> PathBuf {
        self.beside("new")
    }
    /// The old version until it is restored.
    pub fn restoring(&self) -> PathBuf {
        self.beside("old")
    }
    fn beside(&self, what: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".pgsvc-{what}.{name}"))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    pub phase: Phase,
    /// The hash of the new set.
    pub hash: String,
    /// A further transaction of the same apply: the previous generation is the one before the first.
    pub extends: bool,
    pub entries: Vec<Entry>,
    /// Directories that this transaction makes, parents first.
    pub dirs: Vec<PathBuf>,
}

impl Journal {
    /// What a plan will do. Nothing is written yet.
    pub fn of(sys: &dyn System, plan: &Plan, extends: bool) -> Result<Self, Error> {
        let mut dirs = Vec::new();
        let mut entries = Vec::new();
        for (i, change) in plan.changes.iter().enumerate() {
            entries.push(entry(sys, i, change)?);
            if change.after.is_some() {
                missing(sys, &change.path, &mut dirs)?;
            }
        }
        Ok(Self { version: VERSION, phase: Phase::Prepare, hash: plan.hash.clone(), extends, entries, dirs })
    }

    /// The journal or manifest at a path; `None` when there is none.
    pub fn load(sys: &dyn System, path: &Path) -> Result<Option<Self>, Error> {
        if sys.stat(path).map_err(|e| failed("look at", path, &e))?.is_none() {
            return Ok(None);
        }
        let bytes = sys.read(path).map_err(|e| failed("read", path, &e))?;
        let hint = "the old files lie beside it in old/: put them back by hand, then remove the directory";
        let journal: Self = serde_json::from_slice(&bytes)
            .map_err(|e| Error::new(place(path), format!("is unreadable: {e}")).hint(hint))?;
        if journal.version != VERSION {
            let what = format!("has version {}, and this pgsvc reads version {VERSION}", journal.version);
            return Err(Error::new(place(path), what).hint("run the pgsvc that wrote it"));
        }
        Ok(Some(journal))
    }

    /// Notes on disk that a phase begins.
    pub fn enter(&mut self, sys: &dyn System, layout: &Layout, phase: Phase) -> Result<(), Error> {
        let next = Self { phase, ..self.clone() };
        next.save(sys, layout, &layout.journal())?;
        // Before the sync: once renamed it holds, for all but a power cut.
        *self = next;
        sys.sync_dir(&layout.tx()).map_err(|e| failed("sync", &layout.tx(), &e))
    }

    /// Writes it whole or not at all.
    pub fn save(&self, sys: &dyn System, layout: &Layout, path: &Path) -> Result<(), Error> {
        let draft = layout.tx().join("draft");
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(place(path), format!("cannot be written: {e}")))?;
        let write = || {
            if sys.stat(&draft)?.is_some() {
                sys.remove_file(&draft)?;
            }
            sys.create(&draft, &bytes, 0o600, sys.whoami())?;
            sys.rename(&draft, path)
        };
        write().map_err(|e| failed("write", path, &e))
    }
}

fn entry(sys: &dyn System, i: usize, change: &FileChange) -> Result<Entry, Error> {
    let name = change.path.file_name().unwrap_or_default().to_string_lossy();
    let before = change.before.as_ref().map(|f| {
        // Numbered: two directories may hold the same name.
        (format!("{i}-{name}"), Print::new(&f.content, f.mode, f.uid, f.gid))
    });
    let after = match &change.after {
        None => None,
        Some(file) => {
            let (uid, gid) = owner(sys, file)?;
            Some(Print::new(file.content.as_bytes(), file.mode, uid, gid))
        }
    };
    Ok(Entry { path: change.path.clone(), before, after })
}

/// The numbers of a file's owner, which may be written as numbers.
pub(super) fn owner(sys: &dyn System, file: &RenderedFile) -> Result<(u32, u32), Error> {
    let (user, group) = &file.owner;
    let unknown = |what: &str, name: &str| {
        Error::new(place(&file.path), format!("{what} '{name}' does not exist on this node"))
            .hint("is the haproxy package installed?")
    };
    let uid = user.parse().ok().or_else(|| sys.user(user)).ok_or_else(|| unknown("user", user))?;
    let gid = group.parse().ok().or_else(|| sys.group(group)).ok_or_else(|| unknown("group", group))?;
    Ok((uid, gid))
}

/// The directories that are missing above a file, parents first.
fn missing(sys: &dyn System, path: &Path, dirs: &mut Vec<PathBuf>) -> Result<(), Error> {
    let mut found = Vec::new();
    for dir in path.ancestors().skip(1) {
        match sys.stat(dir).map_err(|e| failed("look at", dir, &e))? {
            Some(_) => break,
            None => found.push(dir.to_owned()),
        }
    }
    for dir in found.into_iter().rev() {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    Ok(())
}

pub(super) fn place(path: &Path) -> String {
    path.display().to_string()
}

/// `place: cannot VERB: reason`.
pub(super) fn failed(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let error = Error::new(place(path), format!("cannot {verb} it: {e}"));
    match e.kind() {
        PermissionDenied => error.hint("run as root"),
        StorageFull => error.hint("make room on that file system"),
        ReadOnlyFilesystem => error.hint("remount that file system for writing"),
        _ => error,
    }
}
