//! Patroni's JSON → typed facts. Tolerant: what is missing or of another type is `None`, what is unknown is skipped.
//! No sockets here. Sources: Patroni's REST API page, and `api.py`, `utils.py` of 1.6 to 4.0.

use serde_json::{Map, Value};

use crate::verify::error::ProbeError;

use super::time::StartTime;

/// Values that an answer may hold. Patroni says some 50 of a member, and 15 of each in a list; a megabyte of small
/// objects would take a hundred in memory.
const VALUES: usize = 20_000;

/// A member's role, one name for what releases call differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `master`, `primary`, and `leader` in `/cluster`.
    Primary,
    /// The leader of a standby cluster: holds the lock, is in recovery.
    StandbyLeader,
    SyncStandby,
    QuorumStandby,
    Replica,
    /// As Patroni says it: `demoted`, `uninitialized`, …
    Other(String),
}

impl Role {
    fn parse(role: &str) -> Self {
        match role {
            "primary" | "master" | "leader" => Self::Primary,
            "standby_leader" => Self::StandbyLeader,
            "sync_standby" => Self::SyncStandby,
            "quorum_standby" => Self::QuorumStandby,
            "replica" => Self::Replica,
            other => Self::Other(other.to_owned()),
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Primary => "primary",
            Self::StandbyLeader => "standby_leader",
            Self::SyncStandby => "sync_standby",
            Self::QuorumStandby => "quorum_standby",
            Self::Replica => "replica",
            Self::Other(name) => name,
        }
    }

    /// Whether PostgreSQL is in recovery under this role; `None` for a role that says nothing of it.
    pub fn in_recovery(&self) -> Option<bool> {
        match self {
            Self::Primary => Some(false),
            Self::Other(_) => None,
            _ => Some(true),
        }
    }
}

/// Positions in the write-ahead log, in bytes from its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Xlog {
    /// A primary's flushed position.
    pub location: Option<u64>,
    pub received: Option<u64>,
    pub replayed: Option<u64>,
    pub replayed_timestamp: Option<StartTime>,
    pub paused: Option<bool>,
}

/// Tags that routing asks about, and all of them as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    pub noloadbalance: bool,
    pub nofailover: bool,
    pub clonefrom: bool,
    pub nosync: bool,
    pub all: Map<String, Value>,
}

/// What `/patroni` says of one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberHealth {
    /// `running`, `starting`, `stopped`, …; `unknown` when Patroni lost PostgreSQL.
    pub state: Option<String>,
    pub role: Option<Role>,
    pub timeline: Option<u32>,
    pub postmaster_start: Option<StartTime>,
    /// A decimal number that fits no signed 64 bits everywhere: kept as text.
    pub system_identifier: Option<String>,
    /// As `server_version_num`: 150004.
    pub server_version: Option<u32>,
    pub xlog: Xlog,
    /// `streaming`, `in archive recovery`; none on a primary and before Patroni 3.
    pub replication_state: Option<String>,
    pub sync_standby: bool,
    pub quorum_standby: bool,
    pub pending_restart: bool,
    /// The cluster is in maintenance mode.
    pub pause: bool,
    /// No member holds the leader lock.
    pub cluster_unlocked: bool,
    pub failsafe: bool,
    pub watchdog_failed: bool,
    /// When Patroni last reached its DCS, in seconds since the epoch. Patroni 3.1 and later.
    pub dcs_last_seen: Option<u64>,
    pub tags: Tags,
    pub version: Option<String>,
    pub scope: Option<String>,
    pub name: Option<String>,
}

impl MemberHealth {
    /// # Errors
    /// `BadJson` when the bytes are no JSON object.
    pub fn parse(body: &[u8]) -> Result<Self, ProbeError> {
        let json = object(body)?;
        let patroni = json.get("patroni").cloned().unwrap_or_default();
        Ok(Self {
            state: text(json.get("state")),
            role: text(json.get("role")).map(|role| Role::parse(&role)),
            timeline: number(json.get("timeline")),
            postmaster_start: text(json.get("postmaster_start_time")).and_then(|t| StartTime::parse(&t)),
            system_identifier: text(json.get("database_system_identifier")),
            server_version: number(json.get("server_version")),
            xlog: xlog(json.get("xlog")),
            replication_state: text(json.get("replication_state")),
            sync_standby: truth(json.get("sync_standby")),
            quorum_standby: truth(json.get("quorum_standby")),
            pending_restart: truth(json.get("pending_restart")),
            pause: truth(json.get("pause")),
            cluster_unlocked: truth(json.get("cluster_unlocked")),
            failsafe: truth(json.get("failsafe_mode_is_active")),
            watchdog_failed: truth(json.get("watchdog_failed")),
            dcs_last_seen: number(json.get("dcs_last_seen")),
            tags: tags(json.get("tags")),
            version: text(patroni.get("version")),
            scope: text(patroni.get("scope")),
            name: text(patroni.get("name")),
        })
    }

    pub fn is_running(&self) -> bool {
        self.state.as_deref() == Some("running")
    }

    /// Whether this member holds the leader lock. A primary that was stopped calls itself one still (3.0, paused).
    pub fn leads(&self) -> bool {
        let role = matches!(self.role, Some(Role::Primary | Role::StandbyLeader));
        role && (!self.cluster_unlocked || self.failsafe)
    }

    /// Whether this member shows that its cluster follows another one.
    pub fn in_standby_cluster(&self) -> bool {
        self.role == Some(Role::StandbyLeader)
    }
}

/// How far a member is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    Bytes(u64),
    /// The member never said where it is.
    Unknown,
}

/// One member in `/cluster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMember {
    pub name: String,
    pub role: Option<Role>,
    /// `running`, `streaming`, …
    pub state: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub api_url: Option<String>,
    pub timeline: Option<u32>,
    /// None for the leader.
    pub lag: Option<Lag>,
    pub pending_restart: bool,
    pub tags: Tags,
}

/// What `/cluster` says: the members as the DCS knows them, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    pub members: Vec<ClusterMember>,
    /// Patroni 3.1 and later.
    pub scope: Option<String>,
    pub pause: bool,
}

impl ClusterView {
    /// # Errors
    /// `BadJson` when the bytes are no JSON object with a list of members.
    pub fn parse(body: &[u8]) -> Result<Self, ProbeError> {
        let json = object(body)?;
        let listed = json.get("members").and_then(Value::as_array);
        let listed = listed.ok_or_else(|| ProbeError::BadJson("no list of members".to_owned()))?;
        let mut members: Vec<_> = listed.iter().filter_map(member).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { members, scope: text(json.get("scope")), pause: truth(json.get("pause")) })
    }

    /// The member with the leader lock, the leader of a standby cluster included.
    pub fn leader(&self) -> Option<&ClusterMember> {
        self.members.iter().find(|m| matches!(m.role, Some(Role::Primary | Role::StandbyLeader)))
    }

    pub fn is_standby_cluster(&self) -> bool {
        self.members.iter().any(|m| m.role == Some(Role::StandbyLeader))
    }
}

fn member(json: &Value) -> Option<ClusterMember> {
    Some(ClusterMember {
        name: text(json.get("name"))?,
        role: text(json.get("role")).map(|role| Role::parse(&role)),
        state: text(json.get("state")),
        host: text(json.get("host")),
        port: number(json.get("port")),
        api_url: text(json.get("api_url")),
        timeline: number(json.get("timeline")),
        lag: match json.get("lag") {
            None | Some(Value::Null) => None,
            lag => Some(number(lag).map_or(Lag::Unknown, Lag::Bytes)),
        },
        pending_restart: truth(json.get("pending_restart")),
        tags: tags(json.get("tags")),
    })
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ProbeError> {
    if body.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).count() > VALUES {
        return Err(ProbeError::BadJson(format!("more than {VALUES} values")));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ProbeError::BadJson("no object".to_owned())),
        Err(e) => Err(ProbeError::BadJson(e.to_string())),
    }
}

/// A string, or a number as its digits: releases differ in what they quote.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number<T: TryFrom<u64>>(value: Option<&Value>) -> Option<T> {
    let number = match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    T::try_from(number?).ok()
}

/// Patroni's tags come from YAML: `true`, `"true"` and 1 all occur.
fn truth(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => {
            matches!(text.to_ascii_lowercase().as_str(), "true" | "on" | "yes" | "1")
        }
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        _ => false,
    }
}

fn xlog(value: Option<&Value>) -> Xlog {
    let get = |key| value.and_then(|xlog| xlog.get(key));
    Xlog {
        location: number(get("location")),
        received: number(get("received_location")),
        replayed: number(get("replayed_location")),
        replayed_timestamp: text(get("replayed_timestamp")).and_then(|t| StartTime::parse(&t)),
        paused: get("paused").and_then(Value::as_bool),
    }
}

fn tags(value: Option<&Value>) -> Tags {
    let all = value.and_then(Value::as_object).cloned().unwrap_or_default();
    Tags {
        noloadbalance: truth(all.get("noloadbalance")),
        nofailover: truth(all.get("nofailover")),
        clonefrom: truth(all.get("clonefrom")),
        nosync: truth(all.get("nosync")),
        all,
    }
}
