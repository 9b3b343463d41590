//! The binary as Ansible's module: its own keys, check and diff mode, idempotence, secrets, and Ansible's spellings.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{NODE, Root, arguments, difference, module, module_file};
use serde_json::{Value, json};

const PASSWORD: &str = "s3cret-of-verify";
const ADMIN: &str = "s3cret-of-admin";

fn with_secrets(root: &Root, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    arguments(&root.path(), |a| {
        a["verify_user"] = json!("monitor");
        a["verify_password"] = json!(PASSWORD);
        a["node"]["haproxy_admin_password"] = json!(ADMIN);
        change(a);
    })
}

fn ok(answer: Value) -> Value {
    assert_eq!(answer["failed"], false, "{answer}");
    answer
}

/// Paths and kinds of the changes.
fn changes(answer: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    answer["changes"].as_array().unwrap().iter().map(|c| (text(&c["path"]), text(&c["kind"]))).collect()
}

#[test]
fn ansibles_own_keys_are_no_arguments() {
    let root = Root::empty();
    let args = arguments(&root.path(), |a| {
        for (key, v) in [
            ("_ansible_version", json!("2.19.4")),
            ("_ansible_no_log", json!(false)),
            ("_ansible_tmpdir", Value::Null),
            ("_ansible_module_name", json!("pgsvc")),
            ("_ansible_tracebacks_for", json!([])),
            ("_ansible_something_of_tomorrow", json!({"a": [1]})),
        ] {
            a[key] = v;
        }
    });
    assert_eq!(ok(module(&args))["changed"], true);
}

#[test]
fn check_mode_touches_nothing_and_says_what_the_run_then_does() {
    let root = Root::empty();
    root.put("/etc/haproxy/conf.d/hand.cfg", "listen hand\n    bind *:6000\n");
    let nothing = root.tree();
    let checked = ok(module(&arguments(&root.path(), |a| a["_ansible_check_mode"] = json!(true))));
    assert_eq!(difference(&nothing, &root.tree()), Vec::<std::path::PathBuf>::new());
    let (done, code) = module_file(&arguments(&root.path(), |_| {}));
    assert_eq!((&ok(done.clone())["changed"], code), (&json!(true), 0));
    assert_eq!(changes(&checked), changes(&done));
    assert_eq!((&checked["changed"], &checked["action"]), (&done["changed"], &done["action"]));
    assert_eq!(changes(&done).len(), 8);

    let installed = root.tree();
    let again = ok(module(&arguments(&root.path(), |_| {})));
    assert_eq!((&again["changed"], again["msg"].as_str()), (&json!(false), Some("nothing to do")));
    assert_eq!(difference(&installed, &root.tree()), Vec::<std::path::PathBuf>::new());
    let checked = ok(module(&arguments(&root.path(), |a| a["_ansible_check_mode"] = json!(true))));
    assert_eq!((&checked["changed"], changes(&checked)), (&json!(false), vec![]));

    let absent = |check: bool| {
        module(&arguments(&root.path(), |a| {
            a["state"] = json!("absent");
            a["clusters"] = json!(["pg-test"]);
            a["_ansible_check_mode"] = json!(check);
        }))
    };
    let checked = ok(absent(true));
    assert_eq!(difference(&installed, &root.tree()), Vec::<std::path::PathBuf>::new());
    let done = ok(absent(false));
    assert_eq!(changes(&checked), changes(&done));
    assert_eq!(
        changes(&done).iter().filter(|(_, kind)| kind == "remove").count(),
        5,
        "four services and the watch: {done}"
    );
    assert!(root.has("hand"));
    assert_eq!(ok(absent(false))["changed"], false);
}

#[test]
fn what_goes_is_named_and_needs_no_members() {
    let root = Root::empty();
    ok(module(&arguments(&root.path(), |_| {})));
    let absent = |clusters: Value| {
        module(&arguments(&root.path(), |a| {
            a["state"] = json!("absent");
            a["members"] = json!([]);
            a["clusters"] = clusters;
        }))
    };
    let unnamed = absent(Value::Null);
    assert_eq!(unnamed["failed"], true);
    assert!(unnamed["msg"].as_str().unwrap().contains("clusters: [pg-test]"), "{unnamed}");
    assert!(root.has("pg-test-primary"));
    ok(absent(json!(["pg-test"])));
    assert!(!root.has("pg-test-primary"));
}

#[test]
fn diff_mode_shows_each_file_before_and_after() {
    let root = Root::empty();
    let diff = |check: bool, maxconn: u32| {
        ok(module(&arguments(&root.path(), |a| {
            a["services"] =
                json!([{"name": "x", "src_port": 5440, "selector": "[]", "haproxy": {"maxconn": maxconn}}]);
            a["_ansible_diff"] = json!(true);
            a["_ansible_check_mode"] = json!(check);
        })))
    };
    assert!(
        module(&arguments(&root.path(), |a| a["_ansible_check_mode"] = json!(true))).get("diff").is_none()
    );
    let planned = diff(true, 77);
    assert_eq!(planned["diff"], diff(false, 77)["diff"]);
    let changed = diff(false, 78);
    let parts = changed["diff"].as_array().unwrap();
    let service = parts.iter().find(|d| d["before_header"] == "/etc/haproxy/conf.d/pg-test-x.cfg").unwrap();
    assert!(service["before"].as_str().unwrap().contains("maxconn 77\n"));
    assert!(service["after"].as_str().unwrap().contains("maxconn 78\n"));
    assert_eq!(service["after_header"], service["before_header"]);
    assert_eq!(diff(false, 78)["diff"], json!([]));
}

#[test]
fn secrets_are_in_no_answer_and_in_no_file_but_those_that_must_hold_them() {
    let root = Root::empty();
    let secret = |text: &str| text.contains(PASSWORD) || text.contains(ADMIN);
    for change in [
        json!({"_ansible_diff": true, "_ansible_check_mode": true}),
        json!({"_ansible_diff": true}),
        json!({"_ansible_diff": true, "_ansible_no_log": true}),
        json!({"_ansible_diff": true, "state": "absent", "clusters": ["pg-test"]}),
        json!({"verify_password": [PASSWORD]}),
        json!({"verify_password": {"a": PASSWORD}}),
        json!({"verify_pasword": PASSWORD}),
        json!({"services": [{"name": PASSWORD, "src_port": 0}]}),
        json!({"node": {"inventory_hostname": NODE, "haproxy_admin_password": [ADMIN]}}),
        json!({"node": {"inventory_hostname": NODE, "haproxy_admin_password": format!("{ADMIN}\n")}}),
        json!({"node": {"inventory_hostname": NODE, "haproxy_admin_password": ADMIN, "pgsvc_verify_password": [PASSWORD]}, "verify_password": null}),
    ] {
        let args =
            with_secrets(&root, |a| a.as_object_mut().unwrap().extend(change.as_object().unwrap().clone()));
        for answer in [module(&args), module_file(&args).0] {
            assert!(!secret(&answer.to_string()), "{change}: {answer}");
            assert!(!answer.to_string().contains("$6$"), "a hash can be guessed at leisure: {answer}");
        }
    }
    ok(module(&with_secrets(&root, |_| {})));
    for (path, (mode, _, _, content)) in root.tree() {
        let (name, text) = (path.display().to_string(), String::from_utf8_lossy(&content).into_owned());
        assert!(!text.contains(ADMIN) || mode == 0o600, "{name} {mode:o}");
        if text.contains(PASSWORD) || text.contains(ADMIN) {
            assert!(name.starts_with("var/lib/pgsvc/") && mode == 0o600, "{name} {mode:o}");
        }
        if text.contains("$6$") {
            let held = name == "etc/haproxy/haproxy.cfg" && mode == 0o640;
            assert!(held || name.starts_with("var/lib/pgsvc/") && mode & 0o007 == 0, "{name} {mode:o}");
        }
        if name == "var/lib/pgsvc" {
            assert_eq!(mode, 0o700, "{name}");
        }
    }
}

#[test]
fn ansibles_spellings_mean_what_they_say() {
    let plain = Root::empty();
    let spelled = Root::empty();
    let service = json!({"name": "x", "src_port": 5440, "dst_port": 7000, "check_port": 9000, "check_code": 201,
        "selector": "[? pg_offline_query]", "haproxy": {"maxconn": 50}});
    ok(module(&arguments(&plain.path(), |a| {
        a["services"] = json!([service]);
        a["members"][1]["pg_offline_query"] = json!(true);
        a["members"][2]["pg_offline_query"] = json!(false);
        a["members"][1]["pg_weight"] = json!(50);
        a["members"][1]["pg_port"] = json!(5433);
    })));
    ok(module(&arguments(&spelled.path(), |a| {
        a["services"] = json!([{"name": "x", "src_port": "5440", "dst_port": "7000", "check_port": "9000", "check_code": "201",
            "src_ip": "", "check_url": "", "selector_backup": "", "check_method": null,
            "selector": "[? pg_offline_query]", "haproxy": {"maxconn": "50", "balance": ""}}]);
        a["members"][0]["pg_seq"] = json!("1");
        a["members"][1]["pg_offline_query"] = json!("yes");
        a["members"][2]["pg_offline_query"] = json!("False");
        a["members"][1]["pg_weight"] = json!("50");
        a["members"][2]["pg_weight"] = json!("");
        a["members"][1]["pg_port"] = json!("5433");
        for (key, v) in [
            ("templates", ""),
            ("verify", "yes"),
            ("force", "no"),
            ("adopt", "False"),
            ("state", ""),
            ("verify_timeout", "30"),
            ("services_extra", ""),
        ] {
            a[key] = json!(v);
        }
    })));
    assert_eq!(plain.conf("pg-test-x"), spelled.conf("pg-test-x"));
    assert!(
        plain.conf("pg-test-x").contains("server pg-test-2 10.10.10.12:7000 check port 9000 weight 50"),
        "{}",
        plain.conf("pg-test-x")
    );
    assert!(!plain.conf("pg-test-x").contains("pg-test-3"), "\"False\" is false");
}

#[test]
fn the_facts_name_services_ports_members_and_connections() {
    let root = Root::empty();
    let answer = ok(module(&arguments(&root.path(), |_| {})));
    let primary = &answer["ansible_facts"]["pgsvc"]["clusters"]["pg-test"]["services"]["primary"];
    assert_eq!((&primary["port"], &primary["listener"]), (&json!(5433), &json!("pg-test-primary")));
    assert_eq!(primary["members"].as_array().unwrap().len(), 3);
    assert_eq!(primary["url"], format!("postgres://{NODE}:5433/postgres"));
    assert_eq!(primary["dsn"], format!("host={NODE} port=5433 dbname=postgres"));
    assert!(answer.get("invocation").is_none() && answer["warnings"].is_array());
}

#[test]
fn one_bad_cluster_blocks_no_other_and_is_not_kept() {
    let root = Root::empty();
    let answer = module(&arguments(&root.path(), |a| {
        a["members"].as_array_mut().unwrap().push(
            json!({"inventory_hostname": "10.10.10.21", "pg_cluster": "pg-bad", "pg_seq": 1, "pg_role": "primary"}),
        );
    }));
    assert_eq!((&answer["failed"], &answer["changed"]), (&json!(true), &json!(true)), "{answer}");
    let msg = answer["msg"].as_str().unwrap();
    assert!(msg.contains("pg-test") && msg.contains("5433"), "{msg}");
    let there: Vec<bool> = ["pg-bad-primary", "pg-test-primary"].iter().map(|n| root.has(n)).collect();
    assert_eq!(there.iter().filter(|t| **t).count(), 1, "one of two that collide");
    assert!(!root.tree().keys().any(|p| p.ends_with("clusters/pg-test.json")) || !there[0]);
}
