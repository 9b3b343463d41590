//! A member of a cluster: an instance with its address, ports and variables. No service may be known here.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use super::{PLACED, Vars, is_plain, needed};
use crate::error::{Error, Errors, nearest};
use crate::value;

/// Roles of the inventory (`pg_role`). Only the first two change places at a failover.
pub const ROLES: [&str; 5] = ["primary", "replica", "offline", "standby", "delayed"];

/// The variables of a member that pgsvc itself reads.
pub const KNOWN: [&str; 13] = [
    "inventory_hostname",
    "ansible_host",
    "pg_cluster",
    "pg_seq",
    "pg_role",
    "pg_offline_query",
    "pg_weight",
    "pg_port",
    "pgbouncer_port",
    "patroni_port",
    "pg_exporter_port",
    "patroni_ssl_enabled",
    "pg_service_provider",
];

/// One instance of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    /// The inventory hostname.
    pub host: String,
    pub cluster: String,
    /// `pg_seq`.
    pub seq: u64,
    /// `<cluster>-<seq>`: the server's name in HAProxy, and the instance's name in the field.
    pub instance: String,
    /// An IP address or a name the load balancer resolves.
    pub address: String,
    /// `pg_role` of the inventory; `replica` where none is given.
    pub role: String,
    pub pg_port: u16,
    pub pgbouncer_port: u16,
    pub patroni_port: u16,
    pub pg_exporter_port: u16,
    /// Patroni's API speaks TLS (`patroni_ssl_enabled`).
    pub patroni_ssl: bool,
    /// `pg_weight`, 0 to 256; 0 drains the member.
    pub weight: Option<u16>,
    /// All variables a selector may name, the known ones with their proper types.
    #[serde(skip)]
    pub vars: Vars,
}

impl Member {
    /// Whether Patroni may make it primary or replica at a failover, as far as the inventory tells.
    pub fn changes_role(&self) -> bool {
        matches!(self.role.as_str(), "primary" | "replica")
    }
}

/// Reads a member from its variables. Without `lists`, the lists of services among them are known by name only: every
/// member of a cluster has the same.
///
/// # Errors
/// Everything that is missing, of the wrong type, vaulted or not yet templated.
pub fn parse(host: &str, vars: &Vars, lists: bool) -> Result<Member, Errors> {
    let mut reader = Reader { host, vars, errors: Errors::default() };
    let cluster = reader.word("pg_cluster");
    let seq = reader.required("pg_seq").and_then(|v| reader.keep(value::integer("pg_seq", &v, 0, 999_999)));
    let role = reader.role();
    let ports = [
        reader.port("pg_port", 5432),
        reader.port("pgbouncer_port", 6432),
        reader.port("patroni_port", 8008),
        reader.port("pg_exporter_port", 9630),
    ];
    let patroni_ssl = reader.boolean("patroni_ssl_enabled");
    let offline = reader.boolean("pg_offline_query");
    let weight = reader
        .get("pg_weight")
        .and_then(|v| reader.keep(value::integer("pg_weight", &v, 0, 256)))
        .and_then(|n| u16::try_from(n).ok());
    let address = reader.address();
    let (Some(cluster), Some(seq), Some(address)) = (cluster, seq, address) else {
        return Err(reader.errors);
    };
    let [pg_port, pgbouncer_port, patroni_port, pg_exporter_port] = ports;
    let known = |name: &str| lists || !PLACED.contains(&name);
    let mut member = Member {
        host: host.to_owned(),
        instance: format!("{cluster}-{seq}"),
        cluster,
        seq,
        address,
        role,
        pg_port,
        pgbouncer_port,
        patroni_port,
        pg_exporter_port,
        patroni_ssl,
        weight,
        vars: vars.emptied(known),
    };
    normalise(&mut member, offline);
    reader.errors.finish(member)
}

/// Strings that are numbers or booleans become what they mean: `"false"` is truthy in JMESPath.
fn normalise(member: &mut Member, offline_query: bool) {
    let Member { vars, .. } = member;
    vars.set("pg_cluster", member.cluster.as_str());
    vars.set("pg_seq", member.seq);
    vars.set("pg_role", member.role.as_str());
    vars.set("inventory_hostname", member.host.as_str());
    vars.set("instance", member.instance.as_str());
    vars.correct("pg_offline_query", offline_query);
    vars.correct("patroni_ssl_enabled", member.patroni_ssl);
    vars.correct("pg_port", member.pg_port);
    vars.correct("pgbouncer_port", member.pgbouncer_port);
    vars.correct("patroni_port", member.patroni_port);
    vars.correct("pg_exporter_port", member.pg_exporter_port);
    vars.correct("pg_weight", Value::from(member.weight));
}

struct Reader<'a> {
    host: &'a str,
    vars: &'a Vars,
    errors: Errors,
}

impl<'a> Reader<'a> {
    fn keep<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        let host = self.host;
        self.errors.take(result.map_err(|e| e.within(&format!("host '{host}'"))))
    }

    fn get(&mut self, name: &str) -> Option<Cow<'a, Value>> {
        let raw = self.vars.get(name)?;
        if is_plain(raw) {
            return value::given(Some(raw)).map(Cow::Borrowed);
        }
        match needed(self.vars, name, self.host) {
            Ok(v) => v.filter(|v| value::given(Some(v)).is_some()).map(Cow::Owned),
            Err(e) => {
                self.errors.push(e);
                None
            }
        }
    }

    fn required(&mut self, name: &str) -> Option<Cow<'a, Value>> {
        let before = self.errors.0.len();
        let found = self.get(name);
        if found.is_none() && self.errors.0.len() == before {
            let place = format!("host '{}'", self.host);
            self.errors.push(Error::new(place, format!("has no {name}")).hint(
                "every member of a cluster needs pg_cluster (the cluster's name) and pg_seq (its number in it)",
            ));
        }
        found
    }

    fn word(&mut self, name: &str) -> Option<String> {
        let v = self.required(name)?;
        let read = value::word(name, &v, "-_.", 63).and_then(|word| match word.chars().next() {
            Some(c @ ('.' | '-')) => Err(Error::new(name, format!("'{word}' begins with '{c}'"))
                .hint("it begins names of files, and HAProxy passes hidden ones over: a letter or a digit")),
            _ => Ok(word),
        });
        self.keep(read)
    }

    fn port(&mut self, name: &str, default: u16) -> u16 {
        self.get(name).and_then(|v| self.keep(value::port(name, &v))).unwrap_or(default)
    }

    fn boolean(&mut self, name: &str) -> bool {
        self.get(name).and_then(|v| self.keep(value::boolean(name, &v))).unwrap_or(false)
    }

    fn role(&mut self) -> String {
        let Some(v) = self.get("pg_role") else { return "replica".into() };
        let Some(role) = self.keep(value::text("pg_role", &v)) else { return String::new() };
        if !ROLES.contains(&role.as_str()) {
            let error = Error::new("pg_role", format!("unknown role '{}'", role.escape_debug()));
            let hint = match nearest(&role, ROLES) {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("one of {}", ROLES.join(", ")),
            };
            self.keep::<()>(Err(error.hint(hint)));
        }
        role
    }

    /// The inventory hostname where it is an address (Pigsty's way), else `ansible_host`, else the name itself.
    fn address(&mut self) -> Option<String> {
        let own = self.host.trim_matches(['[', ']']);
        if let Ok(ip) = own.parse::<std::net::IpAddr>() {
            return Some(ip.to_string());
        }
        let host = self.get("ansible_host").unwrap_or_else(|| Cow::Owned(Value::from(self.host)));
        let name = if self.vars.contains_key("ansible_host") { "ansible_host" } else { "inventory hostname" };
        let text = self.keep(value::word(name, &host, "-_.:", 253))?;
        match text.parse::<std::net::IpAddr>() {
            Ok(ip) => Some(ip.to_string()),
            Err(_) if !is_host_name(&text) => {
                self.keep(Err(Error::new(name, format!("'{text}' is neither an address nor a host's name"))))
            }
            Err(_) => Some(text),
        }
    }
}

/// Labels of at most 63 characters, the last one no number: `10.10.10.256` is a slip of the pen, and the C library would
/// read `1234` as an address.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |l: &str| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.contains(':');
    let number = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    text.split('.').all(label) && !text.split('.').next_back().is_none_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(host: &str, cluster: &str) -> Result<Member, Errors> {
        parse(host, &json!({"pg_cluster": cluster, "pg_seq": 1}).as_object().unwrap().into(), true)
    }

    #[test]
    fn an_address_is_an_ip_or_a_name_that_can_be_one() {
        for good in ["10.0.0.1", "[fd00::1]", "db1", "db-1.example.org", "a_b", "db.", "1a"] {
            assert!(with(good, "a").is_ok(), "{good}");
        }
        for bad in [".", "a..b", "-a", "10.10.10.256", "1234", "fd00::1::", "a:1", &"a".repeat(64)] {
            assert!(with(bad, "a").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cluster_that_haproxy_would_pass_over_is_refused() {
        for bad in [".hidden", "-f", "..", ""] {
            assert!(with("db1", bad).unwrap_err().to_string().contains("pg_cluster"), "{bad}");
        }
    }
}
