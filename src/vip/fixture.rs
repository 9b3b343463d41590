//! Clusters with a VIP for tests: from variables, as an inventory has them.

use serde_json::{Value, json};

use super::duty::{self, Duty, Groups};
use crate::inventory::Vars;
use crate::inventory::cluster::{Cluster, Overrides, build};
use crate::resolve::{self, ResolvedService, RoleSource};

/// Three members at 10.0.0.11 to 13, directors `lvs` at 10.0.0.2 and 3, HAProxy nodes `lbs` at 10.0.0.21 and 22.
pub(crate) struct Case {
    pub cluster: Cluster,
    pub duty: Duty,
    pub services: Vec<ResolvedService>,
}

fn vars(of: &Value) -> Vars {
    of.as_object().cloned().unwrap_or_default().into()
}

/// The members' variables with something laid over them.
pub(crate) fn hosts(over: &Value) -> Vec<(String, Vars)> {
    let member = |seq: u64, role: &str| {
        let mut m = vars(&json!({"pg_cluster": "pg-test", "pg_seq": seq, "pg_role": role, "vip_mode": "l4",
            "vip_address": "10.0.0.9", "vip_provider": "lvs", "ansible_host": format!("10.0.0.1{seq}")}));
        m.extend(over.as_object().cloned().unwrap_or_default());
        (format!("db{seq}"), m)
    };
    vec![member(1, "primary"), member(2, "replica"), member(3, "offline")]
}

/// The cluster of these members, seen from `node`.
pub(crate) fn of(hosts: &[(String, Vars)], node: &str) -> Case {
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let cluster = build("pg-test", &view, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
    let host = |name: &str, ip: &str| (name.to_owned(), vars(&json!({"ansible_host": ip})));
    let groups = Groups::from([
        ("lvs".into(), vec![host("lvs1", "10.0.0.2"), host("lvs2", "10.0.0.3")]),
        ("six".into(), vec![host("lvs1", "fd00::2"), host("lvs2", "fd00::3")]),
        ("lbs".into(), vec![host("lb1", "10.0.0.21"), host("lb2", "10.0.0.22")]),
    ]);
    let vip = cluster.virtual_ip.clone().unwrap();
    let duty = duty::resolve(&cluster, &vip, cluster.provider.as_deref(), &groups, node)
        .unwrap_or_else(|e| panic!("{e}"));
    let services = resolve::cluster(&cluster, RoleSource::Patroni).unwrap_or_else(|e| panic!("{e}"));
    Case { cluster, duty, services }
}

/// Three members with something laid over their variables, seen from `node`.
pub(crate) fn case(over: &Value, node: &str) -> Case {
    of(&hosts(over), node)
}

/// What a NAT needs.
pub(crate) fn nat(more: &Value) -> Value {
    let mut all = json!({"vip_to": "members", "lb_kind": "NAT", "vip_gateway": "10.0.0.1/24", "vip_clients": ["10.1.0.0/16"]});
    if let (Some(all), Some(more)) = (all.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    all
}
