use core::net::{IpAddr, Ipv4Addr};
use std::fmt;

use ipnet::{IpNet, Ipv4Net};

/// Addresses of proxies that are believed, as a set of networks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Whether the address is in one of them. An IPv4 address that is written as an IPv6 one
    /// counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has all addresses of its kind.
    pub(crate) fn has_all(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, network) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match network.prefix_len() == network.max_prefix_len() {
                true => write!(f, "{comma}{}", network.addr())?,
                false => write!(f, "{comma}{network}")?,
            }
        }
        Ok(())
    }
}

/// Reads an address or a network.
pub(crate) fn parse(text: &str) -> Result<IpNet, String> {
    let network: IpNet = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is no IP address or network, such as 10.0.0.0/8"))?;
    if network.addr() != network.network() {
        let right = network.trunc();
        return Err(format!(
            "`{text}` has bits behind its first {}: {right}?",
            network.prefix_len()
        ));
    }
    Ok(match network {
        IpNet::V6(mapped) if mapped.prefix_len() >= MAPPED_LEN => {
            match mapped.addr().to_ipv4_mapped() {
                Some(address) => as_v4(address, mapped.prefix_len() - MAPPED_LEN),
                None => network,
            }
        }
        IpNet::V4(_) | IpNet::V6(_) => network,
    })
}

fn as_v4(address: Ipv4Addr, prefix_len: u8) -> IpNet {
    Ipv4Net::new(address, prefix_len).map_or_else(|_| IpAddr::from(address).into(), IpNet::V4)
}

/// Of `::ffff:0:0/96` (RFC 4291 2.5.5.2).
const MAPPED_LEN: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_networks() {
        for (network, address, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.0.0.1", true),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
            ("::/0", "192.0.2.1", false),
            ("0.0.0.0/0", "192.0.2.1", true),
        ] {
            let networks: Networks = [parse(network).unwrap()].into_iter().collect();
            assert_eq!(
                networks.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "::1%lo", "1.2.3.4:5"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
