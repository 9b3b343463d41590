//! `verify`: prove every port.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::args::{self, Flags, Format, VerifyArgs};
use super::{FAILED, GOOD, PORT_WRONG, node, out};
use crate::error::{Error, Errors};
use crate::host::System;
use crate::host::real::RealSystem;
use crate::inventory::{Args, Vars};
use crate::metrics;
use crate::report::Report;
use crate::request::{self, Request};
use crate::run;

pub fn run(a: &VerifyArgs) -> Result<u8, Errors> {
    if a.watch {
        return super::watch::run(a);
    }
    let sys = RealSystem::new(None);
    let node = node(&sys, false);
    // Asked at any time, a port is right or wrong now; patience is for after a change.
    let patience = Duration::from_secs(a.login.timeout.unwrap_or(1));
    let began = sys.now();
    let (request, remote, _) = request(&sys, a)?;
    if a.fix && remote.is_some() {
        let error = Error::new("--fix", "cuts this node's sessions, not another one's");
        return Err(error.hint("run it on that node").into());
    }
    let model = request::model(request)?;
    let report = match a.vip {
        true => run::ports::through_vips(&node, &model, patience),
        false => run::ports::report(&node, &model, remote, patience, a.fix),
    };
    match (&a.metrics, a.source.format) {
        (Some(file), _) => {
            let took = sys.now().saturating_sub(began);
            let is_here = remote.is_none() && !a.vip;
            let drift = if is_here { run::metrics::drift(&node, &model).ok() } else { None };
            metrics(&node, file, &report, drift, took)?;
        }
        (None, Format::Json) => out::json(&report),
        (None, Format::Table) => out::report(&report, a.source.verbose),
    }
    Ok(match (report.errors.is_empty(), report.wrong().next()) {
        (false, _) => FAILED,
        (true, Some(_)) => PORT_WRONG,
        (true, None) => GOOD,
    })
}

/// The request, the address of another machine's ports, and the flags that went into it.
pub(super) fn request(sys: &RealSystem, a: &VerifyArgs) -> Result<(Request, Option<IpAddr>, Args), Errors> {
    let mut flags = Flags::default();
    flags.source(&a.source);
    flags.login(&a.login, sys)?;
    let request = args::request(&node(sys, false), sys, &a.source, &flags)?;
    let remote = remote(sys, a.source.host.as_deref(), &request.node_vars)?;
    Ok((request, remote, flags.0))
}

/// `--metrics`: the file alone, and on stderr what a run could not do.
fn metrics(
    node: &run::Node<'_>,
    file: &Path,
    report: &Report,
    drift: Option<bool>,
    took: Duration,
) -> Result<(), Error> {
    let ended = node.sys.wall().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let text = metrics::text(&metrics::Run { report, drift, ended, took: took.as_secs_f64() });
    report.errors.iter().for_each(|e| out::talk(&format!("error: {e}")));
    if file.as_os_str() == "-" {
        out::text(&text);
        return Ok(());
    }
    run::metrics::write(node, file, &text)
}

/// The address of another machine's ports; `None` when the named host is this one.
pub(super) fn remote(sys: &dyn System, host: Option<&str>, vars: &Vars) -> Result<Option<IpAddr>, Errors> {
    let Some(host) = host else { return Ok(None) };
    let name = vars.get("ansible_host").and_then(|v| v.as_str()).unwrap_or(host);
    let ip = match name.parse() {
        Ok(ip) => ip,
        Err(_) => {
            let found = sys.resolve(name, Duration::from_secs(5)).unwrap_or_default();
            *found.first().ok_or_else(|| {
                Error::new(format!("host '{host}'"), format!("{name} does not resolve"))
                    .hint("give it ansible_host")
            })?
        }
    };
    let own = sys.addresses().unwrap_or_default();
    Ok((!own.contains(&ip)).then_some(ip))
}
