//! TCP and UDP sockets of one network namespace: by sock_diag (`man 7 sock_diag`), else from `/proc/net`.
//!
//! Invariant: every field is taken from the kernel's bytes with a length check; nothing of another process is trusted,
//! since the netlink socket is connected to the kernel and hears nobody else.

use crate::error::Result;
use crate::model::Job;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const HEADER: usize = 16;
/// `inet_diag_msg` without its attributes.
const MESSAGE: usize = 72;
/// The states 1 (established) to 12 (a request that waits to be accepted).
const ALL_STATES: u32 = 0x1ffe;
/// The kernel makes no bigger batch.
const BATCH: usize = 32 << 10;
/// The kernel answers at once; this only keeps a broken one from holding us for ever.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Protocol {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
}

impl Protocol {
    pub const ALL: [Protocol; 4] = [Protocol::Tcp, Protocol::Tcp6, Protocol::Udp, Protocol::Udp6];

    /// Also the name of its file in `/proc/net`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Tcp6 => "tcp6",
            Protocol::Udp => "udp",
            Protocol::Udp6 => "udp6",
        }
    }

    pub const fn is_tcp(self) -> bool {
        matches!(self, Protocol::Tcp | Protocol::Tcp6)
    }

    const fn is_v6(self) -> bool {
        matches!(self, Protocol::Tcp6 | Protocol::Udp6)
    }

    /// `AF_INET`, `AF_INET6`; `IPPROTO_TCP`, `IPPROTO_UDP`.
    pub const fn numbers(self) -> (u8, u8) {
        (if self.is_v6() { 10 } else { 2 }, if self.is_tcp() { 6 } else { 17 })
    }
}

/// One socket as the kernel tells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Socket {
    /// Position in the list of namespaces.
    pub namespace: usize,
    pub protocol: Protocol,
    /// The kernel's number.
    pub state: u8,
    pub local: (IpAddr, u16),
    pub remote: (IpAddr, u16),
    pub uid: u32,
    /// 0 where no process holds it any more (`TIME_WAIT`) or yet.
    pub inode: u64,
}

impl Socket {
    pub fn is_listening(&self) -> bool {
        self.protocol.is_tcp() && self.state == 10
    }

    /// The state's name, upper case.
    pub fn state(&self) -> &'static str {
        match (self.state, self.protocol.is_tcp()) {
            (1, _) => "ESTABLISHED",
            (7, false) => "UNCONNECTED",
            (2, _) => "SYN_SENT",
            (3 | 12, _) => "SYN_RECV",
            (4, _) => "FIN_WAIT1",
            (5, _) => "FIN_WAIT2",
            (6, _) => "TIME_WAIT",
            (7, true) => "CLOSED",
            (8, _) => "CLOSE_WAIT",
            (9, _) => "LAST_ACK",
            (10, _) => "LISTEN",
            (11, _) => "CLOSING",
            _ => "UNKNOWN",
        }
    }

    /// `None` where it has no peer.
    pub fn peer(&self) -> Option<(IpAddr, u16)> {
        Some(self.remote).filter(|(address, port)| *port != 0 || !address.is_unspecified())
    }
}

/// Adds all sockets of the namespace that this thread is in. `net` is its `/proc/…/net`, asked where netlink does not
/// answer.
pub fn here(namespace: usize, net: impl AsFd, sockets: &mut Vec<Socket>, job: &Job) -> Result<rustix::io::Result<()>> {
    for protocol in Protocol::ALL {
        let before = sockets.len();
        if dump(protocol, namespace, sockets, job).is_err() {
            job.check()?;
            sockets.truncate(before);
            if let Err(e) = table(protocol, namespace, net.as_fd(), sockets, job)? {
                return Ok(Err(e));
            }
        }
    }
    Ok(Ok(()))
}

/// Adds all sockets that the tables of a `/proc/PID/net` name.
pub fn tables(
    namespace: usize,
    net: impl AsFd,
    sockets: &mut Vec<Socket>,
    job: &Job,
) -> Result<rustix::io::Result<()>> {
    for protocol in Protocol::ALL {
        if let Err(e) = table(protocol, namespace, net.as_fd(), sockets, job)? {
            return Ok(Err(e));
        }
    }
    Ok(Ok(()))
}

fn dump(protocol: Protocol, namespace: usize, sockets: &mut Vec<Socket>, job: &Job) -> rustix::io::Result<()> {
    let netlink = open()?;
    send(&netlink, &request(protocol), SendFlags::empty())?;
    let mut buffer = vec![0u8; BATCH];
    loop {
        if job.is_cancelled() {
            return Err(Errno::CANCELED);
        }
        let (_, length) = recv(&netlink, &mut *buffer, RecvFlags::TRUNC)?;
        let batch = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        let before = sockets.len();
        let ended = read_batch(batch, protocol, namespace, sockets)?;
        job.advance(u64::try_from(sockets.len() - before).unwrap_or(0));
        if ended {
            return Ok(());
        }
    }
}

fn open() -> rustix::io::Result<OwnedFd> {
    let netlink = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE))?;
    connect(&netlink, &SocketAddrNetlink::new(0, 0))?;
    Ok(netlink)
}

/// `nlmsghdr` and `inet_diag_req_v2`: every socket of a family and protocol, in any state.
fn request(protocol: Protocol) -> Vec<u8> {
    let (family, number) = protocol.numbers();
    let mut bytes = Vec::with_capacity(72);
    bytes.extend_from_slice(&72u32.to_ne_bytes());
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&DUMP.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family, number, 0, 0]);
    bytes.extend_from_slice(&ALL_STATES.to_ne_bytes());
    bytes.resize(72, 0);
    bytes
}

/// `true` when the dump has ended.
fn read_batch(
    mut batch: &[u8],
    protocol: Protocol,
    namespace: usize,
    sockets: &mut Vec<Socket>,
) -> rustix::io::Result<bool> {
    while !batch.is_empty() {
        let length = u32_at(batch, 0).and_then(|n| usize::try_from(n).ok()).filter(|n| *n >= HEADER);
        let message = length.and_then(|n| batch.get(..n)).ok_or(Errno::BADMSG)?;
        match u16_at(message, 4) {
            Some(NLMSG_DONE) => return Ok(true),
            Some(NLMSG_ERROR) => return Err(error(message)),
            Some(SOCK_DIAG_BY_FAMILY) => {
                sockets.push(read_message(message, protocol, namespace).ok_or(Errno::BADMSG)?);
            }
            _ => {}
        }
        batch = batch.get(message.len().next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn error(message: &[u8]) -> Errno {
    let code = u32_at(message, HEADER).map_or(0, |n| n.cast_signed().wrapping_neg());
    if (1..4096).contains(&code) { Errno::from_raw_os_error(code) } else { Errno::BADMSG }
}

/// `inet_diag_msg`: addresses and ports are in network order, all else in the host's.
fn read_message(message: &[u8], protocol: Protocol, namespace: usize) -> Option<Socket> {
    let m = message.get(HEADER..HEADER + MESSAGE)?;
    let port = |at: usize| Some(u16::from_be_bytes(*m.get(at..)?.first_chunk()?));
    Some(Socket {
        namespace,
        protocol,
        state: *m.get(1)?,
        local: (address(m.get(8..)?, protocol)?, port(4)?),
        remote: (address(m.get(24..)?, protocol)?, port(6)?),
        uid: u32_at(m, 64)?,
        inode: u64::from(u32_at(m, 68)?),
    })
}

fn address(bytes: &[u8], protocol: Protocol) -> Option<IpAddr> {
    Some(if protocol.is_v6() {
        Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()
    } else {
        Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Adds the sockets of one table; a table that does not exist (no IPv6) has none.
fn table(
    protocol: Protocol,
    namespace: usize,
    net: impl AsFd,
    sockets: &mut Vec<Socket>,
    job: &Job,
) -> Result<rustix::io::Result<()>> {
    let file = match openat(net, protocol.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(Ok(())),
        Err(e) => return Ok(Err(e)),
    };
    let mut lines = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::with_capacity(256);
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(Ok(())),
            Ok(_) => sockets.extend(read_line(&line, protocol, namespace)),
            Err(e) => return Ok(Err(Errno::from_io_error(&e).unwrap_or(Errno::IO))),
        }
        job.check()?;
        job.advance(1);
    }
}

/// `sl local remote st tx:rx tr:when retransmits uid timeout inode …`; `None` for the heading.
fn read_line(line: &[u8], protocol: Protocol, namespace: usize) -> Option<Socket> {
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    Some(Socket {
        namespace,
        protocol,
        local: endpoint(fields.nth(1)?, protocol)?,
        remote: endpoint(fields.next()?, protocol)?,
        state: u8::from_str_radix(fields.next()?, 16).ok()?,
        uid: fields.nth(3)?.parse().ok()?,
        inode: fields.nth(1)?.parse().ok()?,
    })
}

/// Words of 32 bits in the host's order, each written as a number in hex, and the port.
fn endpoint(text: &str, protocol: Protocol) -> Option<(IpAddr, u16)> {
    let (words, port) = text.split_once(':')?;
    let mut bytes = [0u8; 16];
    let count = if protocol.is_v6() { 4 } else { 1 };
    if words.len() != count * 8 {
        return None;
    }
    for (i, place) in bytes.chunks_exact_mut(4).take(count).enumerate() {
        let word = u32::from_str_radix(words.get(i * 8..i * 8 + 8)?, 16).ok()?;
        place.copy_from_slice(&word.to_ne_bytes());
    }
    Some((address(&bytes, protocol)?, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn proc_net() -> OwnedFd {
        rustix::fs::open("/proc/thread-self/net", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    proptest! {
        #[test]
        fn any_batch_is_read_or_refused(mut batch in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u16..24) {
            if let Some(place) = batch.get_mut(4..6) {
                place.copy_from_slice(&kind.to_ne_bytes());
                let length = u32::try_from(batch.len()).unwrap();
                batch[..4].copy_from_slice(&length.to_ne_bytes());
            }
            let _ = read_batch(&batch, Protocol::Tcp6, 0, &mut Vec::new());
        }

        #[test]
        fn any_line_is_read_or_refused(line in "[0-9A-F:. é]{0,160}") {
            let _ = read_line(line.as_bytes(), Protocol::Tcp6, 0);
            let _ = read_line(line.as_bytes(), Protocol::Udp, 0);
        }
    }

    #[test]
    fn a_message_of_length_zero_does_not_loop() {
        let mut sockets = Vec::new();
        assert_eq!(read_batch(&[0; 64], Protocol::Tcp, 0, &mut sockets), Err(Errno::BADMSG));
    }

    #[test]
    fn a_refusal_of_the_kernel_is_its_error() {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&36u32.to_ne_bytes());
        bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(&(-2i32).to_ne_bytes());
        bytes.resize(36, 0);
        assert_eq!(read_batch(&bytes, Protocol::Tcp, 0, &mut Vec::new()), Err(Errno::NOENT));
    }

    #[test]
    fn netlink_and_the_tables_tell_the_same() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(v4.local_addr().unwrap()).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let v6 = TcpListener::bind("[::1]:0").ok();
        let (mut by_netlink, mut by_table) = (Vec::new(), Vec::new());
        let job = Job::default();
        for protocol in Protocol::ALL {
            if let Err(e) = dump(protocol, 0, &mut by_netlink, &job) {
                eprintln!("skipped: no netlink for {}: {e}", protocol.as_str());
            }
            table(protocol, 0, proc_net(), &mut by_table, &job).unwrap().unwrap();
        }
        let mut ports = vec![v4.local_addr().unwrap().port(), udp.local_addr().unwrap().port()];
        ports.push(client.local_addr().unwrap().port());
        ports.extend(v6.as_ref().map(|l| l.local_addr().unwrap().port()));
        let ours = |sockets: &[Socket]| {
            let mut ours: Vec<Socket> =
                sockets.iter().copied().filter(|s| s.inode != 0 && ports.contains(&s.local.1)).collect();
            ours.sort();
            ours
        };
        assert!(ours(&by_table).len() >= 3);
        if !by_netlink.is_empty() {
            assert_eq!(ours(&by_netlink), ours(&by_table));
        }
    }
}
