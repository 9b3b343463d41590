//! A service as its operator defined it: both dialects, the documented defaults, and every error at once.
//! Which members serve it is decided in `resolve`, never here.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Errors, nearest};
use crate::value;

mod options;
pub use options::ServerOptions;

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

const V1_KEYS: [&str; 12] = [
    "name", "src_ip", "src_port", "dst_port", "check_method", "check_port", "check_url", "check_code",
    "selector", "selector_backup", "haproxy", "description",
];
const V2_KEYS: [&str; 11] = [
    "name", "ip", "port", "dest", "check", "selector", "backup", "maxconn", "balance", "options",
    "description",
];
const HAPROXY_KEYS: [&str; 3] = ["maxconn", "balance", "default_server_options"];
/// Keys that tell a dialect: all but those both have.
const V1_ONLY: [&str; 9] = [
    "src_ip", "src_port", "dst_port", "check_method", "check_port", "check_url", "check_code",
    "selector_backup", "haproxy",
];
const V2_ONLY: [&str; 7] = ["ip", "port", "dest", "check", "backup", "maxconn", "options"];

/// Balance algorithms that make sense for PostgreSQL connections (HAProxy manual, "balance"), TCP mode.
const BALANCE: [&str; 6] = ["roundrobin", "static-rr", "leastconn", "first", "source", "random"];

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
            "selector": "[]", "haproxy": {"maxconn": 3000, "balance": "roundrobin",
            "default_server_options": "inter 3s fastinter 1s downinter 5s rise 3 fall 3 on-marked-down shutdown-sessions maxconn 3000 maxqueue 128 weight 100"}}),
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
        Some(v) => errors
            .take(value::word("name", v, "-_", 63).map_err(|e| e.within(&place)))
            .unwrap_or_default(),
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
    match (V1_ONLY.iter().any(|k| map.contains_key(*k)), V2_ONLY.iter().any(|k| map.contains_key(*k))) {
        (true, false) => Some(Dialect::V1),
        (false, true) => Some(Dialect::V2),
        _ => None,
    }
}

/// One entry while it is read.
struct Entry<'a> {
    map: &'a Map<String, Value>,
    place: String,
    errors: Errors,
}

impl Entry<'_> {
    fn dialect(&mut self) -> Option<Dialect> {
        let has = |keys: &[&'static str]| -> Vec<&'static str> {
            keys.iter().copied().filter(|k| self.map.contains_key(*k)).collect()
        };
        let (one, two) = (has(&V1_ONLY), has(&V2_ONLY));
        if let (Some(a), Some(b)) = (one.first(), two.first()) {
            let what = format!("mixes two dialects: '{}' and '{}'", one.join("', '"), two.join("', '"));
            let hint = format!("write the whole entry with src_port … (v1.5) or with port … (today's); '{a}' and '{b}' never stand together");
            self.errors.push(Error::new(&self.place, what).hint(hint));
            return None;
        }
        let dialect = if two.is_empty() { Dialect::V1 } else { Dialect::V2 };
        let known = if dialect == Dialect::V1 { &V1_KEYS[..] } else { &V2_KEYS[..] };
        unknown(&mut self.errors, &self.place, self.map, known);
        Some(dialect)
    }

    fn v1(&mut self, name: String, pool: Target) -> Option<Service> {
        if let Some(method) = self.text("check_method")
            && method != "http"
        {
            self.bad("check_method", &format!("'{method}' is not supported"), "http is the only method");
        }
        let haproxy = match value::given(self.map.get("haproxy")) {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(other) => {
                self.bad("haproxy", &format!("{} is no map", value::show(other)), "a map with maxconn, balance, default_server_options");
                Map::new()
            }
        };
        let at = format!("{}: haproxy", self.place);
        unknown(&mut self.errors, &at, &haproxy, &HAPROXY_KEYS);
        let sources = self.sources("src_ip");
        let port = self.port("src_port");
        let target = self.target("dst_port", pool, None);
        let check_port = self.check_port();
        let check_url = self.check_url("check_url", "/");
        let check_code = self.check_code();
        let selector = self.selector("selector");
        let selector_backup = self.optional_selector("selector_backup");
        let mut inner = Entry { map: &haproxy, place: at, errors: Errors::default() };
        let (maxconn, balance) = (inner.maxconn(), inner.balance());
        let options = inner.options("default_server_options");
        self.errors.0.append(&mut inner.errors.0);
        Some(Service {
            name, sources, port: port?, target: target?, check_port: check_port?, check_url, check_code: check_code?,
            selector: selector?, selector_backup, maxconn: maxconn?, balance: balance?, options: options?,
            dialect: Dialect::V1,
        })
    }

    fn v2(&mut self, name: String, pool: Target) -> Option<Service> {
        let sources = self.sources("ip");
        let port = self.port("port");
        let target = self.target("dest", pool, Some("default"));
        let check_url = self.check_url("check", "/");
        let selector = self.selector("selector");
        let selector_backup = self.optional_selector("backup");
        let (maxconn, balance) = (self.maxconn(), self.balance());
        let options = self.options("options");
        Some(Service {
            name, sources, port: port?, target: target?, check_port: CheckPort::Patroni, check_url, check_code: 200,
            selector: selector?, selector_backup, maxconn: maxconn?, balance: balance?, options: options?,
            dialect: Dialect::V2,
        })
    }

    fn bad(&mut self, field: &str, what: &str, hint: &str) {
        self.errors.push(Error::new(format!("{}: {field}", self.place), what).hint(hint));
    }

    fn keep<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        let place = self.place.clone();
        self.errors.take(result.map_err(|e| e.within(&place)))
    }

    fn get(&self, field: &str) -> Option<&Value> {
        value::given(self.map.get(field))
    }

    fn text(&mut self, field: &str) -> Option<String> {
        let read = value::text(field, self.get(field)?);
        self.keep(read)
    }

    fn sources(&mut self, field: &str) -> Vec<Source> {
        let values = match self.get(field) {
            None => return vec![Source::Any],
            Some(Value::Array(list)) => list.clone(),
            Some(Value::String(s)) => s.split(',').map(|p| json!(p.trim())).collect(),
            Some(other) => vec![other.clone()],
        };
        if values.is_empty() {
            self.bad(field, "is an empty list: no address", "leave it out, or use \"*\", vip or an IP address");
        }
        let mut sources = Vec::new();
        for v in &values {
            match v.as_str() {
                Some("*") => sources.push(Source::Any),
                Some("vip") => sources.push(Source::Vip),
                Some(text) => match text.trim_matches(['[', ']']).parse::<IpAddr>() {
                    Ok(ip) => sources.push(Source::Address(ip)),
                    Err(_) => self.bad(field, &format!("{} is no address", value::show(v)), "use \"*\", vip or an IP address"),
                },
                None => self.bad(field, &format!("{} is no address", value::show(v)), "use \"*\", vip or an IP address"),
            }
        }
        sources.dedup();
        let v4 = |s: &Source| matches!(s, Source::Vip | Source::Address(IpAddr::V4(_)));
        if sources.contains(&Source::Any) && sources.iter().any(v4) {
            self.bad(field, "'*' stands beside other addresses", "'*' is every IPv4 address of the node; '::' adds IPv6");
        }
        sources
    }

    fn port(&mut self, field: &str) -> Option<u16> {
        let Some(v) = self.get(field) else {
            self.bad(field, "is missing", "every service needs a port of its own to listen on");
            return None;
        };
        let read = value::port(field, v);
        self.keep(read)
    }

    fn target(&mut self, field: &str, pool: Target, inherit: Option<&str>) -> Option<Target> {
        match self.get(field) {
            None => Some(pool),
            Some(Value::String(s)) if Some(s.as_str()) == inherit => Some(pool),
            Some(v) => {
                let read = parse_target(field, v);
                self.keep(read)
            }
        }
    }

    fn check_port(&mut self) -> Option<CheckPort> {
        let read = match self.get("check_port") {
            None => return Some(CheckPort::Patroni),
            Some(Value::String(s)) if s == "patroni" => return Some(CheckPort::Patroni),
            Some(Value::String(s)) if s == "pg_exporter" => return Some(CheckPort::PgExporter),
            Some(v) => value::port("check_port", v)
                .map(CheckPort::Port)
                .map_err(|e| e.hint("patroni, pg_exporter or a port number")),
        };
        self.keep(read)
    }

    /// A path that may stand unquoted in `http-check send … uri`: HAProxy truncates at `#` and splits at white space.
    fn check_url(&mut self, field: &str, default: &str) -> String {
        let Some(url) = self.text(field) else { return default.to_owned() };
        // Escapes excuse the percent signs only: what stands behind one is looked at all the same.
        let special = if percent_is_escape(&url) { "\"'\\#`${}<>^|" } else { "\"'\\#`$%{}<>^|" };
        if let Some(bad) = url.chars().find(|c| !c.is_ascii_graphic() || special.contains(*c)) {
            self.bad(field, &format!("'{}' holds {bad:?}", url.escape_debug()), "a plain path such as /replica?lag=16MB");
        } else if !url.starts_with('/') {
            self.bad(field, &format!("'{url}' does not start with '/'"), &format!("did you mean '/{url}'?"));
        } else if url.len() > 1024 {
            self.bad(field, "is longer than 1024 characters", "a plain path such as /replica?lag=16MB");
        }
        url
    }

    fn check_code(&mut self) -> Option<u16> {
        let Some(v) = self.get("check_code") else { return Some(200) };
        let read = value::integer("check_code", v, 100, 599);
        self.keep(read).and_then(|n| u16::try_from(n).ok())
    }

    fn selector(&mut self, field: &str) -> Option<String> {
        if self.get(field).is_none() {
            self.bad(field, "is missing", "\"[]\" selects every member of the cluster");
            return None;
        }
        self.optional_selector(field)
    }

    fn optional_selector(&mut self, field: &str) -> Option<String> {
        let v = self.get(field)?;
        match v {
            Value::String(s) => Some(s.clone()),
            Value::Array(list) if list.is_empty() => {
                self.bad(field, "[] is an empty list, no selector", "quote it: \"[]\" selects every member");
                None
            }
            other => {
                self.bad(field, &format!("{} is no selector", value::show(other)), "a JMESPath expression as text, quoted: \"[? pg_role == `replica` ]\"");
                None
            }
        }
    }

    fn maxconn(&mut self) -> Option<u32> {
        let Some(v) = self.get("maxconn") else { return Some(3000) };
        let read = value::integer("maxconn", v, 1, 1_000_000);
        self.keep(read).and_then(|n| u32::try_from(n).ok())
    }

    fn balance(&mut self) -> Option<String> {
        let text = match self.get("balance") {
            None => return Some("roundrobin".into()),
            Some(_) => self.text("balance")?,
        };
        if BALANCE.contains(&text.as_str()) {
            return Some(text);
        }
        let hint = match nearest(&text, BALANCE) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("one of {}", BALANCE.join(", ")),
        };
        self.bad("balance", &format!("unknown algorithm '{}'", text.escape_debug()), &hint);
        None
    }

    fn options(&mut self, field: &str) -> Option<ServerOptions> {
        let text = match self.get(field) {
            None => return Some(ServerOptions::reference()),
            Some(_) => self.text(field)?,
        };
        match options::parse(&text) {
            Ok(options) => Some(options),
            Err(errors) => {
                for e in errors.0 {
                    self.errors.push(e.within(&format!("{}: {field}", self.place)));
                }
                None
            }
        }
    }
}

/// Whether every `%` begins a percent escape.
fn percent_is_escape(url: &str) -> bool {
    url.split('%').skip(1).all(|rest| {
        let mut digits = rest.chars();
        digits.next().is_some_and(|c| c.is_ascii_hexdigit()) && digits.next().is_some_and(|c| c.is_ascii_hexdigit())
    })
}

/// A target: `postgres`, `pgbouncer` or a port, as a number or as a string that is one.
///
/// # Errors
/// Anything else.
pub fn parse_target(field: &str, v: &Value) -> Result<Target, Error> {
    match v.as_str() {
        Some("postgres") => Ok(Target::Postgres),
        Some("pgbouncer") => Ok(Target::Pgbouncer),
        _ => value::port(field, v).map(Target::Port).map_err(|e| e.hint("postgres, pgbouncer or a port number")),
    }
}

/// Unknown keys, each with the nearest known one.
fn unknown(errors: &mut Errors, place: &str, map: &Map<String, Value>, known: &[&str]) {
    for key in map.keys().filter(|k| !known.contains(&k.as_str())) {
        let error = Error::new(place, format!("unknown field '{}'", key.escape_debug()));
        errors.push(match nearest(key, known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint(format!("known fields: {}", known.join(", "))),
        });
    }
}

#[cfg(test)]
mod tests;
