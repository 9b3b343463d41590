//! What went wrong, where, and what to do. No policy here: who fails and with which exit code is the edges' matter.

use std::fmt;

use serde::Serialize;

/// What sort of wrong it is, for those who look for one sort; most errors are of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    Other,
    DuplicateName,
    DuplicatePort,
    MixedDialects,
    ListenerName,
    /// A virtual address that is missing.
    NoVip,
    /// A virtual address or router that two clusters have.
    VipTwice,
    /// What the nodes of a virtual address, or IPVS, cannot do.
    VipUnable,
}

/// One thing that is wrong, in the operator's words.
///
/// Displayed as `place: what; hint`, for example
/// `service 'replica' of pg-test: selector: unknown function 'foo' at column 4; known functions: abs, avg, …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Error {
    /// The object that is wrong: `service 'replica' of pg-test`, `inventory.yml:12:7`. Empty where there is none.
    pub place: String,
    /// What is wrong with it, the value included (never a secret).
    pub what: String,
    /// What to do about it. Empty where nothing helps.
    pub hint: String,
    #[serde(skip)]
    pub kind: Kind,
}

impl Error {
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into(), hint: String::new(), kind: Kind::Other }
    }

    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same error, said of a larger object: `place` goes in front.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.place =
            if self.place.is_empty() { place.to_owned() } else { format!("{place}: {}", self.place) };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.what)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Everything that is wrong: an operator wants all of it at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    pub fn push(&mut self, error: Error) {
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps the value or collects what is wrong.
    pub fn take<T>(&mut self, result: Result<T, impl Into<Errors>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(errors) => {
                for error in errors.into().0 {
                    self.push(error);
                }
                None
            }
        }
    }

    /// `value` when nothing is wrong, else all that is.
    ///
    /// # Errors
    /// The collected errors, when there are any.
    pub fn finish<T>(self, value: T) -> Result<T, Errors> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// The known name nearest to `given`, close enough to be what was meant: `did you mean 'src_port'?`.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let budget = (given.chars().count().saturating_add(1) / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(given, name), name))
        .filter(|(d, name)| *d <= budget || name.ends_with(given) && given.len() > 2)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance, capped by the callers' short names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (cb, up) in b.iter().zip(row.iter().skip(1)) {
            let cost = diagonal.saturating_add(usize::from(ca != *cb));
            left = cost.min(up.saturating_add(1)).min(left.saturating_add(1));
            diagonal = *up;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_place_what_hint() {
        let e = Error::new("service 'x' of pg-test", "port 70000 is no port").hint("1 to 65535");
        assert_eq!(e.to_string(), "service 'x' of pg-test: port 70000 is no port; 1 to 65535");
        assert_eq!(Error::new("", "no").to_string(), "no");
        assert_eq!(Error::new("a", "no").within("b").to_string(), "b: a: no");
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["src_port", "dst_port", "selector", "selector_backup"];
        assert_eq!(nearest("src_prot", known), Some("src_port"));
        assert_eq!(nearest("selektor", known), Some("selector"));
        assert_eq!(nearest("port", known), Some("dst_port"));
        assert_eq!(nearest("zzz", known), None);
    }
}
