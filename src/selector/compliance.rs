//! The areas of the official JMESPath compliance suite, in examples of our own with the results that the specification
//! (and Python's implementation, but where said) gives.

use super::*;
use serde_json::json;

/// What an expression yields, the legacy literals rewritten as for a selector; `Err` holds the crate's words.
fn search(text: &str, given: &Value) -> Result<Value, String> {
    let expression = RUNTIME.with(|r| r.compile(&rewrite_literals(text))).map_err(|e| e.to_string())?;
    let found = expression.search(Rcvar::new(variable(given))).map_err(|e| e.to_string())?;
    serde_json::to_value(&*found).map_err(|e| e.to_string())
}

fn check(given: &Value, rows: &[(&str, Value)]) {
    for (text, expected) in rows {
        let found = search(text, given);
        assert!(found.as_ref().is_ok_and(|f| same(f, expected)), "{text}: {found:?}, wanted {expected}");
    }
}

/// JSON has one kind of numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}

#[test]
fn identifiers_sub_expressions_and_indices() {
    let given = json!({"a": {"b": {"c": [1, 2, 3]}}, "with space": 1, "d-e": 2, "é": 3, "n": null, "l": [[0, 1], [2, 3]]});
    check(
        &given,
        &[
            ("a.b.c", json!([1, 2, 3])),
            ("a.b.c[0]", json!(1)),
            ("a.b.c[-1]", json!(3)),
            ("a.b.c[3]", json!(null)),
            ("a.b.c[-4]", json!(null)),
            ("a.x.c", json!(null)),
            ("a.b[0]", json!(null)),
            ("n.x", json!(null)),
            ("\"with space\"", json!(1)),
            ("\"d-e\"", json!(2)),
            ("\"\\u00e9\"", json!(3)),
            ("l[1][0]", json!(2)),
            ("@.a.b.c[1]", json!(2)),
        ],
    );
}

#[test]
fn slices_count_from_both_ends_and_in_both_directions() {
    let given = json!([0, 1, 2, 3, 4, 5]);
    check(
        &given,
        &[
            ("[0:2]", json!([0, 1])),
            ("[:2]", json!([0, 1])),
            ("[4:]", json!([4, 5])),
            ("[:]", json!([0, 1, 2, 3, 4, 5])),
            ("[::2]", json!([0, 2, 4])),
            ("[1:5:3]", json!([1, 4])),
            ("[-2:]", json!([4, 5])),
            ("[:-4]", json!([0, 1])),
            ("[::-1]", json!([5, 4, 3, 2, 1, 0])),
            ("[4:1:-2]", json!([4, 2])),
            ("[10:]", json!([])),
            ("[-100:2]", json!([0, 1])),
            ("[:100]", json!([0, 1, 2, 3, 4, 5])),
            ("[2:1]", json!([])),
        ],
    );
    check(&json!({"a": 1}), &[("a[0:1]", json!(null)), ("[0:1]", json!(null))]);
    assert!(search("[::0]", &given).is_err(), "a step of nothing");
}

#[test]
fn projections_pass_over_null_and_flatten_one_level() {
    let given = json!({"l": [{"a": 1, "k": ["x"]}, {"b": 2}, {"a": null}, {"a": 3, "k": ["y", "z"]}], "m": {"p": {"v": 1}, "q": {"v": 2}},
        "deep": [[1, [2]], 3, [[4]]]});
    check(
        &given,
        &[
            ("l[*].a", json!([1, 3])),
            ("l[].a", json!([1, 3])),
            ("l[*].k[0]", json!(["x", "y"])),
            ("l[].k[]", json!(["x", "y", "z"])),
            ("m.*.v", json!([1, 2])),
            ("m.*.nothing", json!([])),
            ("deep[]", json!([1, [2], 3, [4]])),
            ("deep[][]", json!([1, 2, 3, 4])),
            ("m[*]", json!(null)),
            ("l.*", json!(null)),
            ("nothing[]", json!(null)),
            ("l[*].a | [0]", json!(1)),
            ("l[*].a[0]", json!([])),
            ("*.v", json!([])),
        ],
    );
}

#[test]
fn filters_compare_and_combine() {
    let given = json!([{"n": 1, "s": "a", "b": true, "e": []}, {"n": 2, "s": "b", "b": false, "e": [0]}, {"n": 3, "s": "", "e": {}}, {"s": null, "n": 0}]);
    let n = |list: &[u32]| json!(list);
    check(
        &given,
        &[
            ("[?n == `2`].n", n(&[2])),
            ("[?n != `2`].n", n(&[1, 3, 0])),
            ("[?n > `1`].n", n(&[2, 3])),
            ("[?n >= `1` && n < `3`].n", n(&[1, 2])),
            ("[?s == 'a' || s == 'b'].n", n(&[1, 2])),
            ("[?s == `a`].n", n(&[1])),
            ("[?s == `\"a\"`].n", n(&[1])),
            ("[?b].n", n(&[1])),
            ("[?!b].n", n(&[2, 3, 0])),
            ("[?s].n", n(&[1, 2])),
            ("[?e].n", n(&[2])),
            ("[?n].n", n(&[1, 2, 3, 0])),
            ("[?b == `null`].n", n(&[3, 0])),
            ("[?(n == `1` || n == `2`) && b].n", n(&[1])),
            ("[?n == `1` || n == `2` && !b].n", n(&[1, 2])),
            ("[?!(n == `1`)].n", n(&[2, 3, 0])),
            ("[?e == `[0]`].n", n(&[2])),
            ("[?e == `{}`].n", n(&[3])),
            ("[?contains(['a', 'b'], s)].n", n(&[1, 2])),
            ("[?n == `1.0`].n", n(&[1])),
            ("[?nothing > `1`].n", n(&[])),
            ("[?'x' == 'x'].n", n(&[1, 2, 3, 0])),
        ],
    );
    check(
        &json!({"a": [1], "b": []}),
        &[
            ("a || b", json!([1])),
            ("b || a", json!([1])),
            ("a && b", json!([])),
            ("!b", json!(true)),
            ("c && a", json!(null)),
        ],
    );
}

#[test]
fn pipes_multiselects_and_literals() {
    let given = json!({"a": {"x": 1, "y": 2}, "l": [{"x": 1}, {"x": 2}]});
    check(
        &given,
        &[
            ("a.[x, y]", json!([1, 2])),
            ("a.{p: x, q: y, \"r s\": z}", json!({"p": 1, "q": 2, "r s": null})),
            ("l[*].[x]", json!([[1], [2]])),
            ("l[*].{v: x}", json!([{"v": 1}, {"v": 2}])),
            ("nothing.[x]", json!(null)),
            ("nothing.{v: x}", json!(null)),
            ("l[*].x | [1]", json!(2)),
            ("l | [0] | x", json!(1)),
            ("a | nothing | x", json!(null)),
            ("[a.x, `null`, 'raw']", json!([1, null, "raw"])),
            ("`[1, {\"a\": true}]`", json!([1, {"a": true}])),
            ("`\"text\"`", json!("text")),
            ("`text`", json!("text")),
            ("`-1.5e1`", json!(-15.0)),
            ("`\"back\\`tick\"`", json!("back`tick")),
            ("'it\\'s'", json!("it's")),
            ("'`not a literal`'", json!("`not a literal`")),
            ("@.a.x", json!(1)),
        ],
    );
}

#[test]
fn functions_of_numbers_texts_and_types() {
    let given = json!({"n": [3, 1, 2], "s": ["b", "a", "c"], "o": {"k": 1, "l": 2}, "t": "abc", "z": []});
    check(
        &given,
        &[
            ("abs(`-3`)", json!(3)),
            ("avg(n)", json!(2.0)),
            ("avg(z)", json!(null)),
            ("ceil(`1.2`)", json!(2)),
            ("floor(`1.8`)", json!(1)),
            ("sum(n)", json!(6.0)),
            ("sum(z)", json!(0.0)),
            ("max(n)", json!(3)),
            ("min(n)", json!(1)),
            ("max(s)", json!("c")),
            ("max(z)", json!(null)),
            ("length(t)", json!(3)),
            ("length(n)", json!(3)),
            ("length(o)", json!(2)),
            ("contains(t, 'bc')", json!(true)),
            ("contains(n, `2`)", json!(true)),
            ("starts_with(t, 'ab')", json!(true)),
            ("ends_with(t, 'bc')", json!(true)),
            ("join('-', s)", json!("b-a-c")),
            ("reverse(t)", json!("cba")),
            ("reverse(n)", json!([2, 1, 3])),
            ("sort(n)", json!([1, 2, 3])),
            ("sort(s)", json!(["a", "b", "c"])),
            ("keys(o)", json!(["k", "l"])),
            ("values(o)", json!([1, 2])),
            ("merge(o, {k: `5`})", json!({"k": 5, "l": 2})),
            ("not_null(nothing, t)", json!("abc")),
            ("to_array(t)", json!(["abc"])),
            ("to_array(n)", json!([3, 1, 2])),
            ("to_number('12')", json!(12)),
            ("to_number('x')", json!(null)),
            ("to_string(n)", json!("[3,1,2]")),
            ("to_string(t)", json!("abc")),
            ("type(n)", json!("array")),
            ("type(o)", json!("object")),
            ("type(nothing)", json!("null")),
            ("type(t)", json!("string")),
            ("map(&@, n)", json!([3, 1, 2])),
        ],
    );
}

#[test]
fn functions_that_take_expressions_keep_the_order_of_equals() {
    let given = json!([{"n": 2, "s": "b"}, {"n": 1, "s": "c"}, {"n": 2, "s": "a"}]);
    check(
        &given,
        &[
            ("sort_by(@, &n)[].s", json!(["c", "b", "a"])),
            ("sort_by(@, &s)[].n", json!([2, 2, 1])),
            ("max_by(@, &n).s", json!("b")),
            ("min_by(@, &n).s", json!("c")),
            ("map(&n, @)", json!([2, 1, 2])),
            ("map(&nothing, @)", json!([null, null, null])),
            ("[?starts_with(s, 'a')].n | [0]", json!(2)),
        ],
    );
}

#[test]
fn what_is_no_expression_or_of_the_wrong_type_is_an_error() {
    for text in [
        "a.",
        ".a",
        "a[",
        "a]",
        "[?",
        "[?a",
        "a..b",
        "a b",
        "{a}",
        "[a, ]",
        "a |",
        "| a",
        "'open",
        "\"open",
        "foo(",
        "a[1.5]",
        "a.{}",
        "@@",
        "a == ",
        "!",
        "abs('x')",
        "abs()",
        "abs(`1`, `2`)",
        "length(`1`)",
        "sum(`[\"a\"]`)",
        "nobody(@)",
        "sort(`[1, \"a\"]`)",
    ] {
        assert!(search(text, &json!({"a": 1})).is_err(), "{text}: {:?}", search(text, &json!({"a": 1})));
    }
}

/// Where the crate differs from Python's implementation; the module's page says so.
#[test]
fn differences_that_are_known() {
    let given = json!([{"s": "a"}, {"s": "b"}]);
    check(
        &given,
        &[
            // The specification has no order of texts; Python compares them.
            ("[?s > 'a'].s", json!([])),
            // A function that computes yields a fraction, which shows in its text: Python says 3.
            ("to_string(abs(`-3`))", json!("3.0")),
        ],
    );
}
