//! What is rendered for keepalived, the real keepalived takes without a word of complaint.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod keepalived;

use std::collections::BTreeMap;
use std::process::Command;

use keepalived::{check, interface};
use pgsvc::daemon::keepalived::{Keepalived, Paths};
use pgsvc::host::real::RealSystem;
use pgsvc::inventory::Vars;
use pgsvc::inventory::cluster::{Overrides, build};
use pgsvc::plan::RenderedFile;
use pgsvc::render::Templates;
use pgsvc::render::keepalived::{self as render, Interfaces};
use pgsvc::resolve::{self, RoleSource};
use pgsvc::transaction::Daemon;
use pgsvc::vip::duty::{self, Groups};
use pgsvc::vip::plane::plane;
use serde_json::{Map, Value, json};

fn vars(of: &Value) -> Map<String, Value> {
    of.as_object().unwrap().clone()
}

/// The files of a cluster of so many members on a node that may hold its VIP.
fn files(members: u64, over: &Value, node: &str, foreign: bool) -> Vec<RenderedFile> {
    let (own, _) = rendered(members, over, node);
    let templates = Templates::new(&BTreeMap::new()).unwrap();
    vec![render::node(&templates, foreign).unwrap(), own.unwrap_or_else(|| panic!("{node} holds nothing"))]
}

/// keepalived's file and the unit of a cluster of so many members on a node.
fn rendered(members: u64, over: &Value, node: &str) -> (Option<RenderedFile>, Option<RenderedFile>) {
    let six = over["vip_address"].as_str().is_some_and(|a| a.contains(':'));
    let ip = |n: u64| if six { format!("fd00::{n}") } else { format!("10.0.0.{n}") };
    let member = |seq: u64| {
        let role = ["primary", "replica", "offline"][usize::try_from(seq - 1).unwrap().min(2)];
        let mut m = vars(
            &json!({"pg_cluster": "pg-test", "pg_seq": seq, "pg_role": role, "ansible_host": ip(seq + 10),
            "vip_address": ip(9)}),
        );
        m.extend(vars(over));
        (format!("db{seq}"), m.into())
    };
    let hosts: Vec<(String, Vars)> = (1..=members).map(member).collect();
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let cluster = build("pg-test", &view, &Overrides::default()).unwrap_or_else(|e| panic!("{e}"));
    let host = |name: &str, n: u64| (name.to_owned(), vars(&json!({"ansible_host": ip(n)})).into());
    let groups = Groups::from([
        ("lvs".into(), vec![host("lvs1", 2), host("lvs2", 3)]),
        ("lbs".into(), vec![host("lb1", 6), host("lb2", 7)]),
    ]);
    let vip = cluster.virtual_ip.clone().unwrap();
    let duty = duty::resolve(&cluster, &vip, cluster.provider.as_deref(), &groups, node)
        .unwrap_or_else(|e| panic!("{e}"));
    let services = resolve::cluster(&cluster, RoleSource::Patroni).unwrap_or_else(|e| panic!("{e}"));
    let servers = plane(&duty, &services).unwrap_or_else(|e| panic!("{e}"));
    let templates = Templates::new(&BTreeMap::new()).unwrap();
    let interface = interface();
    let interfaces = Interfaces::one(&interface);
    let own = render::cluster(&templates, &cluster, &duty, &servers, &interfaces);
    let unit = render::unit(&templates, &duty, &interfaces);
    (own.unwrap_or_else(|e| panic!("{e}")), unit.unwrap_or_else(|e| panic!("{e}")))
}

fn nat(more: Value) -> Value {
    let mut all = json!({"vip_mode": "l4", "vip_provider": "lvs", "vip_to": "members", "lb_kind": "NAT",
        "vip_gateway": "10.0.0.1/24", "vip_clients": ["10.1.0.0/16"]});
    all.as_object_mut().unwrap().extend(vars(&more));
    all
}

fn to_haproxy(kind: &str, more: Value) -> Value {
    let mut all =
        json!({"vip_mode": "l4", "vip_provider": "lvs", "pg_service_provider": "lbs", "lb_kind": kind});
    all.as_object_mut().unwrap().extend(vars(&more));
    all
}

/// Every form: members, variables, the node.
fn forms() -> Vec<(&'static str, u64, Value, &'static str)> {
    let six = json!({"vip_address": "fd00::9", "vip_gateway": "fd00::1/64", "vip_clients": ["fd01::/64"]});
    let tls = json!({"patroni_ssl_enabled": true});
    let verified = json!({"patroni_ssl_enabled": true, "patroni_ca_file": "/etc/ssl/ca.crt"});
    // All that check_url may hold, and keepalived could read as something else.
    let url = "/~SEQ(a,1,9)/[a](b)!*@x?c=d,e&f;g=%22";
    let odd = json!({"pg_services": [
        {"name": "x", "src_port": 5440, "check_url": url, "check_code": 503, "check_port": 9000, "selector": "[]"},
        {"name": "y", "src_port": 5441, "check_url": url, "selector": "[?pg_role == `replica`]", "selector_backup": "[]"}]});
    vec![
        ("L2, primary", 3, json!({"vip_mode": "l2"}), "db2"),
        ("L2, one holder", 1, json!({"vip_mode": "l2"}), "db1"),
        ("L2, fast, preempt", 3, json!({"vip_mode": "l2", "vip_timing": "fast", "vip_preempt": true}), "db1"),
        ("L2, haproxy", 3, json!({"vip_mode": "l2", "pg_service_provider": "lbs"}), "lb1"),
        ("L2, version 2", 3, json!({"vip_mode": "l2", "vip_auth_pass": "$a'~@^%("}), "db1"),
        (
            "L2, TLS",
            3,
            json!({"vip_mode": "l2", "patroni_ssl_enabled": true, "patroni_ca_file": "/etc/ssl/ca.crt"}),
            "db1",
        ),
        ("L2, IPv6", 3, json!({"vip_mode": "l2", "vip_address": "fd00::9", "vip_timing": "fast"}), "db1"),
        ("L4, NAT", 3, nat(json!({})), "lvs1"),
        ("L4, NAT, fast", 3, nat(json!({"vip_timing": "fast", "lb_algo": "rr"})), "lvs2"),
        ("L4, NAT, TLS", 3, nat(tls), "lvs1"),
        ("L4, NAT, verified TLS", 3, nat(verified), "lvs1"),
        ("L4, NAT, IPv6", 3, nat(six), "lvs1"),
        ("L4, NAT, 40 members", 40, nat(json!({})), "lvs1"),
        ("L4, NAT, odd checks", 3, nat(odd), "lvs1"),
        ("L4, DR, HAProxy", 3, to_haproxy("DR", json!({})), "lvs1"),
        ("L4, TUN, HAProxy", 3, to_haproxy("TUN", json!({"vip_timing": "fast"})), "lvs1"),
        ("L4, DR, IPv6", 3, to_haproxy("DR", json!({"vip_address": "fd00::9"})), "lvs2"),
    ]
}

#[test]
fn keepalived_takes_every_form_without_a_word() {
    for (name, members, over, node) in forms() {
        let files = files(members, &over, node, false);
        check(&files, "").unwrap_or_else(|e| panic!("{name}: {e}\n{}", files[1].content));
    }
}

#[test]
fn a_keepalived_conf_of_somebody_elses_is_read_as_before() {
    let files = files(3, &json!({"vip_mode": "l2"}), "db1", true);
    let foreign = |script: &str| {
        format!(
            "global_defs {{\n router_id x\n}}\n{script}\nvrrp_instance f {{\n state BACKUP\n interface {}\n virtual_router_id 255\n \
             priority 5\n virtual_ipaddress {{\n 10.0.0.99\n }}\n}}\n",
            interface()
        )
    };
    check(&files, &foreign("")).unwrap();
    // It is read at all.
    let e = check(&files, &foreign("nonsense 1")).unwrap_err();
    assert!(e.contains("Unknown keyword 'nonsense'"), "{e}");
}

#[test]
fn a_check_that_could_not_fail_would_prove_nothing() {
    let mut files = files(3, &nat(json!({})), "lvs1", false);
    let whole = files[1].content.clone();
    for (good, bad) in
        [("delay_loop", "delay_lop"), ("lb_kind NAT", "lb_kind FNAT"), ("interface ", "interface no")]
    {
        files[1].content = whole.replacen(good, bad, 1).into();
        check(&files, "").unwrap_err();
    }
}

#[test]
fn our_own_test_of_a_candidate_takes_what_is_rendered_and_refuses_what_is_not() {
    let (dir, sys) = (tempfile::tempdir().unwrap(), RealSystem::new(None));
    let daemon = Keepalived::without_systemd(&sys, Paths::default());
    for (over, node) in [(json!({"vip_mode": "l2"}), "db1"), (nat(json!({})), "lvs1")] {
        let lay = |from: &str, to: &str| {
            for f in files(3, &over, node, false) {
                let path = dir.path().join(f.path.strip_prefix("/").unwrap());
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                // Our program need not be here yet, as on a node that is only to be checked.
                let text = if from.is_empty() { f.content.to_string() } else { f.content.replace(from, to) };
                std::fs::write(path, text).unwrap();
            }
            daemon.check(dir.path())
        };
        lay("", "").unwrap_or_else(|e| panic!("{e}"));
        let e = lay("garp_master_delay", "garp_master_dely").unwrap_err().to_string();
        assert!(
            e.starts_with("/etc/keepalived/pgsvc.d/pg-test.conf:") && e.contains("garp_master_dely"),
            "{e}"
        );
    }
}

#[test]
fn systemd_takes_the_unit_of_every_part() {
    let dir = tempfile::tempdir().unwrap();
    for (over, node) in [
        (nat(json!({})), "lvs1"),
        (nat(json!({})), "db2"),
        (to_haproxy("DR", json!({})), "lvs1"),
        (to_haproxy("DR", json!({})), "lb1"),
        (to_haproxy("TUN", json!({})), "lb2"),
        (to_haproxy("DR", json!({"vip_address": "fd00::9"})), "lb1"),
    ] {
        let unit = rendered(3, &over, node).1.unwrap_or_else(|| panic!("{node} needs nothing"));
        let path = dir.path().join(unit.path.file_name().unwrap());
        // Programs that need not be here are not what is looked at.
        let known = ["/sbin/modprobe", "/sbin/sysctl", "/sbin/ip"];
        let text = known.iter().fold(unit.content.to_string(), |t, program| t.replace(program, "/bin/true"));
        std::fs::write(&path, text).unwrap();
        let out = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!said.contains("pgsvc-vip-pg-test.service"), "{node}: {said}");
    }
    std::fs::write(dir.path().join("pgsvc-vip-x.service"), "[Service]\nExecStrat=/bin/true\n").unwrap();
    let out =
        Command::new("systemd-analyze").arg("verify").arg(dir.path().join("pgsvc-vip-x.service")).output();
    assert!(
        String::from_utf8_lossy(&out.unwrap().stderr).contains("pgsvc-vip-x.service"),
        "it says nothing of anything"
    );
}
