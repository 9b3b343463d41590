//! Typed reading of what a user wrote: numbers that come as strings, booleans in Ansible's spellings, "" as nothing.
//! No defaults and no meaning of any field may live here.

use serde_json::Value;

use crate::error::Error;

/// `null`, an empty string and a missing value are the same: Ansible 2.14 passes none as "".
pub fn given(value: Option<&Value>) -> Option<&Value> {
    value.filter(|v| !v.is_null() && v.as_str().is_none_or(|s| !s.trim().is_empty()))
}

/// How a value is shown in an error: short, on one line.
pub fn show(value: &Value) -> String {
    let text = match value {
        Value::String(s) => format!("'{}'", s.escape_debug()),
        other => other.to_string(),
    };
    if text.chars().count() <= 60 {
        return text;
    }
    let head: String = text.chars().take(57).collect();
    format!("{head}...")
}

/// A boolean, or one of Ansible's spellings of one.
///
/// # Errors
/// Any other value.
pub fn boolean(name: &str, value: &Value) -> Result<bool, Error> {
    let no = || Error::new(name, format!("{} is no boolean", show(value))).hint("use true or false");
    match value {
        Value::Bool(b) => Ok(*b),
        Value::Number(n) if n.as_u64() == Some(1) => Ok(true),
        Value::Number(n) if n.as_u64() == Some(0) => Ok(false),
        Value::String(s) => match s.trim().to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "y" | "t" | "1" => Ok(true),
            "no" | "false" | "off" | "n" | "f" | "0" => Ok(false),
            _ => Err(no()),
        },
        _ => Err(no()),
    }
}

/// An integer within `low..=high`, or a string that is one.
///
/// # Errors
/// Any other value.
pub fn integer(name: &str, value: &Value, low: u64, high: u64) -> Result<u64, Error> {
    let number = match value {
        Value::Number(n) => n.as_u64(),
        Value::String(s) if s.trim().bytes().all(|b| b.is_ascii_digit()) => s.trim().parse().ok(),
        _ => None,
    };
    number.filter(|n| (low..=high).contains(n)).ok_or_else(|| {
        Error::new(name, format!("{} is not valid", show(value)))
            .hint(format!("a whole number from {low} to {high}"))
    })
}

/// A TCP port.
///
/// # Errors
/// Anything but 1 to 65535.
pub fn port(name: &str, value: &Value) -> Result<u16, Error> {
    let no =
        || Error::new(name, format!("{} is no port", show(value))).hint("a whole number from 1 to 65535");
    let number = integer(name, value, 1, 65535).map_err(|_| no())?;
    u16::try_from(number).map_err(|_| no())
}

/// A string, or a number written as one.
///
/// # Errors
/// Lists, maps and booleans.
pub fn text(name: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(s) => Ok(s.clone()),
        Value::Number(n) => Ok(n.to_string()),
        _ => Err(Error::new(name, format!("{} is no text", show(value)))),
    }
}

/// A word that may stand in a configuration file by itself: letters, digits and `extra`.
///
/// # Errors
/// An empty or longer text, white space, quotes, control characters: nothing that could add a word or a line.
pub fn word(name: &str, value: &Value, extra: &str, most: usize) -> Result<String, Error> {
    let text = text(name, value)?;
    let good = |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    match text.chars().find(|c| !good(*c)) {
        Some(bad) => Err(Error::new(name, format!("{} holds {bad:?}", show(value)))
            .hint(format!("letters, digits and {}", spell(extra)))),
        None if text.is_empty() => Err(Error::new(name, "is empty")),
        None if text.len() > most => {
            Err(Error::new(name, format!("{} is longer than {most} characters", show(value))))
        }
        None => Ok(text),
    }
}

/// The characters of a set, one by one.
fn spell(set: &str) -> String {
    set.chars().map(|c| c.to_string()).collect::<Vec<_>>().join(" ")
}

/// A duration as HAProxy writes it (configuration manual, 2.5 "Time format"): `3s`, `500ms`, `24h`; a plain number is
/// milliseconds. Returns milliseconds.
///
/// # Errors
/// Anything else; HAProxy 2.6 refuses fractions such as `0.5s`.
pub fn duration_ms(name: &str, value: &str) -> Result<u64, Error> {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(digits);
    let factor: Option<u64> = match unit {
        "" | "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    number
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(n, f)| n.checked_mul(f))
        .filter(|ms| *ms <= 2_147_483_647)
        .ok_or_else(|| {
            Error::new(name, format!("'{}' is no duration", value.escape_debug()))
                .hint("a whole number with ms, s, m, h or d, at most 24d: 500ms, 3s, 24h")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_booleans_may_come_as_strings() {
        assert_eq!(port("p", &json!("5432")), Ok(5432));
        assert_eq!(port("p", &json!(5432)), Ok(5432));
        assert_eq!(boolean("b", &json!("False")), Ok(false));
        assert_eq!(boolean("b", &json!("yes")), Ok(true));
        assert!(given(Some(&json!(""))).is_none());
    }

    #[test]
    fn what_is_no_port_is_refused_with_its_value() {
        for bad in [json!(0), json!(65536), json!(-1), json!("54x"), json!(5.5), json!(true), json!([])] {
            let e = port("src_port", &bad).unwrap_err().to_string();
            assert!(e.contains("src_port") && e.contains("65535"), "{e}");
        }
    }

    #[test]
    fn a_word_can_add_neither_a_word_nor_a_line() {
        for bad in ["a b", "a\nb", "a\"b", "a'b", "a#b", "", "ä"] {
            assert!(word("name", &json!(bad), "-_.", 40).is_err(), "{bad:?}");
        }
        assert_eq!(word("name", &json!("pg-test_1.a"), "-_.", 40), Ok("pg-test_1.a".into()));
    }

    #[test]
    fn durations_are_haproxys() {
        assert_eq!(duration_ms("inter", "3s"), Ok(3000));
        assert_eq!(duration_ms("inter", "500ms"), Ok(500));
        for bad in ["0.5s", "", "s", "3 s", "99999999999999999999d", "3y", "25d"] {
            assert!(duration_ms("inter", bad).is_err(), "{bad}");
        }
    }
}
