//! What a scalar is: PyYAML's resolver and constructors, without its regular expressions.

use serde_json::{Number, Value};

use super::timestamp::{self, Timestamp};

/// A plain scalar by its spelling.
///
/// # Errors
/// A spelling that PyYAML takes for a number or a date and then cannot read; the words say what it is.
pub fn plain(text: &str) -> Result<Value, String> {
    if let Some(value) = word(text) {
        return Ok(value);
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Ok(Value::String(text.to_owned()));
    }
    if is_float(text) {
        return float(text).ok_or_else(|| format!("'{text}' looks like a number and is none"));
    }
    if is_int(text) {
        return int(text).ok_or_else(|| format!("'{text}' looks like a number and is none"));
    }
    match timestamp::read(text) {
        Timestamp::Date(iso) => Ok(Value::String(iso)),
        Timestamp::Impossible => Err(format!("'{text}' looks like a date and is none")),
        Timestamp::No => Ok(Value::String(text.to_owned())),
    }
}

/// A scalar under a tag of YAML's own (`!!str`); `None` for a tag that is not read.
pub fn tagged(tag: &str, text: &str) -> Option<Result<Value, String>> {
    let wrong = |what: &str| Err(format!("'{text}' is no {what}"));
    Some(match tag {
        "str" => Ok(Value::String(text.to_owned())),
        "null" => Ok(Value::Null),
        "bool" => boolean(&text.to_lowercase()).map_or_else(|| wrong("boolean"), |b| Ok(Value::Bool(b))),
        "int" => int(text).map_or_else(|| wrong("integer"), Ok),
        "float" => float(text).map_or_else(|| wrong("number"), Ok),
        "timestamp" => match timestamp::read(text) {
            Timestamp::Date(iso) => Ok(Value::String(iso)),
            _ => wrong("timestamp"),
        },
        _ => return None,
    })
}

/// A number, boolean or null as the key that Ansible's JSON would show.
pub fn key(value: &Value) -> (String, bool) {
    match value {
        Value::String(text) => (text.clone(), true),
        other => (other.to_string(), false),
    }
}

/// Null and booleans: three spellings each, no others (`yEs` is a string).
fn word(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(special(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(special(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(special(f64::NAN)),
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    let mut capital = lower.clone();
    if let Some(first) = capital.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let spelled = text == lower || text == capital || text == lower.to_ascii_uppercase();
    boolean(&lower).filter(|_| spelled).map(Value::Bool)
}

fn boolean(lower: &str) -> Option<bool> {
    match lower {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// A float; what JSON has no number for is the word Python writes.
fn special(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::String("NaN".to_owned()),
        None if number > 0.0 => Value::String("Infinity".to_owned()),
        None => Value::String("-Infinity".to_owned()),
    }
}

/// `[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?`, `\.[0-9][0-9_]*(…)?`, `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*`.
fn is_float(text: &str) -> bool {
    if let Some(fraction) = text.strip_prefix('.') {
        let (mantissa, exponent) = exponent(fraction);
        return exponent && mantissa.starts_with(|c: char| c.is_ascii_digit()) && digits_only(mantissa);
    }
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((whole, fraction)) = body.split_once('.') else { return false };
    match whole.split_once(':') {
        Some((first, rest)) => leading_digit(first) && sixtieths(rest) && digits_only(fraction),
        None => {
            let (mantissa, exponent) = exponent(fraction);
            exponent && leading_digit(whole) && digits_only(mantissa)
        }
    }
}

/// Splits `123e+4` into its digits and whether the exponent, if any, is well formed (a sign is required).
fn exponent(text: &str) -> (&str, bool) {
    match text.split_once(['e', 'E']) {
        None => (text, true),
        Some((mantissa, power)) => {
            let digits = power.strip_prefix(['-', '+']).unwrap_or("");
            (mantissa, !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        }
    }
}

fn digits_only(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

fn leading_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && digits_only(text)
}

/// `[0-5]?[0-9](:[0-5]?[0-9])*`.
fn sixtieths(text: &str) -> bool {
    text.split(':').all(|part| match part.as_bytes() {
        [unit] => unit.is_ascii_digit(),
        [ten, unit] => matches!(ten, b'0'..=b'5') && unit.is_ascii_digit(),
        _ => false,
    })
}

fn is_int(text: &str) -> bool {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let all =
        |digits: &str, ok: fn(u8) -> bool| !digits.is_empty() && digits.bytes().all(|b| b == b'_' || ok(b));
    if let Some(digits) = body.strip_prefix("0b") {
        return all(digits, |b| matches!(b, b'0' | b'1'));
    }
    if let Some(digits) = body.strip_prefix("0x") {
        return all(digits, |b| b.is_ascii_hexdigit());
    }
    if let Some(digits) = body.strip_prefix('0') {
        return digits.is_empty() || all(digits, |b| matches!(b, b'0'..=b'7'));
    }
    match body.split_once(':') {
        Some((first, rest)) => leading_digit(first) && sixtieths(rest),
        None => leading_digit(body),
    }
}

fn int(text: &str) -> Option<Value> {
    let text = text.replace('_', "");
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let magnitude = if let Some(digits) = body.strip_prefix("0b") {
        radix(digits, 2)?
    } else if let Some(digits) = body.strip_prefix("0x") {
        radix(digits, 16)?
    } else if body.len() > 1 && body.starts_with('0') {
        radix(body, 8)?
    } else if body.contains(':') {
        return float(&text).and_then(|f| f.as_f64()).map(whole);
    } else {
        match body.parse::<i128>() {
            Ok(number) => number,
            Err(_) if !body.is_empty() && body.bytes().all(|b| b.is_ascii_digit()) => {
                return text.parse().ok().map(special);
            }
            Err(_) => return None,
        }
    };
    let number = if negative { magnitude.checked_neg()? } else { magnitude };
    Some(
        i64::try_from(number)
            .map(Value::from)
            .or_else(|_| u64::try_from(number).map(Value::from))
            .unwrap_or_else(
                // Python's integers have no end; the nearest float is all JSON can hold of them.
                |_| text.parse().map_or(Value::Null, special),
            ),
    )
}

fn radix(digits: &str, radix: u32) -> Option<i128> {
    i128::from_str_radix(digits.strip_prefix('+').map_or(digits, |_| ""), radix).ok()
}

/// A sexagesimal integer was summed as a float; it is exact below 2^53, and no longer one above.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> Value {
    if number.abs() < 9_007_199_254_740_992.0 { Value::from(number as i64) } else { special(number) }
}

fn float(text: &str) -> Option<Value> {
    if let Some(value @ (Value::Number(_) | Value::String(_))) = word(&text.to_lowercase()) {
        return Some(value);
    }
    let text = text.replace('_', "");
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1.0, body),
        None => (1.0, text.strip_prefix('+').unwrap_or(&text)),
    };
    let mut sum = 0.0;
    for part in body.split(':') {
        if !part.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        sum = sum * 60.0 + part.parse::<f64>().ok()?;
    }
    Some(special(sign * sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn booleans_have_three_spellings_each() {
        for text in ["yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"] {
            assert_eq!(plain(text), Ok(json!(true)), "{text}");
        }
        for text in ["no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"] {
            assert_eq!(plain(text), Ok(json!(false)), "{text}");
        }
        for text in ["y", "n", "yEs", "oN", "t", "TRue"] {
            assert_eq!(plain(text), Ok(json!(text)), "{text}");
        }
    }

    #[test]
    fn integers_are_read_in_every_base_of_yaml_1_1() {
        let cases = [
            ("0", 0),
            ("010", 8),
            ("0o10", -1),
            ("0x1F", 31),
            ("-0b1_01", -5),
            ("1_000", 1000),
            ("+12", 12),
            ("22:22", 1342),
            ("-1:30", -90),
            ("1:60", -1),
            ("08", -1),
            ("0_", 0),
        ];
        for (text, number) in cases {
            let want = if number == -1 { json!(text) } else { json!(number) };
            assert_eq!(plain(text), Ok(want), "{text}");
        }
        assert_eq!(plain("18446744073709551615"), Ok(json!(u64::MAX)));
        assert_eq!(plain("99999999999999999999999"), Ok(json!(1e23)));
        assert!(plain("0x_").is_err() && plain("0b_").is_err());
    }

    #[test]
    fn floats_need_a_point_and_a_signed_exponent() {
        assert_eq!(plain("1.5"), Ok(json!(1.5)));
        assert_eq!(plain("1."), Ok(json!(1.0)));
        assert_eq!(plain(".5"), Ok(json!(0.5)));
        assert_eq!(plain("1.0e+3"), Ok(json!(1000.0)));
        assert_eq!(plain("1:30.5"), Ok(json!(90.5)));
        for text in ["1e5", "1.0e5", "1.2.3", "-.5", ".", "1.0e+", "10.0.0.1", "-", "+", "v1.0"] {
            assert_eq!(plain(text), Ok(json!(text)), "{text}");
        }
        assert_eq!(plain("-.inf"), Ok(json!("-Infinity")));
        assert_eq!(plain(".NaN"), Ok(json!("NaN")));
    }

    #[test]
    fn a_key_is_what_json_shows_of_it() {
        assert_eq!(key(&json!(null)), ("null".to_owned(), false));
        assert_eq!(key(&json!(true)), ("true".to_owned(), false));
        assert_eq!(key(&json!(5433)), ("5433".to_owned(), false));
        assert_eq!(key(&json!("a")), ("a".to_owned(), true));
    }
}
