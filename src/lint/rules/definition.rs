//! What is wrong with a definition itself: errors of reading, each with its code.

use super::super::place;
use super::super::sink::{self, Object, Sink, rule_of};
use super::super::view::{ClusterView, View};
use super::super::{Rule, Severity};
use crate::error::{Error, nearest};
use crate::settings::OPTIONS;

pub static INVALID: Rule = Rule {
    code: "PGS001",
    name: "invalid",
    severity: Severity::Error,
    title: "A definition that an apply refuses",
    reason: "Nothing of the cluster is installed while one of its values cannot be used.",
    fix: "",
    bad: "pg_services_extra:\n  - {name: ro, src_port: 70000, selector: '[]', check_url: /read-only}",
    good: "pg_services_extra:\n  - {name: ro, src_port: 7000, selector: '[]', check_url: /read-only}",
    check: errors,
};

pub static READ_OTHERWISE: Rule = Rule {
    code: "PGS002",
    name: "read-otherwise",
    severity: Severity::Warning,
    title: "The inventory is read in a way that its author may not have meant",
    reason: "Ansible takes the last of two equal keys and skips what it does not know, without an error.",
    fix: "write it once, and where Ansible looks for it",
    bad: "pg_rto: fast\npg_rto: norm",
    good: "pg_rto: norm",
    check: warnings,
};

pub static UNKNOWN_SETTING: Rule = Rule {
    code: "PGS003",
    name: "unknown-setting",
    severity: Severity::Warning,
    title: "A variable that is nearly one of pgsvc's",
    reason: "Nobody reads a misspelt variable, and the default counts.",
    fix: "",
    bad: "pgsvc_role_sorce: inventory",
    good: "pgsvc_role_source: patroni",
    check: settings,
};

pub static MIXED_DIALECTS: Rule = Rule {
    code: "PGS004",
    name: "mixed-dialects",
    severity: Severity::Error,
    title: "Two notations in one entry or one list",
    reason: "`pg_services` is the whole set with `src_port` and adds to the defaults with `port`: a mixture could be either.",
    fix: "write all entries of a list the same way",
    bad: "pg_services:\n  - {name: a, src_port: 5440, selector: '[]', check_url: /primary}\n  - {name: b, port: 5441, selector: '[]', check: /primary}",
    good: "pg_services:\n  - {name: a, port: 5440, selector: '[]', check: /primary}\n  - {name: b, port: 5441, selector: '[]', check: /primary}",
    check: none,
};

pub static BAD_IGNORE: Rule = Rule {
    code: "PGS005",
    name: "bad-ignore",
    severity: Severity::Warning,
    title: "An entry of pgsvc_lint_ignore that ignores nothing",
    reason: "A finding is left out for a reason that the next reader can check.",
    fix: "give it a code and a reason",
    bad: "pg_services_extra:\n  - {name: a, src_port: 5440, selector: '[]', check_url: /replica?lag=0}\npgsvc_lint_ignore:\n  - {code: PGS041}",
    good: "pg_services_extra:\n  - {name: a, src_port: 5440, selector: '[]', check_url: /replica?lag=0}\npgsvc_lint_ignore:\n  - {code: PGS041, service: a, reason: read by nobody while writes run}",
    check: none,
};

pub static UNUSED_IGNORE: Rule = Rule {
    code: "PGS006",
    name: "unused-ignore",
    severity: Severity::Note,
    title: "An entry of pgsvc_lint_ignore for something that is not found",
    reason: "It would hide the next finding of that code. What an apply refuses cannot be ignored.",
    fix: "take it out",
    bad: "pgsvc_lint_ignore:\n  - {code: PGS041, reason: once it was}",
    good: "pg_services_extra:\n  - {name: a, src_port: 5440, selector: '[]', check_url: /replica?lag=0}\npgsvc_lint_ignore:\n  - {code: lag-zero, reason: read by nobody while writes run}",
    check: none,
};

pub static DUPLICATE_NAME: Rule = Rule {
    code: "PGS010",
    name: "duplicate-name",
    severity: Severity::Error,
    title: "Two services of one name, or two members of one number",
    reason: "Names of listeners and servers come from them, and HAProxy wants each once.",
    fix: "names are unique within a cluster",
    bad: "pg_services_extra:\n  - {name: primary, src_port: 5440, selector: '[]', check_url: /primary}",
    good: "pg_services_extra:\n  - {name: primary2, src_port: 5440, selector: '[]', check_url: /primary}",
    check: none,
};

pub static LISTENER_NAME: Rule = Rule {
    code: "PGS013",
    name: "listener-name",
    severity: Severity::Error,
    title: "A listener's name that something else has",
    reason: "Cluster and service make the name: `pg` with `test-primary` and `pg-test` with `primary` make the same. Backends made for a service end in -backup and -check1.",
    fix: "rename one of the two",
    bad: "pg_services_extra:\n  - {name: replica-backup, src_port: 5440, selector: '[]', check_url: /replica}",
    good: "pg_services_extra:\n  - {name: replica-spare, src_port: 5440, selector: '[]', check_url: /replica}",
    check: none,
};

/// For rules that errors of reading, or suppressions, carry.
pub fn none(_: &View<'_>, _: &mut Sink) {}

fn errors(view: &View<'_>, sink: &mut Sink) {
    for c in &view.clusters {
        c.errors.iter().for_each(|e| refused(view, Some(c), e, sink));
    }
    for n in &view.nodes {
        n.errors.iter().for_each(|e| refused(view, None, e, sink));
    }
}

/// An error of reading as a finding.
pub fn refused(view: &View<'_>, c: Option<&ClusterView<'_>>, error: &Error, sink: &mut Sink) {
    let found = place::of_error(view, c, error);
    let object =
        Object { cluster: c.map(|c| c.cluster.name.clone()), name: found.object, ..Object::default() };
    let colon = if found.rest.is_empty() { "" } else { ": " };
    let what = format!("{}{colon}{}", found.rest, error.what);
    if let Some(raw) = sink.add_as(rule_of(error), object, found.place, what) {
        raw.fix.clone_from(&error.hint);
        raw.refused = true;
    }
}

fn warnings(view: &View<'_>, sink: &mut Sink) {
    for text in &view.inventory.warnings {
        let (at, what) = text.split_once(": ").unwrap_or(("inventory", text));
        let (place, name) = sink::in_file(at);
        sink.add(Object { name, ..Object::default() }, place, what.to_owned());
    }
}

/// Variables of the role and of lint beside the options.
const MORE: [&str; 5] = ["clusters", "services", "services_extra", "default_services", "lint_ignore"];

fn settings(view: &View<'_>, sink: &mut Sink) {
    let known = || OPTIONS.into_iter().chain(MORE);
    for n in &view.nodes {
        for name in n.host.vars.keys() {
            let Some(option) = name.strip_prefix("pgsvc_") else { continue };
            if known().any(|k| k == option) {
                continue;
            }
            let near = nearest(option, known()).map(|k| format!("did you mean 'pgsvc_{k}'?"));
            let raw = sink.host(n.host, name, format!("nobody reads '{}'", name.escape_debug()));
            if let Some(raw) = raw {
                raw.severity = if near.is_some() { Severity::Warning } else { Severity::Note };
                raw.fix = near.unwrap_or_else(|| "see the role's page for what there is".into());
            }
        }
    }
}
