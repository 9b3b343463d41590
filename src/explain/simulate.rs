//! Where every port leads in a given state of the members: rows for people, JSON for programs. What leads where is
//! `resolve::states`' word.

use serde_json::{Map, Value, json};

use super::matrix::word;
use crate::request::ResolvedCluster;
use crate::resolve::states::{Lead, States, lead};

/// Patroni's health endpoints, in the forms that services use and in some that are read in their own way.
const PATHS: [&str; 27] = [
    "/",
    "/primary",
    "/primary?lag=1MB",
    "/master",
    "/read-write",
    "/leader",
    "/standby-leader",
    "/standby_leader",
    "/replica",
    "/replica?lag=16MB",
    "/replica?lag=0x10MB",
    "/replica?lag=1.5GB",
    "/replica?lag=10mb",
    "/replica?tag_rack=a",
    "/read-only",
    "/read-only?lag=16MB",
    "/read-only?tag_rack=a",
    "/health",
    "/health?tag_rack=a",
    "/sync",
    "/synchronous",
    "/sync?lag=16MB",
    "/async",
    "/asynchronous",
    "/async?lag=16MB",
    "/read-only-sync",
    "/read-only-synchronous",
];

/// Each member's state.
#[must_use]
pub fn members(c: &ResolvedCluster, states: &States) -> Vec<Vec<String>> {
    let row = |i: &String| vec![i.clone(), states.get(i).map(|s| s.in_words()).unwrap_or_default()];
    let head = ["MEMBER", "STATE"].map(str::to_owned).to_vec();
    std::iter::once(head).chain(c.cluster.members.iter().map(|m| row(&m.instance))).collect()
}

/// Each port: whom it leads to, and by which tier.
#[must_use]
pub fn ports(c: &ResolvedCluster, states: &States) -> Vec<Vec<String>> {
    let mut rows = vec![["PORT", "SERVICE", "LEADS TO", "TIER"].map(str::to_owned).to_vec()];
    for s in &c.services {
        let l = lead(s, states);
        let to = if l.members.is_empty() { nobody(&l).to_owned() } else { l.members.join(", ") };
        rows.push(vec![s.port().to_string(), s.service.clone(), to, word(l.tier).to_owned()]);
    }
    rows
}

fn nobody(l: &Lead) -> &'static str {
    if l.refused { "nobody (refused: two would serve)" } else { "nobody" }
}

/// Why members do not serve: of the services that lead to nobody, or of all.
#[must_use]
pub fn reasons(c: &ResolvedCluster, states: &States, all: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for s in &c.services {
        let l = lead(s, states);
        if !all && !l.members.is_empty() {
            continue;
        }
        let to = if l.members.is_empty() { nobody(&l).to_owned() } else { l.members.join(", ") };
        lines.push(format!("{} leads to {to}", s.service));
        lines.extend(l.others.iter().map(|(m, why)| format!("    not to {m}: {why}")));
    }
    lines
}

/// The whole simulation: the members with their states and Patroni's answers, and the services.
#[must_use]
pub fn json(c: &ResolvedCluster, words: &str, states: &States) -> Value {
    let own = c.services.iter().filter(|s| s.check_is_patroni).map(|s| s.check_url.as_str());
    let paths: Vec<&str> = PATHS.into_iter().chain(own).collect();
    let mut members = Map::new();
    for (name, state) in states.iter() {
        // Null where nobody answers.
        let answers: Map<String, Value> =
            paths.iter().map(|p| ((*p).to_owned(), state.says(p).into())).collect();
        members.insert(name.to_owned(), json!({"state": state.in_words(), "answers": answers}));
    }
    let mut services = Map::new();
    for s in &c.services {
        let l = lead(s, states);
        let why: Map<String, Value> = l.others.into_iter().map(|(m, why)| (m, why.into())).collect();
        services.insert(
            s.service.clone(),
            json!({"port": s.port(), "leads_to": l.members, "tier": l.tier, "refused": l.refused, "why_not": why}),
        );
    }
    json!({"state": words, "members": members, "services": services})
}
