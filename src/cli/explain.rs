//! `explain`: the matrix service × member.

use super::args::{self, ExplainArgs, Format};
use super::{FAILED, GOOD, out};
use crate::error::Errors;
use crate::host::real::RealSystem;
use crate::report;
use crate::request::ResolvedCluster;
use crate::resolve::{Expectation, ResolvedService, RoleSource, Tier};

pub fn run(a: &ExplainArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let model = args::offline_model(&sys, &a.source)?;
    if a.source.format == Format::Json {
        let all: serde_json::Map<String, serde_json::Value> = model
            .clusters
            .iter()
            .map(|(n, c)| (n.clone(), report::cluster(c, &model.node.name, &model.options)))
            .collect();
        out::json(&all);
    } else {
        for (name, c) in &model.clusters {
            out::text(&matrix(name, c, model.options.roles));
        }
    }
    model.warnings.iter().for_each(|w| out::talk(&format!("warning: {w}")));
    model.failed.values().for_each(out::errors);
    Ok(if model.failed.is_empty() { GOOD } else { FAILED })
}

fn matrix(name: &str, c: &ResolvedCluster, roles: RoleSource) -> String {
    let whose = match roles {
        RoleSource::Patroni => "roles follow Patroni",
        RoleSource::Inventory => "roles are the inventory's, whatever Patroni says",
    };
    let mut head = vec!["PORT".to_owned(), "SERVICE".to_owned()];
    head.extend(c.cluster.members.iter().map(|m| m.instance.clone()));
    head.push("CHECK".into());
    let mut rows = vec![head];
    for s in &c.services {
        let mut row = vec![s.port().to_string(), s.service.clone()];
        row.extend(c.cluster.members.iter().map(|m| cell(s, &m.instance)));
        row.push(format!("{} → {}", s.check_url, meaning(s)));
        rows.push(row);
    }
    format!("{name} ({whose})\n{}\n", out::table(&rows))
}

/// One member's part in a service.
fn cell(s: &ResolvedService, instance: &str) -> String {
    let word = |t: Option<Tier>| match t {
        Some(Tier::Active) => "active",
        Some(Tier::Backup) => "backup",
        None => "-",
    };
    let Some(m) = s.servers.iter().find(|m| m.instance == instance) else { return "-".into() };
    match (word(m.as_primary), word(m.as_replica)) {
        (p, r) if p == r => p.to_owned(),
        (p, r) => format!("{r}, {p} as primary"),
    }
}

fn meaning(s: &ResolvedService) -> &'static str {
    match s.expectation {
        Expectation::Primary => "the primary",
        Expectation::Leader => "the leader",
        Expectation::Replica => "members in recovery",
        Expectation::ReadOnly => "members that can be read",
        Expectation::Check => "members whose check passes",
    }
}
