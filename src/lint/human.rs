//! Findings for people: by cluster, as they stand in the files, at most a hundred columns wide.

use super::{Finding, Found, Rule, Severity};

const WIDTH: usize = 100;

/// A line as it is printed, and the severity that may colour it.
pub type Line = (Option<Severity>, String);

/// All findings; with `all`, the ignored ones too.
#[must_use]
pub fn lines(found: &Found, all: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut group: Option<&Option<String>> = None;
    for f in &found.findings {
        if group != Some(&f.cluster) {
            if group.is_some() {
                lines.push((None, String::new()));
            }
            lines.push((None, f.cluster.clone().unwrap_or_else(|| "inventory".into())));
            group = Some(&f.cluster);
        }
        one(f, &mut lines);
    }
    if all && !found.ignored.is_empty() {
        lines.push((None, "ignored".into()));
        for (f, reason) in &found.ignored {
            let text = format!("{} {}: {}: {}", f.code, f.name, f.object, f.what);
            wrapped(&mut lines, "  ", &text);
            wrapped(&mut lines, "      reason: ", reason);
        }
    }
    lines
}

fn one(f: &Finding, lines: &mut Vec<Line>) {
    let place = f.place.as_ref().map_or_else(String::new, ToString::to_string);
    let head = format!("  {:<8}{} {}", f.severity, f.code, f.name);
    let both = format!("{head}  {place}");
    if both.chars().count() <= WIDTH {
        lines.push((Some(f.severity), both.trim_end().to_owned()));
    } else {
        lines.push((Some(f.severity), head));
        lines.push((None, format!("      {place}")));
    }
    wrapped(lines, "      ", &format!("{}: {}", f.object, f.what));
    if !f.fix.is_empty() {
        wrapped(lines, "      fix: ", &f.fix);
    }
}

/// What was found, in a sentence.
#[must_use]
pub fn summary(found: &Found) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let kinds = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Note, "note")];
    let parts: Vec<String> = kinds
        .iter()
        .map(|(s, w)| (found.count(*s), *w))
        .filter(|(n, _)| *n > 0)
        .map(|(n, w)| count(n, w))
        .collect();
    let ignored = match found.ignored.len() {
        0 => String::new(),
        n => format!(" ({n} ignored: -v shows them)"),
    };
    match parts.is_empty() {
        true => format!("no findings{ignored}"),
        false => format!("{}{ignored}; pgsvc lint --explain CODE says more", parts.join(", ")),
    }
}

/// A rule as `--explain` shows it.
#[must_use]
pub fn explain(rule: &Rule) -> String {
    let mut lines = vec![(None, format!("{} {} ({})", rule.code, rule.name, rule.severity))];
    wrapped(&mut lines, "", &format!("{}.", rule.title));
    lines.push((None, String::new()));
    wrapped(&mut lines, "", rule.reason);
    for (what, example) in [("Found:", rule.bad), ("Not found:", rule.good)] {
        lines.push((None, format!("\n{what}")));
        lines.extend(example.lines().map(|l| (None, format!("    {l}"))));
    }
    if !rule.fix.is_empty() {
        lines.push((None, String::new()));
        wrapped(&mut lines, "Fix: ", rule.fix);
    }
    lines.into_iter().map(|(_, l)| l + "\n").collect()
}

/// A text in lines that fit, the first behind `lead`, the others below its text. A word that is too long stays whole.
fn wrapped(lines: &mut Vec<Line>, lead: &str, text: &str) {
    let indent = " ".repeat(lead.chars().count());
    let mut line = lead.to_owned();
    let mut empty = true;
    for word in text.split_whitespace() {
        let width = line.chars().count().saturating_add(word.chars().count());
        if !empty && width >= WIDTH {
            lines.push((None, std::mem::replace(&mut line, indent.clone())));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push((None, line));
}
