use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::render::haproxy::{Owner, owner};
use crate::vip::fixture::{self, Case, nat};
use crate::vip::plane::plane;

fn templates() -> Templates {
    Templates::new(&BTreeMap::new()).unwrap()
}

fn rendered(c: &Case, interfaces: &Interfaces<'_>) -> Result<Option<RenderedFile>, Error> {
    let servers = plane(&c.duty, &c.services).unwrap_or_else(|e| panic!("{e}"));
    cluster(&templates(), &c.cluster, &c.duty, &servers, interfaces)
}

fn text(over: Value, node: &str) -> String {
    let f = rendered(&fixture::case(&over, node), &Interfaces::one("eth0")).unwrap().unwrap();
    assert_eq!(
        (f.mode, f.owner.0.as_str(), f.path.to_str().unwrap()),
        (0o640, "root", "/etc/keepalived/pgsvc.d/pg-test.conf")
    );
    f.content.to_string()
}

fn unit_text(over: Value, node: &str) -> Option<String> {
    let c = fixture::case(&over, node);
    unit(&templates(), &c.duty, &Interfaces::one("eth0")).unwrap().map(|f| f.content.to_string())
}

fn l2(more: Value) -> Value {
    let mut all = json!({"vip_mode": "l2", "vip_provider": null});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

#[test]
fn an_address_that_follows_the_primary_renders_as_reviewed() {
    insta::assert_snapshot!(text(l2(json!({})), "db2"));
}

#[test]
fn an_address_that_follows_haproxy_renders_as_reviewed() {
    let over = l2(json!({"pg_service_provider": "lbs", "vip_timing": "fast", "vip_preempt": true}));
    insta::assert_snapshot!(text(over, "lb1"));
}

#[test]
fn a_director_of_members_by_nat_renders_as_reviewed() {
    insta::assert_snapshot!(text(nat(&json!({})), "lvs1"));
}

#[test]
fn a_director_of_haproxy_nodes_renders_as_reviewed() {
    insta::assert_snapshot!(text(
        json!({"vip_to": "haproxy", "pg_service_provider": "lbs", "vip_timing": "fast"}),
        "lvs2"
    ));
}

#[test]
fn a_director_with_dpvs_renders_as_reviewed() {
    let over = nat(
        &json!({"vip_dpvs": true, "lb_kind": "FNAT", "vip_local_addresses": ["10.0.0.200", "10.0.0.201"],
        "pg_services": [{"name": "primary", "src_port": 5433, "check_url": "/primary", "selector": "[]"}]}),
    );
    let c = fixture::case(&over, "lvs1");
    insta::assert_snapshot!(rendered(&c, &Interfaces::one("dpdk0.kni")).unwrap().unwrap().content);
    assert_eq!(unit(&templates(), &c.duty, &Interfaces::one("dpdk0.kni")).unwrap(), None);
}

#[test]
fn the_nodes_own_file_renders_as_reviewed() {
    let (alone, beside) = (node(&templates(), false).unwrap(), node(&templates(), true).unwrap());
    insta::assert_snapshot!(format!("{}==>\n{}", alone.content, beside.content));
    assert_eq!((alone.path.to_str(), alone.mode), (Some("/etc/keepalived/pgsvc.conf"), 0o640));
    assert_eq!(owner(beside.content.as_bytes()), Some(Owner::Node));
}

#[test]
fn what_a_node_needs_renders_as_reviewed() {
    let to_haproxy = |kind: &str| json!({"vip_to": "haproxy", "lb_kind": kind, "pg_service_provider": "lbs"});
    let all = [
        ("a NAT director", nat(&json!({})), "lvs1"),
        ("a NAT member", nat(&json!({})), "db1"),
        ("a DR director", to_haproxy("DR"), "lvs1"),
        ("a DR real server", to_haproxy("DR"), "lb1"),
        ("a TUN real server", to_haproxy("TUN"), "lb2"),
    ];
    let text: String = all
        .into_iter()
        .map(|(what, over, node)| {
            let text = unit_text(over, node).unwrap();
            assert!(
                matches!(owner(text.as_bytes()), Some(Owner::Cluster { cluster, .. }) if cluster == "pg-test")
            );
            let lines = text.lines().filter(|l| l.starts_with("Exec")).map(|l| format!("{l}\n"));
            format!("==> {what}\n{}", lines.collect::<String>())
        })
        .collect();
    insta::assert_snapshot!(text);
    insta::assert_snapshot!(unit_text(to_haproxy("DR"), "lb1").unwrap());
}

#[test]
fn a_node_without_a_part_gets_nothing() {
    let c = fixture::case(&json!({"vip_to": "haproxy", "pg_service_provider": "lbs"}), "db1");
    assert_eq!(rendered(&c, &Interfaces::one("eth0")).unwrap(), None);
    assert_eq!(unit(&templates(), &c.duty, &Interfaces::one("eth0")).unwrap(), None);
    assert_eq!(unit_text(l2(json!({})), "db1"), None);
}

fn six(more: Value) -> Case {
    let mut hosts = fixture::hosts(&json!({"vip_address": "fd00::9", "vip_provider": "six"}));
    for (i, (_, vars)) in hosts.iter_mut().enumerate() {
        vars.insert("ansible_host", format!("fd00::1{i}").into());
        vars.extend(more.as_object().unwrap().clone());
    }
    let director = if more.get("vip_provider").is_some() { "db1" } else { "lvs1" };
    fixture::of(&hosts, director)
}

#[test]
fn ipv6_is_written_as_keepalived_reads_it() {
    let c = six(
        json!({"vip_to": "members", "lb_kind": "NAT", "vip_gateway": "fd00:0:0:1::1/64", "vip_clients": ["fd01::/64", "10.0.0.0/8"]}),
    );
    let text = rendered(&c, &Interfaces::one("eth0")).unwrap().unwrap().content;
    for line in [
        "        fd00::9/64 dev eth0",
        "        fd00:0:0:1::1/64 dev eth0",
        "    unicast_src_ip fd00::2",
        "        fd00::3",
        "virtual_server fd00::9 5433 {",
        "    real_server fd00::10 6432 {",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(text.contains("--or http://[fd00::10]:8008/read-only tcp://[fd00::10]:6432 --unless"), "{text}");
    let mut duty = c.duty;
    let unit = |duty: &Duty| unit(&templates(), duty, &Interfaces::one("eth0")).unwrap().unwrap().content;
    assert!(unit(&duty).contains("net/ipv6/conf/all/forwarding=1"));
    duty.holder = None;
    duty.real_server = true;
    let text = unit(&duty);
    assert!(
        text.contains("ExecStart=/sbin/ip route replace fd01::/64 via fd00:0:0:1::1\n")
            && !text.contains("10.0.0.0"),
        "{text}"
    );
    duty.vip.kind = crate::vip::Kind::Dr;
    let text = unit(&duty);
    assert!(
        text.contains("ExecStart=/sbin/ip address replace fd00::9/128 dev lo preferred_lft 0\n")
            && !text.contains("arp"),
        "{text}"
    );
}

#[test]
fn a_password_selects_version_2_and_is_refused_on_ipv6() {
    let text = text(l2(json!({"vip_auth_pass": "a$b'c(d"})), "db1");
    assert!(text.contains("    version 2\n") && text.contains("        auth_pass \"a$b'c(d\"\n"), "{text}");
    let c = six(json!({"vip_mode": "l2", "vip_provider": null, "vip_auth_pass": "x"}));
    let e = rendered(&c, &Interfaces::one("eth0")).unwrap_err().to_string();
    assert!(e.contains("VRRP has no password for IPv6"), "{e}");
}

#[test]
fn a_primary_behind_tls_is_asked_by_its_own_address() {
    let over = l2(
        json!({"patroni_ssl_enabled": true, "patroni_ca_file": "/ca.crt", "patroni_cert_file": "/own.pem", "patroni_port": 8108}),
    );
    let text = text(over, "db3");
    let call = "script \"/usr/local/lib/pgsvc/pgsvc check https://10.0.0.13:8108/primary --ca /ca.crt --cert /own.pem --within 2000\"";
    assert!(text.contains(call), "{text}");
}

#[test]
fn a_holder_without_others_has_nobody_to_write_to() {
    let hosts = fixture::hosts(&l2(json!({})));
    let c = fixture::of(&hosts[..1], "db1");
    let text = rendered(&c, &Interfaces::one("eth0")).unwrap().unwrap().content;
    assert!(!text.contains("unicast"), "{text}");
}

#[test]
fn other_interfaces_are_watched() {
    let c = fixture::case(&nat(&json!({})), "lvs1");
    let interfaces = Interfaces { own: "eth0", vip: "bond0.7", gateway: "eth2" };
    let text = rendered(&c, &interfaces).unwrap().unwrap().content;
    assert!(text.contains("        10.0.0.9/24 dev bond0.7\n        10.0.0.1/24 dev eth2\n"), "{text}");
    assert!(text.contains("    track_interface {\n        bond0.7\n        eth2\n    }\n"), "{text}");
    let unit = unit(&templates(), &c.duty, &interfaces).unwrap().unwrap().content;
    assert!(unit.contains("sysctl -w net/ipv4/conf/bond0.7/send_redirects=0\n"), "{unit}");
}

#[test]
fn nothing_that_would_serve_the_wrong_member_is_ever_written() {
    for over in [nat(&json!({})), json!({"vip_to": "haproxy", "pg_service_provider": "lbs"})] {
        let text = text(over, "lvs1");
        assert_eq!(text.matches("\n    alpha\n").count(), 4);
        assert!(!text.contains("inhibit_on_failure") && !text.contains("sorry_server"), "{text}");
    }
}

/// For every line its first word and the number of its words; of quoted ones, one.
fn structure(text: &str) -> Vec<(String, usize)> {
    let line = |l: &str| {
        let bare: Vec<&str> = l.split('"').step_by(2).collect();
        let words: Vec<String> = bare.join("Q").split_whitespace().map(str::to_owned).collect();
        (words.first().cloned().unwrap_or_default(), words.len())
    };
    text.lines().map(line).collect()
}

#[test]
fn no_value_adds_a_line_or_a_word() {
    let service = |url: &str| {
        json!([{"name": "x", "src_port": 5440, "check_url": url, "selector": "[?pg_role == `replica`]",
        "selector_backup": "[?pg_role == `primary`]"}, {"name": "y", "src_port": 5441, "check_url": url, "selector": "[]"}])
    };
    let plain = structure(&text(nat(&json!({"pg_services": service("/plain")})), "lvs1"));
    let mut accepted = 0;
    for url in [
        "/~SEQ(a,1,9)",
        "/~LST(a,b)",
        "/!x",
        "/a,tcp://9.9.9.9:1",
        "/a;b",
        "/@x",
        "/[a]",
        "/(a)",
        "/*",
        "/%22",
        "/x\"y",
        "/x y",
        "/x\ny",
        "/x\\",
        "/$A",
        "/{",
        "/}",
        "/x#503",
        "/'",
        "/--or",
        "/x%0ay",
    ] {
        let hosts = fixture::hosts(&nat(&json!({"pg_services": service(url)})));
        let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
        if crate::inventory::cluster::build("pg-test", &view, &Default::default()).is_err() {
            continue;
        }
        let text = text(nat(&json!({"pg_services": service(url)})), "lvs1");
        assert_eq!(structure(&text), plain, "{url}: {text}");
        let special = |c: char| "~!\\'(){}[]*$".contains(c);
        assert!(text.lines().filter(|l| l.contains('"')).all(|l| !l.contains(special)), "{url}: {text}");
        accepted += 1;
    }
    assert!(accepted > 8, "{accepted}");
    for bad in ["", "a b", "a\n}", "a\"b", "a#", "x}", "!", "$A", "%i"] {
        let c = fixture::case(&nat(&json!({})), "lvs1");
        for interfaces in [
            Interfaces { own: bad, ..Interfaces::one("eth0") },
            Interfaces { vip: bad, ..Interfaces::one("eth0") },
            Interfaces { gateway: bad, ..Interfaces::one("eth0") },
        ] {
            let e = rendered(&c, &interfaces).unwrap_err().to_string();
            assert!(e.contains("cannot stand in keepalived's file"), "{e}");
            assert!(unit(&templates(), &c.duty, &interfaces).is_err());
        }
    }
    // For a node that is not at hand.
    assert!(rendered(&fixture::case(&l2(json!({})), "db1"), &Interfaces::one("<auto>")).is_ok());
}
