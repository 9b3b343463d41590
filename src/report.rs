//! What happened, for every edge: the Ansible result and `--format json` are this, the tables are made from it.
//! Nothing is decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;
use crate::explain::connect;
use crate::plan::{Action, Command, FileChange, Hand, Plan};
use crate::request::ResolvedCluster;
use crate::resolve::ResolvedService;
use crate::settings::Options;
use crate::verify::judge::{PortResult, Status};
use crate::verify::stray::{Busy, OldWorker};

/// The outcome of a run. Its JSON form is a stable schema: fields are added, never renamed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub node: String,
    pub changed: bool,
    pub failed: bool,
    /// One sentence for people.
    pub msg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// Why that action.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What a client notices of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub notice: String,
    /// The same of keepalived, where it has a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalived: Option<Part>,
    /// What is done to the running HAProxy, in this order.
    pub commands: Vec<Command>,
    /// What somebody set on the running HAProxy, and what is kept.
    pub by_hand: Vec<Hand>,
    /// The configuration's name in `show info`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hash: String,
    pub changes: Vec<Change>,
    pub clusters: BTreeMap<String, Value>,
    pub verify: Vec<PortResult>,
    /// The members that hold the leader lock, by cluster and by their own word.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub leaders: BTreeMap<String, Vec<String>>,
    /// What the serving worker holds; sessions at a busy place only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<Busy>,
    /// What this node knows of the VIPs that it may hold, by cluster.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vips: BTreeMap<String, Value>,
    /// Workers of earlier configurations that still hold sessions.
    pub old_workers: Vec<OldWorker>,
    pub errors: Vec<Error>,
    pub warnings: Vec<String>,
    /// A failed run that put the old configuration back.
    pub rolled_back: bool,
    /// What the node lacks: `haproxy`; `enable`: the unit does not start at boot.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What a program may want to act on: `restart_needed`, `busy`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
}

/// What is done to a second daemon, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub action: Action,
    pub reason: String,
    pub notice: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Create,
    Replace,
    Remove,
    /// Only mode or owner.
    Attributes,
}

/// One file's change, secrets masked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    pub path: String,
    pub kind: ChangeKind,
    pub before: Arc<str>,
    pub after: Arc<str>,
}

impl Change {
    pub fn of(c: &FileChange) -> Self {
        Self::from(c.clone())
    }
}

impl From<FileChange> for Change {
    fn from(c: FileChange) -> Self {
        let kind = match (&c.before, &c.after) {
            (None, _) => ChangeKind::Create,
            (_, None) => ChangeKind::Remove,
            (Some(b), Some(a)) if *b.content == *a.content.as_bytes() => ChangeKind::Attributes,
            _ => ChangeKind::Replace,
        };
        let text = |bytes: &[u8]| masked(String::from_utf8_lossy(bytes).into());
        Self {
            path: c.path.display().to_string(),
            kind,
            before: c.before.map(|b| text(&b.content)).unwrap_or_default(),
            after: c.after.map(|a| masked(a.content)).unwrap_or_default(),
        }
    }
}

/// Hides what follows a word that says a secret comes, to the line's end: hashes too, which can be guessed at leisure,
/// and secrets of several words.
pub fn mask(text: &str) -> String {
    masked(text.into()).to_string()
}

/// Whether `authorization` may stand there, in letters of any size: it is looked for by its rare one.
fn authorizes(text: &str) -> bool {
    let ends = |head: &str| {
        let tail = head.len().checked_sub("authori".len()).and_then(|at| head.get(at..));
        tail.is_some_and(|tail| tail.eq_ignore_ascii_case("authori"))
    };
    ['z', 'Z'].iter().any(|z| text.split(*z).any(ends))
}

fn masked(text: Arc<str>) -> Arc<str> {
    // Most files say nothing of the kind: they are looked through once, and not word by word.
    if !text.contains("password") && !text.contains("auth") && !authorizes(&text) {
        return text;
    }
    let secret_from = |l: &str| {
        let words: Vec<(usize, &str)> =
            l.split_whitespace().map(|w| (w.as_ptr() as usize - l.as_ptr() as usize, w)).collect();
        words.windows(2).find_map(|pair| match pair {
            [(_, "password" | "insecure-password" | "auth_pass"), (at, _)] => Some(*at),
            [(_, "auth"), (at, pair)] if pair.contains(':') => Some(*at),
            [(_, word), (at, _)] if word.eq_ignore_ascii_case("authorization") => Some(*at),
            _ => None,
        })
    };
    let line = |l: &str| match secret_from(l).and_then(|at| l.get(..at)) {
        Some(head) => format!("{head}********"),
        None => l.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n").into()
}

impl Report {
    pub fn planned(&mut self, plan: &Plan) {
        self.changes = plan.changes.iter().map(Change::of).collect();
        self.said(plan);
    }

    /// The same of a plan that nobody carries out: its files are not held twice.
    pub fn will(&mut self, mut plan: Plan) {
        let changes = std::mem::take(&mut plan.changes);
        self.said(&plan);
        self.changed |= !changes.is_empty();
        self.changes = changes.into_iter().map(Change::from).collect();
    }

    fn said(&mut self, plan: &Plan) {
        self.changed = !plan.is_empty();
        self.action = Some(plan.action.clone());
        self.reason = plan.reason.clone();
        self.notice = plan.action.notice().to_owned();
        self.commands = plan.commands.clone();
        self.by_hand = plan.hands.clone();
        self.hash = plan.hash.clone();
    }

    /// A second daemon's plan, beside the first one's.
    pub fn also_planned(&mut self, plan: &Plan) {
        self.changed |= !plan.is_empty();
        self.changes.extend(plan.changes.iter().map(Change::of));
        if self.action.as_ref().is_none_or(|a| *a == Action::Nothing) {
            self.reason = plan.reason.clone();
        }
        let notice = plan.action.address_notice();
        self.keepalived = Some(Part { action: plan.action.clone(), reason: plan.reason.clone(), notice });
    }

    pub fn fail(&mut self, errors: impl IntoIterator<Item = Error>) {
        self.failed = true;
        self.errors.extend(errors);
    }

    /// The ports that are wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &PortResult> {
        self.verify.iter().filter(|r| r.status == Status::Wrong)
    }

    /// The Ansible result: exactly this object on one line.
    pub fn ansible(&self, diff: bool) -> Value {
        let mut result = json!({
            "changed": self.changed,
            "failed": self.failed,
            "msg": self.message(),
            "warnings": self.warnings,
            "ansible_facts": {"pgsvc": self.facts()},
            "changes": self.changes.iter().map(|c| json!({"path": c.path, "kind": c.kind})).collect::<Vec<_>>(),
            "action": self.action,
            "reason": self.reason,
            "commands": self.commands,
            "by_hand": self.by_hand,
            "rolled_back": self.rolled_back,
        });
        if let Some(map) = result.as_object_mut() {
            if !self.needs.is_empty() {
                map.insert("needs".into(), self.needs.clone().into());
            }
            if !self.code.is_empty() {
                map.insert("code".into(), self.code.clone().into());
            }
            if !self.errors.is_empty() {
                map.insert("errors".into(), self.errors.iter().map(ToString::to_string).collect());
            }
            if diff {
                let one = |c: &Change| json!({"before": c.before, "after": c.after, "before_header": c.path, "after_header": c.path});
                let mut all: Vec<Value> = self.changes.iter().map(one).collect();
                if !self.commands.is_empty() {
                    let lines: Vec<String> =
                        self.commands.iter().map(|c| format!("HAProxy: {c}\n")).collect();
                    all.push(json!({"prepared": lines.concat()}));
                }
                map.insert("diff".into(), all.into());
            }
        }
        result
    }

    /// What later tasks can use. A failed task has no later tasks, and Ansible prints all of its result: then only what
    /// the ports showed.
    fn facts(&self) -> Value {
        if self.failed {
            return json!({"node": self.node, "verify": self.verify, "old_workers": self.old_workers, "vips": self.vips});
        }
        json!({"node": self.node, "clusters": self.clusters, "verify": self.verify, "old_workers": self.old_workers,
            "action": self.action, "hash": self.hash, "vips": self.vips})
    }

    /// The sentence, followed by everything that is wrong.
    pub fn message(&self) -> String {
        let mut lines = vec![self.msg.clone()];
        lines.extend(self.errors.iter().map(ToString::to_string));
        for r in self.wrong() {
            lines.push(wrong_line(r));
        }
        lines.retain(|l| !l.is_empty());
        lines.join("\n")
    }
}

/// A wrong port in one line: port, expected, found, why.
pub fn wrong_line(r: &PortResult) -> String {
    let list = |names: &[String]| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    format!(
        "service '{}' of {} on {}: expected {}, found {}: {}",
        r.service,
        r.cluster,
        r.address,
        list(&r.expected),
        list(&r.found),
        r.why.join("; ")
    )
}

/// A cluster for facts: its services with their members and how to connect.
pub fn cluster(c: &ResolvedCluster, node: &str, options: &Options) -> Value {
    let one = |s: &ResolvedService| (s.service.clone(), service(s, node, options));
    let services: serde_json::Map<String, Value> = c.services.iter().map(one).collect();
    let members: Vec<Value> = c
        .cluster
        .members
        .iter()
        .map(|m| json!({"instance": m.instance, "address": m.address, "role": m.role, "seq": m.seq}))
        .collect();
    json!({"services": services, "members": members})
}

fn service(s: &ResolvedService, node: &str, options: &Options) -> Value {
    let members: Vec<Value> = s
        .servers
        .iter()
        .map(|m| {
            json!({"instance": m.instance, "address": m.address, "port": m.port, "weight": m.weight,
            "as_primary": m.as_primary, "as_replica": m.as_replica})
        })
        .collect();
    let host = match s.binds.first() {
        Some(b) if !b.ip().is_unspecified() => b.ip().to_string(),
        _ => node.to_owned(),
    };
    let database = options.database.as_deref().unwrap_or("postgres");
    let place = [(host, s.port())];
    json!({
        "listener": s.listener, "address": s.binds.first().map(ToString::to_string), "port": s.port(),
        "role": s.expectation, "members": members,
        "url": connect::url("postgres", &place, database),
        "jdbc": connect::url("jdbc:postgresql", &place, database),
        "dsn": connect::dsn(&place, database),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_show_in_a_diff() {
        let text = "userlist x\n    user admin password $6$salt$hash\n  stats auth admin:hunter2\n    http-request auth realm x\n    \
            user two insecure-password \"two words\"\n  http-check send hdr Authorization \"Basic aHVudGVyMg==\"\n";
        let masked = mask(text);
        for secret in ["$6$", "hunter2", "two", "words", "aHVudGVyMg"] {
            assert!(!masked.replace("user two", "").contains(secret), "{secret}: {masked}");
        }
        assert!(
            masked.contains("user admin password ********\n") && masked.contains("auth realm x"),
            "{masked}"
        );
        assert_eq!(mask("global\n"), "global\n");
    }

    #[test]
    fn runtime_commands_and_hands_are_in_the_result_and_in_the_diff() {
        let weight = Command::Weight { backend: "a".into(), server: "m".into(), from: 100, to: 40 };
        let r = Report { action: Some(Action::Runtime), commands: vec![weight], ..Report::default() };
        let v = r.ansible(true);
        assert_eq!(
            (&v["action"], &v["commands"][0]["do"], &v["commands"][0]["to"]),
            (&json!("runtime"), &json!("weight"), &json!(40))
        );
        assert_eq!(v["diff"], json!([{"prepared": "HAProxy: weight of m in a: 100 → 40\n"}]));
        assert!(v["by_hand"].is_array() && r.ansible(false)["diff"].is_null());
    }

    #[test]
    fn the_ansible_result_has_what_ansible_wants() {
        let mut r = Report { node: "n".into(), ..Report::default() };
        r.fail([Error::new("a", "b")]);
        let v = r.ansible(true);
        assert_eq!(
            (v["failed"].as_bool(), v["changed"].as_bool(), v["msg"].as_str()),
            (Some(true), Some(false), Some("a: b"))
        );
        assert!(v["warnings"].is_array() && v["diff"].is_array());
    }
}
