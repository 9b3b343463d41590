//! What goes with a set: the requests that it was made of, a directory beside the files. The next one is prepared before
//! the set is installed, and takes its place when the set is kept; a set that is undone takes it along. What is in it is
//! the callers' matter.

use std::path::{Path, PathBuf};

use super::journal::failed;
use crate::error::Error;
use crate::host::System;

/// The directories, below a node's state.
#[derive(Debug, Clone)]
pub struct Beside {
    state: PathBuf,
    /// Of the installed set.
    pub now: PathBuf,
    /// Of a set that is being installed.
    pub next: PathBuf,
    /// Of the set that a rollback goes back to.
    pub previous: PathBuf,
}

impl Beside {
    #[must_use]
    pub fn new(state: &Path) -> Self {
        let at = |name: &str| state.join(name);
        Self {
            state: state.to_owned(),
            now: at("clusters"),
            next: at("clusters.next"),
            previous: at("clusters.previous"),
        }
    }

    /// What was prepared, if anything was, takes its place. By renames alone, so that it can be taken up wherever it
    /// ended: what was prepared goes last.
    pub(super) fn promote(&self, sys: &dyn System) -> Result<(), Error> {
        if !there(sys, &self.next)? {
            return Ok(());
        }
        if there(sys, &self.now)? {
            sys.remove_dir_all(&self.previous).map_err(|e| failed("remove", &self.previous, &e))?;
            sys.rename(&self.now, &self.previous).map_err(|e| failed("rename", &self.now, &e))?;
        }
        sys.rename(&self.next, &self.now).map_err(|e| failed("rename", &self.next, &e))?;
        sys.sync_dir(&self.state).map_err(|e| failed("sync", &self.state, &e))
    }

    /// Forgets what was prepared.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard(&self, sys: &dyn System) -> Result<(), Error> {
        sys.remove_dir_all(&self.next).map_err(|e| failed("remove", &self.next, &e))
    }
}

fn there(sys: &dyn System, path: &Path) -> Result<bool, Error> {
    Ok(sys.stat(path).map_err(|e| failed("look at", path, &e))?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::{Fail, FakeFile, FakeSystem};

    fn node() -> (FakeSystem, Beside) {
        let sys = FakeSystem::default();
        let all = Beside::new(Path::new("/state"));
        for (dir, text) in [(&all.now, "now"), (&all.next, "next"), (&all.previous, "previous")] {
            let path = dir.join("a.json").display().to_string();
            sys.put(&path, FakeFile { bytes: text.into(), ..FakeFile::default() });
        }
        (sys, all)
    }

    fn is(sys: &FakeSystem, dir: &Path) -> Option<String> {
        let bytes = sys.read(&dir.join("a.json")).ok()?;
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn what_was_prepared_takes_its_place_wherever_that_was_cut_short() {
        for n in 1..=5 {
            let (sys, all) = node();
            sys.state().fail = Fail::From(n);
            assert_eq!(all.promote(&sys).is_ok(), n == 5);
            sys.state().fail = Fail::Never;
            all.promote(&sys).unwrap();
            let found = [&all.now, &all.next, &all.previous].map(|dir| is(&sys, dir));
            assert_eq!(found, [Some("next".to_owned()), None, Some("now".to_owned())], "{n}");
            all.promote(&sys).unwrap();
            assert_eq!(is(&sys, &all.now).as_deref(), Some("next"), "nothing was prepared");
        }
    }

    #[test]
    fn what_was_prepared_is_forgotten() {
        let (sys, all) = node();
        all.discard(&sys).unwrap();
        all.discard(&sys).unwrap();
        assert_eq!((is(&sys, &all.now).as_deref(), is(&sys, &all.next)), (Some("now"), None));
    }
}
