//! The table of inventories that must be refused.
#![allow(clippy::unwrap_used)]

use crate::common::HOSTS;

pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// More arguments; `--host` is added where neither it nor `-v` is here.
    pub more: Vec<&'static str>,
    /// What the error must hold.
    pub says: Vec<&'static str>,
}

fn case(name: &'static str, text: impl Into<Vec<u8>>, says: &[&'static str]) -> Case {
    Case { name, bytes: text.into(), more: Vec::new(), says: says.to_vec() }
}

/// `HOSTS` with a service beside.
fn service(fields: &str) -> String {
    let entry = format!("vars: {{pg_services: [{{{fields}}}], ");
    HOSTS.replace("vars: {", &entry)
}

/// A service that is right but for one field.
fn field(name: &'static str, field: &str, says: &[&'static str]) -> Case {
    case(name, service(&format!("name: x, src_port: 5440, selector: '[]', {field}")), says)
}

fn hosts(from: &str, to: &str) -> String {
    assert!(HOSTS.contains(from), "{from}");
    HOSTS.replace(from, to)
}

fn shared(vars: &str) -> String {
    hosts("vars: {", &format!("vars: {{{vars}, "))
}

fn laughs() -> String {
    let mut text = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for i in 1..12 {
        let all = vec![format!("*a{}", i - 1); 9].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{all}]\n"));
    }
    text
}

pub fn all() -> Vec<Case> {
    let mut all = files();
    all.extend(variables());
    all.extend(definitions());
    all.extend(asked());
    all
}

/// What is no inventory at all.
fn files() -> Vec<Case> {
    let nonsense: String =
        (0..10 << 20).map(|i| char::from(b'!' + u8::try_from(i % 89 * 7 % 90).unwrap())).collect();
    let vault = hosts("pg_seq: 1", "pg_seq: !vault \"$ANSIBLE_VAULT;1.1;AES256\\n6162\"");
    vec![
        case("an empty file", "", &["10.10.10.11", "not in the inventory"]),
        case("broken YAML", "all:\n  hosts: {a: [}\n", &["hosts.yml:2:"]),
        case("a tab as indent", "all:\n\thosts: {}\n", &["hosts.yml:2:"]),
        case("a quote that never ends", "all: {hosts: {a: {x: 'y}}}\n", &["hosts.yml:1:"]),
        case("an unknown anchor", "all: {hosts: *nobody}\n", &["hosts.yml:1:14", "unknown anchor"]),
        case("a list at the top", "- a\n- b\n", &["hosts.yml:1:1"]),
        case("a text at the top", "hello\n", &["hosts.yml:1:1"]),
        case("hosts that are a number", "all: {hosts: 7}\n", &["hosts.yml:1:"]),
        case("ten megabytes of nonsense", nonsense, &["hosts.yml"]),
        case("ten megabytes of zeros", vec![0; 10 << 20], &["hosts.yml"]),
        case("not UTF-8", b"all: {hosts: {\"\xff\xfe\": {}}}\n".to_vec(), &["hosts.yml", "UTF-8"]),
        case("deep nesting", format!("a: {}", "[".repeat(200_000)), &["hosts.yml:1:"]),
        case(
            "deep nesting, closed",
            format!("a: {}{}", "[".repeat(20_000), "]".repeat(20_000)),
            &["hosts.yml:1:"],
        ),
        case("a billion laughs", laughs(), &["hosts.yml:", "alias"]),
        case("a vaulted file", "$ANSIBLE_VAULT;1.1;AES256\n6162\n", &["hosts.yml", "vault"]),
        case("JSON that breaks off", "{\"all\": {\"hosts\": {", &["hosts.yml:2:1"]),
        case(
            "a vaulted pg_seq",
            vault,
            &["'pg_seq'", "10.10.10.11", "ansible-vault", "run pgsvc as Ansible's module"],
        ),
        case("a range without end", "all: {hosts: {'db[1:': {}}}\n", &["hosts.yml:1:", "db[1:"]),
        case(
            "a range with more hosts than there are",
            "all: {hosts: {'db[1:999999999]': {}}}\n",
            &["hosts.yml:1:", "db["],
        ),
    ]
}

/// Members and clusters.
fn variables() -> Vec<Case> {
    vec![
        case("no pg_cluster", hosts("pg_cluster: pg-test, ", ""), &["carries no cluster", "pg_cluster"]),
        case(
            "no pg_seq",
            hosts("{pg_seq: 2, pg_role: replica}", "{pg_role: replica}"),
            &["10.10.10.12", "has no pg_seq"],
        ),
        case(
            "a pg_seq that is a word",
            hosts("pg_seq: 2", "pg_seq: two"),
            &["10.10.10.12", "pg_seq", "'two'"],
        ),
        case("a pg_seq below zero", hosts("pg_seq: 2", "pg_seq: -2"), &["10.10.10.12", "pg_seq", "-2"]),
        case(
            "a pg_seq with a fraction",
            hosts("pg_seq: 2", "pg_seq: 2.5"),
            &["10.10.10.12", "pg_seq", "2.5"],
        ),
        case("a pg_seq that is a list", hosts("pg_seq: 2", "pg_seq: [2]"), &["10.10.10.12", "pg_seq", "[2]"]),
        case(
            "one pg_seq twice",
            hosts("pg_seq: 2", "pg_seq: 1"),
            &["pg-test", "pg_seq 1 is both 10.10.10.11's and 10.10.10.12's"],
        ),
        case(
            "an unknown role",
            hosts("pg_role: replica", "pg_role: replika"),
            &["10.10.10.12", "did you mean 'replica'"],
        ),
        case(
            "a weight too heavy",
            hosts("pg_seq: 2", "pg_seq: 2, pg_weight: 257"),
            &["10.10.10.12", "pg_weight: 257", "256"],
        ),
        case(
            "a weight that is a word",
            hosts("pg_seq: 2", "pg_seq: 2, pg_weight: heavy"),
            &["pg_weight: 'heavy'"],
        ),
        case(
            "a boolean that is none",
            hosts("pg_seq: 2", "pg_seq: 2, pg_offline_query: maybe"),
            &["pg_offline_query: 'maybe'"],
        ),
        case(
            "a port out of range",
            hosts("pg_seq: 2", "pg_seq: 2, pg_port: 70000"),
            &["10.10.10.12", "pg_port: 70000", "65535"],
        ),
        case("port zero", hosts("pg_seq: 2", "pg_seq: 2, patroni_port: 0"), &["patroni_port: 0"]),
        case(
            "a newline in the cluster's name",
            hosts("pg_cluster: pg-test", "pg_cluster: \"pg\\n  bind :1\""),
            &["pg_cluster", "\\n"],
        ),
        case(
            "a # in the cluster's name",
            hosts("pg_cluster: pg-test", "pg_cluster: 'pg#test'"),
            &["pg_cluster", "'#'"],
        ),
        case(
            "a quote in the cluster's name",
            hosts("pg_cluster: pg-test", "pg_cluster: 'pg\"test'"),
            &["pg_cluster", "'\"'"],
        ),
        case(
            "a slash in the cluster's name",
            hosts("pg_cluster: pg-test", "pg_cluster: ../../etc"),
            &["pg_cluster", "'/'"],
        ),
        case(
            "a cluster HAProxy would hide",
            hosts("pg_cluster: pg-test", "pg_cluster: .pg"),
            &["pg_cluster", "'.pg'"],
        ),
        case("a cluster that is a map", hosts("pg_cluster: pg-test", "pg_cluster: {a: 1}"), &["pg_cluster"]),
        case(
            "an address with a keyword",
            hosts("pg_seq: 2", "pg_seq: 2, ansible_host: 'a b'").replace("10.10.10.12", "db2"),
            &["db2", "ansible_host", "' '"],
        ),
        case(
            "a template where a value is needed",
            hosts("pg_seq: 2", "pg_seq: '{{ n }}'"),
            &["'pg_seq'", "10.10.10.12", "Jinja"],
        ),
        case(
            "a template for the node's own password",
            hosts("open sesame", "{{ vault }}"),
            &["variable 'haproxy_admin_password' of host '10.10.10.11': is a Jinja"],
        ),
        case(
            "a template that a selector needs",
            service("name: x, src_port: 5440, selector: '[? tier ]'")
                .replace("pg_seq: 2", "pg_seq: 2, tier: '{{ t }}'"),
            &["'tier'", "10.10.10.12", "Jinja"],
        ),
        case("a VIP that is none", shared("vip_address: 10.10.10"), &["vip_address", "'10.10.10'"]),
        case(
            "an admin password with a newline",
            hosts("open sesame'", "x', haproxy_client_timeout: 1s").replace("'x'", "\"x\\ny\""),
            &["haproxy_admin_password", "control character"],
        ),
        case(
            "an admin user with a space",
            shared("haproxy_admin_username: 'a b'"),
            &["haproxy_admin_username", "' '"],
        ),
        case(
            "an exporter port that is none",
            shared("haproxy_exporter_port: many"),
            &["haproxy_exporter_port: 'many'"],
        ),
        case(
            "a timeout with a fraction",
            shared("haproxy_client_timeout: 0.5s"),
            &["haproxy_client_timeout", "0.5s"],
        ),
        case(
            "a timeout with a keyword",
            shared("haproxy_server_timeout: \"1s\\n bind :1\""),
            &["haproxy_server_timeout", "\\n"],
        ),
        case(
            "a CA path with a space",
            shared("patroni_ca_file: '/etc/my ca.pem'"),
            &["patroni_ca_file", "' '"],
        ),
        case(
            "a CA path that is relative",
            shared("patroni_ca_file: ca.pem"),
            &["patroni_ca_file", "absolute"],
        ),
        case(
            "a client's certificate whose path is relative",
            shared("patroni_cert_file: client.pem"),
            &["patroni_cert_file", "absolute"],
        ),
        case(
            "a default target that is none",
            shared("pg_default_service_dest: pgbounce"),
            &["pg_default_service_dest", "'pgbounce'"],
        ),
        case("services that are a text", shared("pg_services: primary"), &["pg_services: 'primary'", "list"]),
        case(
            "services that differ",
            hosts("pg_seq: 2", "pg_seq: 2, pg_services: []")
                .replace("vars: {", "vars: {pg_services: [{name: x, src_port: 5440, selector: '[]'}], "),
            &["pg_services differs", "10.10.10.12"],
        ),
        case("an option that is none", shared("pgsvc_role_source: etcd"), &["role_source", "'etcd'"]),
        case("verify that is none", shared("pgsvc_verify: sometimes"), &["verify", "'sometimes'"]),
    ]
}

/// Service definitions.
fn definitions() -> Vec<Case> {
    let two = |a: &str, b: &str| hosts("vars: {", &format!("vars: {{pg_services: [{{{a}}}, {{{b}}}], "));
    vec![
        field(
            "an unknown field",
            "selektor: '[]'",
            &["service 'x' of pg-test", "'selektor'", "did you mean 'selector'"],
        ),
        field(
            "an unknown field of haproxy",
            "haproxy: {maxcon: 7}",
            &["haproxy", "'maxcon'", "did you mean 'maxconn'"],
        ),
        field("haproxy that is a list", "haproxy: [maxconn]", &["haproxy", "no map"]),
        case(
            "a service that is a text",
            shared("pg_services: [primary]"),
            &["service 1 of pg-test", "'primary'"],
        ),
        case("no name", service("src_port: 5440, selector: '[]'"), &["service 1 of pg-test", "no name"]),
        case(
            "no port",
            service("name: x, selector: '[]'"),
            &["service 'x' of pg-test", "src_port", "missing"],
        ),
        case("no selector", service("name: x, src_port: 5440"), &["service 'x'", "selector", "missing"]),
        case(
            "an empty selector",
            service("name: x, src_port: 5440, selector: ''"),
            &["selector", "\"[]\" selects every member"],
        ),
        case(
            "a selector that is a list",
            service("name: x, src_port: 5440, selector: []"),
            &["selector", "quote it"],
        ),
        case(
            "[ ]",
            service("name: x, src_port: 5440, selector: '[ ]'"),
            &["'[ ]' at column 1 selects nobody"],
        ),
        case(
            "an unknown function",
            service("name: x, src_port: 5440, selector: '[? lenght(pg_role) ]'"),
            &["'lenght' at column 4", "did you mean 'length'"],
        ),
        case(
            "a selector that breaks off",
            service("name: x, src_port: 5440, selector: '[? pg_role =='"),
            &["service 'x' of pg-test: selector", "column"],
        ),
        case(
            "a selector of numbers",
            service("name: x, src_port: 5440, selector: '[].pg_seq'"),
            &["select whole members"],
        ),
        case(
            "a selector of one member",
            service("name: x, src_port: 5440, selector: '[0]'"),
            &["no list of members"],
        ),
        case(
            "a selector too long",
            service(&format!("name: x, src_port: 5440, selector: '[?{}]'", "a || ".repeat(2000))),
            &["characters long", "4096"],
        ),
        case(
            "a selector too deep",
            service(&format!("name: x, src_port: 5440, selector: '{}'", "[".repeat(3000))),
            &["operators and brackets"],
        ),
        field("a bad backup selector", "selector_backup: '[? ]'", &["selector_backup"]),
        case(
            "a name twice",
            two("name: x, src_port: 5440, selector: '[]'", "name: x, src_port: 5441, selector: '[]'"),
            &["'x'", "defined twice"],
        ),
        case(
            "a port twice",
            two("name: x, src_port: 5440, selector: '[]'", "name: y, src_port: 5440, selector: '[]'"),
            &["'y'", "port 5440", "'x'"],
        ),
        case(
            "the exporter's port",
            service("name: x, src_port: 9101, selector: '[]'"),
            &["'x'", "9101", "stats page"],
        ),
        case(
            "two dialects in an entry",
            service("name: x, src_port: 5440, selector: '[]', dest: postgres"),
            &["mixes two dialects", "'src_port'", "'dest'"],
        ),
        case(
            "two dialects in a list",
            two("name: x, src_port: 5440, selector: '[]'", "name: y, port: 5441, selector: '[]'"),
            &["pg_services mixes two dialects", "'x'", "'y'"],
        ),
        field("a VIP that is missing", "src_ip: vip", &["'x'", "VIP", "vip_address"]),
        field("a source with a port", "src_ip: '*:80'", &["src_ip", "'*:80'"]),
        field("no source at all", "src_ip: []", &["src_ip", "address"]),
        field("a target that is none", "dst_port: pgbounce", &["dst_port", "'pgbounce'"]),
        field("a check port out of range", "check_port: 65536", &["check_port", "65536"]),
        field("a check method that is none", "check_method: tcp", &["check_method", "'tcp'", "http"]),
        field("a check code that is none", "check_code: 99", &["check_code", "99", "599"]),
        field("a check path without slash", "check_url: replica", &["check_url", "did you mean '/replica'"]),
        field("a check path with a newline", "check_url: \"/x\\n bind :1\"", &["check_url", "\\n"]),
        field("a check path with a #", "check_url: '/x#y'", &["check_url", "'#'"]),
        field("a check path with a quote", "check_url: '/x\"y'", &["check_url", "'\"'"]),
        field(
            "a balance that is none",
            "haproxy: {balance: leastcon}",
            &["balance", "did you mean 'leastconn'"],
        ),
        field("maxconn zero", "haproxy: {maxconn: 0}", &["maxconn", "0"]),
        field(
            "options with a line",
            "haproxy: {default_server_options: \"inter 3s\\n server e 6.6.6.6:1\"}",
            &["default_server_options", "\\n"],
        ),
        field(
            "options with our keyword",
            "haproxy: {default_server_options: 'inter 3s disabled'}",
            &["'disabled' is set by pgsvc"],
        ),
        field(
            "options with another keyword",
            "haproxy: {default_server_options: 'intre 3s'}",
            &["did you mean 'inter'"],
        ),
        field(
            "options without a value",
            "haproxy: {default_server_options: 'inter 3s rise'}",
            &["'rise' has no value"],
        ),
        field(
            "options with an interval of nothing",
            "haproxy: {default_server_options: 'inter 0'}",
            &["inter", "'0'"],
        ),
        field(
            "options with odd spaces",
            "haproxy: {default_server_options: \"rise \\u20033\"}",
            &["default_server_options"],
        ),
        case(
            "a name with a newline",
            service("name: \"x\\n\", src_port: 5440, selector: '[]'"),
            &["name", "\\n"],
        ),
        case("a name with a space", service("name: 'x y', src_port: 5440, selector: '[]'"), &["name", "' '"]),
        case(
            "a name too long",
            service(&format!("name: {}, src_port: 5440, selector: '[]'", "x".repeat(64))),
            &["name", "63"],
        ),
        case(
            "two services that make one backend",
            two(
                "name: ro, src_port: 5440, selector: '[]', selector_backup: '[? pg_role == `primary`]'",
                "name: ro-backup, src_port: 5441, selector: '[]'",
            ),
            &["'ro-backup'", "'ro'"],
        ),
        case(
            "a listener that is the node's own",
            hosts(
                "pg_cluster: pg-test",
                "pg_cluster: pgsvc, pg_services: [{name: stats, src_port: 5440, selector: '[]'}]",
            ),
            &["'stats'", "pgsvc-stats"],
        ),
    ]
}

/// What is asked of a good inventory.
fn asked() -> Vec<Case> {
    let ask = |name, more: &[&'static str], says: &[&'static str]| Case {
        name,
        bytes: HOSTS.into(),
        more: more.to_vec(),
        says: says.to_vec(),
    };
    let second = "    pg-test2:\n      vars: {pg_cluster: pg-test2}\n      hosts: {10.10.10.21: {pg_seq: 1, pg_role: primary}}\n";
    let colliding = format!("{HOSTS}{second}");
    let third = "    pg:\n      vars: {pg_cluster: pg, pg_services: [{name: test-primary, src_port: 6000, selector: '[]'}]}\n      hosts: {10.10.10.31: {pg_seq: 1, pg_role: primary}}\n";
    vec![
        ask(
            "a host that is not there",
            &["--host", "10.10.10.14"],
            &["host '10.10.10.14'", "did you mean '10.10.10.1"],
        ),
        ask("a host that this machine is not", &["-v"], &["--host NAME", "-c CLUSTER"]),
        ask(
            "a cluster that is not there",
            &["-c", "pg-tset"],
            &["cluster 'pg-tset'", "did you mean 'pg-test'"],
        ),
        ask(
            "templates that are not there",
            &["--host", "10.10.10.11", "--templates", "/nowhere"],
            &["/nowhere", "no directory"],
        ),
        Case {
            more: vec!["-c", "pg-test", "-c", "pg-test2"],
            ..case("clusters on one port", colliding, &["pg-test2", "5433", "'primary' of pg-test"])
        },
        Case {
            more: vec!["-c", "pg", "-c", "pg-test"],
            ..case(
                "clusters with one listener",
                format!("{HOSTS}{third}"),
                &["listener 'pg-test-primary'", "rename"],
            )
        },
    ]
}
