//! pgsvc's own units of systemd as a run leaves them: wanted, running, and nothing of them left behind.

use std::path::Path;

use super::{Node, metrics, unit_file};
use crate::daemon::{metrics_unit, own_unit, systemd, watch_unit};
use crate::plan::{Plan, RenderedFile};
use crate::report::Report;
use crate::request::Model;

/// The files of the units that a model wants.
pub(super) fn wanted(node: &Node<'_>, model: &Model) -> Vec<RenderedFile> {
    let unit = |path: &str, content| unit_file(path.into(), content);
    let o = &model.options;
    let watch = o.watch.then(|| unit(watch_unit::OWN.path, watch_unit::unit(&node.paths)));
    let metrics = o.metrics_file.as_ref().map(|file| {
        [
            unit(metrics_unit::SERVICE, metrics_unit::service(&node.paths, file)),
            unit(metrics_unit::OWN.path, metrics_unit::timer()),
        ]
    });
    watch.into_iter().chain(metrics.into_iter().flatten()).collect()
}

/// The units run where their files are. That one does not is told, and fails no run: it will be seen to by the next one.
pub(super) fn settle(node: &Node<'_>, plan: &Plan, report: &mut Report) {
    if node.rooted || !systemd::runs(node.sys) {
        return;
    }
    for (unit, e) in own_unit::settle(node.sys, &|path| plan.changes.iter().any(|c| c.path == path)) {
        let e = e.hint(format!("look at it with 'systemctl status {}'", unit.name));
        report.warnings.push(e.to_string());
    }
    if let Err(e) = forget(node, plan) {
        report.warnings.push(format!("{e}: the collector goes on reading it"));
    }
}

/// A file that nobody writes any more would say for ever what was true once.
fn forget(node: &Node<'_>, plan: &Plan) -> std::io::Result<()> {
    let service = plan.changes.iter().find(|c| c.path == Path::new(metrics_unit::SERVICE));
    let old = service.and_then(|c| metrics_unit::file(&c.before.as_ref()?.content));
    let new = service.and_then(|c| metrics_unit::file(c.after.as_ref()?.content.as_bytes()));
    match old {
        Some(file) if new.as_ref() != Some(&file) => metrics::remove(node.sys, Path::new(&file)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Paths;
    use crate::host::fake::{FakeFile, FakeSystem};
    use crate::plan::{Action, FileChange, InstalledFile};

    const FILE: &str = "/var/lib/collector/pgsvc.prom";

    /// What becomes of a file with this content when the service goes, or writes to `next` from now on.
    fn left(content: &str, next: Option<&str>) -> bool {
        let sys = FakeSystem::default();
        sys.put(FILE, FakeFile { bytes: content.into(), ..FakeFile::default() });
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let text = |file: &str| metrics_unit::service(&node.paths, Path::new(file));
        let before = InstalledFile { content: text(FILE).into_bytes().into(), mode: 0o644, uid: 0, gid: 0 };
        let after = next.map(|file| RenderedFile {
            path: metrics_unit::SERVICE.into(),
            content: text(file).into(),
            mode: 0o644,
            owner: ("root".into(), "root".into()),
            cluster: None,
        });
        let change = FileChange { path: metrics_unit::SERVICE.into(), before: Some(before), after };
        let plan = Plan {
            changes: vec![change],
            action: Action::Nothing,
            reason: String::new(),
            commands: Vec::new(),
            hands: Vec::new(),
            hash: String::new(),
            whole: None,
            candidate: Default::default(),
            new_binds: Vec::new(),
            nonlocal_binds: false,
            daemon_reload: true,
        };
        forget(&node, &plan).unwrap();
        sys.state().files.contains_key(Path::new(FILE))
    }

    #[test]
    fn metrics_go_with_the_unit_that_wrote_them_and_files_of_others_stay() {
        let ours = "# HELP pgsvc_port_ok x\n";
        assert!(!left(ours, None), "the unit goes");
        assert!(!left(ours, Some("/elsewhere/pgsvc.prom")), "the file is another one");
        assert!(left(ours, Some(FILE)), "only the unit's text changes");
        assert!(left("# HELP node_load1 x\n", None), "somebody else's");
    }
}
