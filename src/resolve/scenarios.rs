//! The distributions of live roles that matter, and who a selector selects under each. No tier is decided here.

use serde_json::Value;

use super::RoleSource;
use crate::error::Error;
use crate::inventory::member::Member;
use crate::selector::{self, Candidates, Selector};

/// The members under every distribution of the live roles that matters: each member that changes roles is primary once.
pub(super) struct Scenarios {
    seqs: Vec<u64>,
    changes: Vec<bool>,
    /// Who is primary (an index), and the members as they then are.
    all: Vec<(Option<usize>, Candidates)>,
}

impl Scenarios {
    pub(super) fn new(members: &[Member], roles: RoleSource) -> Self {
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
        let as_written = |m: &Member| m.vars.clone();
        let all = if changes.contains(&true) {
            primaries.into_iter().map(|p| (p, Candidates::new(&scenario(members, &changes, p)))).collect()
        } else {
            vec![(inventory, Candidates::new(&members.iter().map(as_written).collect::<Vec<_>>()))]
        };
        Self { seqs: members.iter().map(|m| m.seq).collect(), changes, all }
    }

    /// For each member: selected as primary, selected as replica. For a member of a fixed role both are the same.
    pub(super) fn choose(&self, cluster: &str, text: &str) -> Result<Vec<(bool, bool)>, Error> {
        let selector = Selector::compile(text)?;
        // An expression that does not look at roles gives the same answer in every scenario.
        let names = selector::identifiers(text);
        let blind = !names.iter().any(|n| n == "pg_role") && !selector::needs_all_variables(text);
        let mut rows: Vec<(Option<usize>, Vec<bool>)> = Vec::new();
        for (primary, candidates) in &self.all {
            let found = selector.select(candidates)?;
            let row =
                self.seqs.iter().map(|s| found.iter().any(|f| f.seq == *s && f.cluster == cluster)).collect();
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

fn scenario(members: &[Member], changes: &[bool], primary: Option<usize>) -> Vec<crate::inventory::Vars> {
    let role = |i: usize, m: &Member| match (changes.get(i), primary == Some(i)) {
        (Some(true), true) => "primary".to_owned(),
        (Some(true), false) => "replica".to_owned(),
        _ => m.role.clone(),
    };
    let with_role = |(i, m): (usize, &Member)| {
        let mut vars = m.vars.clone();
        vars.insert("pg_role".into(), Value::from(role(i, m)));
        vars
    };
    members.iter().enumerate().map(with_role).collect()
}
