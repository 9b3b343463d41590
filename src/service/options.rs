//! The `default_server_options` string: HAProxy server keywords by an allow-list, so that no other keyword can be
//! smuggled into a configuration. What the tool itself sets (address, check, port, backup) is refused here.

use std::borrow::Cow;

use serde::Serialize;

use crate::error::{Error, Errors, nearest};
use crate::resolve::Expectation;
use crate::value;

/// HAProxy `server` keywords (configuration manual, 5.2), checked, in the order they were written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ServerOptions(Vec<(&'static str, Option<Value>)>);

/// A keyword's value; the reference's own are not copied for every service.
type Value = Cow<'static, str>;

/// What kind of value a keyword takes.
#[derive(Clone, Copy)]
enum Kind {
    Flag,
    /// At least so many milliseconds: HAProxy refuses checks without an interval.
    Time(u64),
    Number(u64, u64),
    OneOf(&'static [&'static str]),
}

const KEYWORDS: [(&str, Kind); 20] = [
    ("inter", Kind::Time(1)),
    ("fastinter", Kind::Time(1)),
    ("downinter", Kind::Time(1)),
    ("rise", Kind::Number(1, 1000)),
    ("fall", Kind::Number(1, 1000)),
    ("slowstart", Kind::Time(0)),
    ("maxconn", Kind::Number(0, 1_000_000)),
    ("minconn", Kind::Number(0, 1_000_000)),
    ("maxqueue", Kind::Number(0, 1_000_000)),
    ("weight", Kind::Number(0, 256)),
    ("on-marked-down", Kind::OneOf(&["shutdown-sessions"])),
    ("on-marked-up", Kind::OneOf(&["shutdown-backup-sessions"])),
    ("on-error", Kind::OneOf(&["fastinter", "fail-check", "sudden-death", "mark-down"])),
    ("observe", Kind::OneOf(&["layer4"])),
    ("error-limit", Kind::Number(1, 10_000)),
    ("agent-inter", Kind::Time(1)),
    ("tcp-ut", Kind::Time(0)),
    ("send-proxy", Kind::Flag),
    ("send-proxy-v2", Kind::Flag),
    ("check-send-proxy", Kind::Flag),
];

/// Keywords that exist but that the tool sets itself.
const OURS: [(&str, &str); 13] = [
    ("check", "every server is checked"),
    ("port", "use check_port"),
    ("addr", "the check goes to the member's own address"),
    ("backup", "use selector_backup"),
    ("check-ssl", "use patroni_ssl_enabled"),
    ("verify", "use patroni_ca_file"),
    ("ca-file", "use patroni_ca_file"),
    ("crt", "use patroni_cert_file"),
    ("track", "the tool decides which servers track which"),
    ("disabled", "use pg_weight: 0 to drain a member"),
    ("cookie", "PostgreSQL connections carry no cookies"),
    ("init-state", "the tool decides how a server starts"),
    ("id", "the tool numbers nothing"),
];

impl ServerOptions {
    /// What a service gets that says nothing of its own. Of a primary service every session goes with the role of its
    /// member; of the others none goes with a failed check alone: a replica that lags for a moment keeps its report of
    /// three hours, and a change of roles is `verify --fix`'s to act on.
    pub fn default_of(expectation: Expectation) -> Self {
        let mut options = Self::reference();
        if !matches!(expectation, Expectation::Primary | Expectation::Leader) {
            options.0.retain(|(k, _)| *k != "on-marked-down");
        }
        options
    }

    /// The reference text's string, without `slowstart`: it scales `maxconn` too, so that a freshly promoted primary
    /// admits a handful of connections in its first seconds (measured: 55 of 400).
    fn reference() -> Self {
        let pairs = [
            ("inter", "3s"),
            ("fastinter", "1s"),
            ("downinter", "5s"),
            ("rise", "3"),
            ("fall", "3"),
            ("on-marked-down", "shutdown-sessions"),
            ("maxconn", "3000"),
            ("maxqueue", "128"),
            ("weight", "100"),
        ];
        Self(pairs.map(|(k, v)| (k, Some(v.into()))).into())
    }

    /// Gives a keyword that is there another value.
    pub(super) fn set(&mut self, keyword: &str, value: &str) {
        for (_, v) in self.0.iter_mut().filter(|(k, _)| *k == keyword) {
            *v = Some(value.to_owned().into());
        }
    }

    /// The value of a keyword.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| *k == keyword).and_then(|(_, v)| v.as_deref())
    }

    /// The `weight` of a member that has none of its own (HAProxy's own default is 1).
    pub fn weight(&self) -> Option<u16> {
        self.get("weight").and_then(|w| w.parse().ok())
    }

    /// As a configuration line has it, without `weight`: that stands on each server.
    pub fn line(&self) -> String {
        let mut line = String::new();
        for (keyword, value) in self.0.iter().filter(|(k, _)| *k != "weight") {
            for word in std::iter::once(*keyword).chain(value.as_deref()) {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
        }
        line
    }
}

/// Reads an options string.
///
/// # Errors
/// Unknown keywords, keywords of the tool's own, missing and wrong values, a keyword twice.
pub fn parse(text: &str) -> Result<ServerOptions, Errors> {
    let mut errors = Errors::default();
    let mut options: Vec<(&'static str, Option<Value>)> = Vec::new();
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ') || "\"'\\#`$".contains(*c))
    {
        return Err(Error::new("", format!("holds {bad:?}"))
            .hint("plain keywords and numbers on one line")
            .into());
    }
    let mut words = text.split(' ').filter(|w| !w.is_empty());
    while let Some(word) = words.next() {
        if let Some((_, why)) = OURS.iter().find(|(k, _)| *k == word) {
            errors.push(Error::new("", format!("'{word}' is set by pgsvc")).hint(*why));
            break;
        }
        let Some((keyword, kind)) = KEYWORDS.iter().find(|(k, _)| *k == word) else {
            errors.push(unknown(word));
            break;
        };
        let given = if matches!(kind, Kind::Flag) { None } else { Some(words.next()) };
        if options.iter().any(|(k, _)| *k == word) {
            errors.push(Error::new("", format!("'{word}' stands twice")));
        }
        match check(word, *kind, given) {
            Ok(value) => options.push((keyword, value.map(Value::from))),
            Err(e) => errors.push(e),
        }
    }
    errors.finish(ServerOptions(options))
}

fn unknown(word: &str) -> Error {
    let error = Error::new("", format!("unknown keyword '{}'", word.escape_debug()));
    match nearest(word, KEYWORDS.iter().map(|(k, _)| *k)) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None => error.hint(format!("known keywords: {}", KEYWORDS.map(|(k, _)| k).join(", "))),
    }
}

/// `given`: `None` for a flag, `Some(None)` where the value is missing.
fn check(word: &str, kind: Kind, given: Option<Option<&str>>) -> Result<Option<String>, Error> {
    let Some(given) = given else { return Ok(None) };
    let Some(text) = given else {
        return Err(Error::new("", format!("'{word}' has no value")));
    };
    match kind {
        Kind::Flag => {}
        Kind::Time(least) => {
            if value::duration_ms(word, text)? < least {
                return Err(Error::new(word, format!("'{text}' is no interval")).hint("1ms or more"));
            }
        }
        Kind::Number(low, high) => {
            value::integer(word, &serde_json::Value::from(text), low, high)?;
        }
        Kind::OneOf(known) => {
            if !known.contains(&text) {
                return Err(Error::new(word, format!("'{text}' is not valid"))
                    .hint(format!("one of {}", known.join(", "))));
            }
        }
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "inter 3s fastinter 1s downinter 5s rise 3 fall 3 on-marked-down shutdown-sessions slowstart 30s maxconn 3000 maxqueue 128 weight 100";

    #[test]
    fn the_reference_texts_string_is_kept_word_for_word_but_for_the_weight() {
        let options = parse(TEXT).unwrap();
        assert_eq!(options.line(), TEXT.strip_suffix(" weight 100").unwrap());
        assert_eq!(options.weight(), Some(100));
    }

    #[test]
    fn only_a_primary_services_sessions_go_with_a_failed_check() {
        use Expectation::{Check, Leader, Primary, ReadOnly, Replica};
        let cuts = |e| ServerOptions::default_of(e).get("on-marked-down") == Some("shutdown-sessions");
        assert_eq!([Primary, Leader].map(cuts), [true; 2]);
        assert_eq!([Replica, ReadOnly, Check].map(cuts), [false; 3]);
        let line = "inter 3s fastinter 1s downinter 5s rise 3 fall 3 maxconn 3000 maxqueue 128";
        assert_eq!(ServerOptions::default_of(Replica).line(), line);
    }

    #[test]
    fn no_keyword_can_be_smuggled_in() {
        for bad in [
            "inter 3s\n  server x 1.2.3.4:1",
            "check",
            "port 1",
            "backup",
            "ssl",
            "inter",
            "rise x",
            "inter 0.5s",
            "weight 257",
            "inter 3s inter 3s",
            "inter 3s # x",
            "external-check command",
            "on-marked-down ignore",
            "inter 0",
            "agent-inter 0s",
            "rise \u{2003}3",
            "log-bufsize 5",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("slowstart 0 tcp-ut 0").is_ok());
        assert!(parse("intre 3s").unwrap_err().to_string().contains("did you mean 'inter'"));
    }
}
