//! `docs/lint.md`, made from the table. A test compares the file with what is made here.

use std::fmt::Write;

use super::{RULES, Rule};

const HEAD: &str = "\
# Findings of `pgsvc lint`

<!-- Made from src/lint/rules: PGSVC_WRITE_DOCS=1 cargo test --lib the_page_of_findings writes it anew. -->

`pgsvc lint -i INVENTORY` looks for mistakes offline: no node is asked. It exits 1 where a finding is an error, else 0.
`--format json` and `--format sarif` are for programs; a code host shows SARIF beside the change:

```yaml
- run: pgsvc lint -i hosts.yml --format sarif > pgsvc.sarif
  continue-on-error: true
- uses: github/codeql-action/upload-sarif@v3
  with: {sarif_file: pgsvc.sarif}
```

What is meant as it is can be left out, for a host or a group, with a reason. An entry without one is a finding itself, and
so is one that leaves out nothing. What an apply refuses cannot be left out.

```yaml
pgsvc_lint_ignore:
  - {code: PGS014, service: legacy, reason: HAProxy's unit has CAP_NET_BIND_SERVICE}
```

The examples are variables of the group of a cluster of three: a primary, a replica and an offline member.

| code | name | | |
|---|---|---|---|
";

pub fn page() -> String {
    let mut out = HEAD.to_owned();
    for r in RULES {
        let (code, name) = (r.code, r.name);
        writeln!(
            out,
            "| [{code}](#{}-{name}) | {name} | {} | {} |",
            code.to_lowercase(),
            r.severity,
            r.title
        )
        .unwrap();
    }
    for r in RULES {
        out.push_str(&section(r));
    }
    out
}

fn section(r: &Rule) -> String {
    let fix = if r.fix.is_empty() { String::new() } else { format!("Fix: {}.\n\n", r.fix) };
    let text = format!("**{}.** {}", r.title, r.reason);
    format!(
        "\n## {} {}\n\n{}\n\n{fix}Found ({}):\n\n```yaml\n{}\n```\n\nNot found:\n\n```yaml\n{}\n```\n",
        r.code,
        r.name,
        wrap(&text),
        r.severity,
        r.bad,
        r.good
    )
}

/// Lines of at most 120 columns.
fn wrap(text: &str) -> String {
    let mut out = String::new();
    let mut width: usize = 0;
    for word in text.split_whitespace() {
        if width > 0 && width + word.chars().count() + 1 > 120 {
            out.push('\n');
            width = 0;
        }
        if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.chars().count();
    }
    out
}

#[test]
fn the_page_of_findings_is_what_the_table_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lint.md");
    let page = page();
    if std::env::var_os("PGSVC_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/lint.md is stale: PGSVC_WRITE_DOCS=1 cargo test --lib the_page_of_findings writes it anew"
    );
}
