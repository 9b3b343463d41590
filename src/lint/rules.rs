//! The table of rules. Each file has the rules of one noun; a rule's texts, examples and check stand together.

use super::Rule;

mod capacity;
mod check;
mod definition;
mod patroni;
mod ports;
mod roles;
mod secrets;
mod selectors;
mod timeouts;
mod versions;
mod vip;

pub use definition::{BAD_IGNORE, DUPLICATE_NAME, INVALID, LISTENER_NAME, MIXED_DIALECTS, UNUSED_IGNORE};
pub use ports::DUPLICATE_PORT;
pub use vip::{NO_VIP, VIP_TWICE, VIP_UNABLE};

/// All rules, by code. A code that is gone is never given again.
pub static RULES: &[&Rule] = &[
    &INVALID,
    &definition::READ_OTHERWISE,
    &definition::UNKNOWN_SETTING,
    &MIXED_DIALECTS,
    &BAD_IGNORE,
    &UNUSED_IGNORE,
    &DUPLICATE_NAME,
    &DUPLICATE_PORT,
    &ports::NODE_PORT,
    &LISTENER_NAME,
    &ports::PRIVILEGED_PORT,
    &roles::NO_PRIMARY,
    &roles::MANY_PRIMARIES,
    &roles::ALL_DRAINED,
    &versions::TAKES_BACK,
    &selectors::NOBODY,
    &selectors::UNTIL_FAILOVER,
    &selectors::PRIMARY_LEFT_OUT,
    &selectors::BACKUP_IS_ACTIVE,
    &selectors::UNKNOWN_VARIABLE,
    &selectors::TRUTHY_TEXT,
    &check::LAG_UNIT,
    &check::LAG_ZERO,
    &check::QUERY_IGNORED,
    &check::UNKNOWN_PATH,
    &check::NEAR_PATH,
    &check::GET_ONLY,
    &check::NO_PATH,
    &check::DEAD_BACKUP,
    &check::STANDBY_CLUSTER,
    &versions::TOO_NEW,
    &capacity::SLOWSTART,
    &capacity::MAXCONN,
    &timeouts::POOLER,
    &timeouts::DIFFERENT,
    &secrets::KNOWN_PASSWORD,
    &NO_VIP,
    &VIP_UNABLE,
    &VIP_TWICE,
    &vip::TWO_HOLDERS,
];

/// A rule by its code or its name.
#[must_use]
pub fn rule(text: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.code.eq_ignore_ascii_case(text) || r.name == text).copied()
}
