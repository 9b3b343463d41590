//! Python's numbers. Signs and everything around them are `literal`'s matter.

use serde_json::{Number, Value};

/// A number without its sign.
pub enum Numeral {
    Int(i128),
    Float(f64),
}

impl Numeral {
    /// Reads a token that begins with a digit or a point.
    pub fn read(token: &str) -> Option<Self> {
        if !token.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !underscores(token) {
            return None;
        }
        let plain = token.replace('_', "");
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            let head = plain.get(..2).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
            if head {
                return i128::from_str_radix(plain.get(2..)?, radix).ok().map(Self::Int);
            }
        }
        if plain.bytes().all(|b| b.is_ascii_digit()) {
            // `010` was octal once and is an error now; `00` is zero.
            if plain.len() > 1 && plain.starts_with('0') && plain.bytes().any(|b| b != b'0') {
                return None;
            }
            return plain.parse().map(Self::Int).or_else(|_| plain.parse().map(Self::Float)).ok();
        }
        let float =
            plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        if float { plain.parse().ok().map(Self::Float) } else { None }
    }

    /// The number, as JSON holds it.
    #[allow(clippy::cast_precision_loss)]
    pub fn value(self, negative: bool) -> Value {
        match self {
            Self::Int(number) => {
                let number = if negative { number.saturating_neg() } else { number };
                i64::try_from(number)
                    .map(Value::from)
                    .or_else(|_| u64::try_from(number).map(Value::from))
                    .unwrap_or_else(|_| float(number as f64))
            }
            Self::Float(number) => float(if negative { -number } else { number }),
        }
    }
}

/// JSON has no infinity; this is the word Python writes for it.
fn float(number: f64) -> Value {
    let word = if number > 0.0 { "Infinity" } else { "-Infinity" };
    Number::from_f64(number).map_or_else(|| Value::String(word.to_owned()), Value::Number)
}

/// One underscore at a time, and only between digits (or behind `0x` and its like).
fn underscores(token: &str) -> bool {
    let prefixed = token.get(1..2).is_some_and(|c| matches!(c, "x" | "X" | "o" | "O" | "b" | "B"));
    let digit = |b: u8| if prefixed { b.is_ascii_alphanumeric() } else { b.is_ascii_digit() };
    let padded = token.bytes().chain(std::iter::once(b' '));
    let mut before = b' ';
    let mut before_that = b' ';
    for b in padded {
        if before == b'_' && !(digit(before_that) && digit(b)) {
            return false;
        }
        before_that = before;
        before = b;
    }
    true
}
