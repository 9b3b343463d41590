//! `plan`: what would change, as a diff.

use super::args::{self, Flags, Format, PlanArgs};
use super::{CHANGES, FAILED, GOOD, node, out};
use crate::error::Errors;
use crate::host::real::RealSystem;
use crate::plan::Action;
use crate::request;
use crate::run;

pub fn run(a: &PlanArgs) -> Result<u8, Errors> {
    let files = RealSystem::new(None);
    let sys = RealSystem::new(a.consent.root.clone());
    let node = node(&sys, a.consent.root.is_some());
    let mut flags = Flags::default();
    flags.source(&a.source);
    flags.consent(&a.consent);
    // A plan touches nothing: what an apply would need consent for is shown, with the flag that it takes.
    flags.text("allow_restart", Some(true));
    let mut request = args::request(&node, &files, &a.source, &flags)?;
    request.check = true;
    let model = request::model(request)?;
    let report = run::apply::apply(&node, &model);
    match a.source.format {
        Format::Json => out::json(&report),
        Format::Table => {
            report.changes.iter().for_each(|c| out::text(&out::diff(c)));
            report.commands.iter().for_each(|c| out::line(&c.to_string()));
            out::report(&report, a.source.verbose);
            if report.changed && !report.reason.is_empty() {
                out::talk(&format!("why: {}", report.reason));
                out::talk(&format!("clients notice: {}", report.notice));
            }
            if report.action == Some(Action::Restart) && !a.consent.allow_restart {
                out::talk(
                    "an apply needs --allow-restart where HAProxy serves already: a restart cuts every session",
                );
            }
        }
    }
    Ok(match (report.failed, report.changed) {
        (true, _) => FAILED,
        (false, true) => CHANGES,
        (false, false) => GOOD,
    })
}
