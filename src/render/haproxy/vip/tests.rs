use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::inventory::Vars;
use crate::inventory::cluster::{Cluster, Overrides, build};
use crate::render::haproxy::{Owner, owner, services};
use crate::resolve::{RoleSource, cluster};
use crate::vip::duty::{self, Groups};

fn pg_test(vip: &Value) -> Cluster {
    let one = |seq: u64, role: &str| {
        let mut vars = json!({"pg_cluster": "pg-test", "pg_seq": seq, "pg_role": role});
        vars.as_object_mut().unwrap().extend(vip.as_object().unwrap().clone());
        (format!("10.10.10.1{seq}"), vars.as_object().unwrap().into())
    };
    let hosts: Vec<(String, Vars)> = vec![one(1, "primary"), one(2, "replica"), one(3, "offline")];
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    build("pg-test", &view, &Overrides::default()).unwrap()
}

/// The file of a node.
fn rendered(vip: Value, node: &str) -> Option<RenderedFile> {
    let built = pg_test(&vip);
    let host = |name: &str| (name.to_owned(), Vars::new());
    let groups = Groups::from([("directors".to_owned(), vec![host("10.10.10.2"), host("10.10.10.3")])]);
    let duty = duty::resolve(&built, built.virtual_ip.as_ref().unwrap(), None, &groups, node).unwrap();
    let templates = Templates::new(&BTreeMap::new()).unwrap();
    super::vip(&templates, &Layout::default(), &duty, &cluster(&built, RoleSource::Patroni).unwrap()).unwrap()
}

fn l4() -> Value {
    json!({"vip_mode": "l4", "vip_address": "10.10.10.9", "vip_to": "haproxy", "lb_kind": "DR", "vip_provider": "directors"})
}

#[test]
fn the_word_of_a_node_behind_directors_renders_as_reviewed() {
    let file = rendered(l4(), "10.10.10.12").unwrap();
    assert_eq!((file.path.to_str().unwrap(), file.mode), ("/etc/haproxy/conf.d/pg-test-@vip.cfg", 0o640));
    insta::assert_snapshot!(file.content);
}

#[test]
fn an_address_that_a_node_holds_itself_is_asked_over_the_socket_only() {
    let follows = json!({"vip_mode": "l2", "vip_address": "10.10.10.9", "vip_follow": "haproxy"});
    let text = rendered(follows, "10.10.10.11").unwrap().content;
    let binds: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("bind ")).collect();
    assert_eq!(binds, ["    bind unix@/run/haproxy/pgsvc-pg-test.sock mode 666"]);
    assert!(crate::plan::binds(text.as_bytes()).is_empty());
    assert_eq!(bind("fd00::9".parse().unwrap(), 9102), ":::9102 v6only");
}

#[test]
fn nobody_else_has_such_a_file() {
    assert_eq!(rendered(l4(), "10.10.10.2"), None);
    assert_eq!(rendered(json!({"vip_mode": "l2", "vip_address": "10.10.10.9"}), "10.10.10.11"), None);
}

#[test]
fn it_is_the_clusters_own_by_name_and_header_and_counts_for_no_service() {
    let file = rendered(l4(), "10.10.10.12").unwrap();
    let said = owner(file.content.as_bytes());
    assert_eq!(said, Some(Owner::Cluster { cluster: "pg-test".into(), service: SERVICE.into() }));
    assert_eq!(file.path.file_name().unwrap().to_str().unwrap(), format!("pg-test-{SERVICE}.cfg"));
    // Nothing to seed, to check, or to change at runtime but the limit that the file says.
    assert!(crate::daemon::haproxy::config::backends(&file.content).is_empty());
    let shape = super::super::shape::shape(file.content.as_bytes());
    let sections: Vec<_> = shape.sections.iter().map(|s| (s.name, s.frontend, s.servers.len())).collect();
    assert_eq!(sections, [("pg-test:vip", true, 0)]);
    assert_eq!(crate::plan::binds(file.content.as_bytes()), ["0.0.0.0:9102".parse().unwrap()]);
}

#[test]
fn every_backend_that_serves_is_looked_at_and_none_that_only_checks() {
    let built = pg_test(&l4());
    let resolved = cluster(&built, RoleSource::Patroni).unwrap();
    let text = rendered(l4(), "10.10.10.12").unwrap().content;
    let templates = Templates::new(&BTreeMap::new()).unwrap();
    let files = services(&templates, &Layout::default(), &resolved).unwrap();
    let all = files.iter().flat_map(|f| crate::daemon::haproxy::config::backends(&f.content));
    let mut named: Vec<String> = all.map(|b| b.name).filter(|n| !n.contains("-check")).collect();
    let mut asked: Vec<String> = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("acl serves nbsrv(")?.strip_suffix(") gt 0"))
        .map(str::to_owned)
        .collect();
    named.sort();
    asked.sort();
    assert_eq!(asked, named);
    assert!(asked.len() == 6, "{asked:?}");
}
