//! Keepalived's part of a run: planned before anything is touched, and refused where it cannot be. Changes nothing.

use std::path::PathBuf;

use super::{duties, files, wanted};
use crate::daemon::keepalived::{self, Keepalived, Paths};
use crate::error::{Error, Errors};
use crate::plan::keepalived::{Installed, Running, plan};
use crate::plan::{Action, Obstacles, Plan};
use crate::render::Templates;
use crate::render::haproxy::MARK;
use crate::report::Report;
use crate::request::{Model, State};
use crate::run::dry::NoDaemon;
use crate::run::ready::leave_out;
use crate::run::{Node, read};
use crate::transaction::{Daemon, real_directory};
use crate::verify::vip as kernel;

/// What is to be done about keepalived.
pub struct Part<'a> {
    daemon: Keepalived<'a>,
    /// As it was before anything is done.
    pub running: Option<keepalived::Running>,
    pub plan: Plan,
}

impl Part<'_> {
    /// Whether anything is to be done.
    pub fn changes(&self) -> bool {
        !self.plan.is_empty() || self.plan.daemon_reload
    }

    /// Whether its files change: they are one set with HAProxy's then. Else keepalived is only brought to what is
    /// installed, which is nobody's reason to take HAProxy's back.
    pub fn moves(&self) -> bool {
        !self.plan.changes.is_empty()
    }

    /// Who is to take the plan.
    pub fn daemon(&self, node: &Node<'_>) -> &dyn Daemon {
        if node.rooted { &NoDaemon } else { &self.daemon }
    }
}

/// Plans keepalived's part before anything is touched. Gives the clusters without those that stand in their own way: a
/// VIP that cannot be is known before HAProxy is told of its cluster.
///
/// # Errors
/// What is the node's matter, or all that is wrong where no cluster is left.
pub fn ready<'a>(
    node: &Node<'a>,
    mut model: Model,
    templates: &Templates,
    report: &mut Report,
) -> Result<(Model, Option<Part<'a>>), Errors> {
    loop {
        match part(node, &model, templates) {
            Ok(part) => return Ok((model, part)),
            Err(found) => leave_out(&mut model, found, report)?,
        }
    }
}

/// Plans keepalived's part; `None` where neither the request nor the node has any.
///
/// # Errors
/// What stands in the way, by cluster; what is the node's matter.
pub fn part<'a>(
    node: &Node<'a>,
    model: &Model,
    templates: &Templates,
) -> Result<Option<Part<'a>>, Obstacles> {
    let paths = Paths::default();
    let clusters = if model.state == State::Present { files(node, model, templates)? } else { Vec::new() };
    let mut installed = Installed::default();
    for path in paths.list(node.sys)? {
        if let Some(file) = read::file(node, &path)? {
            installed.files.insert(path, file);
        }
    }
    let ours = |(p, f): (&PathBuf, &crate::plan::InstalledFile)| {
        *p != paths.own && f.content.starts_with(MARK.as_bytes())
    };
    if clusters.is_empty() && !installed.files.iter().any(ours) {
        return Ok(None);
    }
    for dir in paths.conf_d.ancestors().take(2).chain(paths.dropin.ancestors().skip(1).take(2)) {
        real_directory(node.sys, dir)?;
    }
    let daemon = Keepalived::detect(node.sys, paths.clone());
    let mut running = None;
    if !node.rooted {
        free(node, model, &installed, &paths)?;
        installed.idle_units = daemon.has_idle_units();
        running = daemon.running()?;
        installed.running = running.as_ref().map(|r| Running {
            serves: !r.instances.is_empty() || !r.reads_ours && !r.children.is_empty(),
            hash: r.hash.clone(),
            reads_ours: r.reads_ours,
        });
    }
    let wanted = wanted(node, model, templates, clusters, &installed)?;
    let mut plan = plan(&wanted, &installed, &paths)?;
    if node.rooted {
        plan.action = Action::Nothing;
        plan.reason = "files only: nothing runs in another root".into();
    }
    consent(model, &plan, &installed)?;
    Ok(Some(Part { daemon, running, plan }))
}

/// An address that somebody else put on this node already: two who carry it make two holders.
fn free(node: &Node<'_>, model: &Model, installed: &Installed, paths: &Paths) -> Result<(), Obstacles> {
    let mut found = Obstacles::default();
    for d in duties(model)
        .filter(|d| d.holder.is_some() && !installed.files.contains_key(&paths.cluster(&d.cluster)))
    {
        if kernel::holds(node.sys, d.vip.address).unwrap_or(false) {
            let what =
                format!("vip_address {} is on this node already, put there by somebody else", d.vip.address);
            let error = Error::new(format!("cluster '{}'", d.cluster), what)
                .hint("stop who carries it (vip-manager? systemctl status), or set vip_mode: none");
            found.push(Some(&d.cluster), error);
        }
    }
    found.finish(())
}

/// A restart lets go of every address for a moment: where somebody is served already it needs consent.
fn consent(model: &Model, plan: &Plan, installed: &Installed) -> Result<(), Error> {
    let serves = installed.running.as_ref().is_some_and(|r| r.serves);
    if plan.action != Action::Restart || !serves || model.options.allow_restart {
        return Ok(());
    }
    let what = format!("a restart is needed, which lets go of every address for a moment: {}", plan.reason);
    Err(Error::new("keepalived", what)
        .hint("choose the moment and pass --allow-restart (allow_restart: true)"))
}
