//! What is asked for, whoever asks: an Ansible task or a person with an inventory. No policy may live here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::error::{Error, Errors, nearest};
use crate::inventory::cluster::{self, Cluster, Overrides};
use crate::inventory::{Host, Inventory, Vars};
use crate::resolve::{self, ResolvedService};
use crate::settings::{self, NodeSettings, OPTIONS, Options};
use crate::value;

/// What is to become of the named clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Present,
    Absent,
}

/// A request, read but not yet judged.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Hosts by name, with their variables.
    pub hosts: Vec<(String, Vars)>,
    pub node: String,
    pub node_vars: Vars,
    /// The clusters in scope, sorted.
    pub clusters: Vec<String>,
    pub state: State,
    pub overrides: Overrides,
    pub options: Options,
    pub check: bool,
    pub warnings: Vec<String>,
}

/// A request with every decision made that needs no look at the node: clusters resolved, or what is wrong with them.
#[derive(Debug, Clone)]
pub struct Model {
    pub node: NodeSettings,
    pub state: State,
    pub clusters: BTreeMap<String, ResolvedCluster>,
    /// One bad cluster does not block the others.
    pub failed: BTreeMap<String, Errors>,
    pub options: Options,
    pub check: bool,
    pub warnings: Vec<String>,
    /// The request by cluster, as a node keeps it.
    pub kept: Vec<(String, Value)>,
}

#[derive(Debug, Clone)]
pub struct ResolvedCluster {
    pub cluster: Cluster,
    pub services: Vec<ResolvedService>,
}

const ARGUMENTS: [&str; 8] =
    ["state", "members", "services", "services_extra", "default_services", "clusters", "node", "collected"];

/// Reads module arguments: strict but for Ansible's own `_ansible_*` keys.
///
/// # Errors
/// Unknown and wrong arguments, all at once.
pub fn from_arguments(args: &Vars) -> Result<Request, Errors> {
    let mut errors = Errors::default();
    let (ansible, own): (Vars, Vars) = args.clone().into_iter().partition(|(k, _)| k.starts_with("_ansible_"));
    let known = || ARGUMENTS.into_iter().chain(OPTIONS);
    for key in own.keys().filter(|k| !known().any(|n| n == k.as_str())) {
        let error = Error::new("arguments", format!("unknown argument '{}'", key.escape_debug()));
        errors.push(match nearest(key, known()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint("see ansible-doc pgsvc"),
        });
    }
    let state = match value::given(own.get("state")).map(|v| value::text("state", v)) {
        None => State::Present,
        Some(Ok(s)) if s == "present" => State::Present,
        Some(Ok(s)) if s == "absent" => State::Absent,
        Some(_) => {
            errors.push(Error::new("arguments", "state is neither present nor absent"));
            State::Present
        }
    };
    let node_vars = match value::given(own.get("node")) {
        None => Vars::new(),
        Some(Value::Object(map)) => map.clone(),
        Some(other) => {
            errors.push(Error::new("arguments", format!("node: {} is no map of variables", value::show(other))));
            Vars::new()
        }
    };
    let hosts = members(&mut errors, own.get("members"));
    let clusters = match value::given(own.get("clusters")) {
        Some(v) => names(&mut errors, v),
        None => cluster::names(hosts.iter().map(|(_, v)| v)),
    };
    let list = |name: &str| value::given(own.get(name)).cloned();
    let flag = |vars: &Vars, name: &str, errors: &mut Errors| {
        let read = value::given(vars.get(name)).map(|v| value::boolean(name, v));
        read.and_then(|r| errors.take(r)).unwrap_or(false)
    };
    let overrides = Overrides {
        services: list("services"),
        services_extra: list("services_extra"),
        default_services: list("default_services"),
        collected: flag(&own, "collected", &mut errors),
    };
    let node = value::given(node_vars.get("inventory_hostname")).and_then(|v| v.as_str()).unwrap_or("localhost");
    let options = merged_options(node, &node_vars, &own, &mut errors);
    let request = Request {
        node: node.to_owned(),
        check: flag(&ansible, "_ansible_check_mode", &mut errors),
        hosts, node_vars, clusters, state, overrides, options, warnings: Vec::new(),
    };
    errors.finish(request)
}

/// Options said by the task, over those of the node's variables.
fn merged_options(node: &str, node_vars: &Vars, own: &Vars, errors: &mut Errors) -> Options {
    let mut merged = Vars::new();
    for name in OPTIONS {
        let said = value::given(own.get(name)).or_else(|| value::given(node_vars.get(&format!("pgsvc_{name}"))));
        if let Some(v) = said {
            merged.insert(name.to_owned(), v.clone());
        }
    }
    settings::options(&format!("node '{node}'"), &merged, "", errors)
}

fn members(errors: &mut Errors, v: Option<&Value>) -> Vec<(String, Vars)> {
    let list = match value::given(v) {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            errors.push(Error::new("arguments", format!("members: {} is no list", value::show(other)))
                .hint("a list of maps, each the variables of one member"));
            return Vec::new();
        }
    };
    let mut hosts = Vec::new();
    for (i, member) in list.iter().enumerate() {
        let place = format!("members[{i}]");
        let Some(map) = member.as_object() else {
            errors.push(Error::new(place, format!("{} is no map of variables", value::show(member))));
            continue;
        };
        let name = value::given(map.get("inventory_hostname")).or_else(|| value::given(map.get("ansible_host")));
        match name.and_then(Value::as_str) {
            Some(name) => hosts.push((name.to_owned(), map.clone())),
            None => errors.push(Error::new(place, "has neither inventory_hostname nor ansible_host")
                .hint("say where the member is: inventory_hostname: 10.10.10.11")),
        }
    }
    hosts
}

fn names(errors: &mut Errors, v: &Value) -> Vec<String> {
    let list = match v {
        Value::Array(list) => list.clone(),
        Value::String(s) => s.split(',').map(|n| Value::from(n.trim())).collect(),
        other => vec![other.clone()],
    };
    let read = |v: &Value| value::word("clusters", v, "-_.", 63);
    let mut names: Vec<String> = list.iter().filter_map(|v| errors.take(read(v))).collect();
    names.sort();
    names.dedup();
    names
}

/// Who this machine is, for finding itself in an inventory.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub hostname: String,
    pub addresses: Vec<IpAddr>,
}

/// Reads a request from an inventory: for the host called `host`, or the one that this machine is.
///
/// # Errors
/// A host or cluster that the inventory does not have; options of the wrong type.
pub fn from_inventory(inventory: &Inventory, host: Option<&str>, who: &Identity, only: &[String], flags: &Vars) -> Result<Request, Errors> {
    let mut errors = Errors::default();
    let all = cluster::names(inventory.hosts.iter().map(|h| &h.vars));
    for name in only.iter().filter(|n| !all.contains(n)) {
        let error = Error::new(format!("cluster '{name}'"), "is not in the inventory");
        errors.push(match nearest(name, all.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("it has {}", if all.is_empty() { "no host with pg_cluster".into() } else { all.join(", ") })),
        });
    }
    let found = match host {
        Some(name) => {
            let found = inventory.hosts.iter().find(|h| h.name == name);
            if found.is_none() {
                let known = inventory.hosts.iter().map(|h| h.name.as_str());
                let hint = nearest(name, known).map_or("see ansible-inventory --graph".into(), |n| format!("did you mean '{n}'?"));
                errors.push(Error::new(format!("host '{name}'"), "is not in the inventory").hint(hint));
            }
            found
        }
        None => myself(inventory, who, &mut errors),
    };
    if found.is_none() && host.is_none() && only.is_empty() {
        errors.push(Error::new(format!("host '{}'", who.hostname), "is not in the inventory, by name or by address")
            .hint("say which host this is with --host NAME, or which cluster with -c CLUSTER"));
    }
    let node_vars = found.map(|h| h.vars.clone()).unwrap_or_default();
    let mut clusters = if only.is_empty() {
        found.map(|h| carried(inventory, h)).unwrap_or_default()
    } else {
        only.to_vec()
    };
    clusters.sort();
    clusters.dedup();
    let node = found.map_or(who.hostname.clone(), |h| h.name.clone());
    let options = merged_options(&node, &node_vars, flags, &mut errors);
    let hosts = inventory.hosts.iter().map(|h| (h.name.clone(), h.vars.clone())).collect();
    errors.finish(Request { hosts, node, node_vars, clusters, options, warnings: inventory.warnings.clone(), ..Request::default() })
}

/// The host that this machine is: by its whole name, else by an address, else by the first label of its name, which two
/// hosts may share (`db1.prod`, `db1.test`): then nobody is taken for granted.
fn myself<'a>(inventory: &'a Inventory, who: &Identity, errors: &mut Errors) -> Option<&'a Host> {
    let short = |n: &str| n.split('.').next().unwrap_or_default().to_owned();
    let address = |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| who.addresses.contains(&ip) && !ip.is_loopback());
    let by_address = |h: &&Host| address(&h.name) || h.vars.get("ansible_host").and_then(Value::as_str).is_some_and(address);
    let by_label = |h: &&Host| h.name.parse::<IpAddr>().is_err() && short(&h.name) == short(&who.hostname);
    let hosts = || inventory.hosts.iter();
    if let Some(found) = hosts().find(|h| h.name == who.hostname).or_else(|| hosts().find(by_address)) {
        return Some(found);
    }
    let found: Vec<&Host> = hosts().filter(by_label).collect();
    if let [first, second, ..] = found.as_slice() {
        errors.push(Error::new(format!("host '{}'", who.hostname), format!("may be '{}' or '{}'", first.name, second.name))
            .hint("say which host this is with --host NAME"));
    }
    found.first().copied()
}

/// The clusters a host's load balancer carries: its own, unless dedicated nodes do (`pg_service_provider`, a group),
/// and those whose provider group it is in.
fn carried(inventory: &Inventory, me: &Host) -> Vec<String> {
    let text = |vars: &Vars, name: &str| value::given(vars.get(name)).and_then(|v| value::text(name, v).ok());
    let mut names = Vec::new();
    for h in &inventory.hosts {
        let Some(name) = text(&h.vars, "pg_cluster") else { continue };
        let mine = match text(&h.vars, "pg_service_provider") {
            Some(group) => me.groups.contains(&group),
            None => text(&me.vars, "pg_cluster").as_ref() == Some(&name),
        };
        if mine {
            names.push(name);
        }
    }
    names
}

/// Builds and resolves every cluster of a request.
///
/// # Errors
/// What is wrong with the node itself; what is wrong with a cluster is kept with it.
pub fn model(request: Request) -> Result<Model, Errors> {
    let mut model = model_apart(request)?;
    refuse_collisions(&mut model);
    // What is refused is not kept either: a later run without an inventory must not meet it.
    let good = &model.clusters;
    model.kept.retain(|(name, _)| good.contains_key(name));
    Ok(model)
}

/// The same for verbs that look at clusters one by one, whichever load balancer carries them.
///
/// # Errors
/// What is wrong with the node itself.
pub fn model_apart(request: Request) -> Result<Model, Errors> {
    let mut errors = Errors::default();
    let node = settings::node(&request.node, &request.node_vars, &mut errors);
    let kept = crate::run::kept::arguments(&request);
    let mut model = Model {
        kept,
        node,
        state: request.state,
        clusters: BTreeMap::new(),
        failed: BTreeMap::new(),
        options: request.options,
        check: request.check,
        warnings: request.warnings,
    };
    if request.clusters.is_empty() {
        errors.push(Error::new(format!("node '{}'", model.node.name), "carries no cluster")
            .hint("give it pg_cluster, or put it into a cluster's pg_service_provider group"));
    }
    let hosts: Vec<(&str, &Vars)> = request.hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let by_cluster = group(&hosts);
    let empty = Vec::new();
    for name in &request.clusters {
        if request.state == State::Absent {
            // Its members may be gone from the inventory already, and so nobody has looked at the name yet.
            match value::word("pg_cluster", &Value::from(name.as_str()), "-_.", 63) {
                Ok(_) => drop(model.clusters.insert(name.clone(), ResolvedCluster::gone(name))),
                Err(e) => drop(model.failed.insert(name.clone(), e.into())),
            }
            continue;
        }
        let mine = by_cluster.get(name).unwrap_or(&empty);
        let built = cluster::build(name, mine, &request.overrides);
        let resolved = built.and_then(|c| resolve::cluster(&c, model.options.roles).map(|services| ResolvedCluster { cluster: c, services }));
        match resolved {
            Ok(c) => drop(model.clusters.insert(name.clone(), c)),
            Err(e) => drop(model.failed.insert(name.clone(), e)),
        }
    }
    errors.finish(model)
}

/// Hosts by the cluster they name: one pass, however many clusters there are.
fn group<'a>(hosts: &[(&'a str, &'a Vars)]) -> BTreeMap<String, Vec<(&'a str, &'a Vars)>> {
    let mut groups: BTreeMap<String, Vec<(&str, &Vars)>> = BTreeMap::new();
    for (host, vars) in hosts {
        if let Some(Ok(name)) = value::given(vars.get("pg_cluster")).map(|v| value::text("pg_cluster", v)) {
            groups.entry(name).or_default().push((host, vars));
        }
    }
    groups
}

fn refuse_collisions(model: &mut Model) {
    let all: Vec<ResolvedService> = model.clusters.values().flat_map(|c| c.services.clone()).collect();
    for (name, error) in resolve::collisions(&all) {
        model.failed.entry(name).or_default().push(error);
    }
    let port = model.node.exporter_port;
    for s in all.iter().filter(|s| s.port() == port) {
        let error = Error::new(format!("service '{}' of {}", s.service, s.cluster), format!("port {port} is also that of the stats page"))
            .hint("change the service's port or haproxy_exporter_port");
        model.failed.entry(s.cluster.clone()).or_default().push(error);
    }
    let failed = &model.failed;
    model.clusters.retain(|name, _| !failed.contains_key(name));
}

impl ResolvedCluster {
    fn gone(name: &str) -> Self {
        let cluster = Cluster { name: name.to_owned(), members: Vec::new(), services: Vec::new(), vip: None, patroni_ca: None };
        Self { cluster, services: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
