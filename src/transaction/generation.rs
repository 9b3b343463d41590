//! The generation before the installed one: kept, and read again as changes, which `rollback` plans. Touches nothing
//! that a daemon reads.

use std::path::Path;

use super::journal::{Entry, Journal, Layout, failed, place};
use crate::error::Error;
use crate::host::{Kind, System};
use crate::plan::{FileChange, InstalledFile, RenderedFile};

/// The changes that lead from what is installed back to the previous generation, sorted by path; only real ones.
/// `None` when there is no previous generation.
///
/// # Errors
/// When the generation is unreadable, or a file of it is no text.
pub fn previous(sys: &dyn System, state_dir: &Path) -> Result<Option<Vec<FileChange>>, Error> {
    let dir = Layout::new(state_dir).previous();
    let Some(manifest) = Journal::load(sys, &dir.join("manifest.json"))? else { return Ok(None) };
    let mut changes = Vec::new();
    for entry in manifest.entries {
        let before = installed(sys, &entry.path)?;
        let after = match &entry.before {
            None => None,
            Some((name, print)) => {
                let kept = dir.join("old").join(name);
                let bytes = sys.read(&kept).map_err(|e| failed("read", &kept, &e))?;
                let content = String::from_utf8(bytes)
                    .map_err(|_| Error::new(place(&kept), "is no text").hint("put it back by hand"))?;
                let owner = (print.uid.to_string(), print.gid.to_string());
                Some(RenderedFile {
                    path: entry.path.clone(),
                    content: content.into(),
                    mode: print.mode,
                    owner,
                    cluster: None,
                })
            }
        };
        let same = match (&before, &entry.before, &after) {
            (None, None, None) => true,
            (Some(now), Some((_, then)), Some(file)) => {
                *now.content == *file.content.as_bytes()
                    && (now.mode, now.uid, now.gid) == (then.mode, then.uid, then.gid)
            }
            _ => false,
        };
        if !same {
            changes.push(FileChange { path: entry.path, before, after });
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Some(changes))
}

/// Names a proven transaction's old files a generation: writes the manifest, then removes the journal.
pub(super) fn seal(sys: &dyn System, layout: &Layout, mut journal: Journal) -> Result<(), Error> {
    if journal.extends {
        extend(sys, layout, &mut journal)?;
    }
    journal.save(sys, layout, &layout.manifest())?;
    let (path, tx) = (layout.journal(), layout.tx());
    let end = || {
        sys.sync_dir(&tx)?;
        sys.remove_file(&path)?;
        sys.sync_dir(&tx)
    };
    end().map_err(|e| failed("end", &path, &e))
}

/// An apply may take several transactions: the generation is what was there before the first of them.
fn extend(sys: &dyn System, layout: &Layout, journal: &mut Journal) -> Result<(), Error> {
    let earlier = layout.previous();
    let Some(manifest) = Journal::load(sys, &earlier.join("manifest.json"))? else { return Ok(()) };
    for mut entry in manifest.entries {
        if let Some((name, _)) = &mut entry.before {
            let from = earlier.join("old").join(&*name);
            *name = format!("e{name}");
            let to = layout.old().join(&*name);
            let copy = || {
                if sys.stat(&to)?.is_some() {
                    sys.remove_file(&to)?;
                }
                sys.copy(&from, &to)
            };
            copy().map_err(|e| failed("keep", &from, &e))?;
        }
        match journal.entries.iter_mut().find(|e: &&mut Entry| e.path == entry.path) {
            Some(later) => later.before = entry.before,
            None => journal.entries.push(entry),
        }
    }
    let old = layout.old();
    sys.sync_dir(&old).map_err(|e| failed("sync", &old, &e))
}

fn installed(sys: &dyn System, path: &Path) -> Result<Option<InstalledFile>, Error> {
    match sys.stat(path).map_err(|e| failed("look at", path, &e))? {
        Some(stat) if stat.kind == Kind::File => {
            let content = sys.read(path).map_err(|e| failed("read", path, &e))?;
            Ok(Some(InstalledFile { content: content.into(), mode: stat.mode, uid: stat.uid, gid: stat.gid }))
        }
        Some(_) => Err(Error::new(place(path), "is no regular file")),
        None => Ok(None),
    }
}
