//! Groups and hosts as Ansible's `InventoryData` holds them while it parses. Precedence is `merge`'s matter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::inventory::yaml::{At, Entry, Node};
use crate::inventory::{Inner, PLACED, Var};

/// An entry of a mapping as a variable.
pub fn var(entry: &Entry, file: &str) -> Var {
    let inner = PLACED.contains(&entry.key.as_str()).then(|| {
        let mut inner = Inner::new();
        inside(&entry.value, "", file, &mut inner);
        inner
    });
    Var { value: entry.value.to_value(), place: entry.at.place(file), inner }
}

/// As deep as anything is asked for: an entry of a list, its field, that one's own field.
const DEEPEST: usize = 3;

fn inside(node: &Node, path: &str, file: &str, found: &mut Inner) {
    let mut add = |step: String, at: At, value: &Node| {
        let path = format!("{path}{step}");
        found.extend(at.place(file).map(|place| (path.clone(), place)));
        if path.matches(['.', '[']).count() < DEEPEST {
            inside(value, &path, file, found);
        }
    };
    for (i, item) in node.as_list().unwrap_or_default().iter().enumerate() {
        add(format!("[{i}]"), item.at, item);
    }
    for entry in node.as_map().unwrap_or_default() {
        add(format!(".{}", entry.key), entry.at, &entry.value);
    }
}

/// Variables of one group, one host, or one file.
pub type Bag = BTreeMap<Arc<str>, Arc<Var>>;

#[derive(Debug, Default)]
pub struct Group {
    pub name: String,
    pub vars: Bag,
    /// Own hosts, in the order they came.
    pub hosts: Vec<usize>,
    members: BTreeSet<usize>,
    pub children: Vec<usize>,
    pub parents: Vec<usize>,
    /// `ansible_group_priority`.
    pub priority: i64,
    /// The longest way up to `all`.
    pub depth: usize,
}

#[derive(Debug)]
pub struct HostNode {
    pub name: String,
    pub vars: Bag,
}

/// The whole inventory. Groups and hosts go by their number; `all` is 0 and `ungrouped` is 1.
#[derive(Debug)]
pub struct Graph {
    pub groups: Vec<Group>,
    pub hosts: Vec<HostNode>,
    group_ids: BTreeMap<String, usize>,
    host_ids: BTreeMap<String, usize>,
}

pub const ALL: usize = 0;
pub const UNGROUPED: usize = 1;

impl Graph {
    pub fn new() -> Self {
        let mut graph = Self {
            groups: Vec::new(),
            hosts: Vec::new(),
            group_ids: BTreeMap::new(),
            host_ids: BTreeMap::new(),
        };
        graph.add_group("all");
        graph.add_group("ungrouped");
        graph.link(ALL, UNGROUPED);
        graph
    }

    pub fn group_id(&self, name: &str) -> Option<usize> {
        self.group_ids.get(name).copied()
    }

    pub fn has_host(&self, name: &str) -> bool {
        self.host_ids.contains_key(name)
    }

    pub fn add_group(&mut self, name: &str) -> usize {
        if let Some(id) = self.group_id(name) {
            return id;
        }
        let id = self.groups.len();
        self.groups.push(Group { name: name.to_owned(), priority: 1, ..Group::default() });
        self.group_ids.insert(name.to_owned(), id);
        id
    }

    /// Adds a host to a group; its port counts where the host is new.
    pub fn add_host(&mut self, name: &str, group: usize, port: Option<u64>) {
        let id = self.host_ids.get(name).copied().unwrap_or_else(|| {
            let mut vars = Bag::new();
            if let Some(port) = port.filter(|port| *port > 0) {
                vars.insert("ansible_port".into(), Arc::new(Var::flat(Value::from(port), None)));
            }
            self.hosts.push(HostNode { name: name.to_owned(), vars });
            self.hosts.len().saturating_sub(1)
        });
        self.host_ids.insert(name.to_owned(), id);
        if let Some(group) = self.groups.get_mut(group)
            && group.members.insert(id)
        {
            group.hosts.push(id);
        }
    }

    /// Sets a host's variable. Where a group has the same name, Ansible sets it there, and so does this.
    pub fn set_host_var(&mut self, name: &str, key: &str, var: Var) -> Result<(), String> {
        if let Some(group) = self.group_id(name) {
            return self.set_group_var(group, key, var);
        }
        if let Some(host) = self.host_ids.get(name).and_then(|id| self.hosts.get_mut(*id)) {
            host.vars.insert(key.into(), Arc::new(var));
        }
        Ok(())
    }

    /// Sets a group's variable; `ansible_group_priority` sets its rank among its peers instead.
    pub fn set_group_var(&mut self, group: usize, key: &str, var: Var) -> Result<(), String> {
        let Some(group) = self.groups.get_mut(group) else { return Ok(()) };
        if key == "ansible_group_priority" {
            group.priority = priority(&var.value)
                .ok_or_else(|| format!("ansible_group_priority of {} is no integer", group.name))?;
        } else {
            group.vars.insert(key.into(), Arc::new(var));
        }
        Ok(())
    }

    /// Puts a group below another.
    ///
    /// # Errors
    /// Where that would put a group below itself.
    pub fn add_child(&mut self, parent: usize, child: usize) -> Result<(), String> {
        let known = self.groups.get(parent).is_some_and(|group| group.children.contains(&child));
        if known {
            return Ok(());
        }
        if parent == child || self.ancestors(parent).contains(&child) {
            let name = |id: usize| self.groups.get(id).map_or("", |group| group.name.as_str());
            return Err(format!("the group '{}' below '{}' is a loop", name(child), name(parent)));
        }
        self.link(parent, child);
        Ok(())
    }

    fn link(&mut self, parent: usize, child: usize) {
        if let Some(group) = self.groups.get_mut(parent) {
            group.children.push(child);
        }
        if let Some(group) = self.groups.get_mut(child) {
            group.parents.push(parent);
        }
    }

    /// All groups above a group.
    pub fn ancestors(&self, group: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = vec![group];
        while let Some(next) = open.pop() {
            for parent in self.groups.get(next).map(|g| g.parents.as_slice()).unwrap_or_default() {
                if found.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        found
    }

    /// What Ansible does when all is read: every group below `all`, `ungrouped` set right, depths known.
    ///
    /// # Errors
    /// A loop through `all`.
    pub fn reconcile(&mut self) -> Result<(), String> {
        for id in 1..self.groups.len() {
            if self.groups.get(id).is_some_and(|group| group.parents.is_empty()) {
                self.add_child(ALL, id)?;
            }
        }
        let grouped: BTreeSet<usize> =
            self.groups.iter().skip(2).flat_map(|group| group.hosts.iter().copied()).collect();
        let hosts = self.hosts.len();
        if let Some(ungrouped) = self.groups.get_mut(UNGROUPED) {
            ungrouped.hosts.retain(|host| !grouped.contains(host));
            ungrouped.members.retain(|host| !grouped.contains(host));
            for host in (0..hosts).filter(|host| !grouped.contains(host)) {
                if ungrouped.members.insert(host) {
                    ungrouped.hosts.push(host);
                }
            }
        }
        self.measure();
        Ok(())
    }

    /// The longest way from `all` to every group; there are no loops.
    fn measure(&mut self) {
        let mut waiting: Vec<usize> = self.groups.iter().map(|group| group.parents.len()).collect();
        let mut ready = VecDeque::from([ALL]);
        while let Some(id) = ready.pop_front() {
            let Some((depth, children)) = self.groups.get(id).map(|g| (g.depth, g.children.clone())) else {
                continue;
            };
            for child in children {
                if let Some(group) = self.groups.get_mut(child) {
                    group.depth = group.depth.max(depth.saturating_add(1));
                }
                if let Some(left) = waiting.get_mut(child) {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        ready.push_back(child);
                    }
                }
            }
        }
    }

    /// The hosts as Ansible lists them: `all`'s own, then group by group, level by level.
    pub fn order(&self) -> Vec<usize> {
        let mut queue = VecDeque::from([ALL]);
        let mut seen = BTreeSet::from([ALL]);
        let mut listed = BTreeSet::new();
        let mut hosts = Vec::new();
        while let Some(group) = queue.pop_front().and_then(|id| self.groups.get(id)) {
            hosts.extend(group.hosts.iter().copied().filter(|host| listed.insert(*host)));
            queue.extend(group.children.iter().copied().filter(|child| seen.insert(*child)));
        }
        hosts
    }
}

/// What Python's `int()` makes of it.
fn priority(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(yes) => Some(i64::from(*yes)),
        Value::String(text) => text.trim().parse().ok(),
        #[allow(clippy::cast_possible_truncation)]
        other => other.as_i64().or_else(|| other.as_f64().map(|f| f.trunc() as i64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_refused_and_a_diamond_is_not() {
        let mut graph = Graph::new();
        let ids: Vec<usize> = ["a", "b", "c", "d"].iter().map(|name| graph.add_group(name)).collect();
        for (parent, child) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
            graph.add_child(ids[parent], ids[child]).unwrap();
        }
        assert!(graph.add_child(ids[3], ids[0]).unwrap_err().contains("'a' below 'd' is a loop"));
        assert!(graph.add_child(ids[0], ids[0]).is_err());
        graph.reconcile().unwrap();
        let depths: Vec<usize> = graph.groups.iter().map(|group| group.depth).collect();
        assert_eq!(depths, [0, 1, 1, 2, 2, 3]);
    }

    #[test]
    fn a_loop_through_all_is_found_at_the_end() {
        let mut graph = Graph::new();
        let top = graph.add_group("top");
        graph.add_child(top, ALL).unwrap();
        assert!(graph.reconcile().is_err());
    }

    #[test]
    fn a_host_without_a_group_is_ungrouped_and_one_with_a_group_is_not() {
        let mut graph = Graph::new();
        let web = graph.add_group("web");
        graph.add_host("loose", ALL, None);
        graph.add_host("both", UNGROUPED, Some(22));
        graph.add_host("both", web, Some(23));
        graph.reconcile().unwrap();
        assert_eq!(graph.groups[UNGROUPED].hosts, [0]);
        assert_eq!(graph.order(), [0, 1]);
        assert_eq!(graph.hosts[1].vars["ansible_port"].value, 22);
    }
}
