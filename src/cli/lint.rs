//! `lint`: findings on an inventory, offline.

use super::args::{self, Format, LintArgs};
use super::{FAILED, GOOD, out};
use crate::error::Errors;
use crate::host::real::RealSystem;
use crate::lint::{self, Severity};

pub fn run(a: &LintArgs) -> Result<u8, Errors> {
    let sys = RealSystem::new(None);
    let model = args::offline_model(&sys, &a.source)?;
    let findings = lint::lint(&model);
    match a.source.format {
        Format::Json => out::json(&findings),
        Format::Table => findings.iter().for_each(|f| out::line(&f.to_string())),
    }
    let bad = findings.iter().any(|f| f.severity == Severity::Error);
    if findings.is_empty() {
        out::talk("no findings");
    }
    Ok(if bad { FAILED } else { GOOD })
}
