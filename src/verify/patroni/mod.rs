//! One member's Patroni, asked over its REST API: what should be. Nothing here judges a port or a cluster.

mod health;
mod time;

use std::net::SocketAddr;

use crate::host::System;

use super::deadline::Deadline;
use super::error::ProbeError;
use super::http;
use super::tls::{self, TlsConfig};

pub use health::{ClusterMember, ClusterView, Lag, MemberHealth, Role, Tags, Xlog};
pub use time::StartTime;

/// Where a member's API is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Api {
    pub addr: SocketAddr,
    /// The name in the Host header, and the one its certificate must carry unless the configuration names another.
    pub host: String,
    /// `None`: plain HTTP.
    pub tls: Option<TlsConfig>,
}

/// What the member says of itself: `GET /patroni`.
///
/// # Errors
/// Why it says nothing; `Status` when the answer is not 200.
pub fn probe(sys: &dyn System, api: &Api, deadline: Deadline) -> Result<MemberHealth, ProbeError> {
    MemberHealth::parse(&json(sys, api, "/patroni", deadline)?)
}

/// The service's own check, as the load balancer asks it: any method and path, the status alone counts.
///
/// # Errors
/// Why there is no answer; `Status` when it is not the wanted one.
pub fn check(
    sys: &dyn System,
    api: &Api,
    method: &str,
    path: &str,
    wanted: u16,
    deadline: Deadline,
) -> Result<(), ProbeError> {
    let got = ask(sys, api, method, path, deadline)?.status;
    if got == wanted { Ok(()) } else { Err(ProbeError::Status { got, wanted }) }
}

/// A service's check for the member that takes writes, by status and by what the member says of itself. Patroni answers
/// it by the lock (`Ha.is_leader`): for a moment a member that is being promoted passes and is in recovery still. An
/// answer that is none of Patroni's (another program's check) counts by its status.
///
/// # Errors
/// Why there is no answer; `Status` when it is not 200.
pub fn takes_writes(sys: &dyn System, api: &Api, path: &str, deadline: Deadline) -> Result<bool, ProbeError> {
    let body = json(sys, api, path, deadline)?;
    let role = MemberHealth::parse(&body).ok().and_then(|h| h.role);
    Ok(role.and_then(|r| r.in_recovery()) != Some(true))
}

/// Whom the member knows of: `GET /cluster`.
///
/// # Errors
/// Why it says nothing; `Status` when the answer is not 200.
pub fn cluster(sys: &dyn System, api: &Api, deadline: Deadline) -> Result<ClusterView, ProbeError> {
    ClusterView::parse(&json(sys, api, "/cluster", deadline)?)
}

fn json(sys: &dyn System, api: &Api, path: &str, deadline: Deadline) -> Result<Vec<u8>, ProbeError> {
    let response = ask(sys, api, "GET", path, deadline)?;
    match response.status {
        200 => Ok(response.body),
        got => Err(ProbeError::Status { got, wanted: 200 }),
    }
}

fn ask(
    sys: &dyn System,
    api: &Api,
    method: &str,
    path: &str,
    deadline: Deadline,
) -> Result<http::Response, ProbeError> {
    http::get(sys, api.addr, api.tls.as_ref(), &api.host, method, path, deadline)
        .map_err(|error| other_scheme(sys, api, error, deadline))
}

/// A wrong scheme shows as a closed connection or as garbage: asks in the other one before it is named.
fn other_scheme(sys: &dyn System, api: &Api, error: ProbeError, deadline: Deadline) -> ProbeError {
    use ProbeError as E;
    let doubtful = matches!(error, E::Closed | E::NotHttp(_) | E::NoTls);
    match &api.tls {
        None if doubtful && tls::spoken(sys, api.addr, deadline) => E::SpeaksTls,
        Some(_) if doubtful => match http::get(sys, api.addr, None, &api.host, "GET", "/", deadline) {
            Ok(_) => E::SpeaksPlainHttp,
            Err(_) => error,
        },
        _ => error,
    }
}

#[cfg(test)]
mod tests;
