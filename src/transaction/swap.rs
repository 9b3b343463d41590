//! From the old files to the new ones and back, one journalled set at a time. When, is decided by the transaction.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::journal::{Entry, Journal, Layout, Phase, Print, failed, owner, place};
use super::links::real_place;
use crate::error::{Error, Errors};
use crate::host::System;
use crate::plan::{InstalledFile, Plan};

/// Is the node still as it was when the plan was made?
pub(super) fn unchanged(sys: &dyn System, plan: &Plan) -> Result<(), Errors> {
    let mut errors = Errors::default();
    for change in &plan.changes {
        errors.take(real_place(sys, &change.path));
        if let Some(now) = errors.take(Print::of(sys, &change.path)) {
            let then =
                change.before.as_ref().map(|f: &InstalledFile| Print::new(&f.content, f.mode, f.uid, f.gid));
            if now != then {
                errors.push(meanwhile(&change.path));
            }
        }
    }
    let changed: BTreeSet<&Path> = plan.changes.iter().map(|c| c.path.as_path()).collect();
    for (path, bytes) in plan.candidate.iter().filter(|(p, _)| !changed.contains(p.as_path())) {
        if !sys.read(path).is_ok_and(|now| *now == **bytes) {
            errors.push(meanwhile(path));
        }
    }
    errors.finish(())
}

fn meanwhile(path: &Path) -> Error {
    Error::new(place(path), "was changed since the plan was made").hint("run it again")
}

/// Backups of the old files and hidden copies of the new ones: all that may fail for lack of room or rights.
pub(super) fn prepare(
    sys: &dyn System,
    layout: &Layout,
    journal: &mut Journal,
    plan: &Plan,
) -> Result<(), Error> {
    let old = layout.old();
    sys.create_dir(&old, 0o700).map_err(|e| failed("make", &old, &e))?;
    journal.enter(sys, layout, Phase::Prepare)?;
    for entry in &journal.entries {
        if let Some((name, print)) = &entry.before {
            let backup = old.join(name);
            sys.copy(&entry.path, &backup).map_err(|e| failed("keep a copy of", &entry.path, &e))?;
            // What was kept is what the plan knew, or it would be the wrong thing to restore.
            if Print::of(sys, &backup)?.as_ref() != Some(print) {
                return Err(meanwhile(&entry.path));
            }
        }
    }
    sys.sync_dir(&old).map_err(|e| failed("sync", &old, &e))?;
    for dir in &journal.dirs {
        sys.create_dir(dir, 0o755).map_err(|e| failed("make", dir, &e))?;
    }
    for (entry, change) in journal.entries.iter().zip(&plan.changes) {
        let Some(file) = &change.after else { continue };
        let hidden = entry.hidden();
        // Left by a run that had no journal: an older pgsvc's, or a restored backup of the node.
        if sys.stat(&hidden).map_err(|e| failed("look at", &hidden, &e))?.is_some() {
            sys.remove_file(&hidden).map_err(|e| failed("remove", &hidden, &e))?;
        }
        sys.create(&hidden, file.content.as_bytes(), file.mode, owner(sys, file)?)
            .map_err(|e| failed("write", &hidden, &e))?;
        if entry.before.is_some() {
            sys.copy_attributes(&entry.path, &hidden)
                .map_err(|e| failed("copy the extended attributes of", &entry.path, &e))?;
        }
    }
    sync(sys, journal)
}

/// The new files take the old ones' places. The journal must be in phase `swap`.
pub(super) fn swap(sys: &dyn System, journal: &Journal) -> Result<(), Error> {
    for entry in &journal.entries {
        if entry.after.is_some() {
            let hidden = entry.hidden();
            sys.rename(&hidden, &entry.path).map_err(|e| failed("install", &entry.path, &e))?;
        } else {
            sys.remove_file(&entry.path).map_err(|e| failed("remove", &entry.path, &e))?;
        }
    }
    sync(sys, journal)
}

/// Puts back every file of the old set, as often as it is asked. The journal must be in phase `undo`.
pub(super) fn restore(sys: &dyn System, layout: &Layout, journal: &Journal) -> Result<(), Errors> {
    let mut errors = Errors::default();
    for entry in &journal.entries {
        // All of them are tried: the more of the old set is back, the better.
        errors.take(restore_one(sys, layout, entry));
    }
    if errors.is_empty() {
        errors.take(remove_hidden(sys, journal));
        errors.take(sync(sys, journal));
        errors.take(remove_dirs(sys, journal));
    }
    errors.finish(())
}

fn restore_one(sys: &dyn System, layout: &Layout, entry: &Entry) -> Result<(), Error> {
    let path = &entry.path;
    let now = Print::of(sys, path)?;
    if now.as_ref() == entry.before.as_ref().map(|(_, print)| print) {
        return Ok(());
    }
    if now.is_some() && now != entry.after {
        set_aside(sys, layout, path)?;
    }
    let Some((name, _)) = &entry.before else {
        return sys.remove_file(path).map_err(|e| failed("remove", path, &e));
    };
    let restoring = entry.restoring();
    let back = || {
        if sys.stat(&restoring)?.is_some() {
            sys.remove_file(&restoring)?;
        }
        sys.copy(&layout.old().join(name), &restoring)?;
        sys.rename(&restoring, path)
    };
    back().map_err(|e| failed("restore", path, &e))
}

/// Somebody wrote to the file between our death and the recovery: the set must be whole, but nothing may be lost.
fn set_aside(sys: &dyn System, layout: &Layout, path: &Path) -> Result<(), Error> {
    let dir = layout.set_aside();
    let flat = place(path).replace('/', "_");
    let free =
        (0_u32..).map(|n| dir.join(format!("{flat}.{n}"))).find(|p| sys.stat(p).is_ok_and(|s| s.is_none()));
    let keep = || {
        sys.create_dir(&dir, 0o700)?;
        sys.copy(path, &free.ok_or(io::ErrorKind::AlreadyExists)?)?;
        sys.sync_dir(&dir)
    };
    keep().map_err(|e| failed("set aside", path, &e))
}

/// The hidden files of an unfinished transaction.
pub(super) fn remove_hidden(sys: &dyn System, journal: &Journal) -> Result<(), Error> {
    let mut any = false;
    for hidden in journal.entries.iter().flat_map(|e| [e.hidden(), e.restoring()]) {
        if sys.stat(&hidden).map_err(|e| failed("look at", &hidden, &e))?.is_some() {
            sys.remove_file(&hidden).map_err(|e| failed("remove", &hidden, &e))?;
            any = true;
        }
    }
    // For good, before the journal goes that names them.
    if any { sync(sys, journal) } else { Ok(()) }
}

/// Directories the transaction made; one that holds a stranger's file stays.
pub(super) fn remove_dirs(sys: &dyn System, journal: &Journal) -> Result<(), Error> {
    for dir in journal.dirs.iter().rev() {
        let there = sys.stat(dir).map_err(|e| failed("look at", dir, &e))?.is_some();
        if there && sys.list(dir).map_err(|e| failed("list", dir, &e))?.is_empty() {
            sys.remove_dir_all(dir).map_err(|e| failed("remove", dir, &e))?;
            if let Some(parent) = dir.parent() {
                sys.sync_dir(parent).map_err(|e| failed("sync", parent, &e))?;
            }
        }
    }
    Ok(())
}

fn sync(sys: &dyn System, journal: &Journal) -> Result<(), Error> {
    let dirs: BTreeSet<PathBuf> =
        journal.entries.iter().filter_map(|e| e.path.parent().map(Path::to_owned)).collect();
    for dir in dirs {
        // A directory that recovery finds missing was never made, or was removed with all that was in it.
        if sys.stat(&dir).map_err(|e| failed("look at", &dir, &e))?.is_some() {
            sys.sync_dir(&dir).map_err(|e| failed("sync", &dir, &e))?;
        }
    }
    Ok(())
}
