//! What the rules look at: the clusters of an inventory, whole or not, and the nodes that carry them. No rule may live here.

use std::collections::BTreeMap;

use super::place;
use crate::error::{Error, Errors};
use crate::inventory::cluster::{self, Cluster, Listed, Overrides};
use crate::inventory::{Host, Inventory, Place, Vars};
use crate::resolve::{self, ResolvedService, RoleSource};
use crate::service::Service;
use crate::settings::{self, NodeSettings};
use crate::vip::Duty;
use crate::vip::duty::{self, Groups};
use crate::{request, value};

/// An inventory as the rules see it.
pub struct View<'a> {
    pub inventory: &'a Inventory,
    pub clusters: Vec<ClusterView<'a>>,
    pub nodes: Vec<Node<'a>>,
}

/// A cluster, as far as it can be read.
pub struct ClusterView<'a> {
    pub cluster: Cluster,
    /// Its members' hosts, in the inventory's order.
    pub hosts: Vec<&'a Host>,
    pub entries: Vec<Listed<'static>>,
    pub services: Vec<ResolvedService>,
    pub duty: Option<Duty>,
    pub roles: RoleSource,
    /// Its members and the cluster's variables hold no error: what is said of selectors and roles is sound.
    pub sound: bool,
    pub errors: Vec<Error>,
    /// The nodes whose HAProxy carries it, as indices of `View::nodes`.
    pub carriers: Vec<usize>,
}

/// A node that carries clusters.
pub struct Node<'a> {
    pub host: &'a Host,
    pub settings: NodeSettings,
    pub errors: Vec<Error>,
}

impl<'a> View<'a> {
    /// The named clusters of an inventory, and the nodes that carry them.
    pub fn new(inventory: &'a Inventory, clusters: &[String], roles: Option<RoleSource>) -> Self {
        let mut by_cluster: BTreeMap<String, Vec<&'a Host>> = BTreeMap::new();
        let mut by_group: BTreeMap<&str, Vec<&'a Host>> = BTreeMap::new();
        for host in &inventory.hosts {
            if let Some(name) = text(&host.vars, "pg_cluster") {
                by_cluster.entry(name).or_default().push(host);
            }
            for group in &host.groups {
                by_group.entry(group).or_default().push(host);
            }
        }
        let groups = request::groups(inventory);
        let mut view = Self { inventory, clusters: Vec::new(), nodes: Vec::new() };
        let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in clusters {
            let Some(hosts) = by_cluster.get(name) else { continue };
            let provider = hosts.iter().find_map(|h| text(&h.vars, "pg_service_provider"));
            let carriers: &[&Host] = match &provider {
                Some(group) => by_group.get(group.as_str()).map(Vec::as_slice).unwrap_or_default(),
                None => hosts,
            };
            let index = |host: &&'a Host| {
                *nodes.entry(&host.name).or_insert_with(|| {
                    view.nodes.push(node(host));
                    view.nodes.len().saturating_sub(1)
                })
            };
            let carriers: Vec<usize> = carriers.iter().map(index).collect();
            let said = carriers.iter().filter_map(|i| view.nodes.get(*i)).find_map(|n| said_roles(n.host));
            let roles = roles.or(said).unwrap_or_default();
            let mut read = read(name, hosts, &groups, roles);
            read.carriers = carriers;
            view.clusters.extend(Some(read).filter(|c| !c.cluster.name.is_empty()));
        }
        view
    }

    /// The carriers of a cluster.
    pub fn carriers(&self, c: &ClusterView<'a>) -> Vec<&Node<'a>> {
        c.carriers.iter().filter_map(|i| self.nodes.get(*i)).collect()
    }
}

fn said_roles(host: &Host) -> Option<RoleSource> {
    match text(&host.vars, "pgsvc_role_source")?.as_str() {
        "inventory" => Some(RoleSource::Inventory),
        _ => Some(RoleSource::Patroni),
    }
}

fn node(host: &Host) -> Node<'_> {
    let mut errors = Errors::default();
    let settings = settings::node(&host.name, &host.vars, &mut errors);
    settings::options(&format!("node '{}'", host.name), &host.vars, "pgsvc_", &mut errors);
    Node { host, settings, errors: errors.0 }
}

fn read<'a>(name: &str, hosts: &[&'a Host], groups: &Groups, roles: RoleSource) -> ClusterView<'a> {
    let mut errors = Errors::default();
    let pairs: Vec<(&str, &Vars)> = hosts.iter().map(|h| (h.name.as_str(), &h.vars)).collect();
    let refs: Vec<&(&str, &Vars)> = pairs.iter().collect();
    let none = Overrides::default();
    let mut told = Errors::default();
    let shared = cluster::shared(&mut told, name, &refs);
    let entries = cluster::listed(&mut told, name, &shared, &none);
    let entries = entries.into_iter().map(Listed::into_owned).collect();
    let cluster = cluster::read(name, &pairs, &none, &mut errors);
    let members = cluster.as_ref().map_or(0, |c| c.members.len());
    let sound = members == hosts.len() && told.is_empty();
    let services = cluster.as_ref().map(|c| resolve::each(c, roles, &mut errors)).unwrap_or_default();
    let duty = cluster.as_ref().and_then(|c| {
        let vip = c.virtual_ip.as_ref().filter(|_| sound)?;
        errors.take(duty::resolve(c, vip, c.provider.as_deref(), groups, ""))
    });
    let cluster = cluster.unwrap_or_else(|| Cluster::empty(name));
    let hosts = hosts.to_vec();
    ClusterView {
        cluster,
        hosts,
        entries,
        services,
        duty,
        roles,
        sound,
        errors: errors.0,
        carriers: Vec::new(),
    }
}

impl ClusterView<'_> {
    /// The definition of a resolved service.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.cluster.services.iter().find(|s| s.name == name)
    }

    /// The entry of a service, the last one of that name.
    pub fn entry(&self, name: &str) -> Option<&Listed<'static>> {
        let is = |e: &&Listed<'_>| {
            e.entry.get("name").is_some_and(|n| value::text("", n).is_ok_and(|n| n == name))
        };
        self.entries.iter().rfind(is)
    }

    /// Whether an operator says one of these fields of a service.
    pub fn says(&self, name: &str, fields: &[&str]) -> bool {
        let said = |e: &Listed<'_>, f: &str| {
            let mut at = Some(e.entry.as_ref());
            for step in f.split('.') {
                at = at.and_then(|v| v.get(step));
            }
            value::given(at).is_some()
        };
        self.entry(name).filter(|e| e.from.is_some()).is_some_and(|e| fields.iter().any(|f| said(e, f)))
    }

    /// Where a service, or the first of these fields that it has, was written.
    pub fn service_place(&self, name: &str, fields: &[&str]) -> Option<Place> {
        let entry = self.entry(name)?;
        place::of_entry(self, entry, fields).or_else(|| self.place(&["pg_cluster"]))
    }

    /// Where the first of these variables that a member has was written.
    pub fn place(&self, names: &[&str]) -> Option<Place> {
        names.iter().find_map(|n| self.hosts.iter().find_map(|h| h.place(n))).cloned()
    }

    /// A variable of the members, where it is given.
    pub fn vars<'s>(&'s self, name: &str) -> Vec<(&'s Host, &'s serde_json::Value)> {
        self.hosts.iter().filter_map(|h| Some((*h, value::given(h.vars.get(name))?))).collect()
    }
}

/// A variable that is a plain text or number.
pub fn text(vars: &Vars, name: &str) -> Option<String> {
    value::given(vars.get(name)).and_then(|v| value::text(name, v).ok())
}
