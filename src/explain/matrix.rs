//! The matrix service × member.

use crate::request::ResolvedCluster;
use crate::resolve::{Expectation, ResolvedService, Server, Tier};

/// A head and a row per service: port, service, each member's part, the check and its meaning.
#[must_use]
pub fn rows(c: &ResolvedCluster) -> Vec<Vec<String>> {
    let mut head = vec!["PORT".to_owned(), "SERVICE".to_owned()];
    head.extend(c.cluster.members.iter().map(|m| m.instance.clone()));
    head.push("CHECK".into());
    let row = |s: &ResolvedService| {
        let mut row = vec![s.port().to_string(), s.service.clone()];
        row.extend(c.cluster.members.iter().map(|m| cell(server(s, &m.instance))));
        row.push(format!("{} → {}", s.check_url, meaning(s)));
        row
    };
    std::iter::once(head).chain(c.services.iter().map(row)).collect()
}

/// A member as a service sees it; `None` for one that is in no tier under any role.
#[must_use]
pub fn server<'a>(s: &'a ResolvedService, instance: &str) -> Option<&'a Server> {
    s.servers.iter().find(|m| m.instance == instance)
}

/// One member's part in a service: in one tier, in none, or as its live role has it.
#[must_use]
pub fn cell(m: Option<&Server>) -> String {
    let Some(m) = m else { return "-".into() };
    match (m.as_primary, m.as_replica) {
        (p, r) if p == r => word(p).to_owned(),
        (p, None) => format!("{} while primary", word(p)),
        (None, r) => format!("{} while replica", word(r)),
        (p, r) => format!("{}, {} as primary", word(r), word(p)),
    }
}

#[must_use]
pub fn word(tier: Option<Tier>) -> &'static str {
    match tier {
        Some(Tier::Active) => "active",
        Some(Tier::Backup) => "backup",
        None => "-",
    }
}

/// Whom a service's check lets through.
#[must_use]
pub fn meaning(s: &ResolvedService) -> &'static str {
    match s.expectation {
        Expectation::Primary => "the primary",
        Expectation::Leader => "the leader",
        Expectation::Replica => "members in recovery",
        Expectation::ReadOnly => "members that can be read",
        Expectation::Check => "members whose check passes",
    }
}
