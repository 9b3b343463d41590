//! Inventory → request: which host this is, and which clusters it carries.

use std::net::IpAddr;

use serde_json::Value;

use super::{Request, State, merged_options};
use crate::error::{Error, Errors, nearest};
use crate::inventory::{Args, Host, Inventory, Vars, cluster};
use crate::value;
use crate::vip::duty::{Groups, PROVIDERS};

/// Who this machine is, for finding itself in an inventory.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub hostname: String,
    pub addresses: Vec<IpAddr>,
}

/// Reads a request from an inventory: for the host called `host`, or the one that this machine is. `flags` are in the
/// module arguments' words.
///
/// # Errors
/// A host or cluster that the inventory does not have; options of the wrong type.
pub fn from_inventory(
    inventory: Inventory,
    host: Option<&str>,
    who: &Identity,
    only: &[String],
    flags: &Args,
) -> Result<Request, Errors> {
    let mut request = without_hosts(&inventory, host, who, only, flags)?;
    request.hosts = inventory.hosts.into_iter().map(|h| (h.name, h.vars)).collect();
    Ok(request)
}

/// The clusters in scope of such a request.
///
/// # Errors
/// As of the request.
pub fn in_scope(inventory: &Inventory, host: Option<&str>, only: &[String]) -> Result<Vec<String>, Errors> {
    Ok(without_hosts(inventory, host, &Identity::default(), only, &Args::new())?.clusters)
}

fn without_hosts(
    inventory: &Inventory,
    host: Option<&str>,
    who: &Identity,
    only: &[String],
    flags: &Args,
) -> Result<Request, Errors> {
    let mut errors = Errors::default();
    let state = if flags.get("state").and_then(Value::as_str) == Some("absent") {
        State::Absent
    } else {
        State::Present
    };
    let mut warnings = inventory.warnings.clone();
    for error in unknown(inventory, only) {
        match state {
            State::Present => errors.push(error),
            // What goes may have left the inventory first.
            State::Absent => warnings.push(error.to_string()),
        }
    }
    let found = match host {
        Some(name) => named(inventory, name, &mut errors),
        None => myself(inventory, who, &mut errors),
    };
    if found.is_none() && host.is_none() && only.is_empty() {
        errors.push(
            Error::new(format!("host '{}'", who.hostname), "is not in the inventory, by name or by address")
                .hint("say which host this is with --host NAME, or which cluster with -c CLUSTER"),
        );
    }
    let node_vars = found.map(|h| h.vars.clone()).unwrap_or_default();
    let clusters = scope(inventory, found, only);
    let node = found.map_or(who.hostname.clone(), |h| h.name.clone());
    let options = merged_options(&node, &node_vars, flags, &mut errors);
    let groups = groups(inventory);
    errors.finish(Request {
        node,
        node_vars,
        clusters,
        state,
        groups,
        options,
        warnings,
        ..Request::default()
    })
}

/// The named clusters, or all that the host carries; sorted.
fn scope(inventory: &Inventory, found: Option<&Host>, only: &[String]) -> Vec<String> {
    let mut clusters = match only {
        [] => found.map(|h| carried(inventory, h)).unwrap_or_default(),
        only => only.to_vec(),
    };
    clusters.sort();
    clusters.dedup();
    clusters
}

/// The named clusters that an inventory does not have.
fn unknown(inventory: &Inventory, only: &[String]) -> Vec<Error> {
    let all = cluster::names(inventory.hosts.iter().map(|h| &h.vars));
    let one = |name: &String| {
        let error = Error::new(format!("cluster '{name}'"), "is not in the inventory");
        match nearest(name, all.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!(
                "it has {}",
                if all.is_empty() { "no host with pg_cluster".into() } else { all.join(", ") }
            )),
        }
    };
    only.iter().filter(|n| !all.contains(n)).map(one).collect()
}

fn named<'a>(inventory: &'a Inventory, name: &str, errors: &mut Errors) -> Option<&'a Host> {
    let found = inventory.hosts.iter().find(|h| h.name == name);
    if found.is_none() {
        let known = inventory.hosts.iter().map(|h| h.name.as_str());
        let hint = nearest(name, known)
            .map_or("see ansible-inventory --graph".into(), |n| format!("did you mean '{n}'?"));
        errors.push(Error::new(format!("host '{name}'"), "is not in the inventory").hint(hint));
    }
    found
}

/// The host that this machine is: by its whole name, else by an address, else by the first label of its name, which two
/// hosts may share (`db1.prod`, `db1.test`): then nobody is taken for granted.
fn myself<'a>(inventory: &'a Inventory, who: &Identity, errors: &mut Errors) -> Option<&'a Host> {
    let short = |n: &str| n.split('.').next().unwrap_or_default().to_owned();
    let address =
        |text: &str| text.parse::<IpAddr>().is_ok_and(|ip| who.addresses.contains(&ip) && !ip.is_loopback());
    let by_address = |h: &&Host| {
        address(&h.name) || h.vars.get("ansible_host").and_then(Value::as_str).is_some_and(address)
    };
    let by_label = |h: &&Host| h.name.parse::<IpAddr>().is_err() && short(&h.name) == short(&who.hostname);
    let hosts = || inventory.hosts.iter();
    if let Some(found) = hosts().find(|h| h.name == who.hostname).or_else(|| hosts().find(by_address)) {
        return Some(found);
    }
    let found: Vec<&Host> = hosts().filter(by_label).collect();
    if let [first, second, ..] = found.as_slice() {
        errors.push(
            Error::new(
                format!("host '{}'", who.hostname),
                format!("may be '{}' or '{}'", first.name, second.name),
            )
            .hint("say which host this is with --host NAME"),
        );
    }
    found.first().copied()
}

/// The hosts of the groups that any host names as its cluster's load balancers or directors.
pub fn groups(inventory: &Inventory) -> Groups {
    let mut groups = Groups::new();
    for h in &inventory.hosts {
        for name in PROVIDERS.into_iter().filter_map(|key| text(&h.vars, key)) {
            groups.entry(name.clone()).or_insert_with(|| {
                let within = inventory.hosts.iter().filter(|h| h.groups.contains(&name));
                within.map(|h| (h.name.clone(), h.vars.clone())).collect()
            });
        }
    }
    groups
}

fn text(vars: &Vars, name: &str) -> Option<String> {
    value::given(vars.get(name)).and_then(|v| value::text(name, v).ok())
}

/// The clusters a host carries: its own, unless dedicated nodes do (`pg_service_provider`, a group); those whose provider
/// group it is in; those whose VIP it carries or is behind.
fn carried(inventory: &Inventory, me: &Host) -> Vec<String> {
    let mut names = Vec::new();
    let mine = text(&me.vars, "pg_cluster");
    for h in &inventory.hosts {
        let Some(name) = text(&h.vars, "pg_cluster") else { continue };
        let member = mine.as_ref() == Some(&name);
        let proxy = match text(&h.vars, "pg_service_provider") {
            Some(group) => me.groups.contains(&group),
            None => member,
        };
        let holder = text(&h.vars, "vip_provider").is_some_and(|group| me.groups.contains(&group));
        let behind = member && text(&h.vars, "vip_to").as_deref() == Some("members");
        if proxy || holder || behind {
            names.push(name);
        }
    }
    names
}
