//! A drawing as SVG: three columns (ports, tiers, members) and lines between them. Colours that can be read on a light and
//! on a dark page; sizes from counted characters, so that the same drawing is the same file everywhere.

use std::fmt::Write;

use super::view::{Drawing, Line, Part, Port, TierBox};

/// Pixels: a character of the fixed-width face at 12, a line, a box's margin, between boxes, between columns.
const CHAR: usize = 8;
const LINE: usize = 18;
const PAD: usize = 8;
const GAP: usize = 12;
const ALLEY: usize = 90;

/// Where a box stands.
#[derive(Clone, Copy)]
struct Frame {
    x: usize,
    y: usize,
    w: usize,
    h: usize,
}

impl Frame {
    fn middle(self) -> usize {
        self.y.saturating_add(self.h / 2)
    }

    fn right(self) -> usize {
        self.x.saturating_add(self.w)
    }
}

/// The whole picture.
#[must_use]
pub fn svg(d: &Drawing) -> String {
    let (mut body, mut y, mut w) = (String::new(), GAP, 0);
    for part in &d.clusters {
        let (width, bottom) = cluster(part, y, &mut body);
        w = w.max(width);
        y = bottom.saturating_add(GAP.saturating_mul(2));
    }
    let names: Vec<String> = d.clusters.iter().map(|c| escape(&c.name)).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{y}\" viewBox=\"0 0 {w} {y}\" role=\"img\" \
         font-family=\"monospace\" font-size=\"12\">\n<title>Services of {}</title>\n{body}</svg>\n",
        names.join(", ")
    )
}

/// Where the columns stand, and how wide they are.
struct Columns {
    ports_w: usize,
    tiers_x: usize,
    tiers_w: usize,
    members_x: usize,
    members_w: usize,
}

impl Columns {
    fn new(part: &Part) -> Self {
        let width = |most: Option<usize>| {
            most.unwrap_or(0).saturating_mul(CHAR).saturating_add(PAD.saturating_mul(2))
        };
        let ports_w = width(part.ports.iter().map(|p| columns(&p.label)).max());
        let tiers = part.ports.iter().flat_map(|p| &p.tiers).flat_map(texts);
        let tiers_w = width(tiers.map(|t| columns(&t)).max());
        let members_w = width(part.members.iter().flatten().map(|l| columns(l)).max());
        let tiers_x = GAP.saturating_add(ports_w).saturating_add(ALLEY);
        let members_x = tiers_x.saturating_add(tiers_w).saturating_add(ALLEY);
        Self { ports_w, tiers_x, tiers_w, members_x, members_w }
    }
}

/// A line from a tier's row to a member, by its place.
struct Wire {
    from: Frame,
    member: usize,
    backup: bool,
}

/// A box's height.
fn height(lines: usize) -> usize {
    lines.saturating_mul(LINE).saturating_add(PAD)
}

/// Draws one cluster from `top` on; the width it needs, and where it ends.
fn cluster(part: &Part, top: usize, out: &mut String) -> (usize, usize) {
    label(GAP, top.saturating_add(LINE), &part.name, "#6e7781", "bold", out);
    let top = top.saturating_add(LINE).saturating_add(GAP);
    let at = Columns::new(part);
    let (mut y, mut wires) = (top, Vec::new());
    for p in &part.ports {
        y = port(p, &at, y, &mut wires, out);
    }
    let least = part.members.len().saturating_mul(height(2).saturating_add(GAP));
    let bottom = y.max(top.saturating_add(least));
    members(part, &at, (top, bottom), &wires, out);
    (at.members_x.saturating_add(at.members_w).saturating_add(GAP), bottom)
}

/// A port with its tiers, from `y` on; where the next one may begin.
fn port(port: &Port, at: &Columns, mut y: usize, wires: &mut Vec<Wire>, out: &mut String) -> usize {
    let first = y;
    let mut frames = Vec::new();
    for tier in &port.tiers {
        let frame = Frame { x: at.tiers_x, y, w: at.tiers_w, h: height(tier.lines.len().saturating_add(1)) };
        tier_box(frame, tier, out);
        for (line, n) in tier.lines.iter().zip(1_usize..) {
            let row = y.saturating_add(PAD / 2).saturating_add(n.saturating_mul(LINE));
            let from = Frame { y: row, h: LINE, ..frame };
            wires.push(Wire { from, member: line.member, backup: tier.backup });
        }
        frames.push((frame, tier.backup));
        y = y.saturating_add(frame.h).saturating_add(GAP / 2);
    }
    let h = height(1);
    let middle = first.saturating_add(y.saturating_sub(GAP / 2)) / 2;
    let own = Frame { x: GAP, y: middle.saturating_sub(h / 2).max(first), w: at.ports_w, h };
    text_box(own, ("#ddf4ff", "#218bff", ""), std::slice::from_ref(&port.label), out);
    frames.into_iter().for_each(|(f, backup)| curve(own, f, backup, out));
    y.max(own.y.saturating_add(h)).saturating_add(GAP)
}

/// The members, spread evenly, and the lines that lead to them.
fn members(part: &Part, at: &Columns, (top, bottom): (usize, usize), wires: &[Wire], out: &mut String) {
    let share = bottom.saturating_sub(top).checked_div(part.members.len()).unwrap_or(0);
    let place = |i: usize| {
        let (h, middle) = (height(2), share.saturating_mul(i).saturating_add(share / 2));
        let y = top.saturating_add(middle).saturating_sub(h / 2);
        Frame { x: at.members_x, y, w: at.members_w, h }
    };
    wires.iter().for_each(|w| curve(w.from, place(w.member), w.backup, out));
    for (i, texts) in part.members.iter().enumerate() {
        text_box(place(i), ("#f6f8fa", "#57606a", ""), texts, out);
    }
}

/// A tier's texts: its own, and one for each member.
fn texts(t: &TierBox) -> Vec<String> {
    let line = |l: &Line| {
        if l.note.is_empty() { l.name.clone() } else { format!("{} {}", l.name, l.note) }
    };
    std::iter::once(t.label.clone()).chain(t.lines.iter().map(line)).collect()
}

fn tier_box(at: Frame, t: &TierBox, out: &mut String) {
    let dashed = ("#fff8c5", "#bf8700", " stroke-dasharray=\"5 3\"");
    text_box(at, if t.backup { dashed } else { ("#dafbe1", "#2da44e", "") }, &texts(t), out);
}

/// A box with its lines, the first one bold.
fn text_box(at: Frame, (fill, stroke, more): (&str, &str, &str), texts: &[String], out: &mut String) {
    frame(at, fill, stroke, more, out);
    for (text, n) in texts.iter().zip(1_usize..) {
        let weight = if n == 1 { "bold" } else { "normal" };
        label(
            at.x.saturating_add(PAD),
            at.y.saturating_add(n.saturating_mul(LINE)),
            text,
            "#1f2328",
            weight,
            out,
        );
    }
}

fn frame(at: Frame, fill: &str, stroke: &str, more: &str, out: &mut String) {
    let Frame { x, y, w, h } = at;
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"6\" fill=\"{fill}\" stroke=\"{stroke}\"{more}/>"
    );
}

fn label(x: usize, y: usize, text: &str, fill: &str, weight: &str, out: &mut String) {
    let text = escape(text);
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" fill=\"{fill}\" font-weight=\"{weight}\">{text}</text>");
}

fn curve(from: Frame, to: Frame, backup: bool, out: &mut String) {
    let (x1, y1, x2, y2) = (from.right(), from.middle(), to.x, to.middle());
    let (half, dash) = (x1.saturating_add(x2) / 2, if backup { " stroke-dasharray=\"5 3\"" } else { "" });
    let _ = writeln!(
        out,
        "<path d=\"M{x1} {y1}C{half} {y1} {half} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#8c959f\"{dash}/>"
    );
}

/// Columns of a text: letters from the Hangul block on are wide.
fn columns(text: &str) -> usize {
    text.chars().map(|c| if u32::from(c) >= 0x1100 { 2_usize } else { 1 }).sum()
}

/// XML 1.0, "Characters": what cannot stand in a document at all becomes a space.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
