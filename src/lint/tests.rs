use std::io;
use std::path::{Path, PathBuf};

use super::*;
use crate::inventory::{self, Source, cluster};

/// One file, and nothing beside it.
struct One(String);

impl Source for One {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new("hosts.yml") {
            Ok(self.0.clone().into_bytes())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        if path == Path::new("hosts.yml") { Ok(None) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

const HOSTS: &str = "hosts:
  10.10.10.11: {pg_seq: 1, pg_role: primary}
  10.10.10.12: {pg_seq: 2, pg_role: replica}
  10.10.10.13: {pg_seq: 3, pg_role: offline}";

/// An example as a whole inventory: the variables of a group of three, hosts of its own below `hosts:`, or all of it.
fn whole(example: &str) -> String {
    if example.starts_with("all:") {
        return example.to_owned();
    }
    let (vars, hosts) = match example.find("hosts:\n") {
        Some(0) => ("", example),
        Some(at) => example.split_at(at),
        None => (example, HOSTS),
    };
    let indent = |text: &str, by: usize| -> String {
        text.lines().map(|l| format!("{}{l}\n", " ".repeat(by))).collect()
    };
    format!(
        "all:\n  children:\n    directors: {{hosts: {{10.10.10.31: , 10.10.10.32: }}}}\n    pg-test:\n{}      vars:\n        pg_cluster: pg-test\n{}",
        indent(hosts, 6),
        indent(vars, 8)
    )
}

fn look(example: &str) -> Found {
    let source = One(whole(example));
    match inventory::load(&source, &PathBuf::from("hosts.yml")) {
        Ok(inventory) => {
            let names = cluster::names(inventory.hosts.iter().map(|h| &h.vars));
            lint(&inventory, &names, None)
        }
        Err(errors) => broken(&errors),
    }
}

fn codes(example: &str) -> Vec<&'static str> {
    look(example).findings.iter().map(|f| f.code).collect()
}

/// Near misses and triggers beyond those of the table: the code, what has it, what nearly has.
const MORE: &[(&str, &str, &str)] = &[
    (
        "PGS001",
        "pg_services_extra:\n  - {name: ro, src_port: 7000, selecter: '[]', check_url: /read-only}",
        "pg_services_extra:\n  - {name: ro, src_port: 7000, selector: '[]', check_url: /read-only, description: x}",
    ),
    ("PGS001", "haproxy_client_timeout: 1 hour", "haproxy_client_timeout: 24h"),
    (
        "PGS004",
        "pg_services_extra:\n  - {name: ro, src_port: 7000, port: 7001, selector: '[]', check_url: /read-only}",
        "pg_default_services:\n  - {name: ro, port: 7001, selector: '[]', check: /read-only}",
    ),
    ("PGS005", "pgsvc_lint_ignore:\n  - {code: PGS999, reason: x}", "pgsvc_lint_ignore: []"),
    ("PGS005", "pgsvc_lint_ignore: PGS041", "pgsvc_lint_ignore:"),
    (
        "PGS006",
        "pg_services_extra:\n  - {name: a, src_port: 70000, selector: '[]', check_url: /replica}\npgsvc_lint_ignore:\n  - {code: PGS001, reason: refused all the same}",
        "src_port: 5440",
    ),
    (
        "PGS010",
        "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: primary}\n  10.10.10.12: {pg_seq: 1, pg_role: replica}",
        "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: primary}\n  10.10.10.12: {pg_seq: 2, pg_role: replica}",
    ),
    (
        "PGS011",
        "all:\n  children:\n    lb: {hosts: {10.0.0.9: }}\n    a: {vars: {pg_cluster: a, pg_service_provider: lb}, hosts: {10.0.0.1: {pg_seq: 1, pg_role: primary}}}\n    b: {vars: {pg_cluster: b, pg_service_provider: lb}, hosts: {10.0.0.2: {pg_seq: 1, pg_role: primary}}}",
        "all:\n  children:\n    a: {vars: {pg_cluster: a}, hosts: {10.0.0.1: {pg_seq: 1, pg_role: primary}}}\n    b: {vars: {pg_cluster: b}, hosts: {10.0.0.2: {pg_seq: 1, pg_role: primary}}}",
    ),
    (
        "PGS012",
        "pg_services_extra:\n  - {name: ro, src_port: 9101, selector: '[]', check_url: /read-only}",
        "haproxy_exporter_port: 9109\npg_services_extra:\n  - {name: ro, src_port: 9101, selector: '[]', check_url: /read-only}",
    ),
    (
        "PGS012",
        "vip_mode: l2\nvip_follow: haproxy\nvip_address: 10.10.10.3\npg_services_extra:\n  - {name: ro, src_port: 9102, selector: '[]', check_url: /read-only}",
        "vip_mode: l2\nvip_follow: primary\nvip_address: 10.10.10.3\npg_services_extra:\n  - {name: ro, src_port: 9102, selector: '[]', check_url: /read-only}",
    ),
    (
        "PGS012",
        "pg_services_extra:\n  - {name: ro, src_port: 8008, selector: '[]', check_url: /read-only}",
        "all:\n  children:\n    lb: {hosts: {10.0.0.9: }}\n    a:\n      vars:\n        pg_cluster: a\n        pg_service_provider: lb\n        pg_services_extra: [{name: ro, src_port: 8008, selector: '[]', check_url: /read-only}]\n      hosts: {10.0.0.1: {pg_seq: 1, pg_role: primary}}",
    ),
    (
        "PGS022",
        "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only, haproxy: {default_server_options: inter 3s weight 0}}",
        "pg_weight: 50\npg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /read-only, haproxy: {default_server_options: inter 3s weight 0}}",
    ),
    (
        "PGS043",
        "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /Replica}",
        "pg_services_extra:\n  - {name: ro, src_port: 5440, selector: '[]', check_url: /Replica, check_port: 9000}",
    ),
    (
        "PGS046",
        "pg_services_extra:\n  - {name: rw, src_port: 5440, selector: '[]'}",
        "pg_services_extra:\n  - {name: rw, src_port: 5440, selector: '[]', check_url: /}",
    ),
    (
        "PGS047",
        "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /replica?lag=16MB, selector: '[]', selector_backup: '[? pg_role == `primary` ]'}",
        "pg_services_extra:\n  - {name: ro, src_port: 5440, check_url: /replica?lag=16MB, selector: '[]', selector_backup: '[? pg_role == `offline` ]'}",
    ),
    (
        "PGS050",
        "pg_services_extra:\n  - {name: rw, src_port: 5440, selector: '[]', check_url: /leader, haproxy: {default_server_options: slowstart 30s}}",
        "pg_services_extra:\n  - {name: rw, src_port: 5440, selector: '[]', check_url: /primary, haproxy: {default_server_options: slowstart 2s}}",
    ),
    ("PGS051", "pgbouncer_max_client_conn: 1000", "pg_max_conn: auto\npgbouncer_max_client_conn: 20000"),
    (
        "PGS052",
        "haproxy_client_timeout: 1h\nhaproxy_server_timeout: 1h\npgbouncer_client_idle_timeout: 7200",
        "haproxy_client_timeout: 1h\nhaproxy_server_timeout: 1h\npgbouncer_client_idle_timeout: 600",
    ),
    ("PGS060", "pg_monitor_password: DBUser.Monitor", "pg_monitor_password: DBUser.Monitors"),
    ("PGS070", "vip_mode: l2", "vip_mode: none"),
    (
        "PGS071",
        "vip_mode: l4\nvip_address: 10.10.10.3/24\nvip_provider: directors\nvip_to: members\nlb_kind: DR",
        "vip_mode: l4\nvip_address: 10.10.10.3/24\nvip_provider: directors\nvip_to: members\nlb_kind: NAT\nvip_gateway: 10.10.10.4/24\nvip_clients: [10.10.20.0/24]",
    ),
];

#[test]
fn each_code_has_an_example_that_is_found_and_a_near_miss_that_is_not() {
    for r in RULES {
        assert!(!r.bad.is_empty() && !r.good.is_empty(), "{} has no pair", r.code);
        assert!(codes(r.bad).contains(&r.code), "{} does not find its example: {:?}", r.code, look(r.bad));
        assert!(!codes(r.good).contains(&r.code), "{} finds its near miss: {:?}", r.code, look(r.good));
        assert_eq!(look(r.good).count(Severity::Error), 0, "{}: {:?}", r.code, look(r.good));
    }
    for (code, bad, good) in MORE {
        assert!(codes(bad).contains(code), "{code} does not find {bad}: {:?}", look(bad));
        assert!(!codes(good).contains(code), "{code} finds {good}: {:?}", look(good));
    }
}

#[test]
fn an_example_shows_its_own_code_and_little_else() {
    for r in RULES {
        let mut others: Vec<_> = codes(r.bad).into_iter().filter(|c| *c != r.code).collect();
        others.dedup();
        assert!(others.len() <= 1, "{}: {others:?}", r.code);
    }
}

#[test]
fn codes_and_names_are_given_once_and_in_order() {
    let codes: Vec<&str> = RULES.iter().map(|r| r.code).collect();
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(codes, sorted);
    let names: std::collections::BTreeSet<&str> = RULES.iter().map(|r| r.name).collect();
    assert_eq!(names.len(), RULES.len());
    assert!(
        RULES.iter().all(|r| rule(r.code).unwrap().name == r.name && rule(r.name).unwrap().code == r.code)
    );
    assert!(rule("PGS999").is_none());
}

#[test]
fn the_default_services_of_three_members_deserve_no_finding() {
    assert_eq!(codes("pg_rto: norm"), Vec::<&str>::new());
}

fn places(example: &str) -> Vec<(String, String)> {
    let all = look(example).findings;
    all.iter()
        .map(|f| {
            (
                f.code.to_owned(),
                f.place.as_ref().map_or(String::new(), |p| format!("{}:{}", p.line, p.column)),
            )
        })
        .collect()
}

#[test]
fn a_finding_stands_at_the_field_that_it_is_about() {
    // Variables begin on line 11, column 9.
    let at = |vars: &str, code: &str| {
        let all = places(vars);
        all.iter().find(|(c, _)| c == code).unwrap_or_else(|| panic!("{code} is not in {all:?}")).1.clone()
    };
    let list =
        |fields: &str| format!("pg_services_extra:\n- name: x\n  src_port: 5440\n  selector: '[]'\n{fields}");
    assert_eq!(at(&list("  check_url: /readonly"), "PGS043"), "15:11");
    assert_eq!(at(&list("  check_url: /readonly").replace("5440", "540"), "PGS014"), "13:11");
    assert_eq!(at(&list("  check_url: /read-only\n  haproxy:\n    maxconn: none"), "PGS001"), "17:13");
    assert_eq!(
        at(&list("  check_url: /primary\n  haproxy: {default_server_options: inter 3x}"), "PGS001"),
        "16:21"
    );
    assert_eq!(at(&list("  chek_url: /primary"), "PGS001"), "15:11");
    assert_eq!(at(&list("  check_url: /read-only").replace("name: x", "name: default"), "PGS010"), "12:11");
    assert_eq!(at(&list("  check_url: /read-only").replace("5440", "5433"), "PGS011"), "13:11");
    assert_eq!(at(&list("  check_url: /read-only").replace("'[]'", "'[? x'"), "PGS001"), "14:11");
    assert_eq!(at("pgsvc_lint_ignore:\n- {code: PGS041}", "PGS005"), "12:11");
    assert_eq!(at("haproxy_admin_password: pigsty", "PGS060"), "11:9");
    assert_eq!(
        at(
            "vip_mode: l4\nvip_address: 10.10.10.3\nvip_provider: directors\nvip_to: members\nlb_kind: NAT",
            "PGS071"
        ),
        "15:9"
    );
    assert_eq!(at("pg_weight: many", "PGS001"), "11:9");
    let hosts =
        "hosts:\n  10.10.10.11: {pg_seq: 1, pg_role: primary}\n  10.10.10.12: {pg_seq: 1, pg_role: replica}";
    assert_eq!(at(hosts, "PGS010"), "7:23", "the second of the two");
}

#[test]
fn what_is_said_of_many_objects_is_said_once() {
    let found = look("haproxy_admin_password: pigsty").findings;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].object, "host '10.10.10.11', host '10.10.10.12', host '10.10.10.13'");
}

#[test]
fn a_password_is_never_shown() {
    for name in ["haproxy_admin_password", "patroni_password", "pgsvc_verify_password"] {
        let found = look(&format!("{name}: DBUser.Monitor"));
        assert_eq!(found.findings.len(), 1, "{name}");
        let text = format!("{found:?}{}", sarif::sarif(&found, "x"));
        let shown = text.split(rule("PGS060").unwrap().bad).collect::<String>();
        assert!(!shown.contains("DBUser.Monitor"), "{shown}");
    }
}

#[test]
fn what_is_ignored_is_kept_with_its_reason_and_only_for_its_service() {
    let two = "pg_services_extra:\n  - {name: a, src_port: 5440, selector: '[]', check_url: /replica?lag=0}\n  - {name: b, src_port: 5441, selector: '[]', check_url: /replica?lag=0}\npgsvc_lint_ignore:\n  - {code: PGS041, service: a, reason: meant so}";
    let found = look(two);
    assert_eq!(found.findings.len(), 1);
    assert!(found.findings[0].object.contains("'b'"));
    assert_eq!((found.ignored.len(), found.ignored[0].1.as_str()), (1, "meant so"));
    assert!(human::summary(&found).contains("1 warning (1 ignored: -v shows them)"));
}

#[test]
fn an_inventory_that_cannot_be_read_is_a_finding_at_its_place() {
    let found = look("all:\n  children: {a: [\n").findings;
    assert_eq!((found.len(), found[0].code), (1, "PGS001"));
    assert_eq!(found[0].place.as_ref().unwrap().file, "hosts.yml");
}

#[test]
fn all_lines_fit_a_hundred_columns() {
    for r in RULES {
        let text: Vec<String> = human::lines(&look(r.bad), true).into_iter().map(|(_, l)| l).collect();
        // A word that is longer is one that somebody wrote.
        assert!(text.iter().all(|l| l.chars().count() <= 100), "{text:#?}");
        let explained = human::explain(r);
        let prose = explained.lines().filter(|l| !l.starts_with("    "));
        assert!(prose.clone().all(|l| l.chars().count() <= 100), "{explained}");
    }
}

/// What SARIF 2.1.0 requires (the schema's `required`, by object), and what code hosts want besides.
#[test]
fn sarif_has_what_its_schema_requires() {
    for r in RULES {
        let log = sarif::sarif(&look(r.bad), "my hosts.yml");
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["name"], "pgsvc");
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert!(rules.iter().all(|r| r["id"].is_string() && r["shortDescription"]["text"].is_string()));
        let results = run["results"].as_array().unwrap();
        assert!(!results.is_empty());
        for x in results {
            assert_eq!(rules[usize::try_from(x["ruleIndex"].as_u64().unwrap()).unwrap()]["id"], x["ruleId"]);
            assert!(["error", "warning", "note"].contains(&x["level"].as_str().unwrap()));
            assert!(x["message"]["text"].as_str().is_some_and(|t| !t.is_empty()));
            let at = &x["locations"][0]["physicalLocation"];
            assert!(
                ["hosts.yml", "my%20hosts.yml"].contains(&at["artifactLocation"]["uri"].as_str().unwrap())
            );
            assert!(
                at["region"]["startLine"].as_u64().unwrap() > 0
                    && at["region"]["startColumn"].as_u64().unwrap() > 0
            );
            assert!(x["partialFingerprints"]["pgsvc/v1"].as_str().unwrap().len() == 24);
        }
    }
    assert_eq!(sarif::sarif(&Found::default(), "x")["runs"][0]["results"], serde_json::json!([]));
}

#[test]
fn what_is_said_of_many_clusters_is_none_s_own_and_a_long_path_has_its_own_line() {
    let two = "all:\n  vars: {pg_services_extra: [{name: x, src_port: 5440, selector: '[]', check_url: /readonly}]}\n  children:\n    a: {vars: {pg_cluster: a}, hosts: {10.0.0.1: {pg_seq: 1, pg_role: primary}}}\n    b: {vars: {pg_cluster: b}, hosts: {10.0.0.2: {pg_seq: 1, pg_role: primary}}}\n";
    let mut found = look(two);
    found.findings.retain(|f| f.code == "PGS043");
    assert_eq!(found.findings.len(), 1);
    assert_eq!(found.findings[0].object, "service 'x' of a, service 'x' of b");
    assert_eq!(found.findings[0].cluster, None);
    found.findings[0].place.as_mut().unwrap().file = "d/".repeat(40);
    let lines: Vec<String> = human::lines(&found, false).into_iter().map(|(_, l)| l).collect();
    assert_eq!(lines[..2], ["inventory", "  error   PGS043 unknown-path"]);
}

#[test]
fn what_ansible_would_read_otherwise_is_told_without_a_place_too() {
    let found = look(
        "all:\n  children:\n    a: {vars: {pg_cluster: a}, hosts: {a: {pg_seq: 1, pg_role: primary}}}\n",
    )
    .findings;
    let f = found.iter().find(|f| f.code == "PGS002").unwrap();
    assert_eq!((f.object.as_str(), &f.place), ("inventory", &None));
}

#[test]
fn a_path_that_acts_as_another_names_the_one_to_write() {
    for (path, as_what) in [("/my-primary", "/primary"), ("/x-replica", "/replica"), ("/healthz", "/health")]
    {
        let list =
            format!("pg_services:\n  - {{name: x, src_port: 5440, selector: '[]', check_url: {path}}}");
        let found = look(&list).findings;
        assert!(
            found.iter().any(|f| f.what.ends_with(&format!("takes '{path}' for {as_what}"))),
            "{found:?}"
        );
    }
}
