//! A service as its operator defined it: both dialects, the documented defaults, and every error at once.
//! Which members serve it is decided in `resolve`, never here.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Error, Errors};
use crate::value;

mod entry;
mod options;
mod timing;
use entry::{Entry, V1_ONLY, V2_ONLY};
pub use options::ServerOptions;
pub use timing::{Timing, says_options};

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `*`: every address of the node, IPv4 and IPv6.
    Any,
    /// `vip`: the cluster's `vip_address`.
    Vip,
    Address(IpAddr),
}

/// The port on the member that traffic goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Postgres,
    Pgbouncer,
    Port(u16),
}

/// The port on the member that is asked for its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckPort {
    Patroni,
    PgExporter,
    Port(u16),
}

/// Which of the two schemas an entry is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Dialect {
    /// The reference text's, `src_port`.
    V1,
    /// Today's, `port`.
    V2,
}

/// A service definition, all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    pub name: String,
    pub sources: Vec<Source>,
    pub port: u16,
    pub target: Target,
    pub check_port: CheckPort,
    /// Path with its query, starting with `/`.
    pub check_url: String,
    pub check_code: u16,
    pub selector: String,
    pub selector_backup: Option<String>,
    /// Most connections of the listener.
    pub maxconn: u32,
    pub balance: String,
    pub options: ServerOptions,
    pub dialect: Dialect,
}

/// The four services of the reference text.
pub fn defaults() -> Vec<Value> {
    vec![
        json!({"name": "primary", "src_ip": "*", "src_port": 5433, "dst_port": "pgbouncer",
            "check_url": "/primary", "selector": "[]"}),
        json!({"name": "replica", "src_ip": "*", "src_port": 5434, "dst_port": "pgbouncer",
            "check_url": "/read-only", "selector": "[]",
            "selector_backup": "[? pg_role == `primary` || pg_role == `offline` ]"}),
        json!({"name": "default", "src_ip": "*", "src_port": 5436, "dst_port": "postgres",
            "check_method": "http", "check_port": "patroni", "check_url": "/primary", "check_code": 200,
            "selector": "[]", "haproxy": {"maxconn": 3000, "balance": "roundrobin"}}),
        json!({"name": "offline", "src_ip": "*", "src_port": 5438, "dst_port": "postgres",
            "check_url": "/replica", "selector": "[? pg_role == `offline` || pg_offline_query ]",
            "selector_backup": "[? pg_role == `replica` && !pg_offline_query]"}),
    ]
}

/// Reads one entry. `place` names the cluster; `pool` is the cluster's `pg_default_service_dest`, pgbouncer by default.
///
/// # Errors
/// Everything that is wrong with the entry.
pub fn parse(entry: &Value, index: usize, cluster: &str, pool: Target) -> Result<Service, Errors> {
    let mut place = format!("service {} of {cluster}", index.saturating_add(1));
    let Some(map) = entry.as_object() else {
        return Err(Error::new(place, format!("{} is no service", value::show(entry)))
            .hint("a map with name, src_port, selector, …")
            .into());
    };
    let mut errors = Errors::default();
    let name = match value::given(map.get("name")) {
        None => {
            errors.push(Error::new(&place, "has no name").hint("every service needs one: name: primary"));
            String::new()
        }
        Some(v) => {
            errors.take(value::word("name", v, "-_", 63).map_err(|e| e.within(&place))).unwrap_or_default()
        }
    };
    if !name.is_empty() {
        place = format!("service '{name}' of {cluster}");
    }
    let mut entry = Entry { map, place, errors };
    let service = match entry.dialect() {
        Some(Dialect::V1) => entry.v1(name, pool),
        Some(Dialect::V2) => entry.v2(name, pool),
        None => None,
    };
    match service {
        Some(service) if entry.errors.is_empty() => Ok(service),
        _ => Err(entry.errors),
    }
}

/// The dialect of an entry by its keys; `None` where it has keys of both or of neither.
pub fn dialect_of(entry: &Value) -> Option<Dialect> {
    let map = entry.as_object()?;
    let has = |known: &[&str]| known.iter().any(|key| map.contains_key(*key));
    match (has(&V1_ONLY), has(&V2_ONLY)) {
        (true, false) => Some(Dialect::V1),
        (false, true) => Some(Dialect::V2),
        _ => None,
    }
}

/// A target: `postgres`, `pgbouncer` or a port, as a number or as a string that is one.
///
/// # Errors
/// Anything else.
pub fn parse_target(field: &str, v: &Value) -> Result<Target, Error> {
    match v.as_str() {
        Some("postgres") => Ok(Target::Postgres),
        Some("pgbouncer") => Ok(Target::Pgbouncer),
        _ => value::port(field, v)
            .map(Target::Port)
            .map_err(|e| e.hint("postgres, pgbouncer or a port number")),
    }
}

#[cfg(test)]
mod tests;
