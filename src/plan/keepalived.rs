//! keepalived's files: the way from what is installed to what is wanted. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::make::{foreign, real, rewritten};
use super::{Action, FileChange, Files, InstalledFile, Obstacles, Plan, RenderedFile};
use crate::daemon::keepalived::{Paths, content};
use crate::error::Error;
use crate::render::haproxy::{self, Owner};

/// The service in the managed header of a cluster's files of keepalived.
pub const SERVICE: &str = "@keepalived";

/// What is wanted of the node.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The main file; installed while any cluster has a file of keepalived's.
    pub node: Option<RenderedFile>,
    pub dropin: Option<RenderedFile>,
    /// The files and preparation units of the clusters in scope.
    pub clusters: Vec<RenderedFile>,
    /// Clusters whose files are wanted exactly as given: those in scope and those to be removed.
    pub scope: Vec<String>,
    /// Files of others may be taken over.
    pub adopt: bool,
}

/// What a node has and does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Those of [`Paths::list`].
    pub files: BTreeMap<PathBuf, InstalledFile>,
    pub running: Option<Running>,
    /// A preparation unit that is installed does not run.
    pub idle_units: bool,
}

/// The running keepalived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// The name of the configuration that it runs; `None` where it does not say.
    pub hash: Option<String>,
    /// Its command line reads our main file.
    pub reads_ours: bool,
    /// It serves somebody already: a restart lets go of all that it holds for a moment.
    pub serves: bool,
}

/// Plans the way from what is installed to what is wanted.
///
/// # Errors
/// A file of somebody else's in the way; a virtual server that two files have.
pub fn plan(wanted: &Wanted, installed: &Installed, paths: &Paths) -> Result<Plan, Obstacles> {
    let mut found = Obstacles::default();
    let mut changes: BTreeMap<PathBuf, Option<RenderedFile>> = BTreeMap::new();
    for file in &wanted.clusters {
        take(&mut found, &mut changes, file, wanted, installed);
        if file.path == paths.name() {
            let place = file.path.display().to_string();
            let error = Error::new(place, "is pgsvc's own file").hint("rename the cluster");
            found.push(file.cluster.as_deref(), error);
        }
    }
    for (path, file) in &installed.files {
        if stale(path, file, wanted, paths) {
            changes.entry(path.clone()).or_insert(None);
        }
    }
    let carries = carries(&outcome(&changes, installed, paths), paths);
    if carries {
        for file in wanted.node.iter().chain(&wanted.dropin) {
            take(&mut found, &mut changes, file, wanted, installed);
        }
    } else {
        for path in [&paths.config, &paths.dropin, &paths.name()] {
            let ours = |f: &&InstalledFile| f.content.starts_with(haproxy::MARK.as_bytes());
            if installed.files.get(path).filter(ours).is_some() {
                changes.insert(path.clone(), None);
            }
        }
    }
    let mut hash = String::new();
    if carries {
        let name = named(&outcome(&changes, installed, paths), paths);
        take(&mut found, &mut changes, &name.0, wanted, installed);
        hash = name.1;
    }
    let candidate = outcome(&changes, installed, paths);
    twice(&mut found, &candidate);
    let changes = real(changes, &installed.files, None);
    let (action, reason) = action(&changes, installed, &hash, wanted, paths, carries);
    // Without ours, the operator's own is what would run, if anything shall.
    let is_loaded = carries || action == Action::Restart;
    let daemon_reload = changes.iter().any(|c| !paths.loads(&c.path)) || installed.idle_units;
    found.finish(Plan {
        changes,
        action,
        reason,
        commands: Vec::new(),
        hands: Vec::new(),
        hash,
        whole: None,
        candidate: if is_loaded { candidate } else { Files::new() },
        new_binds: Vec::new(),
        nonlocal_binds: false,
        daemon_reload,
    })
}

fn take(
    found: &mut Obstacles,
    changes: &mut BTreeMap<PathBuf, Option<RenderedFile>>,
    file: &RenderedFile,
    wanted: &Wanted,
    installed: &Installed,
) {
    let is_dropin = wanted.dropin.as_ref().is_some_and(|d| d.path == file.path);
    foreign(found, file, installed.files.get(&file.path), wanted.adopt, is_dropin);
    changes.insert(file.path.clone(), Some(file.clone()));
}

/// A file of a cluster in scope that is no longer wanted: by its exact name and its managed header, never by a glob.
fn stale(path: &Path, file: &InstalledFile, wanted: &Wanted, paths: &Paths) -> bool {
    match haproxy::owner(&file.content) {
        Some(Owner::Cluster { cluster, service }) => {
            service == SERVICE
                && wanted.scope.contains(&cluster)
                && (path == paths.cluster(&cluster) || path == paths.unit(&cluster))
        }
        _ => false,
    }
}

/// What keepalived would load after the changes, the operator's own included.
fn outcome(changes: &BTreeMap<PathBuf, Option<RenderedFile>>, installed: &Installed, paths: &Paths) -> Files {
    let loaded = installed.files.iter().filter(|(p, _)| paths.loads(p));
    let mut files: Files = loaded.map(|(p, f)| (p.clone(), Arc::clone(&f.content))).collect();
    for (path, change) in changes.iter().filter(|(p, _)| paths.loads(p)) {
        match change {
            Some(file) => files.insert(path.clone(), file.bytes()),
            None => files.remove(path),
        };
    }
    files
}

/// Whether any cluster has a file of keepalived's: a node may only be prepared to answer for an address.
fn carries(files: &Files, paths: &Paths) -> bool {
    let included = files.iter().filter(|(p, _)| p.parent() == Some(&paths.conf_d));
    included.into_iter().any(|(_, c)| matches!(haproxy::owner(c), Some(Owner::Cluster { .. })))
}

/// The file that gives the configuration its name, and that name: over all of ours, so that it changes with any.
fn named(files: &Files, paths: &Paths) -> (RenderedFile, String) {
    let path = paths.name();
    let ours = files.iter().filter(|(p, c)| **p != path && haproxy::owner(c).is_some());
    let hash = crate::render::hash(ours.map(|(p, c)| (p.as_path(), &**c)));
    let name = format!("pgsvc-{hash}");
    let content = format!(
        "{}node\n# What keepalived runs is known by this name.\nglobal_defs {{\n    router_id {name}\n}}\n",
        haproxy::MARK
    );
    let owner = ("root".to_owned(), "root".to_owned());
    (RenderedFile { path, content: content.into(), mode: 0o644, owner, cluster: None }, name)
}

/// keepalived takes a virtual server that two files have for good, and mixes their real servers.
fn twice(found: &mut Obstacles, candidate: &Files) {
    let mut seen: BTreeMap<(IpAddr, u16), &Path> = BTreeMap::new();
    // Ours last: it is ours that cannot be added.
    let owner = |text: &[u8]| haproxy::owner(text);
    let mut files: Vec<_> = candidate.iter().collect();
    files.sort_by_key(|(_, text)| owner(text).is_some());
    for (path, text) in files {
        let own: BTreeSet<(IpAddr, u16)> = content::read(text).virtual_servers.into_iter().collect();
        for server in own {
            let Some(other) = seen.insert(server, path) else { continue };
            let Some(owner) = owner(text) else { continue };
            let cluster = match &owner {
                Owner::Cluster { cluster, .. } => Some(cluster.as_str()),
                Owner::Node => None,
            };
            let place = path.display().to_string();
            let what =
                format!("the virtual server {} port {} is also in {}", server.0, server.1, other.display());
            found.push(cluster, Error::new(place, what).hint("give one of them another address or port"));
        }
    }
}

fn action(
    changes: &[FileChange],
    installed: &Installed,
    hash: &str,
    wanted: &Wanted,
    paths: &Paths,
    carries: bool,
) -> (Action, String) {
    let nothing = |why: &str| (Action::Nothing, why.to_owned());
    if !carries {
        let own = installed.files.get(&paths.own).is_some_and(|f| !f.content.trim_ascii().is_empty());
        return match &installed.running {
            Some(r) if r.reads_ours && own => (
                Action::Restart,
                "no cluster is left, and keepalived goes back to its own configuration".into(),
            ),
            Some(r) if r.reads_ours => (Action::Stop, "no cluster is left for keepalived".into()),
            _ => nothing("keepalived has nothing to do with it"),
        };
    }
    let Some(running) = &installed.running else {
        // Taking clusters away is no reason to start what somebody stopped.
        let start = if wanted.node.is_some() { Action::Start } else { Action::Nothing };
        return (start, "keepalived is not running".into());
    };
    if !running.reads_ours {
        let why = format!(
            "the running keepalived was started without {}, and a reload keeps its command line",
            paths.config.display()
        );
        return (Action::Restart, why);
    }
    let loaded = |c: &&FileChange| paths.loads(&c.path) && rewritten(c) && c.path != paths.name();
    match (changes.iter().filter(loaded).count(), &running.hash) {
        (1, _) => (Action::Reload, "1 file of keepalived's configuration changes".into()),
        (n, _) if n > 0 => (Action::Reload, format!("{n} files of keepalived's configuration change")),
        (_, None) => {
            (Action::Reload, "the running keepalived does not say which configuration it has".into())
        }
        (_, Some(d)) if d != hash => {
            (Action::Reload, format!("the running configuration is {d}, the files are {hash}"))
        }
        _ if changes.is_empty() => nothing("the running configuration is the wanted one"),
        _ => nothing("only what keepalived does not read changes"),
    }
}

#[cfg(test)]
mod tests;
