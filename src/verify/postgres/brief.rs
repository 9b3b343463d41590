//! The shortest question that tells who a server is and whether it takes writes: one statement, or two where a row is
//! written, for thousands of sessions. No judgement here.

use serde::{Deserialize, Serialize};

use super::error::PgError;
use super::identity::START;
use super::wire::{Row, Wire};

/// A logical message is written to the log and nowhere else: flushed at the commit, waited for on synchronous standbys,
/// and no table, sequence or catalog knows of it afterwards. Any user may write one.
const MESSAGE: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL \
     ELSE pg_catalog.pg_logical_emit_message(true, 'pgsvc', '') END";

/// Of the log being written; in recovery that of the last checkpoint replayed, which is older after a promotion.
const TIMELINE: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() \
     THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) \
     ELSE ('x' || substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int END";

const SYSTEM: &str = "(SELECT system_identifier FROM pg_catalog.pg_control_system())";

/// What a session writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write<'a> {
    Nothing,
    /// Leaves nothing behind.
    Message,
    /// A row with this `id` in this table, whatever the server says of its role. The table's name is put into SQL as it is.
    Row {
        table: &'a str,
        id: u64,
    },
}

/// A server in a few words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// Microseconds since the epoch, by the server's clock: an instance's name.
    pub start: i64,
    #[serde(rename = "recovery")]
    pub in_recovery: bool,
    /// A write was asked for, and committed.
    pub wrote: bool,
    /// What only a ledger is kept of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<More>,
}

/// A server in some more words, and the row that was to be written there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct More {
    pub timeline: Option<u32>,
    /// The cluster.
    pub system: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Why the row was not acknowledged. It may be there all the same, where the answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Who serves; `more` asks for timeline and system too, as a row does.
pub(super) fn ask(wire: &mut Wire<'_>, write: Write<'_>, more: bool) -> Result<Brief, PgError> {
    let more = more || matches!(write, Write::Row { .. });
    let message = if write == Write::Message { MESSAGE } else { "NULL" };
    let rest = if more { format!(", {TIMELINE}, {SYSTEM}") } else { String::new() };
    let rows = wire.query(&format!("SELECT {START}, pg_catalog.pg_is_in_recovery(), {message}{rest}"))?;
    let missing = || PgError::Protocol("no start or no role where there is always one".to_owned());
    let row = rows.first().ok_or_else(missing)?;
    let in_recovery = match text(row, 1) {
        Some("t") => true,
        Some("f") => false,
        _ => return Err(missing()),
    };
    let start = text(row, 0).and_then(|t| t.parse().ok()).ok_or_else(missing)?;
    let mut brief = Brief { start, in_recovery, wrote: text(row, 2).is_some(), more: None };
    if more {
        brief.more = Some(More {
            timeline: text(row, 3).and_then(|t| t.parse().ok()),
            system: text(row, 4).map(str::to_owned),
            ..More::default()
        });
    }
    if let Write::Row { table, id } = write {
        insert(wire, table, id, &mut brief);
    }
    Ok(brief)
}

/// Behind a pooler the second statement may reach another server than the first: who took the row says so itself.
fn insert(wire: &mut Wire<'_>, table: &str, id: u64, brief: &mut Brief) {
    let done = wire.query(&format!("INSERT INTO {table} (id) VALUES ({id}) RETURNING {START}, {TIMELINE}"));
    let more = brief.more.get_or_insert_default();
    more.id = Some(id);
    match done {
        Ok(rows) => {
            brief.wrote = true;
            let row = rows.first();
            if let Some(start) = row.and_then(|r| text(r, 0)).and_then(|t| t.parse().ok()) {
                brief.in_recovery &= brief.start == start;
                brief.start = start;
                more.timeline = row.and_then(|r| text(r, 1)).and_then(|t| t.parse().ok());
            }
        }
        Err(why) => more.refused = Some(why.to_string()),
    }
}

fn text(row: &Row, column: usize) -> Option<&str> {
    row.get(column).and_then(Option::as_deref)
}
