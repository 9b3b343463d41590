//! The new set in the place of the old one: both daemons' files as one transaction, verified, and undone where that is
//! what the verification asks for.

use std::time::Duration;

use super::{HAPROXY, looks};
use crate::error::{Error, Errors};
use crate::plan::{Action, FileChange, Plan};
use crate::report::Report;
use crate::request::{Model, State};
use crate::run::outcome::{self, served, summary, worse};
use crate::run::ready::{Ready, cluster_of};
use crate::run::together::Together;
use crate::run::{Node, kept, ports, sessions, units, vip};
use crate::settings::VerifyMode;
use crate::transaction::{Daemon, Failure, Installed, Proof, Transaction};
use crate::verify::judge::PortResult;

/// What a run installs.
pub(super) struct Set<'s> {
    pub ready: &'s Ready,
    /// Keepalived's part, where its files change.
    pub vips: Option<&'s vip::Part<'s>>,
    pub daemon: &'s dyn Daemon,
}

impl<'s> Set<'s> {
    /// Both parts as one: an address goes before what it leads to, and comes when that is proven.
    pub fn together(&self, node: &Node<'_>) -> Together<'s> {
        let mut both = Together::default();
        let comes = self.ready.model.state == State::Present;
        if let Some(part) = self.vips.filter(|_| !comes) {
            both.add(part.daemon(node), &part.plan);
        }
        if !self.ready.plan.is_empty() {
            both.add(self.daemon, &self.ready.plan);
        }
        if let Some(part) = self.vips.filter(|_| comes) {
            both.add_last(part.daemon(node), &part.plan);
        }
        both
    }

    /// What was carried out, into the report. `own`: the clusters that it is about.
    fn told(&self, own: Option<&Model>, proof: Option<&Proof>, report: &mut Report) {
        let is_own = |c: &FileChange| {
            own.is_none_or(|own| cluster_of(c).is_none_or(|name| own.clusters.contains_key(&name)))
        };
        let mut done = done(&self.ready.plan, proof);
        done.changes.retain(is_own);
        report.planned(&done);
        report.msg = summary(&done, HAPROXY, false);
        if let Some(part) = self.vips {
            let mut plan = part.plan.clone();
            plan.changes.retain(is_own);
            vip::told(report, &plan, false);
        }
    }
}

/// The new set in the place of the old one: proven, verified and kept, or undone. `own`: what the report is about,
/// where the set is more than that.
pub(super) fn replace(
    node: &Node<'_>,
    set: &Set<'_>,
    own: Option<&Model>,
    tx: &Transaction<'_>,
    report: &mut Report,
) -> Result<(), Errors> {
    let Ready { model, plan, installed } = set.ready;
    let both = set.together(node);
    let Some(whole) = both.plan() else { return Ok(()) };
    let looks = looks(node, model);
    let before = if looks && installed.running.is_some() && !installed.pristine && !plan.is_empty() {
        served(ports::verify(node, model, None, Duration::ZERO)?, installed)
    } else {
        Vec::new()
    };
    kept::originals(node, &whole)?;
    kept::prepare(node, model)?;
    let mut put = match tx.install(&both, &whole) {
        Ok(put) => put,
        Err(failure) => return refused(node, model, failure, report),
    };
    let seen = if looks { ports::verify(node, model, None, model.options.timeout) } else { Ok(Vec::new()) };
    // Files of keepalived's alone make no port worse.
    let results = seen.as_deref().unwrap_or_default();
    let worse = if plan.is_empty() { Vec::new() } else { worse(&before, results) };
    if !worse.is_empty() && model.options.verify == VerifyMode::Fail {
        let why = format!("this run made {} worse", worse.join(", "));
        report.verify = seen.unwrap_or_default();
        report.failed = true;
        return undone(node, model, why, put.undo(&both), report);
    }
    let finished = both.finish().map_err(|e| ("keepalived does not take it on", e));
    let proven = finished.and_then(|()| put.prove().map_err(|e| ("that it is proven cannot be noted", e)));
    if let Err((why, e)) = proven {
        let mut errors = Errors::from(e);
        errors.take(undone(node, model, why.into(), put.undo(&both), report));
        return Err(errors);
    }
    kept_from_now(node, set, own, put, seen, report)
}

/// The new set serves, whatever else fails.
fn kept_from_now(
    node: &Node<'_>,
    set: &Set<'_>,
    own: Option<&Model>,
    put: Installed<'_>,
    seen: Result<Vec<PortResult>, Error>,
    report: &mut Report,
) -> Result<(), Errors> {
    let Ready { model, plan, .. } = set.ready;
    set.told(own, put.proof.as_ref(), report);
    put.keep()?;
    kept::journal(node, model, "installed");
    units::settle(node, plan, report);
    if looks(node, model) {
        let is_own = |r: &PortResult| own.is_none_or(|m| m.clusters.contains_key(&r.cluster));
        ports::conclude(report, seen?.into_iter().filter(is_own).collect(), model.options.verify);
    }
    if report.action == Some(Action::Reload) && !node.rooted {
        old_sessions(node, model, report);
    }
    Ok(())
}

/// The set was taken back again, or was to be: says so, and for what.
fn undone(
    node: &Node<'_>,
    model: &Model,
    why: String,
    undone: Result<(), Errors>,
    report: &mut Report,
) -> Result<(), Errors> {
    report.rolled_back = undone.is_ok();
    report.msg = format!("{why}; {}", outcome::back(undone.is_ok()));
    kept::journal(node, model, "rolled back");
    // What is left of the prepared requests the next run removes.
    let mut errors = Errors::default();
    errors.take(undone);
    errors.take(kept::discard(node));
    errors.finish(())
}

/// The plan as it was carried out: a server that got sessions meanwhile is taken away by a reload.
fn done(plan: &Plan, proof: Option<&Proof>) -> Plan {
    let mut done = plan.clone();
    if let Some(why) = proof.and_then(|p| p.reloaded.clone()) {
        (done.action, done.reason) = (Action::Reload, why);
        done.commands.clear();
    }
    done
}

/// A reload leaves sessions to a worker that checks nothing any more: those on a member that lost its role by now are
/// cut once. That this fails undoes no apply; what it leaves, `verify` tells and the watch cuts.
fn old_sessions(node: &Node<'_>, model: &Model, report: &mut Report) {
    let cut = ports::look(node, model, None).and_then(|l| sessions::fix(node, &l, model, false));
    match cut {
        Ok(cut) => {
            for line in sessions::said(&cut) {
                report.msg = format!("{}, {line}", report.msg);
            }
        }
        Err(e) => report.warnings.push(e.to_string()),
    }
}

/// The set was not installed, or not proven: says what that means for the node.
fn refused(node: &Node<'_>, model: &Model, failure: Failure, report: &mut Report) -> Result<(), Errors> {
    report.rolled_back = failure.touched && failure.rolled_back.is_ok();
    report.msg = outcome::left(&failure).into();
    let mut errors = failure.error;
    errors.take(failure.rolled_back);
    kept::journal(node, model, "failed");
    errors.take(kept::discard(node));
    Err(errors)
}
