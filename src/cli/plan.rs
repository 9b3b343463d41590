//! `plan`: what would change, as a diff.

use std::mem::ManuallyDrop;

use serde_json::Value;

use super::args::{self, Flags, Format, PlanArgs};
use super::{CHANGES, FAILED, GOOD, node, out};
use crate::error::Errors;
use crate::host::real::RealSystem;
use crate::plan::Action;
use crate::report::Report;
use crate::request;
use crate::run;

/// The report, each of its changes with its diff: a program need not make one to show it.
fn json(report: &Report) -> Value {
    // By way of the text, which is made for other verbs too: a second serializer of all that costs a small binary more.
    let text = serde_json::to_string_pretty(report).unwrap_or_default();
    let mut value: Value = serde_json::from_str(&text).unwrap_or_default();
    let changes = value.get_mut("changes").and_then(Value::as_array_mut);
    for (change, c) in changes.into_iter().flatten().zip(&report.changes) {
        if let Some(change) = change.as_object_mut() {
            change.insert("diff".into(), out::plain_diff(c).into());
        }
    }
    value
}

/// What would be done to each daemon, why, and what of it a client notices.
fn steps(report: &Report) -> String {
    if !report.changed {
        return String::new();
    }
    let mut text = String::new();
    let mut part = |name: &str, done: Vec<String>, reason: &str, notice: &str| {
        done.iter().for_each(|d| text.push_str(&format!("{name}: {d}\n")));
        text.push_str(&format!("    why: {reason}\n    clients notice: {notice}\n"));
    };
    if let Some(action) = &report.action {
        let commands: Vec<String> = report.commands.iter().map(ToString::to_string).collect();
        let done = if commands.is_empty() { vec![word(action).to_owned()] } else { commands };
        let idle = *action == Action::Nothing && report.keepalived.is_some();
        // Where only keepalived's files change, nothing is to be said of HAProxy.
        if !idle {
            part("HAProxy", done, &report.reason, &report.notice);
        }
    }
    if let Some(k) = &report.keepalived {
        part("keepalived", vec![word(&k.action).to_owned()], &k.reason, k.notice);
    }
    text
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Nothing => "nothing is done to it",
        Action::Runtime => "changed while it runs",
        Action::Reload => "reload",
        Action::Restart => "restart",
        Action::Start => "start",
        Action::Stop => "stop",
    }
}

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
    request.brief = a.source.format == Format::Table;
    // The process ends with it: to give a thousand clusters back piece by piece would be work for nobody.
    let model = ManuallyDrop::new(request::model(request)?);
    let report = run::apply::apply(&node, &model);
    match a.source.format {
        Format::Json => out::json(&json(&report)),
        Format::Table => {
            out::diffs(&report.changes);
            out::text(&steps(&report));
            out::report(&report, a.source.verbose);
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
