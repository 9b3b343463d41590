//! Rendered × installed → what would be done. Pure: reads and writes nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Errors};
use crate::render::haproxy::{self, Owner};
use crate::render::{Layout, Templates};

/// A file as it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RenderedFile {
    /// Absolute path on the node.
    pub path: PathBuf,
    pub content: String,
    pub mode: u32,
    /// User and group names.
    pub owner: (String, String),
    /// The cluster that owns the file; `None` for the node's own files (haproxy.cfg, 00-pgsvc.cfg, the drop-in).
    pub cluster: Option<String>,
}

/// A file as it is on the node. Names of owners are resolved by whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledFile {
    pub content: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    pub path: PathBuf,
    pub before: Option<InstalledFile>,
    /// `None` removes the file.
    pub after: Option<RenderedFile>,
}

/// The least disruption that puts the files into effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing to do: the running process has this configuration.
    Nothing,
    Reload,
    /// The running process cannot take this on by a reload (its command line lacks conf.d or the master socket).
    Restart,
    /// No HAProxy is running.
    Start,
}

/// Everything a transaction needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Sorted by path; only real changes.
    pub changes: Vec<FileChange>,
    pub action: Action,
    /// Why that action, for people.
    pub reason: String,
    /// The hash that the new worker must answer with in `show info` (`description`).
    pub hash: String,
    /// Every .cfg file HAProxy would load after the change, foreign ones included, in load order: path → content.
    /// This is what `haproxy -c` checks.
    pub candidate: BTreeMap<PathBuf, Vec<u8>>,
    /// Listeners that are new with this plan: they must be bindable before anything is touched.
    pub new_binds: Vec<SocketAddr>,
    /// Binds to addresses the node lacks are allowed (`ip_nonlocal_bind`, or `transparent` in the bind line).
    pub nonlocal_binds: bool,
    /// systemd's unit files change: `daemon-reload` before the action.
    pub daemon_reload: bool,
}

impl Plan {
    /// Nothing to write and nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.action == Action::Nothing
    }
}

/// What a node has and does, as the planner needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// haproxy.cfg, everything in conf.d, and the drop-in, as far as they exist.
    pub files: BTreeMap<PathBuf, InstalledFile>,
    /// haproxy.cfg is the distribution's own, untouched.
    pub pristine: bool,
    pub running: Option<Running>,
}

/// The running HAProxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// `description` of `show info`; `None` where the socket does not answer.
    pub description: Option<String>,
    /// Its command line loads conf.d and opens the master socket.
    pub takes_reload: bool,
}

/// What is wanted of the node.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// haproxy.cfg; `None` where clusters are only taken away.
    pub node: Option<RenderedFile>,
    pub dropin: Option<RenderedFile>,
    /// The files of the clusters in scope.
    pub services: Vec<RenderedFile>,
    /// Clusters whose files are wanted exactly as given: those in scope and those to be removed.
    pub scope: Vec<String>,
    /// Files of others may be taken over.
    pub adopt: bool,
    pub nonlocal_binds: bool,
}

/// Plans the way from what is installed to what is wanted.
///
/// # Errors
/// A file of somebody else's in the way; two listeners on one port.
pub fn plan(
    wanted: &Wanted,
    installed: &Installed,
    layout: &Layout,
    templates: &Templates,
    haproxy_gid: Option<u32>,
) -> Result<Plan, Errors> {
    let mut errors = Errors::default();
    let mut changes: BTreeMap<PathBuf, Option<RenderedFile>> = BTreeMap::new();
    for file in wanted.node.iter().chain(&wanted.services).chain(&wanted.dropin) {
        foreign(&mut errors, file, wanted, installed, layout);
        changes.insert(file.path.clone(), Some(file.clone()));
    }
    for (path, file) in &installed.files {
        if stale(path, file, wanted, layout) {
            changes.entry(path.clone()).or_insert(None);
        }
    }
    let (managed, mut candidate) = outcome(&changes, installed, layout);
    let mut hash = String::new();
    let named = wanted.node.is_some() || managed.contains_key(&layout.conf_d.join("00-pgsvc.cfg"));
    if named
        && let Some((description, name)) = errors.take(haproxy::description(templates, layout, &managed))
    {
        hash = name;
        candidate.insert(description.path.clone(), description.content.clone().into_bytes());
        changes.insert(description.path.clone(), Some(description));
    }
    shared_binds(&mut errors, &candidate);
    let changes = real(changes, installed, haproxy_gid);
    let (action, reason) = action(&changes, installed, &hash, wanted);
    let before: Vec<SocketAddr> = match installed.running {
        Some(_) => haproxy_files(installed, layout).flat_map(|(_, f)| binds(&f.content)).collect(),
        None => Vec::new(),
    };
    let mut new_binds: Vec<SocketAddr> =
        candidate.values().flat_map(|c| binds(c)).filter(|b| !before.contains(b)).collect();
    new_binds.sort();
    new_binds.dedup();
    let daemon_reload = wanted.dropin.as_ref().is_some_and(|d| changes.iter().any(|c| c.path == d.path));
    errors.finish(Plan {
        changes,
        action,
        reason,
        hash,
        candidate,
        new_binds,
        nonlocal_binds: wanted.nonlocal_binds,
        daemon_reload,
    })
}

/// A file at one of our paths that is not ours is somebody's work.
fn foreign(errors: &mut Errors, file: &RenderedFile, wanted: &Wanted, installed: &Installed, layout: &Layout) {
    let Some(there) = installed.files.get(&file.path) else { return };
    if wanted.adopt || there.content == file.content.as_bytes() {
        return;
    }
    let place = file.path.display().to_string();
    if file.path == layout.config && installed.pristine {
        return;
    }
    match (haproxy::owner(&there.content), &file.cluster) {
        (Some(Owner::Node), None) => {}
        // An earlier pgsvc's drop-in, which carries the mark but, being systemd's, no owner.
        _ if wanted.dropin.as_ref().is_some_and(|d| d.path == file.path) && there.content.starts_with(haproxy::MARK.as_bytes()) => {}
        (Some(Owner::Cluster { cluster, .. }), Some(own)) if cluster == *own => {}
        (Some(Owner::Cluster { cluster, .. }), _) => errors.push(
            Error::new(place, format!("belongs to cluster {cluster}")).hint("rename the cluster or the service"),
        ),
        _ => errors.push(
            Error::new(place, "was not written by pgsvc, and would be replaced")
                .hint("see what would change with 'pgsvc plan --adopt', then take it over with --adopt (adopt: true); the old file is kept"),
        ),
    }
}

/// A file of a cluster in scope that is no longer wanted: by its exact name and its managed header, never by a glob.
fn stale(path: &Path, file: &InstalledFile, wanted: &Wanted, layout: &Layout) -> bool {
    match haproxy::owner(&file.content) {
        Some(Owner::Cluster { cluster, service }) => {
            wanted.scope.contains(&cluster) && path == layout.conf_d.join(format!("{cluster}-{service}.cfg"))
        }
        _ => false,
    }
}

/// The managed files after the change, and all files HAProxy would load.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn outcome(changes: &BTreeMap<PathBuf, Option<RenderedFile>>, installed: &Installed, layout: &Layout) -> (Files, Files) {
    let mut candidate: Files = BTreeMap::new();
    for (path, file) in haproxy_files(installed, layout) {
        candidate.insert(path.clone(), file.content.clone());
    }
    for (path, change) in changes.iter().filter(|(p, _)| loaded(p, layout)) {
        match change {
            Some(file) => candidate.insert(path.clone(), file.content.clone().into_bytes()),
            None => candidate.remove(path),
        };
    }
    let managed =
        candidate.iter().filter(|(_, c)| haproxy::owner(c).is_some()).map(|(p, c)| (p.clone(), c.clone())).collect();
    (managed, candidate)
}

/// HAProxy manual, "-f": of a directory, the files that end in .cfg and do not begin with a dot.
fn loaded(path: &Path, layout: &Layout) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    path == layout.config || path.parent() == Some(&layout.conf_d) && name.ends_with(".cfg") && !name.starts_with('.')
}

fn haproxy_files<'a>(installed: &'a Installed, layout: &'a Layout) -> impl Iterator<Item = (&'a PathBuf, &'a InstalledFile)> {
    installed.files.iter().filter(|(p, _)| loaded(p, layout))
}

fn real(changes: BTreeMap<PathBuf, Option<RenderedFile>>, installed: &Installed, haproxy_gid: Option<u32>) -> Vec<FileChange> {
    let same = |there: &InstalledFile, file: &RenderedFile| {
        let group = if file.owner.1 == "haproxy" { haproxy_gid } else { Some(0) };
        there.content == file.content.as_bytes()
            && there.mode == file.mode
            && there.uid == 0
            && group.is_none_or(|g| g == there.gid)
    };
    let mut list = Vec::new();
    for (path, after) in changes {
        let before = installed.files.get(&path).cloned();
        let unchanged = match (&before, &after) {
            (Some(there), Some(file)) => same(there, file),
            (None, None) => true,
            _ => false,
        };
        if !unchanged {
            list.push(FileChange { path, before, after });
        }
    }
    list
}

fn action(changes: &[FileChange], installed: &Installed, hash: &str, wanted: &Wanted) -> (Action, String) {
    let dropin = wanted.dropin.as_ref();
    if changes.is_empty() && wanted.node.is_none() {
        return (Action::Nothing, "nothing of it is installed".into());
    }
    let Some(running) = &installed.running else {
        // Taking clusters away is no reason to start what somebody stopped.
        let start = if wanted.node.is_some() { Action::Start } else { Action::Nothing };
        return (start, "HAProxy is not running".into());
    };
    if !running.takes_reload && dropin.is_some() {
        let why = "the running HAProxy was started without conf.d, and a reload keeps its command line";
        return (Action::Restart, why.into());
    }
    let configuration = |c: &&FileChange| dropin.is_none_or(|d| d.path != c.path);
    let n = changes.iter().filter(configuration).count();
    match &running.description {
        Some(d) if d == hash && n == 0 => (Action::Nothing, "the running configuration is the wanted one".into()),
        Some(d) if d == hash => (Action::Nothing, "only modes or owners change".into()),
        _ if n > 0 => (Action::Reload, format!("{n} file{} of the configuration change", if n == 1 { "" } else { "s" })),
        Some(d) => (Action::Reload, format!("the running configuration is {d}, the files are {hash}")),
        None => (Action::Reload, "the running HAProxy does not say which configuration it has".into()),
    }
}

/// The TCP addresses of a configuration's `bind` lines; what is no plain address and port is left out.
pub fn binds(content: &[u8]) -> Vec<SocketAddr> {
    let text = String::from_utf8_lossy(content);
    let words = text.lines().filter_map(|l| l.trim_start().strip_prefix("bind")).filter(|r| r.starts_with([' ', '\t']));
    words.filter_map(|r| r.split_whitespace().next()).flat_map(|a| a.split(',')).filter_map(bind_address).collect()
}

fn bind_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let ip = match ip.trim_start_matches("ipv4@").trim_start_matches("ipv6@") {
        "" | "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        ip => ip.trim_matches(['[', ']']).parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

/// `haproxy -c` accepts two listeners on one port, and the kernel then shares the connections between them.
fn shared_binds(errors: &mut Errors, candidate: &Files) {
    let mut seen: Vec<(SocketAddr, &PathBuf)> = Vec::new();
    for (path, content) in candidate {
        for bind in binds(content) {
            let both_any = |a: &SocketAddr| a.ip().is_unspecified() || bind.ip().is_unspecified();
            let meets = |a: &SocketAddr| {
                a.port() == bind.port() && a.is_ipv4() == bind.is_ipv4() && (a.ip() == bind.ip() || both_any(a))
            };
            if let Some((other, by)) = seen.iter().find(|(a, _)| meets(a)) {
                errors.push(
                    Error::new(path.display().to_string(), format!("binds {bind}, and {} binds {other}", by.display()))
                        .hint("two listeners on one port would share its connections; change one of them"),
                );
            }
            seen.push((bind, path));
        }
    }
}

#[cfg(test)]
mod tests;
