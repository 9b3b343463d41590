//! An INI inventory into the graph, as Ansible's ini plugin reads it. Values are `literal`'s matter.

use std::collections::BTreeMap;

use super::graph::UNGROUPED;
use super::yaml_file::Target;
use super::{literal, range, shell};
use crate::inventory::Var;
use crate::inventory::yaml::At;

/// What the lines below a section header are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hosts,
    Vars,
    Children,
}

/// A group that was named before it was declared.
enum Pending {
    Vars { line: usize },
    Child { line: usize, parents: Vec<String> },
}

struct Reader<'t, 'a> {
    target: &'t mut Target<'a>,
    pending: BTreeMap<String, Pending>,
    /// The group and the kind of the section that is being read.
    group: usize,
    name: String,
    kind: Kind,
}

const SECTIONS: &str = "sections are [group], [group:vars] and [group:children], without spaces";

/// Reads all lines; every wrong one is told.
pub fn read(target: &mut Target<'_>, text: &str) {
    let name = "ungrouped".to_owned();
    let mut reader = Reader { target, pending: BTreeMap::new(), group: UNGROUPED, name, kind: Kind::Hosts };
    for (number, raw) in text.split('\n').enumerate() {
        let line = raw.trim();
        let indent = raw.len().saturating_sub(raw.trim_start().len());
        let at = At { line: number.saturating_add(1), column: indent.saturating_add(1) };
        if !line.is_empty() && !line.starts_with(['#', ';']) {
            reader.line(line, at);
        }
    }
    let pending = std::mem::take(&mut reader.pending);
    for (name, declared) in pending {
        let (line, what) = match declared {
            Pending::Vars { line } => (line, format!("[{name}:vars] is of a group that is declared nowhere")),
            Pending::Child { line, parents } => {
                let parent = parents.last().map_or("", String::as_str);
                (line, format!("[{parent}:children] names the group '{name}', which is declared nowhere"))
            }
        };
        reader.target.error(
            At { line, column: 1 },
            what,
            &format!("add a section [{name}], even an empty one"),
        );
    }
}

impl Reader<'_, '_> {
    fn line(&mut self, line: &str, at: At) {
        match section(line) {
            Some((name, kind)) => return self.section(name, kind, at),
            None if line.starts_with('[') && line.ends_with(']') => {
                return self.target.error(at, format!("'{line}' is no section"), SECTIONS);
            }
            None => {}
        }
        match self.kind {
            Kind::Hosts => self.host(line, at),
            Kind::Vars => self.var(line, at),
            Kind::Children => self.child(line, at),
        }
    }

    fn section(&mut self, name: &str, kind: &str, at: At) {
        let kind = match kind {
            "" | "hosts" => Kind::Hosts,
            "vars" => Kind::Vars,
            "children" => Kind::Children,
            other => {
                return self.target.error(
                    at,
                    format!("the section [{name}:{other}] is of no known kind"),
                    SECTIONS,
                );
            }
        };
        let known = self.target.graph.group_id(name).is_some();
        if !known && kind == Kind::Vars && !self.pending.contains_key(name) {
            self.pending.insert(name.to_owned(), Pending::Vars { line: at.line });
        }
        self.group = self.target.graph.add_group(name);
        name.clone_into(&mut self.name);
        self.kind = kind;
        if kind != Kind::Vars {
            self.declared(name, at);
        }
    }

    /// A group is declared at last: it goes below those that named it, and they below theirs.
    fn declared(&mut self, name: &str, at: At) {
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            let Some(Pending::Child { parents, .. }) = self.pending.remove(&name) else { continue };
            for parent in parents {
                self.link(&parent, &name, at);
                if matches!(self.pending.get(&parent), Some(Pending::Child { .. })) {
                    open.push(parent);
                }
            }
        }
    }

    fn link(&mut self, parent: &str, child: &str, at: At) {
        let graph = &mut self.target.graph;
        if let (Some(parent), Some(child)) = (graph.group_id(parent), graph.group_id(child))
            && let Err(what) = graph.add_child(parent, child)
        {
            self.target.error(at, what, "a group cannot be above itself");
        }
    }

    fn child(&mut self, line: &str, at: At) {
        let Some(child) = group_name(line) else {
            return self.target.error(
                at,
                format!("'{line}' is no group name"),
                "one name a line below [group:children]",
            );
        };
        if self.target.graph.group_id(child).is_some() {
            let parent = self.name.clone();
            return self.link(&parent, child, at);
        }
        let parent = self.name.clone();
        let fresh = Pending::Child { line: at.line, parents: Vec::new() };
        if let Pending::Child { parents, .. } = self.pending.entry(child.to_owned()).or_insert(fresh) {
            parents.push(parent);
        }
    }

    fn var(&mut self, line: &str, at: At) {
        let Some((key, value)) = line.split_once('=') else {
            return self.target.error(
                at,
                format!("'{line}' is no key=value"),
                "one `key=value` a line below [group:vars]",
            );
        };
        let var = Var::flat(literal::value(value.trim()), at.place(self.target.file));
        if let Err(what) = self.target.graph.set_group_var(self.group, key.trim(), var) {
            self.target.error(at, what, "give it a number");
        }
    }

    fn host(&mut self, line: &str, at: At) {
        let words = match shell::split(line) {
            Ok(words) => words,
            Err(what) => {
                return self.target.error(
                    at,
                    format!("the line of a host has {what}"),
                    "close it, or quote the value",
                );
            }
        };
        let Some((pattern, words)) = words.split_first() else { return };
        if let Some(word) = words.iter().find(|word| !word.contains('=')) {
            // The word itself may be a part of a password with a space in it.
            let shown = if word.len() < 20 { word.as_str() } else { "a word" };
            return self.target.error(
                at,
                format!("{shown} is no key=value"),
                "quote values with spaces: key=\"a b\"",
            );
        }
        let (names, port) = match range::expand(pattern) {
            Ok(found) => found,
            Err(what) => {
                let what = format!("the host pattern '{pattern}' {what}");
                return self.target.error(at, what, "ranges are [1:9], [01:09], [a:f], [1:9:2]");
            }
        };
        if pattern == "---" || pattern.ends_with(':') && port.is_none() || pattern.is_empty() {
            return self.target.error(
                at,
                format!("'{pattern}' is no host"),
                "is this YAML? then name the file .yml",
            );
        }
        for name in names {
            self.target.graph.add_host(&name, self.group, port);
            for (key, value) in words.iter().filter_map(|word| word.split_once('=')) {
                let offset = line.find(&format!("{key}=")).unwrap_or(0);
                let at = At { line: at.line, column: at.column.saturating_add(offset) };
                let var = Var::flat(literal::value(value), at.place(self.target.file));
                if let Err(what) = self.target.graph.set_host_var(&name, key, var) {
                    self.target.error(at, what, "give it a number");
                }
            }
        }
    }
}

/// `[name]` or `[name:kind]`, and perhaps a comment.
fn section(line: &str) -> Option<(&str, &str)> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    let (name, kind) = inside.split_once(':').unwrap_or((inside, ""));
    let word =
        kind.chars().all(|c| c.is_alphanumeric() || c == '_') && (!kind.is_empty() || !inside.contains(':'));
    let named = !name.is_empty() && !name.contains(char::is_whitespace);
    ((rest.is_empty() || rest.starts_with('#')) && word && named).then_some((name, kind))
}

/// A name, and perhaps a comment.
fn group_name(line: &str) -> Option<&str> {
    let end = line.find(|c: char| c.is_whitespace() || c == '#').unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end)?;
    let rest = rest.trim_start();
    let good = !name.is_empty() && !name.contains([':', ']']);
    (good && (rest.is_empty() || rest.starts_with('#'))).then_some(name)
}
