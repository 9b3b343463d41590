//! The second provider as the verbs use it: keepalived's files of a node's clusters, planned, told of in the report, and
//! read back. What the files say is `render`'s matter, how keepalived is told `daemon`'s, when `apply`'s.

mod back;
mod look;
mod part;

use std::time::Duration;

use super::{Node, outcome, unit_file};
use crate::daemon::interfaces::interface_of;
use crate::daemon::keepalived::{self, Paths};
use crate::error::{Error, Errors};
use crate::plan::keepalived::{Installed, Wanted, plan};
use crate::plan::{Obstacles, Plan, RenderedFile};
use crate::render::Templates;
use crate::render::keepalived::{self as render, Interfaces};
use crate::report::Report;
use crate::request::{Model, State};
use crate::vip::{Duty, Net};

pub use back::{back, is_ours};
pub use look::look;
pub use part::{Part, part, ready};

/// How long an apply waits for what keepalived does after its start: IPVS's table follows it by moments.
pub const TABLE: Duration = Duration::from_secs(5);
/// What stands for an interface that only the node itself knows.
const UNKNOWN: &str = "auto";

/// The clusters' parts in VIPs, as far as this node has any.
fn duties(model: &Model) -> impl Iterator<Item = &Duty> {
    let part = |d: &&Duty| d.holder.is_some() || d.real_server;
    model.clusters.values().filter_map(|c| c.duty.as_ref()).filter(part)
}

/// Whether the node needs keepalived.
pub fn is_needed(model: &Model) -> bool {
    model.state == State::Present && duties(model).any(|d| d.holder.is_some())
}

/// The node's files for keepalived, whatever is installed. Offline an interface that is not said stays open.
///
/// # Errors
/// Templates that cannot be rendered; an interface that cannot be found on this node.
pub fn files(node: &Node<'_>, model: &Model, templates: &Templates) -> Result<Vec<RenderedFile>, Obstacles> {
    let mut found = Obstacles::default();
    let mut files = Vec::new();
    for (name, c) in &model.clusters {
        let Some(duty) = c.duty.as_ref().filter(|d| d.holder.is_some() || d.real_server) else { continue };
        let one = || -> Result<Vec<RenderedFile>, Errors> {
            let servers = if duty.directs() { c.virtual_servers.as_slice() } else { &[] };
            let (own, gateway) = interfaces(node, duty)?;
            let said = duty.holder.and_then(|i| duty.holders.get(i)).and_then(|p| p.interface.clone());
            let vip = said.unwrap_or_else(|| own.clone());
            let names = Interfaces { own: &own, vip: &vip, gateway: &gateway };
            let file = render::cluster(templates, &c.cluster, duty, servers, &names)?;
            let unit = render::unit(templates, duty, &names)?.filter(|_| node.has_systemd());
            Ok(file.into_iter().chain(unit).collect())
        };
        files.extend(found.take(Some(name), one()).unwrap_or_default());
    }
    found.finish(files)
}

/// The interface of the node's own address, and the one whose network the gateway is in.
fn interfaces(node: &Node<'_>, duty: &Duty) -> Result<(String, String), Error> {
    let me = duty.holder.and_then(|i| duty.holders.get(i));
    let Some(me) = me.filter(|_| !node.rooted) else { return Ok((UNKNOWN.into(), UNKNOWN.into())) };
    let all = node.sys.interfaces().unwrap_or_default();
    let own = interface_of(&all, me.address).map(str::to_owned).ok_or_else(|| {
        let what = format!("no interface of this node has the address {} of '{}'", me.address, me.host);
        Error::new(format!("cluster '{}'", duty.cluster), what)
            .hint("ansible_host must be the node's own address")
    })?;
    if let Some(name) = &me.interface
        && !all.iter().any(|(n, _)| n == name)
    {
        let what = format!("vip_interface: '{name}' is no interface of '{}'", me.host);
        return Err(Error::new(format!("cluster '{}'", duty.cluster), what)
            .hint("see 'ip address', or set it to auto"));
    }
    let near = |g: Net| all.iter().find(|(_, ip)| g.contains(*ip)).map(|(name, _)| name.clone());
    let gateway = duty.vip.gateway.and_then(near).unwrap_or_else(|| own.clone());
    Ok((own, gateway))
}

/// The clusters' files with the node's own.
fn wanted(
    node: &Node<'_>,
    model: &Model,
    templates: &Templates,
    clusters: Vec<RenderedFile>,
    installed: &Installed,
) -> Result<Wanted, Error> {
    let paths = Paths::default();
    let foreign = installed.files.get(&paths.own).is_some_and(|f| !f.content.is_empty());
    let binary = node.sys.find("keepalived").unwrap_or_else(|| "/usr/sbin/keepalived".into());
    let dropin =
        node.has_systemd().then(|| unit_file(paths.dropin.clone(), keepalived::dropin(&paths, &binary)));
    Ok(Wanted {
        node: Some(render::node(templates, foreign)?),
        dropin,
        clusters,
        scope: model.clusters.keys().cloned().collect(),
        adopt: model.options.adopt,
    })
}

/// What `render` shows: the files of a node that has nothing else.
///
/// # Errors
/// As for `files`.
pub fn rendered(
    node: &Node<'_>,
    model: &Model,
    templates: &Templates,
) -> Result<Vec<RenderedFile>, Obstacles> {
    let clusters = files(node, model, templates)?;
    let mut found = Obstacles::default();
    let nothing = Installed::default();
    let Some(wanted) = found.take(None, wanted(node, model, templates, clusters, &nothing)) else {
        return found.finish(Vec::new());
    };
    let plan = plan(&wanted, &nothing, &Paths::default())?;
    Ok(plan.changes.into_iter().filter_map(|c| c.after).collect())
}

/// Whether an apply would change anything of keepalived's.
///
/// # Errors
/// What an apply would be refused for.
pub fn would_change(node: &Node<'_>, model: &Model, templates: &Templates) -> Result<bool, Errors> {
    Ok(part(node, model, templates)?.is_some_and(|part| !part.plan.is_empty()))
}

/// Enters keepalived's part into a report, beside HAProxy's.
pub fn told(report: &mut Report, plan: &Plan, would: bool) {
    if plan.is_empty() {
        return;
    }
    report.also_planned(plan);
    let said = if report.msg == "nothing to do" { String::new() } else { report.msg.clone() };
    report.msg = join(&said, &outcome::summary(plan, "keepalived", would));
}

fn join(a: &str, b: &str) -> String {
    if a.is_empty() { b.to_owned() } else { format!("{a}; {b}") }
}
