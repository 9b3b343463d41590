//! Module arguments → request.

use serde_json::Value;

use super::{Request, State, merged_options};
use crate::error::{Error, Errors, nearest};
use crate::inventory::cluster::{self, Overrides};
use crate::inventory::{Args, Vars};
use crate::settings::OPTIONS;
use crate::value;
use crate::vip::duty::Groups;

const ARGUMENTS: [&str; 10] = [
    "state",
    "members",
    "groups",
    "services",
    "services_extra",
    "default_services",
    "clusters",
    "node",
    "collected",
    "report_needs",
];

/// Reads module arguments: strict but for Ansible's own `_ansible_*` keys.
///
/// # Errors
/// Unknown and wrong arguments, all at once.
pub fn from_arguments(args: &Args) -> Result<Request, Errors> {
    let mut errors = Errors::default();
    let (ansible, own): (Args, Args) =
        args.clone().into_iter().partition(|(k, _)| k.starts_with("_ansible_"));
    unknown(&mut errors, &own);
    let state = state(&mut errors, own.get("state"));
    let node_vars = node_vars(&mut errors, own.get("node"));
    let hosts = hosts(&mut errors, "members", own.get("members"));
    let groups = groups(&mut errors, own.get("groups"));
    let clusters = match value::given(own.get("clusters")) {
        Some(v) => names(&mut errors, v),
        // All of the carried ones is not what somebody means by it, and they cannot be asked for again.
        None if state == State::Absent => {
            errors.push(
                Error::new("arguments", "state is absent, and no cluster is named")
                    .hint("name the clusters that go: clusters: [pg-test]"),
            );
            Vec::new()
        }
        None => cluster::names(hosts.iter().map(|(_, v)| v)),
    };
    let list = |name: &str| value::given(own.get(name)).cloned();
    let flag = |args: &Args, name: &str, errors: &mut Errors| {
        let read = value::given(args.get(name)).map(|v| value::boolean(name, v));
        read.and_then(|r| errors.take(r)).unwrap_or(false)
    };
    let overrides = Overrides {
        services: list("services"),
        services_extra: list("services_extra"),
        default_services: list("default_services"),
        collected: flag(&own, "collected", &mut errors),
    };
    // Of the answer, not of the request: only its form is looked at here.
    flag(&own, "report_needs", &mut errors);
    let node =
        value::given(node_vars.get("inventory_hostname")).and_then(|v| v.as_str()).unwrap_or("localhost");
    let options = merged_options(node, &node_vars, &own, &mut errors);
    let request = Request {
        node: node.to_owned(),
        brief: false,
        check: flag(&ansible, "_ansible_check_mode", &mut errors),
        hosts,
        node_vars,
        clusters,
        state,
        overrides,
        groups,
        options,
        warnings: Vec::new(),
    };
    errors.finish(request)
}

fn unknown(errors: &mut Errors, own: &Args) {
    let known = || ARGUMENTS.into_iter().chain(OPTIONS);
    for key in own.keys().filter(|k| !known().any(|n| n == k.as_str())) {
        let error = Error::new("arguments", format!("unknown argument '{}'", key.escape_debug()));
        errors.push(match nearest(key, known()) {
            Some(near) => error.hint(format!("did you mean '{near}'?")),
            None => error.hint("see ansible-doc pgsvc"),
        });
    }
}

fn state(errors: &mut Errors, v: Option<&Value>) -> State {
    match value::given(v).map(|v| value::text("state", v)) {
        None => State::Present,
        Some(Ok(s)) if s == "present" => State::Present,
        Some(Ok(s)) if s == "absent" => State::Absent,
        Some(_) => {
            errors.push(Error::new("arguments", "state is neither present nor absent"));
            State::Present
        }
    }
}

fn node_vars(errors: &mut Errors, v: Option<&Value>) -> Vars {
    match value::given(v) {
        None => Vars::new(),
        Some(Value::Object(map)) => map.into(),
        Some(other) => {
            errors.push(Error::new(
                "arguments",
                format!("node: {} is no map of variables", value::show(other)),
            ));
            Vars::new()
        }
    }
}

/// Groups by name, each a list of hosts: the load balancers and directors that clusters name.
fn groups(errors: &mut Errors, v: Option<&Value>) -> Groups {
    match value::given(v) {
        None => Groups::new(),
        Some(Value::Object(map)) => {
            let mut group = |(name, list): (&String, &Value)| {
                (name.clone(), hosts(errors, &format!("groups.{}", name.escape_debug()), Some(list)))
            };
            map.iter().map(&mut group).collect()
        }
        Some(other) => {
            let what = format!("groups: {} is no map", value::show(other));
            errors.push(Error::new("arguments", what).hint("group name: a list of maps, each of one host"));
            Groups::new()
        }
    }
}

fn hosts(errors: &mut Errors, what: &str, v: Option<&Value>) -> Vec<(String, Vars)> {
    let list = match value::given(v) {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(other) => {
            errors.push(
                Error::new("arguments", format!("{what}: {} is no list", value::show(other)))
                    .hint("a list of maps, each the variables of one host"),
            );
            return Vec::new();
        }
    };
    let mut hosts = Vec::new();
    for (i, member) in list.iter().enumerate() {
        let place = format!("{what}[{i}]");
        let Some(map) = member.as_object() else {
            errors.push(Error::new(place, format!("{} is no map of variables", value::show(member))));
            continue;
        };
        let name =
            value::given(map.get("inventory_hostname")).or_else(|| value::given(map.get("ansible_host")));
        match name.and_then(Value::as_str) {
            Some(name) => hosts.push((name.to_owned(), map.into())),
            None => errors.push(
                Error::new(place, "has neither inventory_hostname nor ansible_host")
                    .hint("say where the host is: inventory_hostname: 10.10.10.11"),
            ),
        }
    }
    hosts
}

fn names(errors: &mut Errors, v: &Value) -> Vec<String> {
    let list = match v {
        Value::Array(list) => list.clone(),
        Value::String(s) => s.split(',').map(|n| Value::from(n.trim())).collect(),
        other => vec![other.clone()],
    };
    let read = |v: &Value| value::word("clusters", v, "-_.", 63);
    let mut names: Vec<String> = list.iter().filter_map(|v| errors.take(read(v))).collect();
    names.sort();
    names.dedup();
    names
}
