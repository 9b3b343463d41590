//! The cluster of the table: its members, its services, and the states that its members get into.

use std::collections::BTreeMap;

use pgsvc::inventory::Vars;
use pgsvc::inventory::cluster::Cluster;
use pgsvc::resolve::states::{self, States};
use pgsvc::resolve::{Expectation, ResolvedService, RoleSource};
use serde_json::{Value, json};

use crate::standin;

/// A state of the cluster, in the words of `pgsvc explain --state`: they drive the stand-ins and the simulation.
#[derive(Clone, Copy)]
pub struct State {
    pub name: &'static str,
    pub words: &'static str,
}

impl State {
    /// The members' states by name.
    pub fn known(&self) -> States {
        states::parse(self.words, &cluster()).unwrap_or_else(|e| panic!("{e}"))
    }
}

const fn state(name: &'static str, words: &'static str) -> State {
    State { name, words }
}

/// Members: 1 primary, 2 and 3 replica, 4 offline (by the inventory), 5 a replica without weight.
pub const STATES: [State; 25] = [
    state("all healthy", ""),
    state("no replica", "down=2+3+5"),
    state("no replica and no offline", "down=2+3+4+5"),
    state("primary lost", "primary=none,down=1"),
    state("primary lost, another one elected", "primary=2,down=1"),
    state("switched over", "primary=3"),
    state("during a switchover", "primary=none"),
    state("offline lost", "down=4"),
    state("a lagging replica", "lag:2=100MB"),
    state("a replica that lags little", "lag:2=8MB,lag:3=16MB"),
    state("all standbys lag", "lag:2+3+4+5=100MB"),
    state("the primary's API dead", "api:1=down"),
    state("the replicas' API silent", "api:2+3=silent"),
    state("the primary's pooler dead", "pooler:1=down"),
    state("the replicas' poolers dead", "pooler:2+3=down"),
    state("a replica's PostgreSQL stopped", "stopped=2,postgres:3=down"),
    state("the primary's PostgreSQL stopped", "stopped=1"),
    state("replicas taken out of balancing", "noloadbalance=2+3"),
    state("exporters unwell", "exporter:1+3+4=503"),
    state("exporters gone", "exporter:2+3=down"),
    state("a synchronous standby", "sync=3"),
    state("a synchronous standby that lags", "sync=2,lag:2=100MB,down=3"),
    state("a standby cluster", "standby_leader=1"),
    state("two primaries", "primary=1+2"),
    state("all dead", "down=1+2+3+4+5"),
];

/// What all members say: the four default services and some that need other things of a check.
fn shared() -> Value {
    let own = json!([
        {"name": "reports", "src_port": 5440, "dst_port": "postgres", "check_url": "/replica?lag=16MB", "selector": "[]",
            "selector_backup": "[? pg_role == `primary`]"},
        {"name": "fixed", "src_port": 5441, "dst_port": "pgbouncer", "check_url": "/health",
            "selector": "[? pg_seq == `2`]", "selector_backup": "[? pg_seq == `3` || pg_seq == `4`]"},
        {"name": "watched", "src_port": 5442, "dst_port": "pgbouncer", "check_port": "pg_exporter", "check_url": "/up",
            "selector": "[? pg_role == `replica`]", "selector_backup": "[? pg_role == `primary`]"},
        {"name": "standbys", "src_port": 5443, "dst_port": "postgres", "check_url": "/primary", "check_code": 503,
            "selector": "[]"},
        {"name": "sync", "src_port": 5444, "dst_port": "postgres", "check_url": "/read-only-sync", "selector": "[]"},
        {"name": "alone", "src_port": 5445, "dst_port": "postgres", "check_url": "/leader", "selector": "[? pg_seq == `2`]"},
    ]);
    json!({"pg_services_extra": own, "vip_mode": "l4", "vip_to": "members", "vip_address": "192.0.2.9",
        "vip_provider": "directors", "vip_gateway": "192.0.2.254/24", "vip_clients": ["198.51.100.0/24"]})
}

fn members() -> [(&'static str, Value); 5] {
    [
        ("primary", json!({})),
        ("replica", json!({})),
        ("replica", json!({"pg_weight": 40})),
        ("offline", json!({})),
        ("replica", json!({"pg_weight": 0})),
    ]
}

pub fn cluster() -> Cluster {
    standin::cluster(&members(), &shared())
}

/// The same as `ansible-inventory --list` would print it.
pub fn inventory() -> String {
    let mut hosts = standin::hosts(&members(), &shared());
    let names: Vec<String> = hosts.iter().map(|(name, _)| name.clone()).collect();
    hosts.push(("192.0.2.1".into(), Vars::new()));
    let vars: BTreeMap<String, Vars> = hosts.into_iter().collect();
    json!({"_meta": {"hostvars": vars}, "pg-test": {"hosts": names}, "directors": {"hosts": ["192.0.2.1"]}})
        .to_string()
}

/// As a run resolves them with `single_primary`.
pub fn services(cluster: &Cluster, guarded: bool) -> Vec<ResolvedService> {
    let mut all = pgsvc::resolve::cluster(cluster, RoleSource::Patroni).unwrap_or_else(|e| panic!("{e}"));
    for s in &mut all {
        let leads = matches!(s.expectation, Expectation::Primary | Expectation::Leader);
        s.guarded = guarded && s.servers.len() > 1 && leads;
    }
    all
}
