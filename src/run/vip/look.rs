//! What the kernel and keepalived say of the node's VIPs, against the plan. Changes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::duties;
use crate::daemon::keepalived::{Keepalived, Paths, Running};
use crate::error::Error;
use crate::render::keepalived::instance_name;
use crate::report::Report;
use crate::request::Model;
use crate::run::Node;
use crate::verify::deadline::Deadline;
use crate::verify::vip::{self as kernel, Planned, Real};
use crate::vip::{Duty, Kind, Mode};

const POLL: Duration = Duration::from_millis(50);

/// What the kernel and keepalived say of each VIP: into the report, and as errors where it contradicts the plan. `said`:
/// what is known of keepalived already; without it, its processes are asked.
pub fn look(
    node: &Node<'_>,
    model: &Model,
    said: Option<Option<&Running>>,
    report: &mut Report,
    patience: Duration,
) {
    let holders: Vec<&Duty> = duties(model).filter(|d| d.holder.is_some()).collect();
    if holders.is_empty() || node.rooted {
        return;
    }
    let running = said.map_or_else(|| asked(node, patience), |r| r.cloned());
    let states: BTreeMap<String, String> =
        running.iter().flat_map(|r| r.instances.iter()).map(|i| (i.name.clone(), i.state.clone())).collect();
    for duty in holders {
        let mut wrong = Vec::new();
        if !running.as_ref().is_some_and(is_ours) {
            wrong.push("keepalived does not run with pgsvc's configuration".to_owned());
        } else if duty.directs() && !duty.vip.dpvs {
            wrong = table(node, model, duty, patience);
        }
        let place = format!("VIP {} of {}", duty.vip.address, duty.cluster);
        if !wrong.is_empty() {
            report.fail(
                wrong.into_iter().map(|w| Error::new(place.clone(), w).hint("see journalctl -u keepalived")),
            );
        }
        report.vips.insert(duty.cluster.clone(), told_of(node, duty, &states));
    }
}

fn is_ours(running: &Running) -> bool {
    running.reads_ours && !running.children.is_empty()
}

/// What keepalived says, until it is ours or the deadline: systemd starts one that died again within seconds.
fn asked(node: &Node<'_>, patience: Duration) -> Option<Running> {
    let deadline = Deadline::after(node.sys, patience);
    loop {
        let running = Keepalived::detect(node.sys, Paths::default()).running().ok().flatten();
        if running.as_ref().is_some_and(is_ours) || deadline.left(node.sys).is_none() {
            return running;
        }
        node.sys.sleep(POLL);
    }
}

fn told_of(node: &Node<'_>, duty: &Duty, states: &BTreeMap<String, String>) -> Value {
    let mode = if duty.vip.mode == Mode::L2 { "l2" } else { "l4" };
    json!({
        "address": duty.vip.address, "mode": mode,
        "holds": kernel::holds(node.sys, duty.vip.address).unwrap_or(false),
        "state": states.get(&instance_name(&duty.cluster)),
        "nodes": duty.holders.iter().map(|p| p.host.as_str()).collect::<Vec<_>>(),
    })
}

/// What of IPVS's table contradicts the plan, until the deadline.
fn table(node: &Node<'_>, model: &Model, duty: &Duty, patience: Duration) -> Vec<String> {
    let servers = model.clusters.get(&duty.cluster).map(|c| c.virtual_servers.iter());
    let planned: Vec<Planned> = servers
        .into_iter()
        .flatten()
        .map(|s| Planned {
            address: s.address,
            port: s.port,
            real: s.real.iter().map(|r| real(r.address, r.port, r.weight, s.kind)).collect(),
        })
        .collect();
    let deadline = Deadline::after(node.sys, patience);
    loop {
        let found = match kernel::read(node.sys) {
            Ok(table) => kernel::compare(&planned, &table),
            Err(e) => vec![format!("IPVS's table cannot be read: {e}")],
        };
        if found.is_empty() || deadline.left(node.sys).is_none() {
            return found;
        }
        node.sys.sleep(POLL);
    }
}

fn real(address: IpAddr, port: u16, weight: u16, kind: Kind) -> Real {
    Real { address, port, weight: weight.into(), kind }
}
