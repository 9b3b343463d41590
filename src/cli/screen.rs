//! The screen of `verify --watch`: what is known → lines of text, no longer and no more than the terminal has room for.
//! Pure: nothing is asked and nothing printed here. What ports must prove is not known here either.

pub mod board;

use std::time::Duration;

use board::Board;

use super::out;
use crate::report::Report;
use crate::verify::judge::{PortResult, Status};

/// A terminal with less shows what fits.
const LEAST: usize = 5;
/// Events that ports and old workers leave room for.
const EVENTS: usize = 5;
const OLD: usize = 6;
/// A look that is older than this is said to be old.
const STALE: Duration = Duration::from_secs(3);

/// Where and when it is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Monotonic.
    pub now: Duration,
    /// Seconds since 1970.
    pub wall: u64,
    pub width: usize,
    pub height: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Head,
    Dim,
    Warn,
    Wrong,
}

/// One line, as wide as the terminal at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub style: Style,
    pub text: String,
}

fn line(style: Style, text: impl Into<String>) -> Line {
    Line { style, text: text.into() }
}

/// Draws what is known.
#[must_use]
pub fn draw(board: &Board, f: &Frame) -> Vec<Line> {
    let mut lines = top(board, f);
    let old = limited(old_workers(&board.report), OLD, "old workers");
    let events = board.events.len().min(EVENTS);
    let below = blank(old.len()).saturating_add(blank(events.saturating_add(usize::from(events > 0))));
    let room = f.height.saturating_sub(lines.len()).saturating_sub(below).max(LEAST);
    lines.extend(ports(board, f, room));
    if !old.is_empty() {
        lines.push(line(Style::Plain, ""));
        lines.extend(old);
    }
    let room = f.height.saturating_sub(lines.len()).saturating_sub(2);
    if events > 0 && room > 0 {
        lines.push(line(Style::Plain, ""));
        lines.push(line(Style::Head, "EVENTS"));
        let skip = board.events.len().saturating_sub(room);
        lines.extend(
            board
                .events
                .iter()
                .skip(skip)
                .map(|(at, what)| line(Style::Plain, format!("{}  {what}", clock(*at)))),
        );
    }
    lines.truncate(f.height);
    lines.into_iter().map(|l| Line { text: cut(&l.text, f.width), ..l }).collect()
}

/// Lines with the empty one before them.
fn blank(n: usize) -> usize {
    n.saturating_add(usize::from(n > 0))
}

/// Node, time, how many ports are how; what keeps the look from being one.
fn top(board: &Board, f: &Frame) -> Vec<Line> {
    let report = &board.report;
    let Some(seen) = board.seen else {
        return vec![line(Style::Head, format!("pgsvc  {}  looking …", clock(f.wall)))];
    };
    let count = |s: Status| report.verify.iter().filter(|r| r.status == s).count();
    let mut parts = Vec::new();
    for (status, word) in [
        (Status::Wrong, "WRONG"),
        (Status::Ok, "ok"),
        (Status::Unproven, "unproven"),
        (Status::Empty, "empty"),
    ] {
        let n = count(status);
        if n > 0 {
            parts.push(format!("{n} {word}"));
        }
    }
    let all = report.verify.len();
    let ports = if all == 1 { "1 port".to_owned() } else { format!("{all} ports") };
    let tally = if parts.is_empty() { ports } else { format!("{ports}: {}", parts.join(", ")) };
    let style = if count(Status::Wrong) > 0 { Style::Wrong } else { Style::Head };
    let mut lines = vec![line(style, format!("pgsvc  {}  {}  {tally}", report.node, clock(f.wall)))];
    let age = f.now.saturating_sub(seen.at);
    if age > STALE {
        lines.push(line(Style::Warn, format!("the last look ended {} ago", out::duration(age.as_secs()))));
    }
    let said = report.errors.iter().map(|e| line(Style::Wrong, format!("error: {}", plain(&e.to_string()))));
    lines.extend(limited(said.collect(), 3, "errors"));
    lines.push(line(Style::Plain, ""));
    lines
}

/// Some lines, and how many more there would be.
fn limited(mut lines: Vec<Line>, most: usize, what: &str) -> Vec<Line> {
    if lines.len() > most {
        let shown = most.saturating_sub(1);
        let more = lines.len().saturating_sub(shown);
        lines.truncate(shown);
        lines.push(line(Style::Dim, format!("… {more} more lines of {what}")));
    }
    lines
}

/// A port with all that is said of it.
struct Row<'a> {
    port: &'a PortResult,
    cells: [String; 7],
}

const HEAD: [&str; 7] = ["SERVICE", "ADDRESS", "STATUS", "MUST LEAD TO", "LEADS TO", "SINCE", "SESSIONS"];
const MUST: usize = 3;
const LEADS: usize = 4;

/// The ports by cluster. Where there is no room for all, clusters with a wrong port come first.
fn ports(board: &Board, f: &Frame, room: usize) -> Vec<Line> {
    let report = &board.report;
    let rows: Vec<Row<'_>> = report.verify.iter().map(|r| row(board, r, f.now)).collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let widths = widths(&rows, f.width);
    let mut groups: Vec<(&str, Vec<&Row<'_>>)> = Vec::new();
    for row in &rows {
        match groups.last_mut() {
            Some((name, group)) if *name == row.port.cluster => group.push(row),
            _ => groups.push((&row.port.cluster, vec![row])),
        }
    }
    let wrong = |r: &Row<'_>| r.port.status == Status::Wrong;
    let height =
        |g: &[&Row<'_>]| g.len().saturating_add(1).saturating_add(g.iter().filter(|r| wrong(r)).count());
    let all: usize = groups.iter().map(|(_, g)| height(g)).sum::<usize>().saturating_add(1);
    if all > room {
        groups.sort_by_key(|(_, g)| !g.iter().any(|r| wrong(r)));
    }
    let head = line(Style::Head, joined(&HEAD.map(str::to_owned), &widths));
    let mut lines = vec![head];
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
        let more = rows.len().saturating_sub(shown);
        let of_them = rows.iter().filter(|r| wrong(r)).count().saturating_sub(shown_wrong);
        let style = if of_them > 0 { Style::Wrong } else { Style::Dim };
        let ports = if more == 1 { "port" } else { "ports" };
        lines.push(line(style, format!("… {more} more {ports}, {of_them} of them wrong: make the terminal higher, or name a cluster (-c)")));
    }
    lines
}

fn leader(report: &Report, cluster: &str) -> Line {
    match report.leaders.get(cluster).map(Vec::as_slice) {
        None => line(Style::Head, cluster),
        Some([]) => line(Style::Wrong, format!("{cluster}: no member leads, by their own word")),
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
    let cells = [format!("  {}", r.service), r.address.clone(), status.into(), must, leads, since, sessions];
    Row { port: r, cells: cells.map(|c| plain(&c)) }
}

/// What the members that must be reached must be: a role, or those of the tier that serves when the active one is empty.
fn role(report: &Report, r: &PortResult) -> String {
    if r.expected.is_empty() {
        return String::new();
    }
    if r.tier == Some(crate::resolve::Tier::Backup) {
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
        lines.push(line(Style::Wrong, format!("      {}", plain(&row.port.why.join("; ")))));
    }
    lines
}

/// As wide as the cells need, and where that is too much, the two columns of names shorter.
fn widths(rows: &[Row<'_>], width: usize) -> [usize; 7] {
    let mut widths = HEAD.map(|h| h.chars().count());
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

fn old_workers(report: &Report) -> Vec<Line> {
    if report.old_workers.is_empty() {
        return Vec::new();
    }
    let text = out::old_workers(&report.old_workers);
    let style = |i: usize| if i == 0 { Style::Head } else { Style::Plain };
    text.lines().enumerate().map(|(i, l)| line(style(i), plain(l))).collect()
}

/// Nothing that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Seconds since 1970 as the time of the day.
fn clock(wall: u64) -> String {
    let part = |unit: u64, of: u64| wall.checked_div(unit).unwrap_or(0).checked_rem(of).unwrap_or(0);
    format!("{:02}:{:02}:{:02} UTC", part(3600, 24), part(60, 60), part(1, 60))
}

#[cfg(test)]
mod tests;
