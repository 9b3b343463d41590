//! What is asked for, whoever asks: an Ansible task or a person with an inventory. No policy may live here.

mod arguments;
mod inventory;
mod kept;
mod model;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::Errors;
use crate::inventory::cluster::{Cluster, Overrides};
use crate::inventory::{Args, Vars};
use crate::resolve::ResolvedService;
use crate::settings::{self, NodeSettings, OPTIONS, Options};
use crate::value;
use crate::vip::Duty;
use crate::vip::duty::Groups;
use crate::vip::plane::VirtualServer;

pub use arguments::from_arguments;
pub use inventory::{Identity, from_inventory, groups, in_scope};
pub use kept::{Kept, arguments, joined};
pub use model::{model, model_apart};

/// What is to become of the named clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Present,
    Absent,
}

/// A request, read but not yet judged.
#[derive(Clone, Default)]
pub struct Request {
    /// Hosts by name, with their variables.
    pub hosts: Vec<(String, Vars)>,
    pub node: String,
    pub node_vars: Vars,
    /// The clusters in scope, sorted.
    pub clusters: Vec<String>,
    pub state: State,
    pub overrides: Overrides,
    /// Hosts of the groups that clusters name as their load balancers or directors.
    pub groups: Groups,
    pub options: Options,
    pub check: bool,
    /// The report is for a person: nobody reads what its clusters are.
    pub brief: bool,
    pub warnings: Vec<String>,
}

/// A request with every decision made that needs no look at the node: clusters resolved, or what is wrong with them.
#[derive(Clone)]
pub struct Model {
    pub node: NodeSettings,
    pub state: State,
    pub clusters: BTreeMap<String, Arc<ResolvedCluster>>,
    /// One bad cluster does not block the others.
    pub failed: BTreeMap<String, Errors>,
    pub options: Options,
    pub check: bool,
    /// The report is for a person: nobody reads what its clusters are.
    pub brief: bool,
    pub warnings: Vec<String>,
    /// The request, as a node keeps it.
    pub kept: Kept,
}

#[derive(Clone)]
pub struct ResolvedCluster {
    pub cluster: Cluster,
    pub services: Vec<ResolvedService>,
    /// Whether this node's HAProxy carries it: not so on a director, or on a member behind one.
    pub proxy: bool,
    /// The cluster's VIP and everybody's part in it.
    pub duty: Option<Duty>,
    /// What the directors of its VIP balance, the same seen from every node; none without an L4 VIP.
    pub virtual_servers: Vec<VirtualServer>,
}

// Variables hold passwords of everything: a request in a message or a log is its names, and no more.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self.hosts.iter().map(|(name, _)| name.as_str()).collect();
        let mut out = f.debug_struct("Request");
        out.field("node", &self.node).field("state", &self.state).field("clusters", &self.clusters);
        out.field("hosts", &hosts).field("options", &self.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Model");
        out.field("node", &self.node.name).field("state", &self.state).field("clusters", &self.clusters);
        out.field("failed", &self.failed).field("options", &self.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for ResolvedCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<&str> = self.cluster.members.iter().map(|m| m.host.as_str()).collect();
        let mut out = f.debug_struct("ResolvedCluster");
        out.field("name", &self.cluster.name).field("members", &members).finish_non_exhaustive()
    }
}

/// Hosts by the cluster they name: one pass, however many clusters there are.
fn by_cluster(hosts: &[(String, Vars)]) -> BTreeMap<String, Vec<(&str, &Vars)>> {
    let mut groups: BTreeMap<String, Vec<(&str, &Vars)>> = BTreeMap::new();
    for (host, vars) in hosts {
        if let Some(Ok(name)) = value::given(vars.get("pg_cluster")).map(|v| value::text("pg_cluster", v)) {
            groups.entry(name).or_default().push((host, vars));
        }
    }
    groups
}

/// Options said by a task or flags, over those of the node's variables.
fn merged_options(node: &str, node_vars: &Vars, own: &Args, errors: &mut Errors) -> Options {
    let mut merged = Vars::new();
    for name in OPTIONS {
        let said =
            value::given(own.get(name)).or_else(|| value::given(node_vars.get(&format!("pgsvc_{name}"))));
        if let Some(v) = said {
            merged.insert(name, v.clone());
        }
    }
    settings::options(&format!("node '{node}'"), &merged, "", errors)
}

#[cfg(test)]
mod tests;
