//! `pgsvc lint` as its users run it: on the inventories of this repository, on upstream's defaults, and in every format.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;
use std::process::Command;

use common::{HOSTS, Inventory, code, err, good, out, run};
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Code and object of every finding, without an error of the run itself.
fn found(path: &str) -> Vec<(String, String)> {
    let output = run(&["lint", "-i", path, "--format", "json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)));
    let text = |f: &Value, key: &str| f[key].as_str().unwrap().to_owned();
    all.as_array().unwrap().iter().map(|f| (text(f, "code"), text(f, "object"))).collect()
}

fn clean(what: &str, text: &str) {
    let file = Inventory::new(text);
    let all = found(&file.path());
    assert!(all.is_empty(), "{what}: {all:?}\n{text}");
}

/// The YAML blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(ROOT).join(page)).unwrap();
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line) {
            (false, "```yaml") => {
                blocks.push(String::new());
                inside = true;
            }
            (true, "```") => inside = false,
            (true, line) => *blocks.last_mut().unwrap() += &format!("{line}\n"),
            _ => {}
        }
    }
    blocks
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|l| format!("{}{l}\n", " ".repeat(by))).collect()
}

#[test]
fn what_the_pages_show_is_clean() {
    let mut seen = 0;
    for page in ["README.md", "roles/pgsql/README.md", "docs/vip.md"] {
        for block in blocks(page) {
            let text = match block.split(':').next().unwrap() {
                "all" => block,
                "pg-test" => {
                    let hosts = "pg-test:\n  hosts:\n    10.10.10.11: {pg_seq: 1, pg_role: primary}\n    10.10.10.12: {pg_seq: 2, pg_role: replica}\n    10.10.10.13: {pg_seq: 3, pg_role: offline}\n";
                    let block = block.replacen("pg-test:\n", hosts, 1);
                    format!("all:\n  children:\n{}", indented(&block, 4))
                }
                "pg_services_extra" => {
                    let block = indented(&block, 8);
                    HOSTS.replace(
                        "vars: {pg_cluster: pg-test, haproxy_admin_password: 'open sesame'}",
                        &format!("vars:\n        pg_cluster: pg-test\n{block}"),
                    )
                }
                other => panic!("{page} shows a block that begins with {other}"),
            };
            clean(page, &text);
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen} blocks");
}

#[test]
fn the_labs_inventory_is_clean() {
    let dir = tempfile::TempDir::new().unwrap();
    let script = r#"
        set -euo pipefail
        export PGSVC_LAB_DIR=$1
        source lab/lib/common.sh
        source lab/lib/inventory.sh
        choose lint
        mkdir -p "$LAB"
        printf '%s\n' 'node1 10.10.10.11 pg 1 primary' 'node2 10.10.10.12 pg 2 replica' \
            'node3 10.10.10.13 pg 3 offline' 'lb1 10.10.10.21 lb' >"$LAB/nodes.txt"
        inventory"#;
    let output =
        Command::new("bash").args(["-c", script, "bash"]).arg(dir.path()).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("node3: {ansible_host: 10.10.10.13, pg_seq: 3, pg_role: offline}"), "{text}");
    clean("lab", &text);
}

#[test]
fn the_fixtures_have_exactly_the_findings_they_were_made_for() {
    let dir = Path::new(ROOT).join("tests/fixtures/inventory");
    let mut with_clusters = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let output = run(&["lint", "-i", path.to_str().unwrap(), "--format", "json"]);
        if !err(&output).contains("has no cluster") {
            with_clusters.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(with_clusters, ["pigsty"], "a fixture with a cluster belongs into this test");
    let pigsty = format!("{ROOT}/tests/fixtures/inventory/pigsty/pigsty.yml");
    let pair = |c: &str, o: &str| (c.to_owned(), o.to_owned());
    let wanted =
        [pair("PGS030", "service 'offline' of pg-meta"), pair("PGS004", "service 'standby' of pg-test")];
    assert_eq!(found(&pigsty), wanted);
}

#[test]
fn upstreams_defaults_get_the_findings_they_deserve() {
    let output = Command::new(assert_cmd::cargo::cargo_bin("pgsvc"))
        .args(["lint", "-i", "pigsty.yml"])
        .current_dir(Path::new(ROOT).join("tests/fixtures/lint"))
        .output()
        .unwrap();
    assert_eq!(code(&output), 0);
    let golden = Path::new(ROOT).join("tests/fixtures/lint/pigsty.txt");
    if std::env::var_os("PGSVC_WRITE_GOLDEN").is_some() {
        std::fs::write(&golden, &output.stdout).unwrap();
    }
    assert_eq!(
        out(&output),
        std::fs::read_to_string(golden).unwrap(),
        "PGSVC_WRITE_GOLDEN=1 cargo test --test lint upstreams writes it anew"
    );
}

#[test]
fn lint_is_0_with_warnings_and_1_with_an_error() {
    let file = Inventory::new(HOSTS);
    let output = good(&["lint", "-i", &file.path()]);
    assert_eq!((out(&output).as_str(), err(&output).as_str()), ("", "no findings\n"));
    let warned = Inventory::new(&HOSTS.replace("pg_role: primary", "pg_role: replica"));
    let output = good(&["lint", "-i", &warned.path()]);
    assert!(out(&output).starts_with("pg-test\n  warning PGS020 no-primary  "), "{}", out(&output));
    assert_eq!(err(&output), "1 warning; pgsvc lint --explain CODE says more\n");
    let bad = Inventory::new(&HOSTS.replace("pg_seq: 2", "pg_seq: 1"));
    let output = run(&["lint", "-i", &bad.path()]);
    assert_eq!(code(&output), 1);
    assert!(out(&output).contains("\n  error   PGS010 duplicate-name  "), "{}", out(&output));
    assert!(out(&output).contains("hosts.yml:7:23\n"), "{}", out(&output));
}

#[test]
fn json_and_sarif_name_the_place_and_are_there_without_findings_too() {
    let bad = Inventory::new(&HOSTS.replace("pg_seq: 2", "pg_seq: 70000000"));
    let json: Value =
        serde_json::from_slice(&run(&["lint", "-i", &bad.path(), "--format", "json"]).stdout).unwrap();
    let keys: Vec<&String> = json[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["cluster", "code", "fix", "name", "object", "place", "severity", "what", "why"]);
    assert_eq!((&json[0]["severity"], &json[0]["place"]["line"]), (&"error".into(), &7.into()));
    let sarif = |path: &str| -> Value {
        serde_json::from_slice(&run(&["lint", "-i", path, "--format", "sarif"]).stdout).unwrap()
    };
    let run = &sarif(&bad.path())["runs"][0];
    assert_eq!(run["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
    let fine = Inventory::new(HOSTS);
    assert_eq!(sarif(&fine.path())["runs"][0]["results"], Value::Array(Vec::new()));
    let broken = Inventory::new("all: [\n");
    assert_eq!(sarif(&broken.path())["runs"][0]["results"][0]["ruleId"], "PGS001");
}

#[test]
fn a_code_is_explained_by_number_or_name_and_a_wrong_one_is_no_panic() {
    let text = out(&good(&["lint", "--explain", "PGS041"]));
    assert!(
        text.starts_with("PGS041 lag-zero (warning)\n") && text.contains("Found:\n    pg_services_extra:"),
        "{text}"
    );
    assert_eq!(text, out(&good(&["lint", "--explain", "lag-zero"])));
    let output = run(&["lint", "--explain", "lag-zeros"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("did you mean 'lag-zero'?"), "{}", err(&output));
    assert_eq!(code(&run(&["lint"])), 64);
}

#[test]
fn an_inventory_with_group_vars_points_into_the_file_that_says_it() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("group_vars")).unwrap();
    std::fs::write(dir.path().join("hosts.yml"), HOSTS).unwrap();
    let vars = "pg_services_extra:\n  - name: ro\n    src_port: 5440\n    selector: '[]'\n    check_url: /readonly\n";
    std::fs::write(dir.path().join("group_vars/pg-test.yml"), vars).unwrap();
    let output = run(&["lint", "-i", dir.path().join("hosts.yml").to_str().unwrap()]);
    assert!(out(&output).contains("group_vars/pg-test.yml:5:5\n"), "{}", out(&output));
    // A list that somebody made has no places, and says so by not inventing any.
    let list = r#"{"_meta": {"hostvars": {"h": {"pg_cluster": "a", "pg_seq": 1, "pg_role": "replica"}}}, "a": {"hosts": ["h"]}}"#;
    let json = common::run_with(&["lint", "-i", "-", "--format", "json"], list);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json.as_array().unwrap().iter().all(|f| f["place"].is_null()), "{json}");
}
