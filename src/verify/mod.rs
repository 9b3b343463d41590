//! Expectation × observation, port by port.
