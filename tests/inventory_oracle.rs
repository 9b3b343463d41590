//! What Ansible itself says of an inventory, compared with what we say of it.
//!
//! Needs `ansible-inventory`: in the directory `$PGSVC_ANSIBLE_BIN`, in `target/venv/bin`, or in PATH. Without it the
//! tests fail: a promise nobody checked is none.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgsvc::inventory::{Host, Inventory, Source, from_bytes, load};
use serde_json::{Map, Value};

struct Files;

impl Source for Files {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        if !std::fs::metadata(path)?.is_dir() {
            return Ok(None);
        }
        let names =
            std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<Vec<_>>>().map(Some)
    }
}

fn tool(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dirs = [std::env::var_os("PGSVC_ANSIBLE_BIN").map(PathBuf::from), Some(root.join("target/venv/bin"))];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = dirs.into_iter().flatten().chain(std::env::split_paths(&path)).map(|dir| dir.join(name));
    found.into_iter().find(|path| path.exists()).unwrap_or_else(|| {
        panic!("{name} is missing: python3 -m venv target/venv && target/venv/bin/pip install 'ansible-core>=2.19,<2.20'")
    })
}

/// Runs one of Ansible's programs away from any configuration and any neighbours.
fn ansible(name: &str, args: &[&str], inventory: &Path) -> String {
    let away = tempfile::tempdir().unwrap();
    std::fs::write(away.path().join("ansible.cfg"), "[defaults]\n").unwrap();
    let output = Command::new(tool(name))
        .arg("-i")
        .arg(inventory)
        .args(args)
        .current_dir(away.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", away.path())
        .env("ANSIBLE_CONFIG", away.path().join("ansible.cfg"))
        .env("ANSIBLE_DEPRECATION_WARNINGS", "0")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {}: {stderr}", inventory.display());
    assert!(!stderr.contains("Unable to parse"), "{name} {}: {stderr}", inventory.display());
    String::from_utf8(output.stdout).unwrap()
}

/// Every host's groups, those above included, from the lists of a `--list`.
fn groups(list: &Map<String, Value>) -> BTreeMap<String, BTreeSet<String>> {
    fn walk(
        list: &Map<String, Value>,
        name: &str,
        above: &[String],
        found: &mut BTreeMap<String, BTreeSet<String>>,
    ) {
        let mut here = above.to_vec();
        here.push(name.to_owned());
        let Some(group) = list.get(name) else { return };
        for host in group["hosts"].as_array().into_iter().flatten() {
            found.entry(host.as_str().unwrap().to_owned()).or_default().extend(here.iter().cloned());
        }
        for child in group["children"].as_array().into_iter().flatten() {
            walk(list, child.as_str().unwrap(), &here, found);
        }
    }
    let mut found = BTreeMap::new();
    walk(list, "all", &[], &mut found);
    for groups in found.values_mut() {
        groups.retain(|group| group != "all" && group != "ungrouped");
    }
    found
}

fn host<'a>(inventory: &'a Inventory, name: &str) -> &'a Host {
    inventory.hosts.iter().find(|host| host.name == name).unwrap_or_else(|| panic!("no host {name}"))
}

/// Compares variables, groups and order; and reads Ansible's own output back to the same.
fn compare(fixture: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inventory").join(fixture);
    let json = ansible("ansible-inventory", &["--list"], &path);
    let list: Map<String, Value> = serde_json::from_str(&json).unwrap();
    let ours = load(&Files, &path).unwrap_or_else(|errors| panic!("{fixture}: {errors}"));
    let piped = from_bytes("-", json.as_bytes()).unwrap_or_else(|errors| panic!("{fixture}: {errors}"));
    let theirs = groups(&list);
    assert!(!theirs.is_empty(), "{fixture}: Ansible read nothing");
    for (name, groups) in &theirs {
        let vars = list["_meta"]["hostvars"].get(name).cloned().unwrap_or_else(|| Value::Object(Map::new()));
        for inventory in [&ours, &piped] {
            let host = host(inventory, name);
            for key in
                host.vars.keys().chain(vars.as_object().into_iter().flat_map(Map::keys).map(String::as_str))
            {
                assert_eq!(host.vars.get(key), vars.get(key), "{fixture}: {key} of {name}");
            }
            assert_eq!(
                host.groups,
                groups.iter().cloned().collect::<Vec<_>>(),
                "{fixture}: groups of {name}"
            );
        }
    }
    let listed = ansible("ansible", &["all", "--list-hosts"], &path);
    let order: Vec<&str> = listed.lines().skip(1).map(str::trim).collect();
    let names: Vec<&str> = ours.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, order, "{fixture}: order");
    assert_eq!(names.len(), theirs.len(), "{fixture}: number of hosts");
    assert_eq!(names.len(), piped.hosts.len(), "{fixture}: number of hosts from the pipe");
}

macro_rules! fixtures {
    ($($name:ident: $path:literal,)*) => {
        $(#[test] fn $name() { compare($path); })*
    };
}

fixtures! {
    an_inventory_in_pigstys_shape: "pigsty/pigsty.yml",
    every_spelling_of_a_scalar: "scalars/hosts.yaml",
    anchors_and_merges: "anchors/hosts.yml",
    host_ranges_and_ports: "ranges/hosts.yml",
    groups_with_several_parents: "diamond/hosts.yml",
    group_priorities: "priority/hosts.yml",
    all_layers_of_precedence: "precedence/hosts.yml",
    a_directory_of_inventories: "directory",
    unsafe_and_vaulted_values: "unsafe/hosts.yml",
    an_inventory_in_json: "json/hosts.json",
    a_host_with_a_groups_name: "same/hosts.yml",
    a_file_without_an_extension: "bare/inventory",
    an_ini_inventory: "ini/hosts",
    a_directory_of_both_kinds: "mixed",
}
