//! Where rules put what they find, and how it becomes findings: the same thing said of many objects is said once.

use std::collections::BTreeMap;

use super::rules::{self, INVALID};
use super::view::ClusterView;
use super::{Finding, Rule, Severity};
use crate::error::Error;
use crate::inventory::{Host, Place};

/// What a finding is about.
#[derive(Debug, Clone, Default)]
pub struct Object {
    pub cluster: Option<String>,
    pub service: Option<String>,
    pub host: Option<String>,
    /// In an operator's words.
    pub name: String,
}

/// Something found, before it is known whether it is to be ignored.
pub struct Raw {
    pub rule: &'static Rule,
    pub severity: Severity,
    pub place: Option<Place>,
    pub object: Object,
    pub what: String,
    /// Better than the rule's own; empty where there is none.
    pub fix: String,
    /// An apply refuses it too: nobody can ignore that.
    pub refused: bool,
}

#[derive(Default)]
pub struct Sink {
    /// The rule that looks.
    pub rule: Option<&'static Rule>,
    pub found: Vec<Raw>,
}

impl Sink {
    pub fn add(&mut self, object: Object, place: Option<Place>, what: String) -> Option<&mut Raw> {
        self.add_as(self.rule.unwrap_or(&INVALID), object, place, what)
    }

    /// The same for a rule that is known by something else than who looks.
    pub fn add_as(
        &mut self,
        rule: &'static Rule,
        object: Object,
        place: Option<Place>,
        what: String,
    ) -> Option<&mut Raw> {
        let fix = String::new();
        let raw = Raw { rule, severity: rule.severity, place, object, what, fix, refused: false };
        self.found.push(raw);
        self.found.last_mut()
    }

    /// Something on a service, at the first of these fields that its entry has.
    pub fn service(
        &mut self,
        c: &ClusterView<'_>,
        name: &str,
        fields: &[&str],
        what: impl Into<String>,
    ) -> Option<&mut Raw> {
        let object = Object {
            cluster: Some(c.cluster.name.clone()),
            service: Some(name.to_owned()),
            host: None,
            name: format!("service '{name}' of {}", c.cluster.name),
        };
        self.add(object, c.service_place(name, fields), what.into())
    }

    /// Something on a cluster, at the first of these variables that a member has.
    pub fn cluster(
        &mut self,
        c: &ClusterView<'_>,
        names: &[&str],
        what: impl Into<String>,
    ) -> Option<&mut Raw> {
        let place = c.place(names).or_else(|| c.place(&["pg_cluster"]));
        self.add(of_cluster(c), place, what.into())
    }

    /// Something on a host's variable; `cluster` is the one it is said of.
    pub fn host(&mut self, host: &Host, name: &str, what: impl Into<String>) -> Option<&mut Raw> {
        let object = Object {
            host: Some(host.name.clone()),
            name: format!("host '{}'", host.name),
            ..Object::default()
        };
        self.add(object, host.place(name).cloned(), what.into())
    }
}

pub fn of_cluster(c: &ClusterView<'_>) -> Object {
    let name = c.cluster.name.clone();
    Object { name: format!("cluster '{name}'"), cluster: Some(name), ..Object::default() }
}

impl Raw {
    /// Without the objects: those of one finding are joined later.
    fn finding(&self) -> Finding {
        let fix = if self.fix.is_empty() { self.rule.fix.to_owned() } else { self.fix.clone() };
        Finding {
            code: self.rule.code,
            name: self.rule.name,
            severity: self.severity,
            cluster: self.object.cluster.clone(),
            place: self.place.clone(),
            object: self.object.name.clone(),
            what: self.what.clone(),
            why: self.rule.reason,
            fix,
        }
    }
}

/// Findings in order: by cluster, then as they stand in the files. What is said of many objects for one place, or of the
/// hosts of nobody's, is said once.
pub fn joined(found: &[Raw]) -> Vec<Finding> {
    let mut kept: BTreeMap<_, (Finding, Vec<&str>)> = BTreeMap::new();
    for raw in found {
        let at = raw.place.as_ref().map(|p| (p.file.as_str(), p.line, p.column));
        let apart = if raw.object.cluster.is_some() && at.is_none() { raw.object.name.as_str() } else { "" };
        let key = (raw.rule.code, at, raw.what.as_str(), apart);
        let (finding, objects) = kept.entry(key).or_insert_with(|| (raw.finding(), Vec::new()));
        // What is said of many clusters is none's own.
        if finding.cluster != raw.object.cluster {
            finding.cluster = None;
        }
        if !objects.contains(&raw.object.name.as_str()) {
            objects.push(&raw.object.name);
        }
    }
    let mut findings: Vec<Finding> = kept.into_values().map(|(f, objects)| named(f, &objects)).collect();
    let at = |f: &Finding| f.place.as_ref().map(|p| (p.file.clone(), p.line, p.column));
    findings.sort_unstable_by(|a, b| (&a.cluster, at(a), a.code).cmp(&(&b.cluster, at(b), b.code)));
    findings
}

/// As many objects as one line holds.
const NAMED: usize = 3;

fn named(mut finding: Finding, objects: &[&str]) -> Finding {
    let more = objects.len().saturating_sub(NAMED);
    finding.object = objects.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if more > 0 {
        finding.object.push_str(&format!(" and {more} more"));
    }
    finding
}

/// An error of reading, whose place is a file's, as a finding.
pub fn unreadable(error: &Error) -> Finding {
    let (place, object) = in_file(&error.place);
    let raw = Raw {
        rule: &INVALID,
        severity: Severity::Error,
        place,
        object: Object { name: object, ..Object::default() },
        what: error.what.clone(),
        fix: error.hint.clone(),
        refused: true,
    };
    raw.finding()
}

/// `file:line:column` → a place and the file; anything else is an object.
pub fn in_file(text: &str) -> (Option<Place>, String) {
    let mut parts = text.rsplitn(3, ':');
    let (column, line) = (parts.next(), parts.next());
    let number = |t: Option<&str>| t.and_then(|t| t.parse::<usize>().ok());
    match (number(line), number(column), parts.next()) {
        (Some(line), Some(column), Some(file)) => {
            (Some(Place { file: file.to_owned(), line, column }), file.to_owned())
        }
        _ => (None, text.to_owned()),
    }
}

/// The rule that an error belongs to.
pub fn rule_of(error: &Error) -> &'static Rule {
    use crate::error::Kind;
    match error.kind {
        Kind::Other => &INVALID,
        Kind::DuplicateName => &rules::DUPLICATE_NAME,
        Kind::DuplicatePort => &rules::DUPLICATE_PORT,
        Kind::MixedDialects => &rules::MIXED_DIALECTS,
        Kind::ListenerName => &rules::LISTENER_NAME,
        Kind::NoVip => &rules::NO_VIP,
        Kind::VipTwice => &rules::VIP_TWICE,
        Kind::VipUnable => &rules::VIP_UNABLE,
    }
}
