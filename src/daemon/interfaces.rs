//! Which interface has an address.

use std::io;
use std::net::IpAddr;

use crate::host::System;

/// The name of the interface that has an address; `None` where the node does not have it.
///
/// # Errors
/// When the kernel does not say.
pub fn interface_of(sys: &dyn System, address: IpAddr) -> io::Result<Option<String>> {
    Ok(sys.interfaces()?.into_iter().find(|(_, a)| *a == address).map(|(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::real::RealSystem;

    #[test]
    fn the_loopback_address_is_on_lo_and_a_foreign_one_nowhere() {
        let sys = RealSystem::new(None);
        assert_eq!(interface_of(&sys, "127.0.0.1".parse().unwrap()).unwrap().as_deref(), Some("lo"));
        assert_eq!(interface_of(&sys, "192.0.2.77".parse().unwrap()).unwrap(), None);
    }
}
