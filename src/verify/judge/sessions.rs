//! What the connections through a port showed: who was reached, who was not, and who may not be. HAProxy's own view is
//! not asked here.

use std::collections::BTreeSet;

use super::member::{Candidate, LINGERS};
use super::{Contact, Evidence, PortResult, Who};
use crate::resolve::{Expectation, Server, Tier};

/// Two members that both claim to be the primary.
pub(super) fn primaries(e: &Evidence<'_>, result: &mut PortResult) {
    let claims = |m: &&Candidate<'_>| {
        matches!(&m.state.api, Ok(api) if api.leader)
            || matches!(&m.state.postgres, Contact::Session(w) if !w.in_recovery)
    };
    let names: Vec<&str> = e.members.iter().filter(claims).map(|m| m.server.instance.as_str()).collect();
    let matters = matches!(e.service.expectation, Expectation::Primary | Expectation::Leader);
    if names.len() > 1 && matters {
        result.why.push(format!("two primaries: {}", names.join(" and ")));
    }
}

/// Who was reached, and whether it may be.
pub(super) fn found(e: &Evidence<'_>, serving: &[&Candidate<'_>], result: &mut PortResult) {
    let mut seen: Vec<String> = Vec::new();
    for contact in &e.contacts {
        match contact {
            Contact::Session(who) => {
                let (name, known) = name_of(e, who);
                let role = if who.in_recovery { "replica" } else { "primary" };
                let label = format!("{name} ({role})");
                if seen.contains(&label) {
                    continue;
                }
                if let Some(why) = objection(e, serving, &name, known, who) {
                    result.why.push(why);
                }
                seen.push(label);
            }
            Contact::Full(why) => result.why.push(format!("a member is reached but full ({why})")),
            Contact::Login(why) => result.why.push(format!("login refused ({why}): nothing is proven")),
            Contact::Failed(why) if !serving.is_empty() => {
                result.why.push(format!("connection failed: {why}"))
            }
            Contact::Closed if !serving.is_empty() => result.why.push(closed(e)),
            Contact::Handshake if serving.is_empty() => {
                result.why.push("a server answers, and no member is to serve it".into());
            }
            Contact::Handshake | Contact::Failed(_) | Contact::Closed => {}
        }
    }
    result.why.sort();
    result.why.dedup();
    result.notes.dedup();
    seen.sort();
    result.found = seen;
}

/// How many servers were reached; one that changed its role between two sessions counts twice.
#[must_use]
pub fn reached(e: &Evidence<'_>) -> usize {
    let session = |c: &Contact| match c {
        Contact::Session(who) => Some((name_of(e, who).0, who.in_recovery)),
        _ => None,
    };
    e.contacts.iter().filter_map(session).collect::<BTreeSet<_>>().len()
}

/// Why HAProxy closes a connection without a word: nobody is up, or the guard sees too many that are.
fn closed(e: &Evidence<'_>) -> String {
    let up = |m: &&Candidate<'_>| m.view.iter().any(|v| v.tier == Tier::Active && v.up);
    let up: Vec<&str> = e.members.iter().filter(up).map(|m| m.server.instance.as_str()).collect();
    if e.service.guarded && up.len() > 1 {
        return format!("refused while more than one member is up for the primary: {}", up.join(", "));
    }
    "closed at once: the load balancer has no server for it".into()
}

/// The member a session is on, and whether it is one of the service's.
fn name_of(e: &Evidence<'_>, who: &Who) -> (String, bool) {
    let same =
        |c: &Contact| matches!(c, Contact::Session(w) if w.start == who.start && w.system == who.system);
    let direct = e.members.iter().find(|m| same(&m.target) || same(&m.state.postgres));
    if let Some(m) = direct {
        return (m.server.instance.clone(), true);
    }
    match e.outsiders.iter().find(|(_, c)| same(c)) {
        Some((name, _)) => (name.clone(), false),
        None => ("an unknown server".into(), false),
    }
}

fn objection(
    e: &Evidence<'_>,
    serving: &[&Candidate<'_>],
    name: &str,
    known: bool,
    who: &Who,
) -> Option<String> {
    let systems: Vec<&String> =
        e.members.iter().filter_map(|m| m.state.api.as_ref().ok()?.system.as_ref()).collect();
    if let Some(system) = who.system.as_ref().filter(|s| !systems.is_empty() && !systems.contains(s)) {
        return Some(format!("leads to a foreign cluster (system identifier {system})"));
    }
    if !known {
        return Some(format!("leads to {name}, which is not a member of the service"));
    }
    match (e.service.expectation, who.in_recovery) {
        (Expectation::Primary, true) => return Some(format!("leads to {name}, which is a replica")),
        (Expectation::Replica, false) => return Some(format!("leads to {name}, which is the primary")),
        _ => {}
    }
    if serving.iter().any(|m| m.server.instance == name) {
        return None;
    }
    let member = e.members.iter().find(|m| m.server.instance == name);
    let tier = member.and_then(Candidate::tier_now);
    let role = if who.in_recovery { "a replica" } else { "the primary" };
    Some(match (serving.is_empty(), tier) {
        (false, Some(Tier::Backup)) => {
            let names: Vec<_> = serving.iter().map(|m| m.server.instance.as_str()).collect();
            format!("leads to {name} ({role}), a backup, while {} can serve", names.join(", "))
        }
        _ if member.is_some_and(Candidate::lingers) => format!("leads to {name} ({role}), {LINGERS}"),
        (_, None) => format!("leads to {name} ({role}), which does not belong to it in that role"),
        _ => format!("leads to {name} ({role}), whose health check fails"),
    })
}

/// More connections than this prove little more.
pub(super) const MOST_CONTACTS: usize = 128;

/// How many connections must have reached each of these members by their weights, with others' in between.
pub fn enough(servers: &[&Server]) -> usize {
    let turns = |rounds: usize, per_round: usize| rounds.saturating_mul(per_round).saturating_add(2);
    let total: usize = servers.iter().map(|s| usize::from(s.weight)).sum();
    let least = servers.iter().map(|s| usize::from(s.weight)).min().unwrap_or(1).max(1);
    turns(3, servers.len()).max(turns(2, total.div_ceil(least))).min(MOST_CONTACTS)
}

/// Members that must be reached and were not.
pub(super) fn missing(
    e: &Evidence<'_>,
    serving: &[&Candidate<'_>],
    tier: Option<Tier>,
    result: &mut PortResult,
) {
    let sessions = e.contacts.iter().any(|c| matches!(c, Contact::Session(_)));
    let spreads = matches!(e.service.balance.as_str(), "roundrobin" | "static-rr" | "leastconn" | "random");
    if tier.is_none() || !sessions {
        return;
    }
    let total: usize = serving.iter().map(|m| usize::from(m.server.weight)).sum();
    for m in serving {
        let name = &m.server.instance;
        let share = usize::from(m.server.weight);
        let due = e.contacts.len().saturating_mul(share) >= total;
        if !result.found.iter().any(|f| f.starts_with(&format!("{name} ("))) {
            let text = format!("{name} was not reached in {} connections", e.contacts.len());
            match (spreads, due) {
                (true, true) => result.why.push(text),
                (true, false) => result.notes.push(format!("{text}: its weight is {share} of {total}")),
                (false, _) => result.notes.push(format!("{text} (balance {})", e.service.balance)),
            }
        }
    }
}
