//! What pgsvc accepts of a virtual address, the real keepalived takes without a word; and no accepted value adds a line
//! or a word to its files or to a unit. Bounded and seeded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod keepalived;

use std::collections::BTreeMap;

use keepalived::{check, interface};
use pgsvc::daemon::Paths;
use pgsvc::host::real::RealSystem;
use pgsvc::plan::RenderedFile;
use pgsvc::request;
use pgsvc::run::{self, Node};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Map, Value, json};

const CASES: usize = 80;

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A cluster of three with these variables, seen from a node that may hold its address.
fn arguments(cluster: &str, vars: &Map<String, Value>, service: &Value) -> Value {
    let six = vars["vip_address"].as_str().is_some_and(|a| a.contains(':'));
    let ip = |n: u8| if six { format!("fd00::{n}") } else { format!("10.0.0.{n}") };
    let member = |seq: u8, role: &str| {
        let mut m = json!({"inventory_hostname": format!("db{seq}"), "ansible_host": ip(seq + 10), "pg_cluster": cluster,
            "pg_seq": seq, "pg_role": role, "pg_services": [service]});
        m.as_object_mut().unwrap().extend(vars.clone());
        m
    };
    let host = |name: &str, n: u8| json!({"inventory_hostname": name, "ansible_host": ip(n)});
    let node = if vars.contains_key("vip_provider") { "lvs1" } else { "db1" };
    json!({"members": [member(1, "primary"), member(2, "replica"), member(3, "offline")],
        "groups": {"lvs": [host("lvs1", 2), host("lvs2", 3)], "lbs": [host("lb1", 6), host("lb2", 7)]},
        "node": {"inventory_hostname": node}})
}

/// The files for keepalived and systemd; the refusal where there are none.
fn files(args: &Value) -> Result<Vec<RenderedFile>, String> {
    let request = request::from_arguments(args.as_object().unwrap()).map_err(|e| e.to_string())?;
    let model = request::model(request).map_err(|e| e.to_string())?;
    if let Some(errors) = model.failed.values().next() {
        return Err(errors.to_string());
    }
    let sys = RealSystem::new(None);
    let node = Node { sys: &sys, paths: Paths::default(), rooted: true };
    let mut files = run::render(&node, &model, false).map_err(|e| e.to_string())?;
    files.retain(|f| f.path.starts_with("/etc/keepalived") || f.path.starts_with("/etc/systemd"));
    Ok(files)
}

/// keepalived's own word on those of its own, with an interface that is there.
fn taken(files: &[RenderedFile]) -> Result<(), String> {
    let own: Vec<RenderedFile> =
        files.iter().filter(|f| f.path.starts_with("/etc/keepalived")).cloned().collect();
    assert!(own.len() >= 2, "{own:?}");
    let name = interface();
    // Which interface it is only the node itself knows.
    let place = |f: RenderedFile| {
        let words = |l: &str| {
            l.split(' ').map(|w| if w == "auto" { name.as_str() } else { w }).collect::<Vec<_>>().join(" ")
        };
        RenderedFile { content: f.content.lines().map(|l| words(l) + "\n").collect::<String>().into(), ..f }
    };
    check(&own.into_iter().map(place).collect::<Vec<_>>(), "")
}

/// Of every file the first word and the number of words of each line. Where a value may stand first in a line, which word
/// it is does not count: an address, the given one, and the names made of the cluster's.
fn structure(files: &[RenderedFile], value: &str) -> Vec<Vec<(String, usize)>> {
    let is_value = |w: &str| {
        let address = w.split('/').next().unwrap_or_default();
        w == value.trim() || w.starts_with("pgsvc-") || address.parse::<std::net::IpAddr>().is_ok()
    };
    let line = |l: &str| {
        let first = l.split_whitespace().next().unwrap_or_default();
        let first = if is_value(first) { "VALUE" } else { first };
        (first.to_owned(), l.split_whitespace().count())
    };
    let mut all: Vec<Vec<_>> = files.iter().map(|f| f.content.split('\n').map(line).collect()).collect();
    all.sort();
    all
}

fn vars(of: Value) -> Map<String, Value> {
    of.as_object().unwrap().clone()
}

/// Variables that go together.
fn definition() -> impl Strategy<Value = Map<String, Value>> {
    let six = any::<bool>();
    let knobs = (
        1_u8..=255,
        any::<bool>(),
        any::<bool>(),
        1024_u16..60_000,
        proptest::option::of("[!$-zA-Z0-9~^@%]{1,8}"),
    );
    let tls = select(vec![
        json!({}),
        json!({"patroni_ssl_enabled": true}),
        json!({"patroni_ssl_enabled": true, "patroni_ca_file": "/etc/ssl/ca.crt"}),
    ]);
    let form = select(vec!["l2", "l2 follow", "NAT", "DR", "TUN"]);
    let algorithm = select(vec!["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "nq"]);
    let mask = proptest::option::of(8_u8..=32);
    (six, knobs, tls, form, algorithm, mask).prop_map(
        |(six, (vrid, fast, preempt, port, pass), tls, form, algorithm, mask)| {
            let (own, gateway, clients) =
                if six { ("fd00::9", "fd00::1/64", "fd01::/64") } else { ("10.0.0.9", "10.0.0.1/24", "10.1.0.0/16") };
            let address = mask.map_or(own.to_owned(), |m| format!("{own}/{m}"));
            let mut v = json!({"vip_address": address, "vip_vrid": vrid, "vip_preempt": preempt, "vip_check_port": port,
                "vip_timing": if fast { "fast" } else { "normal" }, "vip_mode": if form.starts_with("l2") { "l2" } else { "l4" }});
            let more = match form {
                "l2" => json!({}),
                "l2 follow" => json!({"vip_follow": "haproxy"}),
                "NAT" => json!({"vip_provider": "lvs", "vip_to": "members", "lb_kind": "NAT", "lb_algo": algorithm,
                    "vip_gateway": gateway, "vip_clients": [clients]}),
                kind => json!({"vip_provider": "lvs", "pg_service_provider": "lbs", "lb_kind": kind, "lb_algo": algorithm}),
            };
            let v = v.as_object_mut().unwrap();
            v.extend(vars(more));
            v.extend(vars(tls));
            if let Some(pass) = pass.filter(|_| !fast && !six) {
                v.insert("vip_auth_pass".into(), json!(pass));
            }
            v.clone()
        },
    )
}

#[test]
fn what_is_accepted_renders_to_what_keepalived_takes() {
    let mut runner = runner();
    let path = prop_oneof![Just("/primary".to_owned()), "/x[a-zA-Z0-9!()*+,./:;=?@_~&\\[\\]-]{0,60}"];
    let strategy = (definition(), "[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", path, 100_u16..600);
    let (mut accepted, mut reasons) = (0, BTreeMap::<String, usize>::new());
    for _ in 0..CASES {
        let (vars, cluster, path, code) = strategy.new_tree(&mut runner).unwrap().current();
        let service =
            json!({"name": "x", "src_port": 5440, "check_url": path, "check_code": code, "selector": "[]"});
        let case = arguments(&cluster, &vars, &service);
        match files(&case) {
            Ok(files) => {
                accepted += 1;
                let text = || files.iter().map(|f| &*f.content).collect::<String>();
                taken(&files).unwrap_or_else(|e| panic!("{e}\n{case:#}\n{}", text()));
            }
            Err(e) => {
                *reasons.entry(e.chars().skip_while(|c| *c != ':').take(60).collect()).or_default() += 1
            }
        }
    }
    println!("{accepted} of {CASES} accepted; refused: {reasons:?}");
    assert!(accepted * 10 >= CASES * 7, "most must be accepted: {reasons:?}");
}

/// Where a text can be put, with what stands there else.
const FIELDS: [(&str, &str); 15] = [
    ("pg_cluster", "plain"),
    ("vip_address", "10.0.0.9"),
    ("vip_cidrmask", "24"),
    ("vip_vrid", "7"),
    ("vip_auth_pass", "sesame"),
    ("vip_preempt", "true"),
    ("vip_gateway", "10.0.0.1/24"),
    ("vip_clients", "10.1.0.0/16"),
    ("vip_check_port", "9102"),
    ("vip_interface", "eth0"),
    ("lb_algo", "rr"),
    ("patroni_ca_file", "/etc/ssl/ca.crt"),
    ("check_url", "/x"),
    ("check_code", "200"),
    ("pg_weight", "50"),
];

/// Arguments with a text in one field.
fn put(field: &str, text: &str) -> Value {
    let mut cluster = "plain".to_owned();
    let mut service = json!({"name": "x", "src_port": 5440, "check_url": "/x", "selector": "[]"});
    let mut v = json!({"vip_mode": "l4", "vip_address": "10.0.0.9", "vip_provider": "lvs", "vip_to": "members", "lb_kind": "NAT",
        "vip_gateway": "10.0.0.1/24", "vip_clients": ["10.1.0.0/16"], "patroni_ssl_enabled": true,
        "patroni_ca_file": "/etc/ssl/ca.crt"});
    match field {
        "pg_cluster" => text.clone_into(&mut cluster),
        "check_url" | "check_code" => service[field] = json!(text),
        _ => v[field] = json!(text),
    }
    let mut args = arguments(&cluster, &vars(v), &service);
    if field == "vip_interface" {
        args["groups"]["lvs"][0][field] = json!(text);
    }
    args
}

#[test]
fn no_value_adds_a_line_or_a_word() {
    let mut runner = runner();
    let marks = vec![
        " ",
        "\n",
        "\r",
        "\t",
        "\0",
        "#",
        "!",
        "\"",
        "'",
        "\\",
        ";",
        "$",
        "${x}",
        "~SEQ(a,1,3)",
        "{",
        "}",
        "@x ",
        "\u{a0}",
        "\u{85}",
        "\u{2028}",
    ];
    let evil = vec![
        "",
        "x",
        "7",
        "}",
        "notify /bin/sh",
        "\n    notify /bin/sh",
        "include /etc/passwd",
        "script_user root",
    ];
    let strategy = (select(FIELDS.to_vec()), select(marks), select(evil), "\\PC{0,12}", 0..5);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..CASES * 10 {
        let ((field, plain), mark, evil, any, form) = strategy.new_tree(&mut runner).unwrap().current();
        let text = match form {
            0 => format!("{plain}{mark}{evil}"),
            1 => format!("{mark}{plain}"),
            2 => format!("{plain}{any}"),
            3 => any,
            _ => format!("{plain}{mark}{plain}"),
        };
        if text.trim().is_empty() {
            // Nothing said: the default.
            continue;
        }
        match files(&put(field, &text)) {
            Err(_) => refused += 1,
            Ok(found) => {
                let twin =
                    files(&put(field, plain)).unwrap_or_else(|e| panic!("{field}: the twin is refused: {e}"));
                assert_eq!(structure(&found, &text), structure(&twin, plain), "{field}: {text:?}");
                if field != "vip_interface" {
                    taken(&found).unwrap_or_else(|e| panic!("{field}: {text:?}: {e}"));
                }
                accepted += 1;
            }
        }
    }
    println!("{refused} refused, {accepted} accepted, over {} fields", FIELDS.len());
    assert!(refused > CASES * 3 && accepted > 20, "{refused} refused, {accepted} accepted");
}
