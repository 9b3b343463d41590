//! Rendered × installed → what would be done. Pure: reads and writes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;

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
