//! What a change of the files came to: ports that it made worse, and one sentence for people. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Action, Installed, Plan};
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

/// One sentence: what was or would be done.
pub fn summary(plan: &Plan, would: &str) -> String {
    if plan.is_empty() {
        return "nothing to do".into();
    }
    let files = files(plan.changes.len());
    let action = match (&plan.action, would.is_empty()) {
        (Action::Nothing, _) => String::new(),
        (Action::Runtime, true) => ", HAProxy changed while it runs".into(),
        (Action::Runtime, false) => ", change HAProxy while it runs".into(),
        (Action::Reload, true) => ", HAProxy reloaded".into(),
        (Action::Restart, true) => ", HAProxy restarted".into(),
        (Action::Start, true) => ", HAProxy started".into(),
        (Action::Stop, true) => ", HAProxy stopped".into(),
        (Action::Reload, false) => ", reload HAProxy".into(),
        (Action::Restart, false) => ", restart HAProxy".into(),
        (Action::Start, false) => ", start HAProxy".into(),
        (Action::Stop, false) => ", stop HAProxy".into(),
    };
    match (would.is_empty(), files.is_empty()) {
        (true, false) => format!("{files} changed{action}"),
        (false, false) => format!("would change {files}{action}"),
        (true, true) => action.trim_start_matches(", ").to_owned(),
        (false, true) => format!("would {}", action.trim_start_matches(", ")),
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
        let old = InstalledFile { content: b"listen a-1\n    bind *:1\n".to_vec(), mode: 0, uid: 0, gid: 0 };
        let installed = Installed { files: [("/x.cfg".into(), old)].into(), ..Installed::default() };
        let before = served(vec![refused(1), refused(2)], &installed);
        assert_eq!(worse(&before, &[refused(1), refused(2)]), ["a-2 (x)"]);
    }
}
