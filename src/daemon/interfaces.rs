//! Which interface has an address.

use std::net::IpAddr;

/// The name of the interface that has an address, out of the node's own; `None` where none has it.
#[must_use]
pub fn interface_of(interfaces: &[(String, IpAddr)], address: IpAddr) -> Option<&str> {
    interfaces.iter().find(|(_, a)| *a == address).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::System;
    use crate::host::real::RealSystem;

    #[test]
    fn the_loopback_address_is_on_lo_and_a_foreign_one_nowhere() {
        let all = RealSystem::new(None).interfaces().unwrap();
        assert_eq!(interface_of(&all, "127.0.0.1".parse().unwrap()), Some("lo"));
        assert_eq!(interface_of(&all, "192.0.2.77".parse().unwrap()), None);
    }
}
