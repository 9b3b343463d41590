//! Connection strings that an application would use. No user and no password is ever in one.
//!
//! Two ways lead to a service: through the load balancers (or the address that stands for them), which know roles, lag and
//! weights; and past them, straight to the members, where the driver itself must find one of the right role.

use std::fmt::Write;

use serde_json::{Value, json};

use super::matrix::meaning;
use crate::request::ResolvedCluster;
use crate::resolve::{Expectation, ResolvedService, Server, Tier};
use crate::value;
use crate::vip::duty::Groups;

/// A host and its port.
pub type Place = (String, u16);

/// One way to a service.
pub struct Way {
    /// The section of `pg_service.conf`.
    pub name: String,
    /// Which way it is, in words.
    pub about: &'static str,
    pub places: Vec<Place>,
    /// libpq's `target_session_attrs`; empty for any session.
    pub session: &'static str,
    /// The JDBC driver's parameters; empty for none.
    pub jdbc: &'static str,
}

/// The two ways to a service: through what stands before it, and past that.
#[must_use]
pub fn ways(c: &ResolvedCluster, s: &ResolvedService, groups: &Groups) -> [Way; 2] {
    let (hosts, about) = front(c, s, groups);
    // Through a load balancer that is right, any session is right; the primary's is worth a second look.
    let (session, jdbc) = match s.expectation {
        Expectation::Primary => ("read-write", "targetServerType=primary"),
        _ => ("", ""),
    };
    let places = hosts.into_iter().map(|h| (h, s.port())).collect();
    let through = Way { name: s.listener.clone(), about, places, session, jdbc };
    let (session, jdbc) = directly(s);
    // Drivers begin at the front: members that are backup whatever their role come last.
    let actives =
        |m: &Server| [m.as_primary, m.as_replica].into_iter().filter(|t| *t == Some(Tier::Active)).count();
    let of = |n: usize| s.servers.iter().filter(move |m| actives(m) == n);
    let members = of(2).chain(of(1)).chain(of(0));
    let places = members.map(|m| (m.address.clone(), m.port)).collect();
    // No listener has a dot after its cluster's name.
    let name = format!("{}.direct", s.listener);
    let about = if session.ends_with("standby") {
        "straight to the members, by libpq 14 or newer: no lag limit, no weights"
    } else {
        "straight to the members: no lag limit, no weights"
    };
    [through, Way { name, about, places, session, jdbc }]
}

/// What a driver must ask for that finds the member by itself: by the check's word, else by the roles under which members
/// may serve at all.
fn directly(s: &ResolvedService) -> (&'static str, &'static str) {
    const PRIMARY: (&str, &str) = ("read-write", "targetServerType=primary");
    const STANDBY: (&str, &str) = ("standby", "targetServerType=secondary&loadBalanceHosts=true");
    let any = |of: fn(&Server) -> Option<Tier>| s.servers.iter().any(|m| of(m).is_some());
    let (primary, replica) = (any(|m| m.as_primary), any(|m| m.as_replica));
    match s.expectation {
        Expectation::Primary | Expectation::Leader => PRIMARY,
        Expectation::Replica => STANDBY,
        _ if !primary => STANDBY,
        _ if !replica => PRIMARY,
        Expectation::ReadOnly => ("prefer-standby", "targetServerType=preferSecondary&loadBalanceHosts=true"),
        Expectation::Check => ("", "loadBalanceHosts=true"),
    }
}

/// Where clients find the service, and what that is.
fn front(c: &ResolvedCluster, s: &ResolvedService, groups: &Groups) -> (Vec<String>, &'static str) {
    let everywhere = s.binds.iter().any(|b| b.ip().is_unspecified());
    match c.cluster.vip {
        Some(vip) if everywhere || s.binds.iter().any(|b| b.ip() == vip) => {
            (vec![vip.to_string()], "through the VIP")
        }
        _ if everywhere => (balancers(c, groups), "through the load balancers"),
        _ => (s.binds.iter().map(|b| b.ip().to_string()).collect(), "through the service's own address"),
    }
}

/// The load balancers' addresses: the hosts of `pg_service_provider`, else the members themselves.
fn balancers(c: &ResolvedCluster, groups: &Groups) -> Vec<String> {
    let Some(hosts) = c.cluster.provider.as_ref().and_then(|name| groups.get(name)) else {
        return c.cluster.members.iter().map(|m| m.address.clone()).collect();
    };
    let address = |vars: &crate::inventory::Vars| {
        value::given(vars.get("ansible_host")).and_then(|v| value::text("ansible_host", v).ok())
    };
    hosts.iter().map(|(name, vars)| address(vars).unwrap_or_else(|| name.clone())).collect()
}

impl Way {
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let session = if self.session.is_empty() { "" } else { "?target_session_attrs=" };
        format!("{}{session}{}", url("postgres", &self.places, database), self.session)
    }

    #[must_use]
    pub fn jdbc(&self, database: &str) -> String {
        let mark = if self.jdbc.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", url("jdbc:postgresql", &self.places, database), self.jdbc)
    }

    /// libpq's keywords and values.
    #[must_use]
    pub fn dsn(&self, database: &str) -> String {
        let session = if self.session.is_empty() { "" } else { " target_session_attrs=" };
        format!("{}{session}{}", dsn(&self.places, database), self.session)
    }

    /// A section of `pg_service.conf`, the other forms above it as comments.
    #[must_use]
    pub fn section(&self, database: &str) -> String {
        let mut out = format!("# {}\n", self.about);
        for (what, text) in
            [("url ", self.url(database)), ("jdbc", self.jdbc(database)), ("libpq", self.dsn(database))]
        {
            let _ = writeln!(out, "#   {what:<5} {text}");
        }
        let (hosts, ports) = lists(&self.places);
        // A value there goes on to the line's end, as it is.
        let _ = writeln!(out, "[{}]\nhost={hosts}\nport={ports}\ndbname={database}", self.name);
        if !self.session.is_empty() {
            let _ = writeln!(out, "target_session_attrs={}", self.session);
        }
        out
    }

    #[must_use]
    pub fn json(&self, database: &str) -> Value {
        json!({"service": self.name, "about": self.about, "url": self.url(database), "jdbc": self.jdbc(database),
            "dsn": self.dsn(database)})
    }
}

/// Both ways to a service, as a part of a `pg_service.conf`.
#[must_use]
pub fn text(c: &ResolvedCluster, s: &ResolvedService, groups: &Groups, database: &str) -> String {
    let head = format!("### service '{}' of {}: {} → {}\n", s.service, s.cluster, s.check_url, meaning(s));
    let sections = ways(c, s, groups).map(|w| w.section(database));
    format!("{head}{}", sections.join("\n"))
}

/// `postgres://a:5433,b:5433/db`.
#[must_use]
pub fn url(scheme: &str, places: &[Place], database: &str) -> String {
    let place = |(host, port): &Place| {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    };
    let places: Vec<String> = places.iter().map(place).collect();
    format!("{scheme}://{}/{}", places.join(","), percent(database))
}

/// `host=a,b port=5433 dbname=db`.
#[must_use]
pub fn dsn(places: &[Place], database: &str) -> String {
    let (hosts, ports) = lists(places);
    format!("host={hosts} port={ports} dbname={}", quoted(database))
}

/// Hosts and ports with commas; a port that all have is said once.
fn lists(places: &[Place]) -> (String, String) {
    let hosts: Vec<&str> = places.iter().map(|(h, _)| h.as_str()).collect();
    let mut ports: Vec<String> = places.iter().map(|(_, p)| p.to_string()).collect();
    if ports.windows(2).all(|w| w.first() == w.last()) {
        ports.truncate(1);
    }
    (hosts.join(","), ports.join(","))
}

/// RFC 3986, "unreserved": all other bytes as `%XX`.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// libpq manual, "Keyword/Value Connection Strings".
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
