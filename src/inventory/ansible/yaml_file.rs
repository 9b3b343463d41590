//! A YAML inventory file into the graph: groups with `hosts`, `children` and `vars`, as Ansible's yaml plugin reads it.

use super::graph::{self, Graph};
use super::range;
use crate::error::{Error, Errors, nearest};
use crate::inventory::Var;
use crate::inventory::yaml::{At, Entry, Node};

/// What is read into, and what is said of it.
pub struct Target<'a> {
    /// The file, as errors name it.
    pub file: &'a str,
    pub graph: &'a mut Graph,
    pub errors: &'a mut Errors,
    pub warnings: &'a mut Vec<String>,
}

impl Target<'_> {
    pub fn error(&mut self, at: At, what: impl Into<String>, hint: &str) {
        self.errors.push(Error::new(at.text(self.file), what).hint(hint));
    }

    pub fn warn(&mut self, at: At, what: impl AsRef<str>) {
        self.warnings.push(format!("{}: {}", at.text(self.file), what.as_ref()));
    }

    /// An entry of a mapping as a variable.
    pub fn var(&self, entry: &Entry) -> Var {
        graph::var(entry, self.file)
    }
}

/// Reads the top level: every key is a group.
pub fn read(target: &mut Target<'_>, root: &Node) {
    if root.get("plugin").is_some_and(|plugin| !plugin.is_falsy()) {
        let at = root.at;
        target.error(
            at,
            "the configuration of an inventory plugin, which only Ansible can run",
            "`ansible-inventory -i THIS --list | pgsvc … -i -`",
        );
        return;
    }
    for entry in root.as_map().unwrap_or_default() {
        group(target, entry);
    }
}

/// Reads a group and what is below it. The depth limit of the file bounds the recursion.
fn group(target: &mut Target<'_>, entry: &Entry) -> Option<usize> {
    let body = &entry.value;
    if !body.is_null() && body.as_map().is_none() {
        target.warn(
            entry.at,
            format!("'{}' is skipped: a group is a mapping, this is {}", entry.key, body.kind()),
        );
        return target.graph.group_id(&entry.key);
    }
    if !entry.text {
        target.error(
            entry.at,
            format!("{} as the name of a group is no string", entry.key),
            "put it in quotes",
        );
        return None;
    }
    if entry.key.is_empty() {
        target.error(entry.at, "a group without a name", "give it one");
        return None;
    }
    let id = target.graph.add_group(&entry.key);
    for section in body.as_map().unwrap_or_default() {
        match section.key.as_str() {
            "vars" => each(target, entry, section, |target, var| {
                let value = target.var(var);
                if let Err(what) = target.graph.set_group_var(id, &var.key, value) {
                    target.error(var.at, what, "give it a number");
                }
            }),
            "children" => each(target, entry, section, |target, child| children(target, id, child)),
            "hosts" => each(target, entry, section, |target, host| hosts(target, id, host)),
            other => unknown(target, entry, section, other),
        }
    }
    Some(id)
}

/// Goes through a section, which is a mapping, nothing, or one bare name.
fn each(
    target: &mut Target<'_>,
    group: &Entry,
    section: &Entry,
    mut take: impl FnMut(&mut Target<'_>, &Entry),
) {
    let body = &section.value;
    if let Some(entries) = body.as_map() {
        for entry in entries {
            take(target, entry);
        }
    } else if let Some(name) = body.as_str() {
        let value = Node::null(body.at);
        take(target, &Entry { key: name.to_owned(), text: true, at: body.at, value });
    } else if !body.is_null() {
        let what = format!(
            "Invalid \"{}\" entry for \"{}\" group, requires a dictionary, found {} instead",
            section.key,
            group.key,
            body.kind()
        );
        target.error(section.at, what, "write `name:` and not `- name`, each with a colon behind it");
    }
}

fn children(target: &mut Target<'_>, parent: usize, entry: &Entry) {
    let Some(child) = group(target, entry) else {
        if entry.text && !entry.key.is_empty() {
            target.error(
                entry.at,
                format!("the group '{}' is not defined", entry.key),
                "give it a mapping, or nothing",
            );
        }
        return;
    };
    if let Err(what) = target.graph.add_child(parent, child) {
        target.error(entry.at, what, "a group cannot be above itself");
    }
}

fn hosts(target: &mut Target<'_>, group: usize, entry: &Entry) {
    if !entry.text {
        let what = format!("Host pattern {} must be a string", entry.key);
        target.error(entry.at, what, "enclose integers/floats in quotation marks");
        return;
    }
    let (names, port) = match range::expand(&entry.key) {
        Ok((names, port)) if !entry.key.is_empty() => (names, port),
        Ok(_) => return target.error(entry.at, "a host without a name", "give it one"),
        Err(what) => {
            let what = format!("the host pattern '{}' {what}", entry.key);
            return target.error(entry.at, what, "ranges are [1:9], [01:09], [a:f], [1:9:2]");
        }
    };
    if entry.value.as_map().is_none() && !entry.value.is_falsy() {
        let what = format!("the variables of host '{}' are {}, not a mapping", entry.key, entry.value.kind());
        return target.error(entry.value.at, what, "write `variable: value` below the host");
    }
    for name in names {
        target.graph.add_host(&name, group, port);
        for var in entry.value.as_map().unwrap_or_default() {
            let value = target.var(var);
            if let Err(what) = target.graph.set_host_var(&name, &var.key, value) {
                target.error(var.at, what, "give it a number");
            }
        }
    }
}

fn unknown(target: &mut Target<'_>, group: &Entry, section: &Entry, key: &str) {
    if section.value.is_null() {
        return;
    }
    let meant = match nearest(key, ["hosts", "children", "vars"]) {
        Some(name) => format!("did you mean '{name}'?"),
        None => {
            "only \"vars\", \"children\" and \"hosts\" are valid; a variable belongs below `vars:`".to_owned()
        }
    };
    target.warn(section.at, format!("the key '{key}' of group '{}' is skipped: {meant}", group.key));
}
