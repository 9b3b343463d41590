//! What a change of the files came to: ports that it made worse, and one sentence for people. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Action, Installed, Plan};
use crate::transaction::Failure;
use crate::verify::judge::{PortResult, Status};

/// What was seen of ports that somebody listened on: one that this run creates was neither right nor wrong before.
pub fn served(before: Vec<PortResult>, installed: &Installed) -> Vec<PortResult> {
    let ports: BTreeSet<u16> =
        installed.files.values().flat_map(|f| crate::plan::binds(&f.content)).map(|b| b.port()).collect();
    before.into_iter().filter(|r| ports.contains(&r.port)).collect()
}

/// Ports that this run made worse: right before or new, and now misled although members are there to serve. A cluster
/// that is unhealthy for its own reasons is no reason to roll back.
pub fn worse(before: &[PortResult], after: &[PortResult]) -> Vec<String> {
    let was: BTreeMap<(&str, &str, &str), Status> = before
        .iter()
        .map(|r| ((r.cluster.as_str(), r.service.as_str(), r.address.as_str()), r.status))
        .collect();
    let made_worse = |r: &&PortResult| {
        let wrong_before =
            was.get(&(r.cluster.as_str(), r.service.as_str(), r.address.as_str())) == Some(&Status::Wrong);
        r.status == Status::Wrong && r.misled && !wrong_before
    };
    after.iter().filter(made_worse).map(|r| format!("{}-{} ({})", r.cluster, r.service, r.address)).collect()
}

pub fn files(n: usize) -> String {
    if n == 1 { "1 file".to_owned() } else { format!("{n} files") }
}

/// One sentence: what was done to a daemon's files and to itself, or `would` be.
pub fn summary(plan: &Plan, daemon: &str, would: bool) -> String {
    if plan.is_empty() {
        return "nothing to do".into();
    }
    let files = files(plan.changes.len());
    let (does, done) = match plan.action {
        Action::Nothing => ("", ""),
        Action::Runtime => ("change", "changed while it runs"),
        Action::Reload => ("reload", "reloaded"),
        Action::Restart => ("restart", "restarted"),
        Action::Start => ("start", "started"),
        Action::Stop => ("stop", "stopped"),
    };
    match (would, &plan.action) {
        (false, Action::Nothing) => format!("{files} changed"),
        (false, _) => format!("{files} changed, {daemon} {done}"),
        (true, Action::Nothing) => format!("would change {files}"),
        (true, Action::Runtime) => format!("would change {files}, {does} {daemon} while it runs"),
        (true, _) => format!("would change {files}, {does} {daemon}"),
    }
}

/// What serves after a set was taken back again, or was to be.
pub fn back(is_back: bool) -> &'static str {
    if is_back { "the old configuration is back and serves" } else { "rolling back failed as well" }
}

/// What a set that was not installed means for the node.
pub fn left(failure: &Failure) -> &'static str {
    match (failure.rolled_back.is_ok(), failure.touched) {
        (true, false) => "nothing was changed",
        (is_back, _) => back(is_back),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::InstalledFile;

    fn port(service: &str, status: Status, misled: bool) -> PortResult {
        PortResult { status, misled, ..PortResult::new("a", service, 1, "x") }
    }

    #[test]
    fn only_what_this_run_made_worse_is_undone() {
        let before = [port("right", Status::Ok, false), port("was-wrong", Status::Wrong, true)];
        let after = [
            port("right", Status::Wrong, true),
            port("was-wrong", Status::Wrong, true),
            port("new", Status::Wrong, true),
            port("sick", Status::Wrong, false),
        ];
        assert_eq!(worse(&before, &after), ["a-right (x)", "a-new (x)"]);
    }

    #[test]
    fn a_port_that_nobody_listened_on_was_not_wrong_before() {
        let refused = |n: u16| PortResult { port: n, ..port(&n.to_string(), Status::Wrong, true) };
        let old =
            InstalledFile { content: b"listen a-1\n    bind *:1\n".to_vec().into(), mode: 0, uid: 0, gid: 0 };
        let installed = Installed { files: [("/x.cfg".into(), old)].into(), ..Installed::default() };
        let before = served(vec![refused(1), refused(2)], &installed);
        assert_eq!(worse(&before, &[refused(1), refused(2)]), ["a-2 (x)"]);
    }
}
