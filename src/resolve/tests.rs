use super::*;
use crate::inventory::Vars;
use crate::inventory::cluster::{Overrides, build};
use serde_json::{Value, json};

fn hosts(list: &Value) -> Vec<(String, Vars)> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|h| (h["host"].as_str().unwrap().to_owned(), h.as_object().unwrap().into()))
        .collect()
}

fn pg_test(extra: Value) -> Result<Cluster, Errors> {
    let list = json!([
        {"host": "10.10.10.11", "pg_cluster": "pg-test", "pg_seq": 1, "pg_role": "primary"},
        {"host": "10.10.10.12", "pg_cluster": "pg-test", "pg_seq": "2", "pg_role": "replica", "patroni_port": 8108},
        {"host": "10.10.10.13", "pg_cluster": "pg-test", "pg_seq": 3, "pg_role": "offline", "pg_offline_query": "false"}
    ]);
    let mut hosts = hosts(&list);
    for (_, vars) in &mut hosts {
        vars.extend(extra.as_object().unwrap().clone());
    }
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    build("pg-test", &view, &Overrides::default())
}

fn shape(roles: RoleSource, name: &str, extra: Value) -> Vec<(String, Option<Tier>, Option<Tier>)> {
    let services = cluster(&pg_test(extra).unwrap(), roles).unwrap();
    let service = services.iter().find(|s| s.service == name).unwrap();
    service.servers.iter().map(|s| (s.instance.clone(), s.as_primary, s.as_replica)).collect()
}

const A: Option<Tier> = Some(Tier::Active);
const B: Option<Tier> = Some(Tier::Backup);

#[test]
fn the_replica_service_follows_the_live_role() {
    let got = shape(RoleSource::Patroni, "replica", json!({}));
    assert_eq!(got, [("pg-test-1".into(), B, A), ("pg-test-2".into(), B, A), ("pg-test-3".into(), B, B)]);
}

#[test]
fn on_request_the_inventory_decides_as_upstream_does() {
    let got = shape(RoleSource::Inventory, "replica", json!({}));
    assert_eq!(got, [("pg-test-1".into(), B, B), ("pg-test-2".into(), A, A), ("pg-test-3".into(), B, B)]);
}

#[test]
fn the_offline_service_has_replicas_behind_it_but_never_the_primary() {
    let got = shape(RoleSource::Patroni, "offline", json!({}));
    assert_eq!(
        got,
        [("pg-test-1".into(), None, B), ("pg-test-2".into(), None, B), ("pg-test-3".into(), A, A)]
    );
}

#[test]
fn the_primary_service_has_every_member() {
    assert_eq!(shape(RoleSource::Patroni, "primary", json!({})).len(), 3);
    let services = cluster(&pg_test(json!({})).unwrap(), RoleSource::Patroni).unwrap();
    assert!(!services[0].follows_roles() && services[1].follows_roles());
}

#[test]
fn a_members_own_ports_are_used() {
    let services = cluster(&pg_test(json!({})).unwrap(), RoleSource::Patroni).unwrap();
    let ports: Vec<_> = services[0].servers.iter().map(|s| (s.port, s.check_port)).collect();
    assert_eq!(ports, [(6432, 8008), (6432, 8108), (6432, 8008)]);
    let extra = json!({"pg_services_extra": [{"name": "x", "src_port": 5439, "dst_port": "7000", "check_port": "9000", "selector": "[]"}]});
    let services = cluster(&pg_test(extra).unwrap(), RoleSource::Patroni).unwrap();
    assert!(services[4].servers.iter().all(|s| (s.port, s.check_port) == (7000, 9000)));
}

#[test]
fn a_backup_only_member_keeps_a_numeric_target() {
    let extra = json!({"pg_services": [{"name": "x", "src_port": 5439, "dst_port": 7000, "selector": "[?pg_seq == `2`]",
        "selector_backup": "[?pg_seq == `3`]", "check_url": "/replica"}]});
    let services = cluster(&pg_test(extra).unwrap(), RoleSource::Patroni).unwrap();
    let got: Vec<_> =
        services[0].servers.iter().map(|s| (s.instance.as_str(), s.as_replica, s.port)).collect();
    assert_eq!(got, [("pg-test-2", A, 7000), ("pg-test-3", B, 7000)]);
}

#[test]
fn the_false_that_is_a_text_selects_nobody() {
    let extra = json!({"pg_services": [{"name": "x", "src_port": 5439, "selector": "[?pg_offline_query]"}]});
    assert!(cluster(&pg_test(extra).unwrap(), RoleSource::Patroni).unwrap()[0].servers.is_empty());
}

#[test]
fn a_selector_over_another_variable_needs_no_role() {
    let extra =
        json!({"zone": "a", "pg_services": [{"name": "x", "src_port": 5439, "selector": "[?zone == 'a']"}]});
    assert_eq!(shape(RoleSource::Patroni, "x", extra).len(), 3);
}

#[test]
fn errors_of_all_services_come_at_once() {
    let extra = json!({"pg_services": [
        {"name": "a", "src_port": 5433, "selector": "[].pg_role"},
        {"name": "b", "src_port": 5434, "selector": "nothing"}]});
    let e = cluster(&pg_test(extra).unwrap(), RoleSource::Patroni).unwrap_err().to_string();
    assert!(
        e.contains("service 'a' of pg-test: selector: yields")
            && e.contains("service 'b' of pg-test: selector: yields null"),
        "{e}"
    );
}

#[test]
fn duplicate_names_ports_and_numbers_are_errors() {
    let e = pg_test(json!({"pg_seq": 1, "pg_services_extra": [
        {"name": "primary", "src_port": 5440, "selector": "[]"}, {"name": "x", "src_port": 5433, "selector": "[]"}]}));
    let text = e.unwrap_err().to_string();
    for part in [
        "pg_seq 1 is both",
        "'primary' of pg-test: is defined twice",
        "port 5433 is also that of service 'primary'",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_list_that_mixes_dialects_is_an_error_and_todays_list_adds() {
    let one = json!({"name": "a", "src_port": 5440, "selector": "[]"});
    let two = json!({"name": "b", "port": 5441, "selector": "[]"});
    assert!(
        pg_test(json!({"pg_services": [one, two]})).unwrap_err().to_string().contains("mixes two dialects")
    );
    assert_eq!(pg_test(json!({"pg_services": [two]})).unwrap().services.len(), 5);
    assert_eq!(pg_test(json!({"pg_services": [one]})).unwrap().services.len(), 1);
    assert_eq!(
        pg_test(json!({"pg_default_services": [two], "pg_services_extra": [one]})).unwrap().services.len(),
        2
    );
}

#[test]
fn vip_needs_an_address_and_takes_it() {
    let s = json!([{"name": "a", "src_ip": "vip", "src_port": 5440, "selector": "[]"}]);
    assert!(pg_test(json!({"pg_services": s})).unwrap_err().to_string().contains("set vip_address"));
    let c = pg_test(json!({"pg_services": s, "vip_address": "10.10.10.3/24"})).unwrap();
    assert_eq!(cluster(&c, RoleSource::Patroni).unwrap()[0].binds, ["10.10.10.3:5440".parse().unwrap()]);
}

#[test]
fn two_clusters_on_one_port_or_with_one_listener_name_collide() {
    let mut a = cluster(&pg_test(json!({})).unwrap(), RoleSource::Patroni).unwrap();
    let mut b = a[..1].to_vec();
    b[0].cluster = "pg".into();
    b[0].service = "test-primary".into();
    a.extend(b);
    let found = collisions(&a.iter().collect::<Vec<_>>());
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|(c, _)| c == "pg"));
}

#[test]
fn clusters_with_one_port_on_addresses_of_their_own_do_not_meet_and_one_on_all_addresses_meets_them_all() {
    let at = |cluster_name: &str, bind: &str| {
        let mut s = cluster(&pg_test(json!({})).unwrap(), RoleSource::Patroni).unwrap().remove(0);
        (s.cluster, s.listener) = (cluster_name.into(), format!("{cluster_name}-primary"));
        s.binds = vec![bind.parse().unwrap()];
        s
    };
    let mut all = vec![at("a", "10.0.0.1:5433"), at("b", "10.0.0.2:5433"), at("c", "10.0.0.1:5434")];
    let told = |all: &[ResolvedService]| {
        collisions(&all.iter().collect::<Vec<_>>()).into_iter().map(|(c, _)| c).collect::<Vec<_>>()
    };
    assert!(told(&all).is_empty());
    all.push(at("d", "10.0.0.2:5433"));
    assert_eq!(told(&all), ["d"]);
    all.push(at("e", "0.0.0.0:5433"));
    assert_eq!(told(&all), ["d", "e", "e", "e"]);
    all.push(at("f", "10.0.0.9:5433"));
    assert_eq!(told(&all).last().unwrap(), "f", "one that has every address is met by who comes later");
}

#[test]
fn expectations_come_from_patronis_paths() {
    for (url, expected) in [
        ("/", Expectation::Primary),
        ("/read-write", Expectation::Primary),
        ("/replica?lag=1MB", Expectation::Replica),
        ("/read-only?lag=0", Expectation::ReadOnly),
        ("/read-only-sync", Expectation::ReadOnly),
        ("/leader", Expectation::Leader),
        ("/liveness", Expectation::Check),
    ] {
        assert_eq!(expectation(url, 200, true), expected, "{url}");
    }
    assert_eq!(expectation("/primary", 200, false), Expectation::Check);
    assert_eq!(expectation("/primary", 503, true), Expectation::Check, "whoever is not the primary");
}

#[test]
fn a_listener_named_as_another_ones_backend_is_refused() {
    let ro = json!({"name": "ro", "src_port": 5440, "selector": "[]", "selector_backup": "[? pg_role == `primary`]"});
    let with = |name: &str| {
        let c = pg_test(json!({"pg_services": [ro, {"name": name, "src_port": 5441, "selector": "[]"}]}))
            .unwrap();
        cluster(&c, RoleSource::Patroni).map(drop)
    };
    for bad in ["ro-backup", "ro-check1", "ro-backup-check2"] {
        let e = with(bad).unwrap_err().to_string();
        assert!(e.contains(&format!("'pg-test-{bad}'")) && e.contains("backend of service 'ro'"), "{e}");
    }
    for good in ["ro-backups", "ro-check", "ro-checkup", "backup"] {
        assert_eq!(with(good), Ok(()), "{good}");
    }
    let mut two = cluster(&pg_test(json!({"pg_services": [ro]})).unwrap(), RoleSource::Patroni).unwrap();
    let mut other = two[0].clone();
    (other.cluster, other.service, other.listener) =
        ("pg".into(), "test-ro-backup".into(), "pg-test-ro-backup".into());
    other.binds.clear();
    two.push(other);
    assert_eq!(collisions(&two.iter().collect::<Vec<_>>()).len(), 1);
    two[1].listener = "00-pgsvc".into();
    assert!(collisions(&two.iter().collect::<Vec<_>>())[0].1.to_string().contains("the node's own"));
}

#[test]
fn a_selector_that_quotes_pg_role_follows_the_roles_too() {
    let tiers = |role: &str| {
        let selector = format!("[? {role} == 'replica' ]");
        let c =
            pg_test(json!({"pg_services": [{"name": "r", "src_port": 5434, "selector": selector}]})).unwrap();
        cluster(&c, RoleSource::Patroni).unwrap()[0].servers.clone()
    };
    assert_eq!(tiers("\"pg_role\""), tiers("pg_role"));
}
