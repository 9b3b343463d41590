//! One reload for several runs: this run's set with those of the runs that wait for the node.

use super::replace::{Set, replace};
use crate::plan::Action;
use crate::render::Templates;
use crate::report::{Change, Report};
use crate::run::ready::{Ready, cluster_of, ready};
use crate::run::{Node, begin, queue, vip};
use crate::transaction::{Daemon, Transaction};

/// Installs this run's set and those of the runs that wait, with one reload. `None` where there are none, or where it
/// does not work out: then nothing of it is left, and each does its own.
pub(super) fn joint(
    node: &Node<'_>,
    own: &Ready,
    templates: &Templates,
    daemon: &dyn Daemon,
    tx: &Transaction<'_>,
    report: &mut Report,
) -> Option<()> {
    if own.plan.action != Action::Reload {
        return None;
    }
    let guests = queue::guests(node, &own.model);
    if guests.is_empty() {
        return None;
    }
    let mut trial = begin(&own.model);
    let all = queue::together(&own.model, &guests)?;
    let vips = vip::part(node, &all, templates).ok()?;
    let all = ready(node, all, own.installed.clone(), templates, &mut trial).ok()?;
    let set = Set { ready: &all, vips: vips.as_ref().filter(|part| part.moves()), daemon };
    let both = set.together(node);
    let whole = both.plan()?;
    if trial.failed || all.plan.action != Action::Reload || tx.refuses(&both, &whole).is_err() {
        return None;
    }
    let installed = replace(node, &set, Some(&own.model), tx, &mut trial);
    if installed.is_err() || trial.rolled_back {
        return None;
    }
    let changes: Vec<_> = whole.changes.iter().map(|c| (cluster_of(c), Change::of(c))).collect();
    queue::tell(node, &guests, &all.plan.reason, &changes);
    let more =
        if guests.len() == 1 { "1 more run is".into() } else { format!("{} more runs are", guests.len()) };
    trial.msg.push_str(&format!("; {more} served by this reload"));
    trial.warnings.splice(0..0, std::mem::take(&mut report.warnings));
    trial.needs = std::mem::take(&mut report.needs);
    *report = trial;
    Some(())
}
