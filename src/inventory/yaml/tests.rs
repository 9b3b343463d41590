//! What the loader promises, as a reader of inventories sees it.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(text: &str) -> Value {
    parse("t.yml", text.as_bytes()).unwrap().root.unwrap().to_value()
}

fn error(text: &str) -> String {
    parse("t.yml", text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_quoted_scalar_stays_a_string() {
    assert_eq!(value("{a: no, b: 'no', c: \"010\", d: 010, e: |\n  1\n}").get("a"), Some(&json!(false)));
    assert_eq!(value("b: 'no'\nc: \"010\"\nd: 010"), json!({"b": "no", "c": "010", "d": 8}));
    assert_eq!(value("a: !!str 010\nb: !!int '7'\nc: ! '7'"), json!({"a": "010", "b": 7, "c": 7}));
}

#[test]
fn a_merge_loses_to_the_mappings_own_keys_and_the_first_of_a_list_wins() {
    let text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  y: 3\n  <<: [*a, *b]\nd:\n  '<<': 1\n";
    assert_eq!(value(text)["c"], json!({"x": 1, "y": 3, "z": 2}));
    assert_eq!(value(text)["d"], json!({"<<": 1}));
    assert!(error("a: 1\nb:\n  <<: 5\n").starts_with("t.yml:3:7: << merges mappings"));
}

#[test]
fn ansibles_tags_become_what_its_json_shows() {
    assert_eq!(value("a: !vault |\n  $ANSIBLE\n")["a"], json!({"__ansible_vault": "$ANSIBLE\n"}));
    assert_eq!(value("a: !unsafe '{{ x }}'")["a"], json!({"__ansible_unsafe": "{{ x }}"}));
    assert_eq!(value("a: !unsafe\n  k: [v, 1]")["a"], json!({"k": [{"__ansible_unsafe": "v"}, 1]}));
    assert!(error("a: !foo b").contains("t.yml:1:"));
    assert!(error("a: !foo b").contains("!foo"));
    assert!(error("a: !vault [1]").contains("encrypted text"));
    assert_eq!(value("a: !!set {x, y}")["a"], json!(["x", "y"]));
}

#[test]
fn every_key_has_its_place_and_order() {
    let document = parse("t.yml", b"z: 1\na:\n  b: 2\n").unwrap();
    let root = document.root.unwrap();
    let keys: Vec<_> =
        root.as_map().unwrap().iter().map(|e| (e.key.as_str(), e.at.line, e.at.column)).collect();
    assert_eq!(keys, [("z", 1, 1), ("a", 2, 1)]);
    let inner = root.get("a").unwrap().as_map().unwrap();
    assert_eq!((inner[0].at.line, inner[0].at.column), (3, 3));
}

#[test]
fn a_duplicate_key_warns_and_the_last_one_counts() {
    let document = parse("t.yml", b"a: 1\nb: 2\na: 3\n").unwrap();
    assert_eq!(document.root.unwrap().to_value(), json!({"a": 3, "b": 2}));
    assert_eq!(document.warnings, ["t.yml:3:1: the key 'a' is already on line 1; this last one counts"]);
}

#[test]
fn keys_are_strings_as_json_shows_them() {
    assert_eq!(value("1: a\nyes: b\n~: c\n1.5: d"), json!({"1": "a", "true": "b", "null": "c", "1.5": "d"}));
}

#[test]
fn broken_yaml_names_line_and_column_and_what_helps() {
    assert!(error("a: b: c").starts_with("t.yml:1:5: broken YAML"), "{}", error("a: b: c"));
    assert!(error("a: b: c").contains("must be quoted"));
    assert!(error("a:\n\tb: 1\n").contains("no tabs"), "{}", error("a:\n\tb: 1\n"));
    assert!(error("a: {{ b }}\n").contains("must be quoted: \"{{"), "{}", error("a: {{ b }}\n"));
    assert!(error("a: 'x\n").contains("never closed"), "{}", error("a: 'x\n"));
    assert!(error(": a").contains("a key without a name"));
    assert!(error("a: 1\n---\nb: 2\n").starts_with("t.yml:2:1: a second document"));
    assert!(error("a: 2024-02-30").contains("quote it"));
    assert!(error("a: \u{1}").contains("U+0001"));
    assert!(parse("t.yml", b"a: \xff").unwrap_err().to_string().starts_with("t.yml:1:4"));
}

#[test]
fn json_is_read_as_json_in_its_own_order() {
    let document = parse("t.json", br#"{"b": "\/", "a": 1e5, "c": {"__ansible_vault": "x"}}"#).unwrap();
    assert!(document.json);
    let root = document.root.unwrap();
    assert_eq!(root.to_value(), json!({"b": "/", "a": 1e5, "c": {"__ansible_vault": "x"}}));
    assert_eq!(root.as_map().unwrap()[0].key, "b");
    assert_eq!(root.get("c").unwrap().kind(), "a vaulted or unsafe string");
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..20 {
        let before = i - 1;
        text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{before}"); 9].join(", ")));
    }
    assert!(error(&text).contains("expand to too much"));
    assert!(error("a: &a [*a]").contains("inside the value"));
}

#[test]
fn hostile_nesting_stops_early() {
    let started = Instant::now();
    for piece in ["[", "{", "- ", "[a, ", "{a: ", "? ", "- [", "&a [", "!unsafe ["] {
        let text = piece.repeat(200_000 / piece.len());
        assert!(parse("t.yml", text.as_bytes()).is_err(), "{piece}");
    }
    let mut stairs = String::new();
    for depth in 0..2000 {
        stairs.push_str(&" ".repeat(depth));
        stairs.push_str("a:\n");
    }
    assert!(parse("t.yml", stairs.as_bytes()).is_err());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(parse("t.yml", &vec![b'#'; MAX_BYTES + 1]).is_err());
}

#[test]
fn a_block_that_ends_with_the_file_ends_as_the_file_does() {
    assert_eq!(value("a: |\n  x\n  y"), json!({"a": "x\ny"}));
    assert_eq!(value("a: |\n  x\n  y\n"), json!({"a": "x\ny\n"}));
    assert_eq!(value("a: |\n  x\nb: |-\n  y"), json!({"a": "x\n", "b": "y"}));
}

#[test]
fn a_file_without_a_document_has_no_root() {
    for text in ["", "# only\n", "\n\n"] {
        assert!(parse("t.yml", text.as_bytes()).unwrap().root.is_none(), "{text:?}");
    }
    assert!(parse("t.yml", b"---\n").unwrap().root.unwrap().is_null());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse("t.yml", &bytes);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "[-a0:?,\\[\\]{}&*!|>'\"%@`#<~. \n\t]{0,80}") {
        let _ = parse("t.yml", text.as_bytes()).map(|d| d.root.map(|r| r.to_value()));
    }
}
