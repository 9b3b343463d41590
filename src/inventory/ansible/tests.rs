//! The reader over a table of files. What Ansible itself says of the same is compared in `tests/inventory_oracle.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::inventory::Host;

/// Files by path; directories are what lies above them.
struct Table(BTreeMap<PathBuf, String>);

impl Source for Table {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        if self.0.contains_key(path) {
            return Ok(None);
        }
        let below = self.0.keys().filter_map(|file| file.strip_prefix(path).ok()?.iter().next());
        let mut names: Vec<String> = below.map(|name| name.to_string_lossy().into_owned()).collect();
        names.dedup();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(Some(names)) }
    }
}

fn table(files: &[(&str, &str)]) -> Table {
    Table(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect())
}

fn read(files: &[(&str, &str)], path: &str) -> Inventory {
    load(&table(files), Path::new(path)).unwrap()
}

fn fails(files: &[(&str, &str)], path: &str) -> String {
    load(&table(files), Path::new(path)).unwrap_err().to_string()
}

fn host<'a>(inventory: &'a Inventory, name: &str) -> &'a Host {
    inventory.hosts.iter().find(|host| host.name == name).unwrap()
}

fn names(inventory: &Inventory) -> Vec<&str> {
    inventory.hosts.iter().map(|host| host.name.as_str()).collect()
}

const LAYERS: [(&str, &str); 5] = [
    (
        "/i/hosts.yml",
        "all:\n  vars: {a: all, b: all, c: all, d: all, e: all}\n  children:\n    p:\n      vars: {b: p, c: p, d: p, e: p}\n      children:\n        q:\n          vars: {c: q, d: q, e: q}\n          hosts:\n            h: {e: host}\n",
    ),
    ("/i/group_vars/all.yml", "d: file-all\n"),
    ("/i/group_vars/q.yml", "e: file-q\nf: file-q\n"),
    ("/i/group_vars/q.yaml", "f: never\n"),
    ("/i/host_vars/h/b", "f: file-host\n"),
];

#[test]
fn the_layers_win_over_each_other_in_ansibles_order() {
    let inventory = read(&LAYERS, "/i/hosts.yml");
    let vars = serde_json::to_value(&host(&inventory, "h").vars).unwrap();
    assert_eq!(vars, json!({"a": "all", "b": "p", "c": "q", "d": "file-all", "e": "host", "f": "file-host"}));
    assert_eq!(host(&inventory, "h").groups, ["p", "q"]);
}

#[test]
fn every_variable_that_won_says_where_it_was_written() {
    let inventory = read(&LAYERS, "/i/hosts.yml");
    let place = |name: &str| host(&inventory, "h").place(name).unwrap().to_string();
    assert_eq!(place("e"), "/i/hosts.yml:10:17");
    assert_eq!(place("f"), "/i/host_vars/h/b:1:1");
    assert_eq!(place("d"), "/i/group_vars/all.yml:1:1");
}

#[test]
fn what_is_inside_a_list_of_services_says_where_it_was_written() {
    let files = [
        (
            "/i/hosts.yml",
            "all:\n  children:\n    p:\n      hosts: {h: , i: }\n      vars:\n        pg_services:\n        - name: a\n          haproxy:\n            maxconn: 1\n        - {name: b, selector: x}\n",
        ),
        ("/i/group_vars/p.yml", "pg_services_extra:\n  - name: c\n"),
    ];
    let inventory = read(&files, "/i/hosts.yml");
    let at = |path: &str| host(&inventory, "i").place(path).map(ToString::to_string).unwrap_or_default();
    assert_eq!(at("pg_services[0]"), "/i/hosts.yml:7:11");
    assert_eq!(at("pg_services[0].haproxy.maxconn"), "/i/hosts.yml:9:13");
    assert_eq!(at("pg_services[1].selector"), "/i/hosts.yml:10:21");
    assert_eq!(at("pg_services_extra[0].name"), "/i/group_vars/p.yml:2:5");
    assert_eq!(at("pg_services[1].port"), "/i/hosts.yml:10:11", "what is not there is its entry");
    assert_eq!(at("pg_services[7].port"), "/i/hosts.yml:6:9", "and what has no entry is the variable");
    assert_eq!(at("pg_port"), "");
}

#[test]
fn a_directory_is_read_in_the_order_of_names_without_what_ansible_skips() {
    let files = [
        ("/i/10-b.yml", "all: {hosts: {b: {x: 1}}}"),
        ("/i/05-a.yml", "all: {hosts: {a: , b: {x: 0}}}"),
        ("/i/20-c/one.yml", "all: {hosts: {c: }}"),
        ("/i/20-c/group_vars/all.yml", "never: 1"),
        ("/i/old.yml~", "]"),
        ("/i/README.md", "]"),
        ("/i/ansible.cfg", "]"),
        ("/i/.git/config", "]"),
        ("/i/group_vars/all/z.yml", "y: z"),
        ("/i/group_vars/all/a/deep.json", "{\"y\": \"deep\", \"w\": 1}"),
    ];
    let inventory = read(&files, "/i");
    assert_eq!(names(&inventory), ["a", "b", "c"]);
    assert_eq!(json!(host(&inventory, "b").vars), json!({"x": 1, "y": "z", "w": 1}));
    assert_eq!(json!(host(&inventory, "c").vars), json!({"y": "z", "w": 1}));
}

#[test]
fn the_output_of_ansible_inventory_is_read_in_its_order_and_is_complete() {
    let list = r#"{"_meta": {"hostvars": {"z": {"p": "{{ t }}", "s": {"__ansible_unsafe": "{{"}}}},
        "all": {"children": ["ungrouped", "pg"]}, "pg": {"children": ["pg-test"]}, "pg-test": {"hosts": ["z", "a"]}}"#;
    let inventory = from_bytes("-", list.as_bytes()).unwrap();
    assert_eq!(names(&inventory), ["z", "a"]);
    assert_eq!(host(&inventory, "a").groups, ["pg", "pg-test"]);
    assert_eq!(json!(host(&inventory, "z").vars), json!({"p": "{{ t }}", "s": {"__ansible_unsafe": "{{"}}));
    let files = [("/i/list.json", list), ("/i/group_vars/all.yml", "new: 1")];
    assert_eq!(read(&files, "/i/list.json").hosts, inventory.hosts);
}

#[test]
fn stdin_may_be_a_yaml_inventory() {
    let inventory = from_bytes("-", b"pg-test:\n  hosts:\n    10.0.0.[1:2]: {pg_seq: 1}\n").unwrap();
    assert_eq!(names(&inventory), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(host(&inventory, "10.0.0.1").place("pg_seq").unwrap().to_string(), "-:3:20");
}

#[test]
fn hosts_as_a_list_is_the_error_that_ansible_users_know() {
    let text = fails(&[("/i/h.yml", "all:\n  hosts:\n    - a\n")], "/i/h.yml");
    assert_eq!(
        text,
        "/i/h.yml:2:3: Invalid \"hosts\" entry for \"all\" group, requires a dictionary, found a list instead; write `name:` and not `- name`, each with a colon behind it"
    );
}

#[test]
fn all_errors_are_told_at_once_and_unknown_keys_warn() {
    let files = [(
        "/i/h.yml",
        "a:\n  host: {x: }\n  hosts:\n    1: \n    n[3:1]: \n  children:\n    b: 5\n    a: \n",
    )];
    let errors = load(&table(&files), Path::new("/i/h.yml")).unwrap_err();
    assert_eq!(errors.0.len(), 4, "{errors}");
    let warned = read(&[("/i/h.yml", "a:\n  host: {x: }\n  pg_x: {y: 1}\nb: 5\n")], "/i/h.yml").warnings;
    assert_eq!(warned.len(), 3, "{warned:?}");
    assert!(warned[0].contains("/i/h.yml:2:3") && warned[0].contains("did you mean 'hosts'?"), "{warned:?}");
}

#[test]
fn what_only_ansible_can_read_says_how_to_let_it() {
    for (path, text) in [
        ("/i/plugin.yml", "plugin: amazon.aws.aws_ec2\n"),
        ("/i/script", "#!/bin/sh\necho {}\n"),
        ("/i/script.py", "#!/usr/bin/env python3\n"),
        ("/i/hosts.toml", "[all]\n"),
        ("/i/vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n3132\n"),
    ] {
        let error = fails(&[(path, text)], path);
        assert!(error.contains("ansible-inventory -i") && error.contains("pgsvc … -i -"), "{error}");
    }
    let missing = fails(&[], "/i/none.yml");
    assert!(missing.starts_with("/i/none.yml: cannot be read"), "{missing}");
    let encrypted =
        [("/i/h.yml", "a: {hosts: {h: }}"), ("/i/group_vars/a.yml", "$ANSIBLE_VAULT;1.1;AES256\n")];
    assert!(fails(&encrypted, "/i/h.yml").starts_with("/i/group_vars/a.yml: encrypted"));
}

#[test]
fn a_group_below_itself_is_an_error_with_its_place() {
    let text = fails(&[("/i/h.yml", "a:\n  children:\n    b:\n      children:\n        a:\n")], "/i/h.yml");
    assert!(text.starts_with("/i/h.yml:3:5: the group 'b' below 'a' is a loop"), "{text}");
}

#[test]
fn an_ini_inventory_knows_its_places_and_tells_all_that_is_wrong() {
    let good = [("/i/hosts", "[db]\nh1 a=1  b='x y'\n[db:vars]\n  c = no\n")];
    let inventory = read(&good, "/i/hosts");
    let h1 = host(&inventory, "h1");
    assert_eq!(json!(h1.vars), json!({"a": 1, "b": "x y", "c": "no"}));
    assert_eq!(h1.place("b").unwrap().to_string(), "/i/hosts:2:9");
    assert_eq!(h1.place("c").unwrap().to_string(), "/i/hosts:4:3");
    let bad =
        "[a b]\n[c:what]\n[d:vars]\nno assignment\n[e:children]\nnowhere\n[f]\nh x\nh y='\nn[3:1]\nall:\n";
    let errors = load(&table(&[("/i/x.ini", bad)]), Path::new("/i/x.ini")).unwrap_err();
    let mut lines: Vec<&str> = errors.0.iter().map(|error| error.place.as_str()).collect();
    lines.sort_unstable();
    let want =
        ["10:1", "11:1", "1:1", "2:1", "3:1", "4:1", "6:1", "8:1", "9:1"].map(|at| format!("/i/x.ini:{at}"));
    assert_eq!(lines, want, "{errors}");
}

#[test]
fn a_file_without_an_extension_is_what_it_looks_like() {
    for (text, hosts) in [
        ("h1\nh2 a=1\n", vec!["h1", "h2"]),
        ("[web]\nh1:22\n", vec!["h1"]),
        ("web: {hosts: {h1: }}", vec!["h1"]),
        ("# nothing\n", vec![]),
    ] {
        assert_eq!(names(&read(&[("/i/hosts", text)], "/i/hosts")), hosts, "{text}");
    }
    assert!(fails(&[("/i/hosts", "web:\n  hosts: [\n")], "/i/hosts").contains("broken YAML"));
}

#[test]
fn stdin_that_is_no_inventory_is_an_error() {
    for text in [
        "[1, 2]",
        "\"text\"",
        "{\"_meta\": {\"hostvars\": []}}",
        "{\"g\": {\"hosts\": [1]}}",
        "\u{0}",
        "[db]\nh1",
        "h1 a=1",
        " \n",
        "[db]\nh1",
        " \n",
    ] {
        assert!(from_bytes("-", text.as_bytes()).is_err(), "{text}");
    }
}
