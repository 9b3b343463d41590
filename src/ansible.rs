//! Edge: Ansible's arguments → a run → exactly one JSON object on stdout. No policy may live here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli;
use crate::daemon::Paths;
use crate::error::{Error, Errors};
use crate::host::System;
use crate::host::real::RealSystem;
use crate::inventory::Args;
use crate::report::Report;
use crate::request;
use crate::run::{self, Node};
use crate::value;

/// More than this is no task's arguments.
const MOST: usize = 64 << 20;
/// How long a verification by itself waits for a wrong port.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// The arguments file, where the binary was called as Ansible calls a binary module: one argument, no verb, a file.
pub fn arguments_file(args: &[OsString]) -> Option<PathBuf> {
    let [_, one] = args else { return None };
    if one.to_str().is_some_and(|a| a.starts_with('-') || cli::is_verb(a)) {
        return None;
    }
    let path = PathBuf::from(one);
    let sys = RealSystem::new(None);
    let is_file = sys.stat(&path).ok().flatten().is_some_and(|s| s.kind == crate::host::Kind::File);
    is_file.then_some(path)
}

/// Runs the arguments file's task. The exit code says nothing to Ansible, and no more than the result here.
pub fn main(path: &Path) -> u8 {
    let sys = RealSystem::new(None);
    let result = match sys.read(path) {
        Ok(bytes) => run(&bytes),
        Err(e) => failure(&Error::new(path.display().to_string(), format!("cannot be read: {e}")).into()),
    };
    cli::out::line(&result.to_string());
    u8::from(result.get("failed") == Some(&Value::Bool(true)))
}

/// A task's result from its arguments.
pub fn run(bytes: &[u8]) -> Value {
    let args = match parse(bytes) {
        Ok(args) => args,
        Err(errors) => return failure(&errors),
    };
    let result = execute(&args).unwrap_or_else(|errors| failure(&errors));
    let node = args.get("node").and_then(|n| n.get("pgsvc_verify_password"));
    let secrets = [args.get("verify_password"), node].into_iter().flatten().filter_map(Value::as_str);
    secrets.fold(result, scrub)
}

fn parse(bytes: &[u8]) -> Result<Args, Errors> {
    if bytes.len() > MOST {
        return Err(Error::new("arguments", format!("are {} bytes long", bytes.len()))
            .hint(format!("at most {MOST}"))
            .into());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::new("arguments", "are no JSON object").into()),
        Err(e) => Err(Error::new("arguments", format!("are no JSON: {e}"))
            .hint("the module takes Ansible's arguments file; people use 'pgsvc apply -i INVENTORY'")
            .into()),
    }
}

fn execute(args: &Args) -> Result<Value, Errors> {
    let request = request::from_arguments(args)?;
    let flag = |name: &str| args.get(name).and_then(|v| value::boolean(name, v).ok()).unwrap_or(false);
    let (diff, absent) = (flag("_ansible_diff"), request.state == request::State::Absent);
    let sys = RealSystem::new(request.options.root.clone());
    let node = Node { sys: &sys, paths: Paths::default(), rooted: request.options.root.is_some() };
    let verify_only = request.options.verify_only && !absent;
    // Asked at any time, a port is right or wrong now; the node's own timeout is for after a change.
    let said = value::given(args.get("verify_timeout")).is_some();
    let patience = if said { request.options.timeout } else { PATIENCE };
    let model = request::model(request)?;
    let report = if verify_only {
        run::ports::report(&node, &model, None, patience, false)
    } else {
        run::apply::apply(&node, &model)
    };
    let mut report = finished(report);
    if flag("report_needs") && !report.needs.is_empty() {
        report.changed = true;
        report.failed &= !report.needs.iter().any(|n| n == "haproxy");
    }
    Ok(report.ansible(diff))
}

/// A failure always says so in its message.
fn finished(mut report: Report) -> Report {
    if report.failed && report.msg.is_empty() && report.errors.is_empty() {
        report.msg = "failed".into();
    }
    report
}

/// A password must not leave, whatever text it got into: Ansible 2.19 prints `msg` under `no_log` too. Facts of clusters
/// are made of names and addresses only, and stay usable where the password is a common word.
fn scrub(value: Value, secret: &str) -> Value {
    if secret.len() < 4 {
        return value;
    }
    match value {
        Value::String(s) if s.contains(secret) => Value::String(s.replace(secret, "********")),
        Value::Array(list) => Value::Array(list.into_iter().map(|v| scrub(v, secret)).collect()),
        Value::Object(map) => {
            let one = |(k, v): (String, Value)| if k == "clusters" { (k, v) } else { (k, scrub(v, secret)) };
            Value::Object(map.into_iter().map(one).collect())
        }
        other => other,
    }
}

fn failure(errors: &Errors) -> Value {
    json!({"changed": false, "failed": true, "msg": errors.to_string(), "warnings": [], "errors": errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_fails_in_words() {
        for bad in [&b"["[..], b"", b"[]", b"{\"members\": NaN}", b"\xff\xfe"] {
            let v = run(bad);
            assert_eq!(v["failed"], true);
            assert!(v["msg"].as_str().unwrap().starts_with("arguments: are no JSON"), "{v}");
        }
    }

    #[test]
    fn a_secret_is_scrubbed_wherever_it_got_to() {
        let v = scrub(json!({"msg": "x hunter2 y", "l": [{"a": "hunter2"}]}), "hunter2");
        assert!(!v.to_string().contains("hunter2"));
        let v = scrub(json!({"clusters": {"url": "postgres://a"}}), "postgres");
        assert_eq!(v["clusters"]["url"], "postgres://a");
    }

    #[test]
    fn a_verb_is_no_arguments_file() {
        let args = |a: &str| vec![OsString::from("pgsvc"), OsString::from(a)];
        assert_eq!(arguments_file(&args("verify")), None);
        assert_eq!(arguments_file(&args("--help")), None);
        assert_eq!(arguments_file(&args("/nowhere/args")), None);
        assert!(arguments_file(&args("/proc/self/cmdline")).is_some());
    }
}
