//! Expectation × observation, port by port.
//!
//! The probes observe: [`patroni`] what should be, [`stats`] what the load balancer believes, [`postgres`] what
//! happens. None of them judges. All are synchronous, end at a [`deadline::Deadline`], and hold little memory
//! whatever the other side sends.

pub mod check;
pub mod deadline;
pub mod error;
pub mod http;
pub mod judge;
pub mod observe;
pub mod patroni;
pub mod postgres;
pub mod stats;
pub mod stray;
pub mod tls;
pub mod vip;

#[cfg(test)]
pub(crate) mod testkit;
