//! Members grouped into clusters, and each cluster's set of services. Who serves what is decided in `resolve`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::member::{self, Member};
use super::tls::TlsFiles;
use super::{PLACED, Vars, is_plain, needed};
use crate::error::{Error, Errors, Kind};
use crate::service::{self, Dialect, Service, Target, Timing};
use crate::vip::{self, Vip};
use crate::{selector, value};

/// A cluster with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    pub name: String,
    /// By `pg_seq`.
    pub members: Vec<Member>,
    /// In the order they were defined.
    pub services: Vec<Service>,
    /// `vip_address`, without its mask: what `src_ip: vip` means.
    pub vip: Option<IpAddr>,
    /// Who carries that address, and how; `None` where that is not our matter.
    pub virtual_ip: Option<Vip>,
    /// `pg_service_provider`: the group of nodes whose HAProxy carries the cluster, where that is not its members'.
    pub provider: Option<String>,
    /// How Patroni's API is spoken to where it speaks TLS.
    pub patroni_tls: TlsFiles,
}

impl Cluster {
    /// A cluster of which nothing but the name is known.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        let (members, services) = (Vec::new(), Vec::new());
        let (vip, virtual_ip, provider, patroni_tls) = (None, None, None, TlsFiles::default());
        Self { name: name.to_owned(), members, services, vip, virtual_ip, provider, patroni_tls }
    }
}

/// Service lists said by a task or on a command line: they take the place of the members' variables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    pub services: Option<Value>,
    pub services_extra: Option<Value>,
    pub default_services: Option<Value>,
    /// Members carry only selected variables: selectors that need all are refused.
    pub collected: bool,
}

/// Variables that are the cluster's, and so the same on all of its members; those of its VIP are in `vip::SHARED`.
pub const SHARED: [&str; 7] = [
    "pg_services",
    "pg_services_extra",
    "pg_default_services",
    "pg_default_service_dest",
    "patroni_ca_file",
    "patroni_cert_file",
    "pg_rto",
];

/// The names of the clusters that hosts are members of, sorted; hosts without `pg_cluster` are members of none.
pub fn names<'a>(hosts: impl IntoIterator<Item = &'a Vars>) -> Vec<String> {
    let mut names: Vec<String> = hosts
        .into_iter()
        .filter_map(|vars| value::given(vars.get("pg_cluster")))
        .filter_map(|v| value::text("pg_cluster", v).ok())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Builds one cluster from the hosts that name it in `pg_cluster`.
///
/// # Errors
/// All that is wrong with its members and services.
pub fn build(name: &str, hosts: &[(&str, &Vars)], overrides: &Overrides) -> Result<Cluster, Errors> {
    let mut errors = Errors::default();
    match read(name, hosts, overrides, &mut errors) {
        Some(cluster) => errors.finish(cluster),
        None => Err(errors),
    }
}

/// The same, with what is good of a cluster that is not: for those who look at all of it. `None` without members.
///
/// # Errors
/// Into `errors`.
pub fn read(
    name: &str,
    hosts: &[(&str, &Vars)],
    overrides: &Overrides,
    errors: &mut Errors,
) -> Option<Cluster> {
    let mine =
        |vars: &Vars| vars.get("pg_cluster").is_some_and(|v| value::text("", v).is_ok_and(|t| t == name));
    let hosts: Vec<_> = hosts.iter().filter(|(_, vars)| mine(vars)).collect();
    let mut later = Errors::default();
    let shared = shared(&mut later, name, &hosts);
    let services = services(&mut later, name, &shared, overrides);
    let lists = looks_at_lists(&services);
    let mut members: Vec<Member> = Vec::new();
    for (host, vars) in &hosts {
        if let Some(m) = errors.take(member::parse(host, vars, lists)) {
            members.push(m);
        }
    }
    if hosts.is_empty() {
        errors.push(
            Error::new(format!("cluster '{name}'"), "has no members")
                .hint("give its hosts pg_cluster and pg_seq"),
        );
        return None;
    }
    members.sort_by(|a, b| (a.seq, &a.host).cmp(&(b.seq, &b.host)));
    duplicates(errors, name, &members);
    later.0.into_iter().for_each(|e| errors.push(e));
    for service in &services {
        selectors(errors, name, service, &members, overrides.collected);
    }
    let address = address(errors, name, &shared, &services);
    let virtual_ip = vip::parse(name, &shared, errors);
    let provider = value::given(shared.get("pg_service_provider")).and_then(|v| value::text("", v).ok());
    let patroni_tls = TlsFiles::parse(errors, name, &shared);
    Some(Cluster {
        name: name.to_owned(),
        members,
        services,
        vip: address,
        virtual_ip,
        provider,
        patroni_tls,
    })
}

/// Whether a selector may look at the cluster's own lists of services. They are the largest of a member's variables.
fn looks_at_lists(services: &[Service]) -> bool {
    let texts = services.iter().flat_map(|s| std::iter::once(&s.selector).chain(&s.selector_backup));
    let plain = |text: &String| {
        let selector = selector::Selector::compile(text).ok()?;
        let lists = selector.names().iter().any(|n| PLACED.contains(&n.as_str()));
        (selector.only_named_variables() && !lists).then_some(())
    };
    texts.into_iter().any(|text| plain(text).is_none())
}

fn duplicates(errors: &mut Errors, cluster: &str, members: &[Member]) {
    for pair in members.windows(2) {
        if let [a, b] = pair
            && a.seq == b.seq
        {
            let what = format!("pg_seq {} is both {}'s and {}'s", a.seq, a.host, b.host);
            errors.push(
                Error::new(format!("cluster '{cluster}'"), what)
                    .hint("every member needs a number of its own")
                    .kind(Kind::DuplicateName),
            );
        }
    }
}

/// The cluster's own variables, which all members must agree on.
///
/// # Errors
/// Into `errors`: where they do not, and values that only Ansible can read.
pub fn shared(errors: &mut Errors, cluster: &str, hosts: &[&(&str, &Vars)]) -> Vars {
    let mut found = Vars::new();
    // Most clusters say two or three of them: what no host says is not asked of each.
    let said = |name: &&str| hosts.iter().any(|(_, vars)| vars.contains_key(name));
    for name in SHARED.into_iter().chain(vip::SHARED).filter(said) {
        if let Some(first) = same(hosts, name) {
            match first.get(name) {
                None | Some(Value::Null) => {}
                Some(_) => found.share_of(first, name),
            }
            continue;
        }
        let mut values: BTreeMap<String, (&str, Value)> = BTreeMap::new();
        for (host, vars) in hosts {
            match needed(vars, name, host) {
                Ok(Some(v)) if !v.is_null() => {
                    values.entry(v.to_string()).or_insert((host, v));
                }
                Ok(_) => {}
                Err(e) => errors.push(e),
            }
        }
        let mut values = values.into_values();
        if let Some((first, v)) = values.next() {
            if let Some((second, _)) = values.next() {
                let what = format!("{name} differs between {first} and {second}");
                errors.push(
                    Error::new(format!("cluster '{cluster}'"), what)
                        .hint("set it once, for the cluster's group"),
                );
            }
            found.insert(name, v);
        }
    }
    found
}

/// The host whose value of a variable all the others have too, as they mostly do; `None` where that needs a closer look.
fn same<'v>(hosts: &[&(&str, &'v Vars)], name: &str) -> Option<&'v Vars> {
    let ((_, first), rest) = hosts.split_first()?;
    let raw = first.get(name);
    let one = rest.iter().all(|(_, vars)| vars.shares(first, name) || vars.get(name) == raw);
    (one && raw.is_none_or(is_plain)).then_some(first)
}

/// An entry of the set, and where it stands: in which list, at which place from 0. The text's own four stand in none.
pub struct Listed<'a> {
    pub from: Option<(&'static str, usize)>,
    pub entry: Cow<'a, Value>,
}

impl Listed<'_> {
    /// The same on its own.
    pub fn into_owned(self) -> Listed<'static> {
        Listed { from: self.from, entry: Cow::Owned(self.entry.into_owned()) }
    }
}

/// Which lists make the set: v1.5's `pg_services` is the whole of it and `pg_services_extra` adds; today's
/// `pg_default_services` is the base and `pg_services` adds.
///
/// # Errors
/// Into `errors`: what is no list, and lists of two dialects.
pub fn listed<'a>(
    errors: &mut Errors,
    cluster: &str,
    shared: &'a Vars,
    overrides: &'a Overrides,
) -> Vec<Listed<'a>> {
    let mut read = |said: &'a Option<Value>, name: &'static str| -> Vec<Listed<'a>> {
        let all = list(errors, cluster, name, said.as_ref().or_else(|| shared.get(name)));
        let entries = all.iter().map(Cow::Borrowed).enumerate();
        entries.map(|(i, entry)| Listed { from: Some((name, i)), entry }).collect()
    };
    let base = read(&overrides.default_services, "pg_default_services");
    let own = read(&overrides.services, "pg_services");
    let extra = read(&overrides.services_extra, "pg_services_extra");
    let adds = own.iter().any(|s| service::dialect_of(&s.entry) == Some(Dialect::V2));
    let mut entries = match (base.is_empty(), own.is_empty() || adds) {
        (false, _) => base,
        (true, true) => service::defaults()
            .into_iter()
            .map(Cow::Owned)
            .map(|entry| Listed { from: None, entry })
            .collect(),
        (true, false) => Vec::new(),
    };
    entries.extend(own);
    entries.extend(extra);
    entries
}

fn services(errors: &mut Errors, cluster: &str, shared: &Vars, overrides: &Overrides) -> Vec<Service> {
    let entries = listed(errors, cluster, shared, overrides);
    let pool = match value::given(shared.get("pg_default_service_dest")) {
        None => Target::Pgbouncer,
        Some(v) => {
            let read = service::parse_target("pg_default_service_dest", v);
            errors
                .take(read.map_err(|e| e.within(&format!("cluster '{cluster}'"))))
                .unwrap_or(Target::Pgbouncer)
        }
    };
    let timing = value::given(shared.get("pg_rto")).and_then(|v| {
        errors
            .take(Timing::parse("pg_rto", v).map_err(|e| e.within(&format!("cluster '{cluster}'"))))
            .flatten()
    });
    let mut services: Vec<Service> = Vec::new();
    for (i, Listed { entry, .. }) in entries.iter().enumerate() {
        if let Some(mut service) = errors.take(service::parse(entry, i, cluster, pool)) {
            if let Some(timing) = timing.filter(|_| !service::says_options(entry)) {
                service.options = timing.of(service.options);
            }
            services.push(service);
        }
    }
    twice(errors, cluster, &services);
    services
}

fn list<'v>(errors: &mut Errors, cluster: &str, name: &str, v: Option<&'v Value>) -> &'v [Value] {
    let entries = match v {
        None | Some(Value::Null) => return &[],
        Some(Value::String(s)) if s.trim().is_empty() => return &[],
        Some(Value::Array(list)) => list,
        Some(other) => {
            let what = format!("{name}: {} is no list of services", value::show(other));
            errors.push(Error::new(format!("cluster '{cluster}'"), what).hint("a list of maps: - name: …"));
            return &[];
        }
    };
    let dialects: Vec<_> = entries.iter().filter_map(|e| Some((service::dialect_of(e)?, e))).collect();
    let of = |d: Dialect| {
        dialects
            .iter()
            .find(|(x, _)| *x == d)
            .map(|(_, e)| e.get("name").map_or("?".into(), |n| value::text("", n).unwrap_or_default()))
    };
    if let (Some(one), Some(two)) = (of(Dialect::V1), of(Dialect::V2)) {
        let what = format!("{name} mixes two dialects: '{one}' has src_port, '{two}' has port");
        errors.push(
            Error::new(format!("cluster '{cluster}'"), what)
                .hint("write all entries of a list the same way")
                .kind(Kind::MixedDialects),
        );
    }
    entries
}

fn twice(errors: &mut Errors, cluster: &str, services: &[Service]) {
    for (i, service) in services.iter().enumerate() {
        let earlier = services.iter().take(i);
        for other in earlier {
            let place = || format!("service '{}' of {cluster}", service.name);
            if other.name == service.name {
                let error = Error::new(place(), "is defined twice").hint("names are unique within a cluster");
                errors.push(error.kind(Kind::DuplicateName));
            } else if other.port == service.port && overlap(other, service) {
                let what = format!("port {} is also that of service '{}'", service.port, other.name);
                errors.push(
                    Error::new(place(), what)
                        .hint("HAProxy would share it half and half between the two")
                        .kind(Kind::DuplicatePort),
                );
            }
        }
    }
}

/// Whether two services of one cluster listen on a common address.
pub fn overlap(a: &Service, b: &Service) -> bool {
    use service::Source::Any;
    a.sources.contains(&Any) || b.sources.contains(&Any) || a.sources.iter().any(|s| b.sources.contains(s))
}

/// Compiles the selectors, and looks at the variables they name.
fn selectors(errors: &mut Errors, cluster: &str, service: &Service, members: &[Member], collected: bool) {
    let both = [("selector", Some(&service.selector)), ("selector_backup", service.selector_backup.as_ref())];
    for (field, text) in both.into_iter().filter_map(|(f, t)| Some((f, t?))) {
        let place = || format!("service '{}' of {cluster}: {field}", service.name);
        let compiled = errors.take(selector::Selector::compile(text).map_err(|e| e.within(&place())));
        let Some(selector) = compiled else { continue };
        if collected && selector.needs_all_variables() {
            errors.push(
                Error::new(
                    place(),
                    format!("'{text}' needs every variable of a member, and only named ones are collected"),
                )
                .hint("name the variables it means, or pass `members` to the module yourself"),
            );
        }
        for name in selector.names() {
            for m in members.iter().filter(|m| m.vars.get(name).is_some_and(|v| !is_plain(v))) {
                if let Err(e) = needed(&m.vars, name, &m.host) {
                    errors.push(e);
                }
            }
        }
    }
}

fn address(errors: &mut Errors, cluster: &str, shared: &Vars, services: &[Service]) -> Option<IpAddr> {
    let given =
        ["vip_address", "pg_vip_address"].into_iter().find_map(|n| Some((n, value::given(shared.get(n))?)));
    let place = format!("cluster '{cluster}'");
    let Some((name, v)) = given else {
        for s in services.iter().filter(|s| s.sources.contains(&service::Source::Vip)) {
            errors.push(
                Error::new(
                    format!("service '{}' of {cluster}", s.name),
                    "listens on the cluster's VIP, and the cluster has none",
                )
                .hint("set vip_address, or src_ip: \"*\"")
                .kind(Kind::NoVip),
            );
        }
        return None;
    };
    let text = errors.take(value::text(name, v).map_err(|e| e.within(&place)))?;
    let bare = text.split('/').next().unwrap_or_default();
    match bare.parse() {
        Ok(ip) => Some(ip),
        Err(_) => {
            errors.push(Error::new(place, format!("{name}: {} is no IP address", value::show(v))));
            None
        }
    }
}
