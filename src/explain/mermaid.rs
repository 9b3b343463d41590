//! A drawing in Mermaid's words, which code hosts draw in a README.

use std::fmt::Write;

use super::view::{Drawing, Part};

/// The flow chart, to stand in a block of the language `mermaid`.
#[must_use]
pub fn mermaid(d: &Drawing) -> String {
    let mut out = String::from("flowchart LR\n");
    for (n, part) in d.clusters.iter().enumerate() {
        // Without a direction of its own, a subgraph turns the other way.
        let _ = writeln!(out, "  subgraph c{n}[\"{}\"]\n    direction LR", text(&part.name));
        cluster(n, part, &mut out);
        out.push_str("  end\n");
    }
    out.push_str("  classDef backup stroke-dasharray: 5 5\n");
    out
}

fn cluster(n: usize, part: &Part, out: &mut String) {
    let id = format!("c{n}");
    for (p, port) in part.ports.iter().enumerate() {
        let _ = writeln!(out, "    {id}p{p}([\"{}\"])", text(&port.label));
        for (t, tier) in port.tiers.iter().enumerate() {
            let (box_id, class) = (format!("{id}p{p}t{t}"), if tier.backup { ":::backup" } else { "" });
            let _ = writeln!(out, "    {box_id}[\"{}\"]{class}", text(&tier.label));
            let arrow = if tier.backup { "-. \"if that is empty\" .->" } else { "-->" };
            let _ = writeln!(out, "    {id}p{p} {arrow} {box_id}");
        }
    }
    for (m, lines) in part.members.iter().enumerate() {
        let lines: Vec<String> = lines.iter().map(|l| text(l)).collect();
        let _ = writeln!(out, "    {id}m{m}[(\"{}\")]", lines.join("<br/>"));
    }
    for (p, port) in part.ports.iter().enumerate() {
        for (t, tier) in port.tiers.iter().enumerate() {
            for line in &tier.lines {
                let note =
                    if line.note.is_empty() { String::new() } else { format!("|\"{}\"|", text(&line.note)) };
                let _ = writeln!(out, "    {id}p{p}t{t} -->{note} {id}m{}", line.member);
            }
        }
    }
}

/// Mermaid's entities are a character's number between `#` and `;`. All that could mean something to it, to Markdown or to
/// HTML is written as one.
fn text(text: &str) -> String {
    // Nothing between quotes is no text to it.
    let mut out = String::from(if text.is_empty() { " " } else { "" });
    for c in text.chars() {
        match c {
            _ if c.is_alphanumeric() || " ._-/,".contains(c) => out.push(c),
            _ if c.is_control() => out.push(' '),
            _ => drop(write!(out, "#{};", u32::from(c))),
        }
    }
    out
}
