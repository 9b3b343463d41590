//! Why a member has its place in a service: selectors, tiers, weight, check, and the lines that came of it.

use serde_json::{Map, Value};

use super::matrix;
use crate::error::{Error, nearest};
use crate::inventory::member::Member;
use crate::request::ResolvedCluster;
use crate::resolve::states::member;
use crate::resolve::why::{Selected, selected};
use crate::resolve::{Need, ResolvedService, RoleSource, Server, Tier};
use crate::service::Service;

/// The reason for one cell of the matrix.
pub struct Why {
    pub title: String,
    /// What is explained, and how.
    pub rows: Vec<(&'static str, String)>,
}

/// Explains a cell. `name` is a member's `pg_seq` or instance; `rendered` is the service's file.
///
/// # Errors
/// A service or member that the cluster does not have.
pub fn why(
    c: &ResolvedCluster,
    service: &str,
    name: &str,
    roles: RoleSource,
    rendered: &dyn Fn(&ResolvedService) -> Result<String, Error>,
) -> Result<Why, Error> {
    let s = find(c, service)?;
    let m = member(name, &c.cluster)?;
    let at = c.cluster.members.iter().position(|x| x.instance == m.instance).unwrap_or_default();
    let defined = c.cluster.services.iter().find(|d| d.name == s.service);
    let server = matrix::server(s, &m.instance);
    let mut rows = Vec::new();
    if let Some(d) = defined {
        let (active, backup) = selected(&c.cluster, d, roles, at)?;
        reasons(m, roles, d, active, backup, &mut rows);
        if let Some(server) = server {
            let from = match (m.weight, d.options.weight()) {
                (Some(_), _) => "its pg_weight",
                (None, Some(_)) => "the service's server options",
                (None, None) => "the default",
            };
            let none = if server.weight == 0 { "; it gets no connection" } else { "" };
            rows.push(("weight", format!("{} ({from}){none}", server.weight)));
        }
    }
    let check = format!("{} must answer {}: {}", s.check_url, s.check_code, matrix::meaning(s));
    rows.push(("check", check));
    if let Some(server) = server {
        rows.push(("leads to", format!("{} port {}", server.address, server.port)));
        needs(s, server, &mut rows);
    }
    let lines = lines(&rendered(s)?, &m.instance);
    if lines.is_empty() {
        rows.push(("HAProxy", "no line: it never serves here".into()));
    }
    rows.extend(lines.into_iter().map(|l| ("HAProxy", l)));
    let place = matrix::cell(server);
    let place = if place == "-" { "not a member" } else { &place };
    let title =
        format!("{} in service '{}' of {} (port {}): {place}", m.instance, s.service, s.cluster, s.port());
    Ok(Why { title, rows })
}

/// A service of a cluster.
///
/// # Errors
/// Where there is none of that name.
pub fn find<'a>(c: &'a ResolvedCluster, name: &str) -> Result<&'a ResolvedService, Error> {
    let known = c.services.iter().map(|s| s.service.as_str());
    c.services.iter().find(|s| s.service == name).ok_or_else(|| {
        let error =
            Error::new(format!("service '{name}'"), format!("{} has none of that name", c.cluster.name));
        match nearest(name, known.clone()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("it has {}", known.collect::<Vec<_>>().join(", "))),
        }
    })
}

/// What the selectors say under each role that the member may have.
fn reasons(
    m: &Member,
    roles: RoleSource,
    d: &Service,
    active: Selected,
    backup: Option<Selected>,
    rows: &mut Vec<(&'static str, String)>,
) {
    let of = |primary: bool| {
        let pick = |s: Selected| if primary { s.as_primary } else { s.as_replica };
        reason(d, pick(active), backup.map(pick))
    };
    if roles == RoleSource::Inventory {
        rows.push(("role", format!("{}, as the inventory says: pgsvc_role_source is inventory", m.role)));
        rows.push(("always", of(false)));
    } else if m.changes_role() {
        rows.push(("role", "primary or replica, as Patroni says at the time".into()));
        rows.push(("as primary", of(true)));
        rows.push(("as replica", of(false)));
    } else {
        rows.push(("role", format!("{}, which no failover changes", m.role)));
        rows.push(("always", of(false)));
    }
}

fn reason(d: &Service, active: bool, backup: Option<bool>) -> String {
    let own = format!("selector \"{}\"", d.selector);
    let other = d.selector_backup.as_deref().map(|text| format!("selector_backup \"{text}\""));
    let other = other.unwrap_or_default();
    match (active, backup) {
        (true, Some(true)) => format!("backup: {other} selects it, which goes before {own}"),
        (false, Some(true)) => format!("backup: {other} selects it"),
        (true, Some(false)) => format!("active: {own} selects it, and {other} does not"),
        (true, None) => format!("active: {own} selects it"),
        (false, Some(false)) => format!("not a member: neither {own} nor {other} selects it"),
        (false, None) => format!("not a member: {own} does not select it"),
    }
}

/// What must hold of it before each tier sends it connections.
fn needs(s: &ResolvedService, m: &Server, rows: &mut Vec<(&'static str, String)>) {
    let one = |n: Need| match n {
        Need::Http { ssl, port, path, code } => {
            format!("{} to {path} on port {port}{}", code, if ssl { " (TLS)" } else { "" })
        }
        Need::Tcp { port } => format!("port {port} takes connections"),
    };
    for (tier, title) in [(Tier::Active, "active if"), (Tier::Backup, "backup if")] {
        if let Some(when) = m.when(tier) {
            rows.push((title, s.needs(m, when).into_iter().map(one).collect::<Vec<_>>().join(", ")));
        }
    }
}

/// A member's lines in a rendered file, each with the section that it stands in.
fn lines(content: &str, instance: &str) -> Vec<String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in content.lines() {
        let mut words = line.split_whitespace();
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            section = line;
        } else if words.next() == Some("server") && words.next() == Some(instance) {
            found.push(format!("{section}: {}", line.trim()));
        }
    }
    found
}

impl Why {
    /// The same for programs: lists where something is said more than once.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("cell".into(), self.title.clone().into());
        for (name, text) in &self.rows {
            let name = name.replace(' ', "_").to_lowercase();
            match map.get_mut(&name).and_then(Value::as_array_mut) {
                Some(list) => list.push(text.clone().into()),
                None => drop(map.insert(name, Value::Array(vec![text.clone().into()]))),
            }
        }
        Value::Object(map)
    }
}
