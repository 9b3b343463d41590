//! Findings as SARIF 2.1.0 (OASIS), in the form that code hosts show beside a change. What is ignored is left out: hosts
//! show suppressed results as open ones.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Finding, Found, RULES, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// One run. `inventory` is the file that findings without a place are shown at.
#[must_use]
pub fn sarif(found: &Found, inventory: &str) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|r| {
            json!({
                "id": r.code,
                "name": r.name,
                "shortDescription": {"text": r.title},
                "fullDescription": {"text": r.reason},
                "help": {"text": format!("{} {}", r.reason, r.fix).trim_end()},
                "defaultConfiguration": {"level": level(r.severity)},
            })
        })
        .collect();
    let results: Vec<Value> = found.findings.iter().map(|f| result(f, inventory)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "pgsvc",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(f: &Finding, inventory: &str) -> Value {
    let (file, line, column) =
        f.place.as_ref().map_or((inventory, 1, 1), |p| (p.file.as_str(), p.line, p.column));
    let fix = if f.fix.is_empty() { String::new() } else { format!(". Fix: {}", f.fix) };
    let index = RULES.iter().position(|r| r.code == f.code).unwrap_or(0);
    json!({
        "ruleId": f.code,
        "ruleIndex": index,
        "level": level(f.severity),
        "message": {"text": format!("{}: {}{fix}", f.object, f.what)},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(file)},
                "region": {"startLine": line, "startColumn": column},
            },
            "logicalLocations": [{"fullyQualifiedName": f.object}],
        }],
        "partialFingerprints": {"pgsvc/v1": fingerprint(f)},
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// The same for the same finding, wherever lines move to.
fn fingerprint(f: &Finding) -> String {
    let hash = Sha256::digest(format!("{}\n{}\n{}", f.code, f.object, f.what));
    hash.iter().take(12).map(|b| format!("{b:02x}")).collect()
}

/// A path as a relative or a file's URI reference (RFC 3986).
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for b in path.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                out.push(char::from(b))
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
