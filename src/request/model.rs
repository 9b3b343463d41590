//! Request → model: clusters built and resolved, and what is wrong with the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Kept, Model, Request, ResolvedCluster, State, by_cluster};
use crate::error::{Error, Errors};
use crate::inventory::Vars;
use crate::inventory::cluster::{self, Cluster};
use crate::parallel::computed;
use crate::resolve::{self, Expectation, ResolvedService};
use crate::settings::Options;
use crate::vip::duty::{self, Duty};
use crate::vip::plane::plane;
use crate::{settings, value};

/// Builds and resolves every cluster of a request.
///
/// # Errors
/// What is wrong with the node itself; what is wrong with a cluster is kept with it.
pub fn model(request: Request) -> Result<Model, Errors> {
    let mut model = model_apart(request)?;
    refuse_collisions(&mut model);
    // What is refused is not kept either: a later run without an inventory must not meet it.
    let good = &model.clusters;
    model.kept.clusters.retain(|(name, _)| good.contains_key(name));
    Ok(model)
}

/// The same for verbs that look at clusters one by one, whichever load balancer carries them.
///
/// # Errors
/// What is wrong with the node itself.
pub fn model_apart(mut request: Request) -> Result<Model, Errors> {
    let mut errors = Errors::default();
    let node = settings::node(&request.node, &request.node_vars, &mut errors);
    // A run that installs nothing keeps nothing.
    let kept = if request.check { Kept::default() } else { super::kept::arguments(&request) };
    let mut model = Model {
        kept,
        node,
        state: request.state,
        clusters: BTreeMap::new(),
        failed: BTreeMap::new(),
        options: std::mem::take(&mut request.options),
        check: request.check,
        brief: request.brief,
        warnings: std::mem::take(&mut request.warnings),
    };
    if request.clusters.is_empty() {
        errors.push(
            Error::new(format!("node '{}'", model.node.name), "carries no cluster")
                .hint("give it pg_cluster, or put it into a cluster's pg_service_provider group"),
        );
    }
    let by_cluster = by_cluster(&request.hosts);
    let empty = Vec::new();
    let built = computed(&request.clusters, |name| match request.state {
        State::Absent => gone(name),
        State::Present => build(name, by_cluster.get(name).unwrap_or(&empty), &request, &model.options),
    });
    for (name, built) in request.clusters.iter().zip(built) {
        match built {
            Ok(c) => drop(model.clusters.insert(name.clone(), Arc::new(c))),
            Err(e) => drop(model.failed.insert(name.clone(), e)),
        }
    }
    errors.finish(model)
}

fn build(
    name: &str,
    hosts: &[(&str, &Vars)],
    request: &Request,
    options: &Options,
) -> Result<ResolvedCluster, Errors> {
    let cluster = cluster::build(name, hosts, &request.overrides)?;
    let mut services = resolve::cluster(&cluster, options.roles)?;
    for s in &mut services {
        // The address is bound on all nodes that may come to hold it.
        s.nonlocal = options.nonlocal_bind || cluster.virtual_ip.is_some();
        s.guarded = options.single_primary
            && s.servers.len() > 1
            && matches!(s.expectation, Expectation::Primary | Expectation::Leader);
    }
    let provider = cluster.provider.as_deref();
    let duty = match &cluster.virtual_ip {
        None => None,
        Some(vip) => Some(duty::resolve(&cluster, vip, provider, &request.groups, &request.node)?),
    };
    // What its directors could not do is known on every node.
    let virtual_servers = duty.as_ref().map(|d| plane(d, &services)).transpose()?.unwrap_or_default();
    // A node that has no part in it looks at the cluster as a load balancer of it would.
    let part = |d: &Duty| d.proxy || !(d.real_server || d.holder.is_some());
    let proxy = duty.as_ref().is_none_or(part);
    Ok(ResolvedCluster { cluster, services, proxy, duty, virtual_servers })
}

/// A cluster that goes. Its members may be gone from the inventory already, and so nobody has looked at the name yet.
fn gone(name: &str) -> Result<ResolvedCluster, Errors> {
    value::word("pg_cluster", &Value::from(name), "-_.", 63)?;
    let cluster = Cluster::empty(name);
    Ok(ResolvedCluster {
        cluster,
        services: Vec::new(),
        proxy: true,
        duty: None,
        virtual_servers: Vec::new(),
    })
}

fn refuse_collisions(model: &mut Model) {
    let all: Vec<&ResolvedService> = model.clusters.values().flat_map(|c| &c.services).collect();
    for (name, error) in resolve::collisions(&all) {
        model.failed.entry(name).or_default().push(error);
    }
    let duties: Vec<&Duty> = model.clusters.values().filter_map(|c| c.duty.as_ref()).collect();
    for (name, error) in duty::collisions(&duties) {
        model.failed.entry(name).or_default().push(error);
    }
    let port = model.node.exporter_port;
    for s in all.iter().filter(|s| s.port() == port) {
        let error = Error::new(
            format!("service '{}' of {}", s.service, s.cluster),
            format!("port {port} is also that of the stats page"),
        )
        .hint("change the service's port or haproxy_exporter_port");
        model.failed.entry(s.cluster.clone()).or_default().push(error);
    }
    drop(all);
    let failed = &model.failed;
    model.clusters.retain(|name, _| !failed.contains_key(name));
}
