//! What keepalived's files name, read back from their text: instances and virtual servers. Understands what stands in
//! lines of its own, as pgsvc's templates write it. Pure.

use std::net::IpAddr;

use crate::plan::Files;
use crate::render::haproxy;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// `vrrp_instance NAME`.
    pub instances: Vec<String>,
    /// `virtual_server ADDRESS PORT`.
    pub virtual_servers: Vec<(IpAddr, u16)>,
}

/// What one file names.
#[must_use]
pub fn read(text: &[u8]) -> Content {
    let mut content = Content::default();
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split(['#', '!']).next().unwrap_or_default().split_ascii_whitespace();
        let mut word = || words.next().map(|w| w.trim_matches(|c| "\"{".contains(c))).unwrap_or_default();
        match word() {
            "vrrp_instance" => content.instances.push(word().to_owned()),
            "virtual_server" => {
                if let (Ok(address), Ok(port)) = (word().parse(), word().parse()) {
                    content.virtual_servers.push((address, port));
                }
            }
            _ => {}
        }
    }
    content
}

/// What our own files among these name.
#[must_use]
pub fn managed(files: &Files) -> Content {
    let mut all = Content::default();
    for file in files.values().filter(|c| haproxy::owner(c).is_some()) {
        let one = read(file);
        all.instances.extend(one.instances);
        all.virtual_servers.extend(one.virtual_servers);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_and_virtual_servers_are_found_and_nothing_else() {
        let text = "# vrrp_instance no {\nvrrp_instance pg-test {\n  virtual_router_id 7\n}\n\
            virtual_server_group g {\n}\nvirtual_server 192.0.2.10 5433 {\n}\n virtual_server fd00::1 5434{\n}\n\
            virtual_server fwmark 3 {\n}\nvrrp_instance \"b\"{ ! x\n";
        let content = read(text.as_bytes());
        assert_eq!(content.instances, ["pg-test", "b"]);
        let at = |a: &str, p| (a.parse().unwrap(), p);
        assert_eq!(content.virtual_servers, [at("192.0.2.10", 5433), at("fd00::1", 5434)]);
    }
}
