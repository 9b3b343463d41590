//! Several daemons as one: the files of all of them change in one transaction, or none of them does. What they change
//! to is not decided here.

use std::cell::{Cell, RefCell};
use std::path::Path;

use crate::error::{Error, Errors};
use crate::plan::{Action, Plan};
use crate::transaction::{Daemon, Proof, Serving};

/// A daemon with its share of the set.
struct Part<'a> {
    daemon: &'a dyn Daemon,
    plan: &'a Plan,
    /// It takes its files on only when the others' are proven.
    last: bool,
    before: RefCell<Serving>,
    /// It may have what the plan says in effect.
    tried: Cell<bool>,
}

impl Part<'_> {
    fn acts(&self) -> bool {
        self.plan.action != Action::Nothing || self.plan.daemon_reload
    }

    /// Without a file of its own or a command it was brought to what is there before and after.
    fn goes_back(&self) -> bool {
        self.tried.get() && (!self.plan.changes.is_empty() || self.plan.action == Action::Runtime)
    }
}

#[derive(Default)]
pub(super) struct Together<'a>(Vec<Part<'a>>);

impl<'a> Together<'a> {
    pub fn add(&mut self, daemon: &'a dyn Daemon, plan: &'a Plan) {
        self.enter(daemon, plan, false);
    }

    /// One that is activated by `finish`, when the caller has seen what the others came to.
    pub fn add_last(&mut self, daemon: &'a dyn Daemon, plan: &'a Plan) {
        self.enter(daemon, plan, true);
    }

    fn enter(&mut self, daemon: &'a dyn Daemon, plan: &'a Plan, last: bool) {
        self.0.push(Part { daemon, plan, last, before: RefCell::default(), tried: Cell::new(false) });
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

    /// Activates those that waited for the others.
    ///
    /// # Errors
    /// That one does not take its files on: the set is to be undone.
    pub fn finish(&self) -> Result<(), Error> {
        self.take_on(true).map(drop)
    }

    fn take_on(&self, last: bool) -> Result<Vec<Proof>, Error> {
        let now = self.0.iter().filter(|p| p.last == last && p.acts());
        now.map(|p| {
            p.tried.set(true);
            p.daemon.activate(p.plan)
        })
        .collect()
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
        // What came of commands is in the proof of the one that had any.
        let proofs = self.take_on(false)?.into_iter();
        let telling = |a: Proof, b: Proof| if a.reloaded.is_none() && b.reloaded.is_some() { b } else { a };
        Ok(proofs.reduce(telling).unwrap_or_default())
    }

    fn waits(&self) -> bool {
        self.0.iter().any(|p| p.last && p.acts())
    }

    fn revert(&self, _: &Plan, _: &Serving) -> Result<(), Error> {
        // Each of them, whatever becomes of the others, and the last one first.
        let tried = self.0.iter().rev().filter(|p| p.goes_back());
        let failed: Vec<Error> =
            tried.filter_map(|p| p.daemon.revert(p.plan, &p.before.borrow()).err()).collect();
        match failed.into_iter().reduce(|all, e| Error { what: format!("{}\n{e}", all.what), ..all }) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::plan::{FileChange, Files};

    /// A daemon that notes what is asked of it.
    pub struct Noting<'l>(pub &'static str, pub bool, pub &'l RefCell<Vec<String>>);

    impl Daemon for Noting<'_> {
        fn check(&self, staged: &Path) -> Result<(), Error> {
            assert!(staged.is_absolute());
            Ok(())
        }
        fn precheck(&self, _: &Plan) -> Result<(), Errors> {
            Ok(())
        }
        fn serving(&self) -> Result<Serving, Error> {
            Ok(Serving { running: true, pid: None, hash: Some(self.0.into()) })
        }
        fn activate(&self, plan: &Plan) -> Result<Proof, Error> {
            self.2.borrow_mut().push(format!("{} takes {}", self.0, plan.hash));
            if self.1 { Ok(Proof::default()) } else { Err(Error::new(self.0, "does not take it")) }
        }
        fn revert(&self, plan: &Plan, before: &Serving) -> Result<(), Error> {
            assert_eq!(before.hash.as_deref(), Some(self.0));
            self.2.borrow_mut().push(format!("{} back from {}", self.0, plan.hash));
            Ok(())
        }
    }

    pub fn plan_of(changes: Vec<FileChange>) -> Plan {
        Plan {
            changes,
            action: Action::Reload,
            reason: String::new(),
            hash: "h".into(),
            whole: None,
            candidate: Files::new(),
            new_binds: Vec::new(),
            nonlocal_binds: false,
            commands: Vec::new(),
            hands: Vec::new(),
            daemon_reload: false,
        }
    }

    /// What is noted of a set with these changes when it was activated, and gone back from after `then`.
    fn noted(changes: Vec<FileChange>, then: impl Fn(&Together<'_>)) -> [Vec<String>; 3] {
        let log = RefCell::default();
        let (one, two) = (Noting("one", true, &log), Noting("two", false, &log));
        let plan = plan_of(changes);
        let mut set = Together::default();
        set.add(&one, &plan);
        set.add_last(&two, &plan);
        set.serving().unwrap();
        set.activate(&plan).unwrap();
        let taken = log.take();
        then(&set);
        let late = log.take();
        set.revert(&plan, &Serving::default()).unwrap();
        [taken, late, log.take()]
    }

    fn change() -> Vec<FileChange> {
        vec![FileChange { path: "/x".into(), before: None, after: None }]
    }

    #[test]
    fn the_last_one_waits_for_the_others_and_goes_back_before_them() {
        let finish = |set: &Together<'_>| {
            assert_eq!(set.finish().unwrap_err().to_string(), "two: does not take it");
        };
        let [taken, late, back] = noted(change(), finish);
        assert_eq!((taken, late), (vec!["one takes h".to_owned()], vec!["two takes h".to_owned()]));
        assert_eq!(back, ["two back from h", "one back from h"]);
    }

    #[test]
    fn what_was_there_before_is_not_taken_back() {
        let [taken, _, back] = noted(Vec::new(), |_| ());
        assert_eq!((taken, back), (vec!["one takes h".to_owned()], Vec::new()));
    }

    #[test]
    fn what_was_never_tried_is_not_taken_back() {
        let [taken, _, back] = noted(change(), |_| ());
        assert_eq!((taken, back), (vec!["one takes h".to_owned()], vec!["one back from h".to_owned()]));
    }
}
