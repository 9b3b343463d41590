//! `rollback`: the set before the last apply, checked, installed and verified like any other.

use super::{Node, ports, read};
use crate::daemon::haproxy::Haproxy;
use crate::error::{Error, Errors};
use crate::plan::{Action, Plan};
use crate::render::haproxy::owner;
use crate::report::Report;
use crate::request::Model;
use crate::settings::VerifyMode;
use crate::transaction;

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
    let installed = read::installed(node)?;
    let mut candidate: std::collections::BTreeMap<_, _> = installed
        .files
        .iter()
        .filter(|(p, _)| p.extension().is_some_and(|e| e == "cfg"))
        .map(|(p, f)| (p.clone(), f.content.clone()))
        .collect();
    for c in changes.iter().filter(|c| c.path.extension().is_some_and(|e| e == "cfg")) {
        match &c.after {
            Some(file) => drop(candidate.insert(c.path.clone(), file.content.clone().into_bytes())),
            None => drop(candidate.remove(&c.path)),
        }
    }
    let description = candidate
        .get(&node.paths.conf_d.join("00-pgsvc.cfg"))
        .map(|c| String::from_utf8_lossy(c).into_owned());
    let hash = description
        .and_then(|t| t.lines().find_map(|l| l.trim().strip_prefix("description ").map(str::to_owned)));
    let Some(hash) = hash.filter(|_| candidate.get(&node.paths.config).is_some_and(|c| owner(c).is_some()))
    else {
        return Err(Error::new(
            "rollback",
            "the earlier set is the distribution's own configuration, not pgsvc's",
        )
        .hint("take the clusters away with 'pgsvc apply --absent -c CLUSTER'")
        .into());
    };
    let before: Vec<_> = installed.files.values().flat_map(|f| crate::plan::binds(&f.content)).collect();
    let new_binds =
        candidate.values().flat_map(|c| crate::plan::binds(c)).filter(|b| !before.contains(b)).collect();
    let daemon_reload = changes.iter().any(|c| c.path == node.paths.dropin);
    let plan = Plan {
        changes,
        action: Action::Reload,
        reason: "rollback was asked for".into(),
        hash,
        candidate,
        new_binds,
        nonlocal_binds: true,
        daemon_reload,
    };
    let daemon = Haproxy::detect(node.sys, node.paths.clone());
    match tx.install(&daemon, &plan) {
        Ok(put) => {
            put.keep()?;
            super::kept::swap(node)?;
        }
        Err(failure) => {
            report.msg = failure.to_string().lines().last().unwrap_or_default().to_owned();
            return Err(failure.error);
        }
    }
    report.planned(&plan);
    report.msg = format!("{} files back, HAProxy reloaded", plan.changes.len());
    if let Some(model) = model {
        let mode =
            if model.options.verify == VerifyMode::Off { VerifyMode::Report } else { model.options.verify };
        ports::conclude(report, ports::verify(node, model, None, model.options.timeout)?, mode);
    }
    Ok(())
}
