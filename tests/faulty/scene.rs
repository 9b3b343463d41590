//! What can be done to a node, and how the node looks before and after: every kind of plan there is, with all that a run
//! must bring over or bring back. No fault is made here.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use pgsvc::daemon::Paths;
use pgsvc::host::System;
use pgsvc::host::real::RealSystem;
use pgsvc::report::Report;
use pgsvc::run::{self, Node};
use pgsvc::{request, transaction};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const STATE: &str = "/var/lib/pgsvc";
const HOST: &str = "10.10.10.11";

/// What a run is asked for.
#[derive(Debug, Clone)]
pub enum Act {
    Apply(Value),
    Rollback,
}

/// A kind of plan.
pub struct Scene {
    pub name: &'static str,
    /// Files only, below another root: then keepalived takes part without being there.
    pub rooted: bool,
    /// What made the node as it is found.
    before: Vec<Act>,
    act: Act,
    /// HAProxy does not come up with the new set: the way back is part of the run.
    pub refused: bool,
}

/// The arguments of a run: services by name, port and the second member's weight.
fn args(cluster: &str, services: &[(&str, u16)], weight: u32, more: Value) -> Value {
    let member = |seq: u32, weight: u32| {
        let services: Vec<Value> = services
            .iter()
            .map(|(name, port)| json!({"name": name, "src_port": port, "selector": "[]", "check_url": "/replica"}))
            .collect();
        json!({"inventory_hostname": format!("10.10.10.1{seq}"), "pg_cluster": cluster, "pg_seq": seq, "pg_weight": weight,
            "pg_role": if seq == 1 { "primary" } else { "replica" }, "pg_services": services})
    };
    let mut args = json!({"members": [member(1, 100), member(2, weight)], "verify": false,
        "node": {"inventory_hostname": HOST, "haproxy_admin_password": "open sesame"}});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    args
}

fn with_vip(mut args: Value, address: &str) -> Value {
    let vip =
        json!({"vip_mode": "l2", "vip_address": address, "vip_cidrmask": 24, "vip_auth_pass": "opensesa"});
    for member in args["members"].as_array_mut().unwrap() {
        member.as_object_mut().unwrap().extend(vip.as_object().unwrap().clone());
    }
    args
}

impl Scene {
    /// Every kind of plan that exists.
    pub fn all() -> Vec<Self> {
        let none = || json!({});
        let old = args("pg-test", &[("primary", 16001), ("gone", 16002)], 100, none());
        let new = args("pg-test", &[("primary", 16001), ("more", 16003)], 100, json!({"verify_user": "u"}));
        let other = args("pg-other", &[("x", 16009)], 100, none());
        let light = args("pg-test", &[("primary", 16001), ("gone", 16002)], 40, none());
        let absent = args("pg-test", &[], 100, json!({"state": "absent", "clusters": ["pg-test"]}));
        let apply = |args: &Value| Act::Apply(args.clone());
        let scene =
            |name, before: Vec<Act>, act: Act| Self { name, rooted: false, before, act, refused: false };
        let both = vec![apply(&other), apply(&old)];
        let back = [both.clone(), vec![apply(&new)]].concat();
        let (vip, moved) = (with_vip(old.clone(), "10.10.10.3"), with_vip(new.clone(), "10.10.10.4"));
        vec![
            scene("first install", vec![], apply(&old)),
            scene("change", both.clone(), apply(&new)),
            Self { refused: true, ..scene("refused change", both.clone(), apply(&new)) },
            scene("change while it runs", both.clone(), apply(&light)),
            scene("one cluster absent", both.clone(), apply(&absent)),
            scene("last cluster absent", vec![apply(&old)], apply(&absent)),
            scene("rollback", back.clone(), Act::Rollback),
            Self { refused: true, ..scene("refused rollback", back, Act::Rollback) },
            Self { rooted: true, ..scene("files with keepalived's", vec![apply(&old)], apply(&vip)) },
            Self { rooted: true, ..scene("a VIP moves", vec![apply(&vip)], apply(&moved)) },
            Self { rooted: true, ..scene("absent with its VIP", vec![apply(&vip)], apply(&absent)) },
        ]
    }

    /// The run on a node; `again`: a later one, for which nothing is refused.
    pub fn run(&self, sys: &dyn System) -> Report {
        perform(&self.act, sys, self.rooted)
    }

    /// The node before the run.
    pub fn prepare(&self, root: &Path, sys: &dyn System) {
        debian(root);
        for act in &self.before {
            let report = perform(act, sys, self.rooted);
            assert!(!report.failed, "{}: {report:#?}", self.name);
        }
        mark(root);
    }
}

fn perform(act: &Act, sys: &dyn System, rooted: bool) -> Report {
    let node = Node { sys, paths: Paths::default(), rooted };
    match act {
        Act::Apply(args) => {
            let request = request::from_arguments(args.as_object().unwrap()).unwrap();
            run::apply::apply(&node, &request::model(request).unwrap())
        }
        Act::Rollback => run::rollback::rollback(&node, None),
    }
}

/// The directories of the distribution, and what stands for the binary that a run keeps.
fn debian(root: &Path) {
    for dir in ["etc/haproxy/conf.d", "etc/systemd/system", "etc/keepalived", "run", "var/lib", "proc/self"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::write(root.join("proc/self/exe"), "the binary\n").unwrap();
    let foreign = root.join("etc/haproxy/conf.d/foreign.cfg");
    std::fs::write(&foreign, "listen foreign\n    bind 127.0.0.1:16020\n").unwrap();
    std::fs::set_permissions(&foreign, std::fs::Permissions::from_mode(0o604)).unwrap();
}

/// Attributes on every file, for they are a part of the set.
fn mark(root: &Path) {
    for path in walk(&root.join("etc")).into_iter().filter(|p| p.is_file()) {
        xattr::set(&path, "user.label", path.strip_prefix(root).unwrap().as_os_str().as_encoded_bytes())
            .unwrap();
    }
}

/// All paths below a directory, itself included, sorted.
pub fn walk(top: &Path) -> Vec<PathBuf> {
    let (mut all, mut open) = (Vec::new(), vec![top.to_owned()]);
    while let Some(path) = open.pop() {
        if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            open.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        all.push(path);
    }
    all.sort();
    all
}

/// Everything below a directory: kind, bytes, mode, owner, attributes.
pub fn tree(top: &Path) -> BTreeMap<PathBuf, String> {
    let line = |path: &Path| {
        let meta = path.symlink_metadata().unwrap();
        let mut text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if meta.is_file() {
            text += &format!(" {:?}", String::from_utf8_lossy(&std::fs::read(path).unwrap()));
        }
        if meta.is_symlink() {
            return text + &format!(" -> {}", std::fs::read_link(path).unwrap().display());
        }
        for name in xattr::list(path).unwrap() {
            text += &format!(" {name:?}={:?}", xattr::get(path, &name).unwrap());
        }
        text
    };
    walk(top).into_iter().map(|p| (p.strip_prefix(top).unwrap().to_owned(), line(&p))).collect()
}

/// All of a node that a run is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// What daemons and systemd read.
    pub etc: BTreeMap<PathBuf, String>,
    /// The requests that belong to it.
    pub requests: BTreeMap<String, String>,
    /// Where a rollback leads, files and requests.
    pub back: Back,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    files: Option<Vec<(PathBuf, Option<String>)>>,
    requests: BTreeMap<String, String>,
}

fn requests(dir: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    let names = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    let kept = names.filter(|n| n.ends_with(".json"));
    kept.map(|n| (n.clone(), std::fs::read_to_string(dir.join(n)).unwrap())).collect()
}

/// The node as it is.
pub fn look(root: &Path) -> Look {
    let sys = RealSystem::new(Some(root.to_owned()));
    let state = sys.place(Path::new(STATE));
    let files = transaction::previous(&sys, Path::new(STATE)).unwrap();
    let change = |c: pgsvc::plan::FileChange| (c.path, c.after.map(|a| a.content.to_string()));
    Look {
        etc: tree(&root.join("etc")),
        requests: requests(&state.join("clusters")),
        back: Back {
            files: files.map(|all| all.into_iter().map(change).collect()),
            requests: requests(&state.join("clusters.previous")),
        },
    }
}

impl Look {
    /// The files that a daemon or systemd would read.
    pub fn visible(&self) -> BTreeMap<&Path, &str> {
        let hidden = |p: &Path| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".pgsvc-"));
        let is_dir = |text: &str| text.starts_with("4");
        let files = self.etc.iter().filter(|(p, text)| !hidden(p) && !is_dir(text));
        files.map(|(p, text)| (p.as_path(), text.as_str())).collect()
    }

    /// What tells it from another, for a message.
    pub fn against(&self, other: &Self) -> String {
        let mut text = String::new();
        let names = self.etc.keys().chain(other.etc.keys()).collect::<std::collections::BTreeSet<_>>();
        for name in names.into_iter().filter(|n| self.etc.get(*n) != other.etc.get(*n)) {
            text += &format!(
                "\n  {}: {:?} against {:?}",
                name.display(),
                self.etc.get(name),
                other.etc.get(name)
            );
        }
        if self.requests != other.requests {
            let keys = |l: &Self| l.requests.keys().cloned().collect::<Vec<_>>();
            text += &format!("\n  requests: {:?} against {:?}", keys(self), keys(other));
        }
        if self.back != other.back {
            text += &format!("\n  the way back: {:?} against {:?}", self.back, other.back);
        }
        text
    }
}

/// Where many small trees are made: in memory where that keeps extended attributes, for every file is synced.
pub fn room() -> TempDir {
    let memory = tempfile::Builder::new().prefix("pgsvc-faults").tempdir_in("/dev/shm").ok();
    let keeps = |dir: &TempDir| xattr::set(dir.path(), "user.label", b"x").is_ok();
    memory.filter(keeps).unwrap_or_else(|| tempfile::tempdir().unwrap())
}

/// A copy with modes, owners and attributes.
pub fn copy(from: &Path, to: &Path) {
    for path in walk(from) {
        let (meta, below) = (path.symlink_metadata().unwrap(), path.strip_prefix(from).unwrap());
        // Joining nothing would make a directory's name of a file's.
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        if meta.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
        } else {
            std::fs::copy(&path, &target).unwrap();
            for name in xattr::list(&path).unwrap() {
                xattr::set(&target, &name, &xattr::get(&path, &name).unwrap().unwrap()).unwrap();
            }
        }
        std::os::unix::fs::chown(&target, Some(meta.uid()), Some(meta.gid())).unwrap();
        std::fs::set_permissions(&target, std::fs::Permissions::from_mode(meta.mode() & 0o7777)).unwrap();
    }
}
