use serde_json::json;

use super::*;
use crate::error::Errors;

/// The VIP of variables, or what is wrong with them, a line each.
fn read(vars: serde_json::Value) -> Result<Option<Vip>, String> {
    let mut errors = Errors::default();
    let vip = parse("pg-test", &vars.as_object().unwrap().into(), &mut errors);
    errors.finish(vip).map_err(|e| e.to_string())
}

fn vip(vars: serde_json::Value) -> Vip {
    read(vars).unwrap().unwrap()
}

#[test]
fn a_cluster_without_a_mode_has_no_vip_of_ours() {
    assert_eq!(read(json!({})), Ok(None));
    assert_eq!(read(json!({"vip_address": "10.0.0.9"})), Ok(None));
    assert_eq!(read(json!({"vip_mode": "none", "vip_address": "10.0.0.9"})), Ok(None));
    // vip-manager's: a second one who carries it would make two holders.
    assert_eq!(read(json!({"pg_vip_enabled": true, "pg_vip_address": "10.0.0.9/24"})), Ok(None));
}

#[test]
fn both_dialects_name_an_address() {
    let one = vip(json!({"vip_mode": "l2", "vip_address": "10.0.0.9", "vip_cidrmask": 16}));
    assert_eq!((one.cidr().as_str(), one.mode, one.follow), ("10.0.0.9/16", Mode::L2, Follow::Primary));
    let today = vip(json!({"vip_mode": "l2", "pg_vip_address": "10.0.0.9/26"}));
    assert_eq!((today.cidr().as_str(), today.mode), ("10.0.0.9/26", Mode::L2));
    assert_eq!(vip(json!({"vip_mode": "l2", "vip_address": "fd00::9"})).cidr(), "fd00::9/64");
}

#[test]
fn an_address_on_nodes_of_their_own_cannot_follow_the_primary_by_default() {
    let v = vip(json!({"vip_mode": "l2", "vip_address": "10.0.0.9", "pg_service_provider": "lbs"}));
    assert_eq!(v.follow, Follow::Haproxy);
}

#[test]
fn a_kind_follows_from_what_is_behind() {
    let base = |more: serde_json::Value| {
        let mut vars = json!({"vip_mode": "l4", "vip_address": "10.0.0.9", "vip_provider": "lvs"});
        vars.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vip(vars)
    };
    assert_eq!((base(json!({})).to, base(json!({})).kind), (To::Haproxy, Kind::Dr));
    let nat =
        base(json!({"vip_to": "members", "vip_gateway": "10.0.0.1/24", "vip_clients": ["10.1.0.0/16"]}));
    assert_eq!((nat.kind, nat.clients[0].to_string().as_str()), (Kind::Nat, "10.1.0.0/16"));
    assert_eq!(base(json!({"lb_kind": "tun"})).kind, Kind::Tun);
}

#[test]
fn a_router_id_is_the_same_on_every_node_and_in_range() {
    let id = |cluster: &str| {
        let vars = json!({"vip_mode": "l2", "vip_address": "10.0.0.9"});
        parse(cluster, &vars.as_object().unwrap().into(), &mut Errors::default()).unwrap().vrid
    };
    assert_eq!(id("pg-test"), id("pg-test"));
    assert!((0..2000).all(|n| id(&format!("pg-{n}")) > 0));
    let all: std::collections::BTreeSet<u8> = (0..2000).map(|n| id(&format!("pg-{n}"))).collect();
    assert!(all.len() > 200, "{}", all.len());
}

#[test]
fn a_password_is_the_eight_characters_it_is() {
    let base = |pass: &str| json!({"vip_mode": "l2", "vip_address": "10.0.0.9", "vip_auth_pass": pass});
    let v = vip(base("12345678"));
    assert_eq!((v.auth_pass.clone().unwrap().0.as_str(), v.vrrp_version()), ("12345678", 2));
    let nine = read(base("geheim-89")).unwrap_err();
    assert!(nine.contains("has 9 characters") && !nine.contains("geheim"), "{nine}");
    let line = read(base("a\n}")).unwrap_err();
    assert!(line.contains("cannot stand in keepalived's file"), "{line}");
}

#[test]
fn what_is_out_of_range_or_contradicts_itself_is_refused_by_name() {
    let cases = [
        (json!({"vip_vrid": 0}), "vip_vrid"),
        (json!({"vip_vrid": 256}), "vip_vrid"),
        (json!({"vip_mode": "l3"}), "vip_mode: 'l3' is not valid"),
        (json!({"vip_address": "10.0.0.9/33"}), "has no valid mask"),
        (json!({"vip_address": "10.0.0.9/24", "vip_cidrmask": 16}), "say it once"),
        (json!({"vip_address": "127.0.0.1"}), "cannot be a VIP"),
        (json!({"vip_address": null}), "has no vip_address"),
        (json!({"lb_algo": "best"}), "lb_algo: 'best'"),
        (json!({"lb_kind": "FNAT"}), "not in the Linux kernel's IPVS"),
        (json!({"vip_timing": "fast", "vip_auth_pass": "x"}), "cannot be had together"),
        (json!({"vip_mode": "l4", "vip_to": "members"}), "needs vip_gateway and vip_clients"),
        (json!({"vip_clients": ["10.0.0.0/8", "x"]}), "vip_clients: 'x' is no address"),
        (json!({"vip_gateway": "fd00::1/64"}), "of another family"),
        (json!({"vip_provider": "a b"}), "vip_provider"),
    ];
    for (more, says) in cases {
        let mut vars = json!({"vip_mode": "l2", "vip_address": "10.0.0.9"});
        vars.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let said = read(vars).expect_err(&more.to_string());
        assert!(said.contains(says) && said.starts_with("cluster 'pg-test'"), "{more}: {said}");
    }
}

#[test]
fn a_network_knows_who_is_in_it() {
    let net: Net = "10.1.2.3/20".parse().unwrap();
    assert!(net.contains("10.1.15.255".parse().unwrap()) && !net.contains("10.1.16.0".parse().unwrap()));
    assert!(!net.contains("::1".parse().unwrap()));
    assert!("0.0.0.0/0".parse::<Net>().unwrap().contains("9.9.9.9".parse().unwrap()));
    for bad in ["10.0.0.1/33", "10.0.0.1/", "10.0.0.1/+8", "x", "fd00::/129"] {
        assert!(bad.parse::<Net>().is_err(), "{bad}");
    }
}
