use super::*;
use serde_json::Map;
use serde_json::json;

fn members() -> Vec<Map<String, Value>> {
    let list = json!([
        {"pg_cluster": "pg-test", "pg_seq": 1, "pg_role": "primary", "n": 3, "tags": ["a", "b"]},
        {"pg_cluster": "pg-test", "pg_seq": 2, "pg_role": "replica", "pg_offline_query": true},
        {"pg_cluster": "pg-test", "pg_seq": 3, "pg_role": "offline", "pg_weight": 0}
    ]);
    list.as_array().unwrap().iter().map(|m| m.as_object().unwrap().clone()).collect()
}

fn select(text: &str) -> Result<Vec<u64>, Error> {
    let members = members();
    let candidate = |m: &Map<String, Value>| Candidate::new(m.iter().map(|(k, v)| (k.as_str(), v)), |_| true);
    let selector = Selector::compile(text)?;
    let places = selector.select(&members.iter().map(candidate).collect())?;
    for (place, member) in members.iter().enumerate() {
        // A member that is looked at alone is taken where it is out of all.
        for time in ["first", "remembered"] {
            let alone = selector.takes(|name| member.get(name)).transpose()?;
            assert!(alone.is_none_or(|takes| takes == places.contains(&place)), "{text}: {place}, {time}");
        }
    }
    Ok(places.into_iter().map(|place| members[place]["pg_seq"].as_u64().unwrap()).collect())
}

#[test]
fn a_filter_by_named_variables_is_asked_of_each_member_alone_and_nothing_else_is() {
    let alone = |text: &str| Selector::compile(text).unwrap().takes(|_| None).is_some();
    for filter in ["[? pg_role == `primary` ]", "[?a && !b]", "[]"] {
        assert!(alone(filter), "{filter}");
    }
    for other in [
        "[? length(keys(@)) > `2` ]",
        "[? starts_with(a, 'x') ]",
        "a[]",
        "[].a",
        "[0:1]",
        "[?a][0:1]",
        "[?a] | [0:1]",
        "sort_by([?a], &pg_seq)",
        "[?a].{pg_seq: pg_seq}",
        "x[?a]",
    ] {
        assert!(!alone(other), "{other}");
    }
}

#[test]
fn the_selectors_of_the_text_select_what_the_text_says() {
    for (text, expected) in [
        ("[]", vec![1, 2, 3]),
        ("[? pg_role == `primary` || pg_role == `offline` ]", vec![1, 3]),
        ("[? pg_role == `primary`]", vec![1]),
        ("[? pg_role == `offline` || pg_offline_query ]", vec![2, 3]),
        ("[? pg_role == `replica` && !pg_offline_query]", vec![]),
        ("[?pg_role=='replica']", vec![2]),
        ("[?pg_role==`\"replica\"`]", vec![2]),
        ("[?pg_seq > `1`]", vec![2, 3]),
        ("[?contains(tags || `[]`, 'a')]", vec![1]),
        ("[0:2]", vec![1, 2]),
        ("[::-1]", vec![3, 2, 1]),
        ("sort_by(@, &pg_seq)[-1:]", vec![3]),
        ("[*]", vec![1, 2, 3]),
        ("[].{pg_cluster: pg_cluster, pg_seq: pg_seq}", vec![1, 2, 3]),
        ("[?avg(`[]`) == `null`]", vec![1, 2, 3]),
    ] {
        assert_eq!(select(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_bad_selector_says_what_and_where() {
    for (text, part) in [
        ("[? foo(pg_role) ]", "unknown function 'foo' at column 4"),
        ("[? lenght(pg_role) > `1` ]", "did you mean 'length'"),
        ("[? pg_role == ", "column 15"),
        ("[ ]", "'[ ]' at column 1 selects nobody"),
        ("", "is empty"),
        ("[0]", "yields a map, no list"),
        ("length(@)", "yields a number, no list"),
        ("[].pg_role", "without pg_cluster and pg_seq"),
        ("nothing", "yields null, no list"),
        ("max(@)", "Runtime error"),
    ] {
        let e = select(text).unwrap_err().to_string();
        assert!(e.contains(part), "{text}: {e}");
    }
}

#[test]
fn no_expression_exhausts_the_stack() {
    assert!(select(&"[".repeat(4000)).is_err());
    assert!(select(&"(".repeat(5000)).is_err());
    assert!(select(&"!".repeat(4000)).is_err());
    assert!(select(&format!("[?{}a]", "a.".repeat(2000))).is_err());
    assert_eq!(select(&format!("[?{}pg_seq]", "!".repeat(190))), Ok(vec![1, 2, 3]));
}

#[test]
fn a_legacy_literal_keeps_its_odd_characters() {
    assert_eq!(rewrite_literals("[?a==`x y`]"), "[?a=='x y']");
    assert_eq!(rewrite_literals("[?a==`1`]"), "[?a==`1`]");
    assert_eq!(rewrite_literals("[?a==`it's`]"), "[?a==`\"it's\"`]");
    assert_eq!(rewrite_literals("[?a=='`x`']"), "[?a=='`x`']");
    assert_eq!(rewrite_literals("[?a==`x"), "[?a==`x");
    assert_eq!(rewrite_literals("[?a==`ä`]"), "[?a=='ä']");
}

#[test]
fn expressions_that_need_every_variable_are_recognised() {
    for text in ["[?contains(keys(@), 'x')]", "[?length(values(@)) > `3`]", "[].*", "[?*]", "*"] {
        assert!(needs_all_variables(text), "{text}");
    }
    for text in
        ["[]", "[*]", "[?pg_role == 'keys(']", "[?a && b]", "[*].{pg_seq: pg_seq, pg_cluster: pg_cluster}"]
    {
        assert!(!needs_all_variables(text), "{text}");
    }
}

#[test]
fn a_quoted_identifier_is_a_variable_and_a_quoted_text_is_none() {
    assert_eq!(identifiers(r#"[?"pg_role" == 'zone' || `"x"` == b]"#), ["b", "pg_role"]);
    assert_eq!(identifiers(r#"[?"a\u0062" == "open"#), ["ab"]);
}

#[test]
fn a_variable_is_a_condition_where_nothing_is_done_with_it() {
    for (text, found) in [
        ("[? a && !b || (c) ]", vec!["a", "b", "c"]),
        ("[? a == 'x' || 'y' != b || c > `1` ]", vec![]),
        ("[? contains(a, 'x') && starts_with(b, c) ]", vec![]),
        ("[? a.b || d[0] ]", vec![]),
        ("[? 'a' == a ] | [? b ]", vec!["b"]),
    ] {
        assert_eq!(truths(text), found, "{text}");
    }
    assert_eq!(variables("[? contains(a, 'x') && b == `q` ]"), ["a", "b"]);
}

#[test]
fn an_expression_that_may_look_at_more_than_it_names_is_not_called_plain() {
    for text in [
        "[]",
        "[? pg_role == `primary` || pg_role == `offline` ]",
        "[?pg_role=='replica' && !pg_offline_query]",
        "[? tags.zone == 'a*@(' ]",
        "[0:2]",
        "[? pg_seq > `1` ]",
    ] {
        assert!(Selector::compile(text).unwrap().only_named_variables(), "{text}");
    }
    for text in [
        "[*]",
        "[? length(@) > `5` ]",
        "[?contains(tags || `[]`, 'a')]",
        "sort_by(@, &pg_seq)[-1:]",
        "[].{pg_cluster: pg_cluster, pg_seq: pg_seq}",
        "[? @ == `1` ]",
        "[? \"pg_role\" == 'replica' ]",
        "[? (pg_role) == 'replica' ]",
    ] {
        assert!(!Selector::compile(text).unwrap().only_named_variables(), "{text}");
    }
}

#[test]
fn a_text_that_was_compiled_before_is_the_same_selector_and_errors_are_told_each_time() {
    for _ in 0..2 {
        assert_eq!(select("[? pg_role == `primary`]"), Ok(vec![1]));
        assert!(select("[? foo(pg_role) ]").unwrap_err().to_string().contains("unknown function"));
    }
    // More than are remembered.
    for n in 0..600 {
        assert_eq!(
            select(&format!("[? pg_seq == `{}` ]", n % 300)).unwrap().len(),
            usize::from((1..4).contains(&(n % 300)))
        );
    }
}

#[test]
fn an_answer_is_that_of_the_variables_and_not_of_whoever_was_asked_before() {
    let selector = Selector::compile("[? n == `1` || m ]").unwrap();
    let takes = |vars: Value| selector.takes(|name| vars.get(name)).unwrap().unwrap();
    for _ in 0..2 {
        assert!(takes(json!({"n": 1})) && takes(json!({"n": 2, "m": "yes"})) && takes(json!({"m": [1]})));
        assert!(!takes(json!({"n": 2})) && !takes(json!({"m": []})) && !takes(json!({"n": "1"})));
        assert!(!takes(json!({})) && !takes(json!({"n": null})), "nothing is not one");
    }
    assert!((0..1000).all(|n| takes(json!({"n": n})) == (n == 1)), "more than are remembered");
}
