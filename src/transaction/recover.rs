//! What to do with what an earlier run left unfinished. Decides by the journal alone and never reloads a daemon.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::journal::{Journal, Layout, Phase, failed, place};
use super::links::real_directory;
use super::{generation, stage, swap};
use crate::error::{Error, Errors};
use crate::host::{Lock, System};

/// While a live run swaps files, a start of the daemon waits for it this often.
const POLL: Duration = Duration::from_millis(20);

/// What was found and done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing was unfinished.
    Nothing,
    /// The old set was put back: these files belong to it.
    RolledBack(Vec<PathBuf>),
    /// A proven set was kept; only tidying was left.
    Completed,
    /// A live run holds the lock, and its files are whole: nothing was done.
    Busy,
}

/// What the unit runs before a start and before a reload of the daemon: an unfinished transaction is rolled back or
/// forward. Within a live run it does nothing, but waits at most `wait` while that run's files are a mix.
///
/// # Errors
/// When the old set cannot be restored, or the live run does not get on.
pub fn recover(sys: &dyn System, state_dir: &Path, wait: Duration) -> Result<Recovered, Error> {
    let layout = Layout::new(state_dir);
    if sys.stat(state_dir).map_err(|e| failed("look at", state_dir, &e))?.is_none() {
        return Ok(Recovered::Nothing);
    }
    real_directory(sys, state_dir)?;
    let start = sys.now();
    loop {
        match sys.lock(&layout.lock(), Duration::ZERO) {
            Ok(_lock) => return run(sys, &layout),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {}
            Err(e) => return Err(failed("lock", &layout.lock(), &e)),
        }
        // A live run reloads the daemon itself, and this is then its own ExecReload: waiting would stop both.
        if !Journal::load(sys, &layout.journal()).is_ok_and(|j| j.is_some_and(|j| j.phase.mixed())) {
            return Ok(Recovered::Busy);
        }
        if sys.now().saturating_sub(start) >= wait {
            return Err(Error::new(
                place(&layout.lock()),
                "another pgsvc is in the middle of swapping files",
            )
            .hint("it ends by itself; if it hangs, kill it and run 'pgsvc recover'"));
        }
        sys.sleep(POLL);
    }
}

/// Whether a live run is between its swap and its proof, or on its way back. A dead one's journal is no reason to wait:
/// the daemon then still runs what it ran before, or recovers first.
pub fn unproven(sys: &dyn System, state_dir: &Path) -> bool {
    let layout = Layout::new(state_dir);
    let open = |j: Journal| matches!(j.phase, Phase::Swap | Phase::Activate | Phase::Undo);
    let journal = Journal::load(sys, &layout.journal()).ok().flatten();
    // Looked at in this order, the lock is tried on no other occasion.
    journal.is_some_and(open)
        && sys.lock(&layout.lock(), Duration::ZERO).is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)
}

/// The files that an apply at work has replaced, as they were before it; empty where none is at work.
pub fn replaced(sys: &dyn System, state_dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let layout = Layout::new(state_dir);
    let journal = Journal::load(sys, &layout.journal()).ok().flatten();
    let Some(journal) = journal.filter(|j| j.phase == Phase::Activate) else { return BTreeMap::new() };
    let old = |e: &super::journal::Entry| {
        let (name, _) = e.before.as_ref()?;
        Some((e.path.clone(), sys.read(&layout.old().join(name)).ok()?))
    };
    journal.entries.iter().filter_map(old).collect()
}

/// The lock, or who has it.
pub(super) fn take(sys: &dyn System, layout: &Layout, wait: Duration) -> Result<Box<dyn Lock>, Error> {
    let path = layout.lock();
    sys.lock(&path, wait).map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => Error::new(
            place(&path),
            format!("another run is at work on this node: {e}, for more than {} s", wait.as_secs()),
        )
        .hint("wait until it ends; if it hangs, kill it: the next run undoes what it left halfway"),
        _ => failed("lock", &path, &e),
    })
}

/// Needs the lock.
pub(super) fn run(sys: &dyn System, layout: &Layout) -> Result<Recovered, Error> {
    layout.real(sys)?;
    stage::remove(sys, layout)?;
    let found = settle(sys, layout)?;
    // Of a set that was kept nothing is left there.
    layout.beside().discard(sys)?;
    Ok(found)
}

fn settle(sys: &dyn System, layout: &Layout) -> Result<Recovered, Error> {
    let Some(mut journal) = Journal::load(sys, &layout.journal())? else {
        return tidy(sys, layout);
    };
    match journal.phase {
        Phase::Prepare | Phase::Undone => {
            discard(sys, layout, &journal)?;
            Ok(Recovered::Nothing)
        }
        Phase::Swap | Phase::Activate | Phase::Undo => {
            undo(sys, layout, &mut journal).map_err(|errors| {
                Error::new(
                    place(&layout.journal()),
                    format!("an unfinished apply cannot be rolled back: {errors}"),
                )
            })?;
            discard(sys, layout, &journal)?;
            Ok(Recovered::RolledBack(journal.entries.into_iter().map(|e| e.path).collect()))
        }
        Phase::Proven => {
            finish(sys, layout)?;
            Ok(Recovered::Completed)
        }
    }
}

/// A transaction directory without a journal: not begun, ended, or kept and not yet named so.
fn tidy(sys: &dyn System, layout: &Layout) -> Result<Recovered, Error> {
    let tx = layout.tx();
    let there = |path: &Path| sys.stat(path).map(|s| s.is_some()).map_err(|e| failed("look at", path, &e));
    if there(&layout.manifest())? {
        finish(sys, layout)?;
        return Ok(Recovered::Completed);
    }
    if there(&tx)? {
        sys.remove_dir_all(&tx).map_err(|e| failed("remove", &tx, &e))?;
    }
    Ok(Recovered::Nothing)
}

/// The old set, whole again; the journal then says so.
pub(super) fn undo(sys: &dyn System, layout: &Layout, journal: &mut Journal) -> Result<(), Errors> {
    journal.enter(sys, layout, Phase::Undo)?;
    swap::restore(sys, layout, journal)?;
    Ok(journal.enter(sys, layout, Phase::Undone)?)
}

/// Forgets a transaction whose old set is whole.
pub(super) fn discard(sys: &dyn System, layout: &Layout, journal: &Journal) -> Result<(), Error> {
    swap::remove_hidden(sys, journal)?;
    swap::remove_dirs(sys, journal)?;
    let (path, tx) = (layout.journal(), layout.tx());
    // The journal first: without its backups it could no longer be followed.
    if sys.stat(&path).map_err(|e| failed("look at", &path, &e))?.is_some() {
        sys.remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
        sys.sync_dir(&tx).map_err(|e| failed("sync", &tx, &e))?;
    }
    sys.remove_dir_all(&tx).map_err(|e| failed("remove", &tx, &e))
}

/// Ends a proven transaction: its old files become the previous generation.
pub(super) fn finish(sys: &dyn System, layout: &Layout) -> Result<(), Error> {
    let (tx, previous) = (layout.tx(), layout.previous());
    if let Some(journal) = Journal::load(sys, &layout.journal())? {
        // Until the journal goes, all of this may be done again.
        layout.beside().promote(sys)?;
        generation::seal(sys, layout, journal)?;
    }
    let rotate = || {
        sys.remove_dir_all(&previous)?;
        sys.rename(&tx, &previous)?;
        sys.sync_dir(layout.state())
    };
    rotate().map_err(|e| failed("keep the previous generation in", &previous, &e))
}
