//! `verify`: prove every port.

use super::args::{self, Flags, Format, VerifyArgs};
use super::{FAILED, GOOD, PORT_WRONG, node, out};
use crate::error::{Error, Errors};
use crate::host::System;
use crate::host::real::RealSystem;
use crate::inventory::Vars;
use crate::request;
use crate::run;

pub fn run(a: &VerifyArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let node = node(&sys, false);
    if a.watch {
        return watch(&node, a);
    }
    let mut flags = Flags::default();
    flags.source(&a.source);
    flags.login(&a.login, &sys)?;
    // Asked at any time, a port is right or wrong now; patience is for after a change.
    let patience = std::time::Duration::from_secs(a.login.timeout.unwrap_or(1));
    let request = args::request(&node, &sys, &a.source, &flags)?;
    let remote = remote(&sys, a.source.host.as_deref(), &request.node_vars)?;
    if a.fix && remote.is_some() {
        let error = Error::new("--fix", "cuts this node's sessions, not another one's");
        return Err(error.hint("run it on that node").into());
    }
    let model = request::model(request)?;
    let report = match a.vip {
        true => run::ports::through_vips(&node, &model, patience),
        false => run::ports::report(&node, &model, remote, patience, a.fix),
    };
    match a.source.format {
        Format::Json => out::json(&report),
        Format::Table => out::report(&report, a.source.verbose),
    }
    Ok(match (report.errors.is_empty(), report.wrong().next()) {
        (false, _) => FAILED,
        (true, Some(_)) => PORT_WRONG,
        (true, None) => GOOD,
    })
}

/// `--watch`: until a signal ends it, or a new binary is to take over.
fn watch(node: &run::Node<'_>, a: &VerifyArgs) -> Result<u8, Errors> {
    let wanted = run::watch::Wanted {
        clusters: a.source.clusters.clone(),
        fix: a.fix,
        interval: std::time::Duration::from_secs(a.interval),
    };
    run::watch::watch(node, wanted, &mut |event| match a.source.format {
        Format::Json => out::line(&serde_json::to_string(event).unwrap_or_default()),
        Format::Table => out::line(&event.text()),
    })?;
    Ok(GOOD)
}

/// The address of another machine's ports; `None` when the named host is this one.
pub(super) fn remote(
    sys: &dyn System,
    host: Option<&str>,
    vars: &Vars,
) -> Result<Option<std::net::IpAddr>, Errors> {
    let Some(host) = host else { return Ok(None) };
    let name = vars.get("ansible_host").and_then(|v| v.as_str()).unwrap_or(host);
    let ip = match name.parse() {
        Ok(ip) => ip,
        Err(_) => {
            let found = sys.resolve(name, std::time::Duration::from_secs(5)).unwrap_or_default();
            *found.first().ok_or_else(|| {
                Error::new(format!("host '{host}'"), format!("{name} does not resolve"))
                    .hint("give it ansible_host")
            })?
        }
    };
    let own = sys.addresses().unwrap_or_default();
    Ok((!own.contains(&ip)).then_some(ip))
}
