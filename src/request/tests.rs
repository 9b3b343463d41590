use serde_json::{Value, json};

use super::*;
use crate::inventory::{Host, Inventory};

fn args(v: Value) -> Args {
    v.as_object().unwrap().clone()
}

fn member(host: &str, cluster: &str, seq: u64) -> Value {
    json!({"inventory_hostname": host, "pg_cluster": cluster, "pg_seq": seq, "pg_role": if seq == 1 { "primary" } else { "replica" }})
}

#[test]
fn a_tasks_arguments_make_a_model() {
    let a = args(
        json!({"members": [member("10.0.0.1", "a", 1), member("10.0.0.2", "a", 2)], "verify": "report",
        "node": {"inventory_hostname": "lb1", "pgsvc_verify_user": "u", "pgsvc_role_source": "inventory"},
        "_ansible_check_mode": true, "_ansible_anything": {}, "role_source": "patroni", "templates": "", "state": null}),
    );
    let r = from_arguments(&a).unwrap();
    assert!(r.check && r.node == "lb1");
    assert_eq!(r.options.user.as_deref(), Some("u"));
    assert_eq!(r.options.roles, crate::resolve::RoleSource::Patroni);
    let m = model(r).unwrap();
    assert_eq!(m.clusters["a"].services.len(), 4);
    assert!(m.failed.is_empty());
}

#[test]
fn all_wrong_arguments_are_named_at_once() {
    let a = args(
        json!({"membres": [], "state": "gone", "members": ["x"], "node": 3, "verify": "maybe", "verify_timeout": "soon"}),
    );
    let text = from_arguments(&a).unwrap_err().to_string();
    for part in [
        "unknown argument 'membres'; did you mean 'members'?",
        "neither present nor absent",
        "members[0]",
        "no map of variables",
        "verify: 'maybe'",
        "verify_timeout: 'soon'",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn one_bad_cluster_does_not_block_the_others() {
    let mut bad = member("10.0.0.3", "b", 1);
    bad["pg_services"] = json!([{"name": "x", "src_port": 1_000_000, "selector": "[]"}]);
    let a = args(json!({"members": [member("10.0.0.1", "a", 1), bad]}));
    let m = model(from_arguments(&a).unwrap()).unwrap();
    assert_eq!((m.clusters.len(), m.failed.len()), (1, 1));
}

#[test]
fn clusters_on_one_node_may_not_share_a_port() {
    let a = args(json!({"members": [member("10.0.0.1", "a", 1), member("10.0.0.2", "b", 1)]}));
    let m = model(from_arguments(&a).unwrap()).unwrap();
    assert_eq!(m.clusters.keys().collect::<Vec<_>>(), ["a"]);
    assert!(m.failed["b"].to_string().contains("service 'primary' of a"));
}

#[test]
fn a_load_balancer_carries_the_clusters_of_its_group() {
    let host = |name: &str, groups: &[&str], vars: Value| Host {
        name: name.into(),
        vars: args(vars).into(),
        groups: groups.iter().map(|g| (*g).to_owned()).collect(),
    };
    let inventory = Inventory {
        hosts: vec![
            host("lb1", &["lb"], json!({"ansible_host": "10.0.0.9"})),
            host("n1", &["a"], json!({"pg_cluster": "a", "pg_seq": 1, "pg_service_provider": "lb"})),
            host("n2", &["b"], json!({"pg_cluster": "b", "pg_seq": 1, "pg_service_provider": "lb"})),
            host("n3", &["c"], json!({"pg_cluster": "c", "pg_seq": 1})),
        ],
        warnings: Vec::new(),
    };
    let who = Identity { hostname: "other".into(), addresses: vec!["10.0.0.9".parse().unwrap()] };
    let at = |host: Option<&str>| {
        from_inventory(inventory.clone(), host, &who, &[], &Args::new()).unwrap().clusters
    };
    assert_eq!(at(None), ["a", "b"]);
    assert_eq!(at(Some("n3")), ["c"]);
    assert!(at(Some("n1")).is_empty());
    let e = from_inventory(inventory.clone(), Some("n4"), &who, &["d".into()], &Args::new()).unwrap_err();
    assert_eq!(e.0.len(), 2);
}

#[test]
fn a_machine_is_found_by_its_name_before_its_address_before_the_names_first_label() {
    let host = |name: &str, address: &str| Host {
        name: name.into(),
        vars: args(json!({"ansible_host": address, "pg_cluster": name.replace('.', "-"), "pg_seq": 1}))
            .into(),
        ..Host::default()
    };
    let inventory = Inventory {
        hosts: vec![host("db1.prod", "10.0.0.1"), host("db1.test", "10.0.1.1"), host("db2.test", "10.0.1.2")],
        warnings: Vec::new(),
    };
    let at = |name: &str, address: &str| {
        let who = Identity { hostname: name.into(), addresses: vec![address.parse().unwrap()] };
        from_inventory(inventory.clone(), None, &who, &[], &Args::new()).map(|r| r.node)
    };
    assert_eq!(at("db1.test", "10.9.9.9").unwrap(), "db1.test");
    assert_eq!(at("db1", "10.0.1.1").unwrap(), "db1.test");
    assert_eq!(at("db2", "10.9.9.9").unwrap(), "db2.test");
    assert!(at("db1", "10.9.9.9").unwrap_err().to_string().contains("may be 'db1.prod' or 'db1.test'"));
}

#[test]
fn what_goes_is_a_cluster_by_its_name_and_no_path() {
    let members = [member("10.0.0.1", "a", 1), member("10.0.0.2", "b", 1)];
    let a = args(json!({"state": "absent", "members": members, "clusters": ["b", "gone"]}));
    let mut r = from_arguments(&a).unwrap();
    r.clusters.push("../../x".into());
    let m = model(r).unwrap();
    assert_eq!(m.clusters.keys().collect::<Vec<_>>(), ["b", "gone"]);
    assert_eq!((m.failed.len(), m.kept.clusters.len()), (1, 2));
    let unnamed = args(json!({"state": "absent", "members": members}));
    let e = from_arguments(&unnamed).unwrap_err().to_string();
    assert!(e.contains("no cluster is named") && e.contains("clusters: ["), "{e}");
    assert!(from_arguments(&args(json!({"state": "absent", "clusters": ["../../x"]}))).is_err());
}

#[test]
fn what_goes_need_not_be_in_the_inventory_any_more() {
    let host = Host { name: "n1".into(), vars: args(member("n1", "pg-a", 1)).into(), ..Host::default() };
    let inventory = Inventory { hosts: vec![host], warnings: Vec::new() };
    let from = |flags: Value| {
        from_inventory(inventory.clone(), Some("n1"), &Identity::default(), &["pg-b".into()], &args(flags))
    };
    assert!(from(json!({})).is_err());
    let r = from(json!({"state": "absent"})).unwrap();
    assert!(r.warnings[0].contains("did you mean 'pg-a'?"), "a slip of the pen shows");
    assert_eq!(model(r).unwrap().clusters.keys().collect::<Vec<_>>(), ["pg-b"]);
}

#[test]
fn what_is_printed_of_a_request_holds_no_variable() {
    let mut m = member("10.0.0.1", "a", 1);
    m["pg_admin_password"] = json!("hunter2");
    let a = args(
        json!({"members": [m], "verify_password": "hunter2", "node": {"haproxy_admin_password": "hunter2"}}),
    );
    let r = from_arguments(&a).unwrap();
    let text = format!("{r:?}{:?}", model(r.clone()).unwrap());
    assert!(text.contains("10.0.0.1") && !text.contains("hunter2"), "{text}");
}

#[test]
fn nonlocal_binds_are_transparent_ones() {
    let mut member = member("10.0.0.1", "a", 1);
    member["vip_address"] = json!("10.0.0.99");
    let services = json!([{"name": "x", "src_ip": ["vip", "::"], "src_port": 5440, "selector": "[]"}]);
    let bound = |nonlocal: bool| {
        let a = args(json!({"members": [member.clone()], "services": services, "nonlocal_bind": nonlocal}));
        let m = model(from_arguments(&a).unwrap()).unwrap();
        crate::render::view::service(&m.clusters["a"].services[0]).binds
    };
    assert_eq!(bound(true), ["10.0.0.99:5440 transparent", ":::5440 v6only"]);
    assert_eq!(bound(false), ["10.0.0.99:5440", ":::5440 v6only"]);
}
