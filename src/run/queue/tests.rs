use serde_json::json;

use super::*;
use crate::daemon::Paths;
use crate::host::fake::{FakeFile, FakeSystem};

fn model(cluster: &str, port: u16, more: Value) -> Model {
    let member = json!({"inventory_hostname": format!("10.0.0.{}", port - 6000), "pg_cluster": cluster, "pg_seq": 1,
        "pg_services": [{"name": "x", "src_port": port, "selector": "[]"}]});
    let mut args = json!({"members": [member], "node": {"inventory_hostname": "lb1"}});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request::model(request::from_arguments(args.as_object().unwrap()).unwrap()).unwrap()
}

/// A ticket as another living process leaves it: its lock is held for as long as the test wants.
fn left<'a>(node: &'a Node<'a>, pid: u32, m: &Model) -> Box<dyn Lock> {
    let name = dir(node).join(pid.to_string());
    node.sys.create_dir(&dir(node), 0o700).unwrap();
    let lives = node.sys.lock(&name.with_extension("lock"), Duration::ZERO).unwrap();
    let text = serde_json::to_vec(&wish(m).unwrap()).unwrap();
    node.sys.create(&name.with_extension("json"), &text, 0o600, (0, 0)).unwrap();
    lives
}

#[test]
fn waiting_runs_with_the_same_settings_are_one() {
    let sys = FakeSystem::default();
    let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
    let mine = model("a", 6001, json!({}));
    let _one = left(&node, 11, &model("b", 6002, json!({})));
    let _two = left(&node, 12, &model("c", 6003, json!({})));
    let _same = left(&node, 13, &model("a", 6001, json!({})));
    let _other = left(&node, 14, &model("d", 6004, json!({"role_source": "inventory"})));
    let guests = guests(&node, &mine);
    let names: Vec<&str> = guests.iter().flat_map(|g| &g.wish.clusters).map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["b", "c"], "not the one with the same cluster, not the one with other options");
    let all = together(&mine, &guests).unwrap();
    assert_eq!(all.clusters.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    let change = |path: &str| Change {
        path: path.into(),
        kind: crate::report::ChangeKind::Create,
        before: "".into(),
        after: "x".into(),
    };
    tell(&node, &guests, "2 files", &[(Some("b".into()), change("/b")), (Some("c".into()), change("/c"))]);
    let told = node.sys.read(&dir(&node).join("11.done")).unwrap();
    let done: Done = serde_json::from_slice(&told).unwrap();
    assert_eq!(
        (done.reason.as_str(), done.changes.len(), done.changes[0].path.as_str()),
        ("2 files", 1, "/b")
    );
}

#[test]
fn what_a_dead_run_left_is_never_installed() {
    let sys = FakeSystem::default();
    let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
    drop(left(&node, 11, &model("b", 6002, json!({}))));
    assert!(guests(&node, &model("a", 6001, json!({}))).is_empty());
    assert!(node.sys.list(&dir(&node)).unwrap().is_empty(), "and it is gone");
    sys.put(
        "/var/lib/pgsvc/waiting/12.json",
        FakeFile { bytes: b"nonsense".to_vec(), ..FakeFile::default() },
    );
    let _lives = node.sys.lock(&dir(&node).join("12.lock"), Duration::ZERO).unwrap();
    assert!(guests(&node, &model("a", 6001, json!({}))).is_empty());
}

#[test]
fn a_run_that_needs_its_own_consent_leaves_no_ticket() {
    let sys = FakeSystem::default();
    let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
    for consent in ["adopt", "force", "allow_restart"] {
        assert!(leave(&node, &model("a", 6001, json!({consent: true}))).is_none(), "{consent}");
    }
    let ticket = leave(&node, &model("a", 6001, json!({}))).unwrap();
    assert_eq!(node.sys.list(&dir(&node)).unwrap().len(), 1);
    assert!(ticket.done().is_none());
    assert!(node.sys.list(&dir(&node)).unwrap().is_empty(), "a ticket ends with its run");
}

#[test]
fn clusters_that_stand_in_each_others_way_are_not_installed_together() {
    let sys = FakeSystem::default();
    let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
    let _one = left(&node, 11, &model("b", 6001, json!({})));
    let mine = model("a", 6001, json!({}));
    let guests = guests(&node, &mine);
    assert_eq!(guests.len(), 1);
    assert!(together(&mine, &guests).is_none(), "both want port 6001");
}
