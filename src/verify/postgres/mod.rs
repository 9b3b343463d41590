//! One PostgreSQL session over one connection: what really happens at a port. Reads only, but for a write that a
//! caller asks for, and says nothing of what should have been found.

mod auth;
mod brief;
mod error;
mod identity;
mod wire;

use std::fmt;
use std::net::SocketAddr;

use postgres_protocol::message::backend::Message;

use crate::host::System;

use super::deadline::Deadline;
use super::tls::TlsConfig;
use wire::Wire;

pub use brief::{Brief, More, Write};
pub use error::{PgError, Sql};
pub use identity::{Identity, Replay};

/// Whether and how a connection is encrypted, as libpq's `sslmode` has it.
#[derive(Debug, Clone)]
pub enum TlsMode {
    Disable,
    /// TLS when it is offered, unproven.
    Prefer,
    /// TLS, unproven.
    Require,
    /// TLS, the server proven by CA and name. Without a name in the configuration the address has to be in the
    /// certificate.
    VerifyFull(TlsConfig),
}

/// Who logs in, and where.
#[derive(Clone)]
pub struct Login {
    pub user: String,
    /// `None`: only where the server asks for none.
    pub password: Option<String>,
    pub database: String,
    pub tls: TlsMode,
    /// Whether the password may be sent readable over a connection that is not encrypted, when the server asks so.
    pub cleartext: bool,
}

impl fmt::Debug for Login {
    /// The password is never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("tls", &self.tls)
            .field("cleartext", &self.cleartext)
            .finish()
    }
}

/// A session that stays open until it is dropped or its deadline passes: to watch one connection over a role change.
pub struct Session<'a> {
    wire: Wire<'a>,
}

impl<'a> Session<'a> {
    /// Connects and logs in. The deadline is the whole session's.
    ///
    /// # Errors
    /// Why there is no session.
    pub fn open(
        sys: &'a dyn System,
        addr: SocketAddr,
        login: &Login,
        deadline: Deadline,
    ) -> Result<Self, PgError> {
        let mut wire = Wire::connect(sys, addr, &login.tls, deadline)?;
        auth::start(&mut wire, &login.user, &login.database)?;
        auth::log_in(&mut wire, login)?;
        Ok(Self { wire })
    }

    /// Asks the server behind the connection who it is, now.
    ///
    /// # Errors
    /// Why it does not say.
    pub fn identity(&mut self) -> Result<Identity, PgError> {
        identity::ask(&mut self.wire)
    }

    /// Asks in one statement who serves, with `more` its timeline and cluster too, and writes what is wanted: a message
    /// where the server takes writes, a row in any case.
    ///
    /// # Errors
    /// Why there is no answer, or no commit of a message. That of a row is in the answer.
    pub fn brief(&mut self, write: Write<'_>, more: bool) -> Result<Brief, PgError> {
        brief::ask(&mut self.wire, write, more)
    }
}

/// Logs in once and asks the server who it is.
///
/// # Errors
/// Why there is no answer.
pub fn session(
    sys: &dyn System,
    addr: SocketAddr,
    login: &Login,
    deadline: Deadline,
) -> Result<Identity, PgError> {
    Session::open(sys, addr, login, deadline)?.identity()
}

/// What a server answers to a startup message, nobody logging in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The connection is encrypted (unproven): the server offered it.
    pub tls: bool,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Lets in without a password.
    Welcome,
    /// Asks to authenticate by this method.
    Asks(&'static str),
    /// Refuses, in PostgreSQL's own words: full, starting up, no such database.
    Refuses(PgError),
}

/// Speaks to a server without credentials. Every answer proves that PostgreSQL or a pooler speaks there, a refusal too.
///
/// # Errors
/// Why there is no answer of PostgreSQL's.
pub fn handshake(
    sys: &dyn System,
    addr: SocketAddr,
    user: &str,
    database: &str,
    deadline: Deadline,
) -> Result<Handshake, PgError> {
    let mut wire = Wire::connect(sys, addr, &TlsMode::Prefer, deadline)?;
    auth::start(&mut wire, user, database)?;
    let answer = match wire.next()? {
        Message::ErrorResponse(body) => Answer::Refuses(PgError::from_response(&body)),
        Message::AuthenticationOk => Answer::Welcome,
        other => Answer::Asks(auth::method(&other).ok_or_else(|| wire::unexpected("to a startup message"))?),
    };
    Ok(Handshake { tls: wire.is_tls(), answer })
}

#[cfg(test)]
mod tests;
