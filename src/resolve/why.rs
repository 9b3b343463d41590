//! Who a service's two selectors select under which live role: the reason behind every cell of the matrix. Pure.

use super::RoleSource;
use super::scenarios::Scenarios;
use crate::error::Error;
use crate::inventory::cluster::Cluster;
use crate::service::Service;

/// What an expression says of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    pub as_primary: bool,
    pub as_replica: bool,
}

/// What `selector` and `selector_backup` say of the member at a place of `Cluster::members`.
///
/// # Errors
/// A selector that selects something else than members.
pub fn selected(
    cluster: &Cluster,
    service: &Service,
    roles: RoleSource,
    member: usize,
) -> Result<(Selected, Option<Selected>), Error> {
    let scenarios = Scenarios::new(&cluster.members, &cluster.services, roles);
    let of = |text: &str| {
        let chosen = scenarios.choose(text)?;
        let (as_primary, as_replica) = chosen.get(member).copied().unwrap_or_default();
        Ok(Selected { as_primary, as_replica })
    };
    Ok((of(&service.selector)?, service.selector_backup.as_deref().map(of).transpose()?))
}
