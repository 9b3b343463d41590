//! `apply`: plan, install as one transaction, verify, and undo what this run made worse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::{Node, begin, kept, ports};
use crate::daemon::haproxy::Haproxy;
use crate::error::{Error, Errors};
use crate::plan::{Action, FileChange, Installed, Plan};
use crate::render::Templates;
use crate::report::Report;
use crate::request::{Model, State};
use crate::settings::VerifyMode;
use crate::transaction::{Daemon, Proof, Serving, Transaction};
use crate::verify::judge::{PortResult, Status};

/// How long a run waits for another one on the same node.
const LOCK: Duration = Duration::from_secs(120);

/// Installs what a model wants.
pub fn apply(node: &Node<'_>, model: &Model) -> Report {
    let mut report = begin(model);
    if model.clusters.is_empty() {
        report.msg = "nothing was changed".into();
        return report;
    }
    let haproxy = Haproxy::detect(node.sys, node.paths.clone());
    if !node.rooted
        && let Err(e) = haproxy.version()
    {
        if haproxy.binary().is_err() {
            report.needs.push("haproxy".into());
        }
        report.msg = "nothing was changed".into();
        report.fail([e]);
        return report;
    }
    let nothing = NoDaemon;
    let daemon: &dyn Daemon = if node.rooted { &nothing } else { &haproxy };
    if !node.rooted && haproxy.by_systemd() && !kept::starts_at_boot(node) {
        report.needs.push("enable".into());
    }
    let outcome = if model.check { check(node, model, &mut report) } else { install(node, model, daemon, &mut report) };
    if let Err(errors) = outcome {
        if report.msg.is_empty() {
            report.msg = "nothing was changed".into();
        }
        report.fail(errors.0);
    }
    report
}

/// Check mode: the same plan, nothing touched, not even the lock.
fn check(node: &Node<'_>, model: &Model, report: &mut Report) -> Result<(), Errors> {
    let templates = node.templates(model)?;
    let (plan, _) = match ready(node, model, &templates, report) {
        Err(errors) => {
            let good = apart(model, errors, report, |one, report| ready(node, one, &templates, report).map(drop))?;
            ready(node, &good, &templates, report)?
        }
        ready => ready?,
    };
    report.planned(&plan);
    report.msg = summary(&plan, "would ");
    Ok(())
}

fn install(node: &Node<'_>, model: &Model, daemon: &dyn Daemon, report: &mut Report) -> Result<(), Errors> {
    let templates = node.templates(model)?;
    let tx = Transaction::begin(node.sys, &node.paths.state_dir, LOCK).inspect_err(|_| report.code = "busy".into())?;
    kept::settle(node, tx.recovered())?;
    if let crate::transaction::Recovered::RolledBack(files) = tx.recovered() {
        report.warnings.push(format!("an unfinished run was undone first ({} files)", files.len()));
    }
    match attempt(node, model, daemon, &templates, &tx, report) {
        Err(refused) if !refused.touched => {
            let good = apart(model, refused.errors, report, |one, report| {
                let (plan, _) = ready(node, one, &templates, report)?;
                tx.refuses(daemon, &plan)
            })?;
            report.msg.clear();
            attempt(node, &good, daemon, &templates, &tx, report).map_err(|r| r.errors)
        }
        outcome => outcome.map_err(|r| r.errors),
    }
}

/// The plan, and everything but the daemon that may stand in its way.
fn ready(node: &Node<'_>, model: &Model, templates: &Templates, report: &mut Report) -> Result<(Plan, Installed), Errors> {
    let (plan, installed) = super::plan(node, model, templates)?;
    consent(model, &plan, &installed, report)?;
    kept_members(node, model, &plan)?;
    Ok((plan, installed))
}

/// All clusters together are refused: those that are refused by themselves are left out and reported, so that they
/// do not block the others.
///
/// # Errors
/// Why all were refused, where that is no single cluster's matter.
fn apart(
    model: &Model,
    all: Errors,
    report: &mut Report,
    refused: impl Fn(&Model, &mut Report) -> Result<(), Errors>,
) -> Result<Model, Errors> {
    if model.clusters.len() < 2 {
        return Err(all);
    }
    let mut good = model.clone();
    let mut errors = Errors::default();
    for name in model.clusters.keys() {
        let mut one = model.clone();
        one.clusters.retain(|n, _| n == name);
        if errors.take(refused(&one, report)).is_none() {
            good.clusters.remove(name);
        }
    }
    if good.clusters.is_empty() || errors.is_empty() {
        return Err(all);
    }
    report.fail(errors.0);
    Ok(good)
}

/// Why a model is not installed, and whether anything was touched.
struct Refused {
    errors: Errors,
    touched: bool,
}

impl<E: Into<Errors>> From<E> for Refused {
    fn from(errors: E) -> Self {
        Self { errors: errors.into(), touched: false }
    }
}

/// One attempt with all clusters of the model at once.
fn attempt(
    node: &Node<'_>,
    model: &Model,
    daemon: &dyn Daemon,
    templates: &Templates,
    tx: &Transaction<'_>,
    report: &mut Report,
) -> Result<(), Refused> {
    let (plan, installed) = ready(node, model, templates, report)?;
    let looks = model.options.verify != VerifyMode::Off && !node.rooted && model.state == State::Present;
    if looks {
        // Credentials that cannot be used must show now, not when the files are installed.
        ports::login(node, &model.options)?;
    }
    kept::binary(node)?;
    if plan.is_empty() {
        kept::request(node, model)?;
        report.planned(&plan);
        report.msg = summary(&plan, "");
        if looks {
            ports::conclude(report, ports::verify(node, model, None, model.options.timeout)?, model.options.verify);
        }
        return Ok(());
    }
    let before = if looks && installed.running.is_some() && !installed.pristine {
        served(ports::verify(node, model, None, Duration::ZERO)?, &installed)
    } else {
        Vec::new()
    };
    kept::originals(node, &plan)?;
    kept::prepare(node, model)?;
    let put = match tx.install(daemon, &plan) {
        Ok(put) => put,
        Err(failure) => {
            report.rolled_back = failure.touched && failure.rolled_back.is_ok();
            report.msg = match (&failure.rolled_back, failure.touched) {
                (Ok(()), false) => "nothing was changed".into(),
                (Ok(()), true) => "the old configuration is back and serves".into(),
                (Err(_), _) => "rolling back failed as well".into(),
            };
            let mut errors = failure.error;
            if let Err(more) = failure.rolled_back {
                more.0.into_iter().for_each(|e| errors.push(e));
            }
            kept::journal(node, model, "failed");
            kept::discard(node)?;
            return Err(Refused { errors, touched: failure.touched });
        }
    };
    let results = if looks { ports::verify(node, model, None, model.options.timeout)? } else { Vec::new() };
    let worse = worse(&before, &results);
    if !worse.is_empty() && model.options.verify == VerifyMode::Fail {
        let undone = put.undo(daemon);
        report.rolled_back = undone.is_ok();
        report.msg = format!("this run made {} worse; {}", list(&worse), if undone.is_ok() { "the old configuration is back and serves" } else { "rolling back failed as well" });
        report.verify = results;
        kept::journal(node, model, "rolled back");
        kept::discard(node)?;
        report.failed = true;
        return undone.map_err(|errors| Refused { errors, touched: true });
    }
    // From here on the new set serves, whatever else fails.
    report.planned(&plan);
    report.msg = summary(&plan, "");
    kept::promote(node)?;
    put.keep()?;
    kept::journal(node, model, "installed");
    if looks {
        ports::conclude(report, results, model.options.verify);
    }
    Ok(())
}

/// A restart cuts every session: on a load balancer that serves already it needs consent.
fn consent(model: &Model, plan: &Plan, installed: &Installed, report: &mut Report) -> Result<(), Error> {
    if plan.action != Action::Restart || model.options.allow_restart || installed.pristine {
        return Ok(());
    }
    report.code = "restart_needed".into();
    Err(Error::new("haproxy", format!("a restart is needed, which cuts every session: {}", plan.reason))
        .hint("choose the moment and pass --allow-restart (allow_restart: true)"))
}

/// A member that Patroni still lists is not dropped because an inventory forgot it.
fn kept_members(node: &Node<'_>, model: &Model, plan: &Plan) -> Result<(), Errors> {
    let mut errors = Errors::default();
    if model.options.force || node.rooted || model.state == State::Absent {
        return Ok(());
    }
    for (name, c) in &model.clusters {
        let dropped = dropped(name, &c.cluster.members.iter().map(|m| m.address.as_str()).collect::<Vec<_>>(), plan);
        if dropped.is_empty() {
            continue;
        }
        let listed = super::kept::patroni_lists(node, &c.cluster);
        for address in dropped.into_iter().filter(|a| listed.contains(a)) {
            errors.push(Error::new(format!("cluster '{name}'"), format!("{address} is no longer a member here, but Patroni still lists it"))
                .hint("remove it from Patroni first, or pass --force (force: true)"));
        }
    }
    errors.finish(())
}

/// Addresses that a cluster's installed files serve and its new ones do not.
fn dropped(cluster: &str, members: &[&str], plan: &Plan) -> Vec<String> {
    let addresses = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        let server = |l: &str| {
            let mut words = l.split_whitespace();
            (words.next() == Some("server")).then(|| words.nth(1)).flatten().map(str::to_owned)
        };
        text.lines().filter_map(server).filter_map(|a| a.rsplit_once(':').map(|(ip, _)| ip.trim_matches(['[', ']']).to_owned())).collect()
    };
    let of_cluster = |c: &&FileChange| {
        let owner = c.before.as_ref().and_then(|b| crate::render::haproxy::owner(&b.content));
        matches!(owner, Some(crate::render::haproxy::Owner::Cluster { cluster: owner, .. }) if owner == cluster)
    };
    let before = plan.changes.iter().filter(of_cluster).filter_map(|c| c.before.as_ref());
    let mut gone: Vec<String> = before.flat_map(|b| addresses(&b.content)).filter(|a| !members.contains(&a.as_str())).collect();
    gone.sort();
    gone.dedup();
    gone
}

/// What was seen of ports that somebody listened on: one that this run creates was neither right nor wrong before.
fn served(before: Vec<PortResult>, installed: &Installed) -> Vec<PortResult> {
    let ports: BTreeSet<u16> =
        installed.files.values().flat_map(|f| crate::plan::binds(&f.content)).map(|b| b.port()).collect();
    before.into_iter().filter(|r| ports.contains(&r.port)).collect()
}

/// Ports that this run made worse: right before or new, and now misled although members are there to serve. A cluster
/// that is unhealthy for its own reasons is no reason to roll back.
fn worse(before: &[PortResult], after: &[PortResult]) -> Vec<String> {
    let was: BTreeMap<(&str, &str, &str), Status> =
        before.iter().map(|r| ((r.cluster.as_str(), r.service.as_str(), r.address.as_str()), r.status)).collect();
    let made_worse = |r: &&PortResult| {
        let wrong_before = was.get(&(r.cluster.as_str(), r.service.as_str(), r.address.as_str())) == Some(&Status::Wrong);
        r.status == Status::Wrong && r.misled && !wrong_before
    };
    after.iter().filter(made_worse).map(|r| format!("{}-{} ({})", r.cluster, r.service, r.address)).collect()
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

/// One sentence: what was or would be done.
fn summary(plan: &Plan, would: &str) -> String {
    if plan.is_empty() {
        return "nothing to do".into();
    }
    let files = match plan.changes.len() {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    let action = match (&plan.action, would.is_empty()) {
        (Action::Nothing, _) => String::new(),
        (Action::Reload, true) => ", HAProxy reloaded".into(),
        (Action::Restart, true) => ", HAProxy restarted".into(),
        (Action::Start, true) => ", HAProxy started".into(),
        (Action::Reload, false) => ", reload HAProxy".into(),
        (Action::Restart, false) => ", restart HAProxy".into(),
        (Action::Start, false) => ", start HAProxy".into(),
    };
    if would.is_empty() { format!("{files} changed{action}") } else { format!("would change {files}{action}") }
}

/// Another root: nothing runs there.
struct NoDaemon;

impl Daemon for NoDaemon {
    fn check(&self, _: &Path) -> Result<(), Error> {
        Ok(())
    }
    fn precheck(&self, _: &Plan) -> Result<(), Errors> {
        Ok(())
    }
    fn serving(&self) -> Result<Serving, Error> {
        Ok(Serving::default())
    }
    fn activate(&self, _: &Plan) -> Result<Proof, Error> {
        Ok(Proof::default())
    }
    fn revert(&self, _: &Plan, _: &Serving) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::InstalledFile;

    fn change(cluster: &str, servers: &[&str]) -> FileChange {
        let lines: String = servers.iter().map(|a| format!("    server x {a} check\n")).collect();
        let content = format!("# Managed by pgsvc: cluster={cluster} service=primary\n{lines}").into_bytes();
        FileChange { path: "/x".into(), before: Some(InstalledFile { content, mode: 0, uid: 0, gid: 0 }), after: None }
    }

    fn plan(changes: Vec<FileChange>) -> Plan {
        Plan { changes, action: Action::Reload, reason: String::new(), hash: String::new(), candidate: BTreeMap::new(),
            new_binds: Vec::new(), nonlocal_binds: false, daemon_reload: false }
    }

    fn port(service: &str, status: Status, misled: bool) -> PortResult {
        PortResult { cluster: "a".into(), service: service.into(), port: 1, address: "x".into(), status, tier: None,
            expected: Vec::new(), found: Vec::new(), why: Vec::new(), notes: Vec::new(), misled }
    }

    #[test]
    fn a_member_that_an_inventory_forgot_is_noticed() {
        let p = plan(vec![change("a", &["10.0.0.1:6432", "[fd00::2]:6432"]), change("b", &["10.0.0.9:1"])]);
        assert_eq!(dropped("a", &["10.0.0.1"], &p), ["fd00::2"]);
        assert!(dropped("a", &["10.0.0.1", "fd00::2"], &p).is_empty());
    }

    #[test]
    fn only_what_this_run_made_worse_is_undone() {
        let before = [port("right", Status::Ok, false), port("was-wrong", Status::Wrong, true)];
        let after = [
            port("right", Status::Wrong, true),
            port("was-wrong", Status::Wrong, true),
            port("new", Status::Wrong, true),
            port("sick", Status::Wrong, false),
        ];
        assert_eq!(worse(&before, &after), ["a-right (x)", "a-new (x)"]);
    }

    #[test]
    fn a_port_that_nobody_listened_on_was_not_wrong_before() {
        let refused = |n: u16| PortResult { port: n, ..port(&n.to_string(), Status::Wrong, true) };
        let old = InstalledFile { content: b"listen a-1\n    bind *:1\n".to_vec(), mode: 0, uid: 0, gid: 0 };
        let installed = Installed { files: [("/x.cfg".into(), old)].into(), ..Installed::default() };
        let before = served(vec![refused(1), refused(2)], &installed);
        assert_eq!(worse(&before, &[refused(1), refused(2)]), ["a-2 (x)"]);
    }
}
