use std::collections::BTreeMap;

use super::*;
use crate::inventory::Vars;
use crate::inventory::cluster::{Overrides, build};
use crate::resolve::{RoleSource, cluster};
use serde_json::{Value, json};

fn files(members: Value, roles: RoleSource) -> Vec<RenderedFile> {
    let hosts: Vec<(String, Vars)> = members
        .as_array()
        .unwrap()
        .iter()
        .map(|h| (h["inventory_hostname"].as_str().unwrap().to_owned(), h.as_object().unwrap().into()))
        .collect();
    let view: Vec<_> = hosts.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let built = build("pg-test", &view, &Overrides::default()).unwrap();
    let templates = Templates::new(&BTreeMap::new()).unwrap();
    services(&templates, &Layout::default(), &cluster(&built, roles).unwrap()).unwrap()
}

fn member(seq: u64, role: &str, extra: &Value) -> Value {
    let mut m = json!({"inventory_hostname": format!("10.10.10.1{seq}"), "pg_cluster": "pg-test", "pg_seq": seq, "pg_role": role});
    for (k, v) in extra.as_object().unwrap() {
        m[k] = v.clone();
    }
    m
}

fn three(extra: Value) -> Value {
    json!([member(1, "primary", &extra), member(2, "replica", &extra), member(3, "offline", &extra)])
}

fn content(files: &[RenderedFile], name: &str) -> String {
    files.iter().find(|f| f.path.ends_with(name)).unwrap_or_else(|| panic!("no {name}")).content.to_string()
}

#[test]
fn the_four_default_services_render_as_reviewed() {
    let all = files(three(json!({})), RoleSource::Patroni);
    let text: String =
        all.iter().map(|f| format!("==> {} {:o}\n{}\n", f.path.display(), f.mode, f.content)).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn the_inventorys_roles_render_one_listen_with_backups_that_all_serve() {
    insta::assert_snapshot!(content(&files(three(json!({})), RoleSource::Inventory), "pg-test-replica.cfg"));
}

#[test]
fn members_that_need_different_checks_are_tracked() {
    let extra = json!({"pg_services": [{"name": "x", "src_port": 5440, "check_url": "/read-only", "check_port": 9000,
        "selector": "[?pg_role == `replica` || pg_role == `offline`]", "selector_backup": "[?pg_role == `primary`]"}],
        "patroni_ssl_enabled": true});
    insta::assert_snapshot!(content(&files(three(extra), RoleSource::Patroni), "pg-test-x.cfg"));
}

#[test]
fn tls_checks_verify_name_and_chain_where_a_ca_is_given() {
    let named = json!({"ansible_host": "db1.example", "inventory_hostname": "db1", "patroni_ssl_enabled": "yes", "patroni_ca_file": "/etc/ssl/pg-ca.crt"});
    let all = files(json!([member(1, "primary", &named)]), RoleSource::Patroni);
    let text = content(&all, "pg-test-primary.cfg");
    assert!(text.contains("check-ssl verify required ca-file /etc/ssl/pg-ca.crt verifyhost db1.example check-sni db1.example"), "{text}");
    assert!(text.contains("init-addr last,libc,none"), "{text}");
    let own =
        json!({"patroni_ssl_enabled": true, "patroni_ca_file": "/ca.pem", "patroni_cert_file": "/own.pem"});
    let mutual = files(json!([member(1, "primary", &own)]), RoleSource::Patroni);
    assert!(
        content(&mutual, "pg-test-primary.cfg")
            .contains("check-ssl verify required ca-file /ca.pem crt /own.pem")
    );
    let plain =
        files(json!([member(1, "primary", &json!({"patroni_ssl_enabled": true}))]), RoleSource::Patroni);
    assert!(content(&plain, "pg-test-primary.cfg").contains("check-ssl verify none"));
}

#[test]
fn ipv6_members_weights_and_own_ports_are_rendered() {
    let six = json!({"inventory_hostname": "fd00::1", "pg_weight": 0, "patroni_port": 8108});
    let text =
        content(&files(json!([member(1, "primary", &six)]), RoleSource::Patroni), "pg-test-default.cfg");
    assert!(text.contains("server pg-test-1 [fd00::1]:5432 check port 8108 weight 0"), "{text}");
}

#[test]
fn a_managed_file_says_whose_it_is() {
    let all = files(three(json!({})), RoleSource::Patroni);
    for f in &all {
        assert!(
            matches!(owner(f.content.as_bytes()), Some(Owner::Cluster { cluster, .. }) if cluster == "pg-test")
        );
    }
    assert_eq!(owner(b"# Managed by pgsvc: node\nglobal\n"), Some(Owner::Node));
    assert_eq!(owner(b"global\n"), None);
    assert_eq!(owner(b"# Managed by pgsvc: cluster=x\n"), None);
}

#[test]
fn the_stats_password_is_hashed_as_crypt_does_it_and_the_same_each_time() {
    let hashed = crypt("node", "admin", "secret").unwrap();
    assert_eq!(hashed, crypt("node", "admin", "secret").unwrap());
    // From `openssl passwd -6 -salt <the salt> secret`.
    assert_eq!(
        hashed,
        "$6$zfX38F/ZrXYQ2Bvs$19lbdQ0soQXmh5MD2KvADotHsdPQzXBWUJGbZZFwK/9RldJOoUt0cJKJi9RKp4chEk7nVb0q6FWsRPCGVaRhl1"
    );
}

#[test]
fn an_operators_template_may_not_hide_whose_file_it_is() {
    let own = BTreeMap::from([("service.cfg.hbs".to_owned(), "listen {{listener}}\n".to_owned())]);
    let templates = Templates::new(&own).unwrap();
    let s = vec![];
    assert!(services(&templates, &Layout::default(), &s).unwrap().is_empty());
    let bad = BTreeMap::from([
        ("service.cfg.hbs".to_owned(), "{{#if x}}".to_owned()),
        ("servce.cfg.hbs".to_owned(), String::new()),
    ]);
    let e = Templates::new(&bad).err().unwrap().to_string();
    assert!(e.contains("did you mean service.cfg.hbs") && e.contains("does not compile"), "{e}");
}

#[test]
fn an_old_worker_is_never_stopped_before_its_clients_would_be() {
    let templates = Templates::new(&BTreeMap::new()).unwrap();
    for timeout in ["24h", "30m", "7d"] {
        let vars = json!({"haproxy_client_timeout": timeout, "haproxy_server_timeout": "1h"});
        let mut errors = Errors::default();
        let settings = crate::settings::node("n", &vars.as_object().unwrap().into(), &mut errors);
        let text = node(&templates, &Layout::default(), &settings).unwrap().content;
        let of = |key: &str| text.lines().find_map(|l| l.trim().strip_prefix(key)).unwrap().trim().to_owned();
        assert_eq!((of("hard-stop-after "), of("timeout client ")), (timeout.to_owned(), timeout.to_owned()));
    }
}
