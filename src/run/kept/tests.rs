use serde_json::json;

use super::*;
use crate::daemon::Paths;
use crate::host::fake::FakeSystem;
use crate::inventory::Args;
use crate::request::{self, Kept, arguments, from_arguments};

/// What is kept of the first cluster, as one.
fn whole(request: &request::Request) -> Value {
    let Kept { node, mut clusters } = arguments(request);
    let mut args = node.as_object().unwrap().clone();
    args.extend(clusters.remove(0).1.as_object().unwrap().clone());
    Value::Object(args)
}

#[test]
fn what_is_kept_makes_the_same_model_and_holds_no_other_secret() {
    let args = json!({
        "members": [{"inventory_hostname": "10.0.0.1", "pg_cluster": "a", "pg_seq": 1, "zone": "x", "pg_weight": "7",
            "ansible_become_password": "s3cret", "pg_admin_password": "s3cret",
            "pg_services": [{"name": "x", "src_port": 5440, "selector": "[?zone == 'x']"}]}],
        "node": {"inventory_hostname": "10.0.0.1", "haproxy_exporter_port": 9999, "ansible_become_password": "s3cret"},
        "verify_user": "u", "verify_password": "p4ss",
    });
    let request = from_arguments(args.as_object().unwrap()).unwrap();
    let kept = whole(&request);
    assert!(!kept.to_string().contains("s3cret"), "{kept}");
    let again = from_arguments(kept.as_object().unwrap()).unwrap();
    assert_eq!(
        (again.options.user.clone(), again.options.password.clone()),
        (Some("u".into()), request.options.password.clone())
    );
    let (one, two) = (request::model(request).unwrap(), request::model(again).unwrap());
    assert_eq!(one.clusters["a"].services, two.clusters["a"].services);
    assert_eq!(one.clusters["a"].services[0].servers[0].weight, 7);
    assert_eq!(one.node, two.node);
}

#[test]
fn what_one_run_said_of_its_cluster_is_not_said_of_another() {
    let sys = crate::host::fake::FakeSystem::default();
    let node = Node { sys: &sys, paths: crate::daemon::Paths::default(), rooted: false };
    for (cluster, port) in [("a", 6001), ("b", 6002)] {
        let args = json!({"members": [{"inventory_hostname": "10.0.0.1", "pg_cluster": cluster, "pg_seq": 1}],
            "services": [{"name": "x", "src_port": port, "selector": "[]"}]});
        super::request(&node, &request::model(from_arguments(args.as_object().unwrap()).unwrap()).unwrap())
            .unwrap();
    }
    let model = request::model(load(&node, &[], &Args::new()).unwrap()).unwrap();
    let ports: Vec<u16> = model.clusters.values().flat_map(|c| &c.services).map(|s| s.port()).collect();
    assert_eq!((ports, model.failed.len()), (vec![6001, 6002], 0));
}

#[test]
fn what_a_task_or_a_flag_said_is_kept_as_what_a_variable_said() {
    let args = json!({
        "members": [{"inventory_hostname": "10.0.0.1", "pg_cluster": 12, "pg_seq": 1}], "role_source": "inventory",
        "templates": "/etc/pgsvc", "nonlocal_bind": true, "verify_sslmode": "verify-full", "verify_sslrootcert": "/ca.pem",
    });
    let request = from_arguments(args.as_object().unwrap()).unwrap();
    let kept = whole(&request);
    let again = from_arguments(kept.as_object().unwrap()).unwrap();
    assert_eq!((&again.options, again.hosts.len()), (&request.options, 1));
}

#[test]
fn the_node_and_the_options_are_those_of_the_newest_run() {
    let sys = FakeSystem::default();
    let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
    let apply = |cluster: &str, port: u16, user: &str, state: &str| {
        let args = json!({
            "members": [{"inventory_hostname": "10.0.0.1", "pg_cluster": cluster, "pg_seq": 1}],
            "clusters": [cluster], "state": state, "verify_user": user,
            "services": [{"name": "x", "src_port": port, "selector": "[]"}],
            "node": {"inventory_hostname": "lb", "haproxy_exporter_port": port + 1000},
        });
        let args = from_arguments(args.as_object().unwrap()).unwrap();
        super::request(&node, &request::model(args).unwrap()).unwrap();
    };
    let kept = |only: &[String]| request::model(load(&node, only, &Args::new()).unwrap()).unwrap();
    apply("a", 6001, "old", "present");
    apply("node", 6002, "new", "present");
    for only in [&[][..], &["a".to_owned()]] {
        let model = kept(only);
        assert_eq!((model.options.user.as_deref(), model.node.exporter_port), (Some("new"), 7002));
    }
    assert_eq!(kept(&[]).clusters.len(), 2);
    let error = load(&node, &["b".into()], &Args::new()).unwrap_err().to_string();
    assert_eq!(error, "cluster 'b': was not applied on this node; name the inventory: -i INVENTORY");
    apply("node", 6002, "gone", "absent");
    assert_eq!(kept(&[]).options.user.as_deref(), Some("new"), "what is installed is the last run's before");
    apply("a", 6001, "gone", "absent");
    assert!(node.sys.list(&dir(&node)).unwrap().is_empty(), "the node's goes with the last cluster");
}

#[test]
fn a_selector_that_looks_at_all_variables_finds_them_but_no_secret() {
    let args = json!({"members": [{"inventory_hostname": "10.0.0.1", "ansible_host": "10.0.0.2", "pg_cluster": "a",
        "pg_seq": 1, "fast_disk": true, "ansible_become_pass": "s3cret", "backup_TOKEN": "s3cret",
        "pg_users": [{"name": "u", "password": "s3cret"}], "client_secret": "s3cret",
        "pg_services": [{"name": "x", "src_port": 5440, "selector": "[?contains(keys(@), 'fast_disk')]"}]}]});
    let request = from_arguments(args.as_object().unwrap()).unwrap();
    let kept = whole(&request);
    assert!(!kept.to_string().contains("s3cret"), "{kept}");
    assert_eq!(kept["members"][0]["pg_users"], json!([{"name": "u"}]));
    let again = request::model(from_arguments(kept.as_object().unwrap()).unwrap()).unwrap();
    assert_eq!(again.clusters["a"].services, request::model(request).unwrap().clusters["a"].services);
    assert_eq!(again.clusters["a"].services[0].servers.len(), 1);
}
