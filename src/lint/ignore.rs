//! `pgsvc_lint_ignore`: what an operator says is meant, with a reason. What an apply refuses cannot be ignored.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Found;
use super::rules::{BAD_IGNORE, UNUSED_IGNORE, rule};
use super::sink::{self, Object, Raw, Sink};
use super::view::View;
use crate::inventory::{Host, Place, needed};
use crate::value;

pub const VARIABLE: &str = "pgsvc_lint_ignore";
const FIELDS: [&str; 3] = ["code", "reason", "service"];

/// One entry, whichever hosts have it.
struct Entry {
    code: &'static str,
    service: Option<String>,
    reason: String,
    hosts: Vec<String>,
    place: Option<Place>,
    used: bool,
}

/// Leaves out what is ignored; entries that are wrong or ignore nothing are findings themselves.
pub fn apply(view: &View<'_>, mut sink: Sink) -> Found {
    let mut entries = read(view, &mut sink);
    let mut ignored: BTreeMap<String, Vec<Raw>> = BTreeMap::new();
    let mut kept = Vec::new();
    for raw in std::mem::take(&mut sink.found) {
        let mut hosts: Vec<&str> = raw.object.host.iter().map(String::as_str).collect();
        let cluster = view.clusters.iter().find(|c| Some(&c.cluster.name) == raw.object.cluster.as_ref());
        hosts.extend(cluster.into_iter().flat_map(|c| c.hosts.iter().map(|h| h.name.as_str())));
        let meant = |e: &&mut Entry| {
            e.code == raw.rule.code
                && (e.service.is_none() || e.service == raw.object.service)
                && e.hosts.iter().any(|h| hosts.contains(&h.as_str()))
        };
        match entries.iter_mut().find(meant).filter(|_| !raw.refused) {
            Some(entry) => {
                entry.used = true;
                ignored.entry(entry.reason.clone()).or_default().push(raw);
            }
            None => kept.push(raw),
        }
    }
    sink.found = kept;
    for e in entries.iter().filter(|e| !e.used) {
        let what = match &e.service {
            Some(service) => format!("{} is not found on service '{service}'", e.code),
            None => format!("{} is not found here", e.code),
        };
        let name = format!("host '{}'", e.hosts.first().map_or("", String::as_str));
        let object = Object { host: e.hosts.first().cloned(), name, ..Object::default() };
        sink.add_as(&UNUSED_IGNORE, object, e.place.clone(), what);
    }
    let with = |(reason, raws): (String, Vec<Raw>)| {
        sink::joined(&raws).into_iter().map(move |f| (f, reason.clone())).collect::<Vec<_>>()
    };
    Found { findings: sink::joined(&sink.found), ignored: ignored.into_iter().flat_map(with).collect() }
}

/// All good entries of the hosts that are looked at; a group's entry is one, however many hosts have it.
fn read(view: &View<'_>, sink: &mut Sink) -> Vec<Entry> {
    let mut hosts: BTreeMap<&str, &Host> = BTreeMap::new();
    hosts.extend(view.clusters.iter().flat_map(|c| c.hosts.iter().map(|h| (h.name.as_str(), *h))));
    hosts.extend(view.nodes.iter().map(|n| (n.host.name.as_str(), n.host)));
    let mut entries: Vec<Entry> = Vec::new();
    for host in hosts.into_values() {
        let list = match needed(&host.vars, VARIABLE, &host.name) {
            Ok(Some(Value::Array(list))) => list,
            Ok(None | Some(Value::Null)) => continue,
            _ => {
                bad(sink, host, VARIABLE, "is no list of plain maps".into());
                continue;
            }
        };
        for (i, item) in list.iter().enumerate() {
            let path = format!("{VARIABLE}[{i}]");
            match entry(item) {
                Err(what) => bad(sink, host, &path, what),
                Ok((code, service, reason)) => {
                    let place = host.place(&path).cloned();
                    let same = |e: &&mut Entry| {
                        e.place == place && (e.code, &e.service, &e.reason) == (code, &service, &reason)
                    };
                    match entries.iter_mut().find(same) {
                        Some(e) => e.hosts.push(host.name.clone()),
                        None => entries.push(Entry {
                            code,
                            service,
                            reason,
                            hosts: vec![host.name.clone()],
                            place,
                            used: false,
                        }),
                    }
                }
            }
        }
    }
    entries
}

fn bad(sink: &mut Sink, host: &Host, path: &str, what: String) {
    sink.rule = Some(&BAD_IGNORE);
    sink.host(host, path, what);
}

type Good = (&'static str, Option<String>, String);

fn entry(item: &Value) -> Result<Good, String> {
    let Some(map) = item.as_object() else { return Err("an entry is a map with code and reason".into()) };
    if let Some(key) = map.keys().find(|k| !FIELDS.contains(&k.as_str())) {
        return Err(format!("unknown field '{}'; code, reason, service", key.escape_debug()));
    }
    let get = |name: &str| value::given(map.get(name)).and_then(|v| value::text(name, v).ok());
    let Some(code) = get("code") else { return Err("has no code".into()) };
    let Some(rule) = rule(&code) else { return Err(format!("'{}' is no code", code.escape_debug())) };
    match get("reason") {
        Some(reason) => Ok((rule.code, get("service"), reason)),
        None => Err(format!("{} has no reason, and is not ignored", rule.code)),
    }
}
