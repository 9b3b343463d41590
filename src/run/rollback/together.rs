//! Several daemons as one: the files of all of them go back in one transaction, or none of them does. What goes back is
//! not decided here.

use std::cell::{Cell, RefCell};
use std::path::Path;

use crate::error::{Error, Errors};
use crate::plan::{Action, Plan};
use crate::transaction::{Daemon, Proof, Serving};

/// A daemon with its share of the set.
struct Part<'a> {
    daemon: &'a dyn Daemon,
    plan: &'a Plan,
    before: RefCell<Serving>,
    /// It may have what the plan says in effect.
    tried: Cell<bool>,
}

#[derive(Default)]
pub(super) struct Together<'a>(Vec<Part<'a>>);

impl<'a> Together<'a> {
    pub fn add(&mut self, daemon: &'a dyn Daemon, plan: &'a Plan) {
        self.0.push(Part { daemon, plan, before: RefCell::default(), tried: Cell::new(false) });
    }

    /// The files of all; `None` without any part. The rest is the first one's.
    pub fn plan(&self) -> Option<Plan> {
        let mut plans = self.0.iter().map(|p| p.plan.clone());
        let first = plans.next()?;
        Some(plans.fold(first, |mut all, one| {
            all.changes.extend(one.changes);
            all.candidate.extend(one.candidate);
            all.daemon_reload |= one.daemon_reload;
            if all.action == Action::Nothing {
                all.action = one.action;
            }
            all
        }))
    }
}

impl Daemon for Together<'_> {
    fn check(&self, staged: &Path) -> Result<(), Error> {
        self.0.iter().filter(|p| !p.plan.candidate.is_empty()).try_for_each(|p| p.daemon.check(staged))
    }

    fn precheck(&self, _: &Plan) -> Result<(), Errors> {
        let mut errors = Errors::default();
        for p in &self.0 {
            errors.take(p.daemon.precheck(p.plan));
        }
        errors.finish(())
    }

    fn serving(&self) -> Result<Serving, Error> {
        for p in &self.0 {
            *p.before.borrow_mut() = p.daemon.serving()?;
        }
        Ok(self.0.first().map(|p| p.before.borrow().clone()).unwrap_or_default())
    }

    fn activate(&self, _: &Plan) -> Result<Proof, Error> {
        let mut proofs = Vec::new();
        for p in self.0.iter().filter(|p| p.plan.action != Action::Nothing || p.plan.daemon_reload) {
            p.tried.set(true);
            proofs.push(p.daemon.activate(p.plan)?);
        }
        Ok(proofs.into_iter().next().unwrap_or_default())
    }

    fn revert(&self, _: &Plan, _: &Serving) -> Result<(), Error> {
        let tried = self.0.iter().filter(|p| p.tried.get());
        // Each of them, whatever becomes of the others.
        let failed: Vec<Error> =
            tried.filter_map(|p| p.daemon.revert(p.plan, &p.before.borrow()).err()).collect();
        match failed.into_iter().reduce(|all, e| Error { what: format!("{}\n{e}", all.what), ..all }) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
