//! /proc/net/ip_vs: the kernel's virtual servers (Linux, net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show). Pure.

use std::net::{IpAddr, Ipv4Addr};

/// A virtual server of an address and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `TCP`, `UDP`, `SCTP`.
    pub protocol: String,
    pub address: IpAddr,
    pub port: u16,
    /// `wlc`, …
    pub scheduler: String,
    pub real: Vec<Real>,
}

/// A real server of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Real {
    pub address: IpAddr,
    pub port: u16,
    /// `Masq`, `Route`, `Tunnel`, `Local`, `Bypass`.
    pub forward: String,
    pub weight: u32,
    pub active: u32,
}

/// Reads the table. Lines that are no server's are passed over, and so are the real servers of a firewall mark.
#[must_use]
pub fn parse(bytes: &[u8]) -> Vec<Server> {
    let text = String::from_utf8_lossy(bytes);
    let mut all: Vec<Server> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["->", place, forward, weight, rest @ ..] => {
                let real = real(place, forward, weight, rest.first().copied());
                if let (Some(server), Some(real)) = (all.last_mut().filter(|_| inside), real) {
                    server.real.push(real);
                }
            }
            [protocol @ ("TCP" | "UDP" | "SCTP"), at, scheduler, ..] => {
                let at = place(at);
                inside = at.is_some();
                if let Some((address, port)) = at {
                    let (protocol, scheduler) = ((*protocol).to_owned(), (*scheduler).to_owned());
                    all.push(Server { protocol, address, port, scheduler, real: Vec::new() });
                }
            }
            _ => inside = false,
        }
    }
    all
}

fn real(at: &str, forward: &str, weight: &str, active: Option<&str>) -> Option<Real> {
    let (address, port) = place(at)?;
    let active = active.and_then(|a| a.parse().ok()).unwrap_or(0);
    Some(Real { address, port, forward: forward.to_owned(), weight: weight.parse().ok()?, active })
}

/// `C000020A:1539`, `[2001:0db8:0000:…]:1539`: the numbers are hexadecimal.
fn place(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let hex = |digits: &str, most: usize| {
        let fine = digits.len() == most && digits.bytes().all(|b| b.is_ascii_hexdigit());
        fine.then(|| u32::from_str_radix(digits, 16).ok())?
    };
    let port = u16::try_from(hex(port, 4)?).ok()?;
    let address = match address.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
        Some(v6) => IpAddr::V6(v6.parse().ok()?),
        None => IpAddr::V4(Ipv4Addr::from(hex(address, 8)?)),
    };
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  C000020A:1539 wlc persistent 300 FFFFFFFF
  -> C0000215:1920      Masq    100    3          1
  -> C0000216:1920      Masq    0      0          0
FWM  00000001 rr
  -> C0000217:1920      Route   1      0          0
TCP  [2001:0db8:0000:0000:0000:0000:0000:000a]:1538 wlc
  -> [2001:0db8:0000:0000:0000:0000:0000:0015]:1538      Route   1      0          0
UDP  C000020A:0035 rr ops
";

    #[test]
    fn servers_of_both_families_are_read_and_marks_passed_over() {
        let all = parse(TEXT.as_bytes());
        let names: Vec<_> =
            all.iter().map(|s| (s.protocol.as_str(), s.address.to_string(), s.port)).collect();
        assert_eq!(
            names,
            [
                ("TCP", "192.0.2.10".to_owned(), 5433),
                ("TCP", "2001:db8::a".to_owned(), 5432),
                ("UDP", "192.0.2.10".to_owned(), 53)
            ]
        );
        assert_eq!(all[0].real.len(), 2);
        let first = &all[0].real[0];
        assert_eq!((first.address, first.port), ("192.0.2.21".parse().unwrap(), 6432));
        assert_eq!((first.forward.as_str(), first.weight, first.active), ("Masq", 100, 3));
        assert_eq!((all[1].real.len(), all[1].real[0].forward.as_str()), (1, "Route"));
    }

    #[test]
    fn what_is_no_table_is_read_as_nothing() {
        for text in [
            "",
            "TCP",
            "TCP : rr",
            "TCP C000020A rr",
            "TCP +000020A:1539 rr",
            "TCP C000020A:11539 rr",
            "TCP C000020AFF:1539 rr",
            "TCP [::1:1539 rr",
            "TCP [x]:1539 rr",
            "-> C0000215:1920 Masq 1 0 0",
            "TCP \u{fffd}:1539 rr",
        ] {
            assert_eq!(parse(text.as_bytes()), [], "{text}");
        }
        assert_eq!(parse(b"\xff\xff TCP\n\0\0"), []);
        let odd = parse(
            b"TCP C000020A:1539 rr\n -> C0000215:1920 Masq 99999999999 0 0\n -> C0000215:1920 Masq 1\n",
        );
        assert_eq!((odd[0].real.len(), odd[0].real[0].active), (1, 0));
    }
}
