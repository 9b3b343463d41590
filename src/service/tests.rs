use super::*;

fn v1(extra: Value) -> Result<Service, Errors> {
    let mut entry = json!({"name": "x", "src_port": 5433, "selector": "[]"});
    for (k, v) in extra.as_object().unwrap() {
        entry[k] = v.clone();
    }
    parse(&entry, 0, "pg-test", Target::Pgbouncer)
}

#[test]
fn the_default_services_are_the_four_of_the_text() {
    let services: Vec<Service> = defaults()
        .iter()
        .enumerate()
        .map(|(i, s)| parse(s, i, "pg-test", Target::Pgbouncer).unwrap())
        .collect();
    let table: Vec<_> =
        services.iter().map(|s| (s.name.as_str(), s.port, s.target, s.check_url.as_str())).collect();
    assert_eq!(
        table,
        [
            ("primary", 5433, Target::Pgbouncer, "/primary"),
            ("replica", 5434, Target::Pgbouncer, "/read-only"),
            ("default", 5436, Target::Postgres, "/primary"),
            ("offline", 5438, Target::Postgres, "/replica"),
        ]
    );
    assert!(services.iter().all(|s| s.check_port == CheckPort::Patroni && s.check_code == 200));
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let s = v1(json!({})).unwrap();
    assert_eq!(
        (s.target, s.check_port, s.check_url.as_str(), s.check_code),
        (Target::Pgbouncer, CheckPort::Patroni, "/", 200)
    );
    assert_eq!((s.sources, s.maxconn, s.balance.as_str()), (vec![Source::Any], 3000, "roundrobin"));
}

#[test]
fn both_dialects_say_the_same() {
    let one = parse(
        &json!({"name": "r", "src_ip": "vip", "src_port": "5434", "dst_port": "postgres", "check_url": "/replica",
            "selector": "[]", "selector_backup": "[0:1]", "haproxy": {"maxconn": 10, "balance": "leastconn", "default_server_options": "inter 1s"}}),
        0, "c", Target::Pgbouncer,
    )
    .unwrap();
    let two = parse(
        &json!({"name": "r", "ip": "vip", "port": 5434, "dest": "postgres", "check": "/replica", "selector": "[]",
            "backup": "[0:1]", "maxconn": 10, "balance": "leastconn", "options": "inter 1s"}),
        0, "c", Target::Pgbouncer,
    )
    .unwrap();
    assert_eq!(Service { dialect: Dialect::V2, ..one }, two);
}

#[test]
fn todays_default_dest_is_the_clusters() {
    let entry = json!({"name": "r", "port": 5434, "dest": "default", "selector": "[]"});
    assert_eq!(parse(&entry, 0, "c", Target::Postgres).unwrap().target, Target::Postgres);
}

#[test]
fn numeric_targets_and_checks_may_be_strings() {
    let s = v1(json!({"dst_port": "7000", "check_port": "9000", "check_code": "201"})).unwrap();
    assert_eq!((s.target, s.check_port, s.check_code), (Target::Port(7000), CheckPort::Port(9000), 201));
}

#[test]
fn all_errors_of_an_entry_come_at_once_and_name_the_service() {
    let e = v1(json!({"src_port": 70000, "dst_port": "pgbounce", "check_code": 42, "selektor": "x"}))
        .unwrap_err();
    let text = e.to_string();
    assert_eq!(e.0.len(), 4, "{text}");
    for part in [
        "service 'x' of pg-test: src_port: 70000",
        "dst_port: 'pgbounce'",
        "check_code: 42",
        "unknown field 'selektor'; did you mean 'selector'?",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn no_value_can_add_a_line_or_a_keyword() {
    for (field, bad) in [
        ("name", "x\n  bind :1"),
        ("name", "a b"),
        ("src_ip", "*:80 transparent"),
        ("check_url", "/x\nserver evil"),
        ("check_url", "/x y"),
        ("check_url", "/x#y"),
        ("check_url", "/\"$HOME\""),
        ("check_url", "/%[env(HOME)]"),
        ("check_url", "/replica?a=%20\n    server evil 10.0.0.9:5432"),
        ("check_url", "/replica?a=%20#x"),
        ("dst_port", "5432 check"),
        ("check_port", "8008 inter 1"),
        ("check_code", "200 or status 500"),
    ] {
        assert!(v1(json!({field: bad})).is_err(), "{field}: {bad:?}");
    }
    let off = json!({"name": "x", "port": 5433, "selector": "[]", "enabled": false});
    assert!(
        parse(&off, 0, "c", Target::Pgbouncer).is_err(),
        "a service that is not wanted must not be served"
    );
    assert!(v1(json!({"haproxy": {"balance": "source\n server"}})).is_err());
    assert!(v1(json!({"check_url": "/replica?lag=16MB&tag_key=%20x"})).is_ok());
}

#[test]
fn mixed_dialects_in_one_entry_name_both_keys() {
    let e = v1(json!({"dest": "postgres"})).unwrap_err().to_string();
    assert!(e.contains("'src_port'") && e.contains("'dest'"), "{e}");
}

#[test]
fn ipv6_and_lists_of_addresses_are_understood() {
    let s = v1(json!({"src_ip": "[::1], 127.0.0.1"})).unwrap();
    assert_eq!(
        s.sources,
        [Source::Address("::1".parse().unwrap()), Source::Address("127.0.0.1".parse().unwrap())]
    );
    assert!(v1(json!({"src_ip": "*,127.0.0.1"})).is_err());
}
