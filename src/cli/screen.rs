//! The screen of `verify --watch`: what is known → lines of text, no longer and no more than the terminal has room for.
//! Pure: nothing is asked and nothing printed here. What ports must prove is not known here either.

pub mod board;
mod table;

use std::time::Duration;

use board::Board;

use super::out;
use crate::report::Report;
use crate::verify::judge::Status;

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
    lines.extend(table::ports(board, f, room));
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
    lines.into_iter().map(|l| Line { text: cut(&plain(&l.text), f.width), ..l }).collect()
}

/// Lines with the empty one before them.
fn blank(n: usize) -> usize {
    n.saturating_add(usize::from(n > 0))
}

/// Node, time, how many ports are how; what keeps the look from being one.
fn top(board: &Board, f: &Frame) -> Vec<Line> {
    let report = &board.report;
    let Some(seen) = board.seen else {
        return vec![line(Style::Head, format!("pgsvc  {} UTC  looking …", clock(f.wall)))];
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
    let at = table::host(report).map(|h| format!(" at {h}")).unwrap_or_default();
    let mut lines = vec![line(style, format!("pgsvc  {}{at}  {} UTC  {tally}", report.node, clock(f.wall)))];
    let age = f.now.saturating_sub(seen.at);
    if age > STALE {
        lines.push(line(Style::Warn, format!("the last look ended {} ago", out::duration(age.as_secs()))));
    }
    let said = report.errors.iter().map(|e| line(Style::Wrong, format!("error: {e}")));
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

fn old_workers(report: &Report) -> Vec<Line> {
    if report.old_workers.is_empty() {
        return Vec::new();
    }
    let text = out::old_workers(&report.old_workers);
    let style = |i: usize| if i == 0 { Style::Head } else { Style::Plain };
    text.lines().enumerate().map(|(i, l)| line(style(i), l)).collect()
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

/// Seconds since 1970 as the time of the day, UTC.
fn clock(wall: u64) -> String {
    let part = |unit: u64, of: u64| wall.checked_div(unit).unwrap_or(0).checked_rem(of).unwrap_or(0);
    format!("{:02}:{:02}:{:02}", part(3600, 24), part(60, 60), part(1, 60))
}

#[cfg(test)]
mod tests;
