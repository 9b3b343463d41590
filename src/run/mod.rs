//! The verbs, for every edge: reads the node, plans, hands the plan to the transaction, verifies, reports.
//! How files change hands is `transaction`'s matter, what a port must prove `verify`'s.

pub mod apply;
pub mod kept;
pub mod ports;
pub mod read;
pub mod recover;
pub mod rollback;

use std::path::PathBuf;

use crate::daemon::{Paths, systemd};
use crate::error::{Error, Errors};
use crate::host::System;
use crate::plan::{Action, Installed, Plan, RenderedFile, Wanted};
use crate::render::haproxy::{self as render_haproxy, Owner};
use crate::render::{Layout, Templates};
use crate::report::{self, Report};
use crate::request::{Model, State};

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
        }
    }

    /// The templates in force: an operator's directory, if there is one, over the built-in ones.
    ///
    /// # Errors
    /// A directory that cannot be read, or templates that are wrong.
    pub fn templates(&self, model: &Model) -> Result<Templates, Errors> {
        let mut own = std::collections::BTreeMap::new();
        if let Some(dir) = &model.options.templates {
            let place = dir.display().to_string();
            let stat = self.sys.stat(&dir.join(".")).ok().flatten();
            if stat.is_none_or(|s| s.kind != crate::host::Kind::Directory) {
                return Err(Error::new(place, "is no directory").hint("templates: a directory with *.hbs files on the node").into());
            }
            for name in self.sys.list(dir).unwrap_or_default().into_iter().filter(|n| n.ends_with(".hbs")) {
                let bytes = self.sys.read(&dir.join(&name)).map_err(|e| Error::new(dir.join(&name).display().to_string(), e.to_string()))?;
                let text = String::from_utf8(bytes).map_err(|_| Error::new(dir.join(&name).display().to_string(), "is no text"))?;
                own.insert(name, text);
            }
        }
        Templates::new(&own)
    }

    /// Whether systemd's unit needs the drop-in here.
    fn has_systemd(&self) -> bool {
        self.rooted || systemd::runs(self.sys)
    }
}

/// Everything a model renders to, but for `00-pgsvc.cfg`, which depends on what else is installed.
///
/// # Errors
/// Templates that cannot be rendered.
pub fn wanted(node: &Node<'_>, model: &Model, templates: &Templates, haproxy: Option<PathBuf>) -> Result<Wanted, Errors> {
    let mut errors = Errors::default();
    let layout = node.layout();
    let present = model.state == State::Present;
    let mut services = Vec::new();
    for c in model.clusters.values() {
        services.extend(errors.take(render_haproxy::services(templates, &layout, &c.services)).unwrap_or_default());
    }
    let own = if present { errors.take(render_haproxy::node(templates, &layout, &model.node)) } else { None };
    let binary = haproxy.unwrap_or_else(|| "/usr/sbin/haproxy".into());
    let dropin = (present && node.has_systemd()).then(|| RenderedFile {
        path: node.paths.dropin.clone(),
        content: systemd::dropin(&node.paths, &binary),
        mode: 0o644,
        owner: ("root".into(), "root".into()),
        cluster: None,
    });
    errors.finish(Wanted {
        node: own,
        dropin,
        services,
        scope: model.clusters.keys().cloned().collect(),
        adopt: model.options.adopt,
        nonlocal_binds: model.options.nonlocal_bind,
    })
}

/// What `render` shows: the files of a node that has nothing else.
///
/// # Errors
/// Templates that cannot be rendered.
pub fn render(node: &Node<'_>, model: &Model) -> Result<Vec<RenderedFile>, Errors> {
    let templates = node.templates(model)?;
    let wanted = wanted(node, model, &templates, None)?;
    let all = crate::plan::plan(&wanted, &Installed::default(), &node.layout(), &templates, None)?;
    Ok(all.changes.into_iter().filter_map(|c| c.after).collect())
}

/// Plans against what is installed. Nothing is touched.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan(node: &Node<'_>, model: &Model, templates: &Templates) -> Result<(Plan, Installed), Errors> {
    let installed = read::installed(node)?;
    let wanted = wanted(node, model, templates, node.sys.find("haproxy"))?;
    let mut plan = crate::plan::plan(&wanted, &installed, &node.layout(), templates, node.sys.group("haproxy"))?;
    if node.rooted {
        plan.action = Action::Nothing;
        plan.reason = "files only: nothing runs in another root".into();
    }
    Ok((plan, installed))
}

/// A report with what is known before anything is looked at.
pub fn begin(model: &Model) -> Report {
    let own = model.clusters.values().flat_map(|c| &c.cluster.members).find(|m| m.host == model.node.name);
    let host = own.map_or(model.node.name.as_str(), |m| m.address.as_str());
    let mut report = Report {
        node: model.node.name.clone(),
        clusters: model.clusters.iter().map(|(n, c)| (n.clone(), report::cluster(c, host, &model.options))).collect(),
        warnings: model.warnings.clone(),
        ..Report::default()
    };
    for errors in model.failed.values() {
        report.fail(errors.0.clone());
    }
    report
}

/// The clusters whose files are installed, by their managed headers.
pub fn installed_clusters(installed: &Installed) -> Vec<String> {
    let owner = |f: &crate::plan::InstalledFile| match render_haproxy::owner(&f.content) {
        Some(Owner::Cluster { cluster, .. }) => Some(cluster),
        _ => None,
    };
    let mut names: Vec<String> = installed.files.values().filter_map(owner).collect();
    names.sort();
    names.dedup();
    names
}
