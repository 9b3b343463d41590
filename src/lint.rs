//! Findings on an inventory: what is wrong, what is allowed and yet rarely meant. Pure; nothing is looked up.
//!
//! [`view`] is what rules see, [`rules`] are the rules, [`sink`] collects what they find, [`ignore`] leaves out what an
//! operator said is meant. What [`human`] and [`sarif`] make of it is the same for every edge.

use std::fmt;

use serde::Serialize;

use crate::error::Errors;
use crate::inventory::{Inventory, Place};
use crate::resolve::RoleSource;

pub mod human;
mod ignore;
mod place;
mod rules;
pub mod sarif;
mod sink;
mod view;

pub use rules::{RULES, rule};
use sink::Sink;
pub use sink::unreadable;
use view::View;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Note,
    Warning,
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing to look for.
pub struct Rule {
    /// Never used again for something else.
    pub code: &'static str,
    /// The code for people: `lag-zero`.
    pub name: &'static str,
    pub severity: Severity,
    pub title: &'static str,
    /// Why it matters, with the source where it is not ours.
    pub reason: &'static str,
    /// What to do, where a finding does not say it better.
    pub fix: &'static str,
    /// Variables of the group of a cluster of three (primary, replica, offline) that the rule finds, and a near miss; with
    /// hosts of their own below `hosts:`, or a whole inventory from `all:` on.
    pub bad: &'static str,
    pub good: &'static str,
    check: fn(&View<'_>, &mut Sink),
}

/// One finding, with a code that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub code: &'static str,
    pub name: &'static str,
    pub severity: Severity,
    /// The cluster it is about; none where it is about nodes or files.
    pub cluster: Option<String>,
    /// Where it was written; unknown in JSON, and of what is not written anywhere.
    pub place: Option<Place>,
    /// `service 'replica' of pg-test`.
    pub object: String,
    pub what: String,
    pub why: &'static str,
    pub fix: String,
}

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// By cluster, place and code.
    pub findings: Vec<Finding>,
    /// What was left out because an operator said so, with the reason.
    pub ignored: Vec<(Finding, String)>,
}

impl Found {
    /// How many of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }
}

/// Everything worth a second look in the named clusters of an inventory. `roles` is what a flag says, else the inventory's
/// own word counts.
#[must_use]
pub fn lint(inventory: &Inventory, clusters: &[String], roles: Option<RoleSource>) -> Found {
    let view = View::new(inventory, clusters, roles);
    let mut sink = Sink::default();
    for rule in RULES {
        sink.rule = Some(rule);
        (rule.check)(&view, &mut sink);
    }
    ignore::apply(&view, sink)
}

/// An inventory that cannot be read at all, as findings.
#[must_use]
pub fn broken(errors: &Errors) -> Found {
    Found { findings: errors.0.iter().map(unreadable).collect(), ignored: Vec::new() }
}

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
