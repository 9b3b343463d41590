//! The precedence of variables, from groups and hosts to the hosts that everybody else sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::graph::{ALL, Bag, Graph, UNGROUPED};
use super::reader::Reader;
use super::source::Source;
use super::vars_files::VarsDir;
use crate::error::{Error, Errors};
use crate::inventory::{Host, Inventory, Var};

/// Names that Ansible sets itself; `ansible-inventory --list` leaves them out, whoever wrote them.
const MAGIC: [&str; 33] = [
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "groups",
    "group_names",
    "hostvars",
    "playbook_dir",
    "play_hosts",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
];

/// Variables of the files beside the inventory.
#[derive(Default)]
struct Beside {
    groups: BTreeMap<usize, Bag>,
    hosts: BTreeMap<usize, Bag>,
}

/// Merges what was read with the variables in `neighbours`, or says all that is wrong.
pub fn finish(
    source: &dyn Source,
    reader: Reader<'_>,
    neighbours: Option<&Path>,
) -> Result<Inventory, Errors> {
    let Reader { mut graph, mut errors, mut warnings, .. } = reader;
    if let Err(what) = graph.reconcile() {
        errors.push(Error::new("groups", what).hint("'all' is above every group and below none"));
    }
    let beside = match neighbours {
        Some(base) => beside(source, base, &graph, &mut errors, &mut warnings),
        None => Beside::default(),
    };
    for group in &graph.groups {
        if graph.has_host(&group.name) {
            warnings.push(format!(
                "'{}' is both a group and a host; Ansible mixes up their variables",
                group.name
            ));
        }
    }
    let homes = homes(&graph);
    let hosts = graph.order().into_iter().map(|id| host(&graph, &beside, &homes, id)).collect();
    errors.finish(Inventory { hosts, warnings })
}

fn beside(
    source: &dyn Source,
    base: &Path,
    graph: &Graph,
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) -> Beside {
    let mut found = Beside::default();
    let groups = VarsDir::open(source, base, "group_vars", errors);
    for (id, group) in graph.groups.iter().enumerate() {
        found.groups.insert(id, groups.load(&group.name, errors, warnings));
    }
    let hosts = VarsDir::open(source, base, "host_vars", errors);
    for (id, host) in graph.hosts.iter().enumerate() {
        found.hosts.insert(id, hosts.load(&host.name, errors, warnings));
    }
    found
}

/// The groups of every host, those above included, in the order in which their variables are laid over each other.
fn homes(graph: &Graph) -> BTreeMap<usize, Vec<usize>> {
    let mut homes: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (id, group) in graph.groups.iter().enumerate() {
        let mut above = graph.ancestors(id);
        above.insert(id);
        for host in &group.hosts {
            homes.entry(*host).or_default().extend(above.iter().copied());
        }
    }
    let rank = |id: &usize| graph.groups.get(*id).map(|g| (g.depth, g.priority, g.name.as_str()));
    let sorted = |set: BTreeSet<usize>| {
        let mut list: Vec<usize> = set.into_iter().filter(|id| *id != ALL).collect();
        list.sort_by(|a, b| rank(a).cmp(&rank(b)));
        list
    };
    homes.into_iter().map(|(host, set)| (host, sorted(set))).collect()
}

/// The bags that a host's variables come from, each laid over the ones before it.
fn layers<'a>(graph: &'a Graph, beside: &'a Beside, groups: &[usize], id: usize) -> Vec<&'a Bag> {
    let inventory = |group: &usize| graph.groups.get(*group).map(|g| &g.vars);
    let file = |group: &usize| beside.groups.get(group);
    let mut bags = vec![inventory(&ALL)];
    bags.extend(groups.iter().map(inventory));
    bags.push(file(&ALL));
    bags.extend(groups.iter().map(file));
    bags.push(graph.hosts.get(id).map(|host| &host.vars));
    bags.push(beside.hosts.get(&id));
    bags.into_iter().flatten().collect()
}

fn host(graph: &Graph, beside: &Beside, homes: &BTreeMap<usize, Vec<usize>>, id: usize) -> Host {
    let groups = homes.get(&id).map(Vec::as_slice).unwrap_or_default();
    let mut won: BTreeMap<&Arc<str>, &Arc<Var>> = BTreeMap::new();
    for bag in layers(graph, beside, groups, id) {
        won.extend(bag);
    }
    let mut host =
        Host { name: graph.hosts.get(id).map(|h| h.name.clone()).unwrap_or_default(), ..Host::default() };
    for (key, var) in won.into_iter().filter(|(key, _)| !MAGIC.contains(&key.as_ref())) {
        host.vars.share(key, var);
    }
    let named = groups.iter().filter(|group| **group != UNGROUPED);
    host.groups =
        named.filter_map(|group| graph.groups.get(*group)).map(|group| group.name.clone()).collect();
    host.groups.sort();
    host
}
