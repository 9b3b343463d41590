//! `apply`: plan, install as one transaction, verify, and undo what this run made worse.

mod joint;

use std::path::PathBuf;
use std::time::Duration;

use super::outcome::{self, served, summary, worse};
use super::ready::{Ready, cluster_of, ready};
use super::{Node, begin, dry, kept, ports, queue, read, seed, sessions, vip};
use crate::daemon::haproxy::{self, Haproxy};
use crate::daemon::keepalived;
use crate::error::Errors;
use crate::plan::{Action, Installed, Plan};
use crate::render::Templates;
use crate::report::Report;
use crate::request::{Model, State};
use crate::settings::VerifyMode;
use crate::transaction::{Daemon, Failure, Proof, Recovered, Transaction};
use crate::verify::judge::PortResult;

/// The daemon's name as a message has it.
const HAPROXY: &str = "HAProxy";

/// Installs what a model wants.
pub fn apply(node: &Node<'_>, model: &Model) -> Report {
    let mut report = begin(model);
    if model.clusters.is_empty() {
        report.msg = "nothing was changed".into();
        return report;
    }
    // An old version is refused when a candidate is checked with it: before anything is touched, and not on every run.
    let proxy = model.clusters.values().any(|c| c.proxy);
    if proxy && !node.rooted && node.sys.find("haproxy").is_none() {
        report.needs.push("haproxy".into());
        report.msg = "nothing was changed".into();
        report.fail([haproxy::missing()]);
        return report;
    }
    if vip::is_needed(model) && !node.rooted && node.sys.find("keepalived").is_none() {
        report.needs.push("keepalived".into());
        report.msg = "nothing was changed".into();
        report.fail([keepalived::missing()]);
        return report;
    }
    let work = if model.check { check } else { install };
    if let Err(errors) = work(node, model, &mut report) {
        if report.msg.is_empty() {
            report.msg = "nothing was changed".into();
        }
        report.fail(errors.0);
    }
    report
}

/// Whether systemd starts HAProxy at boot: by the link that enabling makes, without asking systemd.
fn starts_at_boot(node: &Node<'_>) -> bool {
    let wants = |dir: &str| PathBuf::from(dir).join("multi-user.target.wants/haproxy.service");
    ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
        .iter()
        .any(|dir| node.sys.stat(&wants(dir)).ok().flatten().is_some())
}

/// Whether the ports are looked at.
fn looks(node: &Node<'_>, model: &Model) -> bool {
    let any = model.clusters.values().any(|c| c.proxy);
    any && model.options.verify != VerifyMode::Off && !node.rooted && model.state == State::Present
}

/// Check mode: the same plan, refused for the same reasons, nothing touched, not even the lock.
fn check(node: &Node<'_>, model: &Model, report: &mut Report) -> Result<(), Errors> {
    let templates = node.templates(model)?;
    let (installed, haproxy) = found(node, report)?;
    let refuses = |daemon: &dyn Daemon, plan: &Plan| dry::refuses(node, daemon, plan);
    let (all, vips) = vip::ready(node, model.clone(), &templates, &refuses, report)?;
    let count = all.clusters.len();
    let daemon = daemon(haproxy.as_ref());
    let ready = ready(node, all, installed, &templates, report)?;
    if looks(node, model) {
        ports::login(node, &model.options)?;
    }
    let ready = ready.checked(node, &templates, report, &|plan| refuses(daemon, plan))?;
    let Ready { model, mut plan, .. } = ready;
    report.msg = summary(&plan, HAPROXY, true);
    // Nothing is installed, so nobody needs it any more: of a thousand clusters it is as large as all their files.
    plan.candidate.clear();
    report.will(plan);
    let vips = again(node, &model, count, vips, &templates)?;
    vip::check(vips.as_ref(), report);
    Ok(())
}

/// Keepalived's part, planned anew where clusters were left out since.
fn again<'a>(
    node: &Node<'a>,
    model: &Model,
    count: usize,
    vips: Option<vip::Part<'a>>,
    templates: &Templates,
) -> Result<Option<vip::Part<'a>>, Errors> {
    if model.clusters.len() == count { Ok(vips) } else { Ok(vip::part(node, model, templates)?) }
}

/// What is installed, and the HAProxy that runs it: systemd is asked once for both.
fn found<'a>(node: &'a Node<'a>, report: &mut Report) -> Result<(Installed, Option<Haproxy<'a>>), Errors> {
    let (installed, mut haproxy) = read::looked(node)?;
    if let Some(haproxy) = &mut haproxy {
        haproxy.hooks = Some(seed::hooks(node));
    }
    if haproxy.as_ref().is_some_and(Haproxy::by_systemd) && !starts_at_boot(node) {
        report.needs.push("enable".into());
    }
    Ok((installed, haproxy))
}

fn daemon<'h>(haproxy: Option<&'h Haproxy<'_>>) -> &'h dyn Daemon {
    haproxy.map_or(&dry::NoDaemon, |h| h)
}

fn install(node: &Node<'_>, model: &Model, report: &mut Report) -> Result<(), Errors> {
    let templates = node.templates(model)?;
    let ticket = if super::is_held(node) { queue::leave(node, model) } else { None };
    let tx = super::lock(node, report)?;
    let done_for_us = ticket.and_then(queue::Ticket::done);
    if let Recovered::RolledBack(files) = tx.recovered() {
        report.warnings.push(format!("an unfinished run was undone first ({} files)", files.len()));
    }
    if model.state == State::Present {
        let refuses = |daemon: &dyn Daemon, plan: &Plan| tx.refuses(daemon, plan);
        let (all, vips) = vip::ready(node, model.clone(), &templates, &refuses, report)?;
        let good = haproxys(node, &all, &templates, &tx, done_for_us, report)?;
        let vips = again(node, &good, all.clusters.len(), vips, &templates)?;
        return vip::install(node, &good, vips, &tx, report);
    }
    // An address goes before what it leads to.
    let vips = vip::part(node, model, &templates)?;
    vip::install(node, model, vips, &tx, report)?;
    let told = (report.changed, std::mem::take(&mut report.changes), std::mem::take(&mut report.msg));
    let done = haproxys(node, model, &templates, &tx, done_for_us, report);
    if told.0 {
        // What was done to keepalived stays, whatever becomes of HAProxy.
        let own = std::mem::take(&mut report.msg);
        report.changed = true;
        report.changes.extend(told.1);
        report.msg = match (&done, own.as_str()) {
            (Ok(_), own) => format!("{}; {own}", told.2),
            (Err(_), "") => format!("{}; HAProxy: nothing was changed", told.2),
            (Err(_), own) => format!("{}; HAProxy: {own}", told.2),
        };
    }
    done.map(drop)
}

/// HAProxy's part. Gives the clusters that were not refused.
fn haproxys(
    node: &Node<'_>,
    model: &Model,
    templates: &Templates,
    tx: &Transaction<'_>,
    done_for_us: Option<queue::Done>,
    report: &mut Report,
) -> Result<Model, Errors> {
    let (mut installed, haproxy) = found(node, report)?;
    if let Some(running) = &mut installed.running {
        running.interrupted = matches!(tx.recovered(), Recovered::RolledBack(_));
    }
    let daemon = daemon(haproxy.as_ref());
    let mut ready = ready(node, model.clone(), installed, templates, report)?;
    let looks = looks(node, model);
    if looks {
        // Credentials that cannot be used must show now, not when the files are installed.
        ports::login(node, &model.options)?;
    }
    // One cluster is checked where it is installed; of several, those that are refused are left out before.
    if ready.model.clusters.len() > 1 {
        ready = ready.checked(node, templates, report, &|plan| tx.refuses(daemon, plan))?;
    }
    kept::binary(node)?;
    if !ready.plan.is_empty() {
        if joint::joint(node, &ready, templates, daemon, tx, report).is_none() {
            replace(node, &ready, None, daemon, tx, report)?;
        }
        remember(node, &ready, templates, report);
        return Ok(ready.model);
    }
    kept::request(node, &ready.model)?;
    remember(node, &ready, templates, report);
    super::units::settle(node, &ready.plan, report);
    report.planned(&ready.plan);
    report.msg = summary(&ready.plan, HAPROXY, false);
    if let Some(done) = done_for_us {
        let files = outcome::files(done.changes.len());
        report.msg = format!("{files} changed, together with another run ({})", done.by);
        (report.changed, report.reason, report.changes) = (true, done.reason, done.changes);
    }
    if looks {
        let (model, options) = (&ready.model, &ready.model.options);
        ports::conclude(report, ports::verify(node, model, None, options.timeout)?, options.verify);
    }
    Ok(ready.model)
}

/// The next run is faster for it; that it fails undoes nothing.
fn remember(node: &Node<'_>, ready: &Ready, templates: &Templates, report: &mut Report) {
    if let Err(e) = kept::remember(node, templates, ready) {
        report.warnings.push(e.to_string());
    }
}

/// The new set in the place of the old one: proven, verified and kept, or undone. `own`: what the report is about,
/// where the set is more than that.
fn replace(
    node: &Node<'_>,
    ready: &Ready,
    own: Option<&Model>,
    daemon: &dyn Daemon,
    tx: &Transaction<'_>,
    report: &mut Report,
) -> Result<(), Errors> {
    let Ready { model, plan, installed } = ready;
    let looks = looks(node, model);
    let before = if looks && installed.running.is_some() && !installed.pristine {
        served(ports::verify(node, model, None, Duration::ZERO)?, installed)
    } else {
        Vec::new()
    };
    kept::originals(node, plan)?;
    kept::prepare(node, model)?;
    let put = match tx.install(daemon, plan) {
        Ok(put) => put,
        Err(failure) => return refused(node, model, failure, report),
    };
    let seen = if looks { ports::verify(node, model, None, model.options.timeout) } else { Ok(Vec::new()) };
    let worse = seen.as_ref().map(|results| worse(&before, results)).unwrap_or_default();
    if !worse.is_empty() && model.options.verify == VerifyMode::Fail {
        let undone = put.undo(daemon);
        report.rolled_back = undone.is_ok();
        let back = outcome::back(undone.is_ok());
        report.msg = format!("this run made {} worse; {back}", worse.join(", "));
        report.verify = seen.unwrap_or_default();
        kept::journal(node, model, "rolled back");
        report.failed = true;
        // What is left of the prepared requests the next run removes.
        let mut errors = Errors::default();
        errors.take(undone);
        errors.take(kept::discard(node));
        return errors.finish(());
    }
    // From here on the new set serves, whatever else fails.
    let mut done = done(plan, put.proof.as_ref());
    if let Some(own) = own {
        done.changes.retain(|c| cluster_of(c).is_none_or(|name| own.clusters.contains_key(&name)));
    }
    report.planned(&done);
    report.msg = summary(&done, HAPROXY, false);
    put.keep()?;
    kept::journal(node, model, "installed");
    super::units::settle(node, plan, report);
    if looks {
        let is_own = |r: &PortResult| own.is_none_or(|m| m.clusters.contains_key(&r.cluster));
        ports::conclude(report, seen?.into_iter().filter(is_own).collect(), model.options.verify);
    }
    if report.action == Some(Action::Reload) && !node.rooted {
        old_sessions(node, model, report);
    }
    Ok(())
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
