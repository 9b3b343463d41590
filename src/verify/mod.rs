//! Expectation × observation, port by port.
pub mod judge;
