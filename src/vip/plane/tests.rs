use serde_json::{Value, json};

use super::*;
use crate::vip::fixture::{self, Case, nat};

fn planned(c: &Case) -> Result<Vec<VirtualServer>, String> {
    plane(&c.duty, &c.services).map_err(|e| e.to_string())
}

fn case(over: Value) -> Case {
    fixture::case(&over, "lvs1")
}

fn named<'a>(all: &'a [VirtualServer], service: &str) -> &'a VirtualServer {
    all.iter().find(|v| v.listener == format!("pg-test-{service}")).unwrap()
}

/// The calls of a real server's programs, without the binary's name.
fn calls(v: &VirtualServer, name: &str) -> Vec<String> {
    let real = v.real.iter().find(|r| r.name == name).unwrap();
    let call = |c: &Check| match c {
        Check::Program { argv } => Some(argv[1..].join(" ")),
        _ => None,
    };
    real.checks.iter().filter_map(call).collect()
}

#[test]
fn the_four_default_services_are_balanced_over_their_members_by_nat() {
    let all = planned(&case(nat(&json!({})))).unwrap();
    let ports: Vec<(&str, u16, u16)> =
        all.iter().map(|v| (v.listener.as_str(), v.port, v.real[0].port)).collect();
    assert_eq!(
        ports,
        [
            ("pg-test-primary", 5433, 6432),
            ("pg-test-replica", 5434, 6432),
            ("pg-test-default", 5436, 5432),
            ("pg-test-offline", 5438, 5432)
        ]
    );
    let primary = named(&all, "primary");
    assert_eq!((primary.kind, primary.algorithm.as_str(), primary.quorum), (Kind::Nat, "wlc", 1));
    assert_eq!(primary.real.len(), 3);
    assert_eq!(
        primary.real[1].checks,
        [
            Check::Http { port: 8008, ssl: false, path: "/primary".into(), code: 200 },
            Check::Tcp { port: 6432 }
        ]
    );
}

#[test]
fn a_backup_serves_while_it_is_well_and_no_active_member_is() {
    let all = planned(&case(nat(&json!({})))).unwrap();
    let (one, two) = (
        "http://10.0.0.11:8008/read-only,http://10.0.0.11:8008/replica,tcp://10.0.0.11:6432",
        "http://10.0.0.12:8008/read-only,http://10.0.0.12:8008/replica,tcp://10.0.0.12:6432",
    );
    // The third is offline: a backup under every role.
    assert_eq!(
        calls(named(&all, "replica"), "pg-test-3"),
        [format!(
            "check http://10.0.0.13:8008/read-only tcp://10.0.0.13:6432 --unless {one} --unless {two} --within 2000"
        )]
    );
}

#[test]
fn a_member_of_both_tiers_is_one_real_server_that_is_right_in_both() {
    let all = planned(&case(nat(&json!({})))).unwrap();
    let replica = named(&all, "replica");
    assert_eq!(replica.real.iter().filter(|r| r.name == "pg-test-1").count(), 1);
    // Active while it is a replica; else a backup, whatever it says of itself, unless the other one is active.
    assert_eq!(
        calls(replica, "pg-test-1"),
        ["check http://10.0.0.11:8008/read-only http://10.0.0.11:8008/replica tcp://10.0.0.11:6432 \
          --or http://10.0.0.11:8008/read-only tcp://10.0.0.11:6432 \
          --unless http://10.0.0.12:8008/read-only,http://10.0.0.12:8008/replica,tcp://10.0.0.12:6432 --within 2000"]
    );
}

#[test]
fn a_member_without_weight_takes_nothing_and_keeps_no_backup_from_serving() {
    let mut hosts = fixture::hosts(&nat(&json!({})));
    hosts[1].1.insert("pg_weight", 0.into());
    let all = planned(&fixture::of(&hosts, "lvs1")).unwrap();
    let replica = named(&all, "replica");
    assert_eq!(replica.real.iter().map(|r| r.weight).collect::<Vec<_>>(), [100, 0, 100]);
    let call = &calls(replica, "pg-test-3")[0];
    assert!(call.contains("--unless http://10.0.0.11:8008") && !call.contains("10.0.0.12"), "{call}");
    let none = planned(&case(nat(&json!({"pg_weight": 0})))).unwrap_err();
    assert!(none.contains("service 'primary' of pg-test: has no member with a weight"), "{none}");
}

#[test]
fn one_member_alone_serves_a_guarded_service() {
    let mut c = case(nat(&json!({})));
    c.services.iter_mut().for_each(|s| s.guarded = s.service == "primary");
    let all = planned(&c).unwrap();
    assert_eq!(
        calls(named(&all, "primary"), "pg-test-1"),
        [
            "check http://10.0.0.11:8008/primary tcp://10.0.0.11:6432 --unless http://10.0.0.12:8008/primary,tcp://10.0.0.12:6432 \
          --unless http://10.0.0.13:8008/primary,tcp://10.0.0.13:6432 --within 2000"
        ]
    );
    assert!(calls(named(&all, "default"), "pg-test-1").is_empty());
}

#[test]
fn tls_is_asked_by_keepalived_where_nothing_is_verified_and_by_our_program_where_it_is() {
    let all = planned(&case(nat(&json!({"patroni_ssl_enabled": true})))).unwrap();
    assert!(matches!(named(&all, "primary").real[0].checks[0], Check::Http { ssl: true, port: 8008, .. }));
    let ca = json!({"patroni_ssl_enabled": true, "patroni_ca_file": "/etc/ssl/ca.crt", "vip_timing": "fast"});
    let all = planned(&case(nat(&ca))).unwrap();
    assert_eq!(
        calls(named(&all, "primary"), "pg-test-2"),
        ["check https://10.0.0.12:8008/primary tcp://10.0.0.12:6432 --ca /etc/ssl/ca.crt --within 900"]
    );
}

#[test]
fn a_check_of_another_port_path_and_code_is_kept() {
    let service = json!([{"name": "x", "src_port": 5440, "check_url": "/a?b=c,d&lag=1~2!", "check_port": 9000, "check_code": 204,
        "selector": "[?pg_role == `replica`]", "selector_backup": "[?pg_role == `primary`]"}]);
    let all = planned(&case(nat(&json!({"pg_services": service})))).unwrap();
    let call = &calls(named(&all, "x"), "pg-test-1")[0];
    // A comma would part two needs, and '~' and '!' mean something to keepalived.
    let own = "http://10.0.0.11:9000/a?b=c%2Cd&lag=1%7E2%21#204";
    assert!(
        call.starts_with(&format!("check {own} http://10.0.0.11:8008/replica tcp://10.0.0.11:6432 --or")),
        "{call}"
    );
    let native = json!([{"name": "x", "src_port": 5440, "check_url": "/x", "check_port": 9000, "check_code": 503, "selector": "[]"}]);
    let all = planned(&case(nat(&json!({"pg_services": native})))).unwrap();
    let http = Check::Http { port: 9000, ssl: false, path: "/x".into(), code: 503 };
    assert_eq!(named(&all, "x").real[0].checks, [http, Check::Tcp { port: 6432 }]);
}

#[test]
fn many_members_are_asked_in_several_calls_that_keepalived_can_read() {
    let one = fixture::hosts(&nat(&json!({}))).remove(1).1;
    let mut hosts = fixture::hosts(&nat(&json!({})));
    for n in 4..40 {
        let mut vars = one.clone();
        vars.insert("pg_seq", n.into());
        vars.insert("ansible_host", format!("10.0.0.1{n}").into());
        hosts.push((format!("db{n}"), vars));
    }
    let all = planned(&fixture::of(&hosts, "lvs1")).unwrap();
    let calls = calls(named(&all, "replica"), "pg-test-1");
    assert!(calls.len() > 3 && calls.iter().all(|c| c.len() < 960), "{calls:?}");
    for seq in (2..40).filter(|n| *n != 3) {
        let group = format!("--unless http://10.0.0.1{seq}:8008/read-only,");
        assert_eq!(calls.iter().filter(|c| c.contains(&group)).count(), 1, "{seq}");
    }
    assert!(calls.iter().all(|c| c.contains(" --or ")), "{calls:?}");
}

#[test]
fn a_call_that_keepalived_cannot_read_is_refused() {
    let service = json!([{"name": "x", "src_port": 5440, "check_url": format!("/{}", "x".repeat(1000)), "selector": "[]"}]);
    let said = planned(&case(nat(&json!({"pg_services": service})))).unwrap_err();
    assert!(
        said.contains("service 'x' of pg-test: pg-test-1") && said.contains("keepalived reads 1023"),
        "{said}"
    );
}

#[test]
fn names_and_shared_ports_are_refused() {
    let mut hosts = fixture::hosts(&nat(&json!({})));
    hosts[1].1.insert("ansible_host", "db2.example".into());
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let cluster = crate::inventory::cluster::build("pg-test", &view, &Default::default()).unwrap();
    let services = crate::resolve::cluster(&cluster, Default::default()).unwrap();
    let duty = case(nat(&json!({}))).duty;
    let said = plane(&duty, &services).unwrap_err().to_string();
    assert!(
        said.contains("pg-test-2: 'db2.example' is no IP address, which IPVS needs; set ansible_host"),
        "{said}"
    );
    let same = planned(&case(nat(&json!({"ansible_host": "10.0.0.11"})))).unwrap_err();
    assert!(
        same.contains("pg-test-1 and pg-test-2 are both 10.0.0.11:6432, which IPVS cannot hold twice"),
        "{same}"
    );
}

#[test]
fn ports_are_mapped_by_nat_only() {
    for kind in ["DR", "TUN"] {
        let said = planned(&case(json!({"vip_to": "members", "lb_kind": kind}))).unwrap_err();
        let what = format!(
            "service 'primary' of pg-test: lb_kind: {kind} cannot lead port 5433 to port 6432 (pg-test-1, pg-test-2, pg-test-3)"
        );
        assert!(said.contains(&what), "{said}");
        assert!(said.contains("use lb_kind: NAT, vip_to: haproxy, or a dst_port"), "{said}");
        assert_eq!(said.lines().count(), 4, "{said}");
        let service = json!([{"name": "x", "src_port": 6432, "selector": "[]"}]);
        let own = json!({"vip_to": "members", "lb_kind": kind, "pg_services": service});
        assert_eq!(planned(&case(own)).unwrap().len(), 1);
    }
}

#[test]
fn haproxy_nodes_are_led_to_on_the_services_own_port() {
    let all =
        planned(&case(json!({"vip_to": "haproxy", "pg_service_provider": "lbs", "vip_check_port": 9200})))
            .unwrap();
    assert_eq!(all.len(), 4);
    let (v, real) = (&all[0], &all[0].real[1]);
    assert_eq!((v.kind, v.port), (Kind::Dr, 5433));
    assert_eq!(
        (real.name.as_str(), real.address.to_string().as_str(), real.port, real.weight),
        ("lb2", "10.0.0.22", 5433, 1)
    );
    let word = Check::Http { port: 9200, ssl: false, path: "/".into(), code: 200 };
    assert_eq!(real.checks, [word], "a connection to the port itself would be a session of PostgreSQL's");
}

#[test]
fn a_service_on_the_vip_alone_is_not_asked_on_another_address() {
    let service = |ip: &str| json!([{"name": "x", "src_ip": ip, "src_port": 5440, "selector": "[]"}]);
    let over = |ip: &str, kind: &str| {
        nat(
            &json!({"vip_to": "haproxy", "lb_kind": kind, "pg_service_provider": "lbs", "pg_services": service(ip)}),
        )
    };
    let all = planned(&case(over("vip", "DR"))).unwrap();
    assert!(matches!(all[0].real[0].checks[..], [Check::Http { .. }]), "{:?}", all[0].real[0].checks);
    let said = planned(&case(over("vip", "NAT"))).unwrap_err();
    assert!(said.contains("listens on the VIP only") && said.contains("src_ip: \"*\""), "{said}");
    // Elsewhere than on the VIP: not reached through it.
    assert_eq!(planned(&case(over("10.0.0.77", "DR"))).unwrap(), []);
}

#[test]
fn an_l2_address_balances_nothing() {
    assert_eq!(planned(&fixture::case(&json!({"vip_mode": "l2", "vip_provider": null}), "db1")).unwrap(), []);
}
