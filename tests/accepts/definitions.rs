//! Module arguments of every shape that should be accepted, and values that should not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

const SELECTORS: [&str; 9] = [
    "[]",
    "[*]",
    "[0:2]",
    "[? pg_role == `primary` ]",
    "[? pg_role == `primary` || pg_role == `offline` ]",
    "[? pg_role == `replica` && !pg_offline_query ]",
    "[? pg_role != 'offline' ]",
    "[? pg_offline_query ]",
    "[? pg_weight > `100` ]",
];
/// Paths that have a meaning, and so lead to another structure.
const PATHS: [&str; 7] = [
    "/",
    "/primary",
    "/replica",
    "/read-only",
    "/leader",
    "/replica?lag=16MB&replication_state=streaming",
    "/health",
];

/// `(v1.5's text, or nothing)` of server keywords.
fn options() -> impl Strategy<Value = String> {
    let time = || "([1-9][0-9]{0,3})(ms|s|m|)";
    let number = |most: u32| (1..=most).prop_map(|n| n.to_string());
    let one = |word: &'static str, value: BoxedStrategy<String>| {
        value.prop_map(move |v| format!("{word} {v}")).boxed()
    };
    let words = vec![
        one("inter", time().boxed()),
        one("fastinter", time().boxed()),
        one("downinter", time().boxed()),
        one("slowstart", time().boxed()),
        one("agent-inter", time().boxed()),
        one("tcp-ut", time().boxed()),
        one("rise", number(1000).boxed()),
        one("fall", number(1000).boxed()),
        one("maxconn", number(1_000_000).boxed()),
        one("minconn", number(1_000_000).boxed()),
        one("maxqueue", number(1_000_000).boxed()),
        one("weight", number(256).boxed()),
        one("error-limit", number(10_000).boxed()),
        one("on-marked-down", Just("shutdown-sessions".to_owned()).boxed()),
        one("on-marked-up", Just("shutdown-backup-sessions".to_owned()).boxed()),
        one(
            "on-error",
            select(vec!["fastinter", "fail-check", "sudden-death", "mark-down"])
                .prop_map(str::to_owned)
                .boxed(),
        ),
        one("observe", Just("layer4".to_owned()).boxed()),
        Just("send-proxy".to_owned()).boxed(),
        Just("send-proxy-v2".to_owned()).boxed(),
        Just("check-send-proxy".to_owned()).boxed(),
    ];
    proptest::sample::subsequence((0..words.len()).collect::<Vec<_>>(), 0..=words.len()).prop_flat_map(
        move |chosen| {
            let all: Vec<_> = chosen.iter().map(|i| words[*i].clone()).collect();
            all.prop_map(|list| list.join(" "))
        },
    )
}

fn service(index: usize) -> impl Strategy<Value = Value> {
    let path = prop_oneof![
        2 => select(PATHS.to_vec()).prop_map(str::to_owned),
        1 => "/x[a-zA-Z0-9!()*+,./:;=?@_~&\\[\\]-]{0,60}",
    ];
    let source = select(vec!["*", "vip", "10.10.10.9", "::", "fd00::9", "*,::", "10.0.0.1, fd00::1", ""]);
    let target = select(vec![json!("postgres"), json!("pgbouncer"), json!(7000), json!("7001"), Value::Null]);
    let check = select(vec![json!("patroni"), json!("pg_exporter"), json!(9000), json!("9001"), Value::Null]);
    let balance = select(vec!["roundrobin", "static-rr", "leastconn", "first", "source", "random"]);
    let selectors = (select(SELECTORS.to_vec()), proptest::option::of(select(SELECTORS.to_vec())));
    let name = prop_oneof![9 => "[A-Za-z0-9_-]{1,20}", 1 => "[A-Za-z0-9_-]{63}"];
    let knobs = (100_u16..600, 1_u32..1_000_000, balance, options());
    (name, source, target, check, path, selectors, knobs, any::<bool>()).prop_map(
        move |(name, ip, target, check, path, (selector, backup), (code, maxconn, balance, options), modern)| {
            let port = 20_000 + index;
            if modern {
                return json!({"name": name, "ip": ip, "port": port, "dest": target, "check": path, "selector": selector,
                    "backup": backup, "maxconn": maxconn, "balance": balance, "options": options});
            }
            json!({"name": name, "src_ip": ip, "src_port": port.to_string(), "dst_port": target, "check_port": check,
                "check_url": path, "check_code": code, "selector": selector, "selector_backup": backup,
                "haproxy": {"maxconn": maxconn, "balance": balance, "default_server_options": options}})
        },
    )
}

fn member(seq: usize) -> impl Strategy<Value = Value> {
    let host = select(vec![format!("10.10.10.{seq}"), format!("fd00::{seq}"), "localhost".to_owned()]);
    let role = if seq == 1 { vec!["primary"] } else { vec!["replica", "offline", "standby", "delayed"] };
    let weight = proptest::option::of(prop_oneof![1 => Just(0_u16), 3 => 0_u16..=256]);
    (host, select(role), weight, any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2)).prop_map(
        move |(host, role, weight, offline, ssl, other_ports)| {
            let mut m = json!({"inventory_hostname": format!("db{seq}"), "ansible_host": host, "pg_seq": seq, "pg_role": role,
                "pg_weight": weight, "pg_offline_query": offline, "patroni_ssl_enabled": ssl});
            if other_ports {
                m["pg_port"] = json!(15432);
                m["pgbouncer_port"] = json!("16432");
            }
            m
        },
    )
}

/// Arguments that should be accepted: one dialect, one cluster.
pub fn definition() -> impl Strategy<Value = Value> {
    let services = (1_usize..4).prop_flat_map(|n| (0..n).map(service).collect::<Vec<_>>());
    let members = (1_usize..5).prop_flat_map(|n| (1..=n).map(member).collect::<Vec<_>>());
    (
        members,
        services,
        "[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}",
        select(vec!["patroni", "inventory"]),
        any::<bool>(),
    )
        .prop_map(|(mut members, mut services, cluster, roles, ca)| {
            for m in &mut members {
                m["pg_cluster"] = json!(cluster);
                m["vip_address"] = json!("10.10.10.3/24");
                if ca {
                    m["patroni_ca_file"] = json!("CA");
                }
            }
            let modern = services[0].get("port").is_some();
            services.retain(|s| s.get("port").is_some() == modern);
            let key = if modern { "default_services" } else { "services" };
            let mut args =
                json!({"members": members, "role_source": roles, "node": {"inventory_hostname": "lb1"}});
            args[key] = json!(services);
            args
        })
}

/// The same arguments with values that no one could object to, where a value is free text.
pub fn harmless(case: &Value) -> Value {
    let mut twin = case.clone();
    for m in twin["members"].as_array_mut().unwrap() {
        m["pg_cluster"] = json!("plain");
    }
    for key in ["services", "default_services"] {
        let Some(list) = twin.get_mut(key).and_then(Value::as_array_mut) else { continue };
        for (i, s) in list.iter_mut().enumerate() {
            s["name"] = json!(format!("s{i}"));
            for path in ["check", "check_url"] {
                if s.get(path).and_then(Value::as_str).is_some_and(|p| !PATHS.contains(&p)) {
                    s[path] = json!("/x");
                }
            }
        }
    }
    twin
}

/// Where a text can be put: service fields by their names, and some variables of members and the node.
pub const FIELDS: [(&str, &str); 15] = [
    ("name", "x"),
    ("src_ip", "10.0.0.1"),
    ("src_port", "5440"),
    ("dst_port", "7000"),
    ("check_port", "9000"),
    ("check_url", "/x"),
    ("check_code", "200"),
    ("balance", "first"),
    ("maxconn", "50"),
    ("default_server_options", "inter 3s"),
    ("ansible_host", "localhost"),
    ("pg_cluster", "plain"),
    ("pg_weight", "50"),
    ("vip_address", "10.10.10.3"),
    ("haproxy_client_timeout", "1h"),
];

/// Arguments with a text in one field, or with the field's harmless value.
pub fn put(field: &str, text: Option<&str>) -> Value {
    let plain = FIELDS.iter().find(|(f, _)| *f == field).map_or("", |(_, v)| v);
    let v = json!(text.unwrap_or(plain));
    let mut haproxy = json!({});
    let mut service = json!({"name": "x", "src_ip": "vip", "src_port": 5440, "selector": "[]"});
    let mut member = json!({"inventory_hostname": "db1", "ansible_host": "10.10.10.1", "pg_cluster": "plain", "pg_seq": 1,
        "pg_role": "primary", "vip_address": "10.10.10.3"});
    let mut node = json!({"inventory_hostname": "lb1"});
    match field {
        "balance" | "maxconn" | "default_server_options" => haproxy[field] = v,
        "ansible_host" | "pg_cluster" | "pg_weight" | "vip_address" => member[field] = v,
        f if f.starts_with("haproxy_") => node[f] = v,
        f => service[f] = v,
    }
    service["haproxy"] = haproxy;
    json!({"members": [member], "services": [service], "node": node})
}

/// A field and a text that tries to be more than a value.
pub fn hostile() -> impl Strategy<Value = (&'static str, String)> {
    let marks = vec![
        " ", "\n", "\r", "\t", "\0", "#", "\"", "'", "\\", ";", "$", "`", "%[", "{", ",", "\u{a0}", "\u{85}",
        "\u{2003}", "\u{2028}",
    ];
    let evil =
        vec!["", "x", "7", "bind :1", "server e 6.6.6.6:1", "backup", "\n    disabled", "ssl verify none"];
    (select(FIELDS.to_vec()), select(marks), select(evil), "\\PC{0,12}", 0..5).prop_map(
        |((field, plain), mark, evil, any, form): ((&'static str, &'static str), _, _, String, i32)| {
            let text = match form {
                0 => format!("{plain}{mark}{evil}"),
                1 => format!("{mark}{plain}"),
                2 => format!("{plain}{any}"),
                3 => any,
                _ => format!("{plain}{mark}{plain}"),
            };
            (field, text)
        },
    )
}
