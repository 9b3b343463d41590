//! Startup and authentication: SCRAM-SHA-256 with the server's proof checked, md5, and clear text where allowed.
//! A password leaves this module only as one of these answers.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::Login;
use super::error::{PgError, Sql};
use super::wire::{Wire, unexpected};

/// Sends the startup message. Only parameters that every pooler passes: an unknown one is refused by pgbouncer.
pub(super) fn start(wire: &mut Wire<'_>, user: &str, database: &str) -> Result<(), PgError> {
    let parameters =
        [("user", user), ("database", database), ("application_name", "pgsvc"), ("client_encoding", "UTF8")];
    let mut out = BytesMut::new();
    frontend::startup_message(parameters, &mut out).map_err(|e| PgError::Login(e.to_string()))?;
    wire.step = "waiting for an answer to the startup message";
    wire.send(&out)
}

/// The method a server asks for; `None` for a message that asks for none.
pub(super) fn method(message: &Message) -> Option<&'static str> {
    Some(match message {
        Message::AuthenticationSasl(_) => "SCRAM",
        Message::AuthenticationMd5Password(_) => "md5",
        Message::AuthenticationCleartextPassword => "password",
        Message::AuthenticationGss => "GSSAPI",
        Message::AuthenticationSspi => "SSPI",
        Message::AuthenticationKerberosV5 => "Kerberos",
        Message::AuthenticationScmCredential => "SCM credentials",
        _ => return None,
    })
}

/// Answers what the server asks, until it is ready for a query.
pub(super) fn log_in(wire: &mut Wire<'_>, login: &Login) -> Result<(), PgError> {
    let mut answered = false;
    let mut welcome = false;
    loop {
        let message = wire.next()?;
        match &message {
            Message::ErrorResponse(body) => return Err(PgError::from_response(body)),
            Message::AuthenticationOk if !welcome => {
                welcome = true;
                wire.step = "after authentication";
            }
            Message::BackendKeyData(_) if welcome => {}
            Message::ReadyForQuery(_) if welcome => {
                wire.ready = true;
                return Ok(());
            }
            // Asked twice, a server collects answers to challenges of its choice.
            asked if method(asked).is_some() && !answered && !welcome => {
                answered = true;
                wire.step = "authenticating";
                answer(wire, login, asked)?;
            }
            _ => return Err(unexpected("to a startup message")),
        }
    }
}

fn answer(wire: &mut Wire<'_>, login: &Login, asked: &Message) -> Result<(), PgError> {
    let password = || {
        let given = login.password.as_deref().filter(|password| !password.is_empty());
        given.ok_or_else(|| PgError::Login("the server asks for a password, and none is given".to_owned()))
    };
    match asked {
        Message::AuthenticationSasl(body) => scram(wire, password()?.as_bytes(), body),
        Message::AuthenticationMd5Password(body) => {
            let hash = md5_hash(login.user.as_bytes(), password()?.as_bytes(), body.salt());
            send_password(wire, &hash)
        }
        Message::AuthenticationCleartextPassword if wire.is_tls() || login.cleartext => {
            send_password(wire, password()?)
        }
        Message::AuthenticationCleartextPassword => Err(PgError::Login(
            "the server asks for the password in clear text, over a connection without TLS".to_owned(),
        )),
        other => {
            let name = method(other).unwrap_or("an unknown method");
            Err(PgError::Login(format!("the server asks for {name}, which is not spoken here")))
        }
    }
}

fn send_password(wire: &mut Wire<'_>, password: &str) -> Result<(), PgError> {
    let mut out = BytesMut::new();
    // The error would be about a zero byte; its text is not passed on, the password being what it is about.
    frontend::password_message(password.as_bytes(), &mut out)
        .map_err(|_| PgError::Login("the password holds a zero byte".to_owned()))?;
    wire.send(&out)
}

/// The exchange of RFC 7677. The server's signature is checked before its word counts.
fn scram(wire: &mut Wire<'_>, password: &[u8], body: &AuthenticationSaslBody) -> Result<(), PgError> {
    let broken = |e: std::io::Error| PgError::Protocol(format!("SCRAM: {e}"));
    let offered: Vec<&str> = body.mechanisms().collect().map_err(broken)?;
    if !offered.contains(&SCRAM_SHA_256) {
        return Err(PgError::Login(format!("the server offers only {}", offered.join(", "))));
    }
    let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
    let mut out = BytesMut::new();
    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out).map_err(broken)?;
    wire.send(&out)?;
    match wire.next()? {
        // The number of iterations is capped below a second's work by the crate.
        Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(broken)?,
        Message::ErrorResponse(body) => return Err(PgError::from_response(&body)),
        _ => return Err(unexpected("to SCRAM's first message")),
    }
    out.clear();
    frontend::sasl_response(scram.message(), &mut out).map_err(broken)?;
    wire.send(&out)?;
    match wire.next()? {
        Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(|_| {
            let message = "the server could not prove that it knows the password".to_owned();
            PgError::Authentication(Sql { code: String::new(), message })
        }),
        Message::ErrorResponse(body) => Err(PgError::from_response(&body)),
        _ => Err(unexpected("to SCRAM's last message")),
    }
}
