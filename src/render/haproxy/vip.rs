//! HAProxy's word on itself: a frontend that says whether any service of a cluster has a server to lead to. keepalived
//! asks it before it lets this node hold a VIP or a share of its connections.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::{checked, file};
use crate::error::Error;
use crate::plan::RenderedFile;
use crate::render::{Layout, Templates};
use crate::resolve::ResolvedService;
use crate::vip::{Duty, Mode};

/// Stands for a service's name in the file's own and in its header; no service can be called so.
pub const SERVICE: &str = "@vip";

#[derive(Serialize)]
struct VipView {
    cluster: String,
    socket: String,
    bind: Option<String>,
    /// Backends whose servers count.
    backends: Vec<String>,
}

/// Where the word is asked on the node itself, by whoever may enter the directory.
#[must_use]
pub fn socket(layout: &Layout, cluster: &str) -> PathBuf {
    layout.stats_socket.with_file_name(format!("pgsvc-{cluster}.sock"))
}

/// The frontend's name, which no listener of a service has.
#[must_use]
pub fn frontend(cluster: &str) -> String {
    format!("{cluster}:vip")
}

/// `conf.d/<cluster>-@vip.cfg` of a node whose HAProxy carries a cluster with a VIP that asks it; `None` elsewhere.
///
/// # Errors
/// A template that cannot be rendered, or whose result lacks the header that says whose file it is.
pub fn vip(
    templates: &Templates,
    layout: &Layout,
    duty: &Duty,
    services: &[ResolvedService],
) -> Result<Option<RenderedFile>, Error> {
    if !duty.proxy || !duty.asks_haproxy() {
        return Ok(None);
    }
    let view = VipView {
        cluster: duty.cluster.clone(),
        socket: socket(layout, &duty.cluster).display().to_string(),
        // Directors of an L4 address are other nodes.
        bind: (duty.vip.mode == Mode::L4).then(|| bind(duty.vip.address, duty.vip.check_port)),
        backends: services.iter().flat_map(backends).collect(),
    };
    let path = layout.conf_d.join(format!("{}-{SERVICE}.cfg", duty.cluster));
    let content = templates.render("vip.cfg", &view)?;
    checked(file(path, content, Some(duty.cluster.clone()))).map(Some)
}

/// Directors ask the node's own address, of the VIP's family.
fn bind(vip: IpAddr, port: u16) -> String {
    if vip.is_ipv4() { format!("*:{port}") } else { format!(":::{port} v6only") }
}

fn backends(s: &ResolvedService) -> Vec<String> {
    let backup = s.is_two_tier().then(|| format!("{}-backup", s.listener));
    std::iter::once(s.listener.clone()).chain(backup).collect()
}

#[cfg(test)]
mod tests;
