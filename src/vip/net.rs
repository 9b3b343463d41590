//! An address with its network's prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// `10.10.20.0/24`, or a bare address: a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Net {
    /// Most bits of a prefix for this kind of address.
    #[must_use]
    pub fn width(address: IpAddr) -> u8 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    /// Whether an address is in the network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
            IpAddr::V6(v6) => (u128::from(v6), 128),
        };
        let ((a, width), (b, other)) = (bits(self.address), bits(other));
        let shift = 128_u32.saturating_sub(u32::from(self.prefix));
        width == other && (a ^ b).checked_shr(shift).unwrap_or(0) == 0
    }
}

impl FromStr for Net {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address.parse().map_err(|_| ())?, Some(prefix)),
            None => (text.parse().map_err(|_| ())?, None),
        };
        let width = Self::width(address);
        let prefix = match prefix {
            None => width,
            // `u8::from_str` takes a sign.
            Some(p) if p.bytes().all(|b| b.is_ascii_digit()) => p.parse().map_err(|_| ())?,
            Some(_) => return Err(()),
        };
        if prefix > width { Err(()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Net {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
