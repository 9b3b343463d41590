//! The cluster of the table: its members, its services, and the states that its members get into.

use std::collections::BTreeSet;

use pgsvc::inventory::cluster::Cluster;
use pgsvc::resolve::states::{MemberState, Role};
use pgsvc::resolve::{Expectation, ResolvedService, RoleSource};
use serde_json::json;

use crate::standin::{self, Doing, EXPORTER, POOLER, POSTGRES};

/// What one member does in a state: its number, from 1.
pub type Change = fn(&mut Doing);

/// A state of the cluster: who is primary, and what is wrong with whom.
pub struct State {
    pub name: &'static str,
    primaries: &'static [usize],
    wrong: &'static [(usize, Change)],
}

fn dead(d: &mut Doing) {
    d.state.api = false;
    d.state.closed = BTreeSet::from([POSTGRES, POOLER]);
    d.state.others.clear();
}

fn stopped(d: &mut Doing) {
    d.state.running = false;
    d.state.closed = BTreeSet::from([POSTGRES]);
}

fn no_api(d: &mut Doing) {
    d.state.api = false;
}

fn silent_api(d: &mut Doing) {
    d.silent = true;
    d.state.api = false;
}

fn no_pooler(d: &mut Doing) {
    d.state.closed.insert(POOLER);
}

fn no_postgres(d: &mut Doing) {
    d.state.closed.insert(POSTGRES);
}

fn lags(d: &mut Doing) {
    d.state.lag = 100 << 20;
}

fn unwell(d: &mut Doing) {
    d.state.others.insert(EXPORTER, 503);
}

fn taken_out(d: &mut Doing) {
    d.state.noloadbalance = true;
}

fn leads_standbys(d: &mut Doing) {
    d.state.role = Role::StandbyLeader;
}

fn synchronous(d: &mut Doing) {
    d.state.role = Role::SyncStandby;
}

/// Members: 1 primary, 2 and 3 replica, 4 offline (by the inventory), 5 a replica without weight.
pub const STATES: [State; 21] = [
    State { name: "all healthy", primaries: &[1], wrong: &[] },
    State { name: "no replica", primaries: &[1], wrong: &[(2, dead), (3, dead), (5, dead)] },
    State {
        name: "no replica and no offline",
        primaries: &[1],
        wrong: &[(2, dead), (3, dead), (4, dead), (5, dead)],
    },
    State { name: "primary lost", primaries: &[], wrong: &[(1, dead)] },
    State { name: "primary lost, another one elected", primaries: &[2], wrong: &[(1, dead)] },
    State { name: "switched over", primaries: &[3], wrong: &[] },
    State { name: "during a switchover", primaries: &[], wrong: &[] },
    State { name: "offline lost", primaries: &[1], wrong: &[(4, dead)] },
    State { name: "a lagging replica", primaries: &[1], wrong: &[(2, lags)] },
    State { name: "all standbys lag", primaries: &[1], wrong: &[(2, lags), (3, lags), (4, lags), (5, lags)] },
    State { name: "the primary's API dead", primaries: &[1], wrong: &[(1, no_api)] },
    State { name: "the replicas' API silent", primaries: &[1], wrong: &[(2, silent_api), (3, silent_api)] },
    State { name: "the primary's pooler dead", primaries: &[1], wrong: &[(1, no_pooler)] },
    State { name: "the replicas' poolers dead", primaries: &[1], wrong: &[(2, no_pooler), (3, no_pooler)] },
    State {
        name: "a replica's PostgreSQL stopped",
        primaries: &[1],
        wrong: &[(2, stopped), (3, no_postgres)],
    },
    State {
        name: "replicas taken out of balancing",
        primaries: &[1],
        wrong: &[(2, taken_out), (3, taken_out)],
    },
    State { name: "exporters unwell", primaries: &[1], wrong: &[(1, unwell), (3, unwell), (4, unwell)] },
    State { name: "a synchronous standby", primaries: &[1], wrong: &[(3, synchronous)] },
    State { name: "a standby cluster", primaries: &[], wrong: &[(1, leads_standbys)] },
    State { name: "two primaries", primaries: &[1, 2], wrong: &[] },
    State {
        name: "all dead",
        primaries: &[1],
        wrong: &[(1, dead), (2, dead), (3, dead), (4, dead), (5, dead)],
    },
];

/// The four default services and some that need other things of a check.
pub fn cluster() -> Cluster {
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
    let shared = json!({"pg_services_extra": own, "vip_mode": "l4", "vip_to": "members", "vip_address": "192.0.2.9",
        "vip_provider": "directors", "vip_gateway": "192.0.2.254/24", "vip_clients": ["198.51.100.0/24"]});
    let members = [
        ("primary", json!({})),
        ("replica", json!({})),
        ("replica", json!({"pg_weight": 40})),
        ("offline", json!({})),
        ("replica", json!({"pg_weight": 0})),
    ];
    standin::cluster(&members, &shared)
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

pub fn doing(state: &State, n: usize) -> Doing {
    let role = if state.primaries.contains(&n) { Role::Primary } else { Role::Replica };
    let mut doing = Doing { state: MemberState::new(role), silent: false };
    doing.state.others.insert(EXPORTER, 200);
    for (_, change) in state.wrong.iter().filter(|(i, _)| *i == n) {
        change(&mut doing);
    }
    doing
}
