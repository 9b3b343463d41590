//! The shortest question that tells who a server is and whether it takes writes: one statement, for thousands of
//! sessions. No judgement here.

use serde::{Deserialize, Serialize};

use super::error::PgError;
use super::identity::START;
use super::wire::Wire;

/// A logical message is written to the log and nowhere else: flushed at the commit, waited for on synchronous standbys,
/// and no table, sequence or catalog knows of it afterwards. Any user may write one.
const WRITE: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL \
     ELSE pg_catalog.pg_logical_emit_message(true, 'pgsvc', '') END";

/// A server in a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// Microseconds since the epoch, by the server's clock: an instance's name.
    pub start: i64,
    #[serde(rename = "recovery")]
    pub in_recovery: bool,
    /// A write was asked for, and committed.
    pub wrote: bool,
}

pub(super) fn ask(wire: &mut Wire<'_>, write: bool) -> Result<Brief, PgError> {
    let column = if write { WRITE } else { "NULL" };
    let rows = wire.query(&format!("SELECT {START}, pg_catalog.pg_is_in_recovery(), {column}"))?;
    let missing = || PgError::Protocol("no start or no role where there is always one".to_owned());
    let row = rows.first().ok_or_else(missing)?;
    let text = |column: usize| row.get(column).and_then(Option::as_deref);
    let in_recovery = match text(1) {
        Some("t") => true,
        Some("f") => false,
        _ => return Err(missing()),
    };
    let start = text(0).and_then(|t| t.parse().ok()).ok_or_else(missing)?;
    Ok(Brief { start, in_recovery, wrote: text(2).is_some() })
}
