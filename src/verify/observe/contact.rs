//! One connection to a PostgreSQL port, member's or load balancer's, and what came of it. Whose port it is and what it
//! should have been are not known here.

use std::net::SocketAddr;

use super::Look;
use crate::verify::deadline::Deadline;
use crate::verify::judge::{Contact, Who};
use crate::verify::postgres::{self, Answer, PgError};

/// A session where there are credentials, else the handshake.
pub(super) fn contact(l: &Look<'_>, addr: SocketAddr, deadline: Deadline) -> Contact {
    connect(l, addr, deadline).unwrap_or_else(|e| failed(&e))
}

/// The same, and why when the host did not even answer the connection.
pub(super) fn contact_or_silence(
    l: &Look<'_>,
    addr: SocketAddr,
    deadline: Deadline,
) -> (Contact, Option<String>) {
    match connect(l, addr, deadline) {
        Ok(contact) => (contact, None),
        Err(e) => {
            let silent = matches!(e, PgError::TimedOut("connecting") | PgError::Unreachable(_));
            (failed(&e), silent.then(|| e.to_string()))
        }
    }
}

fn connect(l: &Look<'_>, addr: SocketAddr, deadline: Deadline) -> Result<Contact, PgError> {
    let Some(login) = &l.login else {
        return match postgres::handshake(l.sys, addr, "pgsvc", "postgres", deadline)?.answer {
            Answer::Refuses(e @ (PgError::Full(_) | PgError::StartingUp(_) | PgError::Pooler(_))) => Err(e),
            _ => Ok(Contact::Handshake),
        };
    };
    let id = postgres::session(l.sys, addr, login, deadline)?;
    Ok(Contact::Session(Who {
        start: id.postmaster_start,
        system: id.system_identifier,
        in_recovery: id.in_recovery,
    }))
}

fn failed(e: &PgError) -> Contact {
    match e {
        PgError::ClosedAtOnce => Contact::Closed,
        PgError::Full(_) => Contact::Full(e.to_string()),
        PgError::Login(_) | PgError::Authentication(_) => Contact::Login(e.to_string()),
        _ => Contact::Failed(e.to_string()),
    }
}
