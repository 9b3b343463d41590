//! The way from what is installed to what is wanted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::binds::{binds, bound, shared};
use super::runtime::{Way, compare};
use super::walk::Walk;
use super::{Action, FileChange, Files, Installed, InstalledFile, Obstacles, Plan, RenderedFile, Wanted};
use crate::daemon::own_unit;
use crate::error::Error;
use crate::render::haproxy::known::Whole;
use crate::render::haproxy::{self, Owner};
use crate::render::{Contents, Layout, Templates};

/// Plans the way from what is installed to what is wanted.
///
/// # Errors
/// A file of somebody else's in the way; two listeners on one port.
pub fn plan(
    mut wanted: Wanted,
    installed: &Installed,
    layout: &Layout,
    templates: &Templates,
    haproxy_gid: Option<u32>,
) -> Result<Plan, Obstacles> {
    let mut found = Obstacles::default();
    let ends = Ends::of(&wanted);
    // Collected, not inserted: they come in the order of their paths but for a few, and paths are slow to compare.
    let mut changes: BTreeMap<PathBuf, Option<RenderedFile>> =
        files(&mut wanted).map(|file| (file.path.clone(), Some(file))).collect();
    let mut there = Walk::new(&installed.files);
    for (path, file) in changes.iter().filter_map(|(p, f)| Some((p, f.as_ref()?))) {
        if *path != layout.config || !installed.pristine {
            foreign(&mut found, file, there.at(path), ends.adopt, !layout.loads(path));
        }
    }
    let mut known = Walk::new(&changes);
    let left = installed.files.iter().filter(|(p, _)| known.at(p).is_none());
    let gone: Vec<PathBuf> =
        left.filter(|(p, f)| stale(p, f, &ends, layout)).map(|(p, _)| p.clone()).collect();
    changes.extend(gone.into_iter().map(|path| (path, None)));
    let mut candidate = outcome(&changes, installed, layout);
    let managed = managed(&candidate);
    if ends.node || !carries(&managed) {
        let ours = |f: &InstalledFile| f.content.starts_with(haproxy::MARK.as_bytes());
        for (path, _) in installed.files.iter().filter(|(p, f)| own_unit::is_ours(p) && ours(f)) {
            changes.entry(path.clone()).or_insert(None);
        }
    }
    let way = way(installed, &managed, layout);
    let named = ends.node || managed.contains_key(layout.conf_d.join(haproxy::DESCRIPTION).as_path());
    let own = named.then(|| haproxy::description(templates, layout, &managed, &installed.known));
    let whole = own.and_then(|own| found.take(None, own)).map(|(description, whole)| {
        candidate.insert(description.path.clone(), description.bytes());
        changes.insert(description.path.clone(), Some(description));
        whole
    });
    let hash = whole.as_ref().map(Whole::name).unwrap_or_default();
    let bound = bound(&candidate);
    shared(&mut found, &candidate, &bound, &ends);
    let changes = real(changes, &installed.files, haproxy_gid);
    let (action, reason) = action(&changes, installed, &hash, &ends, &way, layout);
    let commands = if action == Action::Runtime { way.commands } else { Vec::new() };
    let new_binds = new_binds(installed, &bound, layout);
    let daemon_reload = changes.iter().any(|c| !layout.loads(&c.path));
    found.finish(Plan {
        changes,
        action,
        reason,
        commands,
        hands: way.hands,
        hash,
        whole,
        candidate,
        new_binds,
        nonlocal_binds: ends.nonlocal_binds,
        daemon_reload,
    })
}

/// What is wanted, but for its files.
pub(super) struct Ends {
    /// Whether the node's own file is.
    pub node: bool,
    dropin: bool,
    adopt: bool,
    nonlocal_binds: bool,
    pub scope: BTreeSet<String>,
}

impl Ends {
    pub(super) fn of(wanted: &Wanted) -> Self {
        Self {
            node: wanted.node.is_some(),
            dropin: wanted.dropin.is_some(),
            adopt: wanted.adopt,
            nonlocal_binds: wanted.nonlocal_binds,
            scope: wanted.scope.iter().cloned().collect(),
        }
    }
}

/// The wanted files.
fn files(wanted: &mut Wanted) -> impl Iterator<Item = RenderedFile> {
    let (services, units) = (std::mem::take(&mut wanted.services), std::mem::take(&mut wanted.units));
    wanted.node.take().into_iter().chain(services).chain(wanted.dropin.take()).chain(units)
}

/// What of our files the running process has, and could be brought to.
fn way(installed: &Installed, managed: &Contents<'_>, layout: &Layout) -> Way {
    let Some(running) = &installed.running else { return Way::default() };
    let before = haproxy_files(installed, layout).filter(|(_, f)| haproxy::owner(&f.content).is_some());
    let before = before.map(|(p, f)| (p.as_path(), &*f.content)).collect();
    compare(&before, managed, running)
}

/// The addresses that nothing of what is loaded now binds.
fn new_binds(installed: &Installed, bound: &[Vec<SocketAddr>], layout: &Layout) -> Vec<SocketAddr> {
    let before: BTreeSet<SocketAddr> = match installed.running {
        Some(_) => haproxy_files(installed, layout).flat_map(|(_, f)| binds(&f.content)).collect(),
        None => BTreeSet::new(),
    };
    let after: BTreeSet<SocketAddr> = bound.iter().flatten().copied().collect();
    after.difference(&before).copied().collect()
}

/// A file at one of our paths that is not ours is somebody's work. `is_unit`: systemd's, whose mark names no owner.
pub(super) fn foreign(
    found: &mut Obstacles,
    file: &RenderedFile,
    there: Option<&InstalledFile>,
    adopt: bool,
    is_unit: bool,
) {
    let Some(there) = there else { return };
    if adopt || *there.content == *file.content.as_bytes() {
        return;
    }
    let place = file.path.display().to_string();
    match (haproxy::owner(&there.content), &file.cluster) {
        (Some(Owner::Node), None) => {}
        // An earlier pgsvc's.
        _ if is_unit && there.content.starts_with(haproxy::MARK.as_bytes()) => {}
        (Some(Owner::Cluster { cluster, .. }), Some(own)) if cluster == *own => {}
        (Some(Owner::Cluster { cluster, .. }), _) => found.push(
            file.cluster.as_deref(),
            Error::new(place, format!("belongs to cluster {cluster}")).hint("rename the cluster or the service"),
        ),
        _ => found.push(
            file.cluster.as_deref(),
            Error::new(place, "was not written by pgsvc, and would be replaced")
                .hint("see what would change with 'pgsvc plan --adopt', then take it over with --adopt (adopt: true); the old file is kept"),
        ),
    }
}

/// A file of a cluster in scope that is no longer wanted: by its exact name and its managed header, never by a glob.
fn stale(path: &Path, file: &InstalledFile, wanted: &Ends, layout: &Layout) -> bool {
    match haproxy::owner(&file.content) {
        Some(Owner::Cluster { cluster, service }) => {
            wanted.scope.contains(&cluster) && path == layout.conf_d.join(format!("{cluster}-{service}.cfg"))
        }
        _ => false,
    }
}

/// All files HAProxy would load after the change.
fn outcome(
    changes: &BTreeMap<PathBuf, Option<RenderedFile>>,
    installed: &Installed,
    layout: &Layout,
) -> Files {
    let mut changed = Walk::new(changes);
    let stays = haproxy_files(installed, layout).filter(|(p, _)| changed.at(p).is_none());
    let stays = stays.map(|(path, file)| (path.clone(), Arc::clone(&file.content)));
    let new = changes
        .iter()
        .filter(|(p, _)| layout.loads(p))
        .filter_map(|(path, change)| Some((path.clone(), change.as_ref()?.bytes())));
    stays.chain(new).collect()
}

/// Those that are ours.
pub fn managed(candidate: &Files) -> Contents<'_> {
    let ours = candidate.iter().filter(|(_, c)| haproxy::owner(c).is_some());
    ours.map(|(p, c)| (p.as_path(), &**c)).collect()
}

fn haproxy_files<'a>(
    installed: &'a Installed,
    layout: &'a Layout,
) -> impl Iterator<Item = (&'a PathBuf, &'a InstalledFile)> {
    installed.files.iter().filter(|(p, _)| layout.loads(p))
}

/// What of the changes is one: content, mode and owner are compared.
pub(super) fn real(
    changes: BTreeMap<PathBuf, Option<RenderedFile>>,
    installed: &BTreeMap<PathBuf, InstalledFile>,
    haproxy_gid: Option<u32>,
) -> Vec<FileChange> {
    let same = |there: &InstalledFile, file: &RenderedFile| {
        let group = if file.owner.1 == "haproxy" { haproxy_gid } else { Some(0) };
        *there.content == *file.content.as_bytes()
            && there.mode == file.mode
            && there.uid == 0
            && group.is_none_or(|g| g == there.gid)
    };
    let (mut list, mut there) = (Vec::new(), Walk::new(installed));
    for (path, after) in changes {
        let before = there.at(&path);
        let unchanged = match (before, &after) {
            (Some(there), Some(file)) => same(there, file),
            (None, None) => true,
            _ => false,
        };
        if !unchanged {
            list.push(FileChange { path, before: before.cloned(), after });
        }
    }
    list
}

/// Whether any cluster's service is left.
fn carries(managed: &Contents<'_>) -> bool {
    managed.values().any(|c| matches!(haproxy::owner(c), Some(Owner::Cluster { .. })))
}

fn action(
    changes: &[FileChange],
    installed: &Installed,
    hash: &str,
    wanted: &Ends,
    way: &Way,
    layout: &Layout,
) -> (Action, String) {
    if changes.is_empty() && !wanted.node {
        return (Action::Nothing, "nothing of it is installed".into());
    }
    let Some(running) = &installed.running else {
        // Taking clusters away is no reason to start what somebody stopped.
        let start = if wanted.node { Action::Start } else { Action::Nothing };
        return (start, "HAProxy is not running".into());
    };
    if !running.takes_reload && wanted.dropin {
        let why = "the running HAProxy was started without conf.d, and a reload keeps its command line";
        return (Action::Restart, why.into());
    }
    let others = || changes.iter().filter(|c| layout.loads(&c.path));
    let n = others().filter(|c| needs_reload(c)).count();
    match (&running.description, &way.reload) {
        _ if n > 0 => {
            let files = if n == 1 {
                "file of the configuration changes"
            } else {
                "files of the configuration change"
            };
            (Action::Reload, format!("{n} {files}"))
        }
        (None, _) => (Action::Reload, "the running HAProxy does not say which configuration it has".into()),
        (Some(d), _) if d != hash => {
            (Action::Reload, format!("the running configuration is {d}, the files are {hash}"))
        }
        (_, Some(why)) => (Action::Reload, why.clone()),
        _ if running.interrupted => (
            Action::Reload,
            "an earlier run ended halfway, and what it left in the running HAProxy is not known".into(),
        ),
        _ if !way.commands.is_empty() => (
            Action::Runtime,
            "only servers, weights or limits change, which a running HAProxy takes on".into(),
        ),
        _ if others().any(rewritten) => (Action::Nothing, "only what HAProxy does not read changes".into()),
        _ if others().next().is_some() => (Action::Nothing, "only modes or owners change".into()),
        _ => (Action::Nothing, "the running configuration is the wanted one".into()),
    }
}

pub(super) fn rewritten(c: &FileChange) -> bool {
    let after = c.after.as_ref().map(|a| a.content.as_bytes());
    c.before.as_ref().map(|b| &*b.content) != after
}

/// Whether a file changes in what only a reload puts into effect. The name of the configuration follows the others, and
/// the time that first checks are spread over matters at a start only.
fn needs_reload(c: &FileChange) -> bool {
    let (Some(before), Some(after)) = (&c.before, &c.after) else {
        return c.before.is_some() || c.after.is_some();
    };
    let fixed = |content: &[u8]| haproxy::shape::fixed(content).fixed;
    let named =
        |l: &&str| !["description ", "max-spread-checks "].iter().any(|w| l.trim_start().starts_with(w));
    let (before, after) = (fixed(&before.content), fixed(after.content.as_bytes()));
    before != after && !before.lines().filter(named).eq(after.lines().filter(named))
}
