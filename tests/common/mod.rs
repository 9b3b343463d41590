//! What the tests of the binary share: running it, an inventory, a temporary root, and the look of a tree.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use pgsvc::daemon::Paths;
use pgsvc::daemon::haproxy::Haproxy;
use pgsvc::host::System;
use pgsvc::plan::{Installed, InstalledFile, Running};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Three members of one cluster, the services left to the defaults.
pub const HOSTS: &str = "\
all:
  children:
    pg-test:
      vars: {pg_cluster: pg-test, haproxy_admin_password: 'open sesame'}
      hosts:
        10.10.10.11: {pg_seq: 1, pg_role: primary}
        10.10.10.12: {pg_seq: 2, pg_role: replica}
        10.10.10.13: {pg_seq: 3, pg_role: offline}
";

/// A node whose every path lies below a directory.
pub fn paths(dir: &Path) -> Paths {
    let at = |name: &str| dir.join(name);
    Paths {
        config: at("haproxy.cfg"),
        conf_d: at("conf.d"),
        dropin: at("dropin/pgsvc.conf"),
        stats_socket: at("admin.sock"),
        master_socket: at("master.sock"),
        pidfile: at("pid"),
        state_dir: at("state"),
        server_state: at("servers"),
    }
}

/// What a node that a planner looks at has, and what its HAProxy says of itself.
pub fn installed(haproxy: &Haproxy<'_>, sys: &dyn System, paths: &Paths) -> Installed {
    let names = sys.list(&paths.conf_d).unwrap();
    let mut all: Vec<PathBuf> = names.iter().map(|n| paths.conf_d.join(n)).collect();
    all.push(paths.config.clone());
    let file = |path: PathBuf| {
        let stat = sys.stat(&path).unwrap()?;
        let content = sys.read(&path).unwrap().into();
        Some((path, InstalledFile { content, mode: stat.mode, uid: stat.uid, gid: stat.gid }))
    };
    let found = haproxy.running().unwrap();
    let running = found.master.map(|_| Running {
        version: Haproxy::running_version(&found),
        description: found.hash,
        takes_reload: true,
        live: found.live,
        interrupted: false,
    });
    Installed { files: all.into_iter().filter_map(file).collect(), running, ..Installed::default() }
}

/// The host of `HOSTS` that tests run as.
pub const NODE: &str = "10.10.10.11";

/// The binary, undisturbed by the environment of whoever tests.
pub fn pgsvc() -> Command {
    let mut command = Command::cargo_bin("pgsvc").unwrap();
    for name in ["PGSVC_PASSWORD", "PGPASSWORD", "PGSVC_USER", "PGSVC_DATABASE", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.timeout(std::time::Duration::from_secs(60));
    command
}

/// Runs the binary, which never panics and is never killed.
pub fn run(args: &[&str]) -> Output {
    run_with(args, Vec::new())
}

/// The same with something on stdin.
pub fn run_with(args: &[&str], stdin: impl Into<Vec<u8>>) -> Output {
    sane(pgsvc().args(args).write_stdin(stdin).output().unwrap())
}

/// A panic, an abort or a signal is never an answer.
pub fn sane(output: Output) -> Output {
    let code = output.status.code().unwrap_or(-1);
    assert!([0, 1, 2, 3, 64].contains(&code), "exit {code}: {}", err(&output));
    assert!(!err(&output).contains("panicked"), "{}", err(&output));
    output
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Runs the binary and wants exit 0.
pub fn good(args: &[&str]) -> Output {
    let output = run(args);
    assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
    output
}

/// A directory with an inventory in it.
pub struct Inventory(pub TempDir);

impl Inventory {
    pub fn new(text: &str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("hosts.yml"), text).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> String {
        self.0.path().join("hosts.yml").display().to_string()
    }
}

/// A temporary root.
pub struct Root(pub TempDir);

impl Root {
    pub fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// With the services of an inventory installed.
    pub fn with(inventory: &str) -> Self {
        let root = Self::empty();
        let output = root.apply(inventory, &[]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        root
    }

    pub fn path(&self) -> String {
        self.0.path().display().to_string()
    }

    pub fn verb(&self, verb: &str, inventory: &str, more: &[&str]) -> Output {
        let file = Inventory::new(inventory);
        let (path, root) = (file.path(), self.path());
        let mut args = vec![verb, "-i", &path, "--host", NODE, "--root", &root];
        args.extend(more);
        run(&args)
    }

    pub fn apply(&self, inventory: &str, more: &[&str]) -> Output {
        self.verb("apply", inventory, more)
    }

    pub fn plan(&self, inventory: &str, more: &[&str]) -> Output {
        self.verb("plan", inventory, more)
    }

    /// Puts a file.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.0.path().join(path.trim_start_matches('/'))).ok()
    }

    /// A file of `conf.d`.
    pub fn conf(&self, name: &str) -> String {
        self.read(&format!("/etc/haproxy/conf.d/{name}.cfg")).unwrap_or_else(|| panic!("no {name}.cfg"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.read(&format!("/etc/haproxy/conf.d/{name}.cfg")).is_some()
    }

    pub fn tree(&self) -> Tree {
        tree(self.0.path())
    }
}

/// Everything below a directory: mode, owner and content; a directory has the content "/".
pub type Tree = BTreeMap<PathBuf, (u32, u32, u32, Vec<u8>)>;

pub fn tree(top: &Path) -> Tree {
    let mut found = Tree::new();
    let mut todo = vec![top.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_dir() {
                todo.push(path.clone());
                b"/".to_vec()
            } else if meta.is_symlink() {
                std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                std::fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(top).unwrap().to_owned();
            // The lock says who had it last.
            let content = if name.ends_with("var/lib/pgsvc/lock") { Vec::new() } else { content };
            found.insert(name, (meta.permissions().mode() & 0o7777, meta.uid(), meta.gid(), content));
        }
    }
    found
}

/// What differs between two trees, by name.
pub fn difference(a: &Tree, b: &Tree) -> Vec<PathBuf> {
    let all: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    all.into_iter().filter(|p| a.get(*p) != b.get(*p)).cloned().collect()
}

/// Runs the binary as Ansible's module, both ways, and wants one answer: exactly one JSON object, nothing on stderr.
pub fn module(args: &[u8]) -> Value {
    let by_stdin = run_with(&["module"], args);
    let answer = answer(&by_stdin);
    assert_eq!(code(&by_stdin), 0);
    answer
}

/// The module called with an arguments file.
pub fn module_file(args: &[u8]) -> (Value, i32) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("args");
    std::fs::write(&path, args).unwrap();
    let output = run(&[path.to_str().unwrap()]);
    (answer(&output), code(&output))
}

fn answer(output: &Output) -> Value {
    assert_eq!(err(output), "", "the module says nothing on stderr");
    let text = out(output);
    assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "one line: {text:?}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert!(
        answer.is_object() && answer["changed"].is_boolean() && answer["failed"].is_boolean(),
        "{answer}"
    );
    assert!(answer["warnings"].is_array(), "{answer}");
    answer
}

/// Module arguments for the members of `HOSTS`, changed by `change`.
pub fn arguments(root: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut args = json!({
        "members": [member(1, "primary"), member(2, "replica"), member(3, "offline")],
        "node": {"inventory_hostname": NODE, "haproxy_admin_password": "open sesame"},
        "root": root,
    });
    change(&mut args);
    serde_json::to_vec(&args).unwrap()
}

pub fn member(seq: u64, role: &str) -> Value {
    let host = format!("10.10.10.{}", seq + 10);
    json!({"inventory_hostname": host, "pg_cluster": "pg-test", "pg_seq": seq, "pg_role": role})
}
