//! Rendered × installed → what would be done. Pure: reads and writes nothing.

mod binds;
pub mod keepalived;
mod live;
mod make;
mod runtime;
mod walk;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Errors};
use crate::render::haproxy::known::{Known, Whole};

pub use binds::binds;
pub use live::{Command, Hand, Live, LiveServer, What};
pub use make::{managed, plan};

/// What files hold, by path. Shared: of a thousand clusters it is all that a plan weighs.
pub type Files = BTreeMap<PathBuf, Arc<[u8]>>;

/// A file as it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RenderedFile {
    /// Absolute path on the node.
    pub path: PathBuf,
    pub content: Arc<str>,
    pub mode: u32,
    /// User and group names.
    pub owner: (String, String),
    /// The cluster that owns the file; `None` for the node's own files (haproxy.cfg, 00-pgsvc.cfg, the drop-in).
    pub cluster: Option<String>,
}

impl RenderedFile {
    /// Its content as that of a candidate, the same in memory.
    #[must_use]
    pub fn bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.content).into()
    }
}

/// A file as it is on the node. Names of owners are resolved by whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledFile {
    pub content: Arc<[u8]>,
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
    /// Commands on the admin socket: the worker stays, and so does every session.
    Runtime,
    Reload,
    /// The running process cannot take this on by a reload (its command line lacks conf.d or the master socket).
    Restart,
    /// It is not running.
    Start,
    /// Nothing is left for it to do.
    Stop,
}

/// Everything a transaction needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Sorted by path; only real changes.
    pub changes: Vec<FileChange>,
    pub action: Action,
    /// Why that action, for people.
    pub reason: String,
    /// With `Action::Runtime`: what is done, in this order.
    pub commands: Vec<Command>,
    /// What is kept although the files say otherwise.
    pub hands: Vec<Hand>,
    /// The hash that the new worker must answer with in `show info` (`description`).
    pub hash: String,
    /// Where that comes from; `None` where nothing of the node's own is wanted.
    pub whole: Option<Whole>,
    /// Every .cfg file HAProxy would load after the change, foreign ones included, in load order: path → content.
    /// This is what `haproxy -c` checks.
    pub candidate: Files,
    /// Listeners that are new with this plan: they must be bindable before anything is touched.
    pub new_binds: Vec<SocketAddr>,
    /// Binds to addresses the node lacks are allowed (`ip_nonlocal_bind`, or `transparent` in the bind line).
    pub nonlocal_binds: bool,
    /// systemd's unit files change: `daemon-reload` before the action.
    pub daemon_reload: bool,
}

impl Action {
    /// What a client would notice.
    #[must_use]
    pub fn notice(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Runtime => "nothing: no worker changes, and no session is cut",
            Self::Reload => "sessions stay with the old worker until they end; new ones come to a new worker",
            Self::Restart => "every session is cut",
            Self::Start => "ports that nobody served open",
            Self::Stop => "what it served is gone",
        }
    }

    /// What a client would notice where it is keepalived's: of addresses, not of sessions.
    #[must_use]
    pub fn address_notice(&self) -> &'static str {
        match self {
            Self::Nothing | Self::Runtime => "nothing",
            Self::Reload => "nothing, but where an address itself comes, changes or goes",
            Self::Restart => "every address is let go for a moment, and sessions over one that moves are cut",
            Self::Start => "addresses that nobody had are answered",
            Self::Stop => "its addresses are gone",
        }
    }
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
    /// What earlier runs rendered of it.
    pub known: Known,
}

/// The running HAProxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// `description` of `show info`; `None` where the socket does not answer.
    pub description: Option<String>,
    /// Its command line loads conf.d and opens the master socket.
    pub takes_reload: bool,
    /// Major and minor.
    pub version: (u32, u32),
    /// Its servers and limits; `None` where it does not say.
    pub live: Option<Live>,
    /// An earlier run ended halfway and was undone: it may have changed what runs, too.
    pub interrupted: bool,
}

/// What is wanted of the node.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// haproxy.cfg; `None` where clusters are only taken away.
    pub node: Option<RenderedFile>,
    pub dropin: Option<RenderedFile>,
    /// pgsvc's own units; one that is not wanted goes, of a node that only loses clusters with the last of them.
    pub units: Vec<RenderedFile>,
    /// The files of the clusters in scope.
    pub services: Vec<RenderedFile>,
    /// Clusters whose files are wanted exactly as given: those in scope and those to be removed.
    pub scope: Vec<String>,
    /// Files of others may be taken over.
    pub adopt: bool,
    pub nonlocal_binds: bool,
}

/// Why a plan cannot be made. What stands in one cluster's way is told apart from what is the node's, so that a cluster
/// that cannot be planned can be left out without the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obstacles {
    pub node: Errors,
    pub clusters: BTreeMap<String, Errors>,
}

impl Obstacles {
    /// Notes an error of a cluster's, or of the node's.
    pub fn push(&mut self, cluster: Option<&str>, error: Error) {
        self.take::<()>(cluster, Err(error));
    }

    /// Keeps the value, or notes what is wrong with it.
    pub fn take<T>(&mut self, cluster: Option<&str>, result: Result<T, impl Into<Errors>>) -> Option<T> {
        match (result, cluster) {
            (Ok(value), _) => Some(value),
            (Err(e), None) => self.node.take(Err(e)),
            (Err(e), Some(name)) => self.clusters.entry(name.to_owned()).or_default().take(Err(e)),
        }
    }

    /// `value` when nothing stands in the way.
    ///
    /// # Errors
    /// All that does.
    pub fn finish<T>(self, value: T) -> Result<T, Self> {
        if self.node.is_empty() && self.clusters.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Obstacles> for Errors {
    fn from(o: Obstacles) -> Self {
        let mut all = o.node;
        o.clusters.into_values().flat_map(|e| e.0).for_each(|e| all.push(e));
        all
    }
}

impl From<Error> for Obstacles {
    fn from(error: Error) -> Self {
        Errors::from(error).into()
    }
}

impl From<Errors> for Obstacles {
    fn from(node: Errors) -> Self {
        Self { node, clusters: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests;
