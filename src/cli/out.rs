//! Printing: results to stdout, talk to stderr, colour only on a terminal that wants it. A closed pipe is no error.

use std::io::{IsTerminal, Write};

use crate::error::Errors;
use crate::parallel::computed;
use crate::report::{Change, ChangeKind, Report};
use crate::verify::judge::{PortResult, Status};
use crate::verify::stray::OldWorker;

/// Diffs that are made before any of them is printed.
const AT_ONCE: usize = 512;

/// Prints a text as it is.
pub fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Prints a line.
pub fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// Says something beside the result.
pub fn talk(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// All errors, each on a line of its own.
pub fn errors(errors: &Errors) {
    for e in &errors.0 {
        talk(&format!("{} {e}", paint("error:", "31", std::io::stderr().is_terminal())));
    }
}

fn wants_colour(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

fn paint(text: &str, colour: &str, terminal: bool) -> String {
    if wants_colour(terminal) { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Colour on stdout.
pub fn colour(text: &str, colour: &str) -> String {
    paint(text, colour, std::io::stdout().is_terminal())
}

/// Rows with columns as wide as they need be; the last one is never padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if i > 0 {
                line.push_str("  ");
            }
            line.push_str(cell);
            let pad = width.saturating_sub(cell.chars().count());
            line.extend(std::iter::repeat_n(' ', pad));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

pub fn status(s: Status) -> &'static str {
    match s {
        Status::Ok => "ok",
        Status::Unproven => "unproven",
        Status::Empty => "empty",
        Status::Wrong => "WRONG",
    }
}

/// The verified ports, a line each; below them what is wrong and what is worth knowing.
pub fn ports(results: &[PortResult], verbose: bool) -> String {
    let names = |list: &[String]| if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
    let mut rows = vec![
        ["CLUSTER", "SERVICE", "ADDRESS", "STATUS", "MUST LEAD TO", "LEADS TO"].map(str::to_owned).to_vec(),
    ];
    // A member's trouble is that of many ports: it is told once.
    let mut below: Vec<(String, Vec<String>)> = Vec::new();
    for r in results {
        let leads = match r.status {
            _ if r.is_elsewhere() => "not asked (not here)".to_owned(),
            Status::Unproven => "not asked (no login)".to_owned(),
            _ => names(&r.found),
        };
        rows.push(vec![
            r.cluster.clone(),
            r.service.clone(),
            r.address.clone(),
            status(r.status).to_owned(),
            names(&r.expected),
            leads,
        ]);
        let notes = r.notes.iter().filter(|n| (verbose || r.status != Status::Ok) && !r.why.contains(n));
        for text in r.why.iter().map(|w| format!("wrong: {w}")).chain(notes.map(|n| format!("note: {n}"))) {
            let port = format!("{}-{}", r.cluster, r.service);
            match below.iter_mut().find(|(t, _)| *t == text) {
                Some((_, ports)) if ports.contains(&port) => {}
                Some((_, ports)) => ports.push(port),
                None => below.push((text, vec![port])),
            }
        }
    }
    let mut out = table(&rows);
    for (word, code) in [("WRONG", "31"), ("unproven", "33")] {
        out = out.replace(&format!("  {word} "), &format!("  {} ", colour(word, code)));
    }
    for (text, ports) in below {
        out.push_str(&format!("{text}\n    ({})\n", ports.join(", ")));
    }
    out
}

/// The old workers with what they hold.
pub fn old_workers(all: &[OldWorker]) -> String {
    let head = ["OLD WORKER", "AGE", "SERVICE", "SERVER", "SESSIONS", "OLDEST"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for w in all {
        let (pid, age) = (w.pid.to_string(), duration(w.age));
        if w.sessions.is_empty() {
            rows.push(vec![pid.clone(), age.clone(), "-".into(), "-".into(), "0".into(), "-".into()]);
        }
        for s in &w.sessions {
            let server = if s.server.is_empty() { "-" } else { &s.server };
            let (count, oldest) = (s.count.to_string(), duration(s.oldest));
            rows.push(vec![pid.clone(), age.clone(), s.service.clone(), server.to_owned(), count, oldest]);
        }
    }
    table(&rows)
}

/// Seconds for people, the two largest units: `2d3h`, `4m5s`.
pub fn duration(seconds: u64) -> String {
    let part = |unit: u64, of: u64| seconds.checked_div(unit).unwrap_or(0).checked_rem(of).unwrap_or(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", part(60, 60), part(1, 60)),
        3600..86_400 => format!("{}h{}m", part(3600, 24), part(60, 60)),
        _ => format!("{}d{}h", part(86_400, u64::MAX), part(3600, 24)),
    }
}

/// A file's change as a unified diff.
pub fn plain_diff(c: &Change) -> String {
    let kind = match c.kind {
        ChangeKind::Create => "new file",
        ChangeKind::Replace => "changed",
        ChangeKind::Remove => "removed",
        ChangeKind::Attributes => return format!("{}: mode or owner\n", c.path),
    };
    let header = format!("{} ({kind})", c.path);
    if c.before == c.after && c.kind == ChangeKind::Replace {
        return format!("--- {}\n+++ {header}: nothing but what is masked\n", c.path);
    }
    if c.before.is_empty()
        && let Some(whole) = whole(&c.path, &header, &c.after)
    {
        return whole;
    }
    let diff = similar::TextDiff::from_lines(&*c.before, &*c.after);
    diff.unified_diff().context_radius(3).header(&c.path, &header).to_string()
}

/// The diff of a file that was not there, which needs no comparison: a first run has thousands. `None` for one of a line
/// or without its last newline, whose form is another.
fn whole(path: &str, header: &str, text: &str) -> Option<String> {
    if !text.ends_with('\n') || text.contains('\r') {
        return None;
    }
    let (mut body, mut lines) = (String::with_capacity(text.len().saturating_mul(2)), 0_usize);
    for line in text.split_inclusive('\n') {
        lines = lines.saturating_add(1);
        body.push('+');
        body.push_str(line);
    }
    let head = || format!("--- {path}\n+++ {header}\n@@ -0,0 +1,{lines} @@\n");
    (lines > 1).then(|| [head(), body].concat())
}

/// Prints the diffs, in colours where they are wanted. A first run has thousands: so many are made at the same time.
pub fn diffs(all: &[Change]) {
    // Asked once: a question to the kernel for each line of a first run is most of what it takes.
    let colours = wants_colour(std::io::stdout().is_terminal());
    for some in all.chunks(AT_ONCE) {
        text(&computed(some, |c| diff(c, colours)).concat());
    }
}

fn diff(c: &Change, colours: bool) -> String {
    let text = plain_diff(c);
    if !colours {
        return text;
    }
    let paint = |l: &str| match l.as_bytes().first() {
        Some(b'+') => paint(l, "32", true),
        Some(b'-') => paint(l, "31", true),
        Some(b'@') => paint(l, "36", true),
        _ => l.to_owned(),
    };
    text.lines().map(paint).map(|l| l + "\n").collect()
}

/// A report: its ports, its sentence, everything that is wrong.
pub fn report(r: &Report, verbose: bool) {
    for w in &r.warnings {
        talk(&format!("{} {w}", paint("warning:", "33", std::io::stderr().is_terminal())));
    }
    if !r.verify.is_empty() {
        text(&ports(&r.verify, verbose));
    }
    for hand in &r.by_hand {
        talk(&format!("note: {hand}"));
    }
    if !r.old_workers.is_empty() {
        text(&old_workers(&r.old_workers));
    }
    for e in &r.errors {
        talk(&format!("{} {e}", paint("error:", "31", std::io::stderr().is_terminal())));
    }
    if !r.msg.is_empty() {
        talk(&format!("{}: {}", r.node, r.msg));
    }
}

/// JSON for programs.
pub fn json(value: &impl serde::Serialize) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::stray::Count;

    #[test]
    fn a_table_is_as_wide_as_it_needs_be() {
        let rows = [vec!["A".to_owned(), "BB".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&rows), "A    BB\nccc  d\n");
    }

    #[test]
    fn old_workers_are_listed_with_what_they_hold() {
        let count = |service: &str, server: &str, oldest| Count {
            service: service.into(),
            server: server.into(),
            count: 2,
            oldest,
        };
        let all = [
            OldWorker {
                pid: 123,
                age: 90_000,
                sessions: vec![count("pg-primary", "pg-1", 3661), count("pg-primary", "", 5)],
            },
            OldWorker { pid: 7, age: 61, sessions: Vec::new() },
        ];
        assert_eq!(
            old_workers(&all),
            "OLD WORKER  AGE   SERVICE     SERVER  SESSIONS  OLDEST\n\
             123         1d1h  pg-primary  pg-1    2         1h1m\n\
             123         1d1h  pg-primary  -       2         5s\n\
             7           1m1s  -           -       0         -\n"
        );
    }

    #[test]
    fn a_diff_names_file_and_kind() {
        let c = Change {
            path: "/x".into(),
            kind: ChangeKind::Replace,
            before: "a\nb\n".into(),
            after: "a\nc\n".into(),
        };
        let text = diff(&c, false);
        assert!(text.contains("--- /x\n+++ /x (changed)\n") && text.contains("-b\n+c\n"), "{text}");
    }

    #[test]
    fn the_diff_of_a_new_file_is_that_of_the_library() {
        for text in ["a\n", "a\nb\n", "a\n\n-b\n+c\n", "a\nb", "", "a\r\nb\n"] {
            let c =
                Change { path: "/x".into(), kind: ChangeKind::Create, before: "".into(), after: text.into() };
            let library = similar::TextDiff::from_lines("", text);
            let said = library.unified_diff().context_radius(3).header("/x", "/x (new file)").to_string();
            assert_eq!(plain_diff(&c), said, "{text:?}");
        }
    }

    #[test]
    fn a_port_that_was_not_asked_says_why() {
        let mut r = PortResult {
            cluster: "pg-test".into(),
            service: "primary".into(),
            port: 5433,
            address: "10.0.0.9:5433".into(),
            status: Status::Unproven,
            tier: None,
            expected: vec!["pg-test-1".into()],
            found: Vec::new(),
            why: Vec::new(),
            notes: Vec::new(),
            misled: false,
        };
        assert!(ports(std::slice::from_ref(&r), false).contains("pg-test-1     not asked (no login)\n"));
        r.not_asked(std::net::IpAddr::from([10, 0, 0, 9]));
        let text = ports(&[r], false);
        assert!(text.contains("pg-test-1     not asked (not here)\n"), "{text}");
        assert!(text.contains("note: this node does not have 10.0.0.9 now"), "{text}");
    }
}
