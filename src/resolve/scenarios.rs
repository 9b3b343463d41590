//! The distributions of live roles that matter, and who a selector selects under each. No tier is decided here.

use std::collections::BTreeSet;

use super::RoleSource;
use crate::error::Error;
use crate::inventory::member::Member;
use crate::selector::{Candidate, Candidates, Selector};
use crate::service::Service;

/// The members under every distribution of the live roles that matters: each member that changes roles is primary once.
pub(super) struct Scenarios {
    changes: Vec<bool>,
    /// Who is primary (an index), and the members as they then are.
    all: Vec<(Option<usize>, Candidates)>,
}

impl Scenarios {
    pub(super) fn new(members: &[Member], services: &[Service], roles: RoleSource) -> Self {
        let changes: Vec<bool> =
            members.iter().map(|m| roles == RoleSource::Patroni && m.changes_role()).collect();
        let inventory: Option<usize> = members.iter().position(|m| m.role == "primary");
        let mut primaries: Vec<Option<usize>> =
            changes.iter().enumerate().filter(|(_, c)| **c).map(|(i, _)| Some(i)).collect();
        // The inventory's own primary first: members whose role is fixed are judged by that scenario.
        primaries.sort_by_key(|p| *p != inventory);
        if primaries.len() < 2 {
            primaries.push(None);
        }
        let named = named(services);
        let needed = |name: &str| named.as_ref().is_none_or(|n| n.contains(name));
        let as_written: Vec<Candidate> =
            members.iter().map(|m| Candidate::new(m.vars.iter(), needed)).collect();
        let all = if changes.contains(&true) {
            let both = Both::of(members, as_written, &changes);
            primaries.into_iter().map(|p| (p, scenario(&both, p))).collect()
        } else {
            vec![(inventory, as_written.into_iter().collect())]
        };
        Self { changes, all }
    }

    /// For each member: selected as primary, selected as replica. For a member of a fixed role both are the same.
    pub(super) fn choose(&self, text: &str) -> Result<Vec<(bool, bool)>, Error> {
        let selector = Selector::compile(text)?;
        // An expression that does not look at roles gives the same answer in every scenario.
        let blind = !selector.names().iter().any(|n| n == "pg_role") && !selector.needs_all_variables();
        let mut rows: Vec<(Option<usize>, Vec<bool>)> = Vec::new();
        for (primary, candidates) in &self.all {
            let found = selector.select(candidates)?;
            let row = (0..self.changes.len()).map(|i| found.contains(&i)).collect();
            rows.push((*primary, row));
            if blind {
                break;
            }
        }
        let at =
            |row: Option<&(Option<usize>, Vec<bool>)>, i: usize| row.and_then(|(_, r)| r.get(i)).copied();
        let answer = |i: usize, changes: bool| {
            let first = at(rows.first(), i).unwrap_or(false);
            if blind || !changes {
                return (first, first);
            }
            let as_primary = at(rows.iter().find(|(p, _)| *p == Some(i)), i).unwrap_or(first);
            let as_replica = at(rows.iter().find(|(p, _)| *p != Some(i)), i).unwrap_or(first);
            (as_primary, as_replica)
        };
        Ok(self.changes.iter().enumerate().map(|(i, c)| answer(i, *c)).collect())
    }
}

/// The variables that the services' selectors can look at, with those that tell a member; `None`: all.
fn named(services: &[Service]) -> Option<BTreeSet<String>> {
    let mut names: BTreeSet<String> = ["pg_cluster", "pg_seq", "pg_role"].map(str::to_owned).into();
    for text in services.iter().flat_map(|s| std::iter::once(&s.selector).chain(&s.selector_backup)) {
        // One that does not compile is told where it is used.
        let Ok(selector) = Selector::compile(text) else { continue };
        if !selector.only_named_variables() {
            return None;
        }
        names.extend(selector.names().iter().cloned());
    }
    Some(names)
}

/// A member under either role; one of a fixed role is the same under both.
struct Both {
    primary: Candidate,
    replica: Candidate,
}

impl Both {
    fn of(members: &[Member], as_written: Vec<Candidate>, changes: &[bool]) -> Vec<Self> {
        let one = |((m, written), changes): ((&Member, Candidate), &bool)| {
            let under = |role: &str| {
                if *changes && m.role != role { written.with("pg_role", role) } else { written.clone() }
            };
            Self { primary: under("primary"), replica: under("replica") }
        };
        members.iter().zip(as_written).zip(changes).map(one).collect()
    }
}

fn scenario(members: &[Both], primary: Option<usize>) -> Candidates {
    let one = |(i, m): (usize, &Both)| if primary == Some(i) { &m.primary } else { &m.replica }.clone();
    members.iter().enumerate().map(one).collect()
}
