//! Which way the kernel would send a packet (`man 7 rtnetlink`), and whether that is a tunnel.

use super::netlink::{self, attribute, value};
use rustix::io::Errno;
use std::net::IpAddr;

const GET_ROUTE: u16 = 26;
/// `rtmsg` without its attributes.
const MESSAGE: usize = 12;
const DESTINATION: u16 = 1;
const OUT_INTERFACE: u16 = 4;
/// Kinds of interfaces with a wire of their own (`linux/if_arp.h`): Ethernet, Infiniband, loopback.
const WIRED: [&str; 3] = ["1", "32", "772"];
/// Kinds of devices that look like Ethernet and go through something else.
const TUNNELS: [&str; 4] = ["wireguard", "vxlan", "geneve", "gretap"];

/// A way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// `None` where the interface has gone.
    pub interface: Option<String>,
    pub is_tunnel: bool,
}

/// `None` where there is no route.
pub fn to(address: IpAddr) -> rustix::io::Result<Option<Route>> {
    let (family, bits, bytes) = match address.to_canonical() {
        IpAddr::V4(a) => (2u8, 32u8, a.octets().to_vec()),
        IpAddr::V6(a) => (10, 128, a.octets().to_vec()),
    };
    let mut payload = vec![family, bits];
    payload.resize(MESSAGE, 0);
    attribute(DESTINATION, &bytes, &mut payload);
    let mut index = None;
    let asked = netlink::ask(None, GET_ROUTE, 0, &payload, &mut |_, answer| {
        let attributes = answer.get(MESSAGE..).unwrap_or_default();
        index = value(attributes, OUT_INTERFACE).and_then(|v| netlink::u32_at(v, 0));
    });
    match asked {
        Ok(()) => Ok(index.map(|index| {
            let interface = name(index);
            let is_tunnel = interface.as_deref().is_some_and(is_tunnel);
            Route { interface, is_tunnel }
        })),
        Err(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::INVAL | Errno::ACCESS) => Ok(None),
        Err(e) => Err(e),
    }
}

fn name(index: u32) -> Option<String> {
    rustix::net::netdevice::index_to_name(netdevice_socket()?, index).ok()
}

fn netdevice_socket() -> Option<std::os::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()
}

/// As sysfs tells: of this process's network namespace only where its own sysfs is mounted.
fn is_tunnel(interface: &str) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/sys/class/net/{interface}/{file}")).ok();
    let Some(kind) = read("type") else { return false };
    let tap = read("tun_flags").is_some();
    let named = read("uevent")
        .is_some_and(|u| u.lines().filter_map(|l| l.strip_prefix("DEVTYPE=")).any(|kind| TUNNELS.contains(&kind)));
    tap || named || !WIRED.contains(&kind.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_reached_over_loopback() {
        let route = to("127.0.0.1".parse().unwrap()).unwrap().unwrap();
        assert_eq!((route.interface.as_deref(), route.is_tunnel), (Some("lo"), false));
    }
}
