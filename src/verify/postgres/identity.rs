//! Who a server is: asked in SQL that any user may run on PostgreSQL 10 and later. What only some may see is asked in
//! queries of its own, so that a refusal costs nothing but that. No judgement here.

use std::net::IpAddr;
use std::str::FromStr;

use super::error::PgError;
use super::wire::{Row, Wire};

/// The first column of every query: behind a pooler each may run on another connection, and with several hosts on
/// another server. Before PostgreSQL 14 `extract` is a double: its error is below half a microsecond until 2100.
pub(super) const START: &str =
    "(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint";

const WHO: &str = "pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('server_version_num'), \
     pg_catalog.current_setting('transaction_read_only'), pg_catalog.host(pg_catalog.inet_server_addr()), \
     pg_catalog.inet_server_port()";

/// A server that changes its role within the query refuses it: then this is unknown, and right to be.
const REPLAY: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.pg_current_wal_lsn() END, \
     CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL \
     ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END, \
     pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn(), \
     (EXTRACT(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint, \
     (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint, \
     r.status, r.received_tli, (EXTRACT(epoch FROM r.last_msg_receipt_time) * 1000000)::bigint \
     FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_stat_wal_receiver AS r ON true";

const CONTROL: &str = "system_identifier, (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) \
     FROM pg_catalog.pg_control_system()";

/// Where a server stands in the write-ahead log. Positions are bytes from the log's beginning, times microseconds
/// since the epoch by the server's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// A primary's position.
    pub current: Option<u64>,
    pub received: Option<u64>,
    pub replayed: Option<u64>,
    /// When the last replayed transaction was committed, by the primary's clock.
    pub last_commit: Option<i64>,
    /// The server's clock at the answer.
    pub now: Option<i64>,
    /// The receiver's `streaming`, `stopping`, …; none without a receiver, or without the right to see it
    /// (`pg_read_all_stats`), as are the times.
    pub receiver: Option<String>,
    /// When the primary was last heard.
    pub last_message: Option<i64>,
}

/// One instance, as it names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub in_recovery: bool,
    /// Microseconds since the epoch: with the system identifier, an instance's name.
    pub postmaster_start: i64,
    /// `server_version_num`: 150004.
    pub server_version: u32,
    /// A transaction started now could not write.
    pub read_only: bool,
    /// The address the server sees itself under; none behind a pooler on a Unix socket.
    pub server_addr: Option<IpAddr>,
    pub server_port: Option<u16>,
    /// The connection from here is encrypted; a pooler's to the server may not be.
    pub tls: bool,
    /// The cluster; none where the user may not see it.
    pub system_identifier: Option<String>,
    /// Of the log being written or received; else of the last checkpoint, which is older after a promotion.
    pub timeline: Option<u32>,
    /// None where the server refused to say.
    pub replay: Option<Replay>,
}

pub(super) fn ask(wire: &mut Wire<'_>) -> Result<Identity, PgError> {
    let who = one(wire, WHO)?;
    let missing = || PgError::Protocol("an identity without role, start or version".to_owned());
    let mut identity = Identity {
        in_recovery: truth(&who, 1).ok_or_else(missing)?,
        postmaster_start: parsed(&who, 0).ok_or_else(missing)?,
        server_version: parsed(&who, 2).ok_or_else(missing)?,
        read_only: truth(&who, 3).unwrap_or(false),
        server_addr: parsed(&who, 4),
        server_port: parsed(&who, 5),
        tls: wire.is_tls(),
        system_identifier: None,
        timeline: None,
        replay: None,
    };
    if let Some(row) = optional(wire, REPLAY, &identity)? {
        let walfile =
            text(&row, 2).and_then(|name| name.get(..8)).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        identity.timeline = walfile.or_else(|| parsed(&row, 8));
        identity.replay = Some(replay(&row));
    }
    if let Some(row) = optional(wire, CONTROL, &identity)? {
        identity.system_identifier = text(&row, 1).map(str::to_owned);
        identity.timeline = identity.timeline.or_else(|| parsed(&row, 2));
    }
    Ok(identity)
}

fn replay(row: &Row) -> Replay {
    Replay {
        current: text(row, 1).and_then(lsn),
        received: text(row, 3).and_then(lsn),
        replayed: text(row, 4).and_then(lsn),
        last_commit: parsed(row, 5),
        now: parsed(row, 6),
        receiver: text(row, 7).map(str::to_owned),
        last_message: parsed(row, 9),
    }
}

fn one(wire: &mut Wire<'_>, columns: &str) -> Result<Row, PgError> {
    let rows = wire.query(&format!("SELECT {START}, {columns}"))?;
    rows.into_iter().next().ok_or_else(|| PgError::Protocol("no row where there is always one".to_owned()))
}

/// `None` when the server refuses the query, or when another instance answered it. A dead connection is an error.
fn optional(wire: &mut Wire<'_>, columns: &str, of: &Identity) -> Result<Option<Row>, PgError> {
    match one(wire, columns) {
        Ok(row) => Ok(Some(row).filter(|row| parsed(row, 0) == Some(of.postmaster_start))),
        Err(PgError::Server(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn text(row: &Row, column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

fn parsed<T: FromStr>(row: &Row, column: usize) -> Option<T> {
    text(row, column)?.parse().ok()
}

fn truth(row: &Row, column: usize) -> Option<bool> {
    match text(row, column)? {
        "t" | "on" => Some(true),
        "f" | "off" => Some(false),
        _ => None,
    }
}

/// `16/B374D848` → bytes.
fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |hex| u64::from(u32::from_str_radix(hex, 16).unwrap_or_default());
    Some((half(high) << 32) | half(low))
}
