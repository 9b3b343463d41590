//! The only sequencing of effects: lock, recover, re-check, stage, check, swap, activate, prove, keep; or roll back.
//!
//! Knows no daemon: what checks and activates a set of files is a [`Daemon`]. What the files say and whether a port
//! is right afterwards may not be decided here.
//!
//! Several renames are not atomic together, so a journal says what is being done before it is done. Whoever finds a
//! journal without a live owner rolls back (not proven yet) or forward (proven), so that a load balancer never starts
//! from a mix:
//!
//! | phase | what recovery does |
//! |---|---|
//! | `prepare` | removes the hidden new files; the old set was never touched |
//! | `swap`, `activate`, `undo` | puts back every file of the old set |
//! | `proven` | keeps the new set, and the old one as the previous generation |

mod beside;
mod generation;
mod journal;
mod links;
mod recover;
mod stage;
mod swap;

use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Errors};
use crate::host::{Lock, System};
use crate::plan::{Action, Plan};

pub use beside::Beside;
pub use generation::previous;
pub use links::real_directory;
pub use recover::{Recovered, recover, replaced, unproven};

use journal::{Journal, Layout, Phase};

/// What a transaction must know of the process that reads the files.
pub trait Daemon {
    /// Would the daemon load the candidate? The file `/a/b` lies at `staged/a/b`.
    ///
    /// # Errors
    /// The daemon's reason, naming the real file and line.
    fn check(&self, staged: &Path) -> Result<(), Error>;

    /// What the check cannot see and what must be known before anything is touched: ports, addresses.
    ///
    /// # Errors
    /// All that stands in the way.
    fn precheck(&self, plan: &Plan) -> Result<(), Errors>;

    /// What serves now, for the way back.
    ///
    /// # Errors
    /// When that cannot be known.
    fn serving(&self) -> Result<Serving, Error>;

    /// Puts the installed files into effect by the plan's action, and proves that they are.
    ///
    /// # Errors
    /// When the new configuration is not proven to serve; the old one may still do.
    fn activate(&self, plan: &Plan) -> Result<Proof, Error>;

    /// Whether more is to be put into effect when the caller has seen what `activate` came to: until he calls
    /// [`Installed::prove`] then, the set is not proven, and goes back with a run that dies.
    fn waits(&self) -> bool {
        false
    }

    /// Puts the restored files back into effect after `plan` was undone.
    ///
    /// # Errors
    /// When the old configuration is not proven to serve.
    fn revert(&self, plan: &Plan, before: &Serving) -> Result<(), Error>;
}

/// What a daemon served before a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serving {
    pub running: bool,
    pub pid: Option<u32>,
    pub hash: Option<String>,
}

/// That a configuration is in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// The process that answered; `None` where nothing had to be activated.
    pub pid: Option<u32>,
    pub hash: String,
    pub took: Duration,
    /// Why it came to a reload although the plan's commands should have done.
    pub reloaded: Option<String>,
}

/// Why a plan is not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub error: Errors,
    /// Whether anything the node uses was changed, if only for a moment.
    pub touched: bool,
    /// Whether the old set is back and in effect; `Ok` too where nothing was touched.
    pub rolled_back: Result<(), Errors>,
}

impl Failure {
    fn untouched(error: impl Into<Errors>) -> Self {
        Self { error: error.into(), touched: false, rolled_back: Ok(()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.error)?;
        match (&self.rolled_back, self.touched) {
            (Ok(()), false) => f.write_str("\nnothing was changed"),
            (Ok(()), true) => f.write_str("\nthe old configuration is back and serves"),
            (Err(errors), _) => write!(f, "\nrolling back failed as well:\n{errors}"),
        }
    }
}

impl std::error::Error for Failure {}

/// The node's lock, held, with nothing unfinished left behind: one apply. Plan, install and verify while it lives;
/// several sets may be installed one after the other, and the previous generation is what was there before the first.
pub struct Transaction<'a> {
    sys: &'a dyn System,
    layout: Layout,
    recovered: Recovered,
    /// Whether a set was kept already: the next one belongs to the same apply.
    kept: Cell<bool>,
    _lock: Box<dyn Lock>,
}

impl<'a> Transaction<'a> {
    /// Takes the lock below `state_dir`, waiting at most `wait`, and recovers what an earlier run left unfinished.
    ///
    /// # Errors
    /// When another run holds the lock (named as far as known), or the recovery fails.
    pub fn begin(sys: &'a dyn System, state_dir: &Path, wait: Duration) -> Result<Self, Error> {
        let layout = Layout::new(state_dir);
        layout.make(sys)?;
        let lock = recover::take(sys, &layout, wait)?;
        let recovered = recover::run(sys, &layout)?;
        Ok(Self { sys, layout, recovered, kept: Cell::new(false), _lock: lock })
    }

    /// What an earlier run had left behind.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Whether a plan would be refused before anything is touched.
    ///
    /// # Errors
    /// All that stands in the way.
    pub fn refuses(&self, daemon: &dyn Daemon, plan: &Plan) -> Result<(), Errors> {
        self.check(daemon, plan).map(drop).map_err(|failure| failure.error)
    }

    /// Installs a plan and proves it. The set is undone again when anything fails.
    ///
    /// # Errors
    /// What failed, whether anything was touched, and whether the old set is back.
    pub fn install(&self, daemon: &dyn Daemon, plan: &Plan) -> Result<Installed<'_>, Failure> {
        let sys = self.sys;
        swap::unchanged(sys, plan).map_err(Failure::untouched)?;
        let before = self.check(daemon, plan)?;
        if plan.changes.is_empty() {
            let proof = activate(daemon, plan).map_err(|error| match plan.action {
                // Some of the commands may have been carried out.
                Action::Runtime => {
                    let rolled_back = daemon.revert(plan, &before).map_err(Errors::from);
                    Failure { error: error.into(), touched: true, rolled_back }
                }
                _ => Failure::untouched(error),
            })?;
            return Ok(Installed { transaction: self, plan: plan.clone(), before, journal: None, proof });
        }
        let mut journal = Journal::of(sys, plan, self.kept.get()).map_err(Failure::untouched)?;
        if let Err(error) = swap::prepare(sys, &self.layout, &mut journal, plan) {
            let rolled_back = recover::discard(sys, &self.layout, &journal).map_err(Errors::from);
            return Err(Failure { error: error.into(), touched: false, rolled_back });
        }
        match self.effect(daemon, plan, &mut journal) {
            Ok(proof) => {
                Ok(Installed { transaction: self, plan: plan.clone(), before, journal: Some(journal), proof })
            }
            Err(error) => {
                let activated = matches!(journal.phase, Phase::Activate | Phase::Proven);
                let rolled_back = self.back(daemon, plan, &mut journal, &before, activated);
                Err(Failure { error: error.into(), touched: true, rolled_back })
            }
        }
    }

    /// All that can be known before anything is touched.
    fn check(&self, daemon: &dyn Daemon, plan: &Plan) -> Result<Serving, Failure> {
        if !plan.candidate.is_empty() {
            let checked = stage::fill(self.sys, &self.layout, plan).and_then(|staged| daemon.check(&staged));
            // Left over it does no harm: the next run removes it.
            let removed = stage::remove(self.sys, &self.layout);
            checked.and(removed).map_err(Failure::untouched)?;
        }
        daemon.precheck(plan).map_err(Failure::untouched)?;
        daemon.serving().map_err(Failure::untouched)
    }

    /// From the first rename to the proof.
    fn effect(
        &self,
        daemon: &dyn Daemon,
        plan: &Plan,
        journal: &mut Journal,
    ) -> Result<Option<Proof>, Error> {
        journal.enter(self.sys, &self.layout, Phase::Swap)?;
        swap::swap(self.sys, journal)?;
        journal.enter(self.sys, &self.layout, Phase::Activate)?;
        let proof = activate(daemon, plan)?;
        if !daemon.waits() {
            journal.enter(self.sys, &self.layout, Phase::Proven)?;
        }
        Ok(proof)
    }

    /// The old set again, in effect again where the new one may have been.
    fn back(
        &self,
        daemon: &dyn Daemon,
        plan: &Plan,
        journal: &mut Journal,
        before: &Serving,
        activated: bool,
    ) -> Result<(), Errors> {
        let mut errors = Errors::default();
        errors.take(recover::undo(self.sys, &self.layout, journal));
        // Files that are not whole must not be loaded; the next run, or the unit's, restores them.
        if errors.is_empty() && activated {
            errors.take(daemon.revert(plan, before));
        }
        if journal.phase == Phase::Undone {
            errors.take(recover::discard(self.sys, &self.layout, journal));
        }
        errors.finish(())
    }
}

fn activate(daemon: &dyn Daemon, plan: &Plan) -> Result<Option<Proof>, Error> {
    if plan.action == Action::Nothing && !plan.daemon_reload {
        return Ok(None);
    }
    daemon.activate(plan).map(Some)
}

/// A set that is installed and, unless its daemon waits, proven: kept from now on, whatever happens, unless it is undone.
#[must_use = "keep it, or undo it"]
pub struct Installed<'t> {
    transaction: &'t Transaction<'t>,
    plan: Plan,
    before: Serving,
    journal: Option<Journal>,
    /// `None` where nothing had to be activated.
    pub proof: Option<Proof>,
}

impl Installed<'_> {
    /// What waited is in effect, too: the set is proven.
    ///
    /// # Errors
    /// When that cannot be noted; the set is to be undone.
    pub fn prove(&mut self) -> Result<(), Error> {
        let Transaction { sys, layout, .. } = self.transaction;
        match &mut self.journal {
            Some(journal) if journal.phase != Phase::Proven => journal.enter(*sys, layout, Phase::Proven),
            _ => Ok(()),
        }
    }

    /// Keeps the new set, and the old one as the previous generation.
    ///
    /// # Errors
    /// When that generation cannot be kept; the new set stays, and the next run tries again.
    pub fn keep(self) -> Result<(), Error> {
        match self.journal {
            Some(_) => {
                self.transaction.kept.set(true);
                recover::finish(self.transaction.sys, &self.transaction.layout)
            }
            None => self.transaction.layout.beside().promote(self.transaction.sys),
        }
    }

    /// Restores the old set and puts it into effect: what a failed verification asks for.
    ///
    /// # Errors
    /// What could not be restored, or that the old set does not serve.
    pub fn undo(self, daemon: &dyn Daemon) -> Result<(), Errors> {
        let Some(mut journal) = self.journal else {
            let commanded = self.plan.action == Action::Runtime;
            return if commanded {
                daemon.revert(&self.plan, &self.before).map_err(Errors::from)
            } else {
                Ok(())
            };
        };
        let activated = self.proof.is_some();
        self.transaction.back(daemon, &self.plan, &mut journal, &self.before, activated)
    }
}

#[cfg(test)]
mod tests;
