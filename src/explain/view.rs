//! What is drawn of clusters: ports, their tiers, members. Every word is chosen here; formats only place and escape them.

use crate::request::ResolvedCluster;
use crate::resolve::{ResolvedService, Server, Tier, When};

/// All that one drawing shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drawing {
    pub clusters: Vec<Part>,
}

/// One cluster's part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// Lines of text each.
    pub members: Vec<Vec<String>>,
    pub ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub label: String,
    /// The active tier, and the backup tier where there is one.
    pub tiers: Vec<TierBox>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TierBox {
    pub backup: bool,
    pub label: String,
    pub lines: Vec<Line>,
}

/// A tier's line to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The place in `Part::members`.
    pub member: usize,
    pub name: String,
    /// When and how much: `while replica, weight 40`; empty for a plain member.
    pub note: String,
}

impl Drawing {
    #[must_use]
    pub fn new<'a>(clusters: impl IntoIterator<Item = &'a ResolvedCluster>) -> Self {
        Self { clusters: clusters.into_iter().map(part).collect() }
    }
}

fn part(c: &ResolvedCluster) -> Part {
    let member = |m: &crate::inventory::member::Member| {
        let fixed = if m.changes_role() { String::new() } else { format!(", {}", m.role) };
        vec![m.instance.clone(), format!("{}{fixed}", m.address)]
    };
    Part {
        name: c.cluster.name.clone(),
        members: c.cluster.members.iter().map(member).collect(),
        ports: c.services.iter().map(|s| port(c, s)).collect(),
    }
}

fn port(c: &ResolvedCluster, s: &ResolvedService) -> Port {
    let tier = |t: Tier| {
        let lines = s.tier(t).into_iter().filter_map(|(m, when)| {
            let member = c.cluster.members.iter().position(|x| x.instance == m.instance)?;
            Some(Line { member, name: m.instance.clone(), note: note(m, t, when) })
        });
        let lines: Vec<Line> = lines.collect();
        let code = if s.check_code == 200 { String::new() } else { format!(" = {}", s.check_code) };
        let name = if t == Tier::Active { "active" } else { "backup" };
        let label = format!("{name}: {}{code}", s.check_url);
        (t == Tier::Active || !lines.is_empty()).then_some(TierBox {
            backup: t == Tier::Backup,
            label,
            lines,
        })
    };
    let tiers = [Tier::Active, Tier::Backup].into_iter().filter_map(tier).collect();
    Port { label: format!("{} {}", s.port(), s.service), tiers }
}

fn note(m: &Server, tier: Tier, when: When) -> String {
    let both = m.tier(true) == m.tier(false);
    let role = match when {
        _ if both => None,
        _ if m.tier(true) == Some(tier) => Some("while primary".to_owned()),
        _ => Some("while replica".to_owned()),
    };
    let weight = (m.weight != 100).then(|| format!("weight {}", m.weight));
    role.into_iter().chain(weight).collect::<Vec<_>>().join(", ")
}
