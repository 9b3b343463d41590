//! What is kept of a request: arguments that make the same model again, and nothing beside. An inventory holds
//! passwords of other things (`ansible_become_password`), which have no business on a load balancer.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Request, by_cluster};
use crate::inventory::{Args, Vars, cluster, member};
use crate::vip::{self, duty};
use crate::{selector, value};

/// A request as it is kept: module arguments, those of the node and those of each cluster.
#[derive(Clone, Default)]
pub struct Kept {
    pub node: Value,
    pub clusters: Vec<(String, Value)>,
}

/// What a node keeps of a request.
pub fn arguments(request: &Request) -> Kept {
    let hosts = by_cluster(&request.hosts);
    let own = |name: &String| hosts.get(name).map(Vec::as_slice).unwrap_or_default();
    let clusters = request.clusters.iter().map(|n| (n.clone(), of_cluster(request, own(n)))).collect();
    Kept { node: of_node(request), clusters }
}

/// What is kept of several clusters, as one: their members, and the groups that any of them names.
pub fn joined(clusters: impl IntoIterator<Item = Value>) -> Args {
    let (mut members, mut groups) = (Vec::new(), Args::new());
    for mut one in clusters {
        if let Some(Value::Array(list)) = one.get_mut("members").map(Value::take) {
            members.extend(list);
        }
        if let Some(Value::Object(map)) = one.get_mut("groups").map(Value::take) {
            groups.extend(map);
        }
    }
    Args::from_iter([("members".to_owned(), members.into()), ("groups".to_owned(), groups.into())])
}

fn of_cluster(request: &Request, own: &[(&str, &Vars)]) -> Value {
    let o = &request.overrides;
    let lists = own.iter().flat_map(|(_, vars)| cluster::SHARED.iter().filter_map(|n| vars.get(n)));
    let said = [&o.services, &o.services_extra, &o.default_services].into_iter().flatten();
    let selectors: BTreeSet<&str> = lists.chain(said).flat_map(selectors).collect();
    let all = selectors.iter().any(|text| selector::needs_all_variables(text));
    let named: BTreeSet<String> = selectors.into_iter().flat_map(selector::identifiers).collect();
    let shared = |key: &str| {
        cluster::SHARED.contains(&key) || vip::SHARED.contains(&key) || vip::INTERFACE.contains(&key)
    };
    let needed = |key: &str| member::KNOWN.contains(&key) || shared(key) || named.contains(key);
    let one = |(host, vars): &(&str, &Vars)| {
        let keep = |(k, v): (&str, &Value)| match (needed(k), all && harmless(k)) {
            (true, _) => Some((k.to_owned(), v.clone())),
            (false, true) => Some((k.to_owned(), without_secrets(v))),
            (false, false) => None,
        };
        let mut kept: Args = vars.iter().filter_map(keep).collect();
        kept.insert("inventory_hostname".into(), (*host).into());
        // As the cluster's own variables: what a run said of one cluster must not be said of another when the requests
        // of a node are read as one.
        let lists = [
            ("pg_services", &o.services),
            ("pg_services_extra", &o.services_extra),
            ("pg_default_services", &o.default_services),
        ];
        kept.extend(lists.into_iter().filter_map(|(name, list)| Some((name.to_owned(), list.clone()?))));
        Value::Object(kept)
    };
    json!({"members": own.iter().map(one).collect::<Vec<_>>(), "groups": groups(request, own)})
}

/// The hosts of the groups that a cluster's members name, with what a VIP needs of them.
fn groups(request: &Request, own: &[(&str, &Vars)]) -> Value {
    let name = |vars: &Vars, key: &str| value::given(vars.get(key)).and_then(|v| value::text(key, v).ok());
    let named: BTreeSet<String> =
        own.iter().flat_map(|(_, vars)| duty::PROVIDERS.into_iter().filter_map(|k| name(vars, k))).collect();
    let host = |(host, vars): &(String, Vars)| {
        let known = |k: &str| k == "ansible_host" || vip::INTERFACE.contains(&k);
        let mut kept: Args =
            vars.iter().filter(|(k, _)| known(k)).map(|(k, v)| (k.to_owned(), v.clone())).collect();
        kept.insert("inventory_hostname".into(), host.clone().into());
        Value::Object(kept)
    };
    let group = |name: String| {
        let hosts = request.groups.get(&name)?.iter().map(host).collect();
        Some((name, Value::Array(hosts)))
    };
    Value::Object(named.into_iter().filter_map(group).collect())
}

/// The node's settings and the run's options: one set for all clusters of the node, by whichever run was the last.
fn of_node(request: &Request) -> Value {
    let o = &request.options;
    let settings = |k: &str| k.starts_with("haproxy_") || k.starts_with("pgsvc_");
    let own = request.node_vars.iter().filter(|(k, _)| settings(k));
    let mut node: Args = own.map(|(k, v)| (k.to_owned(), v.clone())).collect();
    node.insert("inventory_hostname".into(), request.node.clone().into());
    let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.display().to_string().into());
    let options = [
        ("node", Some(Value::Object(node))),
        ("verify_user", o.user.clone().map(Value::from)),
        ("verify_password", Some(o.password.0.clone().into())),
        ("verify_database", o.database.clone().map(Value::from)),
        ("verify_sslmode", serde_json::to_value(o.sslmode).ok()),
        ("verify_sslrootcert", path(&o.ssl_root_cert)),
        ("role_source", serde_json::to_value(o.roles).ok()),
        ("templates", path(&o.templates)),
        ("nonlocal_bind", Some(o.nonlocal_bind.into())),
        ("single_primary", Some(o.single_primary.into())),
        ("watch", Some(o.watch.into())),
        ("watch_grace", Some(o.watch_grace.as_secs().into())),
        ("metrics_file", path(&o.metrics_file)),
    ];
    Value::Object(options.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect())
}

/// The selectors of a list of services.
fn selectors(services: &Value) -> Vec<&str> {
    let mut texts = Vec::new();
    for service in services.as_array().into_iter().flatten() {
        let fields = ["selector", "selector_backup", "backup"];
        texts.extend(fields.iter().filter_map(|f| service.get(*f)?.as_str()));
    }
    texts
}

/// Whether a variable may be kept only because a selector looks at all of them.
fn harmless(name: &str) -> bool {
    !secret(name) && (name == "ansible_host" || !name.starts_with("ansible_"))
}

fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "token"].iter().any(|word| name.contains(word))
}

/// A value without what its inner names call a secret: `pg_users` holds everybody's passwords.
fn without_secrets(v: &Value) -> Value {
    match v {
        Value::Object(map) => {
            let rest = map.iter().filter(|(k, _)| !secret(k));
            Value::Object(rest.map(|(k, v)| (k.clone(), without_secrets(v))).collect())
        }
        Value::Array(list) => list.iter().map(without_secrets).collect(),
        other => other.clone(),
    }
}
