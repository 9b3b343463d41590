//! The verbs, for every edge: reads the node, plans, hands the plan to the transaction, verifies, reports.
//! How files change hands is `transaction`'s matter, what a port must prove `verify`'s.

pub mod apply;
mod dry;
pub mod kept;
mod members;
pub mod metrics;
mod outcome;
pub mod ports;
mod queue;
pub mod read;
mod ready;
pub mod recover;
pub mod rollback;
pub mod seed;
pub mod sessions;
mod together;
mod units;
pub mod vip;
pub mod watch;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::{Paths, systemd};
use crate::error::{Error, Errors};
use crate::host::real::RealSystem;
use crate::host::{Kind, System};
use crate::parallel::computed;
use crate::plan::{Action, Installed, Obstacles, Plan, RenderedFile, Wanted};
use crate::render::haproxy as render_haproxy;
use crate::render::haproxy::known::{Earlier, by_name};
use crate::render::{Layout, Templates};
use crate::report::{self, Report};
use crate::request::{Model, State};
use crate::transaction::{Transaction, real_directory};

/// How long a run waits for another one on the same node.
const LOCK: Duration = Duration::from_secs(120);

/// The node a verb works on.
pub struct Node<'a> {
    pub sys: &'a dyn System,
    pub paths: Paths,
    /// Files go below another root: nothing runs there, nothing is reloaded or verified.
    pub rooted: bool,
}

impl Node<'_> {
    pub fn layout(&self) -> Layout {
        Layout {
            config: self.paths.config.clone(),
            conf_d: self.paths.conf_d.clone(),
            stats_socket: self.paths.stats_socket.clone(),
            server_state: self.paths.server_state.clone(),
        }
    }

    /// The files that HAProxy loads here, in its order.
    ///
    /// # Errors
    /// A directory that cannot be listed is no empty one.
    fn config_files(&self) -> Result<Vec<PathBuf>, Error> {
        let (layout, conf_d) = (self.layout(), &self.paths.conf_d);
        let fail = |e| Error::new(conf_d.display().to_string(), format!("cannot be listed: {e}"));
        let names = self.sys.list(conf_d).map_err(fail)?;
        let all = names.into_iter().map(|n| conf_d.join(n)).filter(|p| layout.loads(p));
        Ok(std::iter::once(self.paths.config.clone()).chain(all).collect())
    }

    /// The templates in force: an operator's directory, if there is one, over the built-in ones.
    ///
    /// # Errors
    /// A directory that cannot be read, or templates that are wrong.
    pub fn templates(&self, model: &Model) -> Result<Templates, Errors> {
        let Some(dir) = &model.options.templates else { return Templates::new(&BTreeMap::new()) };
        // An operator's templates lie where he works, also when the files go below another root.
        let real = RealSystem::new(None);
        let sys: &dyn System = if self.rooted { &real } else { self.sys };
        Templates::new(&own_templates(sys, dir)?)
    }

    /// Whether systemd's unit needs the drop-in here.
    fn has_systemd(&self) -> bool {
        self.rooted || systemd::runs(self.sys)
    }
}

/// The templates of a directory: file name → text.
fn own_templates(sys: &dyn System, dir: &Path) -> Result<BTreeMap<String, String>, Error> {
    let place = |path: &Path| path.display().to_string();
    let stat = sys.stat(&dir.join(".")).ok().flatten();
    if stat.is_none_or(|s| s.kind != Kind::Directory) {
        let hint = "templates: a directory with *.hbs files on the node";
        return Err(Error::new(place(dir), "is no directory").hint(hint));
    }
    let names = sys.list(dir).map_err(|e| Error::new(place(dir), format!("cannot be listed: {e}")))?;
    let mut own = BTreeMap::new();
    for name in names.into_iter().filter(|n| n.ends_with(".hbs")) {
        let path = dir.join(&name);
        let bytes = sys.read(&path).map_err(|e| Error::new(place(&path), format!("cannot be read: {e}")))?;
        let text = String::from_utf8(bytes).map_err(|_| Error::new(place(&path), "is no text"))?;
        own.insert(name, text);
    }
    Ok(own)
}

/// Everything a model renders to, but for `00-pgsvc.cfg`, which depends on what else is installed.
///
/// # Errors
/// Templates that cannot be rendered, by cluster.
pub fn wanted(
    node: &Node<'_>,
    model: &Model,
    templates: &Templates,
    installed: &Installed,
    haproxy: Option<PathBuf>,
) -> Result<Wanted, Obstacles> {
    let mut found = Obstacles::default();
    let layout = node.layout();
    // A node that is only a director, or only a member behind one, has no HAProxy of ours.
    let present = model.state == State::Present && model.clusters.values().any(|c| c.proxy);
    let mut services = Vec::new();
    let carried: Vec<_> = model.clusters.iter().filter(|(_, c)| c.proxy).collect();
    let there = by_name(&layout, &installed.files);
    let earlier = Earlier { known: &installed.known, files: &there };
    let rendered = computed(&carried, |(_, c)| {
        let word = c.duty.as_ref().map(|d| render_haproxy::vip(templates, &layout, d, &c.services));
        (render_haproxy::services_since(templates, &layout, &c.services, Some(earlier)), word)
    });
    for ((name, _), (files, word)) in carried.into_iter().zip(rendered) {
        services.extend(found.take(Some(name), files).unwrap_or_default());
        services.extend(word.and_then(|word| found.take(Some(name), word)).flatten());
    }
    let own =
        if present { found.take(None, render_haproxy::node(templates, &layout, &model.node)) } else { None };
    let binary = haproxy.unwrap_or_else(|| "/usr/sbin/haproxy".into());
    let has_units = present && node.has_systemd();
    let units = if has_units { units::wanted(node, model) } else { Vec::new() };
    let dropin =
        has_units.then(|| unit_file(node.paths.dropin.clone(), systemd::dropin(&node.paths, &binary)));
    found.finish(Wanted {
        node: own,
        dropin,
        units,
        services,
        scope: model.clusters.keys().cloned().collect(),
        adopt: model.options.adopt,
        nonlocal_binds: model.options.nonlocal_bind,
    })
}

/// A file of systemd's, that of no cluster.
fn unit_file(path: PathBuf, content: String) -> RenderedFile {
    RenderedFile {
        path,
        content: content.into(),
        mode: 0o644,
        owner: ("root".into(), "root".into()),
        cluster: None,
    }
}

/// What `render` shows: the files of a node that has nothing else. `apart`: of several clusters, whose load balancers may
/// be others, so that what they share on one node means nothing.
///
/// # Errors
/// Templates that cannot be rendered.
pub fn render(node: &Node<'_>, model: &Model, apart: bool) -> Result<Vec<RenderedFile>, Errors> {
    let templates = node.templates(model)?;
    let wanted = wanted(node, model, &templates, &Installed::default(), None)?;
    if apart {
        let mut files: Vec<RenderedFile> =
            wanted.node.into_iter().chain(wanted.dropin).chain(wanted.units).chain(wanted.services).collect();
        files.extend(vip::files(node, model, &templates)?);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        return Ok(files);
    }
    let all = crate::plan::plan(wanted, &Installed::default(), &node.layout(), &templates, None)?;
    let vips = vip::rendered(node, model, &templates)?;
    Ok(all.changes.into_iter().filter_map(|c| c.after).chain(vips).collect())
}

/// Plans against what is installed. Nothing is touched.
///
/// # Errors
/// Everything that stands in the way, by cluster.
pub fn plan(
    node: &Node<'_>,
    model: &Model,
    templates: &Templates,
    installed: &Installed,
) -> Result<Plan, Obstacles> {
    let wanted = wanted(node, model, templates, installed, node.sys.find("haproxy"))?;
    let gid = node.sys.group("haproxy");
    let mut plan = crate::plan::plan(wanted, installed, &node.layout(), templates, gid)?;
    if node.rooted {
        plan.action = Action::Nothing;
        plan.commands.clear();
        plan.reason = "files only: nothing runs in another root".into();
    }
    Ok(plan)
}

/// Takes the node's lock; what an earlier run left unfinished is settled first.
///
/// # Errors
/// When another run has the lock, or the node cannot be put in order.
fn lock<'a>(node: &Node<'a>, report: &mut Report) -> Result<Transaction<'a>, Errors> {
    let begun = Transaction::begin(node.sys, &node.paths.state_dir, LOCK);
    begun
        .inspect_err(|_| {
            // Only a run that may be waited for is "busy"; a full disk is not.
            if is_held(node) {
                report.code = "busy".into();
            }
        })
        .map_err(Errors::from)
}

/// Whether another run has the node's lock right now.
fn is_held(node: &Node<'_>) -> bool {
    let path = node.paths.state_dir.join("lock");
    real_directory(node.sys, &node.paths.state_dir).is_ok()
        && node.sys.lock(&path, Duration::ZERO).err().is_some_and(|e| e.kind() == io::ErrorKind::TimedOut)
}

/// A report with what is known before anything is looked at.
pub fn begin(model: &Model) -> Report {
    let own = model.clusters.values().flat_map(|c| &c.cluster.members).find(|m| m.host == model.node.name);
    let host = own.map_or(model.node.name.as_str(), |m| m.address.as_str());
    let described = model.clusters.iter().filter(|_| !model.brief);
    let mut report = Report {
        node: model.node.name.clone(),
        clusters: described.map(|(n, c)| (n.clone(), report::cluster(c, host, &model.options))).collect(),
        warnings: model.warnings.clone(),
        ..Report::default()
    };
    for errors in model.failed.values() {
        report.fail(errors.0.clone());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::{Fail, FakeSystem};

    #[test]
    fn only_a_lock_that_is_held_is_busy() {
        let sys = FakeSystem::default();
        let node = Node { sys: &sys, paths: Paths::default(), rooted: false };
        let code = || {
            let mut report = Report::default();
            assert!(lock(&node, &mut report).is_err());
            report.code
        };
        let held = Transaction::begin(&sys, &node.paths.state_dir, Duration::ZERO).unwrap();
        assert_eq!(code(), "busy");
        drop(held);
        sys.state().fail = Fail::From(0);
        assert_eq!(code(), "", "a node that cannot be written to");
    }
}
