//! A drawing in Graphviz's words.

use std::fmt::Write;

use super::view::{Drawing, Part};

/// The graph, for `dot -Tsvg` and its like.
#[must_use]
pub fn dot(d: &Drawing) -> String {
    let mut out = String::from(
        "digraph pgsvc {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    for (n, part) in d.clusters.iter().enumerate() {
        let _ = writeln!(out, "  subgraph cluster_{n} {{\n    label={};", text([part.name.as_str()]));
        cluster(n, part, &mut out);
        out.push_str("  }\n");
    }
    out.push_str("}\n");
    out
}

fn cluster(n: usize, part: &Part, out: &mut String) {
    let id = format!("c{n}");
    for (m, lines) in part.members.iter().enumerate() {
        let _ =
            writeln!(out, "    {id}m{m} [shape=cylinder, label={}];", text(lines.iter().map(String::as_str)));
    }
    for (p, port) in part.ports.iter().enumerate() {
        let _ = writeln!(out, "    {id}p{p} [style=rounded, label={}];", text([port.label.as_str()]));
        for (t, tier) in port.tiers.iter().enumerate() {
            let (style, why) = if tier.backup {
                (", style=dashed", " [style=dashed, label=\"if that is empty\"]")
            } else {
                ("", "")
            };
            let _ = writeln!(out, "    {id}p{p}t{t} [label={}{style}];", text([tier.label.as_str()]));
            let _ = writeln!(out, "    {id}p{p} -> {id}p{p}t{t}{why};");
            for line in &tier.lines {
                let note = text([line.note.as_str()]);
                let _ = writeln!(out, "    {id}p{p}t{t} -> {id}m{} [label={note}];", line.member);
            }
        }
    }
}

/// A quoted text of several lines. Graphviz reads escapes and HTML's entities in it.
fn text<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let line = |l: &str| -> String {
        l.chars()
            .map(|c| match c {
                '"' => "\\\"".into(),
                '\\' => "\\\\".into(),
                '&' => "&amp;".into(),
                c if c.is_control() => " ".into(),
                c => c.to_string(),
            })
            .collect()
    };
    format!("\"{}\"", lines.into_iter().map(line).collect::<Vec<_>>().join("\\n"))
}
