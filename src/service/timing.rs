//! How fast health checks notice: the plans of the field's `pg_rto`, and how a cluster names one. Where a plan is used is
//! decided by who builds the services.

use serde_json::Value;

use super::ServerOptions;
use crate::error::Error;
use crate::value;

/// A plan by its name. Without one the reference text's own times count: inter 3s, fastinter 1s, downinter 5s, rise 3,
/// fall 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    Fast,
    Norm,
    Safe,
    Wide,
}

impl Timing {
    /// `pg_rto`: the name of a plan. A number is an older dialect's time to recover, in seconds, which is Patroni's
    /// matter: it names no plan.
    ///
    /// # Errors
    /// Another name.
    pub fn parse(name: &str, v: &Value) -> Result<Option<Self>, Error> {
        if v.is_number() {
            return Ok(None);
        }
        match value::text(name, v)?.as_str() {
            "fast" => Ok(Some(Self::Fast)),
            "norm" => Ok(Some(Self::Norm)),
            "safe" => Ok(Some(Self::Safe)),
            "wide" => Ok(Some(Self::Wide)),
            text if text.parse::<u64>().is_ok() => Ok(None),
            text => Err(Error::new(name, format!("'{}' is no plan", text.escape_debug()))
                .hint("fast, norm, safe or wide")),
        }
    }

    /// `inter`, `fastinter` and `downinter`.
    fn times(self) -> [(&'static str, &'static str); 3] {
        let [inter, fast, down] = match self {
            Self::Fast => ["1s", "500ms", "1s"],
            Self::Norm => ["2s", "1s", "2s"],
            Self::Safe => ["3s", "1500ms", "3s"],
            Self::Wide => ["4s", "2s", "4s"],
        };
        [("inter", inter), ("fastinter", fast), ("downinter", down)]
    }

    /// Options with this plan's times.
    #[must_use]
    pub fn of(self, mut options: ServerOptions) -> ServerOptions {
        for (keyword, value) in self.times() {
            options.set(keyword, value);
        }
        options
    }
}

/// Whether an entry says its server options itself: a plan does not change those.
#[must_use]
pub fn says_options(entry: &Value) -> bool {
    let own = |map: Option<&Value>, key: &str| value::given(map.and_then(|m| m.get(key))).is_some();
    own(entry.get("haproxy"), "default_server_options") || own(Some(entry), "options")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resolve::Expectation;

    #[test]
    fn a_plan_changes_the_times_and_nothing_else() {
        let line = |t: Timing| t.of(ServerOptions::default_of(Expectation::Replica)).line();
        assert_eq!(
            line(Timing::Fast),
            "inter 1s fastinter 500ms downinter 1s rise 3 fall 3 maxconn 3000 maxqueue 128"
        );
        assert!(line(Timing::Wide).starts_with("inter 4s fastinter 2s downinter 4s rise 3 fall 3 "));
    }

    #[test]
    fn a_number_of_seconds_names_no_plan_and_a_slip_is_told() {
        assert_eq!(Timing::parse("pg_rto", &json!("fast")), Ok(Some(Timing::Fast)));
        assert_eq!(Timing::parse("pg_rto", &json!(30)), Ok(None));
        assert_eq!(Timing::parse("pg_rto", &json!("30")), Ok(None));
        let told = Timing::parse("pg_rto", &json!("quick")).unwrap_err().to_string();
        assert_eq!(told, "pg_rto: 'quick' is no plan; fast, norm, safe or wide");
    }

    #[test]
    fn what_an_entry_says_itself_is_known_in_both_dialects() {
        assert!(says_options(&json!({"haproxy": {"default_server_options": "inter 1s"}})));
        assert!(says_options(&json!({"options": "inter 1s"})));
        assert!(
            !says_options(&json!({"haproxy": {"maxconn": 10}})) && !says_options(&json!({"options": null}))
        );
    }
}
