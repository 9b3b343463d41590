//! What of a request can be installed: clusters that stand in their own way are left out and reported, the others go
//! on. Changes nothing.

use std::collections::BTreeSet;

use super::{Node, members};
use crate::error::{Error, Errors};
use crate::plan::{Action, FileChange, Installed, Obstacles, Plan};
use crate::render::Templates;
use crate::render::haproxy::{Owner, owner};
use crate::report::Report;
use crate::request::Model;

/// Whether a daemon would refuse a plan, and why.
pub type Refuses<'a> = dyn Fn(&Plan) -> Result<(), Errors> + 'a;

/// A model that can be planned, with its plan.
pub struct Ready {
    pub model: Model,
    pub plan: Plan,
    pub installed: Installed,
}

/// Plans all clusters at once, without those that cannot be planned.
///
/// # Errors
/// What is the node's matter, or all that is wrong where no cluster is left.
pub fn ready(
    node: &Node<'_>,
    mut model: Model,
    installed: Installed,
    templates: &Templates,
    report: &mut Report,
) -> Result<Ready, Errors> {
    loop {
        match planned(node, &model, templates, &installed) {
            Ok(plan) => {
                consent(&model, &plan, &installed, report)?;
                return Ok(Ready { model, plan, installed });
            }
            Err(found) => leave_out(&mut model, found, report)?,
        }
    }
}

fn planned(
    node: &Node<'_>,
    model: &Model,
    templates: &Templates,
    installed: &Installed,
) -> Result<Plan, Obstacles> {
    let plan = super::plan(node, model, templates, installed)?;
    members::kept(node, model, &plan)?;
    Ok(plan)
}

/// Takes clusters out of the set: what they have installed stays as it is.
///
/// # Errors
/// All that was found, where it is the node's matter or no cluster would be left.
pub(super) fn leave_out(model: &mut Model, found: Obstacles, report: &mut Report) -> Result<(), Errors> {
    let named = |name: &String| found.clusters.contains_key(name);
    let (some, all) = (model.clusters.keys().any(named), model.clusters.keys().all(named));
    if !found.node.is_empty() || !some || all {
        return Err(found.into());
    }
    for (name, errors) in found.clusters {
        model.clusters.remove(&name);
        report.clusters.remove(&name);
        let place = format!("cluster '{name}'");
        let says = [place.clone(), format!("/{name}-"), format!(" of {name}")];
        let within = |e: Error| if says.iter().any(|s| e.place.contains(s)) { e } else { e.within(&place) };
        let errors = Errors(errors.0.into_iter().map(within).collect());
        report.fail(errors.0.clone());
        // Such a run is not one with others, which would ask for the whole of it again.
        model.failed.insert(name, errors);
    }
    Ok(())
}

impl Ready {
    /// The same without the clusters that the daemon refuses.
    ///
    /// # Errors
    /// Why it refuses, where that is no single cluster's matter or no cluster would be left.
    pub fn checked(
        mut self,
        node: &Node<'_>,
        templates: &Templates,
        report: &mut Report,
        refuses: &Refuses<'_>,
    ) -> Result<Self, Errors> {
        while !self.plan.is_empty() {
            let Err(all) = refuses(&self.plan) else { break };
            let found = self.guilty(node, templates, refuses);
            if found.clusters.is_empty() {
                return Err(all);
            }
            leave_out(&mut self.model, found, report)?;
            self = ready(node, self.model, self.installed, templates, report)?;
        }
        Ok(self)
    }

    /// The changed clusters that are refused alone, on top of what is installed.
    fn guilty(&self, node: &Node<'_>, templates: &Templates, refuses: &Refuses<'_>) -> Obstacles {
        let mut found = Obstacles::default();
        if self.model.clusters.len() < 2 {
            return found;
        }
        for name in changed(&self.plan) {
            let mut one = self.model.clone();
            one.clusters.retain(|n, _| *n == name);
            // One that cannot be planned alone needs what another gives up: it is not the daemon that refuses it.
            if let Ok(plan) = planned(node, &one, templates, &self.installed) {
                found.take(Some(&name), refuses(&plan));
            }
        }
        found
    }
}

/// The clusters whose files a plan changes.
fn changed(plan: &Plan) -> BTreeSet<String> {
    plan.changes.iter().filter_map(cluster_of).collect()
}

/// Whose file it is, or was.
pub fn cluster_of(c: &FileChange) -> Option<String> {
    match (&c.after, &c.before) {
        (Some(file), _) => file.cluster.clone(),
        (None, Some(before)) => match owner(&before.content) {
            Some(Owner::Cluster { cluster, .. }) => Some(cluster),
            _ => None,
        },
        (None, None) => None,
    }
}

/// A restart cuts every session: on a load balancer that serves already it needs consent.
fn consent(model: &Model, plan: &Plan, installed: &Installed, report: &mut Report) -> Result<(), Error> {
    if plan.action != Action::Restart || model.options.allow_restart || installed.pristine {
        return Ok(());
    }
    report.code = "restart_needed".into();
    Err(Error::new("haproxy", format!("a restart is needed, which cuts every session: {}", plan.reason))
        .hint("choose the moment and pass --allow-restart (allow_restart: true)"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::daemon::Paths;
    use crate::host::fake::FakeSystem;
    use crate::request;

    /// Three clusters with one service each, on a node without HAProxy; `refused` is what the daemon says of a plan.
    fn tried(refused: impl Fn(&str) -> bool) -> (Result<Vec<String>, String>, Report) {
        let one = |name: &str, port: u16| {
            json!({"inventory_hostname": format!("10.0.0.{}", port - 6000), "pg_cluster": name, "pg_seq": 1,
                "pg_services": [{"name": "x", "src_port": port, "selector": "[]"}]})
        };
        let args = json!({"members": [one("a", 6001), one("b", 6002), one("c", 6003)]});
        let args = request::from_arguments(args.as_object().unwrap()).unwrap();
        let model = request::model(args).unwrap();
        let sys = FakeSystem::default();
        let node = Node { sys: &sys, paths: Paths::default(), rooted: true };
        let templates = Templates::new(&BTreeMap::new()).unwrap();
        let mut report = Report::default();
        let refuses = |plan: &Plan| {
            let bad = changed(plan).into_iter().filter(|n| refused(n)).collect::<Vec<_>>();
            if bad.is_empty() {
                Ok(())
            } else {
                Err(Error::new("haproxy -c", format!("refuses {bad:?}")).into())
            }
        };
        let found = ready(&node, model, Installed::default(), &templates, &mut report)
            .and_then(|r| r.checked(&node, &templates, &mut report, &refuses));
        (found.map(|r| r.model.clusters.into_keys().collect()).map_err(|e| e.to_string()), report)
    }

    #[test]
    fn what_the_daemon_refuses_of_one_cluster_blocks_no_other() {
        let (left, report) = tried(|n| n == "b");
        assert_eq!((left.unwrap(), report.failed), (vec!["a".to_owned(), "c".to_owned()], true));
        assert_eq!(report.errors[0].to_string(), "cluster 'b': haproxy -c: refuses [\"b\"]");
        let (left, report) = tried(|_| false);
        assert_eq!((left.unwrap().len(), report.failed), (3, false));
    }

    #[test]
    fn what_it_refuses_of_all_is_refused() {
        let (left, report) = tried(|_| true);
        let error = left.unwrap_err();
        assert!(
            error.contains("[\"a\"]") && error.contains("[\"c\"]") && report.errors.is_empty(),
            "{error}"
        );
    }
}
