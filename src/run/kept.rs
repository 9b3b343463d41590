//! What a node keeps of a run: the request (so that nobody needs an inventory there at three in the morning), the
//! binary itself at a stable path, a line in the journal. No decision is made from any of it here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::Node;
use crate::daemon::systemd::STABLE_BINARY;
use crate::error::{Error, Errors};
use crate::host::Command;
use crate::inventory::Vars;
use crate::inventory::cluster;
use crate::inventory::member;
use crate::plan::{FileChange, Plan};
use crate::request::{self, Model, Request, State};
use crate::transaction::Recovered;
use crate::{selector, value};

fn dir(node: &Node<'_>) -> PathBuf {
    node.paths.state_dir.join("clusters")
}

/// The requests of the set that a rollback goes back to.
fn previous(node: &Node<'_>) -> PathBuf {
    node.paths.state_dir.join("clusters.previous")
}

/// The requests of a set that is being installed: a run that is killed after the set is proven is completed with them.
fn next(node: &Node<'_>) -> PathBuf {
    node.paths.state_dir.join("clusters.next")
}

/// Writes down what is to be kept once the model's set is.
///
/// # Errors
/// When it cannot be written.
pub fn prepare(node: &Node<'_>, model: &Model) -> Result<(), Error> {
    let requests = read_all(node, &dir(node))?;
    write_all(node, &next(node), &requests)?;
    request_in(node, model, &next(node))
}

/// What was prepared, if anything was, is the node's from now on, and what it had is what a rollback goes back to.
///
/// # Errors
/// When it cannot be written.
pub fn promote(node: &Node<'_>) -> Result<(), Error> {
    if node.sys.stat(&next(node)).ok().flatten().is_none() {
        return Ok(());
    }
    let (now, then) = (read_all(node, &next(node))?, read_all(node, &dir(node))?);
    write_all(node, &previous(node), &then)?;
    write_all(node, &dir(node), &now)?;
    discard(node)
}

/// Forgets what was prepared.
///
/// # Errors
/// When it cannot be removed.
pub fn discard(node: &Node<'_>) -> Result<(), Error> {
    let next = next(node);
    node.sys.remove_dir_all(&next).map_err(|e| failed("remove", &next, &e))
}

/// After an earlier run was found unfinished, its requests go where its files went. Needs the lock.
///
/// # Errors
/// When they cannot be written.
pub fn settle(node: &Node<'_>, found: &Recovered) -> Result<(), Error> {
    match found {
        Recovered::Busy => Ok(()),
        Recovered::Completed => promote(node),
        Recovered::Nothing | Recovered::RolledBack(_) => discard(node),
    }
}

/// After a rollback the earlier requests are the node's, and the others those to go back to.
///
/// # Errors
/// When they cannot be written.
pub fn swap(node: &Node<'_>) -> Result<(), Error> {
    let (now, before) = (read_all(node, &dir(node))?, read_all(node, &previous(node))?);
    write_all(node, &dir(node), &before)?;
    write_all(node, &previous(node), &now)
}

fn read_all(node: &Node<'_>, dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let names = node.sys.list(dir).unwrap_or_default().into_iter().filter(|n| n.ends_with(".json"));
    let read = |name: String| {
        let path = dir.join(&name);
        Ok((name, node.sys.read(&path).map_err(|e| failed("read", &path, &e))?))
    };
    names.map(read).collect()
}

fn write_all(node: &Node<'_>, dir: &Path, requests: &[(String, Vec<u8>)]) -> Result<(), Error> {
    make_dir(node, dir)?;
    for (name, text) in requests {
        put(node, &dir.join(name), text, 0o600)?;
    }
    for (name, _) in read_all(node, dir)?.iter().filter(|(n, _)| requests.iter().all(|(r, _)| r != n)) {
        let path = dir.join(name);
        node.sys.remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
    }
    Ok(())
}

/// Keeps each cluster's request as module arguments, 0600: it may hold the password that verification logs in with.
/// A cluster that was refused keeps the request of what is still installed.
///
/// # Errors
/// When it cannot be written.
pub fn request(node: &Node<'_>, model: &Model) -> Result<(), Error> {
    request_in(node, model, &dir(node))
}

fn request_in(node: &Node<'_>, model: &Model, dir: &Path) -> Result<(), Error> {
    make_dir(node, dir)?;
    for (name, args) in model.kept.iter().filter(|(n, _)| model.clusters.contains_key(n)) {
        let path = dir.join(format!("{name}.json"));
        if model.state == State::Absent {
            if node.sys.stat(&path).ok().flatten().is_some() {
                node.sys.remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
            }
            continue;
        }
        let mut text = serde_json::to_vec_pretty(args).map_err(|e| Error::new("request", e.to_string()))?;
        text.push(b'\n');
        put(node, &path, &text, 0o600)?;
    }
    Ok(())
}

/// The binary at its stable path, where units and people find it.
///
/// # Errors
/// When it cannot be written.
pub fn binary(node: &Node<'_>) -> Result<(), Error> {
    if node.rooted {
        return Ok(());
    }
    let own = node
        .sys
        .read(Path::new("/proc/self/exe"))
        .map_err(|e| failed("read", Path::new("/proc/self/exe"), &e))?;
    let path = PathBuf::from(STABLE_BINARY);
    if let Some(parent) = path.parent() {
        node.sys.create_dir(parent, 0o755).map_err(|e| failed("make", parent, &e))?;
    }
    put(node, &path, &own, 0o755)
}

fn make_dir(node: &Node<'_>, dir: &Path) -> Result<(), Error> {
    node.sys.create_dir(dir, 0o700).map_err(|e| failed("make", dir, &e))
}

/// Writes a file that is pgsvc's own by a rename, when it differs.
fn put(node: &Node<'_>, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let stat = node.sys.stat(path).map_err(|e| failed("look at", path, &e))?;
    let same_size =
        stat.as_ref().is_some_and(|s| s.mode == mode && s.size == u64::try_from(bytes.len()).unwrap_or(0));
    if same_size && node.sys.read(path).is_ok_and(|now| now == bytes) {
        return Ok(());
    }
    let new = path.with_extension("new");
    if node.sys.stat(&new).ok().flatten().is_some() {
        node.sys.remove_file(&new).map_err(|e| failed("remove", &new, &e))?;
    }
    node.sys.create(&new, bytes, mode, (0, 0)).map_err(|e| failed("write", &new, &e))?;
    node.sys.rename(&new, path).map_err(|e| failed("replace", path, &e))
}

fn failed(verb: &str, path: &Path, e: &std::io::Error) -> Error {
    Error::new(path.display().to_string(), format!("cannot {verb} it: {e}"))
}

/// The requests kept on this node, as one.
///
/// # Errors
/// When there is none, or one is broken.
pub fn load(node: &Node<'_>, only: &[String], flags: &Vars) -> Result<Request, Errors> {
    load_from(node, &dir(node), only, flags)
}

/// The requests of the set that a rollback goes back to, as one.
///
/// # Errors
/// When there is none, or one is broken.
pub fn load_previous(node: &Node<'_>, only: &[String], flags: &Vars) -> Result<Request, Errors> {
    load_from(node, &previous(node), only, flags)
}

fn load_from(node: &Node<'_>, dir: &Path, only: &[String], flags: &Vars) -> Result<Request, Errors> {
    let names = node.sys.list(dir).unwrap_or_default();
    let mut merged: Option<Vars> = None;
    for name in names
        .iter()
        .filter_map(|n| n.strip_suffix(".json"))
        .filter(|n| only.is_empty() || only.iter().any(|o| o == n))
    {
        let path = dir.join(format!("{name}.json"));
        let bytes = node.sys.read(&path).map_err(|e| failed("read", &path, &e))?;
        let args: Vars = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(path.display().to_string(), format!("is broken: {e}"))
                .hint("run 'pgsvc apply' with the inventory again")
        })?;
        match &mut merged {
            None => merged = Some(args),
            Some(all) => {
                let more = args.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
                if let Some(Value::Array(list)) = all.get_mut("members") {
                    list.extend(more);
                }
                all.remove("clusters");
            }
        }
    }
    let Some(mut args) = merged else {
        return Err(Error::new(dir.display().to_string(), "holds no request of an earlier apply")
            .hint("name the inventory: -i INVENTORY")
            .into());
    };
    for (k, v) in flags {
        args.insert(k.clone(), v.clone());
    }
    request::from_arguments(&args)
}

/// A line in the system's journal: who, what, outcome. Its absence fails nothing.
pub fn journal(node: &Node<'_>, model: &Model, outcome: &str) {
    if node.rooted {
        return;
    }
    let clusters: Vec<&str> = model.clusters.keys().map(String::as_str).collect();
    let who = std::env::var("SUDO_USER").unwrap_or_else(|_| "root".into());
    let who: String = who.chars().filter(char::is_ascii_graphic).take(32).collect();
    let text = format!("apply by {who}: {}: {outcome}", clusters.join(", "));
    let argv = ["logger", "-t", "pgsvc", "--", &text].map(str::to_owned).to_vec();
    // Without a journal the report is what there is.
    drop(node.sys.run(&Command { argv, timeout: Duration::from_secs(5), ..Command::default() }));
}

/// Files that were not pgsvc's before it replaced them, as they were: `<state>/original/etc/haproxy/haproxy.cfg`.
///
/// # Errors
/// When a copy cannot be made: then nothing may be replaced.
pub fn originals(node: &Node<'_>, plan: &Plan) -> Result<(), Error> {
    let foreign = |c: &&FileChange| {
        let before = c.before.as_ref().is_some_and(|b| crate::render::haproxy::owner(&b.content).is_none());
        before && c.path != node.paths.dropin
    };
    for change in plan.changes.iter().filter(foreign) {
        let to =
            node.paths.state_dir.join("original").join(change.path.strip_prefix("/").unwrap_or(&change.path));
        if node.sys.stat(&to).map_err(|e| failed("look at", &to, &e))?.is_some() {
            continue;
        }
        if let Some(parent) = to.parent() {
            make_dir(node, parent)?;
        }
        node.sys.copy(&change.path, &to).map_err(|e| failed("write", &to, &e))?;
    }
    Ok(())
}

/// What is kept of each cluster: arguments that make the same model again, and nothing beside. An inventory holds
/// passwords of other things (`ansible_become_password`), which have no business on a load balancer.
pub fn arguments(request: &Request) -> Vec<(String, Value)> {
    request.clusters.iter().map(|name| (name.clone(), cluster_arguments(request, name))).collect()
}

fn cluster_arguments(request: &Request, name: &str) -> Value {
    let o = &request.overrides;
    let is_own =
        |vars: &Vars| vars.get("pg_cluster").is_some_and(|v| value::text("", v).is_ok_and(|t| t == name));
    let own: Vec<&(String, Vars)> = request.hosts.iter().filter(|(_, vars)| is_own(vars)).collect();
    let lists = own.iter().flat_map(|(_, vars)| cluster::SHARED.iter().filter_map(|n| vars.get(*n)));
    let said = [&o.services, &o.services_extra, &o.default_services].into_iter().flatten();
    let named: std::collections::BTreeSet<String> = lists.chain(said).flat_map(selector_names).collect();
    let needed =
        |key: &str| member::KNOWN.contains(&key) || cluster::SHARED.contains(&key) || named.contains(key);
    let one = |(host, vars): &&(String, Vars)| {
        let mut kept: Vars =
            vars.iter().filter(|(k, _)| needed(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
        kept.insert("inventory_hostname".into(), host.clone().into());
        // As the cluster's own variables: what a run said of one cluster must not be said of another when the requests
        // of a node are read as one.
        let lists = [
            ("pg_services", &o.services),
            ("pg_services_extra", &o.services_extra),
            ("pg_default_services", &o.default_services),
        ];
        kept.extend(lists.into_iter().filter_map(|(name, list)| Some((name.to_owned(), list.clone()?))));
        Value::Object(kept)
    };
    let members: Vec<Value> = own.iter().map(one).collect();
    let settings = |k: &str| k.starts_with("haproxy_") || k.starts_with("pgsvc_");
    let mut node: Vars =
        request.node_vars.iter().filter(|(k, _)| settings(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    node.insert("inventory_hostname".into(), request.node.clone().into());
    let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.display().to_string().into());
    let mut args = json!({"members": members, "node": node, "clusters": [name]});
    let options = [
        ("verify_user", request.options.user.clone().map(Value::from)),
        ("verify_password", Some(request.options.password.0.clone().into())),
        ("verify_database", request.options.database.clone().map(Value::from)),
        ("verify_sslmode", serde_json::to_value(request.options.sslmode).ok()),
        ("verify_sslrootcert", path(&request.options.ssl_root_cert)),
        ("role_source", serde_json::to_value(request.options.roles).ok()),
        ("templates", path(&request.options.templates)),
        ("nonlocal_bind", Some(request.options.nonlocal_bind.into())),
    ];
    if let Some(map) = args.as_object_mut() {
        map.extend(options.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))));
    }
    args
}

/// The variables that the selectors of a list of services may mean.
fn selector_names(services: &Value) -> Vec<String> {
    let fields = ["selector", "selector_backup", "backup"];
    let texts = services
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|s| fields.iter().filter_map(|f| s.get(*f)?.as_str()));
    texts.flat_map(selector::identifiers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Paths;
    use crate::host::fake::FakeSystem;
    use crate::request::from_arguments;

    #[test]
    fn what_is_kept_makes_the_same_model_and_holds_no_other_secret() {
        let args = json!({
            "members": [{"inventory_hostname": "10.0.0.1", "pg_cluster": "a", "pg_seq": 1, "zone": "x", "pg_weight": "7",
                "ansible_become_password": "s3cret", "pg_admin_password": "s3cret",
                "pg_services": [{"name": "x", "src_port": 5440, "selector": "[?zone == 'x']"}]}],
            "node": {"inventory_hostname": "10.0.0.1", "haproxy_exporter_port": 9999, "ansible_become_password": "s3cret"},
            "verify_user": "u", "verify_password": "p4ss",
        });
        let request = from_arguments(args.as_object().unwrap()).unwrap();
        let (name, kept) = arguments(&request).remove(0);
        assert_eq!(name, "a");
        assert!(!kept.to_string().contains("s3cret"), "{kept}");
        let again = from_arguments(kept.as_object().unwrap()).unwrap();
        assert_eq!(
            (again.options.user.clone(), again.options.password.clone()),
            (Some("u".into()), request.options.password.clone())
        );
        let (one, two) = (request::model(request).unwrap(), request::model(again).unwrap());
        assert_eq!(one.clusters["a"].services, two.clusters["a"].services);
        assert_eq!(one.clusters["a"].services[0].servers[0].weight, 7);
        assert_eq!(one.node, two.node);
    }

    #[test]
    fn what_one_run_said_of_its_cluster_is_not_said_of_another() {
        let sys = crate::host::fake::FakeSystem::default();
        let node = Node { sys: &sys, paths: crate::daemon::Paths::default(), rooted: false };
        for (cluster, port) in [("a", 6001), ("b", 6002)] {
            let args = json!({"members": [{"inventory_hostname": "10.0.0.1", "pg_cluster": cluster, "pg_seq": 1}],
                "services": [{"name": "x", "src_port": port, "selector": "[]"}]});
            super::request(
                &node,
                &request::model(from_arguments(args.as_object().unwrap()).unwrap()).unwrap(),
            )
            .unwrap();
        }
        let model = request::model(load(&node, &[], &Vars::new()).unwrap()).unwrap();
        let ports: Vec<u16> = model.clusters.values().flat_map(|c| &c.services).map(|s| s.port()).collect();
        assert_eq!((ports, model.failed.len()), (vec![6001, 6002], 0));
    }

    #[test]
    fn what_a_task_or_a_flag_said_is_kept_as_what_a_variable_said() {
        let args = json!({
            "members": [{"inventory_hostname": "10.0.0.1", "pg_cluster": 12, "pg_seq": 1}], "role_source": "inventory",
            "templates": "/etc/pgsvc", "nonlocal_bind": true, "verify_sslmode": "verify-full", "verify_sslrootcert": "/ca.pem",
        });
        let request = from_arguments(args.as_object().unwrap()).unwrap();
        let (_, kept) = arguments(&request).remove(0);
        let again = from_arguments(kept.as_object().unwrap()).unwrap();
        assert_eq!((&again.options, again.hosts.len()), (&request.options, 1));
    }

    #[test]
    fn they_go_where_the_files_went() {
        let sys = FakeSystem::default();
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let is = |dir: PathBuf| {
            read_all(&node, &dir).unwrap().into_iter().map(|(_, text)| text).collect::<Vec<_>>().concat()
        };
        let set = |dir: PathBuf, text: &str| {
            write_all(&node, &dir, &[("pg-test.json".into(), text.into())]).unwrap()
        };
        set(dir(&node), "old");
        set(next(&node), "new");
        settle(&node, &Recovered::RolledBack(Vec::new())).unwrap();
        assert_eq!((is(dir(&node)), is(next(&node))), ("old".into(), Vec::new()), "undone");
        set(next(&node), "new");
        settle(&node, &Recovered::Completed).unwrap();
        assert_eq!((is(dir(&node)), is(previous(&node))), ("new".into(), "old".into()), "completed");
        settle(&node, &Recovered::Completed).unwrap();
        assert_eq!(is(dir(&node)), b"new", "nothing was prepared");
        swap(&node).unwrap();
        assert_eq!((is(dir(&node)), is(previous(&node))), ("old".into(), "new".into()), "rolled back");
    }
}
