//! Asks members for their live roles, and for nothing else.

use std::collections::BTreeMap;

use super::members::{MEMBERS, api, resolve};
use super::{Look, PROBE};
use crate::inventory::cluster::Cluster;
use crate::inventory::member::Member;
use crate::parallel::parallel;
use crate::verify::deadline::Deadline;
use crate::verify::patroni::{self, MemberHealth};
use crate::verify::stray::{Roles, live};

/// The live roles in these clusters, all members being asked at the same time.
pub fn roles(l: &Look<'_>, clusters: &[&Cluster]) -> Roles {
    let members: Vec<(&Cluster, &Member)> =
        clusters.iter().flat_map(|c| c.members.iter().map(move |m| (*c, m))).collect();
    let answers = parallel(&members, MEMBERS, |(c, m)| health(l, c, m));
    let mut said: BTreeMap<String, BTreeMap<String, Option<MemberHealth>>> = BTreeMap::new();
    for ((c, m), answer) in members.iter().zip(answers) {
        said.entry(c.name.clone()).or_default().insert(m.instance.clone(), answer);
    }
    said.into_iter().map(|(cluster, members)| (cluster, live(&members))).collect()
}

fn health(l: &Look<'_>, c: &Cluster, m: &Member) -> Option<MemberHealth> {
    let ip = resolve(l.sys, &m.address).ok()?;
    let api = api(l, c, m, ip, (m.patroni_port, m.patroni_ssl)).ok()?;
    patroni::probe(l.sys, &api, Deadline::after(l.sys, PROBE)).ok()
}
