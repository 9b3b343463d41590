//! `lint`: findings on an inventory, offline.

use super::args::{self, LintArgs, LintFormat};
use super::{FAILED, GOOD, out};
use crate::error::{Error, Errors, nearest};
use crate::host::real::RealSystem;
use crate::inventory::{Inventory, cluster};
use crate::lint::{self, Found, RULES, Severity};
use crate::request;
use crate::resolve::RoleSource;

pub fn run(a: &LintArgs) -> Result<u8, Errors> {
    if let Some(code) = &a.explain {
        return explain(code);
    }
    let Some(path) = &a.inventory else { return Ok(super::USAGE) };
    let sys = RealSystem::new(None);
    let found = match args::inventory(&sys, path) {
        Ok(inventory) => look(&inventory, a, &path.display().to_string())?,
        Err(errors) => lint::broken(&errors),
    };
    print(&found, a, &path.display().to_string());
    Ok(if found.count(Severity::Error) > 0 { FAILED } else { GOOD })
}

fn explain(code: &str) -> Result<u8, Errors> {
    match lint::rule(code) {
        Some(rule) => out::text(&lint::human::explain(rule)),
        None => {
            let known = || RULES.iter().flat_map(|r| [r.code, r.name]);
            let error = Error::new(format!("code '{}'", code.escape_debug()), "is none");
            return Err(match nearest(code, known()) {
                Some(near) => error.hint(format!("did you mean '{near}'?")),
                None => error.hint("docs/lint.md lists them"),
            }
            .into());
        }
    }
    Ok(GOOD)
}

fn look(inventory: &Inventory, a: &LintArgs, path: &str) -> Result<Found, Errors> {
    let all = || cluster::names(inventory.hosts.iter().map(|h| &h.vars));
    let clusters = match (&a.host, a.clusters.as_slice()) {
        (None, []) => all(),
        (host, only) => request::in_scope(inventory, host.as_deref(), only)?,
    };
    if clusters.is_empty() {
        return Err(Error::new(path, "has no cluster").hint("give its hosts pg_cluster and pg_seq").into());
    }
    let roles = a.role_source.as_deref().map(|r| match r {
        "inventory" => RoleSource::Inventory,
        _ => RoleSource::Patroni,
    });
    Ok(lint::lint(inventory, &clusters, roles))
}

fn print(found: &Found, a: &LintArgs, path: &str) {
    match a.format {
        LintFormat::Json => out::json(&found.findings),
        LintFormat::Sarif => out::json(&lint::sarif::sarif(found, path)),
        LintFormat::Table => {
            for (severity, line) in lint::human::lines(found, a.verbose) {
                let colour = match severity {
                    Some(Severity::Error) => "31",
                    Some(Severity::Warning) => "33",
                    _ => "",
                };
                let line = if colour.is_empty() { line } else { out::colour(&line, colour) };
                out::line(&line);
            }
            out::talk(&lint::human::summary(found));
        }
    }
}
