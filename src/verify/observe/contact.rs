//! One connection to a PostgreSQL port, member's or load balancer's, and what came of it. Whose port it is and what it
//! should have been are not known here.

use std::net::SocketAddr;

use super::Look;
use crate::verify::deadline::Deadline;
use crate::verify::judge::{Contact, Who};
use crate::verify::postgres::{self, Answer, PgError};

/// A session where there are credentials, else the handshake.
pub(super) fn contact(l: &Look<'_>, addr: SocketAddr, deadline: Deadline) -> Contact {
    let Some(login) = &l.login else { return or_silence(handshake(l, addr, deadline)).0 };
    match postgres::session(l.sys, addr, login, deadline) {
        Ok(id) => Contact::Session(Who {
            start: id.postmaster_start,
            system: id.system_identifier,
            in_recovery: id.in_recovery,
        }),
        Err(e) => failed(&e),
    }
}

/// Whether PostgreSQL or a pooler answers, nobody logging in.
pub(super) fn handshake(l: &Look<'_>, addr: SocketAddr, deadline: Deadline) -> Result<Contact, PgError> {
    let login = l.login.as_ref();
    let (user, database) = login.map_or(("pgsvc", "postgres"), |l| (l.user.as_str(), l.database.as_str()));
    match postgres::handshake(l.sys, addr, user, database, deadline)?.answer {
        Answer::Refuses(e @ (PgError::Full(_) | PgError::StartingUp(_) | PgError::Pooler(_))) => Err(e),
        _ => Ok(Contact::Handshake),
    }
}

/// What came of it, and why when the host did not even answer the connection.
pub(super) fn or_silence(heard: Result<Contact, PgError>) -> (Contact, Option<String>) {
    match heard {
        Ok(contact) => (contact, None),
        Err(e) => {
            let silent = matches!(e, PgError::TimedOut("connecting") | PgError::Unreachable(_));
            (failed(&e), silent.then(|| e.to_string()))
        }
    }
}

fn failed(e: &PgError) -> Contact {
    match e {
        PgError::ClosedAtOnce => Contact::Closed,
        PgError::Full(_) => Contact::Full(e.to_string()),
        PgError::Login(_) | PgError::Authentication(_) => Contact::Login(e.to_string()),
        _ => Contact::Failed(e.to_string()),
    }
}
