//! The distributions of live roles that matter, and who a selector selects under each. No tier is decided here.

use std::cell::OnceCell;

use serde_json::Value;

use super::RoleSource;
use crate::error::Error;
use crate::inventory::member::Member;
use crate::selector::{Candidate, Candidates, Selector};
use crate::service::Service;

/// The members under every distribution of the live roles that matters: each member that changes roles is primary once.
pub(super) struct Scenarios<'c> {
    members: &'c [Member],
    services: &'c [Service],
    roles: RoleSource,
    /// Who is primary (an index). The inventory's own first: members whose role is fixed are judged by that scenario.
    primaries: Vec<Option<usize>>,
    /// Made where a selector has to see all members.
    both: OnceCell<Vec<Both>>,
    primary: Value,
    replica: Value,
}

/// A member under either role; one of a fixed role is the same under both.
struct Both {
    primary: Candidate,
    replica: Candidate,
}

impl<'c> Scenarios<'c> {
    pub(super) fn new(members: &'c [Member], services: &'c [Service], roles: RoleSource) -> Self {
        let inventory: Option<usize> = members.iter().position(|m| m.role == "primary");
        let mut primaries: Vec<Option<usize>> =
            members.iter().enumerate().filter(|(_, m)| changes(roles, m)).map(|(i, _)| Some(i)).collect();
        primaries.sort_by_key(|p| *p != inventory);
        if primaries.is_empty() {
            primaries.push(inventory);
        } else if primaries.len() < 2 {
            primaries.push(None);
        }
        let (primary, replica) = (Value::from("primary"), Value::from("replica"));
        Self { members, services, roles, primaries, both: OnceCell::new(), primary, replica }
    }

    fn both(&self) -> &[Both] {
        self.both.get_or_init(|| {
            let naming = naming(self.services);
            let named =
                |all: &Vec<Selector>, name: &str| all.iter().any(|s| s.names().iter().any(|n| n == name));
            let needed = |name: &str| {
                IDENTITY.contains(&name) || naming.as_ref().is_none_or(|selectors| named(selectors, name))
            };
            let both = |m: &Member| {
                let written = Candidate::new(m.vars.iter(), needed);
                let under = |role: &str| {
                    let other = changes(self.roles, m) && m.role != role;
                    if other { written.with(ROLE, role) } else { written.clone() }
                };
                Both { primary: under("primary"), replica: under("replica") }
            };
            self.members.iter().map(both).collect()
        })
    }

    /// For each member: selected as primary, selected as replica. For a member of a fixed role both are the same.
    pub(super) fn choose(&self, text: &str) -> Result<Vec<(bool, bool)>, Error> {
        let selector = Selector::compile(text)?;
        // An expression that does not look at roles gives the same answer in every scenario.
        let blind = !selector.names().iter().any(|n| n == ROLE) && !selector.needs_all_variables();
        match self.members.iter().map(|m| self.alone(m, &selector, blind)).collect() {
            Some(each) => each,
            None => self.together(&selector, blind),
        }
    }

    /// `None` where a selector has to see the others too.
    fn alone(&self, m: &Member, selector: &Selector, blind: bool) -> Option<Result<(bool, bool), Error>> {
        let under = |role| selector.takes(|name| if name == ROLE { Some(role) } else { m.vars.get(name) });
        if blind || !changes(self.roles, m) {
            return Some(selector.takes(|name| m.vars.get(name))?.map(|takes| (takes, takes)));
        }
        let (as_primary, as_replica) = (under(&self.primary)?, under(&self.replica)?);
        Some(as_primary.and_then(|p| Ok((p, as_replica?))))
    }

    /// The same where who is selected depends on who else is there.
    fn together(&self, selector: &Selector, blind: bool) -> Result<Vec<(bool, bool)>, Error> {
        let mut rows: Vec<(Option<usize>, Vec<usize>)> = Vec::new();
        for primary in &self.primaries {
            rows.push((*primary, selector.select(&self.scenario(*primary))?));
            if blind {
                break;
            }
        }
        let at =
            |row: Option<&(Option<usize>, Vec<usize>)>, i: usize| row.map(|(_, found)| found.contains(&i));
        let answer = |i: usize, changes: bool| {
            let first = at(rows.first(), i).unwrap_or(false);
            if blind || !changes {
                return (first, first);
            }
            let as_primary = at(rows.iter().find(|(p, _)| *p == Some(i)), i).unwrap_or(first);
            let as_replica = at(rows.iter().find(|(p, _)| *p != Some(i)), i).unwrap_or(first);
            (as_primary, as_replica)
        };
        Ok(self.members.iter().enumerate().map(|(i, m)| answer(i, changes(self.roles, m))).collect())
    }

    fn scenario(&self, primary: Option<usize>) -> Candidates {
        let one = |(i, m): (usize, &Both)| if primary == Some(i) { &m.primary } else { &m.replica }.clone();
        self.both().iter().enumerate().map(one).collect()
    }
}

/// Whether a member is looked at under either role.
fn changes(roles: RoleSource, m: &Member) -> bool {
    roles == RoleSource::Patroni && m.changes_role()
}

/// The services' selectors, where they look at no variables but those they name; `None`: they may look at all.
fn naming(services: &[Service]) -> Option<Vec<Selector>> {
    let texts = services.iter().flat_map(|s| std::iter::once(&s.selector).chain(&s.selector_backup));
    // One that does not compile is told where it is used.
    let selectors = texts.filter_map(|text| Selector::compile(text).ok());
    selectors.map(|s| s.only_named_variables().then_some(s)).collect()
}

const ROLE: &str = "pg_role";
/// The variables that tell a member.
const IDENTITY: [&str; 3] = ["pg_cluster", "pg_seq", ROLE];
