//! The screen's table of ports, by cluster. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::board::Board;
use super::{Frame, Line, Style, cut, line};
use crate::cli::out;
use crate::report::Report;
use crate::resolve::Tier;
use crate::verify::judge::{PortResult, Status};

/// A port with all that is said of it.
struct Row<'a> {
    port: &'a PortResult,
    cells: [String; 7],
}

const HEAD: [&str; 7] = ["SERVICE", "PORT", "STATUS", "MUST LEAD TO", "LEADS TO", "SINCE", "SESSIONS"];
const PORT: usize = 1;
const MUST: usize = 3;
const LEADS: usize = 4;

/// The ports by cluster. Where there is no room for all, clusters with a wrong port come first.
pub(super) fn ports(board: &Board, f: &Frame, room: usize) -> Vec<Line> {
    let report = &board.report;
    let mut head = HEAD.map(str::to_owned);
    let mut rows: Vec<Row<'_>> = report.verify.iter().map(|r| row(board, r, f.now)).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    if host(report).is_none() {
        head[PORT] = "ADDRESS".into();
        rows.iter_mut().for_each(|r| r.cells[PORT].clone_from(&r.port.address));
    }
    let widths = widths(&head, &rows, f.width);
    let mut groups = grouped(&rows);
    let wrong = |r: &Row<'_>| r.port.status == Status::Wrong;
    let height =
        |g: &[&Row<'_>]| g.len().saturating_add(1).saturating_add(g.iter().filter(|r| wrong(r)).count());
    let all: usize = groups.iter().map(|(_, g)| height(g)).sum::<usize>().saturating_add(1);
    if all > room {
        groups.sort_by_key(|(_, g)| !g.iter().any(|r| wrong(r)));
    }
    let mut lines = vec![line(Style::Head, joined(&head, &widths))];
    let most = if all > room { room.saturating_sub(1) } else { room };
    let (mut shown, mut shown_wrong) = (0_usize, 0_usize);
    'groups: for (name, group) in groups {
        // A cluster's name alone says nothing.
        if lines.len().saturating_add(2) > most {
            break;
        }
        lines.push(leader(report, name));
        for row in group {
            let needs = if wrong(row) { 2 } else { 1 };
            if lines.len().saturating_add(needs) > most {
                break 'groups;
            }
            lines.extend(told(row, &widths));
            shown = shown.saturating_add(1);
            shown_wrong = shown_wrong.saturating_add(usize::from(wrong(row)));
        }
    }
    if shown < rows.len() {
        let of_them = rows.iter().filter(|r| wrong(r)).count().saturating_sub(shown_wrong);
        lines.push(more(rows.len().saturating_sub(shown), of_them));
    }
    lines
}

/// The rows of each cluster, in their order.
fn grouped<'r, 'a>(rows: &'r [Row<'a>]) -> Vec<(&'a str, Vec<&'r Row<'a>>)> {
    let mut groups: Vec<(&str, Vec<&Row<'_>>)> = Vec::new();
    for row in rows {
        match groups.last_mut() {
            Some((name, group)) if *name == row.port.cluster => group.push(row),
            _ => groups.push((&row.port.cluster, vec![row])),
        }
    }
    groups
}

/// What there is no room for.
fn more(ports: usize, wrong: usize) -> Line {
    let style = if wrong > 0 { Style::Wrong } else { Style::Dim };
    let word = if ports == 1 { "port" } else { "ports" };
    let hint = "make the terminal higher, or name a cluster (-c)";
    line(style, format!("… {ports} more {word}, {wrong} of them wrong: {hint}"))
}

/// The address of all ports, where it is one.
pub(super) fn host(report: &Report) -> Option<&str> {
    let hosts =
        report.verify.iter().map(|r| r.address.strip_suffix(&format!(":{}", r.port)).unwrap_or_default());
    let all: BTreeSet<&str> = hosts.collect();
    if all.len() == 1 { all.first().copied() } else { None }
}

fn leader(report: &Report, cluster: &str) -> Line {
    match report.leaders.get(cluster).map(Vec::as_slice) {
        None => line(Style::Head, cluster),
        Some([]) => line(Style::Wrong, format!("{cluster}: by Patroni no member leads")),
        Some([one]) => line(Style::Head, format!("{cluster}: leader {one}")),
        Some(many) => {
            line(Style::Wrong, format!("{cluster}: several members say they lead: {}", many.join(", ")))
        }
    }
}

fn row<'a>(board: &Board, r: &'a PortResult, now: Duration) -> Row<'a> {
    let names = |list: &[String]| if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
    let leads = match r.status {
        _ if r.is_elsewhere() => "another node's".to_owned(),
        Status::Unproven => "nobody logged in".to_owned(),
        _ => names(&r.found),
    };
    let status =
        if r.is_elsewhere() && r.status != Status::Wrong { "elsewhere" } else { out::status(r.status) };
    let since = board.since(r).map_or_else(String::new, |s| {
        let held = out::duration(now.saturating_sub(s.at).as_secs());
        if s.from_first { format!(">{held}") } else { held }
    });
    let listener = format!("{}-{}", r.cluster, r.service);
    let held = board.report.sessions.iter().filter(|b| b.service == listener).map(|b| b.count);
    let sessions = held.fold(0_u64, u64::saturating_add).to_string();
    let must = format!("{}{}", names(&r.expected), role(&board.report, r));
    let port = r.port.to_string();
    let cells = [format!("  {}", r.service), port, status.into(), must, leads, since, sessions];
    Row { port: r, cells }
}

/// What the members that must be reached must be: a role, or those of the tier that serves when the active one is empty.
fn role(report: &Report, r: &PortResult) -> String {
    if r.expected.is_empty() {
        return String::new();
    }
    if r.tier == Some(Tier::Backup) {
        return " (backup)".into();
    }
    let service = report
        .clusters
        .get(&r.cluster)
        .and_then(|c| c.get("services")?.get(&r.service)?.get("role")?.as_str());
    match service {
        Some(role @ ("primary" | "leader" | "replica")) => format!(" ({role})"),
        _ => String::new(),
    }
}

/// A port's line, and below a wrong one why.
fn told(row: &Row<'_>, widths: &[usize; 7]) -> Vec<Line> {
    let style = match row.port.status {
        Status::Wrong => Style::Wrong,
        Status::Unproven if !row.port.is_elsewhere() => Style::Warn,
        Status::Ok | Status::Empty | Status::Unproven => Style::Plain,
    };
    let mut lines = vec![line(style, joined(&row.cells, widths))];
    if row.port.status == Status::Wrong {
        lines.push(line(Style::Wrong, format!("      {}", row.port.why.join("; "))));
    }
    lines
}

/// As wide as the cells need, and where that is too much, the two columns of names shorter.
fn widths(head: &[String; 7], rows: &[Row<'_>], width: usize) -> [usize; 7] {
    let mut widths = head.each_ref().map(|h| h.chars().count());
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(&row.cells) {
            *w = (*w).max(cell.chars().count());
        }
    }
    let sum = |w: &[usize; 7]| w.iter().sum::<usize>().saturating_add(2_usize.saturating_mul(6));
    while sum(&widths) > width {
        let [.., must, leads, _, _] = &mut widths;
        let longer = if must > leads { must } else { leads };
        if *longer <= 12 {
            break;
        }
        *longer = longer.saturating_sub(1);
    }
    widths
}

fn joined(cells: &[String; 7], widths: &[usize; 7]) -> String {
    let mut text = String::new();
    for (i, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let cell = if i == MUST || i == LEADS { cut(cell, *width) } else { cell.clone() };
        let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
        let between = if i > 0 { "  " } else { "" };
        // The last column is a number.
        text.push_str(&if i == 6 {
            format!("{between}{pad}{cell}")
        } else {
            format!("{between}{cell}{pad}")
        });
    }
    text.trim_end().to_owned()
}
