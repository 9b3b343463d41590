//! `apply` and `rollback`: change the node, and say what came of it.

use super::args::{self, ApplyArgs, Flags, Format, RollbackArgs};
use super::{FAILED, GOOD, PORT_WRONG, node, out};
use crate::error::Errors;
use crate::host::real::RealSystem;
use crate::report::Report;
use crate::request;
use crate::run;

pub fn run(a: &ApplyArgs) -> Result<u8, Errors> {
    let files = RealSystem::new(None);
    let sys = RealSystem::new(a.consent.root.clone());
    let node = node(&sys, a.consent.root.is_some());
    let mut flags = Flags::default();
    flags.source(&a.source);
    flags.consent(&a.consent);
    flags.login(&a.login, &files)?;
    flags.text("verify", a.no_verify.then_some(false));
    let mut request = args::request(&node, &files, &a.source, &flags)?;
    request.brief = a.source.format == Format::Table;
    let model = request::model(request)?;
    let report = run::apply::apply(&node, &model);
    Ok(finish(&report, a.source.format, a.source.verbose))
}

pub fn rollback(a: &RollbackArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let node = node(&sys, false);
    let mut flags = Flags::default();
    flags.source(&a.source);
    flags.login(&a.login, &sys)?;
    // Without a request the files go back all the same; the ports are then not verified, and that is said.
    let request = match &a.source.inventory {
        Some(_) => args::request(&node, &sys, &a.source, &flags),
        None => run::kept::load_previous(&node, &a.source.clusters, &flags.0),
    };
    let model = request.and_then(request::model);
    if let Err(errors) = &model {
        out::errors(errors);
        out::talk("the ports cannot be verified after the rollback");
    }
    let report = run::rollback::rollback(&node, model.as_ref().ok());
    Ok(finish(&report, a.source.format, a.source.verbose))
}

fn finish(report: &Report, format: Format, verbose: bool) -> u8 {
    match format {
        Format::Json => out::json(report),
        Format::Table => out::report(report, verbose),
    }
    match (report.failed, report.errors.is_empty() && report.wrong().next().is_some()) {
        (true, true) if !report.rolled_back => PORT_WRONG,
        (true, _) => FAILED,
        (false, _) => GOOD,
    }
}
