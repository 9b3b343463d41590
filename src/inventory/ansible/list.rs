//! The JSON of `ansible-inventory --list`, and of dynamic inventories, into the graph.

use super::yaml_file::Target;
use crate::inventory::yaml::{At, Document, Entry, Node};

/// Whether a document is such a list and not an inventory of groups in JSON clothes.
pub fn is_list(document: &Document, root: &Node) -> bool {
    if root.get("_meta").is_some_and(|meta| meta.get("hostvars").is_some()) {
        return true;
    }
    let listed =
        |node: &Node| node.as_list().is_some() || node.get("hosts").is_some_and(|h| h.as_list().is_some());
    document.json && root.as_map().unwrap_or_default().iter().any(|entry| listed(&entry.value))
}

/// Reads the list.
pub fn read(target: &mut Target<'_>, root: &Node) {
    for entry in root.as_map().unwrap_or_default() {
        if entry.key != "_meta" {
            group(target, entry);
        }
    }
    let Some(hostvars) = root.get("_meta").and_then(|meta| meta.get("hostvars")) else {
        target.warn(root.at, "no _meta.hostvars, so no host has variables of its own");
        return;
    };
    let Some(hosts) = hostvars.as_map() else {
        target.error(
            hostvars.at,
            format!("_meta.hostvars is {}, not a mapping", hostvars.kind()),
            "is it the output of `ansible-inventory --list`?",
        );
        return;
    };
    for host in hosts {
        host_vars(target, host);
    }
}

fn host_vars(target: &mut Target<'_>, host: &Entry) {
    // Ansible reads the variables of listed hosts only.
    if !target.graph.has_host(&host.key) {
        return target.warn(
            host.at,
            format!("_meta.hostvars has '{}', which is in no group; it is left out", host.key),
        );
    }
    let Some(vars) = host.value.as_map() else {
        let what = format!("the variables of host '{}' are {}, not a mapping", host.key, host.value.kind());
        return target.error(host.at, what, "is it the output of `ansible-inventory --list`?");
    };
    for var in vars {
        let value = target.var(var);
        if let Err(what) = target.graph.set_host_var(&host.key, &var.key, value) {
            target.error(var.at, what, "give it a number");
        }
    }
}

fn group(target: &mut Target<'_>, entry: &Entry) {
    let id = target.graph.add_group(&entry.key);
    if entry.value.as_list().is_some() {
        return hosts(target, entry, id, &entry.value);
    }
    if entry.value.as_map().is_none() {
        let what = format!("the group '{}' is {}", entry.key, entry.value.kind());
        return target.error(entry.at, what, "a group has hosts, children and vars");
    }
    if let Some(list) = entry.value.get("hosts") {
        hosts(target, entry, id, list);
    }
    if let Some(vars) = entry.value.get("vars") {
        for var in vars.as_map().unwrap_or_default() {
            let value = target.var(var);
            if let Err(what) = target.graph.set_group_var(id, &var.key, value) {
                target.error(var.at, what, "give it a number");
            }
        }
    }
    let children = entry.value.get("children").map(|node| names(target, entry, "children", node));
    for name in children.unwrap_or_default() {
        let child = target.graph.add_group(&name);
        if let Err(what) = target.graph.add_child(id, child) {
            target.error(entry.at, what, "a group cannot be above itself");
        }
    }
}

fn hosts(target: &mut Target<'_>, entry: &Entry, id: usize, list: &Node) {
    for name in names(target, entry, "hosts", list) {
        target.graph.add_host(&name, id, None);
    }
}

/// The strings of a list; anything else is an error.
fn names(target: &mut Target<'_>, group: &Entry, what: &str, node: &Node) -> Vec<String> {
    let at = At { line: node.at.line, column: node.at.column };
    let found: Option<Vec<String>> = node
        .as_list()
        .map(|items| items.iter().map(|i| i.as_str().filter(|s| !s.is_empty()).map(str::to_owned)).collect())
        .unwrap_or_default();
    found.unwrap_or_else(|| {
        let what = format!("'{}' of group '{}' is no list of names", what, group.key);
        target.error(at, what, "is it the output of `ansible-inventory --list`?");
        Vec::new()
    })
}
