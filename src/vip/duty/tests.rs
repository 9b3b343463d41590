use serde_json::{Value, json};

use super::*;
use crate::request::{self, Model};

/// The model of a cluster of three, seen from a host.
fn model(node: &str, shared: Value, groups: Value) -> Model {
    let member = |n: u64| {
        let mut vars = json!({"inventory_hostname": format!("pg{n}"), "ansible_host": format!("10.0.0.{n}"),
            "pg_cluster": "pg-test", "pg_seq": n});
        vars.as_object_mut().unwrap().extend(shared.as_object().unwrap().clone());
        vars
    };
    let args = json!({"node": {"inventory_hostname": node}, "members": [member(1), member(2), member(3)], "groups": groups});
    request::model(request::from_arguments(args.as_object().unwrap()).unwrap()).unwrap()
}

fn duty(node: &str, shared: Value, groups: Value) -> (Duty, bool) {
    let model = model(node, shared, groups);
    let c = model.clusters.get("pg-test").unwrap_or_else(|| panic!("{:?}", model.failed));
    (c.duty.clone().unwrap(), c.proxy)
}

fn wrong(shared: Value, groups: Value) -> String {
    model("pg1", shared, groups).failed.get("pg-test").expect("refused").to_string()
}

fn hosts(peers: &[Peer]) -> Vec<&str> {
    peers.iter().map(|p| p.host.as_str()).collect()
}

fn lvs() -> Value {
    json!({"lvs": [{"inventory_hostname": "d1", "ansible_host": "10.0.0.21", "vip_interface": "eth1"},
                   {"inventory_hostname": "d2", "ansible_host": "10.0.0.22", "vip_interface": "auto"}]})
}

fn nat() -> Value {
    json!({"vip_mode": "l4", "vip_address": "10.0.0.9", "vip_provider": "lvs", "vip_to": "members",
        "vip_gateway": "10.0.0.1/24", "vip_clients": ["10.1.0.0/16"]})
}

#[test]
fn an_l2_address_sits_on_the_nodes_with_haproxy_in_the_order_of_their_numbers() {
    let (d, proxy) = duty("pg2", json!({"vip_mode": "l2", "vip_address": "10.0.0.9/24"}), json!({}));
    assert_eq!((hosts(&d.holders), d.holder, proxy), (vec!["pg1", "pg2", "pg3"], Some(1), true));
    assert!(!d.directs() && !d.real_server && !d.asks_haproxy());
    let own = json!({"vip_mode": "l2", "vip_address": "10.0.0.9/24", "pg_service_provider": "lvs"});
    let (d, proxy) = duty("d1", own, lvs());
    assert_eq!((hosts(&d.holders), d.holder, proxy), (vec!["d1", "d2"], Some(0), true));
    assert_eq!(d.holders.iter().map(|p| p.interface.as_deref()).collect::<Vec<_>>(), [Some("eth1"), None]);
    assert!(d.asks_haproxy());
}

#[test]
fn a_director_carries_no_haproxy_and_a_member_behind_it_is_a_real_server() {
    let (d, proxy) = duty("d2", nat(), lvs());
    assert_eq!((d.holder, d.directs(), d.real_server, proxy), (Some(1), true, false, false));
    let (d, proxy) = duty("pg3", nat(), lvs());
    assert_eq!((d.holder, d.directs(), d.real_server, proxy), (None, false, true, true));
}

#[test]
fn priorities_differ_and_stay_in_vrrps_range() {
    assert_eq!([0, 1, 199, 5000].map(Duty::priority), [200, 199, 1, 1]);
}

#[test]
fn what_nodes_cannot_do_is_refused_by_name() {
    let set = |base: Value, key: &str, v: Value| {
        let mut base = base;
        base.as_object_mut().unwrap().insert(key.into(), v);
        base
    };
    let l2 = || json!({"vip_mode": "l2", "vip_address": "10.0.0.9"});
    let named = json!({"lvs": [{"inventory_hostname": "d1", "ansible_host": "d1.example.com"}]});
    let cases = [
        (nat(), json!({}), "vip_provider: there is no host in a group 'lvs'"),
        (nat(), named, "'d1.example.com' is no IP address"),
        (set(nat(), "vip_provider", Value::Null), lvs(), "vip_mode: l4 needs vip_provider"),
        (set(l2(), "vip_address", json!("10.0.0.2")), json!({}), "is a node's own address"),
        (set(l2(), "vip_address", json!("fd00::9")), json!({}), "of another family than pg1"),
        (
            set(set(l2(), "vip_provider", json!("lvs")), "vip_follow", json!("primary")),
            lvs(),
            "'d1' is no member",
        ),
        (
            nat(),
            json!({"lvs": [{"inventory_hostname": "pg1", "ansible_host": "10.0.0.1"}]}),
            "is a director and also",
        ),
    ];
    for (shared, groups, says) in cases {
        let said = wrong(shared, groups);
        assert!(said.contains(says) && said.contains("cluster 'pg-test'"), "{says}: {said}");
    }
}

#[test]
fn two_clusters_on_one_node_need_two_addresses_and_two_router_ids() {
    let one = |name: &str, address: &str, vrid: u8| {
        json!({"inventory_hostname": format!("{name}-1"), "ansible_host": "10.0.0.1", "pg_cluster": name, "pg_seq": 1,
            "pg_services": [{"name": "x", "src_port": if name == "a" {6001} else {6002}, "selector": "[]"}],
            "vip_mode": "l2", "vip_address": address, "vip_vrid": vrid})
    };
    let failed = |a: Value, b: Value| {
        let args = json!({"members": [a, b]});
        let model = request::model(request::from_arguments(args.as_object().unwrap()).unwrap()).unwrap();
        model.failed.get("b").map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(failed(one("a", "10.0.0.8", 7), one("b", "10.0.0.9", 8)), "");
    assert!(failed(one("a", "10.0.0.9", 7), one("b", "10.0.0.9", 8)).contains("also that of cluster 'a'"));
    assert!(
        failed(one("a", "10.0.0.8", 7), one("b", "10.0.0.9", 7))
            .contains("VRID 7 is also that of cluster 'a'")
    );
}

#[test]
fn two_clusters_before_the_same_haproxy_nodes_need_two_check_ports() {
    let one = |name: &str, n: u8, more: Value| {
        let mut vars = json!({"inventory_hostname": format!("{name}-1"), "ansible_host": format!("10.0.0.{n}"),
            "pg_cluster": name, "pg_seq": 1, "vip_mode": "l4", "vip_address": format!("10.0.0.{}", n + 100),
            "vip_provider": "lvs", "pg_service_provider": "lbs", "vip_vrid": n,
            "pg_services": [{"name": "x", "src_port": 6000 + u16::from(n), "selector": "[]"}]});
        vars.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vars
    };
    let failed = |more: Value| {
        let mut groups = lvs();
        groups["lbs"] = json!([{"inventory_hostname": "lb1", "ansible_host": "10.0.0.31"}]);
        groups["others"] = json!([{"inventory_hostname": "lb2", "ansible_host": "10.0.0.32"}]);
        let args = json!({"members": [one("a", 1, json!({})), one("b", 2, more)], "groups": groups,
            "node": {"inventory_hostname": "d1"}, "clusters": ["a", "b"]});
        let model = request::model(request::from_arguments(args.as_object().unwrap()).unwrap()).unwrap();
        assert!(model.failed.is_empty() || model.clusters.contains_key("a"), "{:?}", model.failed);
        model.failed.get("b").map(ToString::to_string).unwrap_or_default()
    };
    assert_eq!(
        failed(json!({})),
        "cluster 'b': vip_check_port 9102 is also that of cluster 'a' on the same HAProxy nodes; set vip_check_port for one of them"
    );
    assert_eq!(failed(json!({"vip_check_port": 9103})), "");
    assert_eq!(failed(json!({"pg_service_provider": "others"})), "");
    assert_eq!(failed(json!({"vip_mode": "l2", "vip_follow": "haproxy"})), "");
}

#[test]
fn what_is_kept_makes_the_same_duty_again() {
    let model = model("d1", nat(), lvs());
    let (_, kept) = &model.kept.clusters[0];
    let mut args = kept.as_object().unwrap().clone();
    args.insert("node".into(), json!({"inventory_hostname": "d1"}));
    let again = request::model(request::from_arguments(&args).unwrap()).unwrap();
    assert_eq!(again.clusters["pg-test"].duty, model.clusters["pg-test"].duty);
}
