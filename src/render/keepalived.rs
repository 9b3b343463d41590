//! keepalived's files: `pgsvc.conf` of the node, one file per cluster in `pgsvc.d`, and the unit that gives the kernel what
//! a VIP needs. What is balanced is decided in `vip::plane`, which node does what in `vip::duty`.

mod unit;
mod view;

use std::path::PathBuf;

use serde::Serialize;

use super::Templates;
use super::haproxy::checked;
use crate::error::Error;
use crate::inventory::cluster::Cluster;
use crate::plan::RenderedFile;
use crate::vip::Duty;
use crate::vip::plane::VirtualServer;

pub use unit::name as unit_name;

/// The file that keepalived is started with.
pub const CONFIG: &str = "/etc/keepalived/pgsvc.conf";
/// The clusters' files.
pub const CONF_D: &str = "/etc/keepalived/pgsvc.d";
/// The distribution's file, where something else may be defined by hand.
pub const FOREIGN: &str = "/etc/keepalived/keepalived.conf";
/// Who runs the checks: nobody's rights are enough to ask.
pub const USER: &str = "nobody";
/// The service that a managed header names.
pub const SERVICE: &str = "@keepalived";

/// Interfaces of a node, found by whoever is on it; elsewhere, words that stand for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interfaces<'a> {
    /// The one with the node's own address: VRRP is spoken there.
    pub own: &'a str,
    /// The one the VIP is put on: `vip_interface`, or the one with the node's own address.
    pub vip: &'a str,
    /// The one whose network `vip_gateway` is in.
    pub gateway: &'a str,
}

impl<'a> Interfaces<'a> {
    /// A node with one interface.
    #[must_use]
    pub fn one(name: &'a str) -> Self {
        Self { own: name, vip: name, gateway: name }
    }

    /// What may stand in a line of keepalived's and in a unit.
    fn checked(&self, place: &str) -> Result<(), Error> {
        let good = |c: char| c.is_ascii_graphic() && !"\"'\\#!{}$~%".contains(c);
        match [self.own, self.vip, self.gateway].into_iter().find(|n| n.is_empty() || !n.chars().all(good)) {
            None => Ok(()),
            Some(bad) => Err(Error::new(
                place,
                format!("the interface '{}' cannot stand in keepalived's file", bad.escape_debug()),
            )
            .hint("set vip_interface to another one")),
        }
    }
}

#[derive(Serialize)]
struct NodeView {
    foreign: Option<&'static str>,
    conf_d: &'static str,
    user: &'static str,
}

/// Of a cluster's VRRP instance, and of all in its file that belongs to it.
#[must_use]
pub fn instance_name(cluster: &str) -> String {
    format!("pgsvc-{cluster}")
}

/// `pgsvc.conf`. `foreign`: there is a keepalived.conf of somebody else's, which goes on to be read as it is.
///
/// # Errors
/// A template that cannot be rendered.
pub fn node(templates: &Templates, foreign: bool) -> Result<RenderedFile, Error> {
    let view = NodeView { foreign: foreign.then_some(FOREIGN), conf_d: CONF_D, user: USER };
    let content = templates.render("pgsvc.conf", &view)?;
    checked(file(CONFIG.into(), content, 0o640, None))
}

/// The file of a cluster on a node that may hold its VIP; `None` on others. `servers` is what `vip::plane` says of it.
///
/// # Errors
/// A template that cannot be rendered, an interface that cannot be written down, a password on IPv6.
pub fn cluster(
    templates: &Templates,
    cluster: &Cluster,
    duty: &Duty,
    servers: &[VirtualServer],
    interfaces: &Interfaces<'_>,
) -> Result<Option<RenderedFile>, Error> {
    let Some(view) = view::cluster(cluster, duty, servers, interfaces)? else { return Ok(None) };
    let content = templates.render("vip.conf", &view)?;
    let path = PathBuf::from(CONF_D).join(format!("{}.conf", duty.cluster));
    checked(file(path, content, 0o640, Some(duty.cluster.clone()))).map(Some)
}

/// The unit that prepares a director or a real server; `None` where nothing is needed.
///
/// # Errors
/// A template that cannot be rendered, an interface that cannot be written down.
pub fn unit(
    templates: &Templates,
    duty: &Duty,
    interfaces: &Interfaces<'_>,
) -> Result<Option<RenderedFile>, Error> {
    let Some(view) = unit::view(duty, interfaces)? else { return Ok(None) };
    let content = templates.render("vip.service", &view)?;
    let path = PathBuf::from("/etc/systemd/system").join(unit_name(&duty.cluster));
    checked(file(path, content, 0o644, Some(duty.cluster.clone()))).map(Some)
}

fn file(path: PathBuf, content: String, mode: u32, cluster: Option<String>) -> RenderedFile {
    RenderedFile { path, content: content.into(), mode, owner: ("root".into(), "root".into()), cluster }
}

#[cfg(test)]
mod tests;
