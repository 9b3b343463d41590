//! pgsvc: makes every port of every load balancer of a PostgreSQL cluster lead to the right instance.
//!
//! The flow has one direction. Pure on the left, effects on the right:
//!
//! ```text
//! arguments | inventory -> Request -> Cluster, Member, Service
//!   resolve (selectors, roles)      -> ResolvedService     pure
//!   lint                            -> Finding             pure
//!   render (handlebars)             -> RenderedFile        pure
//!   plan (against the installed)    -> Plan                pure
//!   transaction                     -> lock, stage, check, swap, reload, prove, or roll back
//!   verify (until a deadline)       -> PortResult
//!                                   -> Report -> Ansible JSON | terminal | JSON
//! ```
//!
//! Only [`host`] touches files, processes, sockets and the clock.

pub mod ansible;
pub mod cli;
pub mod daemon;
pub mod error;
pub mod explain;
pub mod host;
pub mod inventory;
pub mod lint;
pub mod measure;
pub mod metrics;
pub mod parallel;
pub mod plan;
pub mod render;
pub mod report;
pub mod request;
pub mod resolve;
pub mod run;
pub mod selector;
pub mod service;
pub mod settings;
pub mod transaction;
pub mod value;
pub mod verify;
pub mod vip;
