//! One entry of a list of services, field by field. What an entry means beside its own fields is decided elsewhere.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::options::{self, ServerOptions};
use super::{CheckPort, Dialect, Service, Source, Target, parse_target};
use crate::error::{Error, Errors, Kind, nearest};
use crate::resolve::{Expectation, expectation};
use crate::value;

const V1_KEYS: [&str; 12] = [
    "name",
    "src_ip",
    "src_port",
    "dst_port",
    "check_method",
    "check_port",
    "check_url",
    "check_code",
    "selector",
    "selector_backup",
    "haproxy",
    "description",
];
const V2_KEYS: [&str; 11] = [
    "name",
    "ip",
    "port",
    "dest",
    "check",
    "selector",
    "backup",
    "maxconn",
    "balance",
    "options",
    "description",
];
const HAPROXY_KEYS: [&str; 3] = ["maxconn", "balance", "default_server_options"];
/// Keys that tell a dialect: all but those both have.
pub(super) const V1_ONLY: [&str; 9] = [
    "src_ip",
    "src_port",
    "dst_port",
    "check_method",
    "check_port",
    "check_url",
    "check_code",
    "selector_backup",
    "haproxy",
];
pub(super) const V2_ONLY: [&str; 7] = ["ip", "port", "dest", "check", "backup", "maxconn", "options"];

/// Balance algorithms that make sense for PostgreSQL connections (HAProxy manual, "balance"), TCP mode.
const BALANCE: [&str; 6] = ["roundrobin", "static-rr", "leastconn", "first", "source", "random"];

/// One entry while it is read.
pub(super) struct Entry<'a> {
    pub(super) map: &'a Map<String, Value>,
    pub(super) place: String,
    pub(super) errors: Errors,
}

impl Entry<'_> {
    pub(super) fn dialect(&mut self) -> Option<Dialect> {
        let map = self.map;
        let has = |keys: &'static [&'static str]| keys.iter().copied().filter(|key| map.contains_key(*key));
        let (one, two) = (has(&V1_ONLY).next(), has(&V2_ONLY).next());
        if let (Some(a), Some(b)) = (one, two) {
            let all = |keys| has(keys).collect::<Vec<_>>().join("', '");
            let what = format!("mixes two dialects: '{}' and '{}'", all(&V1_ONLY), all(&V2_ONLY));
            let hint = format!(
                "write the whole entry with src_port … (v1.5) or with port … (today's); '{a}' and '{b}' never stand together"
            );
            self.errors.push(Error::new(&self.place, what).hint(hint).kind(Kind::MixedDialects));
            return None;
        }
        let dialect = if two.is_none() { Dialect::V1 } else { Dialect::V2 };
        let known = if dialect == Dialect::V1 { &V1_KEYS[..] } else { &V2_KEYS[..] };
        unknown(&mut self.errors, &self.place, self.map, known);
        Some(dialect)
    }

    pub(super) fn v1(&mut self, name: String, pool: Target) -> Option<Service> {
        if let Some(method) = self.text("check_method")
            && method != "http"
        {
            self.bad("check_method", &format!("'{method}' is not supported"), "http is the only method");
        }
        let haproxy = match value::given(self.map.get("haproxy")) {
            None => Map::new(),
            Some(Value::Object(map)) => map.clone(),
            Some(other) => {
                self.bad(
                    "haproxy",
                    &format!("{} is no map", value::show(other)),
                    "a map with maxconn, balance, default_server_options",
                );
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
        let is_patroni = check_port == Some(CheckPort::Patroni);
        let expects = expectation(&check_url, check_code.unwrap_or(200), is_patroni);
        let options = inner.options("default_server_options", expects);
        self.errors.0.append(&mut inner.errors.0);
        Some(Service {
            name,
            sources,
            port: port?,
            target: target?,
            check_port: check_port?,
            check_url,
            check_code: check_code?,
            selector: selector?,
            selector_backup,
            maxconn: maxconn?,
            balance: balance?,
            options: options?,
            dialect: Dialect::V1,
        })
    }

    pub(super) fn v2(&mut self, name: String, pool: Target) -> Option<Service> {
        let sources = self.sources("ip");
        let port = self.port("port");
        let target = self.target("dest", pool, Some("default"));
        let check_url = self.check_url("check", "/");
        let selector = self.selector("selector");
        let selector_backup = self.optional_selector("backup");
        let (maxconn, balance) = (self.maxconn(), self.balance());
        let options = self.options("options", expectation(&check_url, 200, true));
        Some(Service {
            name,
            sources,
            port: port?,
            target: target?,
            check_port: CheckPort::Patroni,
            check_url,
            check_code: 200,
            selector: selector?,
            selector_backup,
            maxconn: maxconn?,
            balance: balance?,
            options: options?,
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
            self.bad(
                field,
                "is an empty list: no address",
                "leave it out, or use \"*\", vip or an IP address",
            );
        }
        let mut sources = Vec::new();
        for v in &values {
            match v.as_str() {
                Some("*") => sources.push(Source::Any),
                Some("vip") => sources.push(Source::Vip),
                Some(text) => match text.trim_matches(['[', ']']).parse::<IpAddr>() {
                    Ok(ip) => sources.push(Source::Address(ip)),
                    Err(_) => self.bad(
                        field,
                        &format!("{} is no address", value::show(v)),
                        "use \"*\", vip or an IP address",
                    ),
                },
                None => self.bad(
                    field,
                    &format!("{} is no address", value::show(v)),
                    "use \"*\", vip or an IP address",
                ),
            }
        }
        sources.dedup();
        let v4 = |s: &Source| matches!(s, Source::Vip | Source::Address(IpAddr::V4(_)));
        if sources.contains(&Source::Any) && sources.iter().any(v4) {
            self.bad(
                field,
                "'*' stands beside other addresses",
                "'*' is every IPv4 address of the node; '::' adds IPv6",
            );
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
            self.bad(
                field,
                &format!("'{}' holds {bad:?}", url.escape_debug()),
                "a plain path such as /replica?lag=16MB",
            );
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
                self.bad(
                    field,
                    &format!("{} is no selector", value::show(other)),
                    "a JMESPath expression as text, quoted: \"[? pg_role == `replica` ]\"",
                );
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

    fn options(&mut self, field: &str, expectation: Expectation) -> Option<ServerOptions> {
        let text = match self.get(field) {
            None => return Some(ServerOptions::default_of(expectation)),
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
        digits.next().is_some_and(|c| c.is_ascii_hexdigit())
            && digits.next().is_some_and(|c| c.is_ascii_hexdigit())
    })
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
