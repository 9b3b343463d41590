//! `apply`: plan, install as one transaction, verify, and undo what this run made worse.

mod joint;
mod replace;

use std::path::PathBuf;

use super::outcome::{self, summary};
use super::ready::{Ready, ready};
use super::{Node, begin, dry, kept, ports, queue, read, seed, vip};
use crate::daemon::haproxy::{self, Haproxy};
use crate::daemon::keepalived;
use crate::error::Errors;
use crate::plan::Installed;
use crate::render::Templates;
use crate::report::Report;
use crate::request::{Model, State};
use crate::settings::VerifyMode;
use crate::transaction::{Daemon, Recovered, Transaction};

use replace::{Set, replace};

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
    let (all, vips) = vip::ready(node, model.clone(), &templates, report)?;
    let count = all.clusters.len();
    let daemon = daemon(haproxy.as_ref());
    let ready = ready(node, all, installed, &templates, report)?;
    if looks(node, model) {
        ports::login(node, &model.options)?;
    }
    let ready = ready.checked(node, &templates, report, &|plan| dry::refuses(node, daemon, plan))?;
    let Ready { model, mut plan, .. } = ready;
    let vips = again(node, &model, count, vips, &templates)?;
    if let Some(part) = vips.as_ref().filter(|part| part.changes()) {
        match dry::refuses(node, part.daemon(node), &part.plan) {
            Err(errors) if !part.moves() => report.fail(errors.0),
            said => said?,
        }
    }
    report.msg = summary(&plan, HAPROXY, true);
    // Nothing is installed, so nobody needs it any more: of a thousand clusters it is as large as all their files.
    plan.candidate.clear();
    report.will(plan);
    if let Some(part) = &vips {
        vip::told(report, &part.plan, true);
    }
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
    let (all, vips) = if model.state == State::Present {
        vip::ready(node, model.clone(), &templates, report)?
    } else {
        (model.clone(), vip::part(node, model, &templates)?)
    };
    let (good, vips) = carried_out(node, &all, vips, &templates, &tx, done_for_us, report)?;
    if let Some(part) = vips.filter(|_| model.state == State::Present) {
        // Its processes are asked by a signal: where nothing was done to the node, they have said it already.
        let known = !part.changes() && !report.changed;
        vip::look(node, &good, known.then_some(part.running.as_ref()), report, vip::TABLE);
    }
    Ok(())
}

/// Both daemons' parts. Gives the clusters that were not refused, and keepalived's part of them.
fn carried_out<'a>(
    node: &Node<'a>,
    model: &Model,
    vips: Option<vip::Part<'a>>,
    templates: &Templates,
    tx: &Transaction<'_>,
    done_for_us: Option<queue::Done>,
    report: &mut Report,
) -> Result<(Model, Option<vip::Part<'a>>), Errors> {
    let (mut installed, haproxy) = found(node, report)?;
    if let Some(running) = &mut installed.running {
        running.interrupted = matches!(tx.recovered(), Recovered::RolledBack(_));
    }
    let daemon = daemon(haproxy.as_ref());
    let mut ready = ready(node, model.clone(), installed, templates, report)?;
    if looks(node, model) {
        // Credentials that cannot be used must show now, not when the files are installed.
        ports::login(node, &model.options)?;
    }
    // One cluster is checked where it is installed; of several, those that are refused are left out before.
    if ready.model.clusters.len() > 1 {
        ready = ready.checked(node, templates, report, &|plan| tx.refuses(daemon, plan))?;
    }
    let mut vips = again(node, &ready.model, model.clusters.len(), vips, templates)?;
    kept::binary(node)?;
    let moves = vips.as_ref().filter(|part| part.moves());
    if ready.plan.is_empty() && moves.is_none() {
        nothing_to_do(node, &ready, done_for_us, report)?;
    } else if joint::joint(node, &ready, templates, daemon, tx, report).is_some() {
        // What the others wanted of keepalived is done, too.
        vips = vip::part(node, &ready.model, templates)?;
    } else {
        replace(node, &Set { ready: &ready, vips: moves, daemon }, None, tx, report)?;
    }
    if report.rolled_back {
        return Ok((ready.model, None));
    }
    remember(node, &ready, templates, report);
    if let Some(part) = vips.as_ref().filter(|part| part.changes() && !part.moves()) {
        wake(node, part, tx, report)?;
    }
    Ok((ready.model, vips))
}

/// A keepalived that does not run what is installed.
fn wake(
    node: &Node<'_>,
    part: &vip::Part<'_>,
    tx: &Transaction<'_>,
    report: &mut Report,
) -> Result<(), Errors> {
    match tx.install(part.daemon(node), &part.plan) {
        Ok(put) => {
            vip::told(report, &part.plan, false);
            Ok(put.keep()?)
        }
        Err(failure) => {
            report.msg = format!("{}; keepalived could not be brought to what is installed", report.msg);
            Err(failure.error)
        }
    }
}

/// All is as it shall be: the request may be another one, and the ports are looked at.
fn nothing_to_do(
    node: &Node<'_>,
    ready: &Ready,
    done_for_us: Option<queue::Done>,
    report: &mut Report,
) -> Result<(), Errors> {
    let Ready { model, plan, .. } = ready;
    kept::request(node, model)?;
    super::units::settle(node, plan, report);
    report.planned(plan);
    report.msg = summary(plan, HAPROXY, false);
    if let Some(done) = done_for_us {
        let files = outcome::files(done.changes.len());
        report.msg = format!("{files} changed, together with another run ({})", done.by);
        (report.changed, report.reason, report.changes) = (true, done.reason, done.changes);
    }
    if looks(node, model) {
        let results = ports::verify(node, model, None, model.options.timeout)?;
        ports::conclude(report, results, model.options.verify);
    }
    Ok(())
}

/// The next run is faster for it; that it fails undoes nothing.
fn remember(node: &Node<'_>, ready: &Ready, templates: &Templates, report: &mut Report) {
    if let Err(e) = kept::remember(node, templates, ready) {
        report.warnings.push(e.to_string());
    }
}
