//! `rollback`: the set before the last apply, checked, installed and verified like any other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::together::Together;
use super::{Node, kept, outcome, ports, read, seed, vip};
use crate::daemon::haproxy::Haproxy;
use crate::daemon::own_unit;
use crate::error::{Error, Errors};
use crate::plan::{Action, FileChange, Files, Installed, Plan, binds};
use crate::render::haproxy::{DESCRIPTION, owner};
use crate::report::Report;
use crate::request::Model;
use crate::settings::VerifyMode;
use crate::transaction::{self, Transaction};

/// Goes back to the previous generation. `model` is what the node keeps of its request, for the verification.
pub fn rollback(node: &Node<'_>, model: Option<&Model>) -> Report {
    let mut report = model.map(super::begin).unwrap_or_default();
    report.failed = false;
    report.errors.clear();
    if let Err(errors) = run(node, model, &mut report) {
        if report.msg.is_empty() {
            report.msg = "nothing was changed".into();
        }
        report.fail(errors.0);
    }
    report
}

fn run(node: &Node<'_>, model: Option<&Model>, report: &mut Report) -> Result<(), Errors> {
    let tx = super::lock(node, report)?;
    let Some(changes) = transaction::previous(node.sys, &node.paths.state_dir)? else {
        return Err(Error::new("rollback", "there is no earlier set on this node").into());
    };
    if changes.is_empty() {
        report.msg = "nothing to do: the earlier set is the installed one".into();
        return Ok(());
    }
    let (theirs, changes): (Vec<_>, Vec<_>) = changes.into_iter().partition(|c| vip::is_ours(&c.path));
    let plan = if changes.is_empty() { None } else { Some(plan(node, changes, &read::installed(node)?)?) };
    let keepalived = if theirs.is_empty() { None } else { Some(vip::back(node, theirs)?) };
    let mut haproxy = Haproxy::detect(node.sys, node.paths.clone());
    haproxy.hooks = Some(seed::hooks(node));
    let mut set = Together::default();
    if let Some(plan) = &plan {
        set.add(&haproxy, plan);
    }
    if let Some((daemon, plan)) = &keepalived {
        set.add(daemon, plan);
    }
    put(node, &set, &tx, report)?;
    if let Some(plan) = &plan {
        report.planned(plan);
        let done = if plan.action == Action::Start { "started" } else { "reloaded" };
        report.msg = format!("{} files back, HAProxy {done}", plan.changes.len());
    }
    if let Some((_, plan)) = &keepalived {
        vip::told(report, plan, false);
    }
    let Some(plan) = plan else { return Ok(()) };
    super::units::settle(node, &plan, report);
    if let Some(model) = model {
        let mode =
            if model.options.verify == VerifyMode::Off { VerifyMode::Report } else { model.options.verify };
        ports::conclude(report, ports::verify(node, model, None, model.options.timeout)?, mode);
    }
    Ok(())
}

/// The earlier set in the place of the installed one, with the requests that it was made of: all of it, or nothing.
fn put(node: &Node<'_>, set: &Together<'_>, tx: &Transaction<'_>, report: &mut Report) -> Result<(), Errors> {
    let Some(plan) = set.plan() else { return Ok(()) };
    kept::prepare_back(node)?;
    match tx.install(set, &plan) {
        Ok(put) => put.keep().map_err(|e| {
            // It serves, whatever else fails.
            report.changed = true;
            report.msg = "the earlier set is installed and serves".into();
            e.into()
        }),
        Err(failure) => {
            report.msg = outcome::left(&failure).into();
            let mut errors = failure.error;
            errors.take(failure.rolled_back);
            errors.take(kept::discard(node));
            Err(errors)
        }
    }
}

/// The way back as a plan.
fn plan(node: &Node<'_>, changes: Vec<FileChange>, installed: &Installed) -> Result<Plan, Error> {
    let read = |path: &PathBuf| path.extension().is_some_and(|e| e == "cfg");
    let now = installed.files.iter().filter(|(p, _)| read(p));
    let mut candidate: Files = now.map(|(p, f)| (p.clone(), Arc::clone(&f.content))).collect();
    let before: BTreeSet<SocketAddr> = match installed.running {
        Some(_) => candidate.values().flat_map(|c| binds(c)).collect(),
        None => BTreeSet::new(),
    };
    for c in changes.iter().filter(|c| read(&c.path)) {
        match &c.after {
            Some(file) => drop(candidate.insert(c.path.clone(), file.bytes())),
            None => drop(candidate.remove(&c.path)),
        }
    }
    let ours = candidate.get(&node.paths.config).is_some_and(|c| owner(c).is_some());
    let hash = candidate.get(&node.paths.conf_d.join(DESCRIPTION)).and_then(|c| description(c));
    let Some(hash) = hash.filter(|_| ours) else { return Err(strange(node)) };
    let after: BTreeSet<SocketAddr> = candidate.values().flat_map(|c| binds(c)).collect();
    Ok(Plan {
        commands: Vec::new(),
        hands: Vec::new(),
        daemon_reload: changes.iter().any(|c| c.path == node.paths.dropin || own_unit::is_ours(&c.path)),
        changes,
        // Somebody may have stopped it; a set that does not serve would not be proven.
        action: if installed.running.is_some() { Action::Reload } else { Action::Start },
        reason: "rollback was asked for".into(),
        hash,
        whole: None,
        new_binds: after.difference(&before).copied().collect(),
        candidate,
        nonlocal_binds: true,
    })
}

/// The configuration's name, which a new worker must answer with.
fn description(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    text.lines().find_map(|l| l.trim().strip_prefix("description ").map(str::to_owned))
}

/// The set before the first apply: the distribution's, or one that was taken over. Nothing tells when it serves.
fn strange(node: &Node<'_>) -> Error {
    let error =
        Error::new("rollback", "the earlier set was not written by pgsvc, which cannot prove that it serves");
    let kept = kept::original(node, &node.paths.config);
    if !node.sys.stat(&kept).is_ok_and(|s| s.is_some()) {
        return error.hint("take the clusters away with 'pgsvc apply --absent -c CLUSTER'");
    }
    let (kept, config) = (kept.display(), node.paths.config.display());
    error.hint(format!(
        "the {config} of before is kept as {kept}: take the clusters away with 'pgsvc apply --absent -c CLUSTER', \
         put that file back, and reload HAProxy"
    ))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use std::path::Path;

    use super::*;
    use crate::daemon::Paths;
    use crate::host::fake::{FakeFile, FakeSystem};
    use crate::plan::{InstalledFile, RenderedFile, Running};
    use crate::run::together::tests::{Noting, plan_of};

    fn back(path: &str, content: &str) -> FileChange {
        let owner = ("0".to_owned(), "0".to_owned());
        let after =
            RenderedFile { path: path.into(), content: content.into(), mode: 0o640, owner, cluster: None };
        FileChange { path: path.into(), before: None, after: Some(after) }
    }

    fn installed(running: bool) -> Installed {
        let file =
            |content: &str| InstalledFile { content: content.as_bytes().into(), mode: 0o640, uid: 0, gid: 0 };
        let files = [
            ("/etc/haproxy/haproxy.cfg".into(), file("# Managed by pgsvc: node\n")),
            ("/etc/haproxy/conf.d/00-pgsvc.cfg".into(), file("global\n    description pgsvc-new\n")),
            ("/etc/haproxy/conf.d/a-x.cfg".into(), file("listen a-x\n    bind 127.0.0.1:1\n")),
        ];
        let running =
            running.then_some(Running { description: None, takes_reload: true, ..Running::default() });
        Installed { files: files.into(), running, ..Installed::default() }
    }

    #[test]
    fn a_stopped_haproxy_is_started_with_the_earlier_set() {
        let sys = FakeSystem::default();
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let changes =
            || vec![back("/etc/haproxy/conf.d/00-pgsvc.cfg", "global\n    description pgsvc-old\n")];
        let p = plan(&node, changes(), &installed(true)).unwrap();
        assert_eq!((p.action, p.hash.as_str(), p.new_binds.len()), (Action::Reload, "pgsvc-old", 0));
        let p = plan(&node, changes(), &installed(false)).unwrap();
        assert_eq!((p.action, p.new_binds.len()), (Action::Start, 1));
    }

    #[test]
    fn a_set_that_was_taken_over_is_not_gone_back_to_but_named() {
        let sys = FakeSystem::default();
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let says = || {
            let change = back("/etc/haproxy/haproxy.cfg", "global\n    description pgsvc-old\n");
            plan(&node, vec![change], &installed(true)).unwrap_err().to_string()
        };
        assert!(says().contains("not written by pgsvc") && !says().contains("original"), "{}", says());
        sys.put("/var/lib/pgsvc/original/etc/haproxy/haproxy.cfg", FakeFile::default());
        assert!(says().contains("is kept as /var/lib/pgsvc/original/etc/haproxy/haproxy.cfg"), "{}", says());
    }

    #[test]
    fn files_of_both_daemons_and_the_requests_go_back_together_or_not_at_all() {
        for takes in [false, true] {
            let sys = FakeSystem::default();
            let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
            for (dir, text) in [("clusters", "new"), ("clusters.previous", "old")] {
                let file = FakeFile { bytes: text.into(), mode: 0o600, ..FakeFile::default() };
                sys.put(&format!("/var/lib/pgsvc/{dir}/a.json"), file);
            }
            let both = ["/etc/haproxy/conf.d/a-x.cfg", "/etc/keepalived/pgsvc.d/a.conf"];
            let plans = both.map(|path| {
                let file = FakeFile { bytes: b"new".into(), mode: 0o640, ..FakeFile::default() };
                sys.put(path, file);
                let before = InstalledFile { content: b"new".to_vec().into(), mode: 0o640, uid: 0, gid: 0 };
                let change = FileChange { before: Some(before), ..back(path, "old") };
                let candidate = [(path.into(), b"old".to_vec().into())].into();
                Plan { candidate, ..plan_of(vec![change]) }
            });
            let (log, mut report) = (RefCell::default(), Report::default());
            let (one, two) = (Noting("one", true, &log), Noting("two", takes, &log));
            let mut set = Together::default();
            set.add(&one, &plans[0]);
            set.add(&two, &plans[1]);
            let tx = crate::run::lock(&node, &mut report).unwrap();
            assert_eq!(put(&node, &set, &tx, &mut report).is_ok(), takes);
            let is = |path: &str| {
                sys.state().files.get(Path::new(path)).map(|f| String::from_utf8(f.bytes.clone()).unwrap())
            };
            let (now, then) = if takes { ("old", "new") } else { ("new", "old") };
            assert_eq!(both.map(|p| is(p).unwrap()), [now, now]);
            assert_eq!(is("/var/lib/pgsvc/clusters/a.json").as_deref(), Some(now));
            assert_eq!(is("/var/lib/pgsvc/clusters.previous/a.json").as_deref(), Some(then));
            let mut asked = vec!["one takes h", "two takes h"];
            if !takes {
                asked.extend(["two back from h", "one back from h"]);
                assert_eq!(report.msg, "the old configuration is back and serves");
            }
            assert_eq!(*log.borrow(), asked);
        }
    }
}
